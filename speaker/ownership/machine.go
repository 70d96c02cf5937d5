package ownership

import (
	"cmp"
	"container/heap"
	"iter"
	"slices"
	"time"
)

// A Machine holds what one speaker knows of ownership. It belongs to one goroutine.
type Machine struct {
	config Config
	self   *node

	// at is how long the machine has run, without the gaps in which it was not stepped. All times inside are by it,
	// so that a pause ends no waiting and a clock that jumps does no harm.
	at   time.Duration
	last time.Time

	whole, begun bool
	session      uint64
	leave, alone bool
	names        []string // of the members, sorted
	hears        bool     // another member than this node
	hearsSince   time.Duration
	wellSince    time.Duration // since when this node does not suspect itself any more
	wholeSince   time.Duration
	stableSince  time.Duration
	settled      bool
	settledAt    time.Duration
	cold         bool // nobody had served for a while when this speaker settled
	serving      bool
	servedAt     time.Duration
	mute         bool
	knew         bool // it served before this step
	exchange     exchange

	nodes  map[string]*node
	units  map[Unit]*unit
	placed int // units that are in a group
	groups map[string]*group
	open   map[*unit]struct{}

	timers     timers
	dirty      []*unit
	vacants    []*unit
	offers     []*unit
	changed    map[*unit]struct{} // whose answer may be another than what was told
	unbalanced map[*group]struct{}
	stale      map[*group]struct{}
	deputized  uint64 // how often deputies were worked out
	failing    int    // failbacks under way

	nonce      uint64
	pending    []*unit // changes to be told
	wholeDue   bool    // the whole set is to be told
	log        []logged
	logFrom    uint64
	repeats    []time.Duration
	repeatedAt time.Duration
	digestAt   time.Duration
	tableAt    time.Duration // when another's set last changed here

	out Output
}

// New returns a Machine that has seen nothing.
func New(c Config) *Machine {
	c.Stable = cmp.Or(c.Stable, DefaultStable)
	c.Limit = cmp.Or(c.Limit, DefaultLimit)
	c.TakeOver = cmp.Or(c.TakeOver, DefaultTakeOver)
	m := &Machine{config: c, nodes: map[string]*node{}, units: map[Unit]*unit{}, groups: map[string]*group{},
		open: map[*unit]struct{}{}, changed: map[*unit]struct{}{}, unbalanced: map[*group]struct{}{}, stale: map[*group]struct{}{},
		wholeSince: never, nonce: mix(c.Life)}
	m.self = m.node(c.Self)
	m.self.mode = mum
	return m
}

// Step takes in what was seen and says what follows. Its cost goes with what changed.
func (m *Machine) Step(now time.Time, in Input) Output {
	m.out = Output{}
	m.knew = m.serving
	m.advance(now)
	m.see(in)
	for _, r := range in.Messages {
		m.hear(r)
	}
	m.settle(in)
	m.goOnExchange()
	m.due()
	m.decideAll()
	m.balance()
	m.decideAll()
	m.calmDown()
	m.decideAll()
	m.flush()
	m.sayOffers()
	m.sayDigests()

	out := m.out
	out.Serving = m.serving
	out.Mute = m.mute && m.exchange.active
	m.mute = out.Mute
	out.Answers = m.tellAnswers(out.Answers)
	out.Left = m.leave && m.nothingToGive()
	slices.SortFunc(out.Moves, func(a, b Move) int { return a.Unit.Compare(b.Unit) })
	slices.SortFunc(out.Reannounce, Unit.Compare)
	out.Reannounce = slices.Compact(out.Reannounce)
	out.WakeAt = now.Add(m.nextWake() - m.at)
	m.out = Output{}
	return out
}

// advance moves on the machine's time.
func (m *Machine) advance(now time.Time) {
	gap := time.Duration(0)
	if !m.last.IsZero() {
		gap = max(now.Sub(m.last), 0)
	}
	m.last = now
	m.at += min(gap, pause)
	if gap > pause && m.begun {
		m.beginExchange()
		m.mute = m.serving
	}
}

// hear takes in a message.
func (m *Machine) hear(r Received) {
	if r.From == m.self.name || r.From == "" {
		return
	}
	switch msg := r.Message.(type) {
	case *Claims:
		m.hearClaims(r.From, msg)
	case *Digest:
		m.hearDigest(r.From, msg)
	case *Offer:
		if from := m.nodes[r.From]; from != nil {
			m.hearOffer(from, msg)
		}
	case *Refusal:
		for _, key := range msg.Units {
			if u := m.units[key]; u != nil && u.offer.to != nil && u.offer.to.name == r.From {
				m.decline(u)
			}
		}
	}
}

