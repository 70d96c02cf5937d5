package ownership

import (
	"testing"
	"time"
)

// A speaker falls silent while another one is, which may have been about to stand in for it.
func TestWhoeverFallsSilentWhileAnotherIsSilentIsStoodInFor(t *testing.T) {
	each(t, 60, func(seed uint64) (*world, string) {
		w := calmWorld(seed, 3+int(seed%4), 12)
		if seed%2 == 0 {
			w.loss, w.twice = 0.1, 0.05
		}
		w.beginWatch()
		one, other := w.hosts[0], w.hosts[1]
		at := w.between(0, 4*time.Second)
		w.after(at, one.stop)
		from := w.between(0, 6*time.Second)
		w.after(from, func() { other.pause(w.between(200*time.Millisecond, 6*time.Second)) })
		if seed%3 == 0 {
			w.after(at+w.between(0, 5*time.Second), one.start)
		}
		w.run(13 * time.Second)
		bound := 450 * time.Millisecond
		if (at - from).Abs() < bound {
			bound += 350 * time.Millisecond // the first deputy of the one falls silent before it knows
		}
		if gap := w.endWatch(); gap > bound {
			return w, sprint(w.worstOf, " was not answered for ", gap)
		}
		one.start()
		w.run(4 * time.Second)
		return w, ""
	})
}
