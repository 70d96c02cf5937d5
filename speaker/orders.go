package speaker

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/clarion-lb/clarion/speaker/ownership"
)

// A Service may name the node that is to answer for its addresses (kubectl clarion move). That node is preferred to its equals, so that
// it is given them back as failback has it; and when somebody has just asked for it, the present owner hands them over at once.

// fromOf returns the node that the Services that have an address want it announced from: the oldest of those that name one
// has its way.
func fromOf(services []*service) string {
	var best *service
	for _, s := range services {
		if s.from != "" && (best == nil || cmp.Or(s.plan.Created.Compare(best.plan.Created), strings.Compare(s.plan.Name, best.plan.Name)) < 0) {
			best = s
		}
	}
	if best == nil {
		return ""
	}
	return best.from
}

// preferring returns candidates with one preferred to its equals, by more than any advertisement can.
func preferring(candidates []ownership.Candidate, node string) []ownership.Candidate {
	i := slices.IndexFunc(candidates, func(c ownership.Candidate) bool { return c.Node == node })
	if i < 0 {
		return candidates
	}
	candidates = slices.Clone(candidates)
	candidates[i].Weight = math.MaxInt32
	return candidates
}

// orders are the hand-overs that have been asked for since the last step, to nodes that may have the addresses and are no worse placed
// than any other. The present owners heed them.
func (d *decider) orders() (out []ownership.Order) {
	if !d.seen.synced {
		return nil
	}
	for a := range d.wanted {
		services, _ := d.sharersOf(a)
		from := fromOf(services)
		decided := d.addresses[a]
		if decided == nil {
			continue
		}
		i := slices.IndexFunc(decided.placement, func(c ownership.Candidate) bool { return c.Node == from })
		if i >= 0 && !slices.ContainsFunc(decided.placement, func(c ownership.Candidate) bool { return c.Rank < decided.placement[i].Rank }) {
			out = append(out, ownership.Order{Unit: unitOf(a), To: from})
		}
	}
	clear(d.wanted)
	slices.SortFunc(out, func(a, b ownership.Order) int { return a.Unit.Compare(b.Unit) })
	return out
}
