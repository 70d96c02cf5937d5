package layer2

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/arp"
)

func TestReannounce(t *testing.T) {
	t.Run("announces all that is answered in one round and returns to silence", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.see(link("eth0", 2, ourMAC), link("eth1", 3, otherMAC))
			w.apply(append(on("eth0", vip4, vip4.Next(), vip6), on("eth1", vip4)...)...)
			w.after(time.Minute)
			four, six, other := w.port("eth0", IPv4), w.port("eth0", IPv6), w.port("eth1", IPv4)
			four.announced()
			six.announced()
			other.announced()

			w.Reannounce()
			w.after(0)
			forms := make(map[netip.Addr][]arp.Operation)
			for _, f := range four.sent {
				_, src, p := readARP(t, f)
				if src != ourMAC {
					t.Errorf("announced from %v", src)
				}
				forms[p.SenderIP] = append(forms[p.SenderIP], p.Operation)
			}
			for _, vip := range []netip.Addr{vip4, vip4.Next()} {
				if got := forms[vip]; len(got) != 2 || got[0] != arp.OperationRequest || got[1] != arp.OperationReply {
					t.Errorf("%v was announced by %v", vip, got)
				}
			}
			if n := len(other.sent); n != 2 {
				t.Errorf("%d frames on the other interface, expected 2", n)
			}
			if n := len(six.sent); n != 1 {
				t.Fatalf("%d advertisements, expected 1", n)
			}
			if _, dst, na := readAdvertisement(t, six.sent[0]); dst != allNodes || !na.Override || na.Solicited || na.TargetAddress != vip6 {
				t.Errorf("the advertisement is %+v", na)
			}
			w.after(time.Hour)
			if a, b, c := four.announced(), six.announced(), other.announced(); a != 4 || b != 1 || c != 2 {
				t.Errorf("%d, %d and %d frames in the end, expected 4, 1 and 2", a, b, c)
			}
		})
	})
	t.Run("announces only the addresses named", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4, vip4.Next(), vip6)...)
			w.after(time.Minute)
			four, six := w.port("eth0", IPv4), w.port("eth0", IPv6)
			four.announced()
			six.announced()
			w.Reannounce(vip4.Next(), netip.MustParseAddr("198.51.100.1"))
			w.Reannounce(vip6)
			w.after(time.Minute)
			for _, f := range four.sent {
				if _, _, p := readARP(t, f); p.SenderIP != vip4.Next() {
					t.Errorf("announced %v", p.SenderIP)
				}
			}
			if a, b := four.announced(), six.announced(); a != 2 || b != 1 {
				t.Errorf("%d and %d frames, expected 2 and 1", a, b)
			}
		})
	})
	t.Run("leaves out what this node stands in for, and what is withdrawn", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			standIn := Announcement{Address: vip4, Interfaces: []string{"eth0"}, HardwareAddr: otherMAC}
			owned := on("eth0", vip4.Next(), vip4.Next().Next())
			w.apply(append(owned, standIn)...)
			w.after(time.Minute)
			p := w.port("eth0", IPv4)
			p.announced()

			// The owner is not let run in between.
			w.Apply(append(owned[:1], standIn))
			w.Reannounce()
			w.after(time.Minute)
			if len(p.sent) != 2 {
				t.Errorf("%d frames, expected 2", len(p.sent))
			}
			for _, f := range p.sent {
				if _, _, a := readARP(t, f); a.SenderIP != vip4.Next() {
					t.Errorf("announced %v", a.SenderIP)
				}
			}
		})
	})
	t.Run("calls before the round is sent are one, from whatever goroutine", func(t *testing.T) {
		inWorldOf(t, Options{RefreshInterval: -1, GratuitousRate: 100}, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", scattered(IPv4, 50)...)...)
			w.after(time.Minute)
			p := w.port("eth0", IPv4)
			p.announced()
			for range 100 {
				go w.Reannounce()
			}
			w.after(time.Second)
			if n := p.announced(); n > 106 {
				t.Errorf("%d frames in a second, more than the pace allows", n)
			}
			w.after(time.Minute)
			if n := p.announced(); n > 100 {
				t.Errorf("%d frames later, though each address had to be announced once", n)
			}
		})
	})
	t.Run("before anything runs does no harm", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.Reannounce()
			w.apply(on("eth0", vip4)...)
			w.Reannounce()
			w.see(link("eth0", 2, ourMAC))
			w.after(time.Minute)
			if n := w.port("eth0", IPv4).announced(); n != 12 {
				t.Errorf("%d frames, expected 12", n)
			}
		})
	})
}

func TestAddressesAreRefreshed(t *testing.T) {
	// Frames of two addresses in an hour: a round of two frames every minute.
	perHour := func(t *testing.T, o Options) int {
		var n int
		inWorldOf(t, o, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(append(on("eth0", vip4, vip4.Next()),
				Announcement{Address: vip4.Next().Next(), Interfaces: []string{"eth0"}, HardwareAddr: otherMAC})...)
			w.after(5 * time.Second)
			p := w.port("eth0", IPv4)
			p.announced()
			w.after(time.Hour)
			for _, f := range p.sent {
				if _, _, a := readARP(t, f); a.SenderIP != vip4 && a.SenderIP != vip4.Next() {
					t.Errorf("announced %v, which is another node's", a.SenderIP)
				}
			}
			n = p.announced()
		})
		return n
	}
	for _, c := range []struct {
		name        string
		interval    time.Duration
		least, most int
	}{
		{"every minute unless told otherwise", 0, 220, 260},
		{"as often as told", 10 * time.Minute, 20, 28},
		{"never", -1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := perHour(t, Options{RefreshInterval: c.interval}); n < c.least || n > c.most {
				t.Errorf("%d frames in an hour, expected %d to %d", n, c.least, c.most)
			}
		})
	}
}
