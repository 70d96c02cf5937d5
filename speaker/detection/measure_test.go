package detection

import (
	"slices"
	"testing"
	"time"
)

// With 10 ms at random until any process runs, and 3 or 10 nodes, the median from a cut until all others have
// counted two votes is under 250 ms, and the 99th percentile under 380 ms.
func TestHowFastALossIsAgreedOn(t *testing.T) {
	for _, row := range []struct {
		nodes, cuts int
	}{{2, 60}, {3, 100}, {10, 40}, {50, 2}} {
		if testing.Short() && row.nodes > 10 {
			continue
		}
		var agreed, silent []time.Duration
		for seed := range uint64(row.cuts) {
			for _, power := range []bool{true, false} {
				if row.nodes == 200 && !power {
					continue
				}
				s := newNet(seed, row.nodes)
				s.sched = 10 * time.Millisecond
				s.run(1500*time.Millisecond + s.between(0, 300*time.Millisecond))
				x, at := s.any(), s.now
				s.onVerdict = func(o *simNode, v Verdict) {
					if o != x && v.State != Alive && v.Node != x.name {
						t.Errorf("%d nodes, seed %d: %s calls %s %v: %s", row.nodes, seed, o.name, v.Node, v.State, v.Witnesses)
					}
				}
				var last time.Duration
				know, want := map[*simNode]bool{}, Silent
				if power {
					want = Dead
				}
				s.onStep = func(o *simNode) {
					if o != x && !know[o] && o.verdicts[x.name].State == want {
						know[o], last = true, s.now-at
					}
				}
				s.stop(x, power)
				s.run(s.now + 800*time.Millisecond)
				if len(know) != row.nodes-1 {
					t.Errorf("%d nodes, seed %d: only %d know", row.nodes, seed, len(know))
				}
				if power {
					agreed = append(agreed, last)
				} else {
					silent = append(silent, last)
				}
			}
		}
		slices.Sort(agreed)
		slices.Sort(silent)
		p99 := func(d []time.Duration) time.Duration { return d[len(d)*99/100] }
		t.Logf("%3d nodes: dead min %v, median %v, p99 %v, max %v", row.nodes, ms(agreed[0]), ms(agreed[len(agreed)/2]), ms(p99(agreed)), ms(agreed[len(agreed)-1]))
		if len(agreed) >= 20 && agreed[len(agreed)/2] >= 250*time.Millisecond || p99(agreed) >= 380*time.Millisecond {
			t.Error("too slow")
		}
		if len(silent) > 0 {
			t.Logf("%3d nodes: silent min %v, median %v, p99 %v, max %v", row.nodes, ms(silent[0]), ms(silent[len(silent)/2]), ms(p99(silent)), ms(silent[len(silent)-1]))
			if p99(silent) >= 400*time.Millisecond {
				t.Error("a stand-in would come too late")
			}
		}
	}
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// 10 % of all frames are lost, each by itself, for ten minutes: nobody dies, and no link.
func TestLossIsNotDeath(t *testing.T) {
	lossFor(t, 10*time.Minute, 0.10, 2, 2, 3, 3, 5)
}

// With a fifth lost it takes a few seconds to be sure of nothing; nobody dies even so.
func TestHeavyLossIsNotDeath(t *testing.T) {
	lossFor(t, time.Minute, 0.20, 2, 3, 5)
}

func lossFor(t *testing.T, d time.Duration, loss float64, sizes ...int) {
	seeds := max(uint64(len(sizes)), *simSeeds)
	silents, nodeTime := 0, time.Duration(0)
	for seed := range seeds {
		n := sizes[seed%uint64(len(sizes))]
		var f faults
		s := settled(seed, n)
		s.onVerdict = func(o *simNode, v Verdict) {
			if v.State == Dead || len(v.DeadLinks) > 0 {
				f.add("%d nodes, seed %d: %s calls %s %v %v at %v: %s", n, seed, o.name, v.Node, v.State, v.DeadLinks, s.now, v.Witnesses)
			}
			if v.State == Silent {
				silents++
			}
		}
		s.onStep = func(o *simNode) {
			if len(o.isolated) > 0 {
				f.add("%d nodes, seed %d: %s is isolated at %v: %v", n, seed, o.name, s.now, o.isolated)
			}
		}
		s.loss = loss
		s.run(s.now + d)
		s.loss = 0
		s.onStep = nil
		s.run(s.now + 2*time.Second)
		s.calm(&f)
		for _, fault := range f {
			t.Error(fault)
		}
		nodeTime += time.Duration(n) * d
	}
	t.Logf("%d runs, %v of nodes' time: nobody was called dead, and %d times somebody silent", seeds, nodeTime, silents)
}

// What the package documentation says of packets holds, whatever the number of nodes.
func TestPacketsPerSecond(t *testing.T) {
	sizes := []int{2, 3, 10, 50}
	if *simSeeds > 0 {
		sizes = append(sizes, 200)
	}
	for _, n := range sizes {
		s := settled(uint64(n), n)
		s.beats, s.votePackets, s.probes, s.steps = 0, 0, 0, 0
		const d = 10 * time.Second
		s.run(s.now + d)
		per := func(count int) float64 { return float64(count) / d.Seconds() / float64(n) }
		t.Logf("%3d nodes, per node and second: %.1f heartbeats, %.1f votes, %.1f probes, %.0f steps", n, per(s.beats), per(s.votePackets), per(s.probes), per(s.steps))
		peers := float64(min(n-1, monitorCount))
		if per(s.beats) > 13.2*peers || per(s.beats) < 12*peers {
			t.Errorf("%d nodes: %.1f heartbeats per second", n, per(s.beats))
		}
		if per(s.probes) > 2.5*peers || per(s.probes) < 2*peers {
			t.Errorf("%d nodes: %.1f probes per second", n, per(s.probes))
		}
		if s.votePackets != 0 {
			t.Errorf("%d nodes: %d votes in peace", n, s.votePackets)
		}
		if per(s.steps) > 14 {
			t.Errorf("%d nodes: %.0f steps per second: who sends a heartbeat has looked at all that came before", n, per(s.steps))
		}
	}
}

// With 200 nodes a step in peace costs no more than with 10.
func BenchmarkStep200(b *testing.B) {
	s := settled(1, 200)
	b.ResetTimer()
	for b.Loop() {
		steps := s.steps
		for s.steps < steps+1000 {
			s.run(s.now + 5*time.Millisecond)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N), "ns/step")
	}
}
