package lab

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Cut takes the host's links down at the switch: the host loses carrier, as
// when a cable is pulled.
func (h *Host) Cut() error {
	return h.eachPort(func(n *netlink.Handle, port netlink.Link) error { return n.LinkSetDown(port) })
}

// Heal undoes Cut and Silence, and returns when frames pass again.
func (h *Host) Heal() error {
	err := h.eachPort(func(n *netlink.Handle, port netlink.Link) error {
		segment, err := h.segmentOf(n, port)
		if err != nil {
			return err
		}
		if err := n.LinkSetMaster(port, segment); err != nil {
			return err
		}
		return n.LinkSetUp(port)
	})
	if err != nil {
		return err
	}
	return h.waitLinks(context.Background())
}

// Silence has the switch forward nothing to or from the host, which keeps its
// carrier and notices nothing, as when a switch further away fails.
func (h *Host) Silence() error {
	return h.eachPort(func(n *netlink.Handle, port netlink.Link) error { return n.LinkSetNoMaster(port) })
}

func (h *Host) segmentOf(n *netlink.Handle, link netlink.Link) (netlink.Link, error) {
	spec, err := h.spec()
	if err != nil {
		return nil, err
	}
	for i, iface := range spec.Interfaces {
		if port(h.Name, i) == link.Attrs().Name {
			return n.LinkByName(iface.Segment)
		}
	}
	return nil, fmt.Errorf("%s leads nowhere", link.Attrs().Name)
}

// PowerOff ends the host at once. Its links go dark first, so that nothing it
// does in dying reaches the network.
func (h *Host) PowerOff() error {
	err := h.eachPort(func(n *netlink.Handle, port netlink.Link) error { return n.LinkDel(port) })
	if err != nil {
		return fmt.Errorf("power off %s: %w", h.Name, err)
	}
	return h.Machine().Kill()
}

// PowerOn boots the node again, with its disk as it was, and returns when its
// programs run; [Node.WaitReady] waits for more.
func (n *Node) PowerOn(ctx context.Context) error {
	if n.Machine().Alive() {
		return fmt.Errorf("%s is on", n.Name)
	}
	if err := n.boot(ctx); err != nil {
		return err
	}
	if n.lab.Options.Light {
		return n.startLight(ctx)
	}
	return n.start(ctx)
}
