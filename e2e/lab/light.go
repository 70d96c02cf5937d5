package lab

import (
	"context"
	"errors"
)

// LightKubelet is the process that stands in for a kubelet on a light node.
const LightKubelet = "light-kubelet"

func (l *Lab) addLightNode(ctx context.Context, i int) error {
	return errors.New("not yet")
}

func (n *Node) startLight(ctx context.Context) error { return errors.New("not yet") }
