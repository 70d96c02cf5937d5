package child

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"unique"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// attributes are what is said of a route beside its prefix. Routes with equal ones share a handle and, in the
// end, an UPDATE.
type attributes struct {
	nextHop              netip.Addr
	localPref, med       uint32
	hasLocalPref, hasMED bool
	prepend              int
	// communities and large are the numbers in network order.
	communities, large string
}

type handle = unique.Handle[attributes]

func intern(r *bgp.Route) handle {
	a := attributes{nextHop: r.NextHop, prepend: r.Prepend}
	if r.LocalPref != nil {
		a.localPref, a.hasLocalPref = *r.LocalPref, true
	}
	if r.MED != nil {
		a.med, a.hasMED = *r.MED, true
	}
	var b []byte
	for _, c := range r.Communities {
		b = binary.BigEndian.AppendUint32(b, c)
	}
	a.communities = string(b)
	b = nil
	for _, c := range r.LargeCommunities {
		for _, part := range c {
			b = binary.BigEndian.AppendUint32(b, part)
		}
	}
	a.large = string(b)
	return unique.Make(a)
}

// leaving is what is said of a route that will go soon (RFC 8326).
func (a attributes) leaving() attributes {
	all := numbers(a.communities)
	if !slices.Contains(all, bgp.GracefulShutdown) {
		a.communities += string(binary.BigEndian.AppendUint32(nil, bgp.GracefulShutdown))
	}
	a.localPref, a.hasLocalPref = 0, true
	return a
}

func numbers(s string) []uint32 {
	var all []uint32
	for b := []byte(s); len(b) >= 4; b = b[4:] {
		all = append(all, binary.BigEndian.Uint32(b))
	}
	return all
}

// entry is a route: what it should be and what the router was told. The zero handle is none.
type entry struct{ want, sent handle }

// rib is the routes toward one router.
type rib struct {
	routes map[netip.Prefix]entry
	// dirty are prefixes whose want and sent may differ.
	dirty map[netip.Prefix]struct{}
	// again are prefixes that the router wants to be told once more (RFC 2918).
	again map[netip.Prefix]struct{}
	// wanted counts entries with a want, sent those with a sent.
	wanted, sent int
	leaving      bool
}

func newRIB() *rib {
	return &rib{routes: map[netip.Prefix]entry{}, dirty: map[netip.Prefix]struct{}{}, again: map[netip.Prefix]struct{}{}}
}

// upsert wants a route.
func (r *rib) upsert(route *bgp.Route) {
	e := r.routes[route.Prefix]
	if e.want == (handle{}) {
		r.wanted++
	}
	e.want = intern(route)
	r.routes[route.Prefix] = e
	r.dirty[route.Prefix] = struct{}{}
}

// remove wants a route no more.
func (r *rib) remove(p netip.Prefix) {
	e, ok := r.routes[p]
	if !ok || e.want == (handle{}) {
		return
	}
	r.wanted--
	e.want = handle{}
	if e.sent == (handle{}) {
		delete(r.routes, p)
		delete(r.dirty, p)
		return
	}
	r.routes[p] = e
	r.dirty[p] = struct{}{}
}

// forget is for a new session: the router was told nothing.
func (r *rib) forget() {
	r.sent = 0
	clear(r.again)
	for p, e := range r.routes {
		if e.want == (handle{}) {
			delete(r.routes, p)
			delete(r.dirty, p)
			continue
		}
		e.sent = handle{}
		r.routes[p] = e
		r.dirty[p] = struct{}{}
	}
}

// refresh has all routes of a family sent again, as the router asked (RFC 2918).
func (r *rib) refresh(f bgp.Family) {
	for p, e := range r.routes {
		if bgp.FamilyOf(p.Addr()) == f && e.sent != (handle{}) {
			r.again[p] = struct{}{}
			r.dirty[p] = struct{}{}
		}
	}
}

// touchAll has every route looked at again, because what is said of it changes.
func (r *rib) touchAll() {
	for p := range r.routes {
		r.dirty[p] = struct{}{}
	}
}

// removeAll wants nothing.
func (r *rib) removeAll() {
	for p := range r.routes {
		r.remove(p)
	}
}

// change is what to tell a router.
type change struct {
	withdraw []netip.Prefix
	announce []group
}

// group is routes that are the same but for their prefixes.
type group struct {
	family   bgp.Family
	said     handle
	prefixes []netip.Prefix
}

// take is what the router must be told for sent to become what is wanted, in a fixed order; from then on it
// counts as told. Routes of families that the session lacks are left.
func (r *rib) take(carries []bgp.Family) change {
	var c change
	groups := map[handle]map[bgp.Family]int{}
	for _, p := range sorted(r.dirty) {
		e, f := r.routes[p], bgp.FamilyOf(p.Addr())
		if !slices.Contains(carries, f) {
			continue
		}
		say := e.want
		if r.leaving && say != (handle{}) {
			say = unique.Make(say.Value().leaving())
		}
		_, again := r.again[p]
		delete(r.again, p)
		delete(r.dirty, p)
		switch {
		case say == e.sent && (!again || say == (handle{})):
			continue
		case say == (handle{}):
			c.withdraw = append(c.withdraw, p)
			delete(r.routes, p)
			r.sent--
			continue
		case e.sent == (handle{}):
			r.sent++
		}
		e.sent = say
		r.routes[p] = e
		i, ok := groups[say][f]
		if !ok {
			i = len(c.announce)
			if groups[say] == nil {
				groups[say] = map[bgp.Family]int{}
			}
			groups[say][f] = i
			c.announce = append(c.announce, group{family: f, said: say})
		}
		c.announce[i].prefixes = append(c.announce[i].prefixes, p)
	}
	return c
}

// unsent takes back that a group was told, where it could not be.
func (r *rib) unsent(g group) {
	for _, p := range g.prefixes {
		if e, ok := r.routes[p]; ok && e.sent != (handle{}) {
			e.sent = handle{}
			r.routes[p] = e
			r.sent--
		}
	}
}

func sorted(set map[netip.Prefix]struct{}) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(set))
	for p := range set {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	return all
}
