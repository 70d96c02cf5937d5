package child

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// Whatever is wanted in whatever order, across sessions, refreshes and leaving: the router has it after take, by
// nothing said twice, and the counts are true.
func TestTheRouterHasWhatIsWanted(t *testing.T) {
	both := []bgp.Family{bgp.IPv4, bgp.IPv6}
	rapid.Check(t, func(t *rapid.T) {
		r := newRIB()
		want, has := map[netip.Prefix]handle{}, map[netip.Prefix]handle{}
		few := rapid.SampledFrom([]netip.Prefix{
			netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32"), netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8::1/128"),
		})
		steps := map[string]func(*rapid.T){
			"upsert": func(t *rapid.T) {
				med := rapid.Uint32Range(1, 3).Draw(t, "med")
				route := bgp.Route{Prefix: few.Draw(t, "prefix"), MED: &med}
				r.upsert(&route)
				want[route.Prefix] = intern(&route)
			},
			"remove": func(t *rapid.T) {
				p := few.Draw(t, "prefix")
				r.remove(p)
				delete(want, p)
			},
			"a new session": func(*rapid.T) { r.forget(); clear(has) },
			"refresh":       func(*rapid.T) { r.refresh(bgp.IPv4) },
			"take": func(t *rapid.T) {
				c := r.take(both)
				for _, p := range c.withdraw {
					if _, ok := has[p]; !ok {
						t.Fatalf("%s is withdrawn, and was never told", p)
					}
					delete(has, p)
				}
				for _, g := range c.announce {
					for _, p := range g.prefixes {
						has[p] = g.said
					}
				}
			},
			"": func(t *rapid.T) {
				if r.wanted != len(want) {
					t.Fatalf("%d are wanted, it counts %d", len(want), r.wanted)
				}
			},
		}
		t.Repeat(steps)
		steps["take"](t)
		if !maps.Equal(has, want) || r.sent != len(has) || len(r.dirty) != 0 || len(r.routes) != len(want) {
			t.Fatalf("the router has %v, want %v; %+v", has, want, r)
		}
		if c := r.take(both); len(c.withdraw)+len(c.announce) > 0 {
			t.Fatalf("said twice: %+v", c)
		}
	})
}

func TestLeavingMarksRoutes(t *testing.T) {
	r := newRIB()
	pref := uint32(300)
	r.upsert(&bgp.Route{Prefix: netip.MustParsePrefix("10.0.0.1/32"), LocalPref: &pref, Communities: []uint32{7}})
	r.upsert(&bgp.Route{Prefix: netip.MustParsePrefix("10.0.0.2/32"), Communities: []uint32{bgp.GracefulShutdown}})
	r.take([]bgp.Family{bgp.IPv4})
	r.leaving = true
	r.touchAll()
	c := r.take([]bgp.Family{bgp.IPv4})
	if len(c.announce) != 2 {
		t.Fatalf("%+v", c)
	}
	for i, want := range [][]uint32{{7, bgp.GracefulShutdown}, {bgp.GracefulShutdown}} {
		a := c.announce[i].said.Value()
		if !slices.Equal(numbers(a.communities), want) || a.localPref != 0 || !a.hasLocalPref {
			t.Errorf("%v: %+v", c.announce[i].prefixes, a)
		}
	}
}

func TestFamiliesThatTheSessionLacksWait(t *testing.T) {
	r := newRIB()
	r.upsert(&bgp.Route{Prefix: netip.MustParsePrefix("2001:db8::1/128")})
	if c := r.take([]bgp.Family{bgp.IPv4}); len(c.announce) != 0 {
		t.Errorf("%+v", c)
	}
	if c := r.take([]bgp.Family{bgp.IPv6}); len(c.announce) != 1 {
		t.Errorf("%+v", c)
	}
}
