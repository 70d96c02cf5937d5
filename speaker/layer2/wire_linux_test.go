package layer2

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestLinuxClientResolvesAnnouncedAddress(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", vip4, vip6))
	awaitAnswering(t, a, "cl0", vip4, vip6)
	for _, vip := range []netip.Addr{vip4, vip6} {
		c.talk(vip)
		eventually(t, "the client to resolve "+vip.String(), func() bool {
			mac, state := theirs.neighbor(vip)
			return mac == ours.mac() && state == netlink.NUD_REACHABLE
		})
	}
	t.Logf("%+v", a.Counters())
}
