package speaker

import (
	"hash/fnv"
	"maps"
	"slices"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// Which sessions with routers there are, here and on other nodes, and which routes they carry: that a node has some session does not
// mean that an address is heard of by way of it.

// carried are the families whose routes a session carries, a bit for each; 0 where the session is not established.
type carried uint8

func (c carried) has(f bgp.Family) bool { return c&(1<<f) != 0 }

func carriedBy(s bgp.Session) (c carried) {
	if s.State != bgp.Established {
		return 0
	}
	for _, f := range s.Negotiated.Families {
		if !slices.Contains(s.Negotiated.NoNextHop, f) {
			c |= 1 << f
		}
	}
	return c
}

// hearing is what the speaker on another node says of its sessions.
type hearing struct {
	any bool // there is one
	// sessions are the numbers of those that there are; none where the speaker is of a version that does not say.
	sessions []uint32
}

// has reports whether there is a session with a peer that carries a family.
func (h hearing) has(peer string, f bgp.Family) bool {
	if len(h.sessions) == 0 {
		return h.any
	}
	_, found := slices.BinarySearch(h.sessions, sessionNumber(peer, f))
	return h.any && found
}

func (h hearing) equal(o hearing) bool { return h.any == o.any && slices.Equal(h.sessions, o.sessions) }

// sessionNumber is what speakers tell each other of a session that carries a family: short, and the same on all nodes.
func sessionNumber(peer string, f bgp.Family) uint32 {
	h := fnv.New32a()
	h.Write([]byte(peer))
	return h.Sum32()&^3 | uint32(f)
}

// sessionNumbers are those of this node's sessions, in order.
func (r *routing) sessionNumbers() (all []uint32) {
	for peer, c := range r.states {
		for _, f := range []bgp.Family{bgp.IPv4, bgp.IPv6} {
			if c.has(f) {
				all = append(all, sessionNumber(peer, f))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func sameHearings(a, b map[string]hearing) bool { return maps.EqualFunc(a, b, hearing.equal) }
