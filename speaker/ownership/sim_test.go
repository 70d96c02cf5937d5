package ownership

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	simSeeds = flag.Uint64("ownership.seeds", 400, "how many schedules to simulate")
	simSeed  = flag.Uint64("ownership.seed", 0, "simulate this schedule alone and print its story")
)

// TestSimulation runs a cluster of speakers through seeded schedules of starts, crashes, pauses, partitions
// of the gossip and changes of who may answer, with every view of everything delayed by a time of its
// own, and holds them to the promise: when the dust has settled each address that may be answered has
// exactly one owner, and the others have none.
//
// A failing seed prints its story; -ownership.seed=N runs it again.
func TestSimulation(t *testing.T) {
	first, last := uint64(1), *simSeeds
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	for seed := first; seed <= last; seed++ {
		s := newSim(seed)
		s.run()
		if faults := s.check(); len(faults) > 0 || *simSeed != 0 {
			t.Logf("seed %d, the story:\n%s", seed, strings.Join(s.story, "\n"))
			for _, f := range faults {
				t.Errorf("seed %d: %s", seed, f)
			}
			if len(faults) > 0 {
				return
			}
		}
	}
}

// A speaker that joins takes its share only from one that still answers: at no moment is an address
// without an owner, however late the others notice.
func TestNothingFallsSilentWhenASpeakerJoins(t *testing.T) {
	for seed := uint64(1); seed <= 100; seed++ {
		s := &sim{rand: rand.New(rand.NewPCG(seed, 0)), mayServe: map[Unit]map[string]bool{},
			cut: map[string]bool{}, speakers: map[string]*simSpeaker{}}
		s.names, s.units = nodes(4), addresses("192.0.2.1", 20)
		for _, u := range s.units {
			s.mayServe[u] = map[string]bool{"node-0": true, "node-1": true, "node-2": true, "node-3": true}
		}
		for _, name := range s.names[:3] {
			s.startSpeaker(name)
		}
		s.at(simCalm, func() { s.startSpeaker("node-3") })
		joined := 0
		for len(s.queue) > 0 {
			s.next()
			if s.now < simCalm {
				continue
			}
			for _, u := range s.units {
				if !slices.ContainsFunc(s.names, func(name string) bool { return s.owns(name, u) }) {
					t.Fatalf("seed %d: nobody owns %v; the story:\n%s", seed, u.Address, strings.Join(s.story, "\n"))
				}
				if s.owns("node-3", u) {
					joined++
				}
			}
		}
		if joined == 0 {
			t.Fatalf("seed %d: the new speaker never owned anything", seed)
		}
	}
}

// When all start together, each claims its share and nothing else: nobody has more than one owner at any
// moment, and all have one soon.
func TestAColdStartIsOrderly(t *testing.T) {
	for seed := uint64(1); seed <= 100; seed++ {
		s := &sim{rand: rand.New(rand.NewPCG(seed, 0)), mayServe: map[Unit]map[string]bool{},
			cut: map[string]bool{}, speakers: map[string]*simSpeaker{}, quick: true}
		s.names, s.units = nodes(4), addresses("192.0.2.1", 20)
		for _, u := range s.units {
			s.mayServe[u] = map[string]bool{"node-0": true, "node-1": true, "node-2": true, "node-3": true}
		}
		for _, name := range s.names {
			s.at(s.between(0, 200*time.Millisecond), func() { s.startSpeaker(name) })
		}
		for len(s.queue) > 0 {
			s.next()
			for _, u := range s.units {
				owners := 0
				for _, name := range s.names {
					if s.owns(name, u) {
						owners++
					}
				}
				if owners > 1 || owners == 0 && s.now > 3*time.Second {
					t.Fatalf("seed %d: %d own %v; the story:\n%s", seed, owners, u.Address, strings.Join(s.story, "\n"))
				}
			}
		}
	}
}

// sim is a cluster. The truth (who runs, who may answer for what, who hears whom) changes by events; each
// speaker learns of it through notices that take a while.
type sim struct {
	rand  *rand.Rand
	now   time.Duration
	queue eventQueue
	seq   int
	story []string

	names    []string
	units    []Unit
	mayServe map[Unit]map[string]bool // the API server's truth
	cut      map[string]bool          // who is on the other side of a partition of the gossip
	speakers map[string]*simSpeaker   // those that run
	lives    int
	quick    bool // news takes milliseconds, as in a cluster that is well
}

