package ownership_test

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// A hall is a cluster in which detection's verdicts come of probes and heartbeats, and ownership acts on them: what each is simulated with in its
// own package is what the other is there. A client on the segment asks for all addresses every few milliseconds. All runs by events on
// one clock, and the same seed is the same story.
type hall struct {
	rand    *rand.Rand
	now     time.Duration
	queue   hallQueue
	seq     int
	story   []string
	players []*player
	units   []ownership.Unit
	loss    float64
	sched   time.Duration // at most, until a process runs that has something to do
	router  bool          // whether there is somebody else on the segment, on the client's side

	since    map[ownership.Unit]time.Duration // since when no answer leads anywhere
	several  map[ownership.Unit]time.Duration // since when answers lead to two nodes
	gap, two time.Duration                    // the longest of each
	gapOf    ownership.Unit
	twoOf    ownership.Unit
	moves    []string
}

// A player is a node: its kernel and link, and a speaker's two loops.
type player struct {
	*hall
	name    string
	i       byte
	kernel  bool
	cut     bool
	gossip  int // on which side of a split of the gossip
	segment int // and of one of the segment
	running bool
	paused  time.Duration // until when

	life       uint64
	restarting bool
	detector   *detection.Machine
	owner      *ownership.Machine
	whole      bool
	serving    bool
	mute       bool
	answers    map[ownership.Unit]ownership.Answer
	known      map[string]*acquaintance
	verdicts   map[string]detection.Verdict
	isolated   bool

	world    *detection.World
	heard    []detection.Message
	results  []detection.ProbeResult
	in       ownership.Input
	units    bool // candidates may be others
	detectAt time.Duration
	decideAt time.Duration
}

// An acquaintance is what gossip says of another node.
type acquaintance struct {
	ownership.Member
	present       bool
	lostAt, metAt time.Duration // when it will be known to be gone, or there
}

const hallNever = time.Duration(1<<63 - 1)

type hallEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type hallQueue []hallEvent

func (q hallQueue) Len() int { return len(q) }
func (q hallQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q hallQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *hallQueue) Push(x any)   { *q = append(*q, x.(hallEvent)) }
func (q *hallQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newHall(seed uint64, nodes, units int) *hall {
	h := &hall{rand: rand.New(rand.NewPCG(seed, 11)), sched: 5 * time.Millisecond, router: true,
		since: map[ownership.Unit]time.Duration{}, several: map[ownership.Unit]time.Duration{}}
	for i := range units {
		h.units = append(h.units, ownership.Unit{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})})
	}
	for i := range nodes {
		h.players = append(h.players, &player{hall: h, name: fmt.Sprintf("node-%d", i), i: byte(i + 1), kernel: true})
	}
	for _, p := range h.players {
		h.after(h.between(0, 300*time.Millisecond), p.start)
	}
	h.membership()
	h.ask()
	h.run(8 * time.Second)
	return h
}

func (h *hall) tell(format string, args ...any) {
	h.story = append(h.story, fmt.Sprintf("%9.3f  ", h.now.Seconds())+fmt.Sprintf(format, args...))
}

func (h *hall) between(a, b time.Duration) time.Duration {
	return a + time.Duration(h.rand.Int64N(int64(max(b-a, 1))))
}

func (h *hall) after(d time.Duration, do func()) {
	h.seq++
	heap.Push(&h.queue, hallEvent{h.now + max(d, 0), h.seq, do})
}

func (h *hall) run(d time.Duration) {
	until := h.now + d
	for len(h.queue) > 0 && h.queue[0].at <= until {
		e := heap.Pop(&h.queue).(hallEvent)
		h.now = e.at
		e.do()
	}
	h.now = until
}

func (h *hall) any() *player { return h.players[h.rand.IntN(len(h.players))] }

// What happens to nodes.

