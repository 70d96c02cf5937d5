package ownership

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// A group are the units with the same segment and the same candidates, among which ownership is even.
type group struct {
	key        string
	segment    Segment
	candidates []candidate
	units      map[*unit]struct{}
	loads      map[*node]int

	// stale is whether deputies are to be worked out anew once it has been calm.
	stale     bool
	changedAt time.Duration // the last change since they were
	staleFrom time.Duration // the first
	provenAt  time.Duration // when one that was not proven then will be
}

// A candidate is a [Candidate] as a machine keeps it.
type candidate struct {
	*node
	rank   uint8
	weight int32
	dead   bool
	since  time.Duration // since when it has been one of that rank and weight
}

// How long a group must be calm before its deputies are worked out, and how long that is put off at most.
const (
	calm      = 300 * time.Millisecond
	calmLimit = 2 * time.Second
)

// staleRank is what a node that has not seen the API server for long ranks behind all others by.
const staleRank = 128

// standing is how well a candidate is placed; the lesser is the better.
type standing struct {
	rank   int
	weight int32
}

func (s standing) compare(t standing) int {
	return cmp.Or(cmp.Compare(s.rank, t.rank), -cmp.Compare(s.weight, t.weight))
}

func (c *candidate) standing() standing {
	s := standing{int(c.rank), c.weight}
	if c.member.Stale {
		s.rank += staleRank
	}
	return s
}

func (g *group) candidate(n *node) *candidate {
	if g == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(g.candidates, n.name, func(c candidate, name string) int { return cmp.Compare(c.name, name) })
	if !found {
		return nil
	}
	return &g.candidates[i]
}

func (g *group) add(n *node, k int) {
	if g == nil {
		return
	}
	if g.loads[n] += k; g.loads[n] == 0 {
		delete(g.loads, n)
	}
}

// place puts u where its candidates say.
func (m *Machine) place(u *unit, p Placement, seen map[*Candidate]*group) {
	u.failback = p.Failback
	m.touch(u)
	var g *group
	if len(p.Candidates) > 0 {
		// Many units share one list.
		first := &p.Candidates[0]
		if g = seen[first]; g == nil || g.segment != u.Segment || len(g.candidates) != len(p.Candidates) {
			g = m.group(u.Segment, p.Candidates, u.group)
			seen[first] = g
		}
	}
	if g == u.group {
		m.unbalance(g) // the failback may be another
		return
	}
	if before, now := u.group.candidate(m.self), g.candidate(m.self); before != nil && before.dead && (now == nil || !now.dead) {
		u.wellSince = m.at
	}
	counted := u.counted
	m.count(u, nil)
	if u.group != nil {
		m.placed--
		delete(u.group.units, u)
		m.unbalance(u.group)
		if len(u.group.units) == 0 {
			delete(m.groups, u.group.key)
			delete(m.unbalanced, u.group)
			delete(m.stale, u.group)
		}
	}
	u.group = g
	if g != nil {
		m.placed++
		g.units[u] = struct{}{}
		m.unbalance(g)
	}
	m.count(u, counted)
}

// group returns the group of units with these candidates. What was known of a candidate that stays goes on to hold.
func (m *Machine) group(s Segment, candidates []Candidate, before *group) *group {
	key := []byte(s)
	key = append(key, 0)
	for _, c := range candidates {
		key = append(key, c.Node...)
		key = append(key, 0, c.Rank)
		key = binary.BigEndian.AppendUint32(key, uint32(c.Weight))
		if c.Dead {
			key = append(key, 1)
		} else {
			key = append(key, 0)
		}
	}
	if g := m.groups[string(key)]; g != nil {
		return g
	}
	g := &group{key: string(key), segment: s, units: map[*unit]struct{}{}, loads: map[*node]int{}, provenAt: always}
	for _, c := range candidates {
		n := candidate{node: m.node(c.Node), rank: c.Rank, weight: c.Weight, dead: c.Dead, since: m.at}
		if p := before.candidate(n.node); p != nil && p.rank == n.rank && p.weight == n.weight && p.dead == n.dead {
			n.since = p.since
		}
		g.candidates = append(g.candidates, n)
	}
	slices.SortFunc(g.candidates, func(a, b candidate) int { return cmp.Compare(a.name, b.name) })
	m.groups[g.key] = g
	return g
}

// unbalance notes that who has or may have units of g has changed.
func (m *Machine) unbalance(g *group) {
	if g == nil {
		return
	}
	g.changedAt = m.at
	if !g.stale {
		g.stale, g.staleFrom = true, m.at
		m.stale[g] = struct{}{}
	}
	m.unbalanced[g] = struct{}{}
}

