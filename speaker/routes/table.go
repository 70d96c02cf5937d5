package routes

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// A Table has what this node advertises. It belongs to one goroutine; what it returns is not changed after.
type Table struct {
	cluster   Cluster
	view      *view
	addresses map[netip.Addr]*entry
	prefixes  map[netip.Prefix]*meeting
	groups    []table
}

type entry struct {
	address Address
	verdict
}

// A meeting is the advertisements that have something to say of a prefix, by how many addresses.
type meeting struct {
	counts map[int]int
	ads    []int // in order
	key    string
}

// A table is what a group of peers is sent.
type table struct {
	dirty map[netip.Prefix]bool
	shown *bgp.Routes
}

// New returns an empty Table of an empty cluster.
func New() *Table {
	t := &Table{addresses: map[netip.Addr]*entry{}}
	t.Configure(Cluster{})
	return t
}

// Configure says what the cluster is now. Every address is decided anew.
func (t *Table) Configure(c Cluster) {
	before := t.groups
	t.cluster, t.view = c, newView(c)
	t.prefixes = map[netip.Prefix]*meeting{}
	t.groups = make([]table, len(t.view.groups))
	for i := range t.groups {
		t.groups[i].dirty = map[netip.Prefix]bool{}
	}
	for _, e := range t.addresses {
		e.verdict = t.view.decide(e.address)
		t.add(e.verdict, map[netip.Prefix]bool{})
	}
	for g := range t.groups {
		for p := range t.prefixes {
			t.groups[g].dirty[p] = true
		}
		t.flush(g, before)
	}
}

// Set says what an address is now.
func (t *Table) Set(a Address) {
	next, changed := t.view.decide(a), map[netip.Prefix]bool{}
	e := t.addresses[a.Address]
	if e == nil {
		e = &entry{}
		t.addresses[a.Address] = e
	}
	if !slices.Equal(e.contributions, next.contributions) {
		t.subtract(e.verdict, changed)
		t.add(next, changed)
		t.mark(changed)
	}
	e.address, e.verdict = a, next
}

// Remove says that nobody has an address any more.
func (t *Table) Remove(a netip.Addr) {
	e := t.addresses[a]
	if e == nil {
		return
	}
	changed := map[netip.Prefix]bool{}
	t.subtract(e.verdict, changed)
	delete(t.addresses, a)
	t.mark(changed)
}

func (t *Table) mark(changed map[netip.Prefix]bool) {
	for g := range t.groups {
		maps.Copy(t.groups[g].dirty, changed)
	}
}

func (t *Table) add(d verdict, changed map[netip.Prefix]bool) {
	for _, c := range d.contributions {
		m := t.prefixes[c.prefix]
		if m == nil {
			m = &meeting{counts: map[int]int{}}
			t.prefixes[c.prefix] = m
		}
		if m.counts[c.ad]++; m.counts[c.ad] == 1 {
			m.meet()
			changed[c.prefix] = true
		}
	}
}

func (t *Table) subtract(d verdict, changed map[netip.Prefix]bool) {
	for _, c := range d.contributions {
		m := t.prefixes[c.prefix]
		if m.counts[c.ad]--; m.counts[c.ad] == 0 {
			delete(m.counts, c.ad)
			m.meet()
			changed[c.prefix] = true
			if len(m.counts) == 0 {
				delete(t.prefixes, c.prefix)
			}
		}
	}
}

// meet takes note of which advertisements meet there now.
func (m *meeting) meet() {
	m.ads = slices.Sorted(maps.Keys(m.counts))
	m.key = key(m.ads)
}

// Peers returns what each peer is to be sent, in order of their names.
func (t *Table) Peers() []PeerRoutes {
	out := make([]PeerRoutes, 0, len(t.view.peers))
	for _, p := range t.view.peers {
		r := PeerRoutes{Peer: p.name, Wanted: p.wanted}
		if p.wanted {
			t.flush(p.group, nil)
			r.Routes = t.groups[p.group].shown
		}
		out = append(out, r)
	}
	return out
}

// flush works changes into a group's routes. What comes to the same as another group has, or as there was before, is the
// same.
func (t *Table) flush(g int, before []table) {
	table := &t.groups[g]
	if len(table.dirty) == 0 && table.shown != nil {
		return
	}
	var upsert []bgp.Route
	var remove []netip.Prefix
	for p := range table.dirty {
		old, had := table.shown.Get(p)
		route, has := t.route(p, g)
		switch {
		case has && (!had || !old.Equal(route)):
			upsert = append(upsert, route)
		case had && !has:
			remove = append(remove, p)
		}
	}
	clear(table.dirty)
	if table.shown != nil && len(upsert)+len(remove) == 0 {
		return
	}
	routes, err := table.shown.With(upsert, remove)
	if err != nil {
		panic(fmt.Sprintf("routes: %v", err)) // prefixes are keys, and made by netip
	}
	table.shown = routes
	for i, other := range slices.Concat(before, t.groups) {
		if i == len(before)+g || other.shown == nil {
			continue
		}
		if slices.EqualFunc(other.shown.All(), routes.All(), bgp.Route.Equal) {
			table.shown = other.shown
			return
		}
	}
}

// route returns what a group is sent for a prefix, if anything.
func (t *Table) route(p netip.Prefix, g int) (bgp.Route, bool) {
	m := t.prefixes[p]
	if m == nil || !t.view.groups[g].families[bgp.FamilyOf(p.Addr())] {
		return bgp.Route{}, false
	}
	merged := t.view.merge(m.ads, m.key, g)
	if merged.none {
		return bgp.Route{}, false
	}
	route := merged.route
	route.Prefix = p
	return route, true
}

// Decision returns what becomes of an address; false if nobody has it.
func (t *Table) Decision(a netip.Addr) (Decision, bool) {
	e := t.addresses[a]
	if e == nil {
		return Decision{}, false
	}
	return e.Decision, true
}

// Barred returns the reasons why no node would advertise an address for the sake of one of its sharers, whatever sessions it had, those of
// the nodes that came furthest first; nil where one would.
func (t *Table) Barred(a netip.Addr, sharer int) []Reason {
	e := t.addresses[a]
	if e == nil || sharer >= len(e.address.Sharers) {
		return nil
	}
	return t.view.barred(e.address.Sharers[sharer], bgp.FamilyOf(a))
}
