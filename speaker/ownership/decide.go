package ownership

import (
	"slices"
	"time"
)

// How long is waited for another.
const (
	// expectFor is how long the node that should take a unit has for it.
	expectFor = 300 * time.Millisecond
	// courtesy is how long after a cold start those are waited for at least that do not serve yet.
	courtesy = 1300 * time.Millisecond
	// releasedFor is how long a unit that was given up is left alone: the claim for which it was may be heard later than that.
	releasedFor = 200 * time.Millisecond
	// solidFor is for how long a node must not have suspected itself until what it claimed provisionally is its own.
	solidFor = 2 * time.Second
	// solidAlone is the same where no other node is heard.
	solidAlone = 5 * time.Second
	// isolatedFor is how long a node that suspects itself waits before it claims what others had.
	isolatedFor = time.Second
	// resendOffer and offerFor are after how long an offer is sent again, and given up.
	resendOffer = 150 * time.Millisecond
	offerFor    = 600 * time.Millisecond
	// declinedFor is how long one that could not take a unit is not asked again.
	declinedFor = time.Second
	// leftoverFor is how long a node that may no longer answer for a unit goes on while nobody can take it.
	leftoverFor = 2 * time.Second
	// yieldFor is for how long a stand-in goes on when it is sure that another deputy does. Deputies are worked out by each node for itself, and
	// while things change, not by all from the same. That two stand in is no harm: both answer with the owner's MAC.
	yieldFor = 3 * time.Second
	// lookFor is how long is waited for what a look at the wire shows.
	lookFor = 3 * time.Second
	// restFor is for how long an address stays free to take without a look after its owner has given it up.
	restFor = 10 * time.Second
	// heldFirst and heldLimit bound the back-off while a foreign host holds an address.
	heldFirst = 5 * time.Second
	heldLimit = 5 * time.Minute
)

// able reports whether this node can take units.
func (m *Machine) able() bool {
	return m.serving && m.whole && !m.leave && !m.exchange.active
}

// isolated reports whether this node suspects itself where u is concerned.
func (m *Machine) isolated(u *unit) bool {
	if m.alone {
		return true
	}
	c := u.group.candidate(m.self)
	return c != nil && c.dead
}

// deaf reports whether no other speaker is heard, though the kernel of one seems to answer that did not say that its speaker restarts. It may
// have answered last in the moment in which this node was cut off, which nothing else shows yet.
func (m *Machine) deaf() bool {
	silent := false
	for _, n := range m.nodes {
		switch {
		case n == m.self:
		case n.mode == here:
			return false
		case n.mode == mum && n.verdict.State == Silent && !n.member.Restarting:
			silent = true
		}
	}
	return silent
}

// expectable is usable, and in a cold start also true of speakers that are about to serve.
func (m *Machine) expectable(c *candidate) bool {
	return m.usable(c) || m.coming(c.node) && !c.dead && !c.member.Leaving
}

// coming reports whether n is about to serve, after a cold start. Where there are thousands of Services, it takes some speakers seconds
// longer than others until they have them all.
func (m *Machine) coming(n *node) bool {
	return m.cold && m.at < m.awaitedUntil() && n != m.self &&
		n.present && n.mode == mum && !n.member.Restarting && n.version.Number == 0
}

// awaitedUntil is until when those are waited for that do not serve yet: until this speaker would claim in any case, if not for longer.
func (m *Machine) awaitedUntil() time.Duration {
	return max(m.settledAt+courtesy, m.wholeSince+m.config.Limit)
}

// wake has u decided again at a time.
func (m *Machine) wake(u *unit, at time.Duration) {
	if at >= u.wakeAt {
		return
	}
	u.wakeAt = at
	m.timers.push(timer{at: at, u: u})
}

// decide decides u, except that units that somebody must take are put aside for take.
func (m *Machine) decide(u *unit) {
	mine, have := m.mine(u)
	alive, dead := m.best(u)
	if have && m.serving && alive.node != m.self {
		m.release(u)
		have = false
	}
	if u.group == nil {
		if have && m.serving {
			m.release(u)
		}
		m.vacate(u, false)
		m.setOwner(u, nil, CauseNone)
		m.count(u, nil)
		u.answer = Answer{}
		m.setOpen(u, len(u.claims) > 0)
		if len(u.claims) == 0 {
			m.tell(u)
			m.forget(u)
		}
		return
	}
	if alive.node == nil {
		m.vacate(u, true)
		u.answer = Answer{}
		if dead.node == nil {
			m.setOwner(u, nil, CauseGone)
		}
		m.setOpen(u, true)
		m.vacants = append(m.vacants, u)
		return
	}
	m.vacate(u, false)
	m.setOwner(u, alive.node, m.causeOf(u, alive))
	m.count(u, alive.node)
	owner := alive.node
	switch {
	case owner == m.self && m.serving:
		m.hold(u, mine)
	case owner.mode == here:
		u.answer = Answer{}
		m.setOpen(u, len(u.claims) > 1)
		if owner.member.Stale && u.group.candidate(owner) == nil {
			m.setOpen(u, true)
			m.relieve(u, alive, CauseLeave)
		}
	default:
		m.setOpen(u, true)
		m.standIn(u, alive)
	}
}

