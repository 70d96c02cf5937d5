package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbour is what a host believes of an address on its link.
type Neighbour struct {
	Address netip.Addr
	MAC     net.HardwareAddr
	// Host is the host of the lab that has this MAC; nil for a stranger's.
	Host *Host
	// Node is Host where that is a node.
	Node *Node
}

// Neighbour looks an address up in the host's neighbour table. ok is false
// where the table has no hardware address for it.
func (h *Host) Neighbour(address netip.Addr) (n Neighbour, ok bool, err error) {
	err = h.netlink(func(nl *netlink.Handle) error {
		entries, err := nl.NeighList(0, family(address))
		if err != nil {
			return err
		}
		for _, e := range entries {
			ip, valid := netip.AddrFromSlice(e.IP)
			const useless = unix.NUD_FAILED | unix.NUD_INCOMPLETE | unix.NUD_NONE
			if !valid || ip.Unmap() != address || len(e.HardwareAddr) == 0 || e.State&useless == e.State {
				continue
			}
			n, err = h.lab.neighbour(address, e.HardwareAddr)
			ok = err == nil
			return err
		}
		return nil
	})
	return n, ok, err
}

// Forget drops an address from the host's neighbour table.
func (h *Host) Forget(address netip.Addr) error {
	return h.netlink(func(nl *netlink.Handle) error {
		entries, err := nl.NeighList(0, family(address))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if ip, valid := netip.AddrFromSlice(e.IP); valid && ip.Unmap() == address {
				if err := nl.NeighDel(&e); err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
			}
		}
		return nil
	})
}

// resolvePatience is how long a host asks who has an address: the kernel asks
// three times, a second apart.
const resolvePatience = 4 * time.Second

// WhoAnswers tells who has an address according to the client's neighbour
// table. The client sends something there first, so it asks the LAN where it
// does not know.
func (l *Lab) WhoAnswers(ctx context.Context, address netip.Addr) (Neighbour, error) {
	client := l.Client()
	var found Neighbour
	err := poll(ctx, resolvePatience, func(ctx context.Context) error {
		// Port 9 is "discard": nobody need be there.
		c, err := client.Dial(ctx, "udp", netip.AddrPortFrom(address, 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte{0}); err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EHOSTUNREACH) {
			return err
		}
		n, ok, err := client.Neighbour(address)
		if err == nil && !ok {
			err = fmt.Errorf("nobody on the LAN answers for %s", address)
		}
		found = n
		return err
	})
	return found, err
}

// neighbour finds out whose the MAC is.
func (l *Lab) neighbour(address netip.Addr, mac net.HardwareAddr) (Neighbour, error) {
	n := Neighbour{Address: address, MAC: mac}
	h, err := l.HostByMAC(mac)
	if err != nil || h == nil {
		return n, err
	}
	n.Host = h
	if node, err := l.FindNode(h.Name); err == nil {
		n.Node = node
	}
	return n, nil
}

// HostByMAC returns the host that has a MAC on one of its interfaces, nil where
// there is none.
func (l *Lab) HostByMAC(mac net.HardwareAddr) (*Host, error) {
	hosts, err := l.Hosts()
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		spec, err := h.spec()
		if err != nil {
			return nil, err
		}
		for _, iface := range spec.Interfaces {
			if m, err := net.ParseMAC(iface.MAC); err == nil && bytes.Equal(m, mac) {
				return h, nil
			}
		}
	}
	return nil, nil
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
