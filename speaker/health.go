package speaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// readiness is what /readyz tells: what the speaker still waits for.
type readiness struct {
	mu    sync.Mutex
	waits []string
}

func (r *readiness) set(waits []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = waits
}

func (r *readiness) get() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waits
}

// serveHealth answers /healthz (the process runs), /readyz (it has its view and announces what is its to
// announce) and who asks what it sees (see package inspect) until ctx ends.
func serveHealth(ctx context.Context, address string, r *readiness, insight http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("/", insight)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if waits := r.get(); len(waits) > 0 {
			http.Error(w, "waiting for "+strings.Join(waits, ", "), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for health checks: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving health checks: %w", err)
	}
	return nil
}
