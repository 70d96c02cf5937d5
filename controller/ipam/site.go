package ipam

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

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
	open    bool   // in gives others a place: the pool gives the address out
	// parts are those of in for the namespaces that have the address; nil where in has none.
	parts map[*namespace]*group
}

// group is the addresses of a pool at which all Services may share, ports aside. Where they may across namespaces and
// the pool has a quota, those addresses that a namespace has are a group besides, a part of it: they cost the
// namespace's quota nothing. A part's key names its namespace.
type group struct {
	key   Cause
	count int                  // of the sites that are in it
	sites *btree.BTreeG[*site] // those that are open
	taken map[Port]int         // at how many of these each port is in use
	mixes map[string]*mix      // by portsText
}

// mix is at which open sites of a group all of some ports are free. A group has one where looking for them one by one
// took too long, for as long as somebody waits for it, or it is among the last few that were asked for.
type mix struct {
	ports []Port
	fit   *btree.BTreeG[*site]
	asked uint64 // the turn of the last question
}

const (
	// lookAt is how many sites are looked at one by one before there is a mix.
	lookAt = 16
	// mixesKept is how many mixes of a group are kept for which nobody waits.
	mixesKept = 32
)

// portsText writes ports down, such that the same ones are written alike.
func portsText(ports []Port) string {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, comparePorts)
	var b strings.Builder
	for _, p := range slices.Compact(ports) {
		b.WriteString(p.Protocol + "/" + strconv.Itoa(int(p.Port)) + " ")
	}
	return b.String()
}

func comparePorts(a, b Port) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Protocol, b.Protocol))
}

// placesFor calls f with the open sites where all of some ports are free, the lowest first, until f returns false.
func (a *Allocator) placesFor(g *group, ports []Port, f func(*site) bool) {
	looked, more := 0, true
	var last *site
	g.sites.Ascend(func(s *site) bool {
		if looked++; looked > a.lookAt {
			return false
		}
		last = s
		if !s.hasPort(ports) {
			more = f(s)
		}
		return more
	})
	if !more || looked <= a.lookAt {
		return
	}
	fit := a.mixOf(g, ports).fit
	if last == nil {
		fit.Ascend(f)
	} else {
		fit.AscendGreaterOrEqual(last, func(s *site) bool { return s == last || f(s) })
	}
}

// placesOf counts the open sites where all of some ports are free.
func (a *Allocator) placesOf(g *group, ports []Port) (n int) {
	if len(ports) == 1 {
		return g.sites.Len() - g.taken[ports[0]]
	}
	if g.sites.Len() > a.lookAt {
		return a.mixOf(g, ports).fit.Len()
	}
	a.placesFor(g, ports, func(*site) bool { n++; return true })
	return n
}

func (a *Allocator) mixOf(g *group, ports []Port) *mix {
	text := portsText(ports)
	m := g.mixes[text]
	if m == nil {
		a.forgetMixes(g)
		m = &mix{ports: slices.Clone(ports), fit: btree.NewG(8, byAddress)}
		g.sites.Ascend(func(s *site) bool { m.look(s); return true })
		if g.mixes == nil {
			g.mixes = map[string]*mix{}
		}
		g.mixes[text] = m
	}
	a.questions++
	m.asked = a.questions
	return m
}

// forgetMixes makes room for a mix.
func (a *Allocator) forgetMixes(g *group) {
	idle, oldest := 0, ""
	for text, m := range g.mixes {
		if a.waiting.lines[g.key.of(m.ports)] != nil {
			continue
		}
		if idle++; oldest == "" || m.asked < g.mixes[oldest].asked {
			oldest = text
		}
	}
	if idle >= mixesKept {
		delete(g.mixes, oldest)
	}
}

// look has a mix know how an open site stands by now.
func (m *mix) look(s *site) {
	if s.hasPort(m.ports) {
		m.fit.Delete(s)
	} else {
		m.fit.ReplaceOrInsert(s)
	}
}

// of is the cause that stands for a place at an address of a group for some ports.
func (c Cause) of(ports []Port) Cause {
	if len(ports) == 1 {
		c.Port = ports[0]
	} else {
		c.Ports = portsText(ports)
	}
	return c
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

// build makes the site of an address from those who have it. Who waits is not told.
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
		if s.in == nil || n > 0 && !(n == 1 && by > 0) {
			continue
		}
		if s.open {
			s.in.portChanged(s, p, by)
			for _, part := range s.parts {
				part.portChanged(s, p, by)
			}
		}
		if n == 0 {
			a.portFree(s, p)
		}
	}
}

