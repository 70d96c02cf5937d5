package ownership

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// calmWorld is a world whose speakers have started and settled.
func calmWorld(seed uint64, hosts, units int) *world {
	w := newWorld(seed, hosts, units)
	w.startAll()
	w.run(6 * time.Second)
	return w
}

func (w *world) startAll() {
	for _, h := range w.hosts {
		w.after(w.between(0, 300*time.Millisecond), h.start)
	}
}

// each runs a scenario for many seeds, and prints the story of one that fails.
func each(t *testing.T, seeds uint64, scenario func(seed uint64) (w *world, fault string)) {
	t.Helper()
	t.Parallel()
	for seed := uint64(1); seed <= seeds**simTimes; seed++ {
		w, fault := scenario(seed)
		if fault == "" {
			if faults := w.faults(); len(faults) > 0 {
				fault = strings.Join(faults, "\n")
			}
		}
		if fault != "" {
			t.Fatalf("seed %d: %s\nthe story:\n%s", seed, fault, strings.Join(w.story, "\n"))
		}
	}
}

func spread(loads map[string]int) int {
	least, most := 1<<30, 0
	for _, k := range loads {
		least, most = min(least, k), max(most, k)
	}
	return most - least
}

func TestAfterAColdStartOwnershipIsEven(t *testing.T) {
	each(t, 140, func(seed uint64) (*world, string) {
		w := newWorld(seed, 3+int(seed%4), 20)
		w.startAll()
		w.run(8 * time.Second)
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		return w, ""
	})
}

// With thousands of Services it takes seconds until a speaker has them all, and not as long at each.
func TestAfterAColdStartOwnershipIsEvenThoughViewsBecomeWholeSecondsApart(t *testing.T) {
	each(t, 60, func(seed uint64) (*world, string) {
		w := newWorld(seed, 3+int(seed%4), 20)
		w.view = 2200 * time.Millisecond
		w.startAll()
		w.run(10 * time.Second)
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		return w, ""
	})
}

func TestAfterAColdStartASpeakerWithoutAViewIsNotWaitedForForLong(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := newWorld(seed, 3+int(seed%4), 20)
		w.view = 1000 * time.Hour
		w.hosts[0].start()
		w.view = 0
		w.startAll()
		w.run(900*time.Millisecond + DefaultLimit + 100*time.Millisecond) // by 900 ms all others have their views
		for _, u := range w.units {
			if owner := w.owners()[u]; owner == "" || owner == "node-0" {
				return w, sprint(u, " is owned by ", owner)
			}
		}
		w.hosts[0].stop()
		w.run(3 * time.Second)
		return w, ""
	})
}

func TestALossMovesOnlyTheLostNodesUnits(t *testing.T) {
	each(t, 200, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 4, 21)
		before := w.owners()
		w.hosts[0].cut()
		w.run(500 * time.Millisecond)
		after := w.owners()
		for u, owner := range before {
			if owner != "node-0" && after[u] != owner {
				return w, sprint(u, " moved from ", owner, " to ", after[u])
			}
			if after[u] == "" {
				return w, sprint(u, " is not answered 500 ms after the loss")
			}
		}
		w.run(3 * time.Second)
		if !maps.Equal(after, w.owners()) {
			return w, "it moved again"
		}
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		return w, ""
	})
}

func sprint(args ...any) string { return fmt.Sprint(args...) }

// settleMoves forgets what was counted so far and begins to watch for gaps.
func (w *world) beginWatch() {
	w.moves, w.dups, w.worst, w.watching = 0, 0, 0, true
	clear(w.gap)
	clear(w.since)
}

// endWatch returns the longest time that a unit was not answered.
func (w *world) endWatch() time.Duration {
	w.watch()
	for u, since := range w.since {
		if gap := w.now - since; gap > w.worst {
			w.worst, w.worstOf = gap, u
		}
	}
	return w.worst
}

func TestAPauseOfFiveSecondsMovesNothing(t *testing.T) {
	each(t, 40, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 2+int(seed%4), 12)
		if seed%2 == 0 {
			w.loss, w.twice = 0.1, 0.05
		}
		w.beginWatch()
		w.hosts[0].pause(5 * time.Second)
		w.run(12 * time.Second)
		if w.moves > 0 {
			return w, sprint(w.moves, " moves")
		}
		// 350 ms and a message until all know of it.
		if gap := w.endWatch(); gap > 450*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		if w.dups > 0 {
			return w, "two answered for the same with their own MACs"
		}
		return w, ""
	})
}