// simSpeaker is one life of one speaker: a machine and what it has been told so far.
type simSpeaker struct {
	name    string
	life    int
	machine *Machine
	paused  time.Duration // until when it is stopped
	whole   bool
	heard   map[string]peer
	may     map[Unit]map[string]bool
	told    map[Unit]string // candidates of each unit as last fed to the machine, joined
	serving bool            // as gossiped
}

// peer is what a speaker knows of another one. A life supersedes the lives before it.
type peer struct {
	life    int
	alive   bool
	serving bool
}

const (
	simTrouble = 20 * time.Second // events happen until then
	simCalm    = 15 * time.Second // and the dust may settle for so long
)

func newSim(seed uint64) *sim {
	s := &sim{
		rand:     rand.New(rand.NewPCG(seed, 0)),
		mayServe: map[Unit]map[string]bool{},
		cut:      map[string]bool{},
		speakers: map[string]*simSpeaker{},
	}
	s.names = nodes(1 + s.rand.IntN(7))
	s.units = addresses("192.0.2.1", 1+s.rand.IntN(20))
	for _, u := range s.units {
		s.mayServe[u] = map[string]bool{}
		for _, name := range s.names {
			s.mayServe[u][name] = s.rand.IntN(4) > 0
		}
	}
	for _, name := range s.names {
		s.at(s.between(0, 2*time.Second), func() { s.startSpeaker(name) })
	}
	for range 5 + s.rand.IntN(25) {
		s.at(s.between(0, simTrouble), s.trouble)
	}
	s.at(simTrouble, s.makePeace)
	return s
}

func (s *sim) run() {
	for len(s.queue) > 0 && s.now <= simTrouble+simCalm {
		s.next()
	}
}

func (s *sim) next() {
	e := heap.Pop(&s.queue).(event)
	s.now = e.at
	e.do()
}

// check returns what is wrong in the end.
func (s *sim) check() []string {
	var faults []string
	for _, u := range s.units {
		var owners, able []string
		for _, name := range s.names {
			sp := s.speakers[name]
			if sp == nil {
				continue
			}
			if s.owns(name, u) {
				owners = append(owners, name)
			}
			if s.mayServe[u][name] {
				able = append(able, name)
			}
		}
		want := 1
		if len(able) == 0 {
			want = 0
		}
		if len(owners) != want {
			faults = append(faults, fmt.Sprintf("%v is owned by %q, able are %q", u.Address, owners, able))
		}
		for _, name := range s.names {
			sp := s.speakers[name]
			if sp != nil && len(owners) == 1 && sp.machine.Owner(u) != owners[0] {
				faults = append(faults, fmt.Sprintf("%v is owned by %q, %s thinks by %q",
					u.Address, owners, name, sp.machine.Owner(u)))
			}
		}
	}
	for _, name := range s.names {
		if sp := s.speakers[name]; sp != nil && !sp.machine.Serving() {
			faults = append(faults, name+" never came to serve")
		}
	}
	return faults
}

func (s *sim) owns(name string, u Unit) bool {
	sp := s.speakers[name]
	if sp == nil {
		return false
	}
	_, owned := sp.machine.owned[u]
	return owned
}

// What happens.

func (s *sim) trouble() {
	name := s.names[s.rand.IntN(len(s.names))]
	switch k := s.rand.IntN(10); {
	case k < 2:
		s.stopSpeaker(name)
	case k < 5:
		s.startSpeaker(name)
	case k < 6:
		if sp := s.speakers[name]; sp != nil {
			sp.paused = s.now + s.between(0, 5*time.Second)
			s.tell("%s is stopped until %v", name, sp.paused)
		}
	case k < 7:
		s.cut[name] = !s.cut[name]
		s.tell("partition: cut off are %v", s.cutOff())
		s.rehearAll()
	default:
		u := s.units[s.rand.IntN(len(s.units))]
		s.mayServe[u][name] = !s.mayServe[u][name]
		s.tell("may %s answer for %v: %v", name, u.Address, s.mayServe[u][name])
		for _, name := range s.names {
			if sp := s.speakers[name]; sp != nil {
				s.noticeMay(sp, u, s.between(0, time.Second))
			}
		}
	}
}

func (s *sim) makePeace() {
	s.tell("peace")
	clear(s.cut)
	s.rehearAll()
}