// hearOffer takes the units offered, or says that it can't.
func (m *Machine) hearOffer(from *node, o *Offer) {
	var refused []Unit
	for _, offered := range o.Units {
		u := m.units[offered.Unit]
		if u == nil || u.group.candidate(m.self) == nil || !m.able() || m.isolated(u) {
			refused = append(refused, offered.Unit)
			continue
		}
		c, has := from.set[u]
		alive, _ := m.best(u)
		if !has || c.Term != offered.Term || alive.node != from {
			continue // that was before, or will be soon
		}
		m.take(u, alive, o.Cause)
	}
	if len(refused) > 0 {
		m.out.Send = append(m.out.Send, Send{To: []string{from.name}, Message: &Refusal{Units: refused}})
	}
}

// settle decides whether this speaker claims what falls to it, and whether it serves.
func (m *Machine) settle(in Input) {
	if !m.whole {
		return
	}
	if m.wholeSince == never {
		m.wholeSince = m.at
	}
	if !m.settled {
		due := m.wholeSince + m.config.Limit
		switch {
		case !in.Accounted:
		case m.othersWait():
			due = min(due, m.stableSince+m.config.Stable)
		default:
			due = min(due, max(m.stableSince, m.wholeSince)+m.config.Stable)
		}
		if m.at >= due {
			m.settled, m.settledAt = true, m.at
			m.cold = !m.exchange.served
			for _, n := range m.nodes {
				m.judge(n)
			}
			for u := range m.open {
				m.touch(u)
			}
		}
	}
	if !m.serving && (m.settled || m.exchange.served) {
		m.serve()
	}
}

// othersWait reports whether this speaker has its view later than others, who have given out by now what there is to claim and may be waiting
// for what falls to it, and knows all that they know.
func (m *Machine) othersWait() bool {
	serves := false
	for _, n := range m.nodes {
		if n == m.self || !n.present {
			continue
		}
		if !m.exchange.answered[n] {
			return false
		}
		serves = serves || n.mode == here
	}
	return serves
}

// serve begins to answer for what the others remember to be this node's.
func (m *Machine) serve() {
	m.serving, m.servedAt = true, m.at
	m.exchange.active = false
	m.self.version = Version{Epoch: min(m.self.version.Epoch+1, maxTerm), Life: m.config.Life}
	for u := range m.self.set {
		u.retryAt, u.leftover, u.bestRank = m.at, never, 255
		if u.group == nil {
			m.setClaim(m.self, u, Claim{})
		}
		m.touch(u)
	}
	m.wholeDue = true
	m.judge(m.self)
}

// due has what waited until now decided.
func (m *Machine) due() {
	for len(m.timers) > 0 && m.timers[0].at <= m.at {
		t := heap.Pop(&m.timers).(timer)
		switch {
		case t.g != nil:
			if m.groups[t.g.key] == t.g {
				m.unbalanced[t.g] = struct{}{}
				if m.at >= t.g.provenAt {
					t.g.provenAt = always
					m.unbalance(t.g)
				}
			}
		case t.u.wakeAt == t.at:
			t.u.wakeAt = always
			if m.units[t.u.Unit] == t.u {
				m.touch(t.u)
			}
		}
	}
	if m.settled {
		for _, n := range m.nodes {
			switch {
			case !n.present && n.mode != lost:
				m.judge(n)
			case n.mode == lost && !n.pruned && m.at-n.modeSince >= forgetAfter:
				m.prune(n)
			case n.pruned && m.at-n.modeSince >= 2*forgetAfter && !m.mayAnswer(n):
				delete(m.nodes, n.name)
			}
		}
	}
}

// decideAll decides what has changed until nothing does. That takes two or three rounds; should two decisions ever undo each
// other, they wait for the next step.
func (m *Machine) decideAll() {
	for range 10 {
		if len(m.dirty) == 0 {
			return
		}
		dirty := m.dirty
		m.dirty = nil
		slices.SortFunc(dirty, func(a, b *unit) int { return a.Compare(b.Unit) })
		for _, u := range dirty {
			u.dirty = false
			if m.units[u.Unit] != u {
				continue
			}
			m.changed[u] = struct{}{}
			m.decide(u)
		}
		if len(m.dirty) == 0 {
			m.takeVacant()
		}
	}
}

// calmDown works out the deputies of groups that have been calm for a while.
func (m *Machine) calmDown() {
	for g := range m.stale {
		if m.at >= g.calmAt() {
			m.deputize(g)
		}
	}
}

func (g *group) calmAt() time.Duration { return min(g.changedAt+calm, g.staleFrom+calmLimit) }

