package child

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

func TestWhyThereIsNoConnectionIsToldInWords(t *testing.T) {
	far, farV6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, row := range []struct {
		name   string
		err    error
		peer   bgp.Peer
		router netip.Addr
		reason bgp.Reason
		says   string
	}{
		{"nobody listens", unix.ECONNREFUSED, bgp.Peer{Port: 179}, far, bgp.ConnectionRefused, "nobody takes BGP connections at 192.0.2.1:179"},
		{"the peer is this node", unix.ECONNREFUSED, bgp.Peer{Port: 179}, netip.MustParseAddr("127.0.0.1"), bgp.ConnectionRefused, "127.0.0.1:179, which is this node itself"},
		{"IPv6 is off", unix.EADDRNOTAVAIL, bgp.Peer{Port: 179}, farV6, bgp.SourceUnavailable, "no address to reach 2001:db8::1 from: see whether IPv6 is on"},
		{"the source is elsewhere", unix.EADDRNOTAVAIL, bgp.Peer{Port: 179, SourceAddress: far.Next()}, far, bgp.SourceUnavailable, "does not have the source address 192.0.2.2"},
		{"no answer", os.ErrDeadlineExceeded, bgp.Peer{Port: 179, ASN: 1, PeerASN: 2}, far, bgp.ConnectTimeout, "or it is not on a link of this node and ebgpMultiHop is not set"},
		{"too far away", unix.ECONNREFUSED, bgp.Peer{Port: 179, TTLSecurity: 1}, far, bgp.TTLTooLow, "TTL below 255"},
	} {
		reason, says := noConnection(row.err, &row.peer, row.router, row.reason == bgp.TTLTooLow)
		if reason != row.reason || !strings.Contains(says, row.says) || row.router == far && strings.Contains(says, "itself") {
			t.Errorf("%s: %s, %q", row.name, reason, says)
		}
	}
}
