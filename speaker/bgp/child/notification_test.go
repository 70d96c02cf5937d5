package child

import (
	"strings"
	"testing"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// Whatever a router ends a session with, there is a reason and a sentence for people.
func TestEveryNotificationHasAReason(t *testing.T) {
	p := testPeer()
	for code := range 256 {
		for subcode := range 256 {
			reason, words, _ := received(uint8(code), uint8(subcode), nil, &p)
			if reason == "" || len(words) < 20 || !strings.Contains(words, "the router") && !strings.Contains(words, "at the router") {
				t.Fatalf("%d/%d: %s %q", code, subcode, reason, words)
			}
		}
	}
}

func TestNotifications(t *testing.T) {
	p := testPeer()
	for _, row := range []struct {
		code, subcode uint8
		data          string
		reason        bgp.Reason
		words         string
		operator      bool
	}{
		{2, 2, "", bgp.RefusedASN, "refuses our ASN 65001", false},
		{2, 3, "", bgp.RefusedOpen, "our router ID 192.0.2.1", false},
		{2, 6, "", bgp.RefusedOpen, "a hold time of 1m30s", false},
		{2, 7, "", bgp.RefusedOpen, "families", false},
		{2, 1, "", bgp.RefusedOpen, "BGP version 4", false},
		{2, 11, "", bgp.RefusedOpen, "strict mode off its local-role", false},
		{3, 1, "", bgp.PeerError, "malformed attribute list", false},
		{4, 0, "", bgp.HoldTimeExpiredAtPeer, "heard nothing of us", false},
		{6, 1, "", bgp.TooManyRoutes, "maximum-prefix", true},
		{6, 2, "\x05fibre", bgp.PeerShutdown, "saying: fibre", true},
		{6, 2, "\x06fibre", bgp.PeerShutdown, "shut down at the router", true},    // longer than it is
		{6, 2, "\x02\xff\xfe", bgp.PeerShutdown, "shut down at the router", true}, // not UTF-8
		{6, 4, "\x09a\nb\x1b[31mc", bgp.PeerReset, "saying: a b [31mc", false},    // nothing that a terminal obeys
		{6, 3, "", bgp.PeerDeconfigured, "not have this node among", true},
		{6, 5, "", bgp.ConnectionRejected, "rejects", true},
		{6, 10, "", bgp.PeerBFDDown, "BFD", false},
		{6, 9, "\x06\x02\x05fibre", bgp.PeerShutdown, "saying: fibre", true}, // a hard reset has the reason within (RFC 8538)
		{6, 9, "\x06", bgp.PeerCeased, "the router ended the session", true},
	} {
		reason, words, operator := received(row.code, row.subcode, []byte(row.data), &p)
		if reason != row.reason || !strings.Contains(words, row.words) || operator != row.operator {
			t.Errorf("%d/%d %q: %s %q %t", row.code, row.subcode, row.data, reason, words, operator)
		}
	}
}

func TestShutdownTextIsCutBetweenLetters(t *testing.T) {
	b := shutdown(2, strings.Repeat("ß", 200))
	if len(b) != 21+1+254 || b[21] != 254 {
		t.Errorf("%d bytes, of which %d are text", len(b), b[21])
	}
	if got := shutdownText(b[21:]); got != strings.Repeat("ß", 127) {
		t.Errorf("it reads %q", got)
	}
}