func TestARollingRestartOfAllMovesNothing(t *testing.T) {
	each(t, 30, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 2+int(seed%4), 12)
		if seed%2 == 0 {
			w.loss, w.twice = 0.1, 0.05
		}
		before := w.owners()
		w.beginWatch()
		for _, h := range w.hosts {
			h.restart(w.between(time.Second, 5*time.Second))
			w.run(9 * time.Second)
		}
		if w.moves > 0 || !maps.Equal(before, w.owners()) {
			return w, sprint(w.moves, " moves")
		}
		if gap := w.endWatch(); gap > 100*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		return w, ""
	})
}

// Speakers of a later version say what those of this one don't know: fields, types and a version of messages.
func TestARollingUpgradeMovesNothing(t *testing.T) {
	each(t, 8, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3+int(seed%3), 12)
		before := w.owners()
		w.beginWatch()
		for _, h := range w.hosts {
			h.restart(w.between(300*time.Millisecond, 3*time.Second))
			w.run(time.Second)
			h.later = true
			w.run(9 * time.Second)
			if faults := w.faults(); len(faults) > 0 {
				return w, "of two versions: " + strings.Join(faults, "\n")
			}
		}
		if !maps.Equal(before, w.owners()) {
			return w, "it moved"
		}
		// And one of them is lost.
		w.hosts[0].cut()
		w.run(2 * time.Second)
		if faults := w.faults(); len(faults) > 0 {
			return w, "after a loss: " + strings.Join(faults, "\n")
		}
		return w, ""
	})
}

func TestACrashedSpeakerThatComesBackMovesNothing(t *testing.T) {
	each(t, 30, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 12)
		w.beginWatch()
		w.hosts[1].stop()
		w.after(w.between(100*time.Millisecond, 20*time.Second), w.hosts[1].start)
		w.run(27 * time.Second)
		if w.moves > 0 {
			return w, sprint(w.moves, " moves")
		}
		if gap := w.endWatch(); gap > 450*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		return w, ""
	})
}

// Who stands in is known by all also where the owner has only just begun when its speaker falls silent, and all sorts of things have
// happened right before: deputies are not settled then.
func TestWhoeverHasOnlyJustBegunIsStoodInFor(t *testing.T) {
	each(t, 200, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3+int(seed%3), 12)
		if seed%2 == 0 {
			w.loss = 0.1
		}
		for _, u := range w.units {
			for range w.rand.IntN(4) {
				w.after(w.between(0, 700*time.Millisecond), func() {
					p := w.somewhere()
					if w.rand.IntN(3) == 0 {
						p.Candidates = nil
					}
					w.tell("%v may be answered by %v", u, p.Candidates)
					w.place(u, p)
				})
			}
			w.after(700*time.Millisecond, func() { w.place(u, w.everywhere()) })
		}
		if w.rand.IntN(2) == 0 && len(w.hosts) > 3 { // else a third one would be alone for a moment
			w.after(w.between(0, 500*time.Millisecond), func() { w.hosts[1].pause(w.between(1050*time.Millisecond, 1500*time.Millisecond)) })
		}
		w.run(w.between(700*time.Millisecond, 3*time.Second))
		w.hosts[0].stop()
		w.run(3 * time.Second)
		for _, u := range w.units {
			if _, any := w.answering(u, 0); !any {
				var says []string
				for _, h := range w.hosts[1:] {
					says = append(says, h.name+": "+h.speaker.machine.Explain(u))
				}
				return w, sprint("nobody answers for ", u, ":\n", strings.Join(says, "\n"))
			}
		}
		w.hosts[0].start()
		w.run(3 * time.Second)
		return w, ""
	})
}

func TestASpeakerSilentForLongLosesItsUnits(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 4, 20)
		had := w.loads()["node-1"]
		w.beginWatch()
		w.hosts[1].stop()
		w.run(29 * time.Second)
		if w.moves > 0 {
			return w, "moved before its time"
		}
		w.run(10 * time.Second)
		if w.moves != had {
			return w, sprint(w.moves, " moves of ", had)
		}
		if gap := w.endWatch(); gap > 450*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		w.hosts[1].start()
		w.run(10 * time.Second)
		if w.moves != had {
			return w, "moved back at once"
		}
		return w, ""
	})
}

