package reviews

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// server is an API server that knows some tokens.
type server struct {
	verdicts map[string]Verdict
	away     bool
	asked    int
}

func (s *server) ask(_ context.Context, token, _, _ string) (Verdict, error) {
	s.asked++
	if s.away {
		return Unknown, errors.New("connection refused")
	}
	return s.verdicts[token], nil
}

// jwt is a token that says when it expires; its signature is the API server's business.
func jwt(expires time.Time) string {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, expires.Unix()))
	return "e30." + claims + ".c2ln"
}

func TestWhoMayReadIsAskedAndRemembered(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	short := jwt(now.Add(30 * time.Minute))
	s := &server{verdicts: map[string]Verdict{"prometheus": Allowed, short: Allowed, "curious": Forbidden}}
	h, err := New(s.ask, func() time.Time { return now }).Filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "metrics")
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		story  string
		after  time.Duration
		change func()
		header string
		want   int
		asked  int
	}{
		{"no token is not asked about", 0, nil, "", 401, 0},
		{"nor is a password", 0, nil, "Basic eDp5", 401, 0},
		{"nor an empty token", 0, nil, "Bearer  ", 401, 0},
		{"a token that nobody has is refused", 0, nil, "Bearer forged", 401, 1},
		{"and not asked about again at once", time.Second, nil, "Bearer forged", 401, 0},
		{"but later", denied, nil, "Bearer forged", 401, 1},
		{"who may not is refused", 0, nil, "Bearer curious", 403, 1},
		{"who may is let in", 0, nil, "Bearer prometheus", 200, 1},
		{"and not asked about for a while, however the scheme is written", fresh - time.Second, nil, "bearer prometheus", 200, 0},
		{"then again", time.Second, nil, "Bearer prometheus", 200, 1},
		{"another one may, too", 0, nil, "Bearer " + short, 200, 1},
		{"the API server goes away: who was let in goes on", fresh, func() { s.away = true }, "Bearer prometheus", 200, 1},
		{"and does not wait for it each time", time.Second, nil, "Bearer prometheus", 200, 0},
		{"nor does the other one", time.Second, nil, "Bearer " + short, 200, 0},
		{"it is tried again now and then", away, nil, "Bearer prometheus", 200, 1},
		{"of a stranger it can't be said who that is", 0, nil, "Bearer stranger", 503, 1},
		{"who was refused is not let in", 0, nil, "Bearer curious", 503, 1},
		{"a token that has expired meanwhile is not let in", 30 * time.Minute, nil, "Bearer " + short, 503, 1},
		{"hours later", 5 * time.Hour, nil, "Bearer prometheus", 200, 1},
		{"it comes back, and the token was taken back", away, func() { s.away, s.verdicts["prometheus"] = false, Unknown }, "Bearer prometheus", 401, 1},
		{"that is remembered when it goes away again", denied, func() { s.away = true }, "Bearer prometheus", 503, 1},
		{"given anew", 0, func() { s.away, s.verdicts["prometheus"] = false, Allowed }, "Bearer prometheus", 200, 1},
		{"after a day without the API server nobody is believed", longest, func() { s.away = true }, "Bearer prometheus", 503, 1},
	} {
		now = now.Add(row.after)
		if row.change != nil {
			row.change()
		}
		before := s.asked
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		if row.header != "" {
			r.Header.Set("Authorization", row.header)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != row.want || s.asked-before != row.asked || (w.Body.String() == "metrics") != (row.want == 200) {
			t.Errorf("%s: %d %q and %d questions, want %d and %d", row.story, w.Code, w.Body, s.asked-before, row.want, row.asked)
		}
	}
}

func TestStrangersDoNotPushOutWhoIsLetIn(t *testing.T) {
	s := &server{verdicts: map[string]Verdict{"prometheus": Allowed}}
	now := time.Unix(1_000_000, 0)
	r := New(s.ask, func() time.Time { return now })
	if v, err := r.review(t.Context(), "prometheus", "get", "/metrics"); v != Allowed || err != nil {
		t.Fatal(v, err)
	}
	for i := range 3 * most {
		now = now.Add(time.Millisecond)
		if v, err := r.review(t.Context(), fmt.Sprint("forged ", i), "get", "/metrics"); v != Unknown || err != nil {
			t.Fatal(v, err)
		}
	}
	if len(r.answers) > most {
		t.Errorf("%d answers are kept", len(r.answers))
	}
	s.away = true
	now = now.Add(fresh)
	if v, err := r.review(t.Context(), "prometheus", "get", "/metrics"); v != Allowed || err != nil {
		t.Errorf("with the API server away: %v, %v", v, err)
	}
	if v, _ := r.review(t.Context(), "prometheus", "post", "/metrics"); v == Allowed {
		t.Error("what was not asked about is allowed")
	}
}

func FuzzExpiry(f *testing.F) {
	f.Add(jwt(time.Unix(1_000_000, 0)))
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(_ *testing.T, token string) { expiry(token) })
}
