package ipam

import (
	"slices"

	"github.com/google/btree"
	"go4.org/netipx"
)

// span is the addresses lo…hi, both included, of one family.
type span struct{ lo, hi num }

// byEnd orders spans that do not overlap. The key is the end, because giving out the lowest address of a
// span changes its beginning, which then needs no re-ordering.
func byEnd(a, b span) bool { return a.hi.less(b.hi) }

func (s span) has(n num) bool { return !n.less(s.lo) && !s.hi.less(n) }

func (s span) size() Count { return s.hi.minus(s.lo).next() }

func spanOf(r netipx.IPRange) span { return span{numOf(r.From()), numOf(r.To())} }

func (s span) String() string {
	if s.lo == s.hi {
		return addrOf(s.lo).String()
	}
	return netipx.IPRangeFrom(addrOf(s.lo), addrOf(s.hi)).String()
}

// normalize sorts spans and joins those that touch or overlap.
func normalize(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.lo.Cmp(b.lo) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && !out[n-1].hi.next().less(s.lo) && familyOf(out[n-1].lo) == familyOf(s.lo) {
			if out[n-1].hi.less(s.hi) {
				out[n-1].hi = s.hi
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// subtract returns what of the spans a is in none of the spans b; both are normalized, and so is the result.
func subtract(a, b []span) []span {
	var out []span
	i := 0
	for _, s := range a {
		for i < len(b) && b[i].hi.less(s.lo) {
			i++
		}
		left := true
		for j := i; j < len(b) && !s.hi.less(b[j].lo); j++ {
			if s.lo.less(b[j].lo) {
				out = append(out, span{s.lo, b[j].lo.prev()})
			}
			if !b[j].hi.less(s.hi) {
				left = false
				break
			}
			s.lo = b[j].hi.next()
		}
		if left {
			out = append(out, s)
		}
	}
	return out
}

// find returns the one of the normalized spans that has n.
func find(spans []span, n num) (span, bool) {
	i, _ := slices.BinarySearchFunc(spans, n, func(s span, n num) int { return s.hi.Cmp(n) })
	if i < len(spans) && spans[i].has(n) {
		return spans[i], true
	}
	return span{}, false
}

// usable says which addresses of a pool are given out at all: every one, or (avoidBuggyIPs) only those IPv4
// addresses that end neither in .0 nor in .255. It is a rule rather than a set, so that a /8 costs no more
// than a /24: a span's ends are always usable, its inside may have holes that the rule tells.
type usable struct{ avoidBuggy bool }

func (u usable) holds(n num) bool {
	return !u.avoidBuggy || familyOf(n) != IPv4 || (byte(n.lo) != 0 && byte(n.lo) != 255)
}

// trim moves the ends of s inwards to usable addresses; ok is false when there are none.
func (u usable) trim(s span) (_ span, ok bool) {
	for !u.holds(s.lo) {
		if s.lo == s.hi {
			return span{}, false
		}
		s.lo = s.lo.next()
	}
	for !u.holds(s.hi) {
		s.hi = s.hi.prev() // ends at s.lo at the latest, which is usable
	}
	return s, true
}

// count returns how many usable addresses s has.
func (u usable) count(s span) Count {
	n := s.size()
	if !u.avoidBuggy || familyOf(s.lo) != IPv4 {
		return n
	}
	// buggy counts the addresses up to x that end in 0 or 255.
	buggy := func(x uint64) uint64 { return x>>8*2 + 1 + (x&0xff+1)>>8 }
	return n.minus(CountOf(buggy(s.hi.lo) - buggy(s.lo.lo-1)))
}

// adjacent reports whether no usable address lies between a and b, a < b.
func (u usable) adjacent(a, b num) bool {
	for n := a.next(); n != b; n = n.next() {
		if u.holds(n) {
			return false
		}
	}
	return true
}

// freeSpace is the set of free addresses of one family in a pool: spans in a B-tree, so that every
// operation costs O(log of the number of spans) and an untouched /32 is one span.
type freeSpace struct {
	rule  usable
	spans *btree.BTreeG[span]
	count Count
}

func newFreeSpace(rule usable) *freeSpace {
	return &freeSpace{rule: rule, spans: btree.NewG(32, byEnd)}
}

// addSpan adds a span that is free as a whole and touches no other.
func (f *freeSpace) addSpan(s span) {
	if s, ok := f.rule.trim(s); ok {
		f.spans.ReplaceOrInsert(s)
		f.count = f.count.plus(f.rule.count(s))
	}
}

// at returns the span that has n, or else the first one after n.
func (f *freeSpace) at(n num) (_ span, ok bool) {
	var found span
	f.spans.AscendGreaterOrEqual(span{hi: n}, func(s span) bool {
		found, ok = s, true
		return false
	})
	return found, ok
}

// before returns the last span that ends before n.
func (f *freeSpace) before(n num) (_ span, ok bool) {
	var found span
	f.spans.DescendLessOrEqual(span{hi: n.prev()}, func(s span) bool {
		found, ok = s, true
		return false
	})
	return found, ok
}

func (f *freeSpace) has(n num) bool {
	s, ok := f.at(n)
	return ok && s.has(n) && f.rule.holds(n)
}

// lowest returns the lowest free address.
func (f *freeSpace) lowest() (num, bool) {
	s, ok := f.spans.Min()
	return s.lo, ok
}

// from returns the first free address at or after n, and the lowest one when there is none.
func (f *freeSpace) from(n num) (num, bool) {
	s, ok := f.at(n)
	if !ok {
		return f.lowest()
	}
	if n.less(s.lo) {
		return s.lo, true
	}
	for !f.rule.holds(n) { // s.hi is usable, so this ends inside s
		n = n.next()
	}
	return n, true
}

// take removes n, which is free.
func (f *freeSpace) take(n num) {
	s, _ := f.at(n)
	left, right := span{s.lo, n.prev()}, span{n.next(), s.hi}
	if n == s.hi {
		f.spans.Delete(s)
	} else {
		// n isn't the end, which is usable: something is left to the right of it.
		right, _ = f.rule.trim(right)
		f.spans.ReplaceOrInsert(right)
	}
	if n != s.lo {
		left, _ = f.rule.trim(left)
		f.spans.ReplaceOrInsert(left)
	}
	f.count = f.count.prev()
}

// put returns n, which is usable and not free.
func (f *freeSpace) put(n num) {
	s := span{n, n}
	if left, ok := f.before(n); ok && f.rule.adjacent(left.hi, n) {
		f.spans.Delete(left)
		s.lo = left.lo
	}
	if right, ok := f.at(n); ok && f.rule.adjacent(n, right.lo) {
		s.hi = right.hi
	}
	f.spans.ReplaceOrInsert(s)
	f.count = f.count.next()
}