// causeOf returns why u has become c's.
func (m *Machine) causeOf(u *unit, c claimant) Cause {
	i := slices.IndexFunc(u.claims, func(d claimant) bool { return d.node == u.owner })
	if !u.took && i >= 0 && u.claims[i].node != c.node && u.claims[i].Term+1 != c.Term {
		return CauseConflict
	}
	return c.Cause
}

// vacate notes whether u is somebody's.
func (m *Machine) vacate(u *unit, vacant bool) {
	if vacant == u.vacant {
		return
	}
	u.vacant, u.vacantFrom = vacant, m.at
	u.expected, u.passed = nil, nil
	m.count(u, nil)
}

// hold decides what becomes of a unit that is this node's own.
func (m *Machine) hold(u *unit, c Claim) {
	m.setOpen(u, len(u.claims) > 1)
	if c.Held && m.at >= u.retryAt {
		u.probing, u.retryAt = true, always
	}
	if c.Held {
		m.wake(u, u.retryAt)
	}
	u.answer = Answer{}
	if !c.Held || u.probing {
		u.answer = Answer{As: Own, Claim: u.probing}
	}
	if c.Provisional {
		m.setOpen(u, true)
		switch {
		case m.isolated(u) || m.deaf():
			u.suspected = true
		case u.suspected:
			u.suspected, u.clearedAt = false, m.at
			m.wake(u, m.solidAt(u))
		case m.at >= m.solidAt(u):
			c.Provisional = false
			m.claim(u, c)
		default:
			m.wake(u, m.solidAt(u))
		}
	}
	self := u.group.candidate(m.self)
	if self != nil {
		u.bestRank = min(u.bestRank, uint8(min(self.standing().rank, 255)))
	}
	if o := u.offer; o.to != nil {
		m.setOpen(u, true)
		to := u.group.candidate(o.to)
		switch {
		case to == nil || !m.usable(to) || m.at-o.since >= offerFor:
			// It may have claimed and announced the unit with its last breath, unheard by this node, but not by those that use it.
			if u.answer == (Answer{As: Own}) {
				m.out.Reannounce = append(m.out.Reannounce, u.Unit)
			}
			m.decline(u)
		case m.at-o.sentAt >= resendOffer:
			m.offer(u)
			m.wake(u, m.at+resendOffer)
			return
		default:
			m.wake(u, min(o.sentAt+resendOffer, o.since+offerFor))
			return
		}
	}
	if len(u.declined) > 0 && m.at-u.declinedAt >= declinedFor {
		u.declined = nil
	}
	m.handOver(u, self)
}

// solidAt is when a provisional claim that is not suspected any more becomes this node's own. Who hears nobody waits longer: those
// that it was cut off from may just be about to find it.
func (m *Machine) solidAt(u *unit) time.Duration {
	if !m.hears {
		return u.clearedAt + solidAlone
	}
	return max(u.clearedAt, m.hearsSince) + solidFor
}

// handOver offers u to another when this node should not have it any longer. Failback is not decided here but for all
// units of a group, by balance.
func (m *Machine) handOver(u *unit, self *candidate) {
	var to *node
	cause := CauseNone
	switch {
	case self == nil || m.leave:
		cause = CauseLeave
		to = m.successor(u, nil)
	case u.ordered != "" && u.ordered != m.self.name:
		cause = CauseOrder
		n := m.nodes[u.ordered]
		if n == nil || slices.Contains(u.declined, n) || u.group.candidate(n) == nil || !m.usable(u.group.candidate(n)) {
			u.ordered = ""
			m.touch(u)
			return
		}
		to = n
	case self.standing().rank > int(u.bestRank):
		cause = CauseRank
		s := self.standing()
		to = m.successor(u, func(c *candidate) bool { return c.standing().rank < s.rank })
	}
	if to != nil {
		u.leftover = never
		m.setOpen(u, true)
		u.offer = offer{to: to, cause: cause, since: m.at}
		m.offer(u)
		m.wake(u, m.at+resendOffer)
		return
	}
	if cause == CauseNone {
		u.leftover = never
		return
	}
	m.setOpen(u, true) // whoever comes may take it
	if len(u.declined) > 0 {
		m.wake(u, u.declinedAt+declinedFor)
	}
	if cause == CauseRank {
		u.leftover = never
	}
	if self != nil {
		return
	}
	if u.leftover == never {
		u.leftover = m.at
	}
	if m.at-u.leftover >= leftoverFor || !m.anybody(u) {
		m.release(u)
		m.touch(u)
		return
	}
	m.wake(u, u.leftover+leftoverFor)
}

