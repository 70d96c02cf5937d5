package bgp

import (
	"fmt"
	"net/netip"
	"slices"
)

// With returns a set with some routes in place of those to the same prefixes, and without others. It costs a copy of the
// set, and no more for routes that stay.
func (s *Routes) With(upsert []Route, remove []netip.Prefix) (*Routes, error) {
	changes, err := NewRoutes(upsert)
	if err != nil {
		return nil, err
	}
	gone := slices.SortedFunc(slices.Values(remove), comparePrefixes)
	for _, p := range gone {
		if _, both := slices.BinarySearchFunc(changes.sorted, p, comparePrefix); both {
			return nil, fmt.Errorf("route to %s: put in and taken out at once", p)
		}
	}
	rest, out := s.All(), make([]Route, 0, s.Len()+changes.Len())
	// skip copies what comes before a prefix, and leaves out the route to it.
	skip := func(p netip.Prefix) {
		i, found := slices.BinarySearchFunc(rest, p, comparePrefix)
		out = append(out, rest[:i]...)
		if found {
			i++
		}
		rest = rest[i:]
	}
	for _, r := range changes.sorted {
		for len(gone) > 0 && comparePrefixes(gone[0], r.Prefix) < 0 {
			skip(gone[0])
			gone = gone[1:]
		}
		skip(r.Prefix)
		out = append(out, r)
	}
	for _, p := range gone {
		skip(p)
	}
	return &Routes{sorted: append(out, rest...)}, nil
}

func comparePrefix(r Route, p netip.Prefix) int { return comparePrefixes(r.Prefix, p) }

// Get returns the route to a prefix.
func (s *Routes) Get(p netip.Prefix) (Route, bool) {
	i, found := slices.BinarySearchFunc(s.All(), p, comparePrefix)
	if !found {
		return Route{}, false
	}
	return s.sorted[i], true
}