// portChanged books a port in or out at one of the group's open sites, which knows already.
func (g *group) portChanged(s *site, p Port, by int) {
	g.take(p, by)
	for _, m := range g.mixes {
		if slices.Contains(m.ports, p) {
			m.look(s)
		}
	}
}

// take books a port in or out at one of the group's open sites.
func (g *group) take(p Port, by int) {
	if g.taken[p] += by; g.taken[p] == 0 {
		delete(g.taken, p)
	}
}

// portFree notes that a port at a site is in use no more.
func (a *Allocator) portFree(s *site, p Port) {
	a.stirSharers(s, func(l *line) bool { return slices.Contains(l.ports, p) && s.suitsLine(l) })
}

// joinable notes that Services of a site's group may find a place there.
func (a *Allocator) joinable(s *site) { a.stirSharers(s, s.suitsLine) }

// stirSharers notes that the causes of some of those changed who wait to share with a site's Services.
func (a *Allocator) stirSharers(s *site, is func(*line) bool) {
	if s.in == nil || len(a.waiting.share) == 0 {
		return
	}
	a.stirGroup(s.in, is)
	var parts []*group
	for _, part := range s.parts {
		if a.waiting.share[part.key] != nil {
			parts = append(parts, part)
		}
	}
	slices.SortFunc(parts, func(x, y *group) int { return strings.Compare(x.key.Namespace, y.key.Namespace) })
	for _, part := range parts {
		a.stirGroup(part, is)
	}
}

func (a *Allocator) stirGroup(g *group, is func(*line) bool) {
	for _, c := range a.waiting.sharing(g.key, is) {
		a.stir(c)
	}
}

// suitsLine reports whether those in a line may find a place at the site, ports alone considered.
func (s *site) suitsLine(l *line) bool {
	if at := l.cause.Address; at.IsValid() {
		return at == addrOf(s.addr) && !s.hasPort(l.ports)
	}
	return s.open && !s.hasPort(l.ports)
}

// regroup has a site be in the group that all Services there are of, if there is one, and reports whether it was not
// before.
func (a *Allocator) regroup(s *site) (entered bool) {
	var key Cause
	if s.foreign == 0 && s.alone == 0 && len(s.groups) == 1 {
		for k := range s.groups {
			key = k
		}
	}
	if s.in != nil && s.in.key == key {
		return false
	}
	a.ungroup(s)
	if key == (Cause{}) {
		return false
	}
	p := a.pools[key.Pool]
	s.open = p != nil && p.gives(s.addr)
	s.in = a.enroll(s, key)
	if p != nil && p.ShareAcross && p.PerNamespace > 0 {
		s.parts = map[*namespace]*group{}
		for ns := range s.spaces {
			a.part(s, ns)
		}
	}
	return true
}

// ungroup takes a site out of its group, if it is in one.
func (a *Allocator) ungroup(s *site) {
	if s.in == nil {
		return
	}
	a.strike(s, s.in)
	for _, part := range s.parts {
		a.strike(s, part)
	}
	s.in, s.open, s.parts = nil, false, nil
}

// part has a site, whose group has parts, be in the one for a namespace as long as that has the address. It returns
// the part where the site was not in it before.
func (a *Allocator) part(s *site, ns *namespace) (entered *group) {
	part, has := s.parts[ns], s.spaces[ns] > 0
	switch {
	case has && part == nil:
		key := s.in.key
		key.Namespace = ns.name
		s.parts[ns] = a.enroll(s, key)
		return s.parts[ns]
	case !has && part != nil:
		a.strike(s, part)
		delete(s.parts, ns)
	}
	return nil
}

// enroll enters a site in a group.
func (a *Allocator) enroll(s *site, key Cause) *group {
	g := a.groups[key]
	if g == nil {
		g = &group{key: key, sites: btree.NewG(8, byAddress), taken: map[Port]int{}}
		a.groups[key] = g
	}
	g.count++
	if s.open {
		g.sites.ReplaceOrInsert(s)
		for p := range s.ports {
			g.take(p, +1)
		}
		for _, m := range g.mixes {
			m.look(s)
		}
	}
	return g
}

