package routes

import (
	"slices"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// attributes are what a route says besides its prefix. Routes share them.
type attributes struct {
	route bgp.Route
	// none says that no advertisement that meets here goes to the group.
	none bool
}

type mergeKey struct {
	ads   string
	group int
}

// merge returns what the advertisements with the given numbers, the oldest first, say together to a group.
func (v *view) merge(ads []int, k string, g int) attributes {
	if m, ok := v.merged[mergeKey{k, g}]; ok {
		return m
	}
	m := attributes{none: true}
	group := v.groups[g]
	for _, i := range ads {
		if !group.ads[i] {
			continue
		}
		ad := v.ads[i]
		m.none = false
		m.route.Communities = append(m.route.Communities, ad.standard...)
		m.route.LargeCommunities = append(m.route.LargeCommunities, ad.large...)
		if m.route.MED == nil {
			m.route.MED = ad.MED
		}
		if m.route.LocalPref == nil && group.internal {
			m.route.LocalPref = ad.LocalPref
		}
		if m.route.Prepend == 0 && !group.internal {
			m.route.Prepend = ad.Prepend
		}
	}
	slices.Sort(m.route.Communities)
	m.route.Communities = slices.Compact(m.route.Communities)
	slices.SortFunc(m.route.LargeCommunities, func(a, b bgp.LargeCommunity) int { return slices.Compare(a[:], b[:]) })
	m.route.LargeCommunities = slices.Compact(m.route.LargeCommunities)
	v.merged[mergeKey{k, g}] = m
	return m
}
