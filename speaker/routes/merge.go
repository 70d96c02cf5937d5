package routes

import (
	"fmt"
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

// overruled says in what advertisements that meet on a prefix contradict an older one, toward any group: by the younger
// one's number and a phrase.
func (v *view) overruled(ads []int, tell func(ad int, phrase string)) {
	for _, g := range v.groups {
		var localPref, med, prepend *advertisement
		for _, i := range ads {
			ad := &v.ads[i]
			if !g.ads[i] {
				continue
			}
			hear(&med, ad, ad.MED != nil, func(older *advertisement) {
				if *older.MED != *ad.MED {
					tell(i, fmt.Sprintf("med is %d as BGPAdvertisement %s says, not %d", *older.MED, older.Name, *ad.MED))
				}
			})
			hear(&localPref, ad, ad.LocalPref != nil && g.internal, func(older *advertisement) {
				if *older.LocalPref != *ad.LocalPref {
					tell(i, fmt.Sprintf("localPref is %d as BGPAdvertisement %s says, not %d", *older.LocalPref, older.Name, *ad.LocalPref))
				}
			})
			hear(&prepend, ad, ad.Prepend != 0 && !g.internal, func(older *advertisement) {
				if older.Prepend != ad.Prepend {
					tell(i, fmt.Sprintf("asPathPrepend is %d as BGPAdvertisement %s says, not %d", older.Prepend, older.Name, ad.Prepend))
				}
			})
		}
	}
}

// hear takes note of the first advertisement that sets a value, and compares the others with it.
func hear(first **advertisement, ad *advertisement, sets bool, compare func(older *advertisement)) {
	switch {
	case !sets:
	case *first == nil:
		*first = ad
	default:
		compare(*first)
	}
}
