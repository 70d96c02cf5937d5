package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// Routes to addresses that other nodes are to serve fade: they stay for a moment, marked GRACEFUL_SHUTDOWN (RFC 8326), so
// that routers turn to the others while traffic that still comes is served here, and then go. Routes to what this node
// can't serve any more go at once.

// faded are a peer's routes with those among them that fade.
type faded struct {
	wanted *bgp.Routes
	fading *fadingSet // nil for none
}

// fadingSet are routes that fade. It is not changed, and peers that get the same share one.
type fadingSet struct {
	fading map[netip.Prefix]fading
	all    *bgp.Routes // these and those wanted
}

type fading struct {
	route bgp.Route
	until time.Time
}

// routes are what the peer is sent.
func (f faded) routes() *bgp.Routes {
	if f.fading == nil {
		return f.wanted
	}
	return f.fading.all
}

// next is when the first route is to go; zero for none.
func (f faded) next() (at time.Time) {
	if f.fading == nil {
		return at
	}
	for _, one := range f.fading.fading {
		at = soonest(at, one.until)
	}
	return at
}

// fadeKey is what a peer's routes follow from.
type fadeKey struct {
	before   faded
	wanted   *bgp.Routes
	internal bool
	linger   time.Duration
}

// fade returns what a peer is sent in place of what it was sent before. lost are the addresses that go to other nodes.
func fade(memo map[fadeKey]faded, k fadeKey, now time.Time, lost map[netip.Addr]bool) faded {
	f, known := memo[k]
	if !known {
		f = faded{k.wanted, k.step(now, lost)}
		memo[k] = f
	}
	return f
}

func (k fadeKey) step(now time.Time, lost map[netip.Addr]bool) *fadingSet {
	var before map[netip.Prefix]fading
	if k.before.fading != nil {
		before = k.before.fading.fading
	}
	left := map[netip.Prefix]fading{}
	for p, f := range before {
		if now.Before(f.until) && !has(k.wanted, p) {
			left[p] = f
		}
	}
	same := len(left) == len(before) && k.before.wanted == k.wanted
	if k.before.wanted != k.wanted && len(lost) > 0 && k.linger > 0 {
		for _, r := range k.before.wanted.All() {
			if !has(k.wanted, r.Prefix) && within(lost, r.Prefix) {
				left[r.Prefix] = fading{marked(r, k.internal), now.Add(k.linger)}
			}
		}
	}
	switch {
	case same:
		return k.before.fading
	case len(left) == 0:
		return nil
	}
	all := slices.Clone(k.wanted.All())
	for _, one := range left {
		all = append(all, one.route)
	}
	routes, err := bgp.NewRoutes(all)
	if err != nil {
		panic(fmt.Sprintf("routes that fade: %v", err)) // each was one before, and none is wanted
	}
	return &fadingSet{left, routes}
}

// marked is a route that will soon go.
func marked(r bgp.Route, internal bool) bgp.Route {
	r.Communities = append(slices.Clone(r.Communities), bgp.GracefulShutdown)
	if internal {
		r.LocalPref = new(uint32)
	}
	return r
}

func has(all *bgp.Routes, p netip.Prefix) bool {
	_, found := all.Get(p)
	return found
}

// within reports whether one of the addresses is in a network.
func within(addresses map[netip.Addr]bool, p netip.Prefix) bool {
	if p.IsSingleIP() {
		return addresses[p.Addr()]
	}
	for a := range addresses {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
