package light

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestAddressesInOrder(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.98.1.0/29"))
	next := func() string {
		t.Helper()
		ip, err := a.next()
		if err != nil {
			return "none"
		}
		return ip.String()
	}
	for _, want := range []string{"10.98.1.2", "10.98.1.3", "10.98.1.4", "10.98.1.5", "10.98.1.6", "none"} {
		if got := next(); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	a.release(netip.MustParseAddr("10.98.1.4"))
	if got := next(); got != "10.98.1.4" {
		t.Fatalf("a released address should be had again, got %s", got)
	}
}

func TestAddressesAreHeldOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := netip.MustParsePrefix(rapid.SampledFrom([]string{"10.98.1.0/28", "fd98:0:0:1::/124"}).Draw(t, "prefix"))
		a := newAddresses(prefix)
		held := map[netip.Addr]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"next": func(t *rapid.T) {
				ip, err := a.next()
				if err != nil {
					if room := 16 - first; len(held) < room-1 {
						t.Fatalf("refused with %d held: %v", len(held), err)
					}
					return
				}
				if held[ip] || !prefix.Contains(ip) {
					t.Fatalf("%s, held already: %v", ip, held[ip])
				}
				held[ip] = true
			},
			"take": func(t *rapid.T) {
				ip := prefix.Addr()
				for range rapid.IntRange(0, 20).Draw(t, "offset") {
					ip = ip.Next()
				}
				if err := a.take(ip); (err == nil) != (!held[ip] && prefix.Contains(ip)) {
					t.Fatalf("take %s: %v; held %v", ip, err, held[ip])
				}
				if prefix.Contains(ip) {
					held[ip] = true
				}
			},
			"release": func(t *rapid.T) {
				for ip := range held {
					a.release(ip)
					delete(held, ip)
					return
				}
			},
		})
	})
}