func (p *player) start() {
	if p.running || !p.kernel {
		return
	}
	p.tell("%s: speaker starts", p.name)
	p.life = p.rand.Uint64() | 1
	p.detector = detection.New(detection.Config{Node: p.name, Life: p.life})
	p.owner = ownership.New(ownership.Config{Self: p.name, Life: p.life})
	p.running, p.paused, p.restarting, p.whole, p.serving, p.mute, p.isolated = true, 0, false, false, false, false, false
	p.answers, p.known, p.verdicts = map[ownership.Unit]ownership.Answer{}, map[string]*acquaintance{}, map[string]detection.Verdict{}
	p.heard, p.results, p.in, p.detectAt, p.decideAt = nil, nil, ownership.Input{}, hallNever, hallNever
	life := p.life
	p.after(p.between(50*time.Millisecond, 500*time.Millisecond), func() {
		if p.life == life {
			p.whole, p.units = true, true
			p.decide(0)
		}
	})
	p.newWorld()
	p.decide(0)
}

func (p *player) end() {
	if p.running {
		p.tell("%s: speaker ends", p.name)
		p.running = false
	}
}

func (p *player) restart(down time.Duration) {
	if !p.running || p.restarting {
		return
	}
	p.tell("%s: speaker says that it restarts", p.name)
	p.restarting = true
	p.detect(0)
	life := p.life
	p.after(200*time.Millisecond, func() {
		if p.life == life {
			p.end()
			p.after(down, p.start)
		}
	})
}

func (p *player) pause(d time.Duration) {
	if !p.running || p.paused > p.now {
		return
	}
	p.tell("%s: is stopped for %v", p.name, d)
	p.paused = p.now + d
	life := p.life
	p.after(d, func() {
		if p.life == life && p.running {
			p.tell("%s: goes on", p.name)
			p.detect(0)
			p.decide(0)
		}
	})
}

func (p *player) powerOff() {
	p.tell("%s: loses power", p.name)
	p.kernel, p.running = false, false
}

func (p *player) setCut(cut bool) {
	if p.cut != cut {
		p.tell("%s: cut off: %v", p.name, cut)
		p.cut = cut
	}
}

func (h *hall) split(of string, sides func(p *player) int) {
	for _, p := range h.players {
		if of == "gossip" {
			p.gossip = sides(p)
		} else {
			p.segment = sides(p)
		}
	}
	h.tell("split of the %s: %v", of, func() (s []int) {
		for _, p := range h.players {
			s = append(s, sides(p))
		}
		return s
	}())
}

func together(*player) int { return 0 }

// What crosses.

func (p *player) awake() bool { return p.kernel && p.running && p.paused <= p.now }

func (p *player) crosses(o *player) bool {
	return p.kernel && o.kernel && !p.cut && !o.cut && p.segment == o.segment
}

func (p *player) talks(o *player) bool { return p.crosses(o) && p.gossip == o.gossip }

// inReach is whether the client's frames get to the node.
func (p *player) inReach() bool { return p.kernel && !p.cut && p.segment == 0 }

func (h *hall) lose() bool { return h.rand.Float64() < h.loss }

// Gossip.

func (h *hall) membership() {
	for _, p := range h.players {
		if !p.awake() {
			continue
		}
		news := false
		for _, o := range h.players {
			if o == p || o.life == 0 {
				continue
			}
			a := p.known[o.name]
			if a == nil {
				a = &acquaintance{lostAt: hallNever, metAt: hallNever}
				p.known[o.name] = a
			}
			now := ownership.Member{Node: o.name, Life: o.life, Known: true, Serving: o.serving, Restarting: o.restarting}
			switch {
			case p.talks(o) && o.awake() && a.present && a.Life == o.life:
				a.lostAt = hallNever
				news = news || a.Member != now
				a.Member = now
			case p.talks(o) && o.awake():
				if a.metAt == hallNever {
					a.metAt = p.now + p.between(0, 400*time.Millisecond)
				}
				if a.metAt <= p.now {
					a.Member, a.present, a.metAt, a.lostAt, news = now, true, hallNever, hallNever, true
					p.remember(o)
				}
			case a.present:
				if a.lostAt == hallNever {
					a.lostAt = p.now + p.between(700*time.Millisecond, 2500*time.Millisecond)
				}
				if a.lostAt <= p.now {
					a.present, a.lostAt, news = false, hallNever, true
				}
			default:
				a.metAt = hallNever
			}
		}
		if news {
			p.newWorld()
			p.decide(0)
		}
	}
	h.after(50*time.Millisecond, h.membership)
}

