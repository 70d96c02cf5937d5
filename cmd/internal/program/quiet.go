package program

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Quiet lets at most ten lines a minute of each cause through to a handler. A cause is a message and its level: messages
// are constant, what varies is in the attributes. The first line that comes through again says how many did not.
func Quiet(next slog.Handler) slog.Handler {
	return quiet{next, &causes{counts: map[cause]*count{}}}
}

const (
	quietLines  = 10
	quietPeriod = time.Minute
	// quietCauses is how many causes are told apart; beyond that all counts start anew.
	quietCauses = 1000
)

type quiet struct {
	slog.Handler
	causes *causes
}

type causes struct {
	mu     sync.Mutex
	counts map[cause]*count
}

type cause struct {
	level   slog.Level
	message string
}

// count is how many lines of a cause came since a time.
type count struct {
	since              time.Time
	passed, suppressed int
}

// WithAttrs keeps the causes.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.causes}
}

// WithGroup keeps the causes.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.causes} }

// Handle drops the line or passes it on.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	suppressed, pass := q.causes.pass(cause{r.Level, r.Message}, r.Time)
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("suppressed", suppressed))
	}
	return q.Handler.Handle(ctx, r)
}

// pass decides on a line, and returns how many were dropped before it.
func (c *causes) pass(of cause, now time.Time) (suppressed int, pass bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[of]
	if n == nil {
		if len(c.counts) >= quietCauses {
			clear(c.counts)
		}
		n = &count{since: now}
		c.counts[of] = n
	}
	if now.Sub(n.since) >= quietPeriod {
		suppressed = n.suppressed
		*n = count{since: now}
	}
	if n.passed == quietLines {
		n.suppressed++
		return 0, false
	}
	n.passed++
	return suppressed, true
}
