package ipam

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Allocator decides who gets which address, and remembers who holds what. It is not safe for concurrent use.
type Allocator struct {
	pools    map[string]*pool // by name, with those that are gone but have addresses in use
	order    []*pool          // those that exist, by preference
	roster   slab[*pool]      // by their place, which is what claims name
	atlas    atlas
	ledger   *ledger
	waiting  *waiting
	touched  []string // pools whose numbers changed
	rests    *rests
	reserved reserved
	sites    map[num]*site
	groups   map[Cause]*group
	now      time.Time

	lookAt    int    // see placesFor
	questions uint64 // counts those for mixes
}

// New returns an Allocator without pools.
func New() *Allocator {
	return &Allocator{
		pools:   map[string]*pool{},
		atlas:   newAtlas(),
		ledger:  newLedger(),
		waiting: newWaiting(),
		rests:   newRests(),
		lookAt:  lookAt,
	}
}

// Assign decides on a request and holds for the Service what it was granted. It is idempotent: a Service that has
// what it asks for keeps it. Addresses that it is to give up are held too until Settle, so that nobody else gets
// them before the Service's status says otherwise.
func (a *Allocator) Assign(r Request) Decision {
	turn, causes := a.waiting.leave(r.Service)
	d := a.assign(r)
	a.waiting.add(r.Service, turn, d.WaitsFor)
	for _, c := range d.WaitsFor {
		if c.Kind == CauseAddress && !c.Holding {
			a.retell(numOf(c.Address)) // notes what it was told
		}
	}
	for _, c := range causes {
		a.waiting.wake(c, a.serves(c))
	}
	return d
}

func (a *Allocator) assign(r Request) Decision {
	h := a.ledger.find(r.Service)
	if h != 0 && a.ledger.holders.at(h).foreign && r.Status.empty() { // its foreign addresses are gone
		a.clear(h)
		h = 0
	}
	if !r.Status.empty() && (h == 0 || a.ledger.holders.at(h).foreign || a.forestalled(h, r.Status)) {
		if !a.adoptable(r.Status) {
			return a.foreign(r)
		}
		h = a.adopt(r, h, nil)
	}

	c := a.choose(r, h)
	a.keepOnly(h, c)
	switch t := termsOf(r); {
	case h != 0:
		a.agree(h, r.createdAt(), t, c.grants)
	case len(c.grants) > 0:
		h = a.ledger.enter(r.Service, t, r.createdAt())
	}
	for _, g := range c.grants {
		switch {
		case g.claim == 0:
			a.claim(h, g.addr, g.pool, a.ledger.on(g.addr))
		case a.poolOf(a.ledger.claims.at(g.claim)) != g.pool:
			a.recount(g.addr, g.pool)
		}
	}
	return a.decision(r, c)
}

// forestalled reports whether somebody else wrote a Service's status before what the Service was first granted could be:
// what it shows is not ours to take away, and the grant was never heard of.
func (a *Allocator) forestalled(h id, shown Status) bool {
	if shown.empty() {
		return false
	}
	ours := false
	a.ledger.of(h, func(_ id, it *claim) bool {
		ours = it.written || slices.Contains(shown.Addresses, addrOf(it.addr))
		return !ours
	})
	return !ours
}

// Explain returns the decision that Assign would return, and changes nothing. It goes by what the Service holds; what
// its status shows counts once it is adopted.
func (a *Allocator) Explain(r Request) Decision {
	h := a.ledger.find(r.Service)
	if h != 0 && (a.ledger.holders.at(h).foreign || a.forestalled(h, r.Status)) {
		h = 0
	}
	if h == 0 && !r.Status.empty() && !a.adoptable(r.Status) {
		return foreignDecision(r)
	}
	return a.decision(r, a.choose(r, h))
}

// Settle tells that the Service's status now holds what the last Decision granted: what it gave up is free.
func (a *Allocator) Settle(k Key) {
	h := a.ledger.find(k)
	a.ledger.of(h, func(c id, it *claim) bool {
		if it.leaving {
			a.unclaim(c)
		} else {
			it.written = true
		}
		return true
	})
	if h != 0 && a.ledger.holders.at(h).first == 0 {
		a.ledger.drop(h)
	}
}

// Release takes everything from a Service: it is gone, or is not ours to serve any more.
func (a *Allocator) Release(k Key) {
	_, causes := a.waiting.leave(k)
	if h := a.ledger.find(k); h != 0 {
		a.clear(h)
	}
	for _, c := range causes {
		a.waiting.wake(c, a.serves(c))
	}
}

// StopWaiting tells that a Service is not to get anything any more, though it keeps what it has: it is being deleted.
func (a *Allocator) StopWaiting(k Key) {
	_, causes := a.waiting.leave(k)
	for _, c := range causes {
		a.waiting.wake(c, a.serves(c))
	}
}

// Holds returns what a Service holds by our doing, what it is giving up included.
func (a *Allocator) Holds(k Key) []netip.Addr {
	h := a.ledger.find(k)
	if h == 0 || a.ledger.holders.at(h).foreign {
		return nil
	}
	return a.ledger.held(h)
}

// NamespaceChanged tells that the labels of a namespace changed.
func (a *Allocator) NamespaceChanged(name string) {
	a.waiting.wakeAll(Cause{Kind: CauseNamespace, Namespace: name})
}

// TakeWoken returns the Services that must be brought to Assign again, because something that stood in their way
// changed, and those whose pool is another by an edit. Each is returned once.
func (a *Allocator) TakeWoken() []Key {
	w := a.waiting.woken
	a.waiting.woken = nil
	return w
}

// TakeTouched returns the names of the pools whose numbers changed since the last call, in order.
func (a *Allocator) TakeTouched() []string {
	t := a.touched
	a.touched = nil
	for _, name := range t {
		if p := a.pools[name]; p != nil {
			p.touched = false
		}
	}
	slices.Sort(t)
	return slices.Compact(t)
}

// named returns the pool of a name, which may be one that is gone.
func (a *Allocator) named(name string) *pool {
	p := a.pools[name]
	if p == nil {
		p = newPool(name)
		p.id = a.roster.alloc()
		*a.roster.at(p.id) = p
		a.pools[name] = p
	}
	return p
}

// keepOnly marks which claims of a Service stay and which are given up once that is written.
func (a *Allocator) keepOnly(h id, c choice) {
	a.ledger.of(h, func(i id, it *claim) bool {
		it.leaving = !slices.ContainsFunc(c.grants, func(g grant) bool { return g.claim == i })
		it.right.set(yielded, slices.Contains(c.lost, i))
		return true
	})
}

func sameAddrs(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

func listAddrs(addrs []netip.Addr) string {
	s := make([]string, len(addrs))
	for i, a := range addrs {
		s[i] = a.String()
	}
	return strings.Join(s, ", ")
}
