package speaker

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// staleness knows whether this speaker's view of the API server is old: reading from it has failed again and again, and
// has never worked in between. A watch that is merely quiet is no sign.
type staleness struct {
	mu    sync.Mutex
	first time.Time // failure of those that followed on each other; zero when the last reading worked
	last  time.Time
}

const (
	// staleAfter is for how long reading must have failed.
	staleAfter = 20 * time.Second
	// staleUntil is how long without a failure, though nothing was seen to work either, ends it. Attempts are a minute and
	// a half apart at most.
	staleUntil = 3 * time.Minute
)

func (s *staleness) failed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() || now.Sub(s.last) >= staleUntil {
		s.first = now
	}
	s.last = now
}

func (s *staleness) worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = time.Time{}
}

func (s *staleness) stale(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.first.IsZero() && now.Sub(s.last) < staleUntil && s.last.Sub(s.first) >= staleAfter
}

// watch returns a transport that tells what becomes of reading. It is seen here and not by the handler of the informers'
// errors, which is not told of a connection that is refused.
func (s *staleness) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		switch {
		case r.Method != http.MethodGet || errors.Is(err, context.Canceled):
		case err != nil, answer.StatusCode >= http.StatusInternalServerError, answer.StatusCode == http.StatusUnauthorized:
			s.failed(time.Now())
		default:
			s.worked()
		}
		return answer, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
