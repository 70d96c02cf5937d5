package ipam

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// terms are what a Service brings that matters to others at the same address. Those of Services alike are one value.
type terms struct {
	ports []Port
	// sharing is the sharing key and, with externalTrafficPolicy Local, whose Pods they are: Services share an address
	// only where that is equal. It is "" for a Service that shares with nobody.
	sharing string
	// pool is the one that the Service asks for, "" for none: its addresses go on counting there when others get them.
	pool string
	refs int
}

// termsOf reads the terms of a Service from its request.
func termsOf(r Request) terms {
	t := terms{ports: r.Ports, pool: r.Pool}
	switch {
	case r.SharingKey == "" || len(r.Ports) == 0:
	case !r.Local:
		t.sharing = strconv.Quote(r.SharingKey) + "\x00" // quoted, for a key may have any bytes
	case len(r.Selector) > 0: // without a selector nothing says that the Pods are the same
		var b strings.Builder
		b.WriteString(strconv.Quote(r.SharingKey) + "\x00" + r.Service.Namespace)
		for _, k := range slices.Sorted(maps.Keys(r.Selector)) {
			b.WriteString("\x00" + k + "\x00" + r.Selector[k])
		}
		t.sharing = b.String()
	}
	return t
}

// say writes terms down, such that equal ones, and no others, are written alike.
func (t terms) say(to []byte) []byte {
	to = append(append(to, t.pool...), 0)
	to = append(binary.AppendUvarint(to, uint64(len(t.sharing))), t.sharing...)
	for _, p := range t.ports {
		to = append(append(to, 0, byte(p.Port>>8), byte(p.Port)), p.Protocol...)
	}
	return to
}

func (t terms) equal(o terms) bool {
	return t.sharing == o.sharing && t.pool == o.pool && slices.Equal(t.ports, o.ports)
}

// common reports whether two Services' ports have one in common. No ports are all ports.
func common(x, y []Port) bool {
	return len(x) == 0 || len(y) == 0 || slices.ContainsFunc(x, func(p Port) bool { return slices.Contains(y, p) })
}

// group returns the cause that stands for the Services which may share addresses of a family in a pool with one, ports
// aside; the zero Cause when it shares with nobody.
func (t terms) group(p *pool, f Family, namespace string) Cause {
	if t.sharing == "" {
		return Cause{}
	}
	if p.ShareAcross {
		namespace = ""
	}
	return Cause{Kind: CauseSharing, Pool: p.Name, Family: f, Namespace: namespace, Sharing: t.sharing}
}

// fit says how a Service stands at an address that it has beside others.
type fit uint8

const (
	fits      fit = iota // all may share it, or it has the address alone
	tolerated            // they may not, but had it together when they were adopted, and no ports clash
	loses                // another one has the better right to it
)

// fitting says how a Service with these terms would stand at an address that it has. beaten are the claims of those
// that have to go for it.
func (a *Allocator) fitting(i id, created uint32, t terms) (how fit, beaten []id) {
	it := a.ledger.claims.at(i)
	s := a.sites[it.addr]
	if s == nil || s.mates == 1 {
		return fits, nil
	}
	me := a.ledger.holders.at(it.holder)
	group := t.group(a.poolOf(it), familyOf(it.addr), me.namespace.name)
	if s.suits(group, t.ports, a.ledger.termsOf(me).group(a.poolOf(it), familyOf(it.addr), me.namespace.name), a.ledger.termsOf(me).ports) {
		return fits, nil
	}
	a.ledger.besides(it.addr, func(j id, o *claim) bool {
		other := a.ledger.holders.at(o.holder)
		if j == i || other.foreign || o.leaving {
			return true
		}
		clash := common(t.ports, a.ledger.termsOf(other).ports)
		alike := group != (Cause{}) && group == a.ledger.termsOf(other).group(a.poolOf(o), familyOf(o.addr), other.namespace.name)
		switch {
		case !clash && alike:
		case !clash && it.right.is(loose) && o.right.is(loose):
			how = max(how, tolerated)
		case it.right.is(ousted) && !o.right.is(ousted), it.right.is(ousted) == o.right.is(ousted) && other.precedes(me.key(), created):
			how = loses
			return false
		default:
			beaten = append(beaten, j)
		}
		return true
	})
	if how == loses {
		return loses, nil
	}
	return how, beaten
}

// precedes reports whether a Service has the better right to an address than one of a name and time of creation.
func (h *holder) precedes(k Key, created uint32) bool {
	return h.created < created || h.created == created && h.key().Compare(k) < 0
}

// agree notes a Service's terms by now, and has those go that can't stay where it is. The claims of the grants are
// those that it keeps.
func (a *Allocator) agree(h id, created uint32, t terms, kept []grant) {
	for _, g := range kept {
		if g.claim == 0 {
			continue
		}
		how, beaten := a.fitting(g.claim, created, t)
		it := a.ledger.claims.at(g.claim)
		it.right.set(ousted, false)
		it.right.set(loose, it.right.is(loose) && how == tolerated)
		for _, j := range beaten {
			a.oust(j)
		}
	}
	a.ledger.holders.at(h).created = created
	a.setTerms(h, t)
}