// strike takes a site out of a group.
func (a *Allocator) strike(s *site, g *group) {
	if s.open {
		g.sites.Delete(s)
		for p := range s.ports {
			g.take(p, -1)
		}
		for _, m := range g.mixes {
			m.fit.Delete(s)
		}
	}
	if g.count--; g.count == 0 {
		delete(a.groups, g.key)
	}
}

// manner is how Services have an address, as far as those are told who ask for it and may not share it.
type manner struct {
	alone  bool    // somebody has it who shares with nobody
	groups []Cause // that the others are of, in order
}

func (a *Allocator) mannerOf(n num) *manner {
	s := a.sites[n]
	if s == nil || s.alone > 0 || s.foreign > 0 {
		return &manner{alone: true}
	}
	return &manner{groups: slices.SortedFunc(maps.Keys(s.groups), func(x, y Cause) int {
		return cmp.Or(strings.Compare(x.Sharing, y.Sharing), strings.Compare(x.Namespace, y.Namespace), strings.Compare(x.Pool, y.Pool))
	})}
}

// whyNot says why a Service of a group may not share the address, ports aside, or "".
func (m *manner) whyNot(group Cause) string {
	if m.alone {
		return anothers + " and does not share it"
	}
	key := func(g Cause) string { key, _, _ := strings.Cut(g.Sharing, "\x00"); return key }
	text := ""
	for _, other := range m.groups {
		switch {
		case other == group:
		case key(other) != key(group):
			text = anothers + " under another sharing key"
		case other.Pool != group.Pool:
			return anothers + ", from pool " + other.Pool
		case other.Namespace != group.Namespace:
			return anothers + ", in another namespace, and pool " + group.Pool + " lets Services share only within one (sharing: Namespace)"
		default:
			return anothers + " under the same sharing key, but the two can't share: externalTrafficPolicy must be Cluster for both, " +
				"or Local for both with the same namespace and selector"
		}
	}
	return text
}

const anothers = "another Service has it"

// retell wakes those who ask for an address that is held and may not share it, as far as why not reads differently by now.
func (a *Allocator) retell(n num) {
	if len(a.waiting.lines) == 0 {
		return
	}
	addr := addrOf(n)
	l := a.waiting.lines[Cause{Kind: CauseAddress, Address: addr}]
	if l == nil {
		return
	}
	was, is := l.manner, a.mannerOf(n)
	l.manner = is
	if was != nil && (was.alone != is.alone || !slices.Equal(was.groups, is.groups)) {
		a.waiting.wakeSharers(l, addr, func(group Cause) bool { return was.whyNot(group) != is.whyNot(group) })
	}
}

// arrive books a new claim; first is the first claim on its address, 0 when there was none.
func (a *Allocator) arrive(c, first id) {
	it := a.ledger.claims.at(c)
	defer a.retell(it.addr)
	s := a.sites[it.addr]
	if s == nil {
		if first != 0 || a.ledger.termsOf(a.ledger.holders.at(it.holder)).sharing != "" {
			a.joinable(a.build(it.addr))
		}
		return
	}
	s.enter(a, it, +1)
	if a.regroup(s) {
		a.joinable(s)
	} else if s.parts != nil {
		if part := a.part(s, a.ledger.holders.at(it.holder).namespace); part != nil {
			a.stirGroup(part, s.suitsLine) // it costs the others of the namespace nothing now
		}
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
	if a.regroup(s) {
		a.joinable(s)
	} else if s.parts != nil {
		a.part(s, a.ledger.holders.at(it.holder).namespace)
	}
	a.retell(it.addr)
}

// rebuild makes the sites anew, by the pools that there are. An edit of a pool moves nobody: who may not share any more
// by it is tolerated.
func (a *Allocator) rebuild() {
	old := a.sites
	a.sites, a.groups = map[num]*site{}, map[Cause]*group{}
	for _, n := range slices.SortedFunc(maps.Keys(old), num.Cmp) {
		is, changed := a.remake(n)
		a.retell(n)
		was := old[n].in
		if is.in != nil && (was == nil || was.key != is.in.key || is.open != old[n].open) {
			a.joinable(is)
		}
		if !changed && (was == nil) == (is.in == nil) {
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
