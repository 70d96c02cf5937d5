package detection

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// simNet is a cluster: nodes with a kernel and a speaker each, links in segments, a router on each segment, and
// a membership that works as memberlist does, only simpler. Time passes from event to event.
type simNet struct {
	rand  *rand.Rand
	now   time.Duration
	queue simQueue
	seq   int
	story []string

	nodes   []*simNode
	byName  map[string]*simNode
	byAddr  map[netip.Addr]simPlace
	loss    float64       // of each frame, independently
	delay   time.Duration // at most, of each frame
	sched   time.Duration // at most, until a process runs that has something to do
	routers bool          // whether there is somebody else on each segment
	changed time.Duration // when what membership depends on has last changed

	// sides are partitions: of a segment, and with "gossip" of gossip alone.
	sides map[string]map[string]int
	// packets counts what speakers send, and what probes cost.
	beats, probes, votePackets int
	steps                      int

	onVerdict func(observer *simNode, v Verdict)
	onStep    func(n *simNode)
}

// simPlace is where an address is.
type simPlace struct {
	node    *simNode // nil for a router
	link    *simLink
	segment string
}

type simLink struct {
	Link
	segment string
	cut     bool // frames are lost, and nobody is told
}

type simNode struct {
	net     *simNet
	name    string
	links   []*simLink
	kernel  bool
	running bool
	hung    bool // its answering loops don't turn
	paused  time.Duration
	sched   time.Duration // like simNet's, of this node alone
	flags   Flags
	blocked methods // that its kernel does not answer
	proxied bool    // somebody answers ARP in its name

	machine  *Machine
	life     uint64
	gossip   map[string]bool // whom membership counts as alive
	lost     map[string]time.Duration
	lives    map[string]uint64
	world    *World
	inbox    []Message
	results  []ProbeResult
	stepAt   time.Duration
	stepSeq  int
	verdicts map[string]Verdict
	isolated []Isolation
	calm     bool
	said     map[string]string // the life and flags of those heard
	skew     time.Duration     // of its clock
	badStamp time.Duration     // how wrong its kernel's timestamps are
}

var simStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newNet returns n nodes with the given segments each, all running and known to each other.
func newNet(seed uint64, n int, segments ...string) *simNet {
	s := &simNet{rand: rand.New(rand.NewPCG(seed, 1)), byName: map[string]*simNode{}, byAddr: map[netip.Addr]simPlace{},
		delay: 500 * time.Microsecond, sched: 2 * time.Millisecond, sides: map[string]map[string]int{}, routers: true}
	if len(segments) == 0 {
		segments = []string{"eth0"}
	}
	for k, seg := range segments {
		s.byAddr[netip.AddrFrom4([4]byte{10, byte(k), 255, 254})] = simPlace{segment: seg}
	}
	for i := range n {
		s.addNode(fmt.Sprintf("node-%03d", i), i, segments)
	}
	for _, node := range s.nodes {
		s.at(s.between(0, 100*time.Millisecond), func() { s.start(node) })
	}
	s.membership()
	return s
}

func (s *simNet) addNode(name string, i int, segments []string) *simNode {
	n := &simNode{net: s, name: name, kernel: true, said: map[string]string{}}
	for k, seg := range segments {
		l := &simLink{segment: seg, Link: Link{Name: seg, Up: true, MAC: MAC{2, byte(k), 0, 0, byte(i >> 8), byte(i)},
			Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(k), byte(i >> 8), byte(i + 1)}), 16)}}}
		s.byAddr[l.Addresses[0].Addr()] = simPlace{node: n, link: l, segment: seg}
		n.links = append(n.links, l)
	}
	s.nodes = append(s.nodes, n)
	s.byName[name] = n
	return n
}

func (s *simNet) tell(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf("%8.3f  ", s.now.Seconds())+fmt.Sprintf(format, args...))
	if len(s.story) > 4000 {
		s.story = slices.Delete(s.story, 100, 2000)
	}
}

func (s *simNet) between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(s.rand.Int64N(int64(b-a)))
}

// The queue.

type simEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (s *simNet) at(at time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{max(at, s.now), s.seq, do})
}

func (s *simNet) run(until time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= until {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		e.do()
	}
	s.now = until
}

// What happens to nodes.

// start starts a speaker, with a new life.
func (s *simNet) start(n *simNode) {
	n.life = s.rand.Uint64() | 1
	n.machine = New(Config{Node: n.name, Life: n.life})
	n.running, n.hung, n.paused = true, false, 0
	n.flags = Serving
	n.gossip, n.lost, n.lives = map[string]bool{}, map[string]time.Duration{}, map[string]uint64{}
	n.verdicts, n.inbox, n.results, n.isolated = map[string]Verdict{}, nil, nil, nil
	n.stepAt = 0
	for _, o := range s.nodes {
		if o != n && s.reach(n, o) {
			n.gossip[o.name], n.lives[o.name] = true, o.life
			o.gossip[n.name], o.lives[n.name] = true, n.life
			delete(o.lost, n.name)
			s.newWorld(o)
		}
	}
	s.newWorld(n)
	s.tell("%s starts", n.name)
}

