package speaker

import (
	"net/netip"

	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// conflicts turn what layer 2 finds out about other hosts into evidence for ownership, and remember who holds an
// address while it is not asked for. They belong to the loop.
type conflicts struct {
	claiming map[ownership.Unit]bool // whose first claim is not answered yet
	held     map[netip.Addr]layer2.Conflict
}

func newConflicts() *conflicts {
	return &conflicts{claiming: map[ownership.Unit]bool{}, held: map[netip.Addr]layer2.Conflict{}}
}

// answer takes in how this node is to answer.
func (c *conflicts) answer(u ownership.Unit, a ownership.Answer) {
	if a.As == ownership.Own && a.Claim {
		c.claiming[u] = true
		return
	}
	delete(c.claiming, u)
	if a.As == ownership.Own {
		delete(c.held, u.Address)
	}
}

func (c *conflicts) forget(a netip.Addr) {
	delete(c.claiming, unitOf(a))
	delete(c.held, a)
}

// see returns what has come of the claims, and which addresses others hold. answers are how this node is to answer: the state may be
// from before they were, and what this node has given away is not its business any more.
func (c *conflicts) see(state layer2.State, answers map[ownership.Unit]ownership.Answer) []ownership.Evidence {
	var found []ownership.Evidence
	for _, seg := range state.Segments {
		for _, conflict := range seg.Conflicts {
			u := unitOf(conflict.Address)
			before, known := c.held[conflict.Address]
			switch {
			case !conflict.Withheld, !known && answers[u].As != ownership.Own, known && before.MAC == conflict.MAC && !c.claiming[u]:
				continue
			}
			c.held[conflict.Address] = conflict
			delete(c.claiming, u)
			found = append(found, ownership.Evidence{Unit: u, Found: ownership.FoundHeld, By: conflict.MAC.String()})
		}
	}
	for u := range c.claiming {
		if len(state.Answering(u.Address)) > 0 {
			delete(c.claiming, u)
			delete(c.held, u.Address)
			found = append(found, ownership.Evidence{Unit: u, Found: ownership.FoundFree})
		}
	}
	return found
}
