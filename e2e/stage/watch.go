package stage

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/clarion-lb/clarion/e2e/app/probe"
	"github.com/clarion-lb/clarion/e2e/lab"
)

// A Watch is a client on the LAN that opens a new connection to each target
// every 10 ms.
type Watch struct {
	stop     context.CancelFunc
	done     chan struct{}
	attempts []probe.Attempt
	err      error
}

// AttemptTimeout is how long a Watch waits for one answer. It is well below the
// second after which a lost SYN is sent again, so that an attempt is one try.
const AttemptTimeout = 500 * time.Millisecond

// StartWatch starts a client that watches the targets' port 80 until Stop, or
// for two minutes.
func StartWatch(ctx context.Context, l *lab.Lab, targets ...netip.Addr) *Watch {
	return StartWatchEvery(ctx, l, 10*time.Millisecond, targets...)
}

// StartWatchEvery is StartWatch at another interval.
func StartWatchEvery(ctx context.Context, l *lab.Lab, interval time.Duration, targets ...netip.Addr) *Watch {
	var all []netip.AddrPort
	for _, t := range targets {
		all = append(all, netip.AddrPortFrom(t, 80))
	}
	return StartWatchFrom(ctx, l.Client(), interval, all...)
}

// StartWatchFrom has another host be the client, and watches any ports.
func StartWatchFrom(ctx context.Context, client *lab.Host, interval time.Duration, targets ...netip.AddrPort) *Watch {
	ctx, stop := context.WithCancel(ctx)
	w := &Watch{stop: stop, done: make(chan struct{})}
	o := probe.Options{
		Targets:          targets,
		Interval:         interval,
		Timeout:          AttemptTimeout,
		Duration:         2 * time.Minute,
		NetworkNamespace: fmt.Sprintf("/proc/%d/ns/net", client.Machine().PID),
	}
	go func() {
		defer close(w.done)
		w.attempts, w.err = probe.Run(ctx, o)
	}()
	return w
}

// Stop ends the client and returns what it saw of each target, in the order of
// their addresses.
func (w *Watch) Stop() ([]probe.Summary, error) {
	attempts, err := w.Attempts()
	return probe.Summarize(attempts), err
}

// Attempts ends the client and returns all that it tried.
func (w *Watch) Attempts() ([]probe.Attempt, error) {
	w.stop()
	<-w.done
	return w.attempts, w.err
}

// Get asks a Service's port 80 from the LAN's client, over a connection of its
// own, and returns the test server's answer.
func Get(ctx context.Context, l *lab.Lab, address netip.Addr) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, AttemptTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DialContext: l.Client().Dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(address, 80).String()+"/", nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return string(answer), err
}
