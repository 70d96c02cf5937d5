package layer2

import (
	"sync/atomic"
	"time"
)

// Turning reports whether answers would be given now: that nothing is held (see Hold), and that
// the loop of every responder that is answering has come round within the last
// while. A loop that has nothing to do is woken up to show that it is alive: that costs
// some microseconds for each segment, and is paid at the next call. So call it as
// often as it is to be known, say every 80 ms, before each heartbeat.
func (a *Announcer) Turning(within time.Duration) bool {
	now := time.Now()
	a.alive(now) // whoever calls is
	turning := !a.silent(now)
	for _, r := range *a.atWork.Load() {
		if !r.round.turned(now, within) {
			turning = false
		}
	}
	return turning
}

// A round shows whether a loop comes round.
type round struct {
	// asked is when the loop was asked for a sign, if that is still to come; in
	// nanoseconds of Unix time, else 0.
	asked atomic.Int64
	nudge atomic.Pointer[func()] // wakes the loop up; nil while there is none
}

// begin is for a loop that is about to run.
func (r *round) begin(nudge func()) { r.nudge.Store(&nudge) }

// came is for the loop to call when it comes round.
func (r *round) came() { r.asked.Store(0) }

// turned reports whether the loop has come round within the last while, and asks for the next sign.
func (r *round) turned(now time.Time, within time.Duration) bool {
	nudge := r.nudge.Load()
	if nudge == nil {
		return true // not answering yet, which State shows
	}
	asked := r.asked.Load()
	if asked == 0 {
		r.asked.Store(now.UnixNano())
	}
	(*nudge)()
	return asked == 0 || now.Sub(time.Unix(0, asked)) <= within
}
