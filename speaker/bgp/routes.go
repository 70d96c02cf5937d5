package bgp

import (
	"fmt"
	"net/netip"
	"slices"
)

// Route is one prefix and what is said with it.
type Route struct {
	Prefix netip.Prefix
	// NextHop of the route; invalid means an address of this node that the router reaches.
	NextHop netip.Addr
	// LocalPref goes to iBGP peers alone; nil means 100.
	LocalPref *uint32
	// MED is the MULTI_EXIT_DISC; nil sends none.
	MED *uint32
	// Prepend is how many further times our ASN stands in the AS path toward eBGP peers.
	Prepend int
	// Communities (RFC 1997) and LargeCommunities (RFC 8092), in any order.
	Communities      []uint32
	LargeCommunities []LargeCommunity
}

// LargeCommunity is three numbers (RFC 8092).
type LargeCommunity [3]uint32

// GracefulShutdown is the community of routes that will go soon (RFC 8326).
const GracefulShutdown uint32 = 0xffff0000

// MaxPrepend bounds Route.Prepend.
const MaxPrepend = 64

// Equal tells whether both say the same.
func (r Route) Equal(o Route) bool {
	return r.Prefix == o.Prefix && r.NextHop == o.NextHop && equalNumber(r.LocalPref, o.LocalPref) && equalNumber(r.MED, o.MED) &&
		r.Prepend == o.Prepend && slices.Equal(r.Communities, o.Communities) && slices.Equal(r.LargeCommunities, o.LargeCommunities)
}

func equalNumber(a, b *uint32) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Routes is an immutable set of routes, one per prefix, in the order of prefixes.
type Routes struct{ sorted []Route }

// NewRoutes makes a set. It fails on an invalid prefix and on two routes for one prefix.
func NewRoutes(routes []Route) (*Routes, error) {
	s := &Routes{sorted: make([]Route, 0, len(routes))}
	for _, r := range routes {
		if !r.Prefix.IsValid() || r.Prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("route to %s: not a prefix", r.Prefix)
		}
		if r.Prepend < 0 || r.Prepend > MaxPrepend {
			return nil, fmt.Errorf("route to %s: prepend %d is not from 0 to %d", r.Prefix, r.Prepend, MaxPrepend)
		}
		r.Prefix = r.Prefix.Masked()
		r.NextHop = r.NextHop.Unmap()
		r.Communities = slices.Compact(slices.Sorted(slices.Values(r.Communities)))
		r.LargeCommunities = slices.SortedFunc(slices.Values(r.LargeCommunities), func(a, b LargeCommunity) int { return slices.Compare(a[:], b[:]) })
		r.LargeCommunities = slices.Compact(r.LargeCommunities)
		s.sorted = append(s.sorted, r)
	}
	slices.SortFunc(s.sorted, func(a, b Route) int { return comparePrefixes(a.Prefix, b.Prefix) })
	for i := 1; i < len(s.sorted); i++ {
		if s.sorted[i].Prefix == s.sorted[i-1].Prefix {
			return nil, fmt.Errorf("two routes to %s", s.sorted[i].Prefix)
		}
	}
	return s, nil
}

// Len is how many routes there are.
func (s *Routes) Len() int {
	if s == nil {
		return 0
	}
	return len(s.sorted)
}

// All are the routes in the order of prefixes. They must not be changed.
func (s *Routes) All() []Route {
	if s == nil {
		return nil
	}
	return s.sorted
}

// difference is what makes s of old: routes that are new or say something else, and prefixes that are gone.
func (s *Routes) difference(old *Routes) (upsert []Route, remove []netip.Prefix) {
	if s == old {
		return nil, nil
	}
	a, b := old.All(), s.All()
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(a) == 0:
			return append(upsert, b...), remove
		case len(b) == 0 || comparePrefixes(a[0].Prefix, b[0].Prefix) < 0:
			remove = append(remove, a[0].Prefix)
			a = a[1:]
		case comparePrefixes(a[0].Prefix, b[0].Prefix) > 0:
			upsert = append(upsert, b[0])
			b = b[1:]
		default:
			if !a[0].Equal(b[0]) {
				upsert = append(upsert, b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
	return upsert, remove
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
