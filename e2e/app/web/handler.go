package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Answer is what the server says of itself and of the connection.
type Answer struct {
	Pod    string `json:"pod"`
	Node   string `json:"node"`
	Client string `json:"client"` // address and port that the connection came from
	Server string `json:"server"` // address and port that it arrived at
}

const (
	maxBody = 16 << 20
	maxTime = time.Hour // of /slow and /hold
)

// Handler answers in the name of a Pod on a node.
func Handler(pod, node string) http.Handler {
	answer := func(r *http.Request) Answer {
		a := Answer{Pod: pod, Node: node, Client: r.RemoteAddr}
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer); ok {
			a.Server = local.String()
		}
		return a
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		write(w, answer(r))
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		io.Copy(w, http.MaxBytesReader(w, r.Body, maxBody))
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		wait, err := duration(r, "for", time.Second)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(wait):
			write(w, answer(r))
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /hold", func(w http.ResponseWriter, r *http.Request) {
		hold, err := duration(r, "for", time.Minute)
		if err == nil {
			var every time.Duration
			if every, err = duration(r, "every", time.Second); err == nil {
				stream(w, r, answer(r), hold, every)
				return
			}
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
	})
	return mux
}

// stream writes the answer every so often until the time is over, the client leaves or the server stops.
func stream(w http.ResponseWriter, r *http.Request, a Answer, hold, every time.Duration) {
	w.Header().Set("Content-Type", "application/json")
	end, tick := time.NewTimer(hold), time.NewTicker(every)
	defer end.Stop()
	defer tick.Stop()
	for {
		if json.NewEncoder(w).Encode(a) != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func write(w http.ResponseWriter, a Answer) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a)
}

// duration reads a positive duration from the query.
func duration(r *http.Request, key string, byDefault time.Duration) (time.Duration, error) {
	value := r.URL.Query().Get(key)
	if value == "" {
		return byDefault, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 || d > maxTime {
		return 0, fmt.Errorf("%s=%q must be a duration like 500ms or 10s, of at most %v", key, value, maxTime)
	}
	return d, nil
}
