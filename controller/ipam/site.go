package ipam

import (
	"maps"
	"slices"

	"github.com/google/btree"
)

// site is what the Services at one address come to. Addresses that one Service has alone, and that asks for no sharing,
// have none.
type site struct {
	addr    num
	mates   int // Services of ours
	foreign int // others
	alone   int // mates that share with nobody
	ports   map[Port]int
	groups  map[Cause]int
	spaces  map[*namespace]int
	in      *group // that all of them are of; nil where they are not
}

// group is the addresses of a pool at which all Services may share, ports aside.
type group struct {
	key   Cause
	sites *btree.BTreeG[*site]
	taken map[Port]int // at how many of them each port is in use
}

func byAddress(a, b *site) bool { return a.addr.less(b.addr) }

// hasPort reports whether one of the ports is in use.
func (s *site) hasPort(ports []Port) bool {
	for _, p := range ports {
		if s.ports[p] > 0 {
			return true
		}
	}
	return false
}

// suits reports whether a Service at the site, which so far has been of group was and had ports had, may share with all
// others there when it is of a group and has ports.
func (s *site) suits(group Cause, ports []Port, was Cause, had []Port) bool {
	others := s.groups[group]
	if group == was {
		others--
	}
	if group == (Cause{}) || others != s.mates-1 {
		return false
	}
	for _, p := range ports {
		n := s.ports[p]
		for _, q := range had {
			if p == q {
				n--
			}
		}
		if n > 0 {
			return false
		}
	}
	return true
}

// build makes the site of an address from those who have it.
func (a *Allocator) build(n num) *site {
	s := &site{addr: n, ports: map[Port]int{}, groups: map[Cause]int{}, spaces: map[*namespace]int{}}
	a.sites[n] = s
	a.ledger.besides(n, func(_ id, it *claim) bool {
		s.enter(a, it, +1)
		return true
	})
	a.regroup(s)
	return s
}

// enter books a claim in or out.
func (s *site) enter(a *Allocator, it *claim, by int) {
	h := a.ledger.holders.at(it.holder)
	if h.foreign {
		s.foreign += by
		return
	}
	s.mates += by
	if s.spaces[h.namespace] += by; s.spaces[h.namespace] == 0 {
		delete(s.spaces, h.namespace)
	}
	s.count(a, it, *a.ledger.termsOf(h), by)
}

// count books the terms of a claim's holder in or out.
func (s *site) count(a *Allocator, it *claim, t terms, by int) {
	if group := t.group(a.poolOf(it), familyOf(it.addr), a.ledger.holders.at(it.holder).namespace.name); group == (Cause{}) {
		s.alone += by
	} else if s.groups[group] += by; s.groups[group] == 0 {
		delete(s.groups, group)
	}
	for _, p := range t.ports {
		n := s.ports[p]
		if n += by; n == 0 {
			delete(s.ports, p)
		} else {
			s.ports[p] = n
		}
		if s.in == nil {
			continue
		}
		switch {
		case n == 0:
			s.in.taken[p]--
			a.portFree(s, p)
		case n == 1 && by > 0:
			s.in.taken[p]++
		}
	}
}

// portFree notes that a port at a site is in use no more.
func (a *Allocator) portFree(s *site, p Port) {
	if s.in.taken[p] == 0 {
		delete(s.in.taken, p)
	}
	c := s.in.key
	c.Port = p
	a.stir(c)
	c.Address = addrOf(s.addr)
	a.stir(c)
}

// regroup has a site be in the group that all Services there are of, if there is one.
func (a *Allocator) regroup(s *site) {
	var key Cause
	if s.foreign == 0 && s.alone == 0 && len(s.groups) == 1 {
		for k := range s.groups {
			key = k
		}
	}
	if s.in != nil && s.in.key == key {
		return
	}
	a.ungroup(s)
	if key == (Cause{}) {
		return
	}
	g := a.groups[key]
	if g == nil {
		g = &group{key: key, sites: btree.NewG(8, byAddress), taken: map[Port]int{}}
		a.groups[key] = g
	}
	s.in = g
	g.sites.ReplaceOrInsert(s)
	for p := range s.ports {
		g.taken[p]++
	}
	a.joinable(s)
}

