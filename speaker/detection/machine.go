package detection

import (
	"maps"
	"slices"
	"time"
)

// A Machine holds what one speaker knows of the others' life. It belongs to one goroutine.
type Machine struct {
	config Config
	world  *World

	now       time.Time
	probeBy   time.Time // gentle probes that are due until then are sent now
	started   bool
	wakeAt    time.Time
	believeAt time.Time // packets that came before are not believed: this node did not run then

	peers     map[string]*peer
	members   []*peer  // in order of their names
	everyone  []string // those that gossip counts as alive
	newcomers []*peer
	// watched, trouble, dirty and changed are the peers that are looked at, those of whom there is something
	// bad to know, those whose votes have changed, and those whose verdict has. They are few.
	watched, trouble, dirty, changed map[*peer]bool

	flags       Flags
	beatSeq     uint64
	beatAt      time.Time
	beatHurry   int // beats to come soon, because flags have changed
	turning     bool
	monitors    []string
	released    map[string]int // who is no monitor any more, and how often it is still to be told
	ringChanged bool
	answered    map[string]bool // accusers answered in this step

	voteSeq uint64
	votes   []vote
	votesTo map[string][]vote

	own    map[string]*ownLink
	probes map[uint64]*probe
	ids    uint64
	random uint64

	out         Output
	undecodable uint64
}

// A peer is another node.
type peer struct {
	Member
	// life is the one heard last; former is the one before, whose packets may still come.
	life, former uint64
	// lostAt is since when gossip has lost it, foundAt when it has found it.
	lostAt, foundAt time.Time
	place           uint64 // on the ring

	watch *watch // if it is looked at by this node

	votes   map[string]vote // of others, by voter
	mine    vote            // this node's own, as long as there is a watch
	verdict Verdict
	// accusedAt is since when there is an accusation that counts.
	accusedAt time.Time
	// judgeAt is when its verdict may change by time alone.
	judgeAt time.Time

	// said is whether mine was published; it is said again at sayAt, for the repeats-th time since saidAt.
	said          bool
	repeats       int
	sayAt, saidAt time.Time
}

// link returns the peer's link of that name, or nil.
func (p *peer) link(name string) *Link {
	for i := range p.Links {
		if p.Links[i].Name == name {
			return &p.Links[i]
		}
	}
	return nil
}

