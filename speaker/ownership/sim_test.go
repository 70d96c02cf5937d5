package ownership

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	simSeeds = flag.Uint64("ownership.seeds", 2000, "how many schedules to simulate")
	simSeed  = flag.Uint64("ownership.seed", 0, "simulate this schedule alone and print its story")
	simTimes = flag.Uint64("ownership.times", 1, "how many times as many schedules as usual to simulate of each scenario")
)

const (
	trouble = 15 * time.Second // troubles begin until then
	// dust is how long the dust may take to settle when all is well again: to be heard by the others, and to exchange
	// what is known. peace is for how long nothing may happen then.
	dust  = 6 * time.Second
	peace = 3 * time.Second
)

// TestSimulation runs clusters of speakers through seeded schedules of starts, crashes, restarts, leaves, pauses, losses of nodes,
// splits of the gossip and of the segment, clocks that jump and changes of who may answer, all at once and while packets
// are lost, late, doubled and out of order. When all is well again each address that may be answered
// has exactly one owner on which all agree, nobody stands in for a speaker that is well, and nothing moves any more.
//
// A failing seed prints its story; -ownership.seed=N runs it again.
func TestSimulation(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), *simSeeds
	if *simSeed != 0 {
		first, last = *simSeed, *simSeed
	}
	if testing.Short() {
		last = min(last, first+200)
	}
	for seed := first; seed <= last; seed++ {
		w, faults := simulate(seed)
		if len(faults) > 0 || *simSeed != 0 {
			t.Logf("seed %d, the story:\n%s", seed, strings.Join(w.story, "\n"))
			for _, f := range faults {
				t.Errorf("seed %d: %s", seed, f)
			}
			if len(faults) > 0 {
				return
			}
		}
	}
}

func simulate(seed uint64) (*world, []string) {
	w := newWorld(seed, 1+int(seed%6), 0)
	w.units = addresses("192.0.2.1", 1+w.rand.IntN(12))
	w.loss, w.twice = 0.2*w.rand.Float64(), 0.1*w.rand.Float64()
	w.lag = w.between(time.Millisecond, 20*time.Millisecond)
	w.takeOver = w.between(2*time.Second, 30*time.Second)
	if w.rand.IntN(2) == 0 {
		w.failback = Failback{Policy: Immediate}
	}
	for _, u := range w.units {
		w.may[u] = w.somewhere()
	}
	for _, h := range w.hosts {
		w.after(w.between(0, 2*time.Second), h.start)
	}
	for range 3 + w.rand.IntN(15) {
		w.after(w.between(time.Second, trouble), w.trouble)
	}
	w.run(trouble)
	w.tell("peace")
	w.heal()
	w.loss, w.twice = 0.02, 0.02
	for _, h := range w.hosts {
		h.leave(false)
		h.stale = false
		if h.speaker != nil && h.speaker.restarting {
			h.stop()
		}
		h.boot()
	}
	// Those that are stopped go on in their own time.
	w.run(dust)
	for slices.ContainsFunc(w.hosts, func(h *host) bool { return h.speaker != nil && h.speaker.paused }) {
		w.run(time.Second)
	}
	w.run(dust)
	faults := append(w.faults(), w.uneven()...)
	owners := w.owners()
	w.beginWatch()
	w.run(peace)
	faults = append(faults, w.faults()...)
	for _, u := range w.units {
		if now := w.owners()[u]; now != owners[u] {
			faults = append(faults, sprint(u, " moved from ", owners[u], " to ", now, " in peace"))
		}
	}
	return w, faults
}

// uneven returns what is not even, or not with the best placed, among units with the same candidates, where failback is immediate.
func (w *world) uneven() []string {
	if w.failback.Policy != Immediate {
		return nil
	}
	loads := map[string]map[string]int{}
	candidates := map[string][]Candidate{}
	for u, owner := range w.owners() {
		key := sprint(w.may[u].Candidates)
		if loads[key] == nil {
			loads[key], candidates[key] = map[string]int{}, w.may[u].Candidates
		}
		loads[key][owner]++
	}
	var faults []string
	for key, load := range loads {
		least, most := 1<<30, 0
		for _, c := range candidates[key] {
			best := !slices.ContainsFunc(candidates[key], func(d Candidate) bool {
				return d.Rank < c.Rank || d.Rank == c.Rank && d.Weight > c.Weight
			})
			switch {
			case best:
				least, most = min(least, load[c.Node]), max(most, load[c.Node])
			case load[c.Node] > 0:
				faults = append(faults, sprint(c.Node, " has units of ", key, " that others should have"))
			}
		}
		if most-least > 1 {
			faults = append(faults, sprint("loads of ", key, " are ", load))
		}
	}
	return faults
}

// somewhere is that some may answer, some rather than others.
func (w *world) somewhere() Placement {
	p := Placement{Failback: w.failback}
	ranked := w.rand.IntN(4) == 0
	for _, h := range w.hosts {
		if w.rand.IntN(5) > 0 {
			c := Candidate{Node: h.name}
			if ranked {
				c.Rank, c.Weight = uint8(w.rand.IntN(2)), int32(w.rand.IntN(2))
			}
			p.Candidates = append(p.Candidates, c)
		}
	}
	return p
}

// trouble lets something happen.
func (w *world) trouble() {
	h := w.hosts[w.rand.IntN(len(w.hosts))]
	switch w.rand.IntN(12) {
	case 0:
		h.cut()
		w.after(w.between(0, 6*time.Second), h.boot)
	case 1:
		h.stop()
		w.after(w.between(0, 6*time.Second), h.start)
	case 2, 3:
		h.restart(w.between(100*time.Millisecond, 4*time.Second))
	case 4:
		h.pause(w.between(100*time.Millisecond, 6*time.Second))
	case 5, 6:
		sides := make([]int, len(w.hosts))
		for i := range sides {
			sides[i] = w.rand.IntN(2)
		}
		w.split([]string{"gossip", "segment"}[w.rand.IntN(2)], sides)
		w.after(w.between(100*time.Millisecond, 8*time.Second), w.heal)
	case 7:
		h.leave(!h.leaving)
	case 8:
		h.jump += w.between(-time.Hour, time.Hour)
		w.tell("%s: its clock jumps", h.name)
	case 9:
		h.stale = !h.stale
		w.tell("%s: stale: %v", h.name, h.stale)
		w.rehear()
	default:
		u := w.units[w.rand.IntN(len(w.units))]
		p := w.somewhere()
		w.tell("%v may be answered by %v", u, p.Candidates)
		w.place(u, p)
	}
}

// The same seed tells the same story: machines keep nothing in an order that is not theirs.
func TestAStoryIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 20; seed++ {
		one, _ := simulate(seed)
		two, _ := simulate(seed)
		if !slices.Equal(one.story, two.story) || !maps.Equal(one.owners(), two.owners()) {
			t.Fatalf("seed %d has two stories", seed)
		}
	}
}
