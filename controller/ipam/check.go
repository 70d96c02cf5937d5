package ipam

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Check verifies what must always hold: that no address is held by two Services that may not both hold it, that the
// numbers are those of reality, that free and used make up every pool, and that nobody waits for what is there. It
// looks at everything and is for tests and debugging.
func (a *Allocator) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	// The ledger: both ways of reading it say the same.
	type counted struct {
		held    [2]int64
		orphans int64
	}
	pools := map[*pool]*counted{}
	quota := map[*namespace]map[*pool]int64{}
	claims := 0
	a.ledger.addresses(func(n num) {
		var in *pool
		spaces := map[*namespace]bool{}
		var mates []*claim
		a.ledger.besides(n, func(c id, it *claim) bool {
			claims++
			h := a.ledger.holders.at(it.holder)
			listed := false
			a.ledger.of(it.holder, func(o id, _ *claim) bool { listed = listed || o == c; return true })
			if !listed {
				wrong("%s is held by %s, which does not list it", addrOf(n), h.key())
			}
			if h.foreign != (it.pool == 0) {
				wrong("%s of %s: foreign is %t, but its pool is %v", addrOf(n), h.key(), h.foreign, a.poolOf(it))
			}
			if h.foreign {
				return true
			}
			if in != nil && in != a.poolOf(it) {
				wrong("%s counts in pools %s and %s", addrOf(n), in.Name, a.poolOf(it).Name)
			}
			in = a.poolOf(it)
			spaces[h.namespace] = true
			mates = append(mates, it)
			return true
		})
		for i, x := range mates {
			for _, y := range mates[:i] {
				if why := a.unlawful(x, y); why != "" {
					wrong("%s is held by both %s and %s: %s", addrOf(n), a.ledger.holders.at(x.holder).key(), a.ledger.holders.at(y.holder).key(), why)
				}
			}
		}
		a.checkSite(n, wrong)
		if in == nil {
			return
		}
		if a.pools[in.Name] != in {
			wrong("%s counts in pool %s, which is not known", addrOf(n), in.Name)
		}
		if pools[in] == nil {
			pools[in] = &counted{}
		}
		pools[in].held[familyOf(n)]++
		if !in.gives(n) {
			pools[in].orphans++
		}
		for ns := range spaces {
			if quota[ns] == nil {
				quota[ns] = map[*pool]int64{}
			}
			quota[ns][in]++
		}
	})
	a.checkGroups(wrong)
	listed := 0
	for i := id(1); i <= a.ledger.holders.last; i++ {
		h := a.ledger.holders.at(i)
		if h.namespace == nil {
			continue
		}
		if a.ledger.find(h.key()) != i {
			wrong("%s is not found by its name", h.key())
		}
		if h.first == 0 {
			wrong("%s holds nothing, but is not forgotten", h.key())
		}
		a.ledger.of(i, func(id, *claim) bool { listed++; return true })
	}
	if listed != claims {
		wrong("%d claims by Service, %d by address", listed, claims)
	}

	// The numbers.
	for name, p := range a.pools {
		want := pools[p]
		if want == nil {
			want = &counted{}
		}
		if p.held != want.held || p.orphans != want.orphans {
			wrong("pool %s: counts %v held and %d orphans, there are %v and %d", name, p.held, p.orphans, want.held, want.orphans)
		}
		if !p.exists && p.held == [2]int64{} {
			wrong("pool %s is gone and unused, but is not forgotten", name)
		}
		a.checkSpace(p, wrong)
	}
	for _, ns := range a.ledger.namespaces {
		for p, n := range ns.held {
			if quota[ns][p] != n {
				wrong("namespace %s: counts %d of pool %s, there are %d", ns.name, n, p.Name, quota[ns][p])
			}
		}
		for p, n := range quota[ns] {
			if ns.held[p] != n {
				wrong("namespace %s: counts %d of pool %s, there are %d", ns.name, ns.held[p], p.Name, n)
			}
		}
	}

	rested := 0
	for _, p := range a.pools {
		rested += p.rests.Len()
	}
	if len(a.rests.byAddr) != rested || a.rests.due.Len() != rested {
		wrong("%d addresses rest, %d in order of time, the pools count %d", len(a.rests.byAddr), a.rests.due.Len(), rested)
	}

	// Nobody waits for what is there: whoever has not been tried since the cause changed is on the way, or as many
	// others are as it can serve.
	for _, l := range a.waiting.lines {
		first, ok := l.asleep.Min()
		if ok && first.tried != l.epoch && CountOf(uint64(l.woken)).less(a.serves(l.cause)) {
			wrong("%s sleeps, though what it waits for has changed: %+v", first.waiter.key, l.cause)
		}
	}
	return errors.Join(errs...)
}

