package ipam

import (
	"hash/maphash"
	"net/netip"
	"slices"
)

// Key names a Service.
type Key struct{ Namespace, Name string }

// String returns namespace/name.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Compare orders keys by namespace, then by name.
func (k Key) Compare(o Key) int {
	switch {
	case k == o:
		return 0
	case k.Namespace < o.Namespace || k.Namespace == o.Namespace && k.Name < o.Name:
		return -1
	default:
		return 1
	}
}

// Port is a port that a Service listens on. Two Services that both hold an address clash where they have a
// port in common.
type Port struct {
	Protocol string
	Port     uint16
}

// ledger is who holds what. An address has a set of holders, for Services may share one, and a Service has a
// set of addresses, for it may have two families, and old and new while it swaps.
//
//	holder ──first──► claim ──next──► claim          a Service's claims
//	                    ▲
//	address ──byAddr────┘ ──beside──► claim          the claims on an address
type ledger struct {
	holders    slab[holder]
	claims     slab[claim]
	byKey      index // holders
	byAddr     index // the first claim on each address
	namespaces map[string]*namespace
	terms      slab[terms]
	byTerms    map[string]id // terms by what they say
	saying     []byte        // to write that into
	seed       maphash.Seed
}

// holder is a Service that holds something.
type holder struct {
	namespace *namespace
	name      string
	terms     id
	first     id     // claim
	created   uint32 // in seconds since 1970
	foreign   bool   // what it holds was not assigned by us: it only stands in the way
}

func (h *holder) key() Key { return Key{h.namespace.name, h.name} }

// claim is one Service's hold on one address.
type claim struct {
	addr    num
	pool    id // that the address counts in; 0 when the claim is foreign
	holder  id
	next    id   // of the same Service
	beside  id   // on the same address
	before  id   // on the same address: whose beside this is
	leaving bool // the Service is on its way to another address: to be freed once that is written
	written bool // the Service's status has shown it
	right   right
	stands  standing
}

// right is the Service's right to an address that it has beside others: some of these.
type right uint8

const (
	loose   right = 1 << iota // it was shared against the rules when it was adopted, which is tolerated
	ousted                    // another Service has the better right to it
	yielded                   // and it is leaving for that
)

func (r right) is(what right) bool { return r&what != 0 }

func (r *right) set(what right, is bool) {
	*r &^= what
	if is {
		*r |= what
	}
}

// namespace is what Services of one namespace hold together.
type namespace struct {
	name    string
	holders int
	held    map[*pool]int64 // distinct addresses by pool
}

func newLedger() *ledger {
	return &ledger{namespaces: map[string]*namespace{}, byTerms: map[string]id{}, seed: maphash.MakeSeed()}
}

func (l *ledger) hashKey(k Key) uint32 {
	return uint32(maphash.String(l.seed, k.Namespace)*0x9e3779b97f4a7c15>>32 ^ maphash.String(l.seed, k.Name))
}

func (l *ledger) hashAddr(n num) uint32 { return uint32(maphash.Comparable(l.seed, n)) }

// find returns the place of a Service, 0 when it holds nothing.
func (l *ledger) find(k Key) id {
	return l.byKey.find(l.hashKey(k), func(i id) bool {
		h := l.holders.at(i)
		return h.name == k.Name && h.namespace.name == k.Namespace
	})
}

// on returns the first claim on an address, 0 when nobody holds it.
func (l *ledger) on(n num) id {
	return l.byAddr.find(l.hashAddr(n), func(i id) bool { return l.claims.at(i).addr == n })
}

// enter makes a place for a Service that has none.
func (l *ledger) enter(k Key, t terms, created uint32) id {
	ns := l.namespaces[k.Namespace]
	if ns == nil {
		ns = &namespace{name: k.Namespace, held: map[*pool]int64{}}
		l.namespaces[k.Namespace] = ns
	}
	ns.holders++
	i := l.holders.alloc()
	*l.holders.at(i) = holder{namespace: ns, name: k.Name, terms: l.intern(t), created: created}
	l.byKey.insert(l.hashKey(k), i)
	return i
}

