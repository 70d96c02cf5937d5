package child

import "time"

// Bounds of the time between attempts.
const (
	// slowest is the longest back-off, where connectTime is not longer.
	slowest = 30 * time.Second
	// soon is when a session is made again that was fine for long.
	soon = 200 * time.Millisecond
	// fine is how long a session must have been established to count as such.
	fine = 10 * time.Second
)

// failure is how an attempt, or the session that it led to, ended.
type failure uint8

const (
	// unanswered: no connection came about.
	unanswered failure = iota
	// refused: there was a connection, and no session or one that did not last.
	refused
	// lost: a session that was fine ended.
	lost
	// dismissed: a session that was fine was ended by the router's operator.
	dismissed
	// renewed: we ended it to make it again.
	renewed
)

// retryDelay is how long to wait after a failure; n counts the refusals in a row, this one included, and
// random is from 0 to 1.
//
//	failure     after
//	unanswered  connectTime: routers come back at any moment, and a SYN costs nothing
//	refused     a second, connectTime, twice that, and so on: a connection that comes about proves nothing,
//	            but a router that is just starting, or still busy with the last session, refuses as well
//	lost        a moment
//	dismissed   connectTime
//	renewed     at once
//
// All but the last are shortened by up to a quarter, so that nodes do not try in step (RFC 4271 section 10).
func retryDelay(f failure, n int, connectTime time.Duration, random float64) time.Duration {
	d := connectTime
	switch f {
	case renewed:
		return 0
	case lost:
		d = soon
	case refused:
		if n <= 1 {
			d = min(d, time.Second)
			break
		}
		limit := max(slowest, connectTime)
		for ; n > 2 && d < limit; n-- {
			d *= 2
		}
		d = min(d, limit)
	}
	return time.Duration(float64(d) * (1 - random/4))
}