// oust has a Service give up an address, unless it has the right to it again when it asks next.
func (a *Allocator) oust(c id) {
	if it := a.ledger.claims.at(c); !it.right.is(ousted) {
		it.right.set(ousted, true)
		a.waiting.call(a.ledger.holders.at(it.holder).key())
	}
}

// setTerms has a Service's terms be these.
func (a *Allocator) setTerms(h id, t terms) {
	holder := a.ledger.holders.at(h)
	was := holder.terms
	old := *a.ledger.terms.at(was)
	if old.equal(t) {
		return
	}
	holder.terms = a.ledger.intern(t)
	a.ledger.of(h, func(c id, it *claim) bool {
		if it.pool == 0 {
			return true
		}
		defer a.retell(it.addr)
		if a.sites[it.addr] == nil && t.sharing != "" {
			a.joinable(a.build(it.addr))
			return true
		}
		if s := a.sites[it.addr]; s != nil {
			s.count(a, it, t, +1)
			s.count(a, it, old, -1)
			if a.regroup(s) {
				a.joinable(s)
			}
		}
		a.waiting.wakeAll(Cause{Kind: CauseAddress, Address: addrOf(it.addr), Holding: true})
		return true
	})
	a.ledger.unref(was)
}

// join returns the lowest address of a family in a pool that Services have with which this one may share it, and where
// none of its ports is in use. within says that it costs nothing of the namespace's quota. When there is none, why says
// what would have to change.
func (s *search) join(p *pool, f Family) (n num, within, ok bool, why []Cause) {
	group := s.terms.group(p, f, s.r.Service.Namespace)
	if group == (Cause{}) {
		return num{}, false, false, nil
	}
	quota := s.quotaLeft(p, 1)
	if !quota { // what its namespace has costs nothing
		group.Namespace = s.r.Service.Namespace
		_, cause := s.quotaVerdict(p)
		why = append(why, cause)
	}
	g := s.a.groups[group]
	for _, port := range s.r.Ports {
		if g == nil || g.taken[port] == g.sites.Len() {
			group.Port = port
			return num{}, false, false, append(why, group)
		}
	}
	ns := s.a.ledger.namespaces[s.r.Service.Namespace]
	s.a.placesFor(g, s.r.Ports, func(at *site) bool {
		if !s.has(at.addr) {
			n, within, ok = at.addr, ns != nil && at.spaces[ns] > 0, true
		}
		return !ok
	})
	if !ok {
		return num{}, false, false, append(why, group.of(s.r.Ports))
	}
	return n, within, true, nil
}

// has reports whether the Service has a claim on an address.
func (s *search) has(n num) (has bool) {
	s.a.ledger.of(s.holder, func(_ id, it *claim) bool { has = has || it.addr == n; return !has })
	return has
}

// mates is what the Service waits for that asks for an address which it may share: that a port of its gets free there, or
// that there is somebody to share it with.
func (s *search) mates(p *pool, n num) []Cause {
	c := s.terms.group(p, familyOf(n), s.r.Service.Namespace)
	if c == (Cause{}) {
		return nil
	}
	c.Address, c.Port = addrOf(n), s.r.Ports[0]
	if at := s.a.sites[n]; at != nil {
		if i := slices.IndexFunc(s.r.Ports, func(p Port) bool { return at.ports[p] > 0 }); i >= 0 {
			c.Port = s.r.Ports[i] // the one that whyNotShare tells of
		}
	}
	return []Cause{c}
}

// joinNamed grants an address that the Service asks for and others have, or says why not.
func (s *search) joinNamed(p *pool, n num) (g grant, reason clarion.Reason, text string, causes []Cause) {
	causes = append(s.mates(p, n), Cause{Kind: CauseAddress, Address: addrOf(n)})
	group := s.terms.group(p, familyOf(n), s.r.Service.Namespace)
	at := s.a.sites[n]
	if text = s.whyNotShare(n, group); text != "" {
		return grant{}, clarion.ReasonAddressInUse, text, causes
	}
	ns := s.a.ledger.namespaces[s.r.Service.Namespace]
	within := ns != nil && at.spaces[ns] > 0
	if !within && !s.quotaLeft(p, 1) {
		v, cause := s.quotaVerdict(p)
		return grant{}, v.Reason, "pool " + p.Name + ": " + v.Text, append(causes, cause)
	}
	return grant{addr: n, pool: p, within: within}, "", "", nil
}

// whyNotShare says why the Service, which is of a group, can't share an address with those who have it, or "".
func (s *search) whyNotShare(n num, group Cause) string {
	switch {
	case s.r.SharingKey == "":
		return anothers
	case group == (Cause{}):
		return anothers + ", and a Service with externalTrafficPolicy Local and no selector shares with nobody"
	}
	if text := s.a.mannerOf(n).whyNot(group); text != "" {
		return text
	}
	for _, port := range s.r.Ports {
		if s.a.sites[n].ports[port] > 0 {
			return fmt.Sprintf("%s and a port of this one there (%s/%d)", anothers, port.Protocol, port.Port)
		}
	}
	return ""
}