// remember learns of those that another has lost what they said last.
func (p *player) remember(o *player) {
	for name, b := range o.known {
		if a := p.known[name]; name != p.name && b.Life != 0 && (a == nil || a.Life == 0) {
			p.known[name] = &acquaintance{Member: b.Member, lostAt: hallNever, metAt: hallNever}
		}
	}
}

func (p *player) link() detection.Link {
	return detection.Link{Name: "eth0", Up: true, MAC: detection.MAC{2, 0, 0, 0, 0, p.i},
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, p.i}), 24)}}
}

var hallRouter = netip.AddrFrom4([4]byte{10, 0, 0, 254})

func (p *player) newWorld() {
	w := &detection.World{Links: []detection.Link{p.link()}}
	for _, o := range p.players {
		if a := p.known[o.name]; a != nil && a.Life != 0 {
			w.Members = append(w.Members, detection.Member{Node: o.name, Life: a.Life, Gossip: a.present,
				Addr: netip.AddrPortFrom(o.link().Addresses[0].Addr(), 7956), Links: []detection.Link{o.link()}})
		}
	}
	if p.router {
		w.Hosts = []detection.Host{{Link: "eth0", Addr: hallRouter}}
	}
	p.world = w
	p.detect(0)
}

// once has a loop step when it is woken up, unless it is to step earlier anyway; at is when.
func (p *player) once(at *time.Duration, after time.Duration, step func()) {
	due := p.now + max(after, 0) + p.between(0, p.sched)
	if due >= *at {
		return
	}
	*at = due
	life := p.life
	p.after(due-p.now, func() {
		if p.life != life || *at != due {
			return
		}
		*at = hallNever
		if p.awake() {
			step()
		}
	})
}

// The loop that detects.

func (p *player) detect(after time.Duration) { p.once(&p.detectAt, after, p.detectNow) }

func (h *hall) clock() time.Time { return time.Unix(1_700_000_000, 0).Add(h.now) }

func (p *player) detectNow() {
	in := detection.Input{Turning: true, World: p.world, Heard: p.heard, Results: p.results}
	p.world, p.heard, p.results = nil, nil, nil
	if p.serving {
		in.Flags |= detection.Serving
	}
	if p.restarting {
		in.Flags |= detection.Restarting
	}
	out := p.detector.Step(p.clock(), in)
	for _, s := range out.Send {
		for _, to := range s.To {
			p.sendBeat(p.byName(to), s.Payload)
		}
	}
	for _, o := range out.Probes {
		p.probe(o)
	}
	for _, v := range out.Verdicts {
		if was := p.verdicts[v.Node]; was.State != v.State || len(was.DeadLinks) != len(v.DeadLinks) {
			p.tell("%s: %s is %v %v: %s", p.name, v.Node, v.State, v.DeadLinks, v.Witnesses)
		}
		p.units = p.units || v.State != detection.Dead && !slices.Equal(p.verdicts[v.Node].DeadLinks, v.DeadLinks)
		p.verdicts[v.Node] = v
	}
	for _, v := range out.Verdicts {
		states := map[detection.State]ownership.State{detection.Alive: ownership.Alive, detection.Silent: ownership.Silent, detection.Dead: ownership.Dead}
		p.in.Verdicts = append(p.in.Verdicts, ownership.Verdict{Node: v.Node, Life: v.Life, State: states[v.State]})
	}
	isolated := len(out.Isolated) > 0
	if isolated != p.isolated {
		p.tell("%s: isolated: %v", p.name, isolated)
	}
	if len(out.Verdicts) > 0 || isolated != p.isolated {
		p.isolated = isolated
		p.decide(0)
	}
	p.detect(out.WakeAt.Sub(p.clock()))
}

func (h *hall) byName(name string) *player {
	return h.players[slices.IndexFunc(h.players, func(p *player) bool { return p.name == name })]
}

func (p *player) sendBeat(to *player, payload []byte) {
	if !p.talks(to) || p.lose() {
		return
	}
	life := p.life
	p.after(p.between(50*time.Microsecond, time.Millisecond), func() {
		if to.kernel && to.running {
			to.heard = append(to.heard, detection.Message{From: p.name, Life: life, Payload: payload, At: p.clock()})
			to.detect(0)
		}
	})
}

