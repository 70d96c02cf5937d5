package detection

import (
	"testing"
	"time"
	"slices"
)

func TestProto(t *testing.T) {
	for _, n := range []int{2, 3, 10, 50} {
		var times []time.Duration
		faults := 0
		start := time.Now()
		steps := 0
		for seed := uint64(1); seed <= 20; seed++ {
			s := newNet(seed, n)
			s.sched = 10 * time.Millisecond
			var x *simNode
			var cutAt time.Duration
			s.onVerdict = func(o *simNode, v Verdict) {
				if v.State != Alive && (x == nil || v.Node != x.name || v.State != Dead) && o != x {
					faults++
				}
			}
			s.run(4*time.Second + s.between(0, time.Second))
			x = s.nodes[s.rand.IntN(n)]
			cutAt = s.now
			s.cut(x, "", true)
			dead := map[string]time.Duration{}
			s.onStep = func(o *simNode) {
				if o != x && o.verdicts[x.name].State == Dead && dead[o.name] == 0 {
					dead[o.name] = s.now - cutAt
				}
			}
			s.run(s.now + 2*time.Second)
			if len(dead) != n-1 {
				t.Errorf("n %d seed %d: %d of %d\n%s", n, seed, len(dead), n-1, s.storyText())
				return
			}
			var worst time.Duration
			for _, d := range dead {
				worst = max(worst, d)
			}
			times = append(times, worst)
			steps += s.steps
		}
		slices.Sort(times)
		t.Logf("n=%d faults %d  min %v median %v max %v  took %v, %d steps", n, faults, times[0], times[len(times)/2], times[len(times)-1], time.Since(start), steps)
	}
}
