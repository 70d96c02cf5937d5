package ipam

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Allocator decides who gets which address, and remembers who holds what. It is not safe for concurrent use.
type Allocator struct {
	pools    map[string]*pool // by name, with those that are gone but have addresses in use
	order    []*pool          // those that exist, by preference
	atlas    atlas
	ledger   *ledger
	waiting  *waiting
	touched  []string // pools whose numbers changed
	rests    *rests
	reserved reserved
	sites    map[num]*site
	groups   map[Cause]*group
	now      time.Time
}

// New returns an Allocator without pools.
func New() *Allocator {
	return &Allocator{
		pools:   map[string]*pool{},
		atlas:   newAtlas(),
		ledger:  newLedger(),
		waiting: newWaiting(),
		rests:   newRests(),
	}
}

// Assign decides on a request and holds for the Service what it was granted. It is idempotent: a Service that has
// what it asks for keeps it. Addresses that it is to give up are held too until Settle, so that nobody else gets
// them before the Service's status says otherwise.
func (a *Allocator) Assign(r Request) Decision {
	turn, causes := a.waiting.leave(r.Service)
	d := a.assign(r)
	a.waiting.add(r.Service, turn, d.WaitsFor)
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
	if !r.Status.empty() && (h == 0 || a.ledger.holders.at(h).foreign) {
		if !a.adoptable(r.Status) {
			return a.foreign(r)
		}
		h = a.adopt(r, h, false)
	}

	c := a.choose(r, h)
	a.keepOnly(h, c)
	if h == 0 && len(c.grants) > 0 {
		h = a.ledger.enter(r.Service)
	}
	a.agree(h, r.Created.Unix(), termsOf(r), c.grants)
	for _, g := range c.grants {
		if g.claim == 0 {
			a.claim(h, g.addr, g.pool, a.ledger.on(g.addr))
		}
	}
	return a.decision(r, c)
}

