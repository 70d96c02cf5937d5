package layer2

import (
	"encoding/binary"
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// A table is what is answered on one segment; immutable, but for gates that open. Another version of it that differs in a
// few addresses costs little: see bindings.
type table struct {
	bindings bindings
	// addresses are those of bindings, in order, and announced those that this node does not only
	// stand by for.
	addresses, announced []netip.Addr
}

// noAnswers is the table of a segment that has none.
var noAnswers = &table{}

// An edit is how a table is to become another one: what is said of some addresses, and which are gone. Those that
// already are as it says are left as they are.
type edit struct {
	said map[netip.Addr]binding
	gone []netip.Addr
}

// revise returns the table that e makes of t, t itself if there is nothing to change; which addresses that one has to answer
// with another MAC than t, or t has not to answer at all; and those that t has to answer and it no longer. Both are in
// no order.
func (t *table) revise(e edit) (n *table, taken, withdrawn []netip.Addr) {
	changed := make(map[netip.Addr]binding, len(e.said))
	var added, begun []netip.Addr
	gone, ended := make(map[netip.Addr]bool), make(map[netip.Addr]bool)
	for a, b := range e.said {
		was, had := t.bindings.get(a)
		if had && was.same(b) {
			continue
		}
		changed[a] = b.after(was, had)
		if !had {
			added = append(added, a)
		}
		switch answered := had && !was.standby; {
		case b.standby && answered:
			ended[a] = true
		case !b.standby && !answered:
			begun = append(begun, a)
			taken = append(taken, a)
		case !b.standby && b.mac != was.mac:
			taken = append(taken, a)
		}
	}
	for _, a := range e.gone {
		if was, had := t.bindings.get(a); had {
			gone[a] = true
			if !was.standby {
				ended[a] = true
			}
		}
	}
	if len(changed)+len(gone) == 0 {
		return t, nil, nil
	}
	n = &table{bindings: t.bindings.with(changed, gone), addresses: merge(t.addresses, added, gone), announced: merge(t.announced, begun, ended)}
	if len(n.announced) == len(n.addresses) {
		n.announced = n.addresses // as it is where nobody stands by for anybody, thousands of times
	}
	return n, taken, slices.Collect(maps.Keys(ended))
}

// merge returns list, which is in order, with what is added, which is not in it, and without what is dropped.
func merge(list, added []netip.Addr, dropped map[netip.Addr]bool) []netip.Addr {
	if len(added)+len(dropped) == 0 {
		return list
	}
	slices.SortFunc(added, netip.Addr.Compare)
	merged := make([]netip.Addr, 0, max(0, len(list)+len(added)-len(dropped)))
	for _, a := range list {
		for len(added) > 0 && added[0].Less(a) {
			merged, added = append(merged, added[0]), added[1:]
		}
		if len(dropped) == 0 || !dropped[a] {
			merged = append(merged, a)
		}
	}
	return append(merged, added...)
}

// changed returns the addresses of which n says something else than t, or that t has not, and those that n has
// no longer, both in order.
func (t *table) changed(n *table) (changed, gone []netip.Addr) {
	t.bindings.differences(n.bindings, func(a netip.Addr, stays bool) {
		if stays {
			changed = append(changed, a)
		} else {
			gone = append(gone, a)
		}
	})
	slices.SortFunc(changed, netip.Addr.Compare)
	slices.SortFunc(gone, netip.Addr.Compare)
	return changed, gone
}

// bindings are what a table says, by address: an immutable map. A version that differs in a few addresses shares with the one
// before all buckets but theirs, so that with ten thousand addresses one more costs what it costs with a hundred, and
// what differs is found as fast.
type bindings struct {
	buckets *[bucketCount]*bucket // nil for none
	count   int
}

// A bucket has some of the addresses; immutable.
type bucket struct{ at map[netip.Addr]binding }

const bucketCount = 256

// bucketOf spreads addresses, whichever bits it is that they differ in.
func bucketOf(a netip.Addr) int {
	b := a.As16()
	bits := binary.BigEndian.Uint64(b[:8])*31 + binary.BigEndian.Uint64(b[8:])
	return int(bits * 0x9e3779b97f4a7c15 >> 56)
}

func (b bindings) len() int { return b.count }

func (b bindings) get(a netip.Addr) (binding, bool) {
	if b.buckets == nil {
		return binding{}, false
	}
	s := b.buckets[bucketOf(a)]
	if s == nil {
		return binding{}, false
	}
	found, has := s.at[a]
	return found, has
}

func (b bindings) has(a netip.Addr) bool {
	_, has := b.get(a)
	return has
}

// all returns what there is, in no order.
func (b bindings) all() iter.Seq2[netip.Addr, binding] {
	return func(yield func(netip.Addr, binding) bool) {
		if b.buckets == nil {
			return
		}
		for _, s := range b.buckets {
			if s == nil {
				continue
			}
			for a, one := range s.at {
				if !yield(a, one) {
					return
				}
			}
		}
	}
}

// with returns the bindings with those that are said, and without those that are gone, which are among b's and not among them.
func (b bindings) with(said map[netip.Addr]binding, gone map[netip.Addr]bool) bindings {
	next := bindings{buckets: new([bucketCount]*bucket)}
	if b.buckets != nil {
		*next.buckets = *b.buckets
	}
	var fresh [bucketCount]bool
	at := func(a netip.Addr) map[netip.Addr]binding {
		i := bucketOf(a)
		if !fresh[i] {
			fresh[i] = true
			s := &bucket{make(map[netip.Addr]binding)}
			if old := next.buckets[i]; old != nil {
				maps.Copy(s.at, old.at)
			}
			next.buckets[i] = s
		}
		return next.buckets[i].at
	}
	next.count = b.count
	for a, one := range said {
		m := at(a)
		before := len(m)
		m[a] = one
		next.count += len(m) - before
	}
	for a := range gone {
		delete(at(a), a)
		next.count--
	}
	return next
}

// differences tells of each address of which b and n do not say the same, gates included, and whether n has it.
func (b bindings) differences(n bindings, tell func(a netip.Addr, stays bool)) {
	var none [bucketCount]*bucket
	old, now := &none, &none
	if b.buckets != nil {
		old = b.buckets
	}
	if n.buckets != nil {
		now = n.buckets
	}
	for i := range bucketCount {
		if old[i] == now[i] {
			continue
		}
		var was, is map[netip.Addr]binding
		if old[i] != nil {
			was = old[i].at
		}
		if now[i] != nil {
			is = now[i].at
		}
		for a, one := range is {
			if before, had := was[a]; !had || before != one {
				tell(a, true)
			}
		}
		for a := range was {
			if _, stays := is[a]; !stays {
				tell(a, false)
			}
		}
	}
}
