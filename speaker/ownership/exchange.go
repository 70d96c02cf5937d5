package ownership

import (
	"slices"
	"time"
)

// How sets of claims are kept the same at all nodes.
const (
	// maxPacket is how many bytes a message may have that is sent as a packet.
	maxPacket = 1000
	// maxPackets is how many packets are sent to everybody at most, before a stream is used.
	maxPackets = 8
	// logLimit is how many changes of its own a node can tell apart; who lacks more gets the whole set.
	logLimit = 4096
	// digestEvery is how often a node tells some others how new what it knows is, and digestTo how many.
	digestEvery = time.Second
	digestTo    = 3
	// askEvery is how often is asked for what is known to be lacking; exchangeEvery while nothing can be done without.
	askEvery      = 50 * time.Millisecond
	exchangeEvery = 100 * time.Millisecond
	exchangeFor   = time.Second
	// pause is the gap between steps that is taken for one of the node.
	pause = time.Second
	// tick is how often a machine wants to be stepped at least.
	tick = 300 * time.Millisecond
)

// What a member that makes up names may have others remember.
const (
	maxNodes = 4096
	// maxStrangers bounds the units that are claimed and of which the API server has not told, or not yet.
	maxStrangers = 1 << 15
)

// strangers is how many units nobody may answer for, as far as is known here.
func (m *Machine) strangers() int { return len(m.units) - m.placed }

// After a change everybody is told how new the set is now, in case a packet was lost.
var repeats = []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond, time.Second}

// exchange is the state of asking the others for all that they know, which a machine does before it says anything.
type exchange struct {
	active   bool
	served   bool // one that has served for a while has answered
	nonce    uint64
	since    time.Duration
	nextAsk  time.Duration
	asked    int
	answered map[*node]bool
}

// logged is a change of this node's set.
type logged struct {
	number uint64
	unit   *unit
}

// publish notes that this node's claim on u is to be told.
func (m *Machine) publish(u *unit) {
	if m.serving {
		m.pending = append(m.pending, u)
	}
}

// flush tells the others what has changed in this node's set.
func (m *Machine) flush() {
	if m.wholeDue {
		m.wholeDue, m.pending, m.log = false, m.pending[:0], m.log[:0]
		m.self.version.Number++
		m.logFrom = m.self.version.Number
		c := m.setSince(m.self, 0)
		m.out.Send = append(m.out.Send, Send{Reliable: len(c.Append(nil)) > maxPacket, Message: c})
		m.repeat()
		return
	}
	if len(m.pending) == 0 {
		return
	}
	slices.SortFunc(m.pending, func(a, b *unit) int { return a.Compare(b.Unit) })
	pending := slices.Compact(m.pending)
	var packets []Message
	for len(pending) > 0 {
		c := &Claims{Node: m.self.name, Base: m.self.version.Number}
		m.self.version.Number++
		c.To = m.self.version
		size := 64 + len(m.self.name)
		for len(pending) > 0 && size < maxPacket {
			u := pending[0]
			pending = pending[1:]
			m.log = append(m.log, logged{m.self.version.Number, u})
			c.Changes = append(c.Changes, Change{u.Unit, m.self.set[u]})
			size += 32 + len(u.Segment) + len(u.Address.Zone())
		}
		packets = append(packets, c)
	}
	if len(packets) > maxPackets {
		all := packets[0].(*Claims)
		for _, p := range packets[1:] {
			all.Changes = append(all.Changes, p.(*Claims).Changes...)
		}
		all.To = m.self.version
		m.out.Send = append(m.out.Send, Send{Reliable: true, Message: all})
	} else {
		for _, p := range packets {
			m.out.Send = append(m.out.Send, Send{Message: p})
		}
	}
	if over := len(m.log) - logLimit; over > 0 {
		m.logFrom = m.log[over-1].number
		m.log = slices.Delete(m.log, 0, over)
	}
	m.pending = m.pending[:0]
	m.repeat()
}

// repeat has the version of this node's set told again.
func (m *Machine) repeat() {
	m.repeats, m.repeatedAt = repeats, m.at
}

