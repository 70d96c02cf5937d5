package speaker

import (
	"context"
	"sync/atomic"
	"time"
)

// proxyWatch watches kube-proxy's health check on this node. kube-proxy may be absent, or its health check be elsewhere, so
// only one that has said that all is well is believed when it says otherwise.
type proxyWatch struct {
	url     string // empty for none
	changed func()
	poll    time.Duration
	failing atomic.Bool
	seen    atomic.Bool // once it was healthy
}

const (
	proxyPoll = 2 * time.Second
	// proxyFailures is how often in a row it must fail: whoever restarts kube-proxy does not move addresses.
	proxyFailures = 3
)

// run watches until ctx ends.
func (p *proxyWatch) run(ctx context.Context) error {
	if p.url == "" {
		return nil
	}
	failures := 0
	for {
		if ok := healthy(ctx, p.url); ok {
			p.seen.Store(true)
			failures = 0
		} else if p.seen.Load() {
			failures++
		}
		if failing := failures >= proxyFailures; p.failing.Swap(failing) != failing {
			p.changed()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.poll):
		}
	}
}

// proxyURL returns where kube-proxy's health check is, by its address and port; "" for none.
func proxyURL(address string) string {
	if address == "" {
		return ""
	}
	return "http://" + address + "/healthz"
}
