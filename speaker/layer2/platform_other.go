//go:build !linux

package layer2

import (
	"context"
	"fmt"
	"runtime"
)

func watchLinks(context.Context, chan<- []observed) error {
	return fmt.Errorf("%w: %s", errUnsupported, runtime.GOOS)
}

func openPort(Link, Family) (port, error) {
	return nil, fmt.Errorf("%w: %s", errUnsupported, runtime.GOOS)
}
