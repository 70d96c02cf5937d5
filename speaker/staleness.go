package speaker

import (
	"sync"
	"time"
)

// staleness knows whether this speaker's view of the API server is old: following it has failed again and again. A
// watch that is merely quiet is no sign.
type staleness struct {
	mu    sync.Mutex
	first time.Time // failure of those that followed on each other
	last  time.Time
}

const (
	// staleAfter is for how long following must have failed.
	staleAfter = 20 * time.Second
	// staleUntil is how long without a failure shows that following works again: attempts are at most half a minute apart.
	staleUntil = 45 * time.Second
)

func (s *staleness) failed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) >= staleUntil {
		s.first = now
	}
	s.last = now
}

func (s *staleness) stale(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.last.IsZero() && now.Sub(s.last) < staleUntil && s.last.Sub(s.first) >= staleAfter
}
