package layer2

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// groups are the multicast groups joined on one interface. Joining by an IPv6
// socket, other than by the packet socket, makes the kernel report the group
// (RFC 3810), without which a switch that snoops does not deliver; and it
// needs no capability.
//
// A socket has room for as many groups as net.core.optmem_max allows, some
// hundreds at the least, so there are as many sockets as it takes.
type groups struct {
	index  int // of the interface
	shards []*shard
	at     map[netip.Addr]*shard
}

// A shard is one socket and the groups that it has joined.
type shard struct {
	fd     int
	joined int
	full   bool // the kernel had no room for another
}

func newGroups(index int) *groups {
	return &groups{index: index, at: make(map[netip.Addr]*shard)}
}

func (g *groups) join(group netip.Addr) error {
	for _, s := range g.shards {
		if s.full {
			continue
		}
		err := g.add(s, group)
		if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		s.full = true
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return fmt.Errorf("opening socket for multicast groups: %w", err)
	}
	s := &shard{fd: fd}
	if err := g.add(s, group); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	g.shards = append(g.shards, s)
	return nil
}

func (g *groups) add(s *shard, group netip.Addr) error {
	err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, g.request(group))
	if err == nil {
		s.joined++
		g.at[group] = s
	}
	return err
}

func (g *groups) leave(group netip.Addr) error {
	s := g.at[group]
	if s == nil {
		return nil
	}
	delete(g.at, group)
	s.joined--
	s.full = false
	if s.joined == 0 {
		// Closing leaves.
		g.shards = slices.DeleteFunc(g.shards, func(o *shard) bool { return o == s })
		return unix.Close(s.fd)
	}
	err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, g.request(group))
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil // the interface, or IPv6 on it, is gone, and its groups with it
	}
	return err
}

func (g *groups) request(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.index)}
}

func (g *groups) close() error {
	var errs []error
	for _, s := range g.shards {
		errs = append(errs, unix.Close(s.fd))
	}
	g.shards = nil
	clear(g.at)
	return errors.Join(errs...)
}
