package detection

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"
)

var (
	simSeeds = flag.Uint64("detection.seeds", 0, "how many schedules to simulate of each scenario; 0 is the usual number")
	simSeed  = flag.Uint64("detection.seed", 0, "simulate this schedule alone, and print its story")
)

// A scenario is run on many schedules. It returns what is wrong in the end.
type scenario struct {
	name  string
	seeds uint64
	run   func(seed uint64) (*simNet, []string)
}

// faults collects what is wrong, once each.
type faults []string

func (f *faults) add(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); len(*f) < 10 && !slices.Contains(*f, s) {
		*f = append(*f, s)
	}
}

// settled returns a cluster that has run until everybody knows everybody.
func settled(seed uint64, n int, segments ...string) *simNet {
	s := newNet(seed, n, segments...)
	s.run(2*time.Second + s.between(0, time.Second))
	return s
}

func (s *simNet) any() *simNode { return s.nodes[s.rand.IntN(len(s.nodes))] }

// sizes are of clusters, by the seed.
func size(seed uint64, sizes ...int) int { return sizes[seed%uint64(len(sizes))] }

// neverDead has it noted when anybody calls anybody dead, or a link of anybody's.
func (s *simNet) neverDead(f *faults, except ...*simNode) {
	s.onVerdict = func(o *simNode, v Verdict) {
		if (v.State == Dead || len(v.DeadLinks) > 0) && !slices.Contains(except, s.byName[v.Node]) {
			f.add("%s calls %s %v %v at %v: %s", o.name, v.Node, v.State, v.DeadLinks, s.now, v.Witnesses)
		}
	}
}

// agree checks that all that live, except x, hold x to be in a state.
func (s *simNet) agree(f *faults, x *simNode, want State, links ...string) {
	for _, o := range s.nodes {
		if o == x || !o.alive() {
			continue
		}
		if v := o.verdicts[x.name]; v.State != want || want == Alive && !slices.Equal(v.DeadLinks, links) {
			f.add("at %v %s holds %s to be %v %v, not %v %v: %s", s.now, o.name, x.name, v.State, v.DeadLinks, want, links, v.Witnesses)
		}
	}
}

// calm checks that all that live hold all that live to be alive, and nobody is isolated.
func (s *simNet) calm(f *faults) {
	for _, x := range s.nodes {
		if x.alive() {
			s.agree(f, x, Alive)
			if len(x.isolated) > 0 {
				f.add("at %v %s is isolated: %v", s.now, x.name, x.isolated)
			}
		}
	}
}

