package ownership_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/ownership"
)

var (
	togetherSeeds = flag.Uint64("ownership.together", 8, "how many schedules TestDetectionAndOwnershipTogether runs of each scenario")
	togetherSeed  = flag.Uint64("ownership.together-seed", 0, "run this schedule alone, and print its story")
)

// ask has the client ask for all addresses.
func (h *hall) ask() {
	for _, u := range h.units {
		to := h.leadsTo(u)
		good := slices.ContainsFunc(to, func(p *player) bool { return p.inReach() })
		h.measure(h.since, u, !good, &h.gap, &h.gapOf)
		h.measure(h.several, u, len(to) > 1, &h.two, &h.twoOf)
	}
	h.after(4*time.Millisecond, h.ask)
}

// leadsTo returns the nodes whose MACs the client is answered.
func (h *hall) leadsTo(u ownership.Unit) (to []*player) {
	for _, p := range h.players {
		if !p.awake() || !p.inReach() || p.mute {
			continue
		}
		t := p
		switch a := p.answers[u]; {
		case a.As == ownership.Nothing, a.Claim:
			continue
		case a.As == ownership.StandIn:
			t = h.byName(a.For)
		}
		if !slices.Contains(to, t) {
			to = append(to, t)
		}
	}
	return to
}

func (h *hall) measure(since map[ownership.Unit]time.Duration, u ownership.Unit, is bool, worst *time.Duration, of *ownership.Unit) {
	at, was := since[u]
	switch {
	case !is:
		delete(since, u)
	case !was:
		since[u] = h.now
	case h.now-at > *worst:
		*worst, *of = h.now-at, u
	}
}

// begin has gaps and moves counted from now on.
func (h *hall) begin() {
	h.tell("from here on it counts")
	h.gap, h.two, h.moves = 0, 0, nil
	clear(h.since)
	clear(h.several)
}

// owners returns whose each address is, and what is wrong with that.
func (h *hall) owners() (map[ownership.Unit]string, []string) {
	owners, faults := map[ownership.Unit]string{}, []string(nil)
	for _, u := range h.units {
		to := h.leadsTo(u)
		if len(to) != 1 || !to[0].inReach() {
			var names []string
			for _, p := range to {
				names = append(names, p.name)
			}
			faults = append(faults, fmt.Sprintf("at %.3f %v is answered as %v", h.now.Seconds(), u, names))
			continue
		}
		owners[u] = to[0].name
		for _, p := range h.players {
			if p.awake() && p.inReach() && p.owner.Owner(u) != to[0].name {
				faults = append(faults, fmt.Sprintf("at %.3f %v is %s's, %s takes it for %q's", h.now.Seconds(), u, to[0].name, p.name, p.owner.Owner(u)))
			}
		}
	}
	return owners, faults
}

// trouble has something happen that ends by itself.
func (h *hall) trouble() {
	p, d := h.any(), h.between(100*time.Millisecond, 6*time.Second)
	side := func(p *player) int { return int(p.i) % 2 }
	alone := func(q *player) int {
		if q == p {
			return 1
		}
		return 0
	}
	switch h.rand.IntN(9) {
	case 0:
		p.pause(d)
	case 1:
		p.setCut(true)
		h.after(d, func() { p.setCut(false) })
	case 2:
		p.powerOff()
		h.after(d, func() { p.kernel = true; p.start() })
	case 3:
		p.end()
		h.after(d, p.start)
	case 4, 5:
		p.restart(d / 3)
	case 6:
		h.split("gossip", []func(*player) int{side, alone}[h.rand.IntN(2)])
		h.after(d, func() { h.split("gossip", together) })
	case 7:
		h.split("segment", []func(*player) int{side, alone}[h.rand.IntN(2)])
		h.after(d, func() { h.split("segment", together) })
	case 8:
		h.loss = 0.2
		h.after(d, func() { h.loss = 0 })
	}
}

// peace has all troubles end.
func (h *hall) peace() {
	h.run(6 * time.Second)
	for slices.ContainsFunc(h.players, func(p *player) bool { return !p.awake() }) {
		h.run(time.Second)
	}
}

