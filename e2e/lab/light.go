package lab

import (
	"context"
	"net/netip"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/light"
)

// LightKubelet is the process that stands in for a kubelet on a light node.
const LightKubelet = "light-kubelet"

// addLightNode adds the i-th node without kubelet and containers.
func (l *Lab) addLightNode(ctx context.Context, i int) error {
	n := l.Node(nodeName(i))
	_, err := l.AddHost(ctx, HostSpec{
		Name:       n.Name,
		Interfaces: []Interface{{Segment: lanName, Addresses: lanAddresses(nodePlace(i))}},
		Routes:     append(podRoutes(l.Options.Nodes, i), defaultRoutes()...),
		Forward:    true,
	})
	if err != nil {
		return err
	}
	o := light.Options{
		Node:         n.Name,
		Kubeconfig:   l.kubeconfig(n.Name),
		Addresses:    []netip.Addr{n.IPv4(), n.IPv6()},
		Pods:         podPrefixes(i),
		LeaseSeconds: 40,
		StatusEvery:  10 * time.Second,
	}
	if l.Options.FastNodeFailure {
		o.LeaseSeconds, o.StatusEvery = fastLeaseSeconds, fastStatusEvery
	}
	if err := writeJSON(n.file("light.json"), o); err != nil {
		return err
	}
	if err := n.configureProxy(); err != nil {
		return err
	}
	return n.start(ctx)
}

func (n *Node) startLight(ctx context.Context) error {
	// PID 1 is this program under another name, so a child of it can be too.
	err := n.launch(ctx, Process{
		Name:    LightKubelet,
		Restart: true,
		Args:    []string{light.Name, n.file("light.json")},
		Program: "/proc/1/exe",
	})
	if err != nil {
		return err
	}
	return n.startProxy(ctx)
}
