package layer2

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestNeighborsAreThoseThatAnsweredOnTheLink(t *testing.T) {
	l := Link{Name: "eth0", Index: 2, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	table := []netlink.Neigh{
		{LinkIndex: 2, IP: net.ParseIP("192.0.2.1"), HardwareAddr: mac, State: netlink.NUD_STALE},
		{LinkIndex: 2, IP: net.ParseIP("192.0.2.2"), State: netlink.NUD_INCOMPLETE},
		{LinkIndex: 2, IP: net.ParseIP("192.0.2.3"), HardwareAddr: mac, State: netlink.NUD_FAILED},
		{LinkIndex: 2, IP: net.ParseIP("192.0.2.4"), HardwareAddr: mac, State: netlink.NUD_REACHABLE},
		{LinkIndex: 2, IP: net.ParseIP("198.51.100.1"), HardwareAddr: mac, State: netlink.NUD_REACHABLE},
		{LinkIndex: 3, IP: net.ParseIP("192.0.2.5"), HardwareAddr: mac, State: netlink.NUD_REACHABLE},
		{LinkIndex: 2, IP: net.ParseIP("192.0.2.6"), HardwareAddr: mac, State: netlink.NUD_PERMANENT}, // somebody's word, not the host's
		{LinkIndex: 2, IP: net.ParseIP("fe80::1"), HardwareAddr: mac, State: netlink.NUD_DELAY},
		{LinkIndex: 2, IP: net.ParseIP("192.0.2.7"), HardwareAddr: mac, State: netlink.NUD_STALE},
	}
	var got []string
	for _, h := range neighborsAmong(l, table, 3) {
		got = append(got, h.Address.String())
	}
	if want := []string{"192.0.2.4", "192.0.2.1", "fe80::1"}; !slices.Equal(got, want) {
		t.Errorf("neighbors are %v, want %v", got, want)
	}
}