func (p *player) probe(o detection.ProbeOrder) {
	r := detection.ProbeResult{ID: o.ID, Sent: p.clock()}
	answered := !p.lose() // the question
	answered = answered && !p.lose()
	if o.Target == hallRouter {
		answered = answered && p.inReach()
		r.MAC = detection.MAC{2, 0xff}
	} else {
		t := p.players[o.Target.As4()[3]-1]
		answered = answered && p.crosses(t)
		r.MAC = t.link().MAC
	}
	wait := o.Deadline.Sub(p.clock())
	if answered {
		r.RTT = p.between(50*time.Microsecond, 2*time.Millisecond)
		r.Outcome, wait = detection.Answered, r.RTT
	}
	life := p.life
	p.after(wait, func() {
		if p.life == life && p.running {
			p.results = append(p.results, r)
			p.detect(0)
		}
	})
}

// The loop that decides.

func (p *player) decide(after time.Duration) { p.once(&p.decideAt, after, p.decideNow) }

func (p *player) decideNow() {
	in := p.in
	p.in = ownership.Input{}
	in.Whole, in.Session, in.Accounted, in.Isolated = p.whole, 1, true, p.isolated
	in.Members = []ownership.Member{{Node: p.name, Life: p.life, Known: true, Serving: p.serving}}
	for _, o := range p.players {
		if a := p.known[o.name]; a != nil && a.present {
			in.Members = append(in.Members, a.Member)
		} else if p.talks(o) && o.awake() && o != p {
			in.Accounted = false
		}
	}
	if p.units && p.whole {
		p.units = false
		where := ownership.Placement{Failback: ownership.Failback{After: 5 * time.Minute}}
		for _, o := range p.players {
			v := p.verdicts[o.name]
			where.Candidates = append(where.Candidates, ownership.Candidate{Node: o.name, Dead: v.State != detection.Dead && len(v.DeadLinks) > 0})
		}
		in.Units = map[ownership.Unit]ownership.Placement{}
		for _, u := range p.hall.units {
			in.Units[u] = where
		}
	}
	out := p.owner.Step(p.clock(), in)
	for _, m := range out.Moves {
		if m.To == p.name && m.From != "" {
			p.tell("%s: %v from %s, because %v", p.name, m.Unit, m.From, m.Cause)
			p.moves = append(p.moves, fmt.Sprintf("%v from %s to %s", m.Unit, m.From, m.To))
		}
	}
	p.mute = out.Mute
	for _, c := range out.Answers {
		p.answers[c.Unit] = c.Answer
		if c.Answer.Claim {
			p.evidence(c.Unit, func() ownership.Found { return ownership.FoundFree })
		}
	}
	for _, u := range out.Look {
		p.evidence(u, func() ownership.Found {
			for _, o := range p.players {
				if o != p && o.awake() && p.crosses(o) && o.answers[u].As != ownership.Nothing {
					return ownership.FoundMember
				}
			}
			return ownership.FoundFree
		})
	}
	if out.Serving != p.serving {
		p.serving = out.Serving
		p.tell("%s: serves", p.name)
		p.detect(0)
	}
	for _, s := range out.Send {
		p.sendClaims(s)
	}
	p.decide(out.WakeAt.Sub(p.clock()))
}

func (p *player) evidence(u ownership.Unit, found func() ownership.Found) {
	life := p.life
	p.after(200*time.Millisecond, func() {
		if p.life == life && p.running {
			p.in.Evidence = append(p.in.Evidence, ownership.Evidence{Unit: u, Found: found()})
			p.decide(0)
		}
	})
}

func (p *player) sendClaims(s ownership.Send) {
	b, life := s.Message.Append(nil), p.life
	for _, to := range p.players {
		a := p.known[to.name]
		if to == p || s.To != nil && !slices.Contains(s.To, to.name) || s.To == nil && (a == nil || !a.present) {
			continue
		}
		if !p.talks(to) || !s.Reliable && p.lose() {
			continue
		}
		p.after(p.between(50*time.Microsecond, time.Millisecond), func() {
			if to.kernel && to.running {
				if m, err := ownership.Decode(b); err == nil {
					to.in.Messages = append(to.in.Messages, ownership.Received{From: p.name, Life: life, Message: m})
					to.decide(0)
				}
			}
		})
	}
}
