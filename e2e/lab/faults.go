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

// PowerOn boots the host again, with its files as they were and its cables
// plugged in, and starts its processes.
func (h *Host) PowerOn(ctx context.Context) error {
	if h.Machine().Alive() {
		return fmt.Errorf("%s is on", h.Name)
	}
	if err := h.boot(ctx); err != nil {
		return err
	}
	// A node has programs of its own before those that were added to it.
	if n, err := h.lab.FindNode(h.Name); err == nil {
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	return h.startAll(ctx)
}