// ungroup takes a site out of its group, if it is in one.
func (a *Allocator) ungroup(s *site) {
	if s.in == nil {
		return
	}
	s.in.sites.Delete(s)
	for p := range s.ports {
		if s.in.taken[p]--; s.in.taken[p] == 0 {
			delete(s.in.taken, p)
		}
	}
	if s.in.sites.Len() == 0 {
		delete(a.groups, s.in.key)
	}
	s.in = nil
}

// joinable notes that Services of a site's group may find a place there.
func (a *Allocator) joinable(s *site) {
	key := s.in.key
	for _, p := range a.waiting.portsOf(key) {
		if s.ports[p] == 0 {
			c := key
			c.Port = p
			a.stir(c)
		}
	}
	key.Address = addrOf(s.addr)
	for _, p := range a.waiting.portsOf(key) {
		c := key
		c.Port = p
		a.stir(c)
	}
}

// arrive books a new claim; first is the first claim on its address, 0 when there was none.
func (a *Allocator) arrive(c, first id) {
	it := a.ledger.claims.at(c)
	s := a.sites[it.addr]
	if s == nil {
		if first != 0 || a.ledger.termsOf(a.ledger.holders.at(it.holder)).sharing != "" {
			a.build(it.addr)
		}
		return
	}
	s.enter(a, it, +1)
	was := s.in
	if a.regroup(s); s.in != nil && s.in == was && a.poolOf(it).PerNamespace > 0 {
		a.joinable(s) // for others of its namespace it costs nothing now
	}
}

// depart books a claim out that is about to go.
func (a *Allocator) depart(c id) {
	it := a.ledger.claims.at(c)
	s := a.sites[it.addr]
	if s == nil {
		return
	}
	if s.mates+s.foreign == 1 {
		a.ungroup(s)
		delete(a.sites, it.addr)
		return
	}
	s.enter(a, it, -1)
	a.regroup(s)
}

// rebuild makes the sites anew, by the pools that there are. An edit of a pool moves nobody: who may not share any more
// by it is tolerated.
func (a *Allocator) rebuild() {
	old := a.sites
	a.sites, a.groups = map[num]*site{}, map[Cause]*group{}
	for _, n := range slices.SortedFunc(maps.Keys(old), num.Cmp) {
		is, changed := a.remake(n)
		if !changed && (old[n].in == nil) == (is.in == nil) {
			continue
		}
		a.ledger.besides(n, func(_ id, it *claim) bool {
			if it.pool != 0 {
				a.waiting.call(a.ledger.holders.at(it.holder).key())
			}
			return true
		})
	}
}

// remake makes the site of an address whose pool, or what that allows, is another. It reports whether there are any now
// who share against the rules and did not before.
func (a *Allocator) remake(n num) (is *site, changed bool) {
	is = a.build(n)
	return is, is.in == nil && is.mates > 1 && a.tolerate(n)
}

// tolerate has those at an address go on sharing it who may not, and reports whether there are any that were not
// tolerated before. Those who are to leave it do not count.
func (a *Allocator) tolerate(n num) (changed bool) {
	groupOf := func(it *claim) Cause {
		h := a.ledger.holders.at(it.holder)
		return a.ledger.termsOf(h).group(a.poolOf(it), familyOf(n), h.namespace.name)
	}
	var all []*claim
	groups := map[Cause]int{}
	a.ledger.besides(n, func(_ id, it *claim) bool {
		if it.pool != 0 && !it.leaving && !it.right.is(ousted) {
			all = append(all, it)
			groups[groupOf(it)]++
		}
		return true
	})
	for _, it := range all {
		group := groupOf(it)
		alone := group == (Cause{}) && len(all) > 1
		if (alone || groups[group] < len(all)) && !it.right.is(loose) {
			it.right.set(loose, true)
			changed = true
		}
	}
	return changed
}
