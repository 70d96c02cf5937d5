package ownership

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

// A world is a cluster of speakers on one LAN, in which everything takes a time of its own: messages, what gossip and
// detection say, what the API server says, and what a look at the wire shows. It runs by events on a clock of its own, and the same
// seed makes the same world.
//
// The truth is in hosts; machines see of it what has come to them.
type world struct {
	rand  *rand.Rand
	now   time.Duration
	queue eventQueue
	seq   int
	story []string

	hosts    []*host
	units    []Unit
	may      map[Unit]Placement
	failback Failback
	takeOver time.Duration
	foreign  map[Unit]bool // a host that is no member holds the address

	loss, twice float64 // of packets
	lag         time.Duration
	// view is how much longer than in half a second it may take until a speaker has the API server's objects.
	view  time.Duration
	quiet bool // tell no moves

	moves    int
	gap      map[Unit]time.Duration // the longest time without an answer so far
	since    map[Unit]time.Duration // since when nobody answers
	watching bool
	worst    time.Duration
	worstOf  Unit
	dups     int
}

// A host is a node.
type host struct {
	w       *world
	name    string
	up      bool // its kernel lives and its link is up
	stale   bool
	gossip  int // on which side of a split of the gossip
	wire    int // and of one of the segment, which splits the gossip too
	leaving bool
	later   bool          // its speaker is of a later version, which says more
	cutFrom time.Duration // since when nobody else is on its side of the segment
	jump    time.Duration // its clock is off by this
	speaker *speaker      // nil while none runs
	lives   uint64
	session uint64
}

// A speaker is one life of one.
type speaker struct {
	*host
	life       uint64
	machine    *Machine
	paused     bool
	restarting bool // it has said so
	serving    bool // as its machine said last
	mute       bool
	left       bool
	whole      bool
	in         Input // that has come since the last step
	members    map[string]Member
	verdicts   map[string]State // as last fed
	pendingAt  time.Duration    // a step is due then
	answers    map[Unit]Answer
	steps      int
}

func newWorld(seed uint64, hosts, units int) *world {
	w := &world{
		rand: rand.New(rand.NewPCG(seed, 7)), may: map[Unit]Placement{}, foreign: map[Unit]bool{},
		lag: 2 * time.Millisecond, gap: map[Unit]time.Duration{}, since: map[Unit]time.Duration{},
		failback: Failback{After: 5 * time.Minute},
	}
	w.units = addresses("192.0.2.1", units)
	for _, name := range nodes(hosts) {
		w.hosts = append(w.hosts, &host{w: w, name: name, up: true, session: 1, cutFrom: always})
	}
	for _, u := range w.units {
		w.may[u] = w.everywhere()
	}
	return w
}

// everywhere is that all may answer.
func (w *world) everywhere() Placement {
	p := Placement{Failback: w.failback}
	for _, h := range w.hosts {
		p.Candidates = append(p.Candidates, Candidate{Node: h.name})
	}
	return p
}

func (w *world) host(name string) *host {
	return w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })]
}

// What happens.

func (h *host) start() {
	if h.speaker != nil || !h.up {
		return
	}
	h.lives++
	life := h.lives<<32 | h.w.rand.Uint64()>>32
	if h.w.rand.IntN(2) == 0 {
		life = h.w.rand.Uint64() | 1 // lives are in no order
	}
	s := &speaker{host: h, life: life, members: map[string]Member{}, verdicts: map[string]State{}, answers: map[Unit]Answer{},
		machine: New(Config{Self: h.name, Life: life, TakeOver: h.w.takeOver}), pendingAt: always}
	h.speaker = s
	h.leaving = false
	h.w.tell("%s: speaker starts", h.name)
	h.w.after(h.w.between(50*time.Millisecond, 600*time.Millisecond+h.w.view), func() {
		s.in.Units = map[Unit]Placement{}
		for u, p := range h.w.may {
			s.in.Units[u] = p
		}
		s.whole = true
		s.wake(0)
	})
	h.w.rehear()
}

// stop ends the speaker; its kernel lives on.
func (h *host) stop() {
	if h.speaker == nil {
		return
	}
	h.w.tell("%s: speaker stops", h.name)
	h.speaker = nil
	h.w.rehear()
}

// restart stops the speaker as it does when it will be back.
func (h *host) restart(after time.Duration) {
	s := h.speaker
	if s == nil {
		return
	}
	h.w.tell("%s: speaker says that it restarts", h.name)
	s.restarting = true
	h.w.rehear()
	h.w.after(100*time.Millisecond, func() {
		if h.speaker == s {
			h.stop()
			h.w.after(after, h.start)
		}
	})
}

// cut is the loss of the node.
func (h *host) cut() {
	h.w.tell("%s: dies", h.name)
	h.up, h.speaker = false, nil
	h.w.rehear()
}

func (h *host) boot() {
	h.up = true
	h.start()
}

