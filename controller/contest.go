package controller

import "time"

// A contest is another writer that keeps changing the ingress that we write. We put it back a few times; when that
// does not help we stop, for two controllers that overwrite each other help nobody.
//
//	          overwritten            overwritten more than contestPatience
//	          (put it back)          times within contestWindow
//	quiet ──────────────────► noisy ────────────────────────────────────► stopped
//	  ▲                                                                      │
//	  └────── the ingress is as we had put it, or the Service was changed ───┘
type contest struct {
	overwritten []time.Time
	stopped     bool
	request     uint64 // what the Service asked for when we stopped
}

const (
	contestPatience = 3
	contestWindow   = 5 * time.Minute
)

// lost notes that our ingress was overwritten, and reports whether to stop.
func (c *contest) lost(now time.Time, request uint64) (stop bool) {
	recent := c.overwritten[:0]
	for _, t := range c.overwritten {
		if now.Sub(t) < contestWindow {
			recent = append(recent, t)
		}
	}
	c.overwritten = append(recent, now)
	if len(c.overwritten) > contestPatience {
		c.stopped, c.request = true, request
	}
	return c.stopped
}

// over ends a contest.
func (c *contest) over() { *c = contest{} }