var scenarios = []scenario{
	{"a node that is cut off is dead to all within 400 ms, and the others are not", 50, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 3, 4, 5, 7, 10))
		s.sched = 10 * time.Millisecond
		x := s.any()
		s.neverDead(&f, x)
		s.cut(x, "", true)
		s.run(s.now + 400*time.Millisecond)
		s.agree(&f, x, Dead)
		if len(x.isolated) == 0 {
			f.add("it does not know that it is isolated")
		}
		for name, v := range x.verdicts {
			if v.State != Alive {
				f.add("cut off, it says that %s is %v", name, v.State)
			}
		}
		s.run(s.now + s.between(0, 8*time.Second))
		s.agree(&f, x, Dead)
		s.cut(x, "", false)
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"a node that is cut off is dead within 450 ms, too, while another has only just come back", 30, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, 3)
		s.sched = 10 * time.Millisecond
		x, back := s.nodes[0], s.nodes[1]
		s.stop(back, false)
		s.run(s.now + 5*time.Second) // by then gossip has lost it
		s.start(back)
		for end := s.now + 2*time.Second; !s.nodes[2].gossip[back.name] && s.now < end; {
			s.run(s.now + 10*time.Millisecond)
		}
		s.run(s.now + s.between(300*time.Millisecond, 800*time.Millisecond))
		s.neverDead(&f, x)
		s.cut(x, "", true)
		s.run(s.now + 450*time.Millisecond)
		s.agree(&f, x, Dead)
		s.cut(x, "", false)
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"who had trouble a while ago is dead within 450 ms when it is cut off, like anybody else", 40, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 4, 5, 7, 10, 12))
		for range 1 + s.rand.IntN(5) {
			y := s.any()
			switch s.rand.IntN(6) {
			case 0:
				s.pause(y, s.between(200*time.Millisecond, 6*time.Second))
			case 1:
				s.split("gossip", s.nodes[:1+s.rand.IntN(len(s.nodes)-1)]...)
			case 2:
				s.split("gossip", y)
			case 3:
				s.cut(y, "", true)
			case 4:
				s.stop(y, false)
			case 5:
				s.split("eth0", s.nodes[:1+s.rand.IntN(len(s.nodes)-1)]...)
			}
			s.run(s.now + s.between(0, 6*time.Second))
			s.split("gossip")
			s.split("eth0")
			s.cut(y, "", false)
			if !y.running {
				s.start(y)
			}
			s.run(s.now + s.between(0, 3*time.Second))
		}
		for _, n := range s.nodes {
			s.run(max(s.now, n.paused))
		}
		s.run(s.now + s.between(2500*time.Millisecond, 20*time.Second))
		s.calm(&f)
		s.sched = 10 * time.Millisecond
		x := s.any()
		s.neverDead(&f, x)
		s.cut(x, "", true)
		s.run(s.now + 450*time.Millisecond)
		s.agree(&f, x, Dead)
		return s, f
	}},
	{"a node that loses power is dead, and alive again when it is back", 33, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 5, 10))
		x := s.any()
		s.neverDead(&f, x)
		s.stop(x, true)
		s.run(s.now + 400*time.Millisecond)
		s.agree(&f, x, Dead)
		s.run(s.now + s.between(3*time.Second, 60*time.Second))
		s.agree(&f, x, Dead)
		x.kernel = true
		s.run(s.now + 3*time.Second)
		s.agree(&f, x, Silent)
		s.start(x)
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"a speaker that is paused for 5 s is silent within 400 ms, never dead, and alive when it goes on", 33, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 5, 10))
		x := s.any()
		s.neverDead(&f)
		s.pause(x, 5*time.Second)
		s.run(s.now + 400*time.Millisecond)
		s.agree(&f, x, Silent)
		s.run(s.now + 4500*time.Millisecond)
		s.agree(&f, x, Silent)
		s.run(s.now + 1200*time.Millisecond)
		s.calm(&f)
		return s, f
	}},
	{"a speaker that crashes is silent, its node is dead when it goes too, and neither when it comes back", 25, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 5, 10))
		x := s.any()
		s.neverDead(&f)
		s.stop(x, false)
		s.run(s.now + 400*time.Millisecond)
		s.agree(&f, x, Silent)
		s.run(s.now + s.between(0, 40*time.Second))
		s.agree(&f, x, Silent)
		if seed%2 == 0 {
			s.neverDead(&f, x)
			s.stop(x, true)
			s.run(s.now + time.Second)
			s.agree(&f, x, Dead)
			x.kernel = true
		}
		s.start(x)
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"a hung responder is silent though its speaker runs", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 10))
		x := s.any()
		s.neverDead(&f)
		x.hung = true
		s.run(s.now + 420*time.Millisecond)
		s.agree(&f, x, Silent)
		s.run(s.now + 5*time.Second)
		s.agree(&f, x, Silent)
		x.hung = false
		s.run(s.now + 1500*time.Millisecond)
		s.calm(&f)
		return s, f
	}},
	{"who says that it restarts is silent at once", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 10))
		x := s.any()
		s.neverDead(&f)
		x.flags |= Restarting
		s.wakeUp(x)
		s.run(s.now + 30*time.Millisecond)
		s.agree(&f, x, Silent)
		s.stop(x, false)
		s.run(s.now + 3*time.Second)
		s.agree(&f, x, Silent)
		for _, o := range s.nodes {
			if o != x && !o.verdicts[x.name].Restarting {
				f.add("%s does not know that it restarts", o.name)
			}
		}
		s.start(x)
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"in a rolling restart of all speakers nobody dies", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 6))
		s.neverDead(&f)
		for _, x := range s.nodes {
			if seed%2 == 0 {
				x.flags |= Restarting
				s.wakeUp(x)
				s.run(s.now + 50*time.Millisecond)
			}
			s.stop(x, false)
			s.run(s.now + s.between(100*time.Millisecond, 4*time.Second))
			s.start(x)
			s.run(s.now + s.between(300*time.Millisecond, 3*time.Second))
		}
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"a packet of a life that is long over deafens nobody to the one that is", 3, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, 3)
		s.neverDead(&f)
		x := s.any()
		s.stop(x, false)
		s.start(x)
		s.run(s.now + 2*time.Second)
		for _, o := range s.nodes { // between the two there was another one
			o.inbox = append(o.inbox, Message{From: x.name, Life: 7, Payload: encodeBeat(beat{seq: 1, flags: Serving, interval: DefaultInterval})})
			s.wakeUp(o)
		}
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		for _, o := range s.nodes {
			if v := o.verdicts[x.name]; o != x && v.Life != x.life {
				f.add("%s holds life %d for that of %s, which is %d", o.name, v.Life, x.name, x.life)
			}
		}
		return s, f
	}},
	{"starved monitors call nobody dead, and a cut is found all the same", 16, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 5, 10))
		x := s.any()
		s.neverDead(&f)
		for i, n := range s.nodes {
			if n != x && i%2 == 0 {
				n.sched = s.between(30*time.Millisecond, 400*time.Millisecond)
			}
		}
		s.run(s.now + 10*time.Second)
		s.neverDead(&f, x)
		s.cut(x, "", true)
		s.run(s.now + 4*time.Second)
		for _, n := range s.nodes {
			if n != x && n.sched == 0 && n.verdicts[x.name].State != Dead {
				f.add("%s holds it to be %v", n.name, n.verdicts[x.name].State)
			}
		}
		return s, f
	}},
	{"where only one monitor is not starved, a cut is found within 2.5 s, and nobody dies by that one's word", 10, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 4))
		s.neverDead(&f)
		x := s.nodes[0]
		for _, n := range s.nodes[2:] {
			n.sched = s.between(200*time.Millisecond, 400*time.Millisecond)
		}
		s.run(s.now + 5*time.Second)
		s.stop(x, false) // its kernel answers
		s.run(s.now + 5*time.Second)
		s.neverDead(&f, x)
		s.start(x)
		s.run(s.now + 3*time.Second)
		s.cut(x, "", true)
		s.run(s.now + 2500*time.Millisecond)
		if v := s.nodes[1].verdicts[x.name]; v.State != Dead {
			f.add("it is held to be %v: %s", v.State, v.Witnesses)
		}
		return s, f
	}},
	{"frames that take up to 60 ms longer kill nobody", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 10))
		s.neverDead(&f)
		s.delay, s.sched = 60*time.Millisecond, 20*time.Millisecond
		s.run(s.now + 20*time.Second)
		s.delay, s.sched = time.Millisecond, time.Millisecond
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"a split of the gossip alone makes nobody dead, for however long", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 4, 10))
		s.neverDead(&f)
		half := s.nodes[:len(s.nodes)/2]
		s.split("gossip", half...)
		s.run(s.now + 5*time.Second + s.between(0, 60*time.Second))
		for i, o := range s.nodes {
			for j, x := range s.nodes {
				if (i < len(half)) == (j < len(half)) {
					continue
				}
				if v := o.verdicts[x.name]; v.State != Silent {
					f.add("%s holds %s to be %v: %s", o.name, x.name, v.State, v.Witnesses)
				}
			}
		}
		s.split("gossip")
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"one that gossip alone has lost is not dead", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 10))
		s.neverDead(&f)
		x := s.any()
		s.split("gossip", x)
		s.run(s.now + 6*time.Second)
		s.agree(&f, x, Silent)
		return s, f
	}},
	{"after a split of the segment each half holds the other to be dead, and nobody after it heals", 13, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 4, 5, 8, 12))
		half := s.nodes[:len(s.nodes)/2]
		s.split("eth0", half...)
		s.run(s.now + 4*time.Second + s.between(0, 30*time.Second))
		for i, o := range s.nodes {
			for j, x := range s.nodes {
				if i == j {
					continue
				}
				want := Alive
				if (i < len(half)) != (j < len(half)) {
					want = Dead
				}
				if v := o.verdicts[x.name]; v.State != want {
					f.add("%s holds %s to be %v: %s", o.name, x.name, v.State, v.Witnesses)
				}
			}
		}
		s.split("eth0")
		s.run(s.now + 1500*time.Millisecond)
		s.calm(&f)
		return s, f
	}},
	{"a link that fails alone is dead alone", 16, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 4, 10), "eth0", "eth1")
		x := s.any()
		s.neverDead(&f, x)
		s.cut(x, "eth1", true)
		s.run(s.now + 1500*time.Millisecond)
		s.agree(&f, x, Alive, "eth1")
		if len(x.isolated) != 1 || x.isolated[0].Link != "eth1" {
			f.add("it holds itself to be isolated on %v", x.isolated)
		}
		s.run(s.now + s.between(0, 20*time.Second))
		s.agree(&f, x, Alive, "eth1")
		s.cut(x, "eth1", false)
		s.run(s.now + 2500*time.Millisecond)
		s.calm(&f)
		return s, f
	}},
	{"a node whose gossip's link fails lives on by the other", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 4, 10), "eth0", "eth1")
		x := s.any()
		s.onVerdict = func(o *simNode, v Verdict) {
			if v.State == Dead || slices.Contains(v.DeadLinks, "eth1") {
				f.add("%s calls %s %v %v: %s", o.name, v.Node, v.State, v.DeadLinks, v.Witnesses)
			}
		}
		s.cut(x, "eth0", true)
		s.run(s.now + time.Second)
		for _, o := range s.nodes {
			if v := o.verdicts[x.name]; o != x && (v.State != Silent || !slices.Equal(v.DeadLinks, []string{"eth0"})) {
				f.add("%s holds it to be %v %v: %s", o.name, v.State, v.DeadLinks, v.Witnesses)
			}
		}
		s.run(s.now + s.between(0, 20*time.Second))
		s.cut(x, "eth0", false)
		s.run(s.now + 2500*time.Millisecond)
		s.calm(&f)
		return s, f
	}},
	{"clocks that jump kill nobody", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 10))
		s.neverDead(&f)
		for range 10 {
			n := s.any()
			if s.rand.IntN(2) == 0 {
				n.skew += s.between(-2*time.Hour, 2*time.Hour)
			} else {
				n.badStamp = s.between(-time.Hour, time.Hour)
				s.at(s.now+s.between(0, 100*time.Millisecond), func() { n.badStamp = 0 })
			}
			s.wakeUp(n)
			s.run(s.now + s.between(0, 2*time.Second))
		}
		for _, n := range s.nodes {
			n.badStamp = 0
		}
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"of two nodes one that sees nobody at all suspects itself", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := newNet(seed, 2)
		s.routers = false
		s.run(3 * time.Second)
		for _, n := range s.nodes {
			s.newWorld(n)
		}
		s.run(s.now + time.Second)
		s.neverDead(&f)
		s.cut(s.any(), "", true)
		s.run(s.now + 400*time.Millisecond)
		for _, n := range s.nodes {
			if len(n.isolated) != 1 {
				f.add("%s is not isolated", n.name)
			}
		}
		s.cut(s.nodes[0], "", false)
		s.cut(s.nodes[1], "", false)
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"monitors that die with their subject are no loss", 25, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 3, 4, 5, 10))
		x := s.any()
		victims := []*simNode{x}
		for _, name := range x.machine.Monitors() {
			if len(victims) < len(s.nodes)-1 {
				victims = append(victims, s.byName[name])
			}
		}
		s.neverDead(&f, victims...)
		for _, v := range victims {
			s.stop(v, true)
		}
		s.run(s.now + 2500*time.Millisecond)
		for _, v := range victims {
			s.agree(&f, v, Dead)
		}
		return s, f
	}},
	{"ICMP and TCP that are filtered from now on do no harm while heartbeats come", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 10))
		s.neverDead(&f)
		x := s.any()
		x.blocked = methods(0).with(Echo4).with(TCP)
		s.run(s.now + 15*time.Second)
		s.calm(&f)
		s.pause(x, 5*time.Second) // by now only ARP counts
		s.run(s.now + 7*time.Second)
		s.calm(&f)
		return s, f
	}},
	{"an ARP proxy holds up a death for 3 s at most", 12, func(seed uint64) (*simNet, []string) {
		var f faults
		s := settled(seed, size(seed, 2, 3, 10))
		x := s.any()
		x.proxied = true
		s.stop(x, true)
		s.run(s.now + 2*time.Second)
		s.agree(&f, x, Silent)
		s.run(s.now + 2*time.Second)
		s.agree(&f, x, Dead)
		s.run(s.now + 20*time.Second)
		s.agree(&f, x, Dead)
		return s, f
	}},
}

