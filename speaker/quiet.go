package speaker

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Quiet returns a handler that passes on at most ten records a minute of each cause, and tells with the
// next one how many were left out. A cause is a level and a message, digits apart, together with
// the value of the key "reason" if there is one: our messages are constant, and libraries' mostly so. Debug records all pass.
func Quiet(h slog.Handler) slog.Handler { return quiet{h, &causes{since: map[string]*cause{}}} }

const (
	quietLines  = 10
	quietPeriod = time.Minute
	// quietCauses is how many causes are told apart; when there are more, all counts start anew.
	quietCauses = 1000
)

type quiet struct {
	next   slog.Handler
	causes *causes
}

type causes struct {
	mu    sync.Mutex
	since map[string]*cause
}

type cause struct {
	passed  [quietLines]time.Time // the last ones, in a ring
	next    int
	omitted int
}

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool { return q.next.Enabled(ctx, level) }

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.next.WithAttrs(attrs), q.causes}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.next.WithGroup(name), q.causes} }

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	omitted, pass := 0, true
	if r.Level >= slog.LevelInfo {
		omitted, pass = q.causes.count(causeOf(r), r.Time)
	}
	if !pass {
		return nil
	}
	if omitted > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("omitted", omitted))
	}
	return q.next.Handle(ctx, r)
}

func causeOf(r slog.Record) string {
	key := r.Level.String() + strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "reason" {
			key += " " + a.Value.String()
		}
		return true
	})
	return key
}

// count counts a record, and says whether it is to be passed on and how many were not since the last that was.
func (c *causes) count(key string, now time.Time) (omitted int, pass bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.since[key]
	if k == nil {
		if len(c.since) >= quietCauses {
			clear(c.since)
		}
		k = &cause{}
		c.since[key] = k
	}
	if oldest := k.passed[k.next]; !oldest.IsZero() && now.Sub(oldest) < quietPeriod {
		k.omitted++
		return 0, false
	}
	k.passed[k.next] = now
	k.next = (k.next + 1) % quietLines
	omitted, k.omitted = k.omitted, 0
	return omitted, true
}