// Explain returns the decision that Assign would return, and changes nothing. It goes by what the Service holds; what
// its status shows counts once it is adopted.
func (a *Allocator) Explain(r Request) Decision {
	h := a.ledger.find(r.Service)
	if h != 0 && a.ledger.holders.at(h).foreign {
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

// Adopt makes Services hold what their statuses say, as after a restart, in whatever order they come. Where two of them
// hold the same address and have a port in common (or one has none), the one with our mark keeps it, then the older
// one, then the first by name; the other one is to move when it asks, unless it has the address alone by then. In every
// other case all keep it. It grants nothing new. The statuses of Services that hold addresses which no pool covers
// and which lack our mark are left as they are.
func (a *Allocator) Adopt(requests []Request) {
	requests = slices.Clone(requests)
	slices.SortStableFunc(requests, func(x, y Request) int {
		if marked := x.Status.Pools != nil; marked != (y.Status.Pools != nil) {
			if marked {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(x.Created.Unix(), y.Created.Unix()), x.Service.Compare(y.Service))
	})
	for _, r := range requests {
		if h := a.ledger.find(r.Service); r.Status.empty() || h != 0 && !a.ledger.holders.at(h).foreign {
			continue
		}
		if a.adoptable(r.Status) {
			a.adopt(r, a.ledger.find(r.Service), true)
		} else {
			a.Reserve(r.Service, r.Status.Addresses)
		}
	}
}

// Reserve keeps addresses that a Service has by somebody else's doing from being given out. The Service gets no
// claim that counts in a pool.
func (a *Allocator) Reserve(k Key, addrs []netip.Addr) {
	h := a.ledger.find(k)
	if h != 0 && a.ledger.holders.at(h).foreign && sameAddrs(a.ledger.held(h), addrs) {
		return
	}
	if h != 0 {
		a.clear(h)
		h = 0
	}
	for _, addr := range addrs {
		if whyNever(addr) != "" {
			continue
		}
		if h == 0 {
			h = a.ledger.enter(k)
			a.ledger.holders.at(h).foreign = true
		}
		n := numOf(addr)
		first := a.ledger.on(n)
		a.arrive(a.ledger.add(h, n, nil, first), first)
		if first == 0 {
			a.taken(n)
		}
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

// adoptable reports whether addresses in a status are ours: they bear our mark, or pools cover all of them.
func (a *Allocator) adoptable(s Status) bool {
	if s.Pools != nil {
		return true
	}
	return !s.Unreadable && !slices.ContainsFunc(s.Addresses, func(addr netip.Addr) bool {
		return whyNever(addr) != "" || a.atlas.owner(numOf(addr)) == nil
	})
}

// adopt makes a Service hold what its status says, which is ours. h is its place, 0 for none. It keeps an address that
// others have too: when it was adopted with everybody, whatever they may share, unless their ports clash; else if they may
// share it. Otherwise it is to give it up, and has it until then.
func (a *Allocator) adopt(r Request, h id, withAll bool) id {
	if h != 0 {
		a.clear(h)
		h = 0
	}
	for i, addr := range r.Status.Addresses {
		if whyNever(addr) != "" || r.Status.Pools != nil && r.Status.Pools[i] == "" {
			continue
		}
		n := numOf(addr)
		var p *pool
		if r.Status.Pools != nil {
			p = a.named(r.Status.Pools[i])
		}
		first := a.ledger.on(n)
		if p = a.attribute(n, p); p == nil {
			continue
		}
		again := false
		a.ledger.chain(first, func(_ id, c *claim) bool { // an address counts in one pool, whoever holds it
			if c.pool != nil {
				p = c.pool
			}
			again = again || c.holder == h && h != 0
			return true
		})
		if again {
			continue
		}
		if h == 0 {
			h = a.ledger.enter(r.Service)
			a.ledger.holders.at(h).created = r.Created.Unix()
			a.setTerms(h, termsOf(r))
		}
		c := a.claim(h, n, p, first)
		a.ledger.claims.at(c).written = true
		if first != 0 {
			a.place(c, withAll)
		}
	}
	for _, name := range r.Status.Pools {
		if p := a.pools[name]; p != nil {
			a.bury(p) // unless something was adopted from it
		}
	}
	return h
}

// place says of a claim that was adopted how it stands beside the others on its address, which came before it.
func (a *Allocator) place(c id, withAll bool) {
	it := a.ledger.claims.at(c)
	me := a.ledger.holders.at(it.holder)
	group := me.terms.group(it.pool, familyOf(it.addr), me.namespace.name)
	var against []*claim
	a.ledger.besides(it.addr, func(j id, o *claim) bool {
		other := a.ledger.holders.at(o.holder)
		switch {
		case j == c || other.foreign || o.ousted || o.leaving:
		case common(me.terms.ports, other.terms.ports):
			it.ousted = true
		case group == (Cause{}) || group != other.terms.group(o.pool, familyOf(o.addr), other.namespace.name):
			against = append(against, o)
			it.ousted = it.ousted || !withAll
		}
		return true
	})
	if it.ousted || len(against) == 0 {
		return
	}
	it.loose = true
	for _, o := range against {
		if !o.loose {
			o.loose = true
			a.waiting.call(a.ledger.holders.at(o.holder).key())
		}
	}
}

// named returns the pool of a name, which may be one that is gone.
func (a *Allocator) named(name string) *pool {
	p := a.pools[name]
	if p == nil {
		p = newPool(name)
		a.pools[name] = p
	}
	return p
}

// foreign answers for a Service whose status is somebody else's.
func (a *Allocator) foreign(r Request) Decision {
	a.Reserve(r.Service, r.Status.Addresses)
	return foreignDecision(r)
}

func foreignDecision(r Request) Decision {
	what := "entries that are not addresses"
	if len(r.Status.Addresses) > 0 {
		what = listAddrs(r.Status.Addresses)
	}
	return Decision{
		Reason: clarion.ReasonHeldByAnother,
		Message: "status.loadBalancer.ingress has " + what +
			", not assigned by Clarion and covered by no pool: left alone. Clear it, or make a pool that covers it",
		WaitsFor: []Cause{{Kind: CausePools}},
		Foreign:  true,
	}
}

// keepOnly marks which claims of a Service stay and which are given up once that is written.
func (a *Allocator) keepOnly(h id, c choice) {
	a.ledger.of(h, func(i id, it *claim) bool {
		it.leaving = !slices.ContainsFunc(c.grants, func(g grant) bool { return g.claim == i })
		return true
	})
}

// claim gives a Service an address that counts in a pool; first is the first claim on it, 0 when nobody has it.
func (a *Allocator) claim(h id, n num, p *pool, first id) id {
	c := a.ledger.add(h, n, p, first)
	a.ledger.claims.at(c).stands = p.standing(n)
	if first == 0 {
		a.taken(n)
	}
	a.arrive(c, first)
	a.count(c, +1)
	return c
}

// count books a claim of our own in or out of a pool's numbers. It is called while the claim is in the ledger, and in its
// address' site if that has one.
func (a *Allocator) count(c id, by int64) {
	it := a.ledger.claims.at(c)
	p := it.pool
	ns := a.ledger.holders.at(it.holder).namespace
	inPool, inNamespace := false, false // by another Service
	if s := a.sites[it.addr]; s != nil {
		inPool, inNamespace = s.mates > 1, s.spaces[ns] > 1
	}
	if !inPool {
		p.held[familyOf(it.addr)] += by
		if !p.gives(it.addr) {
			p.orphans += by
		}
		a.touch(p)
	}
	if !inNamespace {
		if ns.held[p] += by; ns.held[p] == 0 {
			delete(ns.held, p)
		}
	}
}

// touch notes that a pool's numbers changed.
func (a *Allocator) touch(p *pool) {
	if !p.touched {
		p.touched = true
		a.touched = append(a.touched, p.Name)
	}
}

// unclaim takes an address from a Service, and wakes who waits for it.
func (a *Allocator) unclaim(c id) {
	it := *a.ledger.claims.at(c)
	key := a.ledger.holders.at(it.holder).key()
	first := a.ledger.on(it.addr)
	if it.pool != nil {
		a.count(c, -1)
	}
	a.depart(c)
	if a.ledger.remove(c, first) {
		a.waiting.wakeAll(Cause{Kind: CauseAddress, Address: addrOf(it.addr), Holding: true})
	} else {
		a.freed(it.addr, it.pool, key)
	}
	if it.pool != nil {
		if it.pool.PerNamespace > 0 {
			a.stir(Cause{Kind: CauseQuota, Pool: it.pool.Name, Namespace: key.Namespace})
			a.waiting.wakeAll(Cause{Kind: CauseQuota, Pool: it.pool.Name, Namespace: key.Namespace, Holding: true})
		}
		a.bury(it.pool)
	}
}

// bury forgets a pool that is gone and has no addresses in use any more.
func (a *Allocator) bury(p *pool) {
	if !p.exists && p.held == [2]int64{} {
		delete(a.pools, p.Name)
	}
}

// clear takes everything from a Service and forgets it.
func (a *Allocator) clear(h id) {
	a.ledger.of(h, func(c id, _ *claim) bool {
		a.unclaim(c)
		return true
	})
	a.ledger.drop(h)
}

// taken takes an address that somebody now holds out of free space.
func (a *Allocator) taken(n num) {
	if r := a.rests.byAddr[n]; r != nil {
		a.rests.remove(r)
		a.touch(r.pool)
		return
	}
	f := familyOf(n)
	if p := a.atlas.owner(n); p != nil && p.free[f].has(n) {
		p.free[f].take(n)
		a.touch(p)
	}
}

// freed gives an address that nobody holds any more back to free space, or lays it to rest. from is the pool that it
// counted in, nil where the Service had it by somebody else's doing.
func (a *Allocator) freed(n num, from *pool, k Key) {
	p := a.atlas.owner(n)
	if p != nil && !p.gives(n) {
		p = nil
	}
	if p != nil {
		p.free[familyOf(n)].put(n)
		if from != nil {
			a.lay(n, p, k, a.restEnd(p))
		}
	}
	if a.rests.byAddr[n] != nil {
		a.waiting.rouseKey(k) // nobody but the Service itself may have it
		return
	}
	a.available(n, p)
}

// available notes that anybody may have an address; p is the pool that gives it out, nil for none.
func (a *Allocator) available(n num, p *pool) {
	if p != nil {
		a.touch(p)
		a.stir(Cause{Kind: CauseSpace, Pool: p.Name, Family: familyOf(n)})
	}
	a.stir(Cause{Kind: CauseAddress, Address: addrOf(n)})
}

// stir notes that a cause changed, and wakes who can be served now.
func (a *Allocator) stir(c Cause) {
	if len(a.waiting.lines) == 0 {
		return
	}
	a.waiting.changed(c)
	a.waiting.wake(c, a.serves(c))
}

// serves returns how many waiters a cause could serve now.
func (a *Allocator) serves(c Cause) Count {
	switch c.Kind {
	case CauseSpace:
		if p := a.pools[c.Pool]; p != nil {
			return p.free[c.Family].count
		}
	case CauseQuota:
		p := a.pools[c.Pool]
		if p == nil {
			return Count{}
		}
		var held int64
		if ns := a.ledger.namespaces[c.Namespace]; ns != nil {
			held = ns.held[p]
		}
		if p.PerNamespace == 0 {
			return p.free[IPv4].count.plus(p.free[IPv6].count)
		}
		return CountOf(uint64(max(0, p.PerNamespace-held)))
	case CauseSharing:
		return CountOf(uint64(a.places(c)))
	case CauseAddress:
		if a.ledger.on(numOf(c.Address)) == 0 {
			return CountOf(1)
		}
	}
	return Count{}
}

// places returns at how many addresses that Services share a port is not in use.
func (a *Allocator) places(c Cause) int {
	key := c
	key.Port, key.Address = Port{}, netip.Addr{}
	if c.Address.IsValid() {
		if s := a.sites[numOf(c.Address)]; s != nil && s.in != nil && s.in.key == key && s.ports[c.Port] == 0 {
			return 1
		}
		return 0
	}
	if g := a.groups[key]; g != nil {
		return g.sites.Len() - g.taken[c.Port]
	}
	return 0
}

// attribute says which pool an address that a Service holds counts in: the one that it counted in, for as long as
// that covers it; else the one whose territory it is in now; else, as an orphan, still the one that it came from.
func (a *Allocator) attribute(n num, current *pool) *pool {
	if current != nil && current.exists && !current.Deleting && current.covers(n) {
		return current
	}
	if owner := a.atlas.owner(n); owner != nil {
		return owner
	}
	return current
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