// anybody reports whether any other candidate of u can be given it, or may soon be.
func (m *Machine) anybody(u *unit) bool {
	return slices.ContainsFunc(u.group.candidates, func(c candidate) bool {
		return c.node != m.self && !c.dead && c.mode != lost
	})
}

// successor returns who is to be offered u: its first deputy if none is better placed, else who is.
func (m *Machine) successor(u *unit, may func(*candidate) bool) *node {
	not := append([]*node{m.self}, u.declined...)
	best := u.choose(func(c *candidate) bool {
		return m.usable(c) && !slices.Contains(not, c.node) && (may == nil || may(c))
	}, func(n *node) int { return u.group.loads[n] }, func(n *node) int { return n.load })
	if best == nil {
		return nil
	}
	if d := m.deputy(u, not...); d != nil && u.group.candidate(d).standing().compare(u.group.candidate(best).standing()) <= 0 {
		return d
	}
	return best
}

// offer sends the offer of u.
func (m *Machine) offer(u *unit) {
	u.offer.sentAt = m.at
	if u.offer.cause == CauseFailback && u.offer.since == m.at {
		m.failing++
	}
	m.offers = append(m.offers, u)
}

// endOffer ends the offer of u.
func (m *Machine) endOffer(u *unit) {
	if u.offer.to != nil && u.offer.cause == CauseFailback {
		m.failing--
		m.unbalance(u.group)
	}
	u.offer = offer{}
}

// decline notes that the node that u was offered can't take it.
func (m *Machine) decline(u *unit) {
	u.declined, u.declinedAt = append(u.declined, u.offer.to), m.at
	m.endOffer(u)
	m.touch(u)
}

// standIn decides what becomes of a unit whose owner's speaker is silent.
func (m *Machine) standIn(u *unit, owner claimant) {
	before, role := u.answer, Answer{As: StandIn, For: owner.name}
	u.answer = Answer{}
	if !m.serving || owner.node == m.self || owner.assumed {
		return
	}
	if u.group.candidate(owner.node) == nil {
		m.relieve(u, owner, CauseLeave)
		return
	}
	overdue := m.at - owner.modeSince - m.config.TakeOver
	first := m.deputy(u, owner.node)
	if first == nil || overdue > 2*lookFor {
		first = m.pick(u, owner.node)
	}
	may := !owner.Held && !m.config.NoStandIn
	if first != m.self {
		u.lookedAt, u.looking, u.free = never, false, false
		if overdue < 2*lookFor {
			m.wake(u, m.at-overdue+2*lookFor)
		}
		switch {
		case m.mayStandIn(u, owner):
			u.yieldsAt = m.at + yieldFor
		case before == role && u.yieldsAt == never:
			u.yieldsAt = m.at + yieldFor
		case before != role:
			u.yieldsAt = never
		}
		if may && m.at < u.yieldsAt {
			u.answer = role
			m.wake(u, u.yieldsAt)
		}
		return
	}
	u.yieldsAt = never
	if may {
		u.answer = role
	}
	switch {
	case overdue < 0:
		m.wake(u, m.at-overdue)
	case u.lookedAt == never || m.at-u.lookedAt >= m.config.TakeOver:
		// If only the gossip is split, the owner's speaker answers still.
		u.lookedAt, u.looking, u.free = m.at, true, false
		m.out.Look = append(m.out.Look, u.Unit)
		m.wake(u, m.at+lookFor)
	case m.isolated(u):
		m.wake(u, m.at+tick)
	case u.free || u.looking && m.at-u.lookedAt >= lookFor:
		m.take(u, owner, CauseSilent)
	case u.looking:
		m.wake(u, u.lookedAt+lookFor)
	default:
		m.wake(u, u.lookedAt+m.config.TakeOver)
	}
}

// mayStandIn reports whether another deputy than the first should stand in as well, because others may hold it for the first one: something else has
// changed right before the owner's speaker fell silent, or somebody has only just come back, which not all have seen alike.
func (m *Machine) mayStandIn(u *unit, owner claimant) bool {
	g := u.group
	return slices.Contains(u.deputies[:], m.self) && (g.stale && g.staleFrom < owner.modeSince || g.provenAt < always)
}

