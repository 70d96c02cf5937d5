package gossip

import (
	"net"
	"net/netip"
	"time"
)

// dials keeps calling the peers that are not members. memberlist itself never looks again for a member that it
// has lost, so after a partition nobody would find anybody.
//
// A call is a ping, one packet, every half second; when it is answered, or every few seconds in any
// case (a network may let only TCP through), it is followed by a join, which exchanges everything by a
// stream.
type dials struct {
	calls   map[string]*call
	joins   int
	results chan dialResult
}

type call struct {
	busy    bool
	failed  int       // pings in a row without an answer
	tcpNext time.Time // when to try a join although no ping was answered
}

type dialResult struct {
	peer     Peer
	join     bool
	answered bool
}

func newDials() dials {
	return dials{calls: map[string]*call{}, results: make(chan dialResult, 16)}
}

// dial calls every peer that is missing and not being called.
func (s *session) dial(now time.Time) {
	if s.leaving.Load() {
		return
	}
	expected := map[string]bool{}
	for _, p := range s.desired.Peers {
		if _, heard := s.members[p.Node]; heard || p.Node == s.g.node || !p.Addr.IsValid() {
			continue
		}
		expected[p.Node] = true
		c := s.dials.calls[p.Node]
		if c == nil {
			c = &call{tcpNext: now}
			s.dials.calls[p.Node] = c
		}
		if !c.busy {
			c.busy = true
			s.ping(p)
		}
	}
	for node, c := range s.dials.calls {
		if !expected[node] && !c.busy {
			delete(s.dials.calls, node)
		}
	}
}

func (s *session) ping(p Peer) {
	addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Addr, s.desired.Listen.Port()))
	s.helper(func() dialResult {
		_, err := s.list.Ping(p.Node, addr)
		return dialResult{peer: p, answered: err == nil}
	})
}

func (s *session) join(p Peer) {
	s.dials.joins++
	host := p.Node + "/" + netip.AddrPortFrom(p.Addr, s.desired.Listen.Port()).String()
	s.helper(func() dialResult {
		_, err := s.list.Join([]string{host})
		return dialResult{peer: p, join: true, answered: err == nil}
	})
}

// dialed takes in what came of a call.
func (s *session) dialed(r dialResult) {
	if r.join {
		s.dials.joins--
	}
	c := s.dials.calls[r.peer.Node]
	if c == nil {
		return // came by itself in the meantime
	}
	c.busy = false
	if r.join {
		return
	}
	if r.answered {
		c.failed = 0
	} else {
		c.failed++
	}
	if _, heard := s.members[r.peer.Node]; heard || s.leaving.Load() || s.dials.joins >= maxJoins {
		return
	}
	if now := time.Now(); r.answered || !now.Before(c.tcpNext) {
		c.busy, c.tcpNext = true, now.Add(redialTCPInterval)
		s.join(r.peer)
	}
}

// helper runs a call beside the owner goroutine.
func (s *session) helper(do func() dialResult) {
	s.helpers.Go(func() {
		r := do()
		select {
		case s.dials.results <- r:
		case <-s.done:
		}
	})
}
