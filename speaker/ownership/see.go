package ownership

import (
	"maps"
	"slices"
	"time"
)

// see takes in what is not a message.
func (m *Machine) see(in Input) {
	m.whole = in.Whole
	if m.alone != in.Isolated {
		m.alone = in.Isolated
		if !m.alone {
			m.wellSince = m.at
		}
		for u := range m.open {
			m.touch(u)
		}
	}
	if in.Whole && !m.begun {
		m.begun, m.session = true, in.Session
		m.beginExchange()
	}
	if m.begun && (in.Session != m.session || !in.Whole && m.wholeSince != never) {
		// Whom it has not heard in this session it does not know to be gone.
		m.wholeSince, m.stableSince, m.settled = never, m.at, false
		m.session = in.Session
		m.beginExchange()
		for _, n := range m.nodes {
			m.judge(n)
		}
	}
	if m.leave != in.Leave {
		m.leave = in.Leave
		m.changedNode(m.self)
	}
	m.seeMembers(in.Members)
	for _, v := range in.Verdicts {
		n := m.node(v.Node)
		n.verdict = v
		m.judge(n)
	}
	seen := map[*Candidate]*group{}
	for _, key := range slices.SortedFunc(maps.Keys(in.Units), Unit.Compare) {
		p := in.Units[key]
		if m.units[key] == nil && len(p.Candidates) == 0 {
			continue
		}
		m.place(m.unit(key), p, seen)
	}
	for _, e := range in.Evidence {
		m.seeEvidence(e)
	}
	for _, o := range in.Orders {
		if u := m.units[o.Unit]; u != nil && u.owner == m.self {
			u.ordered = o.To
			m.touch(u)
		}
	}
}

// seeMembers takes in whom gossip hears.
func (m *Machine) seeMembers(members []Member) {
	if members == nil {
		return
	}
	names := make([]string, 0, len(members))
	heard := make(map[string]bool, len(members))
	for _, member := range members {
		names = append(names, member.Node)
		heard[member.Node] = true
		n := m.node(member.Node)
		if n.present && n.member == member {
			continue
		}
		another := n.member.Life != member.Life
		met := !n.present || another
		if n.member.Stale != member.Stale || n.member.Leaving != member.Leaving {
			defer m.changedNode(n)
		}
		n.present, n.member = true, member
		if n == m.self && member.Life != 0 && member.Life != m.config.Life {
			m.rename(member.Life)
		}
		m.judge(n)
		if another { // one that gossip alone had lost for a moment has not been away
			n.backSince = m.at
		}
		if met && m.serving {
			n.askedAll = never
			m.askAll(n)
		}
	}
	for _, n := range m.nodes {
		if n.present && !heard[n.name] {
			n.present, n.absentSince = false, m.at
			m.judge(n)
		}
	}
	others := len(heard) > 1 || len(heard) == 1 && !heard[m.config.Self]
	if others && !m.hears {
		m.hearsSince = m.at
	}
	m.hears = others
	slices.Sort(names)
	if !slices.Equal(names, m.names) {
		m.names, m.stableSince = names, m.at
	}
}

// rename has this node's set told anew, by another life: the others take sets of any but the one that they hear for those of a
// speaker before.
func (m *Machine) rename(life uint64) {
	m.config.Life = life
	if m.serving {
		m.self.version = Version{Epoch: min(m.self.version.Epoch+1, maxTerm), Life: life}
		m.wholeDue = true
	}
}

// absentFor is how long gossip must not have heard a node of which detection knows nothing, until it is lost.
const absentFor = time.Second

// judge decides what n can be counted on for.
func (m *Machine) judge(n *node) {
	now, assumed := m.modeOf(n)
	n.assumed = assumed
	if now == n.mode {
		return
	}
	if n.mode == lost && n != m.self {
		n.backSince = m.at
	}
	n.mode, n.modeSince, n.pruned = now, m.at, false
	if now == here {
		n.hereSince = m.at
	}
	m.changedNode(n)
}

// modeOf returns what n can be counted on for, and whether that is only assumed because this speaker has
// not been here for long enough to know.
func (m *Machine) modeOf(n *node) (mo mode, assumed bool) {
	if n == m.self {
		if m.serving {
			return here, false
		}
		return mum, false
	}
	state := n.verdict.State
	if n.present && n.verdict.Life != 0 && n.member.Life != n.verdict.Life && state != Alive {
		state = Unjudged // that was the speaker before
	}
	if state != Dead && m.alone && !n.present && m.settled && m.at-n.absentSince >= absentFor {
		return lost, false // detection judges nobody while it is this node that seems to be cut off
	}
	switch state {
	case Dead:
		return lost, false
	case Silent:
		return mum, false
	case Unjudged:
		if !n.present {
			if m.settled && m.at-n.absentSince >= absentFor {
				return lost, false
			}
			if n.mode == here {
				return here, true
			}
			return mum, true
		}
	}
	if state == Alive && n.verdict.Life != 0 && n.verdict.Life != n.member.Life {
		return mum, false // its speaker has started anew: one of detection and gossip does not know yet, and what it claims is of the one before
	}
	// It tells its claims as soon as it serves, which may be heard before it is said.
	if !n.member.Restarting && n.version.Number > 0 && n.version.Life == n.member.Life {
		return here, false
	}
	return mum, false
}

// changedNode has everything decided again that n has to do with.
func (m *Machine) changedNode(n *node) {
	for u := range n.set {
		m.touch(u)
	}
	for u := range m.open {
		m.touch(u)
	}
	for _, g := range m.groups {
		if g.candidate(n) != nil {
			m.unbalance(g)
		}
	}
}

// seeEvidence takes in what the wire showed of a unit.
func (m *Machine) seeEvidence(e Evidence) {
	u := m.units[e.Unit]
	if u == nil {
		return
	}
	m.touch(u)
	c, mine := m.mine(u)
	switch {
	case u.looking:
		u.looking, u.free = false, e.Found == FoundFree
	case !mine || !m.serving:
	case e.Found == FoundHeld:
		u.heldFor = min(max(2*u.heldFor, heldFirst), heldLimit)
		u.retryAt = m.at + u.heldFor
		u.probing = false
		if !c.Held {
			c.Held = true
			m.claim(u, c)
		}
	case u.probing:
		u.probing, u.heldFor = false, 0
		m.unbalance(u.group)
		if c.Held {
			c.Held = false
			m.claim(u, c)
		}
	}
}
