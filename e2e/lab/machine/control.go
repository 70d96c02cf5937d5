package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PID 1 takes orders as HTTP on a socket in the machine's directory:
//
//	GET  /processes                      []Status
//	POST /processes               Process → Status
//	POST /processes/NAME/restart
//	POST /processes/NAME/stop?grace=10s
//	POST /processes/NAME/signal?number=9
const controlSocket = "control.sock"

func listenControl(dir string) (net.Listener, error) {
	socket := filepath.Join(dir, controlSocket)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", socket)
}

func serveControl(l net.Listener, c *children) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /processes", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, c.list(), nil)
	})
	mux.HandleFunc("POST /processes", func(w http.ResponseWriter, r *http.Request) {
		var p Process
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			answer(w, nil, err)
			return
		}
		status, err := c.start(p)
		answer(w, status, err)
	})
	mux.HandleFunc("POST /processes/{name}/restart", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, c.restart(r.PathValue("name")))
	})
	mux.HandleFunc("POST /processes/{name}/stop", func(w http.ResponseWriter, r *http.Request) {
		grace, err := time.ParseDuration(r.FormValue("grace"))
		if err == nil {
			err = c.stop(r.PathValue("name"), grace)
		}
		answer(w, nil, err)
	})
	mux.HandleFunc("POST /processes/{name}/signal", func(w http.ResponseWriter, r *http.Request) {
		number, err := strconv.Atoi(r.FormValue("number"))
		if err == nil {
			err = c.signal(r.PathValue("name"), unix.Signal(number))
		}
		answer(w, nil, err)
	})
	return (&http.Server{Handler: mux}).Serve(l)
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	_ = json.NewEncoder(w).Encode(v) // the asker is gone, nothing to tell
}

// Start starts a process in the machine. Its name must not be running there.
func (m Machine) Start(ctx context.Context, p Process) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return m.order(ctx, "POST", "/processes", body, nil)
}

// Restart starts a process that ended, as it was first started.
func (m Machine) Restart(ctx context.Context, name string) error {
	return m.order(ctx, "POST", "/processes/"+name+"/restart", nil, nil)
}

// Stop ends a process for good: SIGTERM, and SIGKILL after the grace.
func (m Machine) Stop(ctx context.Context, name string, grace time.Duration) error {
	return m.order(ctx, "POST", fmt.Sprintf("/processes/%s/stop?grace=%s", name, grace), nil, nil)
}

// Signal sends a signal to a process: SIGKILL for a crash, SIGSTOP for
// starvation.
func (m Machine) Signal(ctx context.Context, name string, s unix.Signal) error {
	return m.order(ctx, "POST", fmt.Sprintf("/processes/%s/signal?number=%d", name, int(s)), nil, nil)
}

// Processes lists what was started in the machine.
func (m Machine) Processes(ctx context.Context) ([]Status, error) {
	var all []Status
	return all, m.order(ctx, "GET", "/processes", nil, &all)
}

func (m Machine) order(ctx context.Context, method, path string, body []byte, result any) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(m.Dir, controlSocket))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+m.Name+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("machine %s: %w", m.Name, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("machine %s: %s", m.Name, strings.TrimSpace(string(text)))
	}
	if result == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(result)
}