func TestAfterASplitHealsThereIsOneOwnerWithinASecond(t *testing.T) {
	each(t, 40, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 2+int(seed%5), 12)
		if seed%2 == 0 {
			w.loss, w.twice = 0.1, 0.05
		}
		sides := make([]int, len(w.hosts))
		for i := range sides {
			sides[i] = w.rand.IntN(2)
		}
		sides[0] = 1 - sides[1]
		w.split("segment", sides)
		w.run([]time.Duration{5 * time.Second, time.Minute}[seed%4/2])
		for side := range 2 {
			// A node that is alone waits until gossip has lost all the others, and then some.
			if k := strings.Count(sprint(sides), sprint(side)); k == 1 && len(sides) > 2 && w.now < 15*time.Second {
				continue
			}
			for _, u := range w.units {
				if _, any := w.answering(u, side); !any {
					return w, sprint(u, " is not answered on side ", side)
				}
			}
		}
		w.heal()
		// A lost member is dialled every 500 ms.
		w.run(time.Second)
		if faults := w.faults(); len(faults) > 0 {
			return w, "a second after: " + strings.Join(faults, "\n")
		}
		w.beginWatch()
		w.run(10 * time.Second)
		if w.moves > 0 || w.endWatch() > 0 {
			return w, "it went on moving"
		}
		return w, ""
	})
}

// Who was cut off wins nothing by coming back: not what others took from it, and still less what they had all along. It is cut off for so
// long that it has lost some of the others, and not yet claimed what they have, when it hears again.
func TestWhoWasCutOffWinsNothingByComingBack(t *testing.T) {
	each(t, 150, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3+int(seed%3), 16)
		if seed%2 == 0 {
			w.loss, w.twice = 0.1, 0.05
		}
		sides := make([]int, len(w.hosts))
		sides[0] = 1
		w.split("segment", sides)
		w.run(w.between(500*time.Millisecond, 5*time.Second))
		before := map[Unit][]string{}
		for _, u := range w.units {
			before[u], _ = w.answering(u, 0)
		}
		w.heal()
		w.run(10 * time.Second)
		if faults := w.faults(); len(faults) > 0 {
			return w, strings.Join(faults, "\n")
		}
		for u, owner := range w.owners() {
			if len(before[u]) == 1 && before[u][0] != owner {
				return w, sprint(u, " moved from ", before[u], " to ", owner, " after the split")
			}
		}
		return w, ""
	})
}

func TestASplitOfTheGossipAloneMakesNoSecondOwner(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3+int(seed%3), 12)
		sides := make([]int, len(w.hosts))
		for i := range sides {
			sides[i] = w.rand.IntN(2)
		}
		sides[0] = 1 - sides[1]
		before := w.owners()
		w.beginWatch()
		w.split("gossip", sides)
		w.run(2 * time.Minute)
		if w.dups > 0 || w.moves > 0 {
			return w, "there was a second owner"
		}
		w.heal()
		w.run(3 * time.Second)
		if !maps.Equal(before, w.owners()) || w.endWatch() > 0 {
			return w, "it moved"
		}
		return w, ""
	})
}

func TestTwoNodesLostAtOnce(t *testing.T) {
	each(t, 60, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 5, 40)
		before := w.owners()
		w.beginWatch()
		w.hosts[1].cut()
		w.after(w.between(0, 100*time.Millisecond), w.hosts[3].cut)
		w.run(2 * time.Second)
		for u, owner := range before {
			if after := w.owners()[u]; owner != "node-1" && owner != "node-3" && owner != after {
				return w, sprint(u, " moved from ", owner, " to ", after)
			}
		}
		if gap := w.endWatch(); gap > 600*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		for name, k := range w.loads() {
			if k > 40/3+1+1 {
				return w, sprint(name, " has ", k)
			}
		}
		return w, ""
	})
}

func TestANodeThatLosesAllOthersKeepsWhatItHas(t *testing.T) {
	each(t, 30, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 4, 12)
		before := w.owners()
		w.split("segment", []int{1, 0, 0, 0})
		w.run(900 * time.Millisecond)
		for _, u := range w.units {
			if own := w.hosts[0].answers(u).As == Own; own != (before[u] == "node-0") {
				return w, sprint(u, " changed hands on the cut-off node too soon")
			}
		}
		w.run(6 * time.Second) // gossip may take three to lose the last of the others
		for _, u := range w.units {
			if w.hosts[0].answers(u).As != Own {
				return w, sprint(u, " is not answered on the node that is alone")
			}
		}
		w.heal()
		w.run(time.Second)
		for u, owner := range w.owners() {
			if before[u] != "node-0" && owner != before[u] {
				return w, sprint(u, " went from ", before[u], " to ", owner, " though it was claimed provisionally")
			}
		}
		return w, ""
	})
}

