package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/clarion-lb/clarion/speaker/layer2"
)

func TestSurroundingsTellTheNetworksOnceInOrder(t *testing.T) {
	lan, six := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")
	router, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	got := surroundings([]layer2.Link{
		{Name: "a", Prefixes: []netip.Prefix{six, lan}, Routers: []netip.Addr{router, netip.MustParseAddr("fe80::1"), other}},
		{Name: "b", Prefixes: []netip.Prefix{lan}, Routers: []netip.Addr{router}}})
	if !slices.Equal(got.OnLink, []string{"192.0.2.0/24", "2001:db8::/64"}) || !slices.Equal(got.Gateways, []string{"192.0.2.1", "2001:db8::1"}) {
		t.Errorf("got %+v", got)
	}

	var many []netip.Prefix
	for i := range 200 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i)))
	}
	if got := surroundings([]layer2.Link{{Prefixes: many}}); len(got.OnLink) != maxOnLink {
		t.Errorf("%d networks", len(got.OnLink))
	}
}
