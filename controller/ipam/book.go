package ipam

// claim gives a Service an address that counts in a pool; first is the first claim on it, 0 when nobody has it.
func (a *Allocator) claim(h id, n num, p *pool, first id) id {
	c := a.ledger.add(h, n, p.id, first)
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
	p := a.poolOf(it)
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

// asked reports whether a Service, other than one, has an address and asks for the pool that it counts in.
func (a *Allocator) asked(n num, p *pool, but id) (is bool) {
	a.ledger.besides(n, func(_ id, it *claim) bool {
		is = it.pool == p.id && it.holder != but && a.ledger.termsOf(a.ledger.holders.at(it.holder)).pool == p.Name
		return !is
	})
	return is
}

// recount has an address, which Services hold, count in another pool.
func (a *Allocator) recount(n num, to *pool) {
	var ours []id
	a.ledger.besides(n, func(c id, it *claim) bool {
		if it.pool != 0 {
			ours = append(ours, c)
		}
		return true
	})
	from := a.poolOf(a.ledger.claims.at(ours[0]))
	if !from.gives(n) {
		from.orphans--
	}
	a.transfer(n, ours, to)
	if !to.gives(n) {
		to.orphans++
	}
	for _, c := range ours {
		it := a.ledger.claims.at(c)
		it.stands = to.standing(n)
		a.waiting.call(a.ledger.holders.at(it.holder).key())
		if from.PerNamespace > 0 {
			a.stirQuota(from, a.ledger.holders.at(it.holder).namespace.name)
		}
	}
	if s := a.sites[n]; s != nil {
		a.ungroup(s)
		is, _ := a.remake(n)
		a.joinable(is) // for those who may share addresses of this pool
	}
	a.retell(n)
	a.bury(from)
}

// stirQuota notes that a namespace may hold more of a pool.
func (a *Allocator) stirQuota(p *pool, namespace string) {
	a.stir(Cause{Kind: CauseQuota, Pool: p.Name, Namespace: namespace})
	a.waiting.wakeAll(Cause{Kind: CauseQuota, Pool: p.Name, Namespace: namespace, Holding: true})
}

// unclaim takes an address from a Service, and wakes who waits for it.
func (a *Allocator) unclaim(c id) {
	it := *a.ledger.claims.at(c)
	p := a.poolOf(&it)
	key := a.ledger.holders.at(it.holder).key()
	first := a.ledger.on(it.addr)
	if it.pool != 0 {
		a.count(c, -1)
	}
	a.depart(c)
	if a.ledger.remove(c, first) {
		a.waiting.wakeAll(Cause{Kind: CauseAddress, Address: addrOf(it.addr), Holding: true})
	} else {
		a.freed(it.addr, p, key)
	}
	if it.pool != 0 {
		if p.PerNamespace > 0 {
			a.stirQuota(p, key.Namespace)
		}
		a.bury(p)
	}
}

// poolOf returns the pool that a claim counts in, nil for a foreign one.
func (a *Allocator) poolOf(c *claim) *pool {
	if c.pool == 0 {
		return nil
	}
	return *a.roster.at(c.pool)
}

// bury forgets a pool that is gone and has no addresses in use any more.
func (a *Allocator) bury(p *pool) {
	if !p.exists && p.held == [2]int64{} {
		delete(a.pools, p.Name)
		a.roster.free(p.id)
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
		a.waiting.wakeAll(Cause{Kind: CauseAddress, Address: addrOf(n)}) // they were told until when it rests
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
		if from != nil && p.ReuseDelay > 0 {
			a.lay(n, p, k, a.restEnd(p))
		}
	}
	if a.rests.byAddr[n] != nil {
		a.waiting.rouseKey(k) // nobody but the Service itself may have it
		a.waiting.wakeAll(Cause{Kind: CauseAddress, Address: addrOf(n)})
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
		// Where it rests, the Service for which it does was told, and the others are when that ends.
		if n := numOf(c.Address); a.ledger.on(n) == 0 && a.rests.byAddr[n] == nil {
			return CountOf(1)
		}
	}
	return Count{}
}

// places returns at how many addresses that Services share the ports of a cause are free.
func (a *Allocator) places(c Cause) int {
	ports := c.ports()
	key := c.group()
	if c.Address.IsValid() {
		if s := a.sites[numOf(c.Address)]; s != nil && s.in != nil && s.in.key == key && !s.hasPort(ports) {
			return 1
		}
		return 0
	}
	if g := a.groups[key]; g != nil {
		return a.placesOf(g, ports)
	}
	return 0
}

// attribute says which pool an address that a Service holds counts in: the one that it counted in, for as long as
// that covers it, or somebody who has it asks for that pool; else the one whose territory it is in now; else, as an
// orphan, still the one that it came from.
func (a *Allocator) attribute(n num, current *pool, asked bool) *pool {
	if current != nil && current.exists && !current.Deleting && (asked || current.covers(n)) {
		return current
	}
	if owner := a.atlas.owner(n); owner != nil {
		return owner
	}
	return current
}