// drop forgets a Service that has no claims left.
func (l *ledger) drop(i id) {
	ns := l.holders.at(i).namespace
	l.unref(l.holders.at(i).terms)
	l.byKey.remove(l.hashKey(l.holders.at(i).key()), i)
	l.holders.free(i)
	if ns.holders--; ns.holders == 0 {
		delete(l.namespaces, ns.name)
	}
}

// add gives a Service a claim, behind those it has. beside is the first claim on the address, 0 when nobody else
// has it.
func (l *ledger) add(h id, n num, p, beside id) id {
	c := l.claims.alloc()
	*l.claims.at(c) = claim{addr: n, pool: p, holder: h}

	end := &l.holders.at(h).first
	for *end != 0 {
		end = &l.claims.at(*end).next
	}
	*end = c

	if beside == 0 {
		l.byAddr.insert(l.hashAddr(n), c)
		return c
	}
	first, it := l.claims.at(beside), l.claims.at(c)
	it.before, it.beside = beside, first.beside
	if first.beside != 0 {
		l.claims.at(first.beside).before = c
	}
	first.beside = c
	return c
}

// remove takes a claim away; first is the first claim on its address. left says that somebody still has it.
func (l *ledger) remove(c, first id) (left bool) {
	it := *l.claims.at(c)

	link := &l.holders.at(it.holder).first
	for *link != c {
		link = &l.claims.at(*link).next
	}
	*link = it.next

	if it.beside != 0 {
		l.claims.at(it.beside).before = it.before
	}
	if first != c {
		l.claims.at(it.before).beside = it.beside
		left = true
	} else {
		hash := l.hashAddr(it.addr)
		l.byAddr.remove(hash, c)
		if left = it.beside != 0; left {
			l.byAddr.insert(hash, it.beside)
		}
	}
	l.claims.free(c)
	return left
}

// of calls f with each claim of a Service, in the order in which it got them, until f returns false. f may
// remove the claim it is given.
func (l *ledger) of(h id, f func(id, *claim) bool) {
	if h == 0 {
		return
	}
	for c := l.holders.at(h).first; c != 0; {
		it := l.claims.at(c)
		next := it.next
		if !f(c, it) {
			return
		}
		c = next
	}
}

// besides calls f with each claim on an address until f returns false.
func (l *ledger) besides(n num, f func(id, *claim) bool) { l.chain(l.on(n), f) }

// chain calls f with a claim and those behind it on the same address until f returns false.
func (l *ledger) chain(c id, f func(id, *claim) bool) {
	for c != 0 {
		it := l.claims.at(c)
		next := it.beside
		if !f(c, it) {
			return
		}
		c = next
	}
}

// addresses calls f with every address that is held, in no order.
func (l *ledger) addresses(f func(num)) {
	for _, c := range l.byAddr.cells {
		if c.id != 0 {
			f(l.claims.at(c.id).addr)
		}
	}
}

// intern returns the place of terms, one for all that are equal, and counts its use.
func (l *ledger) intern(t terms) id {
	l.saying = t.say(l.saying[:0])
	i := l.byTerms[string(l.saying)]
	if i == 0 {
		i = l.terms.alloc()
		*l.terms.at(i) = terms{ports: slices.Clone(t.ports), sharing: t.sharing, pool: t.pool}
		l.byTerms[string(l.saying)] = i
	}
	l.terms.at(i).refs++
	return i
}

// unref counts a use of terms less.
func (l *ledger) unref(i id) {
	t := l.terms.at(i)
	if t.refs--; t.refs > 0 {
		return
	}
	l.saying = t.say(l.saying[:0])
	delete(l.byTerms, string(l.saying))
	l.terms.free(i)
}

// termsOf returns the terms of a Service that has a place.
func (l *ledger) termsOf(h *holder) *terms { return l.terms.at(h.terms) }

// held lists what a Service holds.
func (l *ledger) held(h id) []netip.Addr {
	var out []netip.Addr
	l.of(h, func(_ id, c *claim) bool {
		out = append(out, addrOf(c.addr))
		return true
	})
	return out
}
