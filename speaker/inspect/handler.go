package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// A Question says what is asked for besides the speaker and its host. The zero Question asks for nothing more.
type Question struct {
	Service string // as NAMESPACE/NAME
	Address netip.Addr
}

// A Source answers. Its errors are about what was asked, and are told.
type Source interface {
	Inspect(context.Context, Question) (Report, error)
	Simulate(ctx context.Context, e Event, node string) (Simulation, error)
}

// ErrUnknown is the error of a Source for a name that it does not know.
var ErrUnknown = errors.New("not known here")

// answerWithin is how long an answer may take.
const answerWithin = 10 * time.Second

// Handler serves what s answers to requests from the node itself, one at a time.
func Handler(s Source) http.Handler {
	one := make(chan struct{}, 1)
	mux := http.NewServeMux()
	handle := func(path string, answer func(context.Context, *http.Request) (any, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
				http.Error(w, "only for requests from the node itself", http.StatusForbidden)
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
			defer cancel()
			select {
			case one <- struct{}{}:
				defer func() { <-one }()
			case <-ctx.Done():
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			out, err := answer(ctx, r)
			var bad badRequest
			switch {
			case errors.As(err, &bad):
				http.Error(w, err.Error(), http.StatusBadRequest)
			case errors.Is(err, ErrUnknown):
				http.Error(w, err.Error(), http.StatusNotFound)
			case err != nil:
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			default:
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(out) // who has gone away needs no answer
			}
		})
	}
	handle("/inspect", func(ctx context.Context, r *http.Request) (any, error) {
		q, err := questionOf(r)
		if err != nil {
			return nil, err
		}
		return s.Inspect(ctx, q)
	})
	handle("/simulate", func(ctx context.Context, r *http.Request) (any, error) {
		for _, e := range []Event{Drain, Loss} {
			if node := r.URL.Query().Get(string(e)); node != "" {
				return s.Simulate(ctx, e, node)
			}
		}
		return nil, badRequest("ask for drain=NODE or loss=NODE")
	})
	return mux
}

type badRequest string

func (b badRequest) Error() string { return string(b) }

func questionOf(r *http.Request) (q Question, err error) {
	values := r.URL.Query()
	if q.Service = values.Get("service"); q.Service != "" && strings.Count(q.Service, "/") != 1 {
		return q, badRequest(fmt.Sprintf("service=%q: write NAMESPACE/NAME", q.Service))
	}
	if text := values.Get("address"); text != "" {
		if q.Address, err = netip.ParseAddr(text); err != nil {
			return q, badRequest(fmt.Sprintf("address=%q: write an IP address", text))
		}
		q.Address = q.Address.Unmap()
	}
	return q, nil
}