// stop stops a speaker, and with power the whole node.
func (s *simNet) stop(n *simNode, power bool) {
	n.running = false
	if power {
		n.kernel = false
	}
	s.changed = s.now
	s.tell("%s stops (power off: %v)", n.name, power)
}

func (s *simNet) pause(n *simNode, d time.Duration) {
	n.paused = s.now + d
	s.changed = s.now
	s.tell("%s is paused for %v", n.name, d)
	s.at(n.paused, func() { s.changed = s.now; s.step(n, s.now) })
}

func (s *simNet) cut(n *simNode, segment string, cut bool) {
	for _, l := range n.links {
		if l.segment == segment || segment == "" {
			l.cut = cut
		}
	}
	s.changed = s.now
	s.tell("%s on %q is cut: %v", n.name, segment, cut)
}

// split puts some nodes on the other side of a segment, or of "gossip".
func (s *simNet) split(segment string, other ...*simNode) {
	s.sides[segment] = map[string]int{}
	for _, n := range other {
		s.sides[segment][n.name] = 1
	}
	s.changed = s.now
	s.tell("%s is split, %d on the other side", segment, len(other))
}

func (n *simNode) alive() bool { return n.kernel && n.running && n.paused <= n.net.now }

// crosses reports whether frames can get from one node to another on a segment.
func (s *simNet) crosses(a, b *simNode, segment string) bool {
	works := func(n *simNode) bool {
		return slices.ContainsFunc(n.links, func(l *simLink) bool { return l.segment == segment && l.Up && !l.cut })
	}
	return s.sides[segment][a.name] == s.sides[segment][b.name] && works(a) && works(b)
}

func (s *simNet) gossipCrosses(a, b *simNode) bool {
	return s.crosses(a, b, a.links[0].segment) && s.sides["gossip"][a.name] == s.sides["gossip"][b.name]
}

func (s *simNet) reach(a, b *simNode) bool {
	return a.alive() && b.alive() && s.gossipCrosses(a, b)
}

// membership loses who is not reached for 0.7 to 1.1 s, and finds it again 0 to 0.5 s after it is.
func (s *simNet) membership() {
	if s.now-s.changed < 4*time.Second {
		for _, a := range s.nodes {
			if !a.alive() || a.machine == nil {
				continue
			}
			news := false
			for _, b := range s.nodes {
				if a == b || b.machine == nil {
					continue
				}
				if s.reach(a, b) {
					delete(a.lost, b.name)
					if !a.gossip[b.name] || a.lives[b.name] != b.life {
						a.gossip[b.name], a.lives[b.name] = true, b.life
						news = true
					}
				} else if a.gossip[b.name] {
					if _, ok := a.lost[b.name]; !ok {
						a.lost[b.name] = s.now + s.between(600*time.Millisecond, time.Second)
					}
					if s.now >= a.lost[b.name] {
						a.gossip[b.name] = false
						news = true
					}
				}
			}
			if news {
				s.newWorld(a)
			}
		}
	}
	s.at(s.now+200*time.Millisecond, s.membership)
}

// newWorld tells a node who there is.
func (s *simNet) newWorld(n *simNode) {
	w := &World{}
	for _, l := range n.links {
		w.Links = append(w.Links, l.Link)
	}
	for _, o := range s.nodes {
		if o == n || o.machine == nil || n.lives[o.name] == 0 {
			continue
		}
		m := Member{Node: o.name, Life: n.lives[o.name], Gossip: n.gossip[o.name], Addr: netip.AddrPortFrom(o.links[0].Addresses[0].Addr(), 7946)}
		for _, l := range o.links {
			m.Links = append(m.Links, l.Link)
		}
		w.Members = append(w.Members, m)
	}
	if s.routers {
		for k, l := range n.links {
			w.Hosts = append(w.Hosts, Host{Link: l.Name, Addr: netip.AddrFrom4([4]byte{10, byte(k), 255, 254})})
		}
	}
	n.world = w
	s.wakeUp(n)
}

// wakeUp has a node step as soon as its process gets the processor.
func (s *simNet) wakeUp(n *simNode) { s.step(n, s.now) }