// checkSpace verifies that the free and the used addresses make up the territory of a pool, and nothing else.
func (a *Allocator) checkSpace(p *pool, wrong func(string, ...any)) {
	for _, f := range bothFamilies {
		var capacity, used, free Count
		for _, s := range p.territory {
			if familyOf(s.lo) == f {
				if s, ok := p.rule.trim(s); ok {
					capacity = capacity.plus(p.rule.count(s))
				}
			}
			if owner := a.atlas.owner(s.lo); owner != p {
				wrong("pool %s: %s is not in the atlas as its", p.Name, s)
			}
		}
		a.ledger.addresses(func(n num) {
			if familyOf(n) == f && p.gives(n) {
				used = used.next()
				if p.free[f].has(n) {
					wrong("pool %s: %s is held and free", p.Name, addrOf(n))
				}
				if a.rests.byAddr[n] != nil {
					wrong("pool %s: %s is held and rests", p.Name, addrOf(n))
				}
			}
		})
		var resting Count
		p.rests.Ascend(func(r *rest) bool {
			if familyOf(r.addr) != f {
				return true
			}
			resting = resting.next()
			if p.free[f].has(r.addr) || !p.gives(r.addr) || a.rests.byAddr[r.addr] != r || !r.until.After(a.now) ||
				!slices.Contains(a.rests.byKey[r.key], r) {
				wrong("pool %s: %s rests, but should not", p.Name, addrOf(r.addr))
			}
			return true
		})
		if resting != CountOf(uint64(p.resting[f])) || p.rests.Len() > MaxResting {
			wrong("pool %s: counts %d that rest, there are %s", p.Name, p.resting[f], resting)
		}
		var last *span
		p.free[f].spans.Ascend(func(s span) bool {
			free = free.plus(p.rule.count(s))
			if s.hi.less(s.lo) || !p.gives(s.lo) || !p.gives(s.hi) {
				wrong("pool %s: %s is free, but not its to give", p.Name, s)
			}
			if last != nil && !last.hi.less(s.lo) {
				wrong("pool %s: %s and %s are both free", p.Name, *last, s)
			}
			last = &s
			return true
		})
		if free != p.free[f].count || capacity != p.capacity[f] || free.plus(used).plus(resting) != capacity {
			wrong("pool %s: %s capacity %s (counted %s) is not free %s (counted %s), used %s and resting %s",
				p.Name, f, capacity, p.capacity[f], free, p.free[f].count, used, resting)
		}
	}
	if i := slices.IndexFunc(a.order, func(o *pool) bool { return o.Name == p.Name }); (i >= 0) != p.exists {
		wrong("pool %s: exists is %t, but it is at %d among those that do", p.Name, p.exists, i)
	}
}

// unlawful says why two Services may not both hold an address, or "".
func (a *Allocator) unlawful(x, y *claim) string {
	hx, hy := a.ledger.holders.at(x.holder), a.ledger.holders.at(y.holder)
	gx := a.ledger.termsOf(hx).group(a.poolOf(x), familyOf(x.addr), hx.namespace.name)
	gy := a.ledger.termsOf(hy).group(a.poolOf(y), familyOf(y.addr), hy.namespace.name)
	switch {
	case x.leaving || y.leaving || x.right.is(ousted) || y.right.is(ousted):
		return ""
	case common(a.ledger.termsOf(hx).ports, a.ledger.termsOf(hy).ports):
		return "they have a port in common"
	case (gx == (Cause{}) || gx != gy) && !(x.right.is(loose) && y.right.is(loose)):
		return "they may not share"
	}
	return ""
}

