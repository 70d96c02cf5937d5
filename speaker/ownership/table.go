package ownership

import (
	"slices"
	"time"
)

// A node is what is known of one node.
type node struct {
	name string

	member      Member
	present     bool          // gossip hears it
	absentSince time.Duration // since when not, or never
	verdict     Verdict
	mode        mode
	modeSince   time.Duration
	hereSince   time.Duration // since when it could be given units
	backSince   time.Duration // since when it is not lost, or of another life: see proven

	// What it claims, as known here, and how new that is.
	version Version
	set     map[*unit]Claim
	// load is how many units it has or is expected to take.
	load int

	pruned   bool          // it was lost so long ago that its claims were forgotten
	asked    time.Duration // when it was last asked for what is lacking here of one set
	askedAll time.Duration // and of all
	assumed  bool          // its mode is what it was, because nothing better is known
}

// A mode is what a node can be counted on for.
type mode uint8

const (
	// lost: what it has must be taken by others.
	lost mode = iota
	// mum: its kernel lives and what it has stays there, but its speaker does not answer. A deputy stands in.
	mum
	// here: it answers for what it claims.
	here
)

// A unit is what is known of one Unit.
type unit struct {
	Unit
	h        uint64 // its hash
	group    *group // nil while no candidates are known
	failback Failback
	claims   []claimant
	term     uint64 // the highest seen

	// owner is whose the unit is: who claims it, or, if that node is lost, did so until a moment ago.
	owner      *node
	ownerSince time.Duration
	cause      Cause
	vacant     bool
	vacantFrom time.Duration
	counted    *node // in whose load it is

	deputies [2]*node // as of when all was calm

	// While it is vacant: who should take it, since when, until when that is waited for, and who did not.
	expected     *node
	expectedFrom time.Duration
	wellSince    time.Duration // since when this node's own link that it needs is not dead any more
	expireAt     time.Duration
	passed       []*node

	wakeAt time.Duration // when it is to be decided again in any case
	dirty  bool          // to be decided in this step
	open   bool          // not simply somebody's: to be decided again when any node changes
	answer Answer
	told   Answer

	// While it is this node's own.
	// While its own claim is provisional: whether this node suspects itself, and since when it does not any more.
	suspected  bool
	clearedAt  time.Duration
	probing    bool // a first claim that was not yet seen to be free
	offer      offer
	declined   []*node // who could not take it
	declinedAt time.Duration
	ordered    string
	bestRank   uint8         // that this node had since it owns the unit
	heldFor    time.Duration // the back-off, while a foreign host holds it
	retryAt    time.Duration
	leftover   time.Duration // since when there is nobody to give it to although it must go

	// took is whether it has claimed the unit in this step.
	took bool

	// While this node stands in, or has just found that another should.
	yieldsAt time.Duration // when it leaves it to the other, or never
	lookedAt time.Duration
	looking  bool // no answer yet
	free     bool
}

// A claimant is a node with a claim on a unit.
type claimant struct {
	*node
	Claim
}

// An offer is under way while to is not nil.
type offer struct {
	to     *node
	cause  Cause
	since  time.Duration
	sentAt time.Duration
}

// never is a time long ago, always one that does not come.
const (
	never  = -1 << 62
	always = 1 << 62
)

// beats reports whether claim c of node n on a unit is better than claim d of node o: the solid one before the provisional, then the
// later term; the rest is a matter of taste on which all agree.
func (u *unit) beats(n *node, c Claim, o *node, d Claim) bool {
	switch {
	case c.Provisional != d.Provisional:
		return !c.Provisional
	case c.Term != d.Term:
		return c.Term > d.Term
	}
	return outranks(u.h, n.name, o.name)
}

// outranks reports whether node a has the higher rendezvous hash for a unit with that hash.
func outranks(unit uint64, a, b string) bool {
	s, t := score(unit, a), score(unit, b)
	return s > t || s == t && a < b
}

// best returns the best claim of nodes that are not lost to the unit, and the best of those that are.
func (m *Machine) best(u *unit) (alive, dead claimant) {
	for _, c := range u.claims {
		into := &alive
		if m.lostTo(u, c.node) {
			into = &dead
		}
		if into.node == nil || u.beats(c.node, c.Claim, into.node, into.Claim) {
			*into = c
		}
	}
	return alive, dead
}

// lostTo reports whether n, or its link that u needs, is dead. This node is never lost to itself.
func (m *Machine) lostTo(u *unit, n *node) bool {
	if n == m.self {
		return false
	}
	if n.mode == lost {
		return true
	}
	p := u.group.candidate(n)
	return p != nil && p.dead
}