// TestScenarios runs each scenario on many schedules. A failing one prints its story;
// -detection.seed=N runs it again, -detection.seeds=N runs more.
func TestScenarios(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			first, last := uint64(1), sc.seeds
			if *simSeeds != 0 {
				last = *simSeeds
			}
			if *simSeed != 0 {
				first, last = *simSeed, *simSeed
			}
			for seed := first; seed <= last; seed++ {
				s, wrong := sc.run(seed)
				if len(wrong) > 0 || *simSeed != 0 {
					t.Logf("seed %d, %d nodes, the story:\n%s", seed, len(s.nodes), s.storyText())
				}
				for _, w := range wrong {
					t.Errorf("seed %d: %s", seed, w)
				}
				if len(wrong) > 0 {
					return
				}
			}
		})
	}
}

// TestChaos does everything at once, at random, and then leaves the cluster in peace: in the end all that live are alive
// to all, and until then nobody called dead was well.
func TestChaos(t *testing.T) {
	first, last := uint64(1), max(40, *simSeeds)
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	for seed := first; seed <= last; seed++ {
		s, f := chaos(seed)
		if len(f) > 0 || *simSeed != 0 {
			t.Logf("seed %d, %d nodes, the story:\n%s", seed, len(s.nodes), s.storyText())
		}
		for _, wrong := range f {
			t.Errorf("seed %d: %s", seed, wrong)
		}
		if len(f) > 0 {
			return
		}
	}
}