func (h *host) pause(d time.Duration) {
	s := h.speaker
	if s == nil || s.paused {
		return
	}
	h.w.tell("%s: speaker is stopped for %v", h.name, d)
	s.paused = true
	h.w.rehear()
	h.w.after(d, func() {
		s.paused = false
		if h.speaker == s {
			h.w.tell("%s: speaker goes on", h.name)
			h.w.rehear()
			s.step()
		}
	})
}

func (h *host) leave(on bool) {
	if h.speaker == nil || h.leaving == on {
		return
	}
	h.w.tell("%s: leaves: %v", h.name, on)
	h.leaving = on
	h.speaker.wake(0)
	h.w.rehear()
}

// place changes what the API server says of a unit; each learns it a while later.
func (w *world) place(u Unit, p Placement) {
	w.may[u] = p
	for _, h := range w.hosts {
		s := h.speaker
		if s == nil {
			continue
		}
		w.after(w.between(0, 10*w.lag), func() {
			if s.whole {
				if s.in.Units == nil {
					s.in.Units = map[Unit]Placement{}
				}
				s.in.Units[u] = w.may[u]
				s.wake(0)
			}
		})
	}
}

// split puts each host on a side.
func (w *world) split(of string, sides []int) {
	w.tell("split of the %s: %v", of, sides)
	for i, h := range w.hosts {
		if of == "gossip" {
			h.gossip = sides[i]
		} else {
			h.wire = sides[i]
		}
	}
	w.rehear()
}

// heal ends all splits.
func (w *world) heal() {
	w.split("gossip", make([]int, len(w.hosts)))
	w.split("segment", make([]int, len(w.hosts)))
}

// How news travels.

func (h *host) hears(o *host) bool {
	return h.up && o.up && h.wire == o.wire && h.gossip == o.gossip
}

// rehear has everybody notice, each in its own time, what has become of the others.
func (w *world) rehear() {
	agreed := w.between(200*time.Millisecond, 350*time.Millisecond)
	for _, h := range w.hosts {
		for _, o := range w.hosts {
			if h == o || h.speaker == nil {
				continue
			}
			s := h.speaker
			// Detection is quick, membership and return are slower.
			w.after(agreed+w.between(0, 10*w.lag), func() { s.judge(o, true) })
			w.after(w.between(5*time.Millisecond, 100*time.Millisecond), func() { s.judge(o, false) })
			w.after(w.between(w.lag, 3*w.lag), func() { s.member(o, false) })
			w.after(w.between(100*time.Millisecond, 500*time.Millisecond), func() { s.member(o, o.speaker != nil && s.hears(o)) })
			w.after(w.between(600*time.Millisecond, 3*time.Second), func() { s.member(o, true) })
		}
	}
	for _, h := range w.hosts {
		switch {
		case slices.ContainsFunc(w.hosts, func(o *host) bool { return o != h && o.up && o.wire == h.wire }):
			h.cutFrom = always
		case h.cutFrom == always:
			h.cutFrom = w.now
		}
	}
}

// suspects reports whether h is cut off and knows it. Two nodes can't tell who of them is.
func (h *host) suspects() bool {
	return len(h.w.hosts) > 2 && h.cutFrom != always && h.w.now-h.cutFrom >= 200*time.Millisecond
}

// judge has s learn what detection says of o now; that it is not alive only when all is true.
func (s *speaker) judge(o *host, all bool) {
	state, life := Dead, uint64(0)
	switch {
	case !s.up || s.paused:
		return
	case !s.hears(o) && (!o.up || s.wire != o.wire):
	case !s.hears(o) || o.speaker == nil || o.speaker.paused:
		state = Silent
	default:
		state, life = Alive, o.speaker.life
	}
	if state != Alive && (!all || s.suspects()) {
		return // who is cut off judges nobody
	}
	if state != s.verdicts[o.name] {
		s.verdicts[o.name] = state
		s.w.tell("%s: finds %s %v", s.name, o.name, [...]string{"unjudged", "alive", "silent", "dead"}[state])
	}
	s.in.Verdicts = append(s.in.Verdicts, Verdict{Node: o.name, State: state, Life: life})
	s.wake(0)
}

// member has s learn what gossip says of o now; that one comes or goes only when all is true.
func (s *speaker) member(o *host, all bool) {
	if s.paused || !s.up {
		return
	}
	m, had := s.members[o.name]
	talks := s.hears(o) && o.speaker != nil && !o.speaker.paused
	switch {
	case talks && (had && m.Life == o.speaker.life || all):
		m = Member{Node: o.name, Life: o.speaker.life, Known: true, Serving: o.speaker.serving, Restarting: o.speaker.restarting,
			Leaving: o.leaving, Stale: o.stale}
	case !talks && all && had:
		delete(s.members, o.name)
		s.wake(0)
		return
	default:
		return
	}
	if !had || s.members[o.name] != m {
		s.members[o.name] = m
		s.wake(0)
	}
}

