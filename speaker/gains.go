package speaker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// gains hold back what this node may newly announce under externalTrafficPolicy Local, until kube-proxy on the node says
// that it can serve it: the Service's healthCheckNodePort answers. It never takes anything away, and waits for no longer than
// gainWait: other proxies than kube-proxy need not have such a port. It belongs to the loop.
type gains struct {
	waiting map[netip.Addr]time.Time // until when
	fresh   []gain                   // to be asked for
}

// gain is an address that this node has become able to announce, and the port that says whether kube-proxy is too.
type gain struct {
	address netip.Addr
	port    uint16
}

const (
	gainWait = 2 * time.Second
	gainPoll = 50 * time.Millisecond
)

func newGains() *gains { return &gains{waiting: map[netip.Addr]time.Time{}} }

// waits reports whether a is to be held back. was and may are whether this node might announce it until now, and
// may now.
func (g *gains) waits(now time.Time, a netip.Addr, services []*service, was, may, fresh bool) bool {
	if !may {
		delete(g.waiting, a)
		return false
	}
	until, waiting := g.waiting[a]
	if !waiting && !was && !fresh {
		for _, s := range services {
			if s.plan.Local && s.healthPort > 0 {
				until, waiting = now.Add(gainWait), true
				g.waiting[a] = until
				g.fresh = append(g.fresh, gain{a, s.healthPort})
				break
			}
		}
	}
	if waiting && !now.Before(until) {
		delete(g.waiting, a)
		return false
	}
	return waiting
}

// serves notes that kube-proxy can serve an address, and reports whether that was waited for.
func (g *gains) serves(a netip.Addr) bool {
	_, waiting := g.waiting[a]
	delete(g.waiting, a)
	return waiting
}

func (g *gains) forget(a netip.Addr) { delete(g.waiting, a) }

// due returns the addresses that have waited for long enough.
func (g *gains) due(now time.Time) (due []netip.Addr) {
	for a, until := range g.waiting {
		if !now.Before(until) {
			due = append(due, a)
		}
	}
	return due
}

// wakeAt returns when the first address will have waited for long enough; zero for none.
func (g *gains) wakeAt() (at time.Time) {
	for _, until := range g.waiting {
		at = soonest(at, until)
	}
	return at
}

// take returns what is to be asked for.
func (g *gains) take() []gain {
	fresh := g.fresh
	g.fresh = nil
	return fresh
}

// awaitGain returns whether kube-proxy on the node at host came to say that it can serve a gain.
func awaitGain(ctx context.Context, host netip.Addr, port uint16) bool {
	ctx, cancel := context.WithTimeout(ctx, gainWait)
	defer cancel()
	url := fmt.Sprintf("http://%s/healthz", netip.AddrPortFrom(host, port))
	for {
		if healthy(ctx, url) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(gainPoll):
		}
	}
}

// local asks this very node: no proxy, no connection that is kept.
var local = &http.Client{
	Timeout: time.Second,
	Transport: &http.Transport{
		DialContext:       (&net.Dialer{Timeout: time.Second}).DialContext,
		DisableKeepAlives: true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// healthy reports whether a health check says that all is well.
func healthy(ctx context.Context, url string) bool {
	status, err := check(ctx, url)
	return err == nil && status == http.StatusOK
}

func check(ctx context.Context, url string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := local.Do(r)
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}
