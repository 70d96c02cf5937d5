package lab

import (
	"net/netip"
	"testing"
)

func TestEveryHostHasAnAddressOfItsOwnOutsideThePools(t *testing.T) {
	seen := map[netip.Addr]string{}
	claim := func(who string, place int) {
		for _, a := range lanAddresses(place) {
			if other, taken := seen[a.Addr()]; taken {
				t.Errorf("%s and %s both have %s", who, other, a.Addr())
			}
			seen[a.Addr()] = who
			if lan := LANv4; a.Addr().Is4() && (!lan.Contains(a.Addr()) || a.Bits() != lan.Bits()) {
				t.Errorf("%s has %s, not on the LAN %s", who, a, lan)
			}
			if lan := LANv6; a.Addr().Is6() && (!lan.Contains(a.Addr()) || a.Bits() != lan.Bits()) {
				t.Errorf("%s has %s, not on the LAN %s", who, a, lan)
			}
			if PoolV4.Contains(a.Addr()) || PoolV6.Contains(a.Addr()) {
				t.Errorf("%s has %s, which is a pool's", who, a.Addr())
			}
		}
	}
	claim("client", clientPlace)
	claim("cp", controlPlace)
	for i := 1; i <= MaxNodes; i++ {
		claim(nodeName(i), nodePlace(i))
	}
}

func TestPoolsAreOnTheLAN(t *testing.T) {
	for _, p := range []struct{ pool, lan netip.Prefix }{{PoolV4, LANv4}, {PoolV6, LANv6}} {
		if !p.lan.Overlaps(p.pool) || p.pool.Bits() < p.lan.Bits() {
			t.Errorf("pool %s is not inside %s", p.pool, p.lan)
		}
		if p.pool != p.pool.Masked() {
			t.Errorf("pool %s has host bits", p.pool)
		}
	}
}

func TestPodsOfNodesDoNotOverlap(t *testing.T) {
	var all []netip.Prefix
	for i := 1; i <= MaxNodes; i++ {
		for family, p := range podPrefixes(i) {
			if whole := []netip.Prefix{PodsV4, PodsV6}[family]; !whole.Overlaps(p) || p.Bits() <= whole.Bits() {
				t.Errorf("pods of %s have %s, outside %s", nodeName(i), p, whole)
			}
			for _, q := range all {
				if p.Overlaps(q) {
					t.Errorf("%s overlaps %s", p, q)
				}
			}
			all = append(all, p)
		}
	}
}

func TestPodRoutesLeadToEveryOtherNode(t *testing.T) {
	routes := podRoutes(3, 2)
	want := map[string]string{
		"10.98.1.0/24":    "10.99.0.11",
		"fd98:0:0:1::/64": "fd99::11",
		"10.98.3.0/24":    "10.99.0.13",
		"fd98:0:0:3::/64": "fd99::13",
	}
	if len(routes) != len(want) {
		t.Fatalf("%d routes, want %d: %v", len(routes), len(want), routes)
	}
	for _, r := range routes {
		if via := want[r.To.String()]; via != r.Via.String() {
			t.Errorf("route to %s via %s, want %q", r.To, r.Via, via)
		}
	}
}

func TestMACShowsTheAddress(t *testing.T) {
	if got := hardwareAddr(netip.MustParseAddr("10.99.0.11")).String(); got != "02:00:0a:63:00:0b" {
		t.Errorf("got %s", got)
	}
}
