package layer2

import (
	"net/netip"
	"testing"
)

// A prober's sockets are woken up by answers and not by what is announced to all: nodes with thousands of addresses refresh several
// a second.
func TestWhatIsAnnouncedIsNoAnswer(t *testing.T) {
	unspecified4, unspecified6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	for _, c := range []struct {
		name   string
		family Family
		frame  []byte
		want   bool
	}{
		{"an answer to a probe", IPv4, appendARPReply(nil, otherMAC, otherMAC, question{vip4, unspecified4, ourMAC}), true},
		{"an answer to a request", IPv4, appendARPReply(nil, otherMAC, otherMAC, question{vip4, client4, ourMAC}), true},
		{"a gratuitous reply", IPv4, appendGratuitousReply(nil, otherMAC, vip4), false},
		{"a gratuitous request", IPv4, appendARPAnnouncement(nil, otherMAC, vip4), false},
		{"a request", IPv4, arpRequest(clientMAC, client4, vip4), false},
		{"an answer to a solicitation", IPv6, appendNeighborAdvertisement(nil, otherMAC, otherMAC, question{vip6, ourLinkLocal, ourMAC}), true},
		{"an unsolicited advertisement", IPv6, appendUnsolicitedAdvertisement(nil, otherMAC, ourLinkLocal, vip6), false},
		{"an answer to somebody's duplicate address detection", IPv6, appendNeighborAdvertisement(nil, otherMAC, otherMAC, question{vip6, unspecified6, clientMAC}), false},
		{"a solicitation", IPv6, neighborSolicitation(clientMAC, client6, vip6), false},
	} {
		if got := passes(t, answerFilter(c.family), c.frame); got != c.want {
			t.Errorf("%s, %s: passes %t", c.family, c.name, got)
		}
	}
}
