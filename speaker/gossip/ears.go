package gossip

import (
	"net/netip"
	"sync"
	"time"
)

// ears know from which hosts anything that looks like ours was heard lately, whether it could be read or not. A peer
// that is no member and yet talks, and goes on to, has a key that we lack.
type ears struct {
	mu   sync.Mutex
	last map[netip.Addr]time.Time
}

const (
	// heardLately is for how long a packet speaks for the host that sent it. A speaker that misses another calls it every
	// half second.
	heardLately = 1500 * time.Millisecond
	// maxHeard bounds what hosts that are none of ours can make us remember.
	maxHeard = 8192
)

func (e *ears) hear(from netip.Addr, at time.Time) {
	a := from.Unmap().WithZone("")
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last == nil || len(e.last) >= maxHeard {
		e.last = map[netip.Addr]time.Time{}
	}
	e.last[a] = at
}

// heard reports whether packets come from a host, some of them lately.
func (g *guard) heard(a netip.Addr, now time.Time) bool {
	g.ears.mu.Lock()
	defer g.ears.mu.Unlock()
	at, known := g.ears.last[a]
	return known && now.Sub(at) < heardLately
}
