package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/clarion-lb/clarion/e2e/lab/machine"
)

// A segment is a bridge in the fabric's network namespace, and a cable is a
// veth pair between it and a host:
//
//	fabric                          node1
//	┌───────────────────────────┐   ┌──────┐
//	│ lan ──┬── node1-eth0 ═════╪═══╪ eth0 │
//	│       ├── node2-eth0 ═    │   └──────┘
//	│ tor1 ─┴── …               │
//	└───────────────────────────┘
//
// The port is the switch's side of a cable: its name says where the cable goes.
func port(host string, i int) string { return fmt.Sprintf("%s-eth%d", host, i) }

// buildFabric makes the host that the switches are in.
func (l *Lab) buildFabric(ctx context.Context) error {
	_, err := l.AddHost(ctx, HostSpec{Name: fabricName})
	return err
}

// AddSegment makes a switch that hosts can be plugged into.
func (l *Lab) AddSegment(name string) error {
	if !validName.MatchString(name) || len(name) > 15 {
		return fmt.Errorf("segment name %q: want a letter, then at most 14 letters, digits and dashes, all small", name)
	}
	return l.fabric(func(n *netlink.Handle) error {
		// Without a querier on the segment, snooping would lose multicast, and
		// with it IPv6 neighbour discovery.
		snooping := false
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, Flags: net.FlagUp}, MulticastSnooping: &snooping}
		if err := n.LinkAdd(bridge); err != nil {
			return fmt.Errorf("add segment %s: %w", name, err)
		}
		return n.LinkSetUp(bridge)
	})
}

// plug makes the i-th cable of a host.
func (h *Host) plug(i int, iface Interface) error {
	mac, err := net.ParseMAC(iface.MAC)
	if err != nil {
		return err
	}
	there, err := h.Machine().Network()
	if err != nil {
		return err
	}
	defer there.Close()
	name := fmt.Sprintf("eth%d", i)
	err = h.lab.fabric(func(n *netlink.Handle) error {
		segment, err := n.LinkByName(iface.Segment)
		if err != nil {
			return fmt.Errorf("segment %s: %w", iface.Segment, err)
		}
		cable := &netlink.Veth{
			LinkAttrs:        netlink.LinkAttrs{Name: port(h.Name, i), MasterIndex: segment.Attrs().Index},
			PeerName:         name,
			PeerHardwareAddr: mac,
			PeerNamespace:    netlink.NsFd(there.Fd()),
		}
		if err := n.LinkAdd(cable); err != nil {
			return fmt.Errorf("plug in: %w", err)
		}
		return n.LinkSetUp(cable)
	})
	if err != nil {
		return err
	}
	return h.netlink(func(n *netlink.Handle) error {
		link, err := n.LinkByName(name)
		if err != nil {
			return err
		}
		for _, a := range iface.Addresses {
			prefix := &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}
			if err := n.AddrAdd(link, &netlink.Addr{IPNet: prefix}); err != nil {
				return fmt.Errorf("add address %s: %w", a, err)
			}
		}
		return n.LinkSetUp(link)
	})
}

// linkPatience is how long the kernel may take to notice that both ends of a
// cable are up.
const linkPatience = 5 * time.Second

// waitLinks returns when frames pass through each of the host's cables.
func (h *Host) waitLinks(ctx context.Context) error {
	return poll(ctx, linkPatience, func(context.Context) error {
		return h.eachPort(func(_ *netlink.Handle, port netlink.Link) error {
			if state := port.Attrs().OperState; state != netlink.OperUp {
				return fmt.Errorf("the link is %s", state)
			}
			return nil
		})
	})
}

// addRoutes also brings the loopback interface up.
func (h *Host) addRoutes(routes []Route) error {
	return h.netlink(func(n *netlink.Handle) error {
		lo, err := n.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := n.LinkSetUp(lo); err != nil {
			return err
		}
		for _, r := range routes {
			to := r.To.Masked()
			route := &netlink.Route{
				Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
				Gw:  r.Via.AsSlice(),
			}
			if err := n.RouteAdd(route); err != nil {
				return fmt.Errorf("route to %s via %s: %w", r.To, r.Via, err)
			}
		}
		return nil
	})
}

// AddRoutes gives a running host further routes. It keeps them for the next
// time its power comes on.
func (h *Host) AddRoutes(routes ...Route) error {
	if err := h.change(func(spec *HostSpec) { spec.Routes = append(spec.Routes, routes...) }); err != nil {
		return err
	}
	return h.addRoutes(routes)
}

// eachPort does something to the switch's side of each of the host's cables. A
// cable that is not there, because the host is off, is passed over.
func (h *Host) eachPort(do func(n *netlink.Handle, port netlink.Link) error) error {
	spec, err := h.spec()
	if err != nil {
		return err
	}
	return h.lab.fabric(func(n *netlink.Handle) error {
		for i := range spec.Interfaces {
			link, err := n.LinkByName(port(h.Name, i))
			if errors.As(err, new(netlink.LinkNotFoundError)) {
				continue
			}
			if err != nil {
				return err
			}
			if err := do(n, link); err != nil {
				return fmt.Errorf("%s: %w", link.Attrs().Name, err)
			}
		}
		return nil
	})
}

// fabric works on the network of the switches.
func (l *Lab) fabric(do func(*netlink.Handle) error) error {
	return l.Host(fabricName).netlink(do)
}

// netlink works on the host's network.
func (h *Host) netlink(do func(*netlink.Handle) error) error {
	return withNetlink(h.Machine(), do)
}

func withNetlink(m machine.Machine, do func(*netlink.Handle) error) error {
	there, err := m.Network()
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("host %s is off", m.Name)
	}
	if err != nil {
		return err
	}
	defer there.Close()
	handle, err := netlink.NewHandleAt(netns.NsHandle(there.Fd()))
	if err != nil {
		return err
	}
	defer handle.Close()
	return do(handle)
}