func (s *simNet) step(n *simNode, at time.Duration) {
	if n.machine == nil {
		return
	}
	at = max(at, s.now)
	at += s.between(0, max(s.sched, n.sched))
	if n.stepAt != 0 && n.stepAt <= at {
		return
	}
	n.stepAt = at
	n.stepSeq++
	seq := n.stepSeq
	life := n.life
	s.at(at, func() {
		if n.stepSeq != seq || n.life != life || !n.running || !n.kernel {
			return
		}
		n.stepAt = 0
		if n.paused > s.now {
			return
		}
		s.doStep(n)
	})
}

func (s *simNet) doStep(n *simNode) {
	s.steps++
	in := Input{Flags: n.flags, Turning: !n.hung, World: n.world, Heard: n.inbox, Results: n.results}
	n.world, n.inbox, n.results = nil, nil, nil
	now := simStart.Add(s.now + n.skew)
	out := n.machine.Step(now, in)
	for _, send := range out.Send {
		for _, to := range send.To {
			s.send(n, s.byName[to], send.Payload)
		}
	}
	for _, o := range out.Probes {
		s.probe(n, o)
	}
	for _, v := range out.Verdicts {
		if old := n.verdicts[v.Node]; old.State != v.State || len(old.DeadLinks) != len(v.DeadLinks) {
			s.tell("%s: %s is %v %v: %s", n.name, v.Node, v.State, v.DeadLinks, v.Witnesses)
		}
		n.verdicts[v.Node] = v
		if s.onVerdict != nil {
			s.onVerdict(n, v)
		}
	}
	if len(out.Isolated) != len(n.isolated) {
		s.tell("%s: isolated %v", n.name, out.Isolated)
	}
	n.isolated = out.Isolated
	if n.calm && !out.Calm && len(n.inbox)+len(n.results) > 0 {
		defer s.wakeUp(n)
	}
	n.calm = out.Calm
	if s.onStep != nil {
		s.onStep(n)
	}
	s.step(n, out.WakeAt.Sub(simStart)-n.skew)
}

func (s *simNet) lose() bool { return s.loss > 0 && s.rand.Float64() < s.loss }

func (s *simNet) send(from, to *simNode, payload []byte) {
	switch payload[1] {
	case typeBeat:
		s.beats++
	case typeVote:
		s.votePackets++
	}
	if to == nil || !s.gossipCrosses(from, to) || !to.kernel || s.lose() {
		return
	}
	life, at := from.life, s.now+s.between(50*time.Microsecond, s.delay)
	s.at(at, func() {
		if !to.kernel || !to.running || to.machine == nil {
			return
		}
		stamp := simStart.Add(s.now + to.skew + to.badStamp)
		to.inbox = append(to.inbox, Message{From: from.name, Life: life, Payload: payload, At: stamp})
		if len(to.inbox) > 2000 {
			to.inbox = to.inbox[1:]
		}
		flags, routine := Routine(payload)
		says := fmt.Sprint(life, flags)
		if !routine || !to.calm || to.said[from.name] != says {
			s.wakeUp(to)
		}
		if routine {
			to.said[from.name] = says
		}
	})
}

// probe puts a question on the wire, which the kernel of whoever has the address answers.
func (s *simNet) probe(n *simNode, o ProbeOrder) {
	s.probes++
	sent := s.now
	r := ProbeResult{ID: o.ID, Sent: simStart.Add(sent + n.skew)}
	deadline := o.Deadline.Sub(simStart) - n.skew
	place, known := s.byAddr[o.Target]
	answered := known && (o.Interface == "" || place.segment == o.Interface) && !s.lose() && !s.lose()
	if answered && place.node == nil {
		answered = s.sides[place.segment][n.name] == 0 && slices.ContainsFunc(n.links, func(l *simLink) bool { return l.segment == place.segment && l.Up && !l.cut })
		r.MAC = MAC{2, 0xff}
	} else if answered {
		t := place.node
		r.MAC = place.link.MAC
		switch {
		case t.proxied && o.Method == ARP && s.crosses(n, n, place.segment):
		default:
			answered = t.kernel && !t.blocked.has(o.Method) && s.crosses(n, t, place.segment)
		}
	}
	life := n.life
	back := deadline
	if answered {
		back = sent + s.between(50*time.Microsecond, 2*s.delay)
		r.Outcome, r.RTT = Answered, back-sent
	}
	if !slices.ContainsFunc(n.links, func(l *simLink) bool { return l.Up && (l.segment == o.Interface || o.Interface == "") }) {
		r.Outcome = NotSent
	}
	s.at(back, func() {
		if n.life == life && n.machine != nil {
			n.results = append(n.results, r)
			if r.Outcome != Answered || !n.calm {
				s.wakeUp(n)
			}
		}
	})
}

func (s *simNet) storyText() string { return strings.Join(s.story, "\n") }