// setSince returns what n's set has become since version number base; all of it when that is not known.
func (m *Machine) setSince(n *node, base uint64) *Claims {
	c := &Claims{Node: n.name, To: n.version}
	if n == m.self && base >= m.logFrom && base > 0 {
		c.Base = base
		var units []*unit
		for _, l := range m.log {
			if l.number > base {
				units = append(units, l.unit)
			}
		}
		slices.SortFunc(units, func(a, b *unit) int { return a.Compare(b.Unit) })
		for _, u := range slices.Compact(units) {
			c.Changes = append(c.Changes, Change{u.Unit, n.set[u]})
		}
		return c
	}
	for u, claim := range n.set {
		c.Changes = append(c.Changes, Change{u.Unit, claim})
	}
	slices.SortFunc(c.Changes, func(a, b Change) int { return a.Unit.Compare(b.Unit) })
	return c
}

// hearClaims takes in what somebody says of a set.
func (m *Machine) hearClaims(from string, c *Claims) {
	if m.nodes[c.Node] == nil && len(m.nodes) >= maxNodes {
		return
	}
	n := m.node(c.Node)
	if n == m.self && m.serving {
		m.hearOfFormerSelf(c)
		return
	}
	if !c.To.newer(n.version) || n.pruned && from != n.name {
		return
	}
	if c.Base > 0 && !(c.To.sameRun(n.version) && n.version.Number >= c.Base) {
		m.ask(from, n)
		return
	}
	if c.Base == 0 {
		kept := make(map[Unit]bool, len(c.Changes))
		for _, ch := range c.Changes {
			kept[ch.Unit] = true
		}
		for u := range n.set {
			if !kept[u.Unit] {
				m.setClaim(n, u, Claim{})
			}
		}
	}
	whole := true
	for _, ch := range c.Changes {
		if m.units[ch.Unit] == nil {
			if ch.Claim.Term == 0 {
				continue
			}
			if m.strangers() >= maxStrangers {
				whole = false
				continue
			}
		}
		m.setClaim(n, m.unit(ch.Unit), ch.Claim)
	}
	if whole { // else it is asked for again
		n.version = c.To
	}
	m.tableAt = m.at
	m.judge(n)
}

// hearOfFormerSelf takes in what others remember of this node's speakers before this one, when that comes late. Units that
// nobody has claimed since are this node's still.
func (m *Machine) hearOfFormerSelf(c *Claims) {
	if c.To.sameRun(m.self.version) || !c.To.newer(m.self.version) {
		return
	}
	m.self.version = Version{Epoch: min(c.To.Epoch+1, maxTerm), Life: m.config.Life}
	m.wholeDue = true
	if c.Base > 0 {
		return
	}
	for _, ch := range c.Changes {
		u := m.units[ch.Unit]
		if u != nil && len(u.claims) == 0 && u.group.candidate(m.self) != nil && ch.Claim.Term > 0 {
			m.claim(u, ch.Claim)
			u.owner, u.ownerSince, u.cause = m.self, m.at, ch.Claim.Cause // which it was before
		}
	}
}

// ask asks a node for what is lacking of n's set.
func (m *Machine) ask(from string, n *node) {
	if m.at-n.asked < askEvery {
		return
	}
	n.asked = m.at
	m.question(from, &Digest{Sets: []SetVersion{{n.name, n.version}}})
}

// askAll asks a node for everything that it knows better.
func (m *Machine) askAll(n *node) {
	if n == m.self || m.at-n.askedAll < exchangeEvery {
		return
	}
	n.askedAll = m.at
	m.question(n.name, &Digest{Full: true, Sets: m.versions()})
}

func (m *Machine) question(to string, d *Digest) {
	m.nonce++
	d.Ask = m.nonce
	m.sendDigest([]string{to}, d)
}

func (m *Machine) sendDigest(to []string, d *Digest) {
	// In a cold start the first to serve knows no more than the others.
	d.Serving, d.Sum = m.serving && m.at-m.servedAt > m.config.Limit, m.sum()
	m.out.Send = append(m.out.Send, Send{To: to, Reliable: len(d.Sets) > 1 && len(d.Append(nil)) > maxPacket, Message: d})
}

