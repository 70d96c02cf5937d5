package bgp

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWithIsWhatNewRoutesMakes(t *testing.T) {
	prefixes := []netip.Prefix{}
	for _, s := range []string{"10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32", "192.0.2.1/32", "2001:db8::/64", "2001:db8::1/128"} {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	rapid.Check(t, func(t *rapid.T) {
		all := map[netip.Prefix]Route{}
		var s *Routes
		for range 6 {
			picked := rapid.SliceOfNDistinct(rapid.SampledFrom(prefixes), 0, 6, rapid.ID).Draw(t, "prefixes")
			cut := rapid.IntRange(0, len(picked)).Draw(t, "cut")
			var upsert []Route
			for _, p := range picked[:cut] {
				r := Route{Prefix: p, Prepend: rapid.IntRange(0, 3).Draw(t, "prepend"), Communities: []uint32{2, 1, 2}}
				upsert, all[p] = append(upsert, r), r
			}
			for _, p := range picked[cut:] {
				delete(all, p)
			}
			before := slices.Clone(s.All())
			next, err := s.With(upsert, picked[cut:])
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(before, s.All(), Route.Equal) {
				t.Fatal("With changed what it was called on")
			}
			s = next
			want, err := NewRoutes(slices.Collect(maps.Values(all)))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(s.All(), want.All(), Route.Equal) {
				t.Fatalf("got  %+v\nwant %+v", s.All(), want.All())
			}
			for _, p := range prefixes {
				r, found := s.Get(p)
				if w, there := all[p]; found != there || found && r.Prepend != w.Prepend {
					t.Fatalf("Get(%s) is %+v, %v", p, r, found)
				}
			}
		}
	})
	if _, err := (*Routes)(nil).With([]Route{{Prefix: prefixes[0]}}, prefixes[:1]); err == nil {
		t.Error("a route is put in and taken out at once")
	}
}