func (m *Machine) node(name string) *node {
	n := m.nodes[name]
	if n == nil {
		n = &node{name: name, set: map[*unit]Claim{}, absentSince: never, asked: never, askedAll: never, modeSince: m.at, hereSince: m.at, backSince: never}
		m.nodes[name] = n
	}
	return n
}

func (m *Machine) unit(key Unit) *unit {
	u := m.units[key]
	if u == nil {
		u = &unit{Unit: key, h: key.hash(), yieldsAt: never, lookedAt: never, wakeAt: always}
		m.units[key] = u
	}
	return u
}

// setClaim notes what n claims of u; term 0 is nothing.
func (m *Machine) setClaim(n *node, u *unit, c Claim) {
	i := slices.IndexFunc(u.claims, func(c claimant) bool { return c.node == n })
	switch {
	case c.Term == 0 && i >= 0:
		u.claims = slices.Delete(u.claims, i, i+1)
		delete(n.set, u)
		m.unbalance(u.group) // what is disputed does not move
		if n != m.self && u.owner == m.self && u.answer.As == Own {
			m.out.Reannounce = append(m.out.Reannounce, u.Unit)
		}
	case c.Term == 0:
		return
	case i >= 0:
		u.claims[i].Claim = c
		n.set[u] = c
	default:
		u.claims = append(u.claims, claimant{n, c})
		n.set[u] = c
	}
	u.term = max(u.term, c.Term)
	m.touch(u)
}

// touch has u decided in this step.
func (m *Machine) touch(u *unit) {
	if !u.dirty {
		u.dirty = true
		m.dirty = append(m.dirty, u)
	}
}

// setOpen notes whether what becomes of u depends on other nodes than its owner.
func (m *Machine) setOpen(u *unit, open bool) {
	if open == u.open {
		return
	}
	u.open = open
	if open {
		m.open[u] = struct{}{}
	} else {
		delete(m.open, u)
	}
}

// count puts u into the load of n, nil for nobody's.
func (m *Machine) count(u *unit, n *node) {
	if u.counted == n {
		return
	}
	if o := u.counted; o != nil {
		o.load--
		u.group.add(o, -1)
	}
	u.counted = n
	if n != nil {
		n.load++
		u.group.add(n, 1)
	}
	m.unbalance(u.group)
}

// setOwner notes whose u is.
func (m *Machine) setOwner(u *unit, n *node, cause Cause) {
	before, took := u.owner, u.took && n == m.self
	u.took = false
	if before == n {
		return
	}
	u.owner, u.ownerSince, u.cause = n, m.at, cause
	if !m.knew && !took {
		return // it only learns what has been
	}
	move := Move{Unit: u.Unit, Cause: cause}
	if before != nil {
		move.From = before.name
	}
	if n != nil {
		move.To = n.name
	}
	m.out.Moves = append(m.out.Moves, move)
}

// mine returns this node's claim on u.
func (m *Machine) mine(u *unit) (Claim, bool) {
	c, ok := m.self.set[u]
	return c, ok
}

// claim makes u this node's, or changes the claim that it has.
func (m *Machine) claim(u *unit, c Claim) {
	if _, had := m.mine(u); !had {
		m.endOffer(u)
		u.declined, u.ordered = nil, ""
		u.probing, u.heldFor, u.retryAt, u.leftover = false, 0, never, never
		u.bestRank = 255
	}
	m.setClaim(m.self, u, c)
	m.publish(u)
}

// release gives up this node's claim.
func (m *Machine) release(u *unit) {
	m.setClaim(m.self, u, Claim{})
	m.endOffer(u)
	u.probing, u.declined, u.ordered = false, nil, ""
	m.publish(u)
}

// forget drops a unit of which nothing is known any more.
func (m *Machine) forget(u *unit) {
	m.setOpen(u, false)
	delete(m.units, u.Unit)
}

// forgetAfter is how long what a lost node claimed is remembered. By then whoever could has taken it.
const forgetAfter = 10 * time.Minute

// prune forgets what a lost node claimed. If it returns it is asked.
func (m *Machine) prune(n *node) {
	n.pruned = true
	for u := range n.set {
		m.setClaim(n, u, Claim{})
	}
	n.version = Version{}
}

// mayAnswer reports whether n is a candidate of any unit.
func (m *Machine) mayAnswer(n *node) bool {
	for _, g := range m.groups {
		if g.candidate(n) != nil {
			return true
		}
	}
	return false
}

// newer reports whether a set of version v comes after one of version w.
func (v Version) newer(w Version) bool {
	switch {
	case v.Epoch != w.Epoch:
		return v.Epoch > w.Epoch
	case v.Life != w.Life:
		return v.Life > w.Life
	}
	return v.Number > w.Number
}

func (v Version) sameRun(w Version) bool { return v.Epoch == w.Epoch && v.Life == w.Life }
