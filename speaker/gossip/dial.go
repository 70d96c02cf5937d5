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
// stream. Two that each took the other for dead contradict what the other says of them then, and memberlist has
// nobody to send that to: it goes with packets to the living. A join is therefore followed by pings, which bear it.
type dials struct {
	calls   map[string]*call
	joins   int
	results chan dialResult
}

type call struct {
	pings, joins int       // under way
	failed       int       // pings in a row without an answer
	tcpNext      time.Time // when to try a join although no ping was answered
	bearing      int       // pings that are to follow a join
}

// bearingPings follow a join, a bearingPause apart: the peer may still be busy with what the join brought.
const (
	bearingPings = 3
	bearingPause = 20 * time.Millisecond
)

// atMost is how many pings and how many joins to one peer are under way at a time: one, and another one where there is a
// reason to think that the first was too early.
const atMost = 2

type dialResult struct {
	peer     Peer
	join     bool
	answered bool
}

func newDials() dials {
	return dials{calls: map[string]*call{}, results: make(chan dialResult, 16)}
}

// dial calls every peer that is missing and not being called; if it is urgent, also those that a call is under way to: it
// may have been made in vain, and wait for its time to be over.
func (s *session) dial(now time.Time, urgent bool) {
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
		if c.pings+c.joins == 0 || urgent && c.pings < atMost {
			c.pings++
			s.ping(p, 0)
		}
	}
	for node, c := range s.dials.calls {
		if !expected[node] && c.pings+c.joins == 0 {
			delete(s.dials.calls, node)
		}
	}
}

func (s *session) ping(p Peer, after time.Duration) {
	addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Addr, s.desired.Listen.Port()))
	s.helper(func() dialResult {
		time.Sleep(after)
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
	now := time.Now()
	_, heard := s.members[r.peer.Node]
	if r.join {
		c.joins--
		if c.bearing = 0; r.answered && !heard {
			c.bearing = bearingPings
		}
	} else {
		c.pings--
		if r.answered {
			c.failed = 0
		} else {
			c.failed++
			c.bearing = 0
		}
	}
	switch {
	case heard || s.leaving.Load():
	case c.bearing > 0:
		if (r.join || r.answered) && c.pings < atMost { // one from before may still be waiting in vain
			c.bearing--
			c.pings++
			s.ping(r.peer, bearingPause*time.Duration(bearingPings-1-c.bearing))
		}
	case r.join || s.dials.joins >= maxJoins:
	case r.answered && c.joins < atMost || c.joins == 0 && !now.Before(c.tcpNext):
		c.joins++
		c.tcpNext = now.Add(redialTCPInterval)
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