func (s *sim) startSpeaker(name string) {
	if s.speakers[name] != nil {
		return
	}
	s.lives++
	sp := &simSpeaker{name: name, life: s.lives, machine: New(Config{Self: name}),
		heard: map[string]peer{}, may: map[Unit]map[string]bool{}, told: map[Unit]string{}}
	s.speakers[name] = sp
	s.tell("%s starts, life %d", name, sp.life)
	s.at(s.now+s.between(0, 3*time.Second), func() {
		for _, u := range s.units {
			sp.may[u] = maps.Clone(s.mayServe[u])
		}
		sp.whole = true
		s.step(sp)
	})
	s.rehearAll()
}

func (s *sim) stopSpeaker(name string) {
	if s.speakers[name] == nil {
		return
	}
	s.tell("%s stops", name)
	delete(s.speakers, name)
	s.rehearAll()
}

// How the news travels.

// rehearAll lets every speaker notice, each in its own time, whom it hears now.
func (s *sim) rehearAll() {
	for _, name := range s.names {
		if sp := s.speakers[name]; sp != nil {
			for _, other := range s.names {
				s.noticePeer(sp, other, s.between(0, 1500*time.Millisecond))
			}
		}
	}
}

// noticePeer makes sp see, after a while, what is then true of the other.
func (s *sim) noticePeer(sp *simSpeaker, other string, after time.Duration) {
	if other == sp.name {
		return
	}
	s.at(s.now+after, func() {
		p := peer{}
		if o := s.speakers[other]; o != nil && s.cut[other] == s.cut[sp.name] {
			p = peer{life: o.life, alive: true, serving: o.serving}
		}
		sp.heard[other] = p
		s.step(sp)
	})
}

func (s *sim) noticeMay(sp *simSpeaker, u Unit, after time.Duration) {
	s.at(s.now+after, func() {
		sp.may[u] = maps.Clone(s.mayServe[u])
		s.step(sp)
	})
}

// step feeds sp's machine with what sp knows, and gossips what comes of it.
func (s *sim) step(sp *simSpeaker) {
	if s.speakers[sp.name] != sp {
		return // that life is over
	}
	if s.now < sp.paused {
		s.at(sp.paused, func() { s.step(sp) })
		return
	}
	in := Input{Whole: sp.whole, Accounted: true, Members: []Member{{Node: sp.name}}, Candidates: map[Unit][]string{}}
	courtesy := sp.machine.Courtesy(start.Add(s.now))
	for _, other := range s.names {
		if other == sp.name {
			continue
		}
		p, known := sp.heard[other]
		in.Accounted = in.Accounted && known
		if p.alive {
			in.Members = append(in.Members, Member{Node: other, Known: true, Serving: p.serving})
		}
	}
	slices.SortFunc(in.Members, func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
	for u, may := range sp.may {
		var candidates []string
		for _, name := range s.names {
			if may[name] && (name == sp.name || sp.heard[name].serving || courtesy && sp.heard[name].alive) {
				candidates = append(candidates, name)
			}
		}
		if joined := strings.Join(candidates, " "); joined != sp.told[u] {
			sp.told[u] = joined
			in.Candidates[u] = candidates
		}
	}
	out := sp.machine.Step(start.Add(s.now), in)
	for _, mv := range out.Moves {
		if mv.To == sp.name || mv.From == sp.name {
			s.tell("%s: %v moves from %q to %q", sp.name, mv.Unit.Address, mv.From, mv.To)
		}
	}
	if !out.WakeAt.IsZero() {
		s.at(out.WakeAt.Sub(start), func() { s.step(sp) })
	}
	if out.Serving != sp.serving {
		sp.serving = out.Serving
		s.tell("%s serves", sp.name)
		for _, name := range s.names {
			if o := s.speakers[name]; o != nil {
				s.noticePeer(o, sp.name, s.between(0, 500*time.Millisecond))
			}
		}
	}
}

// The clockwork.

func (s *sim) at(t time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, event{max(t, s.now), s.seq, do})
}

func (s *sim) between(from, to time.Duration) time.Duration {
	if s.quick {
		to = min(to, from+100*time.Millisecond)
	}
	return from + time.Duration(s.rand.Int64N(int64(to-from)))
}

func (s *sim) tell(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf("%9.3fs  ", s.now.Seconds())+fmt.Sprintf(format, args...))
}

func (s *sim) cutOff() []string {
	var off []string
	for _, name := range s.names {
		if s.cut[name] {
			off = append(off, name)
		}
	}
	return off
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