// checkSite verifies that what is known of the Services at an address is what they are.
func (a *Allocator) checkSite(n num, wrong func(string, ...any)) {
	s := a.sites[n]
	want := &site{addr: n, ports: map[Port]int{}, groups: map[Cause]int{}, spaces: map[*namespace]int{}}
	claims, shares := 0, false
	a.ledger.besides(n, func(_ id, it *claim) bool {
		claims++
		h := a.ledger.holders.at(it.holder)
		shares = shares || a.ledger.termsOf(h).sharing != ""
		want.enter(a, it, +1)
		return true
	})
	if s == nil {
		if claims > 1 || shares {
			wrong("%s is shared, or to be, but has no site", addrOf(n))
		}
		return
	}
	if s.mates != want.mates || s.foreign != want.foreign || s.alone != want.alone || !maps.Equal(s.ports, want.ports) ||
		!maps.Equal(s.groups, want.groups) || !maps.Equal(s.spaces, want.spaces) {
		wrong("%s: its site is %+v, want %+v", addrOf(n), *s, *want)
	}
	uniform := s.foreign == 0 && s.alone == 0 && len(s.groups) == 1
	if uniform != (s.in != nil) {
		wrong("%s: %d groups, %d alone and %d foreign, but it is in group %v", addrOf(n), len(s.groups), s.alone, s.foreign, s.in)
	}
	if s.in != nil {
		at, ok := s.in.sites.Get(s)
		if p := a.pools[s.in.key.Pool]; s.open != p.gives(n) || ok != s.open || ok && at != s ||
			a.groups[s.in.key] != s.in || s.groups[s.in.key] != s.mates {
			wrong("%s is in group %v, which does not have it", addrOf(n), s.in.key)
		}
		if p := a.pools[s.in.key.Pool]; (p.ShareAcross && p.PerNamespace > 0) != (s.parts != nil) || s.parts != nil && len(s.parts) != len(s.spaces) {
			wrong("%s is in %d parts of group %v, for %d namespaces", addrOf(n), len(s.parts), s.in.key, len(s.spaces))
		}
		for ns, part := range s.parts {
			if at, ok := part.sites.Get(s); ok != s.open || ok && at != s || a.groups[part.key] != part || part.key.Namespace != ns.name || s.spaces[ns] == 0 {
				wrong("%s is in group %v, which does not have it", addrOf(n), part.key)
			}
		}
	}
}

// checkGroups verifies that groups know at how many of their addresses each port is in use, and where several are free.
func (a *Allocator) checkGroups(wrong func(string, ...any)) {
	members := map[*group]int{}
	for _, s := range a.sites {
		if s.in != nil {
			members[s.in]++
		}
		for _, part := range s.parts {
			members[part]++
		}
	}
	for _, g := range a.groups {
		taken := map[Port]int{}
		g.sites.Ascend(func(s *site) bool {
			if a.sites[s.addr] != s {
				wrong("group %+v has %s, where nobody is", g.key, addrOf(s.addr))
			}
			for p := range s.ports {
				taken[p]++
			}
			return true
		})
		if !maps.Equal(taken, g.taken) || g.count == 0 || g.count != members[g] {
			wrong("group %+v: counts %v at %d addresses, there are %v at %d", g.key, g.taken, g.count, taken, members[g])
		}
		for text, m := range g.mixes {
			fit := 0
			g.sites.Ascend(func(s *site) bool {
				if !s.hasPort(m.ports) {
					fit++
				}
				if m.fit.Has(s) == s.hasPort(m.ports) {
					wrong("group %+v: that %sare free at %s is not known", g.key, text, addrOf(s.addr))
				}
				return true
			})
			if fit != m.fit.Len() {
				wrong("group %+v: counts %d addresses for %s, there are %d", g.key, m.fit.Len(), text, fit)
			}
		}
	}
	refs := map[id]int{}
	for i := id(1); i <= a.ledger.holders.last; i++ {
		if h := a.ledger.holders.at(i); h.namespace != nil {
			refs[h.terms]++
		}
	}
	for saying, i := range a.ledger.byTerms {
		if t := a.ledger.terms.at(i); t.refs != refs[i] || t.refs == 0 || string(t.say(nil)) != saying {
			wrong("terms %+v, which say %q: there are %d uses", *t, saying, refs[i])
		}
		delete(refs, i)
	}
	if len(refs) > 0 {
		wrong("%d terms are in use, but not found", len(refs))
	}
}
