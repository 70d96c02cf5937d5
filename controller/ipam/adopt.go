package ipam

import (
	"cmp"
	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"net/netip"
	"slices"
)

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
		return cmp.Or(cmp.Compare(x.createdAt(), y.createdAt()), x.Service.Compare(y.Service))
	})
	asked := asked{}
	for _, r := range requests {
		asked.note(r)
	}
	for _, r := range requests {
		if h := a.ledger.find(r.Service); r.Status.empty() || h != 0 && !a.ledger.holders.at(h).foreign {
			continue
		}
		if a.adoptable(r.Status) {
			a.adopt(r, a.ledger.find(r.Service), asked)
		} else {
			a.Reserve(r.Service, r.Status.Addresses)
		}
	}
}

// Reserve keeps addresses that a Service has by somebody else's doing from being given out. The Service gets no
// claim that counts in a pool.
func (a *Allocator) Reserve(k Key, addrs []netip.Addr) {
	var list []netip.Addr
	for _, addr := range addrs {
		if whyNever(addr) == "" && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	addrs = list
	h := a.ledger.find(k)
	if h != 0 && a.ledger.holders.at(h).foreign && sameAddrs(a.ledger.held(h), addrs) {
		return
	}
	if h != 0 {
		a.clear(h)
		h = 0
	}
	for _, addr := range addrs {
		if h == 0 {
			h = a.ledger.enter(k, terms{}, 0)
			a.ledger.holders.at(h).foreign = true
		}
		n := numOf(addr)
		first := a.ledger.on(n)
		a.arrive(a.ledger.add(h, n, 0, first), first)
		if first == 0 {
			a.taken(n)
		}
	}
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

// asked are addresses that Services have from a pool that they ask for.
type asked map[Grant]bool

func (x asked) note(r Request) {
	for i, pool := range r.Status.Pools {
		if pool != "" && pool == r.Pool {
			x[Grant{r.Status.Addresses[i], pool}] = true
		}
	}
}

// adopt makes a Service hold what its status says, which is ours. h is its place, 0 for none. It keeps an address that
// others have too: when it was adopted with everybody (with is what those ask for), whatever they may share, unless their
// ports clash; else if they may share it. Otherwise it is to give it up, and has it until then.
func (a *Allocator) adopt(r Request, h id, with asked) id {
	withAll := with != nil
	if !withAll {
		with = asked{}
		with.note(r)
	}
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
		if p = a.attribute(n, p, p != nil && with[Grant{addr, p.Name}]); p == nil {
			continue
		}
		again := false
		a.ledger.chain(first, func(_ id, c *claim) bool { // an address counts in one pool, whoever holds it
			if c.pool != 0 {
				p = a.poolOf(c)
			}
			again = again || c.holder == h && h != 0
			return true
		})
		if again {
			continue
		}
		if h == 0 {
			h = a.ledger.enter(r.Service, termsOf(r), r.createdAt())
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
	group := a.ledger.termsOf(me).group(a.poolOf(it), familyOf(it.addr), me.namespace.name)
	var against []*claim
	a.ledger.besides(it.addr, func(j id, o *claim) bool {
		other := a.ledger.holders.at(o.holder)
		switch {
		case j == c || other.foreign || o.right.is(ousted) || o.leaving:
		case common(a.ledger.termsOf(me).ports, a.ledger.termsOf(other).ports):
			it.right.set(ousted, true)
		case group == (Cause{}) || group != a.ledger.termsOf(other).group(a.poolOf(o), familyOf(o.addr), other.namespace.name):
			against = append(against, o)
			it.right.set(ousted, it.right.is(ousted) || !withAll)
		}
		return true
	})
	if it.right.is(ousted) || len(against) == 0 {
		return
	}
	it.right.set(loose, true)
	for _, o := range against {
		if !o.right.is(loose) {
			o.right.set(loose, true)
			a.waiting.call(a.ledger.holders.at(o.holder).key())
		}
	}
}

// foreign answers for a Service whose status is somebody else's.
func (a *Allocator) foreign(r Request) Decision {
	a.Reserve(r.Service, r.Status.Addresses)
	return foreignDecision(r)
}

func foreignDecision(r Request) Decision {
	message := listAddrs(r.Status.Addresses) + ", not assigned by Clarion and covered by no pool: left alone. Clear it, or make a pool that covers it"
	if r.Status.Unreadable { // no pool covers such
		message = "entries that are not addresses, not written by Clarion: left alone. Clear it to have an address of a pool"
	}
	var causes []Cause
	for _, addr := range r.Status.Addresses {
		if whyNever(addr) == "" {
			causes = append(causes, Cause{Kind: CausePools, Address: addr})
		}
	}
	return Decision{
		Reason:   clarion.ReasonHeldByAnother,
		Message:  "status.loadBalancer.ingress has " + message,
		WaitsFor: causes,
		Foreign:  true,
	}
}
