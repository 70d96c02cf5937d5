package ownership

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// How fast units are given back to those better placed.
const (
	// failbackAtOnce is how many hand-overs a node has under way at most.
	failbackAtOnce = 8
	// failbackCalm is for how long nothing must have changed in a group before the next ones: nodes that work out
	// from different claims who gives what to whom would give too much.
	failbackCalm = 100 * time.Millisecond
)

// balance has units move from this node to others that are better placed, where the time for it has come.
func (m *Machine) balance() {
	if !m.able() || !m.settled {
		return
	}
	for _, g := range slices.SortedFunc(maps.Keys(m.unbalanced), func(a, b *group) int { return cmp.Compare(a.key, b.key) }) {
		if wait := m.balanceGroup(g); wait < always {
			m.timers.push(timer{at: wait, g: g})
		}
		delete(m.unbalanced, g)
	}
}

// balanceGroup offers units of g to those better placed, and returns when to look again.
func (m *Machine) balanceGroup(g *group) (again time.Duration) {
	again = always
	self := g.candidate(m.self)
	if self == nil || g.loads[m.self] == 0 {
		return again
	}
	slots := m.slots(g, self)
	if len(slots) == 0 {
		return again
	}
	if at := g.changedAt + failbackCalm; m.at < at {
		return at
	}
	var movable []*unit
	soonest := time.Duration(always / 2)
	for u := range m.self.set {
		switch {
		case u.group != g || u.owner != m.self:
		case u.offer.to != nil:
			// What is under way need not be done.
			if i := slices.Index(slots, u.offer.to); i >= 0 {
				slots = slices.Delete(slots, i, i+1)
			}
		case u.failback.Policy != Never && !u.probing && len(u.claims) == 1 && u.cause != CauseOrder:
			movable = append(movable, u)
			soonest = min(soonest, u.failback.wait())
		}
	}
	for _, to := range slots {
		since, proven := max(g.candidate(to).since, to.hereSince), m.provenAt(to)
		if due := max(since+soonest, proven); due > m.at {
			again = min(again, due)
			continue
		}
		var best *unit
		for _, u := range movable {
			due := since + u.failback.wait()
			switch {
			case u.offer.to != nil:
			case due > m.at:
				again = min(again, due)
			case slices.Contains(u.declined, to) && m.at-u.declinedAt < declinedFor:
				again = min(again, u.declinedAt+declinedFor)
			case best == nil || score(u.h, to.name) > score(best.h, to.name):
				best = u
			}
		}
		if best == nil {
			continue
		}
		if m.failing >= failbackAtOnce {
			return min(again, m.at+failbackCalm)
		}
		m.setOpen(best, true)
		best.offer = offer{to: to, cause: CauseFailback, since: m.at}
		m.offer(best)
		m.wake(best, m.at+resendOffer)
	}
	return again
}

// wait returns for how long a better-placed node must have been there.
func (f Failback) wait() time.Duration {
	if f.Policy == Immediate {
		return 0
	}
	return f.After
}

// slots returns to whom this node is to give units of g so that they are with the best placed, and even among those. All nodes work
// out the same from the same claims, each its own part of it.
func (m *Machine) slots(g *group, self *candidate) []*node {
	var best []*candidate
	for i := range g.candidates {
		c := &g.candidates[i]
		if c.node != m.self && !m.usable(c) {
			continue
		}
		switch {
		case len(best) == 0 || c.standing().compare(best[0].standing()) < 0:
			best = append(best[:0], c)
		case c.standing() == best[0].standing():
			best = append(best, c)
		}
	}
	slices.SortFunc(best, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(g.loads[b.node], g.loads[a.node]), cmp.Compare(a.name, b.name))
	})
	if self.standing() != best[0].standing() {
		// Everything has to go, to those that have least.
		var slots []*node
		extra := map[*node]int{}
		for range g.loads[m.self] {
			to := slices.MinFunc(best, func(a, b *candidate) int {
				return cmp.Or(cmp.Compare(g.loads[a.node]+extra[a.node], g.loads[b.node]+extra[b.node]), cmp.Compare(a.name, b.name))
			}).node
			extra[to]++
			slots = append(slots, to)
		}
		return slots
	}
	total := 0
	for _, c := range best {
		total += g.loads[c.node]
	}
	if g.loads[best[0].node]-g.loads[best[len(best)-1].node] <= 1 {
		return nil
	}
	var from, to []*node
	for i, c := range best {
		quota := total / len(best)
		if i < total%len(best) {
			quota++
		}
		for range g.loads[c.node] - quota {
			from = append(from, c.node)
		}
		for range quota - g.loads[c.node] {
			to = append(to, c.node)
		}
	}
	var slots []*node
	for i, n := range from {
		if n == m.self {
			slots = append(slots, to[i])
		}
	}
	return slots
}