// wake has s stepped after a while.
func (s *speaker) wake(after time.Duration) {
	at := s.w.now + after
	if at >= s.pendingAt {
		return
	}
	s.pendingAt = at
	s.w.after(after, func() {
		if s.pendingAt == at {
			s.pendingAt = always
			s.step()
		}
	})
}

// step feeds the machine and does what it says.
func (s *speaker) step() {
	w := s.w
	if s.speaker != s || s.paused {
		return
	}
	s.steps++
	in := s.in
	s.in = Input{}
	in.Whole, in.Session, in.Leave = s.whole, s.session, s.leaving
	in.Members = []Member{{Node: s.name, Life: s.life, Known: true, Serving: s.serving, Stale: s.stale}}
	for _, o := range w.hosts {
		if m, ok := s.members[o.name]; ok {
			in.Members = append(in.Members, m)
		}
	}
	in.Accounted = true
	for _, o := range w.hosts {
		if _, heard := s.members[o.name]; o != s.host && !heard && s.hears(o) && o.speaker != nil {
			in.Accounted = false
		}
	}
	in.Isolated = s.suspects()
	out := s.machine.Step(time.Unix(1e9, 0).Add(w.now+s.jump), in)
	if !w.quiet {
		for _, mv := range out.Moves {
			if mv.To == s.name {
				w.tell("%s: %v from %q, because %v", s.name, mv.Unit, mv.From, mv.Cause)
			}
		}
	}
	for _, mv := range out.Moves {
		if mv.To == s.name && mv.From != "" {
			w.moves++
		}
	}
	s.mute, s.left = out.Mute, out.Left
	for _, a := range out.Answers {
		s.answers[a.Unit] = a.Answer
		if a.Answer.Claim {
			w.after(200*time.Millisecond, func() { s.probed(a.Unit) })
		}
	}
	for _, u := range out.Look {
		w.after(200*time.Millisecond, func() { s.looked(u) })
	}
	if out.Serving != s.serving {
		s.serving = out.Serving
		w.tell("%s: serves", s.name)
		w.rehear()
	}
	for _, send := range out.Send {
		w.send(s, send)
	}
	s.wake(out.WakeAt.Sub(time.Unix(1e9, 0)) - s.jump - w.now)
	w.watch()
}

// probed is what came of the look before a first claim.
func (s *speaker) probed(u Unit) {
	if s.speaker != s || !s.answers[u].Claim {
		return
	}
	found := FoundFree
	if s.w.foreign[u] {
		found = FoundHeld
	}
	s.in.Evidence = append(s.in.Evidence, Evidence{Unit: u, Found: found})
	s.wake(0)
}

// looked is what came of a look for the owner.
func (s *speaker) looked(u Unit) {
	found := FoundFree
	if s.w.foreign[u] {
		found = FoundHeld
	}
	for _, o := range s.w.hosts {
		if o != s.host && o.up && o.wire == s.wire && o.answers(u).As != Nothing {
			found = FoundMember
		}
	}
	s.in.Evidence = append(s.in.Evidence, Evidence{Unit: u, Found: found})
	s.wake(0)
}

func (w *world) send(s *speaker, send Send) {
	b := send.Message.Append(nil)
	if !send.Reliable && len(b) > 1150 {
		panic(fmt.Sprintf("a packet of %d bytes: %+v", len(b), send.Message))
	}
	said := [][]byte{b}
	if s.later {
		b = tlv.Append(b, 99, []byte("a field of later"))
		said = [][]byte{{formatVersion, 77, 1, 0}, b, append([]byte{formatVersion + 1}, b[1:]...)}
	}
	to := send.To
	if to == nil {
		for _, o := range w.hosts {
			if _, heard := s.members[o.name]; heard {
				to = append(to, o.name)
			}
		}
	}
	for _, name := range to {
		o := w.host(name)
		deliver := func() {
			if o.speaker == nil || !o.hears(s.host) {
				return
			}
			for _, b := range said {
				m, err := Decode(b)
				switch {
				case err == nil:
					o.speaker.in.Messages = append(o.speaker.in.Messages, Received{From: s.name, Life: s.life, Message: m})
				case !s.later:
					panic(err)
				}
			}
			o.speaker.wake(0)
		}
		delay := w.between(w.lag/10, w.lag)
		if w.rand.IntN(20) == 0 {
			delay += w.between(0, 10*w.lag)
		}
		if send.Reliable {
			w.after(3*delay, deliver)
			continue
		}
		if w.rand.Float64() >= w.loss {
			w.after(delay, deliver)
		}
		if w.rand.Float64() < w.twice {
			w.after(delay+w.between(0, 20*w.lag), deliver)
		}
	}
}

// The clockwork.

// run lets time go by.
func (w *world) run(d time.Duration) {
	until := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
	w.watch()
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + max(d, 0), w.seq, do})
}

func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rand.Int64N(int64(to-from)))
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%9.3fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
