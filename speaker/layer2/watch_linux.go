package layer2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// resyncInterval is how often links are looked at even if nobody says that
	// they have changed.
	resyncInterval = 30 * time.Second
	// After looking, at least lookPause passes before looking again, and
	// lookShare times as long as it took: hundreds of pods that start at once
	// cost a bounded share of a core.
	lookPause = 20 * time.Millisecond
	lookShare = 10
	// noticesBuffer is the receive buffer asked for; the kernel may grant less.
	noticesBuffer = 1 << 20
)

// watchLinks is a [watchFunc]. The kernel's notices say when to look, and which
// links were down between two looks; looking is always at everything, so
// nothing is lost when a notice is.
func watchLinks(ctx context.Context, out chan<- []observed) error {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("subscribing to link notices: %w", err)
	}
	// Less than asked for is enough, too: an overflow only means to look.
	_ = socket.SetReceiveBufferSize(noticesBuffer, false)
	n := notices{rung: make(chan struct{}, 1), epochs: make(map[int]uint64)}
	heard := make(chan error, 1)
	go func() { heard <- n.hear(socket) }()
	// Closing ends hear, which is the only other user of socket.
	defer func() { socket.Close(); <-heard }()

	for {
		epochs := n.noted()
		began := time.Now()
		links, err := look()
		switch {
		case errors.Is(err, netlink.ErrDumpInterrupted):
			// Something changed meanwhile, and a link may be missing: look again.
			n.ring()
		case err != nil:
			return err
		default:
			list := make([]observed, len(links))
			for i, l := range links {
				list[i] = observed{l, epochs[l.Index]}
			}
			select {
			case out <- list:
			case <-ctx.Done():
				return nil
			}
			n.keep(links)
		}

		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(lookPause, lookShare*time.Since(began))):
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-heard:
			heard <- nil
			return fmt.Errorf("receiving link notices: %w", err)
		case <-n.rung:
		case <-time.After(resyncInterval):
		}
	}
}

// notices is what the kernel's notices tell between two looks.
type notices struct {
	// rung has room for one note that something may have changed.
	rung chan struct{}

	mu     sync.Mutex
	last   uint64
	epochs map[int]uint64 // by link index, of those that were down
}

func (n *notices) ring() {
	select {
	case n.rung <- struct{}{}:
	default:
	}
}

// hear takes notices until the socket is closed or fails.
func (n *notices) hear(socket *nl.NetlinkSocket) error {
	for {
		messages, from, err := socket.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// Notices were lost; the socket is as good as before.
			n.ring()
			continue
		case err != nil:
			return err
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range messages {
			down := m.Header.Type == unix.RTM_DELLINK
			if !down && m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
				continue
			}
			info := nl.DeserializeIfInfomsg(m.Data)
			if down || !running(info.Flags) {
				n.down(int(info.Index))
			}
		}
		n.ring()
	}
}

func (n *notices) down(index int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	n.epochs[index] = n.last
}

// noted returns the epochs so far.
func (n *notices) noted() map[int]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.epochs)
}

// keep forgets what was noted of links that are gone.
func (n *notices) keep(links []Link) {
	exists := make(map[int]bool, len(links))
	for _, l := range links {
		exists[l.Index] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.epochs, func(index int, _ uint64) bool { return !exists[index] })
}

func running(flags uint32) bool {
	return flags&unix.IFF_UP != 0 && flags&unix.IFF_RUNNING != 0
}

// look asks the kernel for all links and addresses.
func look() ([]Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	ks := make([]kernelLink, len(links))
	for i, l := range links {
		a := l.Attrs()
		ks[i] = kernelLink{
			name: a.Name, index: a.Index, mac: a.HardwareAddr, ethernet: a.EncapType == "ether",
			noARP: a.RawFlags&unix.IFF_NOARP != 0, loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
			up: running(a.RawFlags), master: a.MasterIndex, kind: l.Type(),
		}
	}
	var as []kernelAddress
	for _, a := range addresses {
		// On a point-to-point link the network is the peer's.
		prefix, ok := prefixOf(a.IPNet)
		beside := a.Flags&unix.IFA_F_SECONDARY != 0 // of IPv6, one for privacy
		if peer, there := prefixOf(a.Peer); there {
			beside = beside || peer.Addr() != prefix.Addr()
			prefix, ok = peer, true
		}
		if ok {
			as = append(as, kernelAddress{
				link: a.LinkIndex, prefix: prefix, unusable: a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0, beside: beside,
			})
		}
	}
	all := interpret(ks, as)
	for i := range all {
		all[i].Routers = routersOf(all[i])
	}
	return all, nil
}

// anywhere are addresses to which only a default route leads, in most networks.
var anywhere = []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("2620:fe::fe")}

// routersOf asks the kernel where it would send what leaves by the link for anywhere. It is asked by
// address, for a list of all routes is long on nodes that are routers. Nothing is sent.
func routersOf(l Link) []netip.Addr {
	var routers []netip.Addr
	if !l.Up || len(l.Prefixes) == 0 {
		return nil
	}
	for _, dst := range anywhere {
		routes, err := netlink.RouteGetWithOptions(dst.AsSlice(), &netlink.RouteGetOptions{OifIndex: l.Index})
		if err != nil {
			continue // no route
		}
		for _, r := range routes {
			if gw, ok := netip.AddrFromSlice(r.Gw); ok && r.LinkIndex == l.Index {
				routers = append(routers, gw.Unmap())
			}
		}
	}
	return routers
}

// prefixOf converts from the form that netlink uses.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	address = address.Unmap()
	return netip.PrefixFrom(address, ones), ok && bits == address.BitLen()
}