// TestDetectionAndOwnershipTogether has troubles happen, lets the dust settle for as long as an operator would not wait, and has
// something happen that is promised to cost little: then it counts.
func TestDetectionAndOwnershipTogether(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		gap  time.Duration
		do   func(h *hall, x *player)
		may  bool // what x had may move
	}{
		{"a node is cut off", 550 * time.Millisecond, func(_ *hall, x *player) { x.setCut(true) }, true},
		{"a node loses power", 550 * time.Millisecond, func(_ *hall, x *player) { x.powerOff() }, true},
		{"a speaker is stopped for 5 s", 450 * time.Millisecond, func(_ *hall, x *player) { x.pause(5 * time.Second) }, false},
		{"a speaker ends and is back", 450 * time.Millisecond, func(h *hall, x *player) {
			x.end()
			h.after(h.between(100*time.Millisecond, 8*time.Second), x.start)
		}, false},
		{"a speaker restarts", 100 * time.Millisecond, func(h *hall, x *player) { x.restart(h.between(100*time.Millisecond, 3*time.Second)) }, false},
		{"the gossip is split", 450 * time.Millisecond, func(h *hall, x *player) {
			h.split("gossip", func(p *player) int { return int(p.i) % 2 })
			h.after(h.between(time.Second, 8*time.Second), func() { h.split("gossip", together) })
		}, false},
		{"a tenth of all frames is lost", 0, func(h *hall, x *player) {
			h.loss = 0.1
			h.after(8*time.Second, func() { h.loss = 0 })
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first, last := uint64(1), *togetherSeeds
			if *togetherSeed != 0 {
				first, last = *togetherSeed, *togetherSeed
			}
			for seed := first; seed <= last; seed++ {
				h := newHall(seed, []int{2, 3, 3, 4, 5, 6, 10}[seed%7], 10)
				for range h.rand.IntN(5) {
					h.trouble()
					h.run(h.between(0, 5*time.Second))
				}
				h.peace()
				h.run(h.between(0, 8*time.Second))
				x := h.any()
				before, faults := h.owners()
				h.begin()
				c.do(h, x)
				h.run(12 * time.Second)
				if h.gap > c.gap {
					faults = append(faults, fmt.Sprintf("%v was not answered for %v", h.gapOf, h.gap))
				}
				if h.two > 300*time.Millisecond {
					faults = append(faults, fmt.Sprintf("%v was answered by two for %v", h.twoOf, h.two))
				}
				after, wrong := h.owners()
				faults = append(faults, wrong...)
				for _, u := range h.units {
					if before[u] != after[u] && !(c.may && before[u] == x.name) {
						faults = append(faults, fmt.Sprintf("%v has moved from %s to %s", u, before[u], after[u]))
					}
				}
				if len(faults) > 0 || *togetherSeed != 0 {
					t.Logf("seed %d, of %s, the story:\n%s", seed, x.name, strings.Join(h.story, "\n"))
				}
				if len(faults) > 0 {
					t.Fatalf("seed %d:\n%s", seed, strings.Join(faults, "\n"))
				}
			}
		})
	}
}

// TestTroublesTogether has troubles happen all at once, in clusters small and large, with and without others on the segment: in the end each address has one
// owner, and in peace nothing moves.
func TestTroublesTogether(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), 3**togetherSeeds
	if *togetherSeed != 0 {
		first, last = *togetherSeed, *togetherSeed
	}
	for seed := first; seed <= last; seed++ {
		h := newHall(seed, 2+int(seed%5), 8)
		h.router = seed%3 > 0
		h.sched = h.between(time.Millisecond, 25*time.Millisecond)
		h.begin()
		for range 3 + h.rand.IntN(10) {
			h.trouble()
			h.run(h.between(0, 3*time.Second))
		}
		h.peace()
		h.run(8 * time.Second) // who was cut off may hold what it claimed for as long
		owners, faults := h.owners()
		h.begin()
		h.run(4 * time.Second)
		if h.gap > 0 || h.two > 0 || len(h.moves) > 0 {
			faults = append(faults, fmt.Sprintf("in peace there is nobody for %v, two for %v, and %v", h.gap, h.two, h.moves))
		}
		after, wrong := h.owners()
		if faults = append(faults, wrong...); !maps.Equal(owners, after) {
			faults = append(faults, "addresses moved in peace")
		}
		if len(faults) > 0 || *togetherSeed != 0 {
			t.Logf("seed %d, the story:\n%s", seed, strings.Join(h.story, "\n"))
		}
		if len(faults) > 0 {
			t.Fatalf("seed %d:\n%s", seed, strings.Join(faults, "\n"))
		}
	}
}