// New returns a Machine that has seen nothing.
func New(c Config) *Machine {
	if c.Node == "" || c.Life == 0 {
		panic("detection: a machine without a node or a life: " + c.Node)
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	c.Interval = clampInterval(c.Interval)
	return &Machine{config: c, world: &World{}, peers: map[string]*peer{}, released: map[string]int{},
		watched: map[*peer]bool{}, trouble: map[*peer]bool{}, dirty: map[*peer]bool{}, changed: map[*peer]bool{},
		answered: map[string]bool{}, votesTo: map[string][]vote{}, own: map[string]*ownLink{}, probes: map[uint64]*probe{},
		random: hash(c.Node) ^ c.Life | 1}
}

// Step takes in what was seen until now and returns what to do. Its cost goes with what is watched and what is amiss,
// not with the number of members, unless World has changed.
func (m *Machine) Step(now time.Time, in Input) Output {
	m.out = Output{}
	m.tick(now, in.Paused)
	if in.World != nil {
		m.setWorld(in.World)
	}
	m.setFlags(in.Flags, in.Turning)
	for _, msg := range in.Heard {
		m.hear(msg)
	}
	for _, r := range in.Results {
		m.result(r)
	}
	m.heartbeat()
	for _, p := range sortedPeers(m.watched) {
		m.look(p)
	}
	for _, p := range sortedPeers(m.trouble) {
		m.tend(p)
	}
	for range judgements {
		batch := sortedPeers(m.dirty)
		clear(m.dirty)
		for _, p := range batch {
			m.judge(p)
		}
	}
	m.mindOwnLinks()
	m.chooseMonitors()
	m.sendVotes()

	for _, p := range sortedPeers(m.changed) {
		m.out.Verdicts = append(m.out.Verdicts, p.verdict)
	}
	clear(m.changed)
	clear(m.answered)
	m.out.Isolated = m.isolations()
	m.out.Calm = m.calm()
	m.out.WakeAt = m.wakeAt
	return m.out
}

// calm reports whether nothing is amiss, nor being looked into.
func (m *Machine) calm() bool {
	if len(m.trouble) > 0 || len(m.out.Isolated) > 0 {
		return false
	}
	for p := range m.watched {
		if p.watch.suspected || slices.ContainsFunc(p.watch.links, func(lw *linkWatch) bool { return lw.exam != nil || lw.dead }) {
			return false
		}
	}
	return true
}

// Verdicts returns what is known of every member, in order of their nodes: what the machine that owns addresses
// starts from. Changes are in each step's Output.
func (m *Machine) Verdicts() []Verdict {
	verdicts := make([]Verdict, len(m.members))
	for i, p := range m.members {
		verdicts[i] = p.verdict
	}
	return verdicts
}

// Monitors returns the nodes that this one sends its heartbeats to, in order.
func (m *Machine) Monitors() []string { return slices.Clone(m.monitors) }

// tick takes note of the time, and of how well this node keeps it.
func (m *Machine) tick(now time.Time, paused bool) {
	before, due := m.now, m.wakeAt
	m.now, m.wakeAt = now, now.Add(idle)
	switch {
	case !m.started:
		m.started, m.beatAt = true, now
	case paused, now.Before(before), now.Sub(before) > pause:
		m.forget()
	case now.Sub(due) > lateness:
		m.late()
	}
	for id, p := range m.probes {
		if now.Sub(p.deadline) > pause {
			delete(m.probes, id)
		}
	}
}

// wake asks for a step at a time.
func (m *Machine) wake(at time.Time) {
	if at.Before(m.wakeAt) {
		m.wakeAt = at
	}
	if m.wakeAt.Before(m.now) {
		m.wakeAt = m.now
	}
}

// forget is what a node does that was not there for a while: it knows nothing until it hears anew. Verdicts
// stay, as others may have come to them; its own part in them does not.
func (m *Machine) forget() {
	m.believeAt = m.now
	clear(m.probes)
	for _, p := range m.members {
		clear(p.votes)
		p.accusedAt = time.Time{}
		if p.watch != nil { // what it has said of it will be taken back
			m.watchAnew(p)
		}
	}
	for _, l := range m.own {
		l.reset()
	}
	m.beatAt = m.now
}

// late voids what was measured with a timer that was late.
func (m *Machine) late() {
	for p := range m.watched {
		p.watch.trustAt = m.now.Add(p.watch.interval / 2)
		for _, lw := range p.watch.links {
			lw.restartExam(m)
		}
	}
	for _, l := range m.own {
		l.asked = 0
	}
}

// setWorld takes in who there is.
func (m *Machine) setWorld(w *World) {
	m.world = w
	seen := make(map[string]bool, len(w.Members))
	for _, member := range w.Members {
		if member.Node == m.config.Node || member.Node == "" || seen[member.Node] {
			continue
		}
		seen[member.Node] = true
		p := m.peers[member.Node]
		if p == nil {
			p = &peer{place: hash(member.Node), life: member.Life}
			p.verdict = Verdict{Node: member.Node, Life: member.Life, Since: m.now, Witnesses: "nothing is known against it"}
			m.peers[member.Node] = p
			m.changed[p] = true
		}
		if member.Gossip && !p.Gossip {
			m.newcomers, p.foundAt = append(m.newcomers, p), m.now
		}
		if !member.Gossip && (p.Gossip || p.lostAt.IsZero()) {
			p.lostAt = m.now
			m.trouble[p] = true
		} else if member.Gossip {
			p.lostAt = time.Time{}
		}
		p.Member = member
		m.setLife(p, member.Life)
	}
	for name, p := range m.peers {
		if !seen[name] {
			m.drop(p)
		}
	}
	m.members, m.everyone = m.members[:0], nil
	for _, name := range sortedKeys(m.peers) {
		p := m.peers[name]
		m.members = append(m.members, p)
		if p.Gossip {
			m.everyone = append(m.everyone, name)
		}
	}
	m.setOwnLinks()
	for p := range m.watched {
		m.pairUp(p)
	}
	// Who may vote has changed.
	for p := range m.trouble {
		m.dirty[p] = true
	}
	m.ringChanged = true
}

func (m *Machine) drop(p *peer) {
	p.watch = nil
	delete(m.peers, p.Node)
	delete(m.released, p.Node)
	for _, set := range []map[*peer]bool{m.watched, m.trouble, m.dirty, m.changed} {
		delete(set, p)
	}
	m.newcomers = slices.DeleteFunc(m.newcomers, func(q *peer) bool { return q == p })
	for id, pr := range m.probes {
		if pr.peer == p {
			delete(m.probes, id)
		}
	}
}

// setLife takes note that a peer's speaker has started anew. What was known of the one before is void, what
// is known of the node's links stays.
func (m *Machine) setLife(p *peer, life uint64) {
	if life == 0 || life == p.life || life == p.former {
		return
	}
	if p.life != 0 {
		p.former = p.life
	}
	p.life = life
	clear(p.votes)
	p.mine, p.said, p.accusedAt = vote{}, false, time.Time{}
	p.verdict = Verdict{Node: p.Node, Life: life, Since: m.now, DeadLinks: p.verdict.DeadLinks, Witnesses: "its speaker has started anew"}
	m.changed[p], m.ringChanged = true, true
	if p.Gossip {
		m.newcomers = append(m.newcomers, p)
	}
	// Until it has sent a heartbeat it is nobody's duty to miss one.
	m.unwatch(p)
	m.trouble[p] = true
}

// hear takes in one packet.
func (m *Machine) hear(msg Message) {
	from := m.peers[msg.From]
	if from == nil || msg.Life == 0 {
		return
	}
	if msg.Life == from.former {
		if !from.Gossip || msg.Life != from.Member.Life {
			return
		}
		// It is not over: what was taken for the one after it was a packet of one before that had been under way for long.
		from.former = 0
	}
	at := msg.At
	switch {
	case at.IsZero() && m.now.Sub(m.believeAt) < forgetful && !m.believeAt.IsZero():
		return
	case at.IsZero(), at.After(m.now):
		at = m.now
	case at.Before(m.believeAt), m.now.Sub(at) > pause:
		return
	}
	packet, err := decode(msg.Payload)
	if err != nil {
		m.undecodable++
		return
	}
	m.setLife(from, msg.Life)
	if packet.beat != nil {
		m.hearBeat(from, *packet.beat, at)
	}
	if packet.ping {
		m.answer(from.Node)
	}
	for _, v := range packet.votes {
		m.hearVote(from, v, at)
	}
}

// jitter returns d, give or take a part of it: nodes that started together shall not stay together. It is the same in the
// same machine each time (xorshift64).
func (m *Machine) jitter(d time.Duration, percent int64) time.Duration {
	m.random ^= m.random << 13
	m.random ^= m.random >> 7
	m.random ^= m.random << 17
	part := int64(d) / 100 * percent
	return d - time.Duration(part) + time.Duration(m.random%uint64(2*part+1))
}

func sortedKeys[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

func sortedPeers(set map[*peer]bool) []*peer {
	peers := make([]*peer, 0, len(set))
	for p := range set {
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b *peer) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return peers
}