// versions returns how new all sets known are.
func (m *Machine) versions() []SetVersion {
	var sets []SetVersion
	for _, n := range m.nodes {
		if n.version.Number > 0 {
			sets = append(sets, SetVersion{n.name, n.version})
		}
	}
	slices.SortFunc(sets, func(a, b SetVersion) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return sets
}

// sum returns a sum over all versions known.
func (m *Machine) sum() uint64 {
	var sum uint64
	for _, n := range m.nodes {
		if v := n.version; v.Number > 0 {
			sum += mix(score(mix(v.Epoch^mix(v.Life)), n.name) ^ v.Number)
		}
	}
	if sum == 0 {
		return 1
	}
	return sum
}

// hearDigest answers a question, and asks for what the sender knows better.
func (m *Machine) hearDigest(from string, d *Digest) {
	if d.Ask != 0 {
		m.reply(from, d)
	}
	sender := m.nodes[from]
	if sender == nil {
		return // it is a member, of which will be told in a moment, and it goes on saying this
	}
	lacking := false
	for _, s := range d.Sets {
		n := m.nodes[s.Node]
		switch {
		case n == nil:
			lacking = s.Version.Number > 0
		case n.pruned && from != n.name:
		case n == m.self && m.serving && (s.Version.sameRun(n.version) || !s.Version.newer(n.version)):
		case s.Version.newer(n.version):
			lacking = true
			m.ask(from, n)
		}
	}
	if d.Full && lacking && d.Reply == 0 {
		m.askAll(sender)
	}
	// Two that both lack nothing of each other's may still lack something of a third's.
	if !d.Full && !lacking && d.Sum != 0 && d.Sum != m.sum() && m.at-m.tableAt > tick && m.at-sender.askedAll > digestEvery {
		m.askAll(sender)
	}
	if x := &m.exchange; x.active && d.Reply == x.nonce && !lacking {
		x.answered[sender] = true
		if d.Serving {
			x.served = true
		}
	}
}

// reply sends what the asking node lacks.
func (m *Machine) reply(to string, d *Digest) {
	known := map[string]Version{}
	for _, s := range d.Sets {
		known[s.Node] = s.Version
	}
	size := 0
	for _, s := range m.versions() {
		v, listed := known[s.Node]
		if !listed && !d.Full || !s.Version.newer(v) {
			continue
		}
		base := uint64(0)
		if v.sameRun(s.Version) {
			base = v.Number
		}
		c := m.setSince(m.nodes[s.Node], base)
		n := len(c.Append(nil))
		m.out.Send = append(m.out.Send, Send{To: []string{to}, Reliable: n > maxPacket || size > maxPackets*maxPacket, Message: c})
		size += n
	}
	if d.Full {
		m.sendDigest([]string{to}, &Digest{Reply: d.Ask, Full: true, Sets: m.versions()})
	}
}

// beginExchange begins to ask for all that the others know.
func (m *Machine) beginExchange() {
	m.nonce++
	m.exchange = exchange{active: true, nonce: m.nonce, since: m.at, nextAsk: m.at, answered: map[*node]bool{}}
}

// goOnExchange asks again, and ends it when there is nothing more to hear.
func (m *Machine) goOnExchange() {
	x := &m.exchange
	if !x.active || !m.whole {
		return
	}
	var others []*node
	all := true
	for _, n := range m.nodes {
		if n != m.self && n.present {
			others = append(others, n)
			all = all && x.answered[n]
		}
	}
	switch {
	case x.served, m.serving && (all || m.at-x.since >= exchangeFor), !m.serving && m.settled:
		x.active = false
		m.changedNode(m.self) // it can take units again
		return
	}
	if m.at < x.nextAsk || len(others) == 0 {
		return
	}
	x.nextAsk = m.at + exchangeEvery
	slices.SortFunc(others, func(a, b *node) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	d := &Digest{Ask: x.nonce, Full: true, Sets: m.versions()}
	var to []string
	for range min(digestTo, len(others)) {
		to = append(to, others[x.asked%len(others)].name)
		x.asked++
	}
	m.sendDigest(to, d)
}

// sayDigests tells others now and then how new what is known here is.
func (m *Machine) sayDigests() {
	if m.self.version.Number == 0 || !m.serving {
		return
	}
	short := &Digest{Sets: []SetVersion{{m.self.name, m.self.version}}}
	for said := false; len(m.repeats) > 0 && m.at-m.repeatedAt >= m.repeats[0]; m.repeats = m.repeats[1:] {
		if !said {
			m.sendDigest(nil, short)
			said = true
		}
	}
	if m.at < m.digestAt {
		return
	}
	m.nonce++
	r := mix(m.config.Life ^ mix(m.nonce))
	m.digestAt = m.at + digestEvery*3/4 + time.Duration(r%uint64(digestEvery/2))
	var others []string
	for _, n := range m.nodes {
		if n != m.self && n.present {
			others = append(others, n.name)
		}
	}
	slices.Sort(others)
	for range digestTo {
		if len(others) == 0 {
			break
		}
		i := int(r % uint64(len(others)))
		m.sendDigest([]string{others[i]}, short)
		others = slices.Delete(others, i, i+1)
		r = mix(r)
	}
}