// relieve takes u from an owner that may no longer answer for it and can't be expected to know so.
func (m *Machine) relieve(u *unit, owner claimant, cause Cause) {
	u.answer = Answer{}
	if m.settled && !m.isolated(u) && m.pick(u, owner.node) == m.self {
		m.take(u, owner, cause)
	}
}

// takeVacant has the units claimed that nobody has and that fall to this node. All nodes work out alike whom a unit falls to, and
// look again when that one does not claim it.
func (m *Machine) takeVacant() {
	defer func() { m.vacants = m.vacants[:0] }()
	if !m.serving || !m.whole || m.exchange.active {
		return // when that ends, all that are open are decided again
	}
	slices.SortFunc(m.vacants, func(a, b *unit) int { return a.Compare(b.Unit) })
	for _, u := range slices.Compact(m.vacants) {
		_, dead := m.best(u)
		if !u.vacant || u.group == nil || dead.node == nil && !m.settled {
			continue
		}
		if at := u.vacantFrom + releasedFor; dead.node == nil && u.term > 0 && m.at < at {
			m.wake(u, at)
			continue
		}
		if n := u.expected; n != nil {
			c := u.group.candidate(n)
			switch {
			case c == nil || !m.expectable(c):
				m.expect(u, nil)
			case n != m.self && m.at >= u.expireAt:
				u.passed = append(u.passed, n)
				m.expect(u, nil)
			}
		}
		if u.expected == nil {
			m.expect(u, m.heir(u, dead))
		}
		switch u.expected {
		case nil:
			m.setOwner(u, nil, CauseGone)
		case m.self:
			from, doubts := m.doubts(u, dead)
			if doubts && m.at < from+isolatedFor {
				m.wake(u, from+isolatedFor)
				continue
			}
			cause := CauseLoss
			if dead.node == nil {
				cause = CauseFirstClaim
			}
			m.takeAs(u, dead, cause, doubts)
		default:
			m.wake(u, u.expireAt)
		}
	}
}

// doubts reports whether this node should wait before it claims what another had, and claim it provisionally, and from when on it
// counts: it suspects itself, it hears nobody or is deaf, or it has only just begun to be well or to hear anybody. A node whose link is back after
// it was cut off hears of one node after the other, and of everybody's claims, in a moment, and until then takes them for lost.
func (m *Machine) doubts(u *unit, dead claimant) (from time.Duration, doubts bool) {
	had := dead.node != nil || u.term > 0
	switch back := max(m.hearsSince, m.wellSince, u.wellSince); {
	case m.isolated(u):
		return u.vacantFrom, true
	case had && (!m.hears || m.deaf() || m.at < back+isolatedFor):
		return max(u.vacantFrom, u.expectedFrom, back), true
	}
	return u.vacantFrom, false
}

// heir returns whom a vacant unit falls to.
func (m *Machine) heir(u *unit, dead claimant) *node {
	if dead.node != nil {
		not := append(slices.Clone(u.passed), dead.node)
		first := m.deputy(u, not...)
		if first != nil && !m.proven(first) {
			if n := m.deputy(u, append(not, first)...); n != nil && m.proven(n) {
				return n
			}
		}
		if first != nil {
			return first
		}
	}
	may := func(c *candidate) bool { return m.expectable(c) && !slices.Contains(u.passed, c.node) }
	load, total := func(n *node) int { return u.group.loads[n] }, func(n *node) int { return n.load }
	choose := func() *node {
		if dead.node == nil && u.term == 0 {
			return u.choose(may, load, total) // of what nobody had nobody doubts anything
		}
		return m.chooseProven(u, may, load, total)
	}
	n := choose()
	if n == nil && len(u.passed) > 0 {
		u.passed = nil
		n = choose()
	}
	return n
}

// expect notes who should take u.
func (m *Machine) expect(u *unit, n *node) {
	u.expected, u.expectedFrom = n, m.at
	u.expireAt = m.at + expectFor
	if n != nil && m.coming(n) {
		u.expireAt = m.awaitedUntil()
	}
	m.count(u, n)
}

// take claims u, after claim before.
func (m *Machine) take(u *unit, before claimant, cause Cause) {
	m.takeAs(u, before, cause, m.isolated(u))
}

// takeAs claims u as take does, provisionally or not.
func (m *Machine) takeAs(u *unit, before claimant, cause Cause, provisional bool) {
	fresh := before.node == nil && (u.term == 0 || m.at-u.vacantFrom > restFor)
	m.claim(u, Claim{Term: min(u.term+1, maxTerm), Cause: cause, Provisional: provisional, Held: before.Held})
	u.took, u.probing = true, fresh || before.Held
	if before.Held {
		u.retryAt = always
	}
	u.suspected = true
	m.touch(u)
}