func TestANewUnitIsAnsweredSoon(t *testing.T) {
	each(t, 30, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 0)
		w.units = addresses("192.0.2.1", 40)
		for _, u := range w.units {
			w.after(w.between(0, 300*time.Millisecond), func() { w.place(u, w.everywhere()) })
		}
		// 200 ms of it is the look whether the address is free.
		w.run(1200 * time.Millisecond)
		for u, owner := range w.owners() {
			if owner == "" || strings.Contains(owner, "+") {
				return w, sprint(u, " is answered by ", owner)
			}
		}
		if loads := w.loads(); spread(loads) > 3 {
			return w, "loads " + sprint(loads)
		}
		return w, ""
	})
}

func TestAnAddressThatAForeignHostHoldsIsNotAnswered(t *testing.T) {
	each(t, 10, func(seed uint64) (*world, string) {
		w := newWorld(seed, 3, 6)
		w.foreign[w.units[2]] = true
		w.startAll()
		w.run(30 * time.Second)
		if owners, _ := w.answering(w.units[2], 0); len(owners) > 0 {
			return w, "answered"
		}
		if faults := w.faults(); len(faults) > 0 {
			return w, strings.Join(faults, "\n")
		}
		// Whoever takes it over looks too.
		owner := w.hosts[0].speaker.machine.Owner(w.units[2])
		w.host(owner).cut()
		w.run(3 * time.Second)
		if owners, _ := w.answering(w.units[2], 0); len(owners) > 0 {
			return w, "answered by the deputy"
		}
		delete(w.foreign, w.units[2])
		w.run(40 * time.Second)
		if owners, _ := w.answering(w.units[2], 0); len(owners) != 1 {
			return w, "not answered though it is free now"
		}
		return w, ""
	})
}

func TestAStaleNodeGivesWay(t *testing.T) {
	each(t, 10, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 12)
		w.beginWatch()
		w.hosts[0].stale = true
		w.hosts[0].speaker.wake(0)
		w.rehear()
		w.run(2 * time.Second)
		if w.loads()["node-0"] > 0 || w.endWatch() > 0 || w.moves != 4 {
			return w, sprint(w.moves, " moves, not answered for ", w.endWatch(), ", loads ", w.loads())
		}
		return w, ""
	})
}

func TestAnOrderIsObeyed(t *testing.T) {
	each(t, 10, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 6)
		w.beginWatch()
		u := w.units[0]
		owner := w.owners()[u]
		to := w.hosts[0].name
		if to == owner {
			to = w.hosts[1].name
		}
		w.host(owner).speaker.in.Orders = []Order{{u, to}}
		w.host(owner).speaker.wake(0)
		w.run(300 * time.Millisecond)
		if got := w.owners()[u]; got != to || w.moves != 1 || w.endWatch() > 0 {
			return w, sprint(u, " went from ", owner, " to ", got, ", not to ", to)
		}
		w.run(10 * time.Minute)
		if got := w.owners()[u]; got != to {
			return w, "failback took it back"
		}
		return w, ""
	})
}

func TestWhatALostPacketSaidIsKnownSoon(t *testing.T) {
	each(t, 40, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 5, 10)
		w.loss = 0.15
		w.hosts[0].cut()
		w.run(800 * time.Millisecond) // 400 ms of it until all know of the loss
		for u, owner := range w.owners() {
			for _, h := range w.hosts[1:] {
				if got := h.speaker.machine.Owner(u); got != owner {
					return w, sprint(u, " is owned by ", owner, ", ", h.name, " thinks by ", got)
				}
			}
		}
		return w, ""
	})
}