func chaos(seed uint64) (*simNet, faults) {
	var f faults
	s := settled(seed, size(seed, 2, 3, 4, 6, 9))
	wellAt := map[string]time.Duration{} // when each node was last touched
	segmentAt := time.Duration(0)
	s.onVerdict = func(o *simNode, v Verdict) {
		x := s.byName[v.Node]
		if v.State == Dead && x.kernel && !x.links[0].cut && s.now-wellAt[v.Node] > 2*time.Second && s.now-segmentAt > 2*time.Second &&
			s.sides["eth0"][x.name] == s.sides["eth0"][o.name] && s.now-wellAt[o.name] > 2*time.Second {
			f.add("%s calls %s dead at %v: %s", o.name, v.Node, s.now, v.Witnesses)
		}
	}
	for range 4 + s.rand.IntN(12) {
		x := s.any()
		wellAt[x.name] = s.now
		switch s.rand.IntN(9) {
		case 0:
			s.cut(x, "", !x.links[0].cut)
		case 1:
			s.stop(x, false)
		case 2:
			s.stop(x, true)
		case 3:
			if x.running && x.kernel {
				d := s.between(50*time.Millisecond, 8*time.Second)
				s.pause(x, d)
				wellAt[x.name] = s.now + d
			}
		case 4:
			x.kernel = true
			s.start(x)
		case 5:
			s.split("gossip", s.nodes[:s.rand.IntN(len(s.nodes))]...)
		case 6:
			s.split("eth0", s.nodes[:s.rand.IntN(len(s.nodes))]...)
			segmentAt = s.now
		case 7:
			s.loss = float64(s.rand.IntN(2)) / 10
		case 8:
			x.sched = s.between(0, 100*time.Millisecond)
		}
		s.run(s.now + s.between(0, 3*time.Second))
	}
	s.tell("peace")
	s.split("gossip")
	s.split("eth0")
	s.loss = 0
	for _, x := range s.nodes {
		x.sched = 0
		s.cut(x, "", false)
		if !x.running || !x.kernel {
			x.kernel = true
			s.start(x)
		}
	}
	for range 2 { // a pause may still run
		s.run(s.now + 5*time.Second)
	}
	s.calm(&f)
	return s, f
}
