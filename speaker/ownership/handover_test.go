package ownership

import (
	"testing"
	"time"
)

func TestALeaveAlwaysHasAnAnswerer(t *testing.T) {
	each(t, 40, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3+int(seed%3), 12)
		if seed%2 == 0 {
			w.loss, w.twice = 0.1, 0.05
		}
		had := w.loads()["node-1"]
		w.beginWatch()
		w.hosts[1].leave(true)
		w.run(2 * time.Second)
		if !w.hosts[1].speaker.left || w.loads()["node-1"] > 0 {
			return w, "it has not left"
		}
		if gap := w.endWatch(); gap > 0 {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		if w.moves != had {
			return w, sprint(w.moves, " moves of ", had)
		}
		loads := w.loads()
		delete(loads, "node-1")
		if spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		w.hosts[1].stop()
		w.run(10 * time.Second)
		if w.moves != had || w.endWatch() > 0 {
			return w, "it went on moving"
		}
		return w, ""
	})
}

func TestALeaveWhoseSuccessorDiesIsPlannedAnew(t *testing.T) {
	each(t, 30, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 4, 12)
		w.beginWatch()
		w.hosts[1].leave(true)
		w.after(w.between(0, 10*time.Millisecond), w.hosts[2].cut)
		w.run(3 * time.Second)
		if !w.hosts[1].speaker.left || w.loads()["node-1"] > 0 {
			return w, "it has not left"
		}
		if gap := w.endWatch(); gap > 450*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		return w, ""
	})
}

func TestFailbackComesAfterItsTimeAndMakesEven(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := newWorld(seed, 4, 30)
		w.failback.After = 20 * time.Second
		for _, u := range w.units {
			w.may[u] = w.everywhere()
		}
		for _, h := range w.hosts[:3] {
			h.start()
		}
		w.run(6 * time.Second)
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads at first " + sprint(loads)
		}
		w.beginWatch()
		w.hosts[3].start()
		w.run(19 * time.Second)
		if w.moves > 0 {
			return w, "moved before its time"
		}
		w.run(5 * time.Second)
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		if w.moves != 7 || w.endWatch() > 0 {
			return w, sprint(w.moves, " moves, not answered for ", w.endWatch())
		}
		return w, ""
	})
}

func TestFailbackThatIsNeverWanted(t *testing.T) {
	each(t, 5, func(seed uint64) (*world, string) {
		w := newWorld(seed, 4, 30)
		w.failback = Failback{Policy: Never}
		for _, u := range w.units {
			w.may[u] = w.everywhere()
		}
		for _, h := range w.hosts[:3] {
			h.start()
		}
		w.run(6 * time.Second)
		w.hosts[3].start()
		w.run(10 * time.Minute)
		if w.moves > 0 {
			return w, "moved"
		}
		return w, ""
	})
}

func TestThePreferredNodeTakesAllBeforeEvenness(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := newWorld(seed, 4, 12)
		w.failback = Failback{Policy: Immediate}
		for _, u := range w.units {
			p := w.everywhere()
			p.Candidates[2].Weight = 50
			p.Candidates[3].Weight = 50
			w.may[u] = p
		}
		for _, h := range w.hosts[:2] {
			h.start()
		}
		w.run(6 * time.Second)
		w.beginWatch()
		w.hosts[2].start()
		w.hosts[3].start()
		w.run(6 * time.Second)
		loads := w.loads()
		if loads["node-2"] != 6 || loads["node-3"] != 6 || w.endWatch() > 0 || w.moves > 18 {
			return w, sprint("loads ", loads, ", ", w.moves, " moves, not answered for ", w.endWatch())
		}
		return w, ""
	})
}

func TestANodeWhoseRankGetsWorseHandsOver(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 12)
		w.beginWatch()
		for _, u := range w.units {
			p := w.everywhere()
			p.Candidates[0].Rank = 1
			w.place(u, p)
		}
		w.run(2 * time.Second)
		if loads := w.loads(); loads["node-0"] > 0 || spread(map[string]int{"": loads["node-1"], "b": loads["node-2"]}) > 1 {
			return w, "loads " + sprint(loads)
		}
		if w.moves != 4 || w.endWatch() > 0 {
			return w, sprint(w.moves, " moves, not answered for ", w.endWatch())
		}
		return w, ""
	})
}

func TestANodeWhoseRankGotWorseHandsOverWhenABetterOneComes(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 2, 8)
		w.hosts[1].stop()
		w.hosts[1].cut()
		w.run(2 * time.Second) // node-0 has everything
		for _, u := range w.units {
			p := w.everywhere()
			p.Candidates[0].Rank = 1
			w.place(u, p)
		}
		w.run(5 * time.Second)
		if w.loads()["node-0"] != len(w.units) {
			return w, "loads " + sprint(w.loads())
		}
		w.beginWatch()
		w.hosts[1].boot()
		w.run(8 * time.Second)
		if w.loads()["node-1"] != len(w.units) || w.endWatch() > 0 {
			return w, sprint("loads ", w.loads(), ", not answered for ", w.endWatch())
		}
		return w, ""
	})
}

func TestAnOwnerThatMayNoLongerAnswerHandsOver(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 12)
		w.beginWatch()
		for _, u := range w.units {
			p := w.everywhere()
			p.Candidates = p.Candidates[1:]
			w.place(u, p)
		}
		w.run(time.Second)
		if w.loads()["node-0"] > 0 || w.moves != 4 || w.endWatch() > 0 {
			return w, sprint(w.moves, " moves, not answered for ", w.endWatch(), ", loads ", w.loads())
		}
		for _, u := range w.units {
			w.place(u, Placement{})
		}
		w.run(time.Second)
		for u, owner := range w.owners() {
			if owner != "" {
				return w, sprint(u, " is answered though nobody may")
			}
		}
		w.units = nil
		return w, ""
	})
}