func TestALinkLostMovesWhatNeedsIt(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 12)
		before := w.owners()
		w.beginWatch()
		had := 0
		for _, u := range w.units[:6] {
			p := w.everywhere()
			p.Candidates[1].Dead = true
			w.place(u, p)
			if before[u] == "node-1" {
				had++
			}
		}
		w.run(2 * time.Second)
		for i, u := range w.units {
			switch now := w.owners()[u]; {
			case before[u] == "node-1" && i < 6:
				if now == "node-1" || now == "" {
					return w, sprint(u, " is still answered by ", now)
				}
			case now != before[u]:
				return w, sprint(u, " moved")
			}
		}
		if w.moves != had || w.endWatch() > 0 {
			return w, sprint(w.moves, " moves, not answered for ", w.endWatch())
		}
		return w, ""
	})
}

func TestLongAfterALossAllIsAsIfTheNodeHadNeverBeen(t *testing.T) {
	each(t, 3, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 9)
		w.hosts[0].cut()
		w.run(12 * time.Minute)
		for _, h := range w.hosts[1:] {
			if n := h.speaker.machine.nodes["node-0"]; len(n.set) > 0 || len(h.speaker.machine.open) > 0 {
				return w, sprint(h.name, " still remembers what node-0 claimed")
			}
		}
		w.beginWatch()
		w.hosts[0].boot()
		w.run(10 * time.Second)
		if w.moves > 0 {
			return w, "it moved"
		}
		w.run(6 * time.Minute)
		if loads := w.loads(); spread(loads) > 1 || w.endWatch() > 0 {
			return w, "loads " + sprint(loads)
		}
		return w, ""
	})
}

func TestASplitOfTenMinutesHeals(t *testing.T) {
	each(t, 4, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 4, 12)
		w.split("segment", []int{0, 0, 1, 1})
		w.run(11 * time.Minute)
		w.heal()
		w.run(time.Second)
		if faults := w.faults(); len(faults) > 0 {
			return w, "a second after: " + strings.Join(faults, "\n")
		}
		w.run(6 * time.Minute)
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads " + sprint(loads)
		}
		return w, ""
	})
}

func TestClocksThatJumpMoveNothing(t *testing.T) {
	each(t, 20, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3, 9)
		before := w.owners()
		w.beginWatch()
		for range 6 {
			h := w.hosts[w.rand.IntN(3)]
			h.jump += w.between(-2*time.Hour, 2*time.Hour)
			w.tell("%s: its clock jumps", h.name)
			h.speaker.wake(0)
			w.run(2 * time.Second)
		}
		if !maps.Equal(before, w.owners()) || w.moves > 0 {
			return w, "it moved"
		}
		return w, ""
	})
}

// With many units, what is told no longer fits into packets.
func TestManyUnitsAreNoDifferent(t *testing.T) {
	each(t, 1, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 4, 2000)
		w.quiet = true
		w.loss = 0.05
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads after the cold start " + sprint(loads)
		}
		w.hosts[0].cut()
		w.run(600 * time.Millisecond)
		if loads := w.loads(); spread(loads) > 1 {
			return w, "loads after the loss " + sprint(loads)
		}
		had := w.loads()["node-2"]
		w.beginWatch()
		w.hosts[2].leave(true)
		w.run(3 * time.Second)
		if !w.hosts[2].speaker.left || w.loads()["node-2"] > 0 || w.moves != had || w.endWatch() > 0 {
			return w, sprint(w.moves, " moves of ", had, ", not answered for ", w.endWatch())
		}
		return w, ""
	})
}

// A node that has only just come back doubts what it knows. While it does, others are heirs.
func TestWhoHasJustComeBackDelaysNoTakeover(t *testing.T) {
	each(t, 100, func(seed uint64) (*world, string) {
		w := newWorld(seed, 3+int(seed%3), 16)
		w.failback = Failback{Policy: Immediate}
		for _, u := range w.units {
			w.may[u] = w.everywhere()
		}
		w.startAll()
		w.run(6 * time.Second)
		if seed%2 == 0 { // its link was cut, or its power
			sides := make([]int, len(w.hosts))
			sides[1] = 1
			w.split("segment", sides)
			w.run(w.between(500*time.Millisecond, 5*time.Second))
			w.heal()
		} else {
			w.hosts[1].cut()
			w.run(w.between(500*time.Millisecond, 5*time.Second))
			w.hosts[1].boot()
		}
		w.run(w.between(100*time.Millisecond, 6*time.Second))
		w.beginWatch()
		w.hosts[2].cut()
		w.run(3 * time.Second)
		if gap := w.endWatch(); gap > 450*time.Millisecond {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		w.run(10 * time.Second)
		return w, ""
	})
}