// usable reports whether candidate c can be given units.
func (m *Machine) usable(c *candidate) bool {
	if c.node == m.self {
		return m.able() // of a dead link of its own it is suspicious: see isolated
	}
	return !c.dead && c.mode == here && !c.member.Leaving
}

// provenFor is for how long a node must have been back until it is relied on before all others are: until then it may doubt what it knows,
// and hesitates.
const provenFor = 2 * isolatedFor

// provenAt returns from when on n can be relied on. It counts for itself from when it heard the others again, and they from when they heard
// it: the same moment, nearly.
func (m *Machine) provenAt(n *node) time.Duration {
	if n == m.self {
		return max(m.hearsSince, m.wellSince) + provenFor
	}
	return n.backSince + provenFor
}

func (m *Machine) proven(n *node) bool { return m.at >= m.provenAt(n) }

// chooseProven is choose among those that can be relied on, or among all if none can.
func (m *Machine) chooseProven(u *unit, may func(*candidate) bool, load, total func(*node) int) *node {
	n := u.choose(func(c *candidate) bool { return m.proven(c.node) && may(c) }, load, total)
	if n == nil {
		n = u.choose(may, load, total)
	}
	return n
}

// choose returns the best placed of the candidates of u that may be chosen, among them that with the least load, nil for none.
func (u *unit) choose(may func(*candidate) bool, load, total func(*node) int) *node {
	var best *candidate
	for i := range u.group.candidates {
		c := &u.group.candidates[i]
		if !may(c) {
			continue
		}
		if best == nil || cmp.Or(
			c.standing().compare(best.standing()),
			cmp.Compare(load(c.node), load(best.node)),
			cmp.Compare(total(c.node), total(best.node))) < 0 ||
			c.standing() == best.standing() && load(c.node) == load(best.node) && total(c.node) == total(best.node) && outranks(u.h, c.name, best.name) {
			best = c
		}
	}
	if best == nil {
		return nil
	}
	return best.node
}

// pick returns who of those that can be given units should get u, as things are.
func (m *Machine) pick(u *unit, not ...*node) *node {
	return u.choose(func(c *candidate) bool { return m.usable(c) && !slices.Contains(not, c.node) },
		func(n *node) int { return u.group.loads[n] }, func(n *node) int { return n.load })
}

// deputize works out the deputies of all units of g. Every node does so when it has seen no change for a while, and so all with the
// same in mind; when an owner is lost, they act on what they thought before, whatever else is going on then.
func (m *Machine) deputize(g *group) {
	g.stale = false
	delete(m.stale, g)
	m.deputized++
	type role struct{ owner, first *node }
	extra := map[role]map[*node]int{}
	of := func(r role) map[*node]int {
		e := extra[r]
		if e == nil {
			e = map[*node]int{}
			extra[r] = e
		}
		return e
	}
	units := slices.Collect(maps.Keys(g.units))
	slices.SortFunc(units, func(a, b *unit) int { return a.Compare(b.Unit) })
	none := func(*node) int { return 0 }
	g.provenAt = always
	for i := range g.candidates {
		if at := m.provenAt(g.candidates[i].node); at > m.at {
			g.provenAt = min(g.provenAt, at)
		}
	}
	if g.provenAt < always {
		m.timers.push(timer{at: g.provenAt, g: g})
	}
	for _, u := range units {
		owner, before := u.owner, u.deputies
		u.deputies = [2]*node{}
		first := of(role{owner: owner})
		u.deputies[0] = m.chooseProven(u, func(c *candidate) bool { return c.node != owner && m.usable(c) },
			func(n *node) int { return g.loads[n] + first[n] }, none)
		if u.open && u.deputies[0] != before[0] {
			m.touch(u) // who is to stand in may be another
		}
		if u.deputies[0] == nil {
			continue
		}
		first[u.deputies[0]]++
		second := of(role{owner, u.deputies[0]})
		u.deputies[1] = m.chooseProven(u, func(c *candidate) bool { return c.node != owner && c.node != u.deputies[0] && m.usable(c) },
			func(n *node) int { return g.loads[n] + first[n] + second[n] }, none)
		if u.deputies[1] != nil {
			second[u.deputies[1]]++
		}
	}
}

// deputy returns the first deputy of u that can act and is not one of those given; nil when there is none.
func (m *Machine) deputy(u *unit, not ...*node) *node {
	for _, n := range u.deputies {
		if n == nil || slices.Contains(not, n) {
			continue
		}
		if c := u.group.candidate(n); c != nil && c.node == n && m.usable(c) {
			return n
		}
	}
	return nil
}