// sayOffers sends the offers decided on, those to the same node and for the same cause together.
func (m *Machine) sayOffers() {
	type address struct {
		to    string
		cause Cause
	}
	last := map[address]*Offer{}
	size := map[address]int{}
	for _, u := range m.offers {
		if u.offer.to == nil {
			continue
		}
		a := address{u.offer.to.name, u.offer.cause}
		if last[a] == nil || size[a] > maxPacket {
			last[a], size[a] = &Offer{Cause: a.cause}, 64
			m.out.Send = append(m.out.Send, Send{To: []string{a.to}, Message: last[a]})
		}
		last[a].Units = append(last[a].Units, OfferedUnit{u.Unit, m.self.set[u].Term})
		size[a] += 32 + len(u.Segment) + len(u.Address.Zone())
	}
	m.offers = m.offers[:0]
}

// tell notes u's answer if it is another than what was told.
func (m *Machine) tell(u *unit) {
	if u.answer != u.told {
		u.told = u.answer
		m.out.Answers = append(m.out.Answers, AnswerChange{u.Unit, u.answer})
	}
}

func (m *Machine) tellAnswers(out []AnswerChange) []AnswerChange {
	for u := range m.changed {
		if u.answer != u.told {
			u.told = u.answer
			out = append(out, AnswerChange{u.Unit, u.answer})
		}
	}
	clear(m.changed)
	slices.SortFunc(out, func(a, b AnswerChange) int { return a.Unit.Compare(b.Unit) })
	return out
}

// nothingToGive reports whether there is nothing that this node has and another could take.
func (m *Machine) nothingToGive() bool {
	if !m.serving {
		return true
	}
	for u := range m.self.set {
		if u.offer.to != nil {
			return false
		}
		for i := range u.group.candidates {
			if c := &u.group.candidates[i]; c.node != m.self && m.usable(c) {
				return false
			}
		}
	}
	return true
}

// nextWake returns when the machine wants to be stepped again.
func (m *Machine) nextWake() time.Duration {
	at := m.at + tick
	if len(m.timers) > 0 {
		at = min(at, m.timers[0].at)
	}
	if m.exchange.active && m.whole {
		at = min(at, max(m.exchange.nextAsk, m.at+exchangeEvery/4))
	}
	if len(m.repeats) > 0 {
		at = min(at, m.repeatedAt+m.repeats[0])
	}
	for g := range m.stale {
		at = min(at, g.calmAt())
	}
	if m.whole && !m.settled {
		at = min(at, m.wholeSince+m.config.Limit, max(m.stableSince+m.config.Stable, m.at+calm))
	}
	return max(at, m.at+time.Millisecond)
}

// A timer is when a unit or a group is to be decided again.
type timer struct {
	at time.Duration
	u  *unit
	g  *group
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
func (t *timers) push(x timer) { heap.Push(t, x) }

// Serving reports whether this speaker answers for what it owns and may be counted on.
func (m *Machine) Serving() bool { return m.serving }

// Settled reports whether this speaker claims what falls to it.
func (m *Machine) Settled() bool { return m.settled }

// Owner returns who owns u as this node sees it, "" for nobody.
func (m *Machine) Owner(u Unit) string {
	if s := m.units[u]; s != nil && s.owner != nil {
		return s.owner.name
	}
	return ""
}

// Deputies returns who takes u when its owner is lost, in order; at most two.
func (m *Machine) Deputies(u Unit) []string {
	s := m.units[u]
	if s == nil {
		return nil
	}
	var names []string
	for _, n := range s.deputies {
		if n != nil {
			names = append(names, n.name)
		}
	}
	return names
}

// Deputized counts how often deputies were worked out: while it stays the same, so does Standby.
func (m *Machine) Deputized() uint64 { return m.deputized }

// Standby returns the units that fall to this node when their owner is lost or silent, in no order.
func (m *Machine) Standby() iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for _, u := range m.units {
			if u.group != nil && u.deputies[0] == m.self && u.owner != m.self && !yield(u.Unit) {
				return
			}
		}
	}
}

// Answer returns how this node answers for u.
func (m *Machine) Answer(u Unit) Answer {
	if s := m.units[u]; s != nil {
		return s.told
	}
	return Answer{}
}

// Owned returns the units that this node owns, in no order.
func (m *Machine) Owned() iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for u := range m.self.set {
			if m.serving && u.owner == m.self && !yield(u.Unit) {
				return
			}
		}
	}
}

// OwnedCount returns how many units this node owns.
func (m *Machine) OwnedCount() int {
	if !m.serving {
		return 0
	}
	return len(m.self.set)
}
