package layer2

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

func TestCover(t *testing.T) {
	addrs := func(s ...string) []netip.Addr {
		var as []netip.Addr
		for _, a := range s {
			as = append(as, netip.MustParseAddr(a))
		}
		return as
	}
	for _, c := range []struct {
		name      string
		addresses []netip.Addr
		limit     int
		want      []span
	}{
		{"nothing is covered by nothing", nil, 4, nil},
		{"one address is one span", addrs("0.0.0.5"), 4, []span{{5, 5}}},
		{"neighbours share a span, in any order", addrs("0.0.0.6", "0.0.0.5", "0.0.0.7"), 4, []span{{5, 7}}},
		{"few spans are exact", addrs("0.0.0.1", "0.0.0.3", "0.0.0.9"), 3, []span{{1, 1}, {3, 3}, {9, 9}}},
		{"beyond the limit the narrowest gaps close", addrs("0.0.0.1", "0.0.0.3", "0.0.0.9", "0.0.0.20"), 2, []span{{1, 9}, {20, 20}}},
		{"one span covers all in need", addrs("0.0.0.1", "255.255.255.255"), 1, []span{{1, 0xffffffff}}},
		{"of IPv6 the low 32 bits count", addrs("2001:db8::5", "2001:db8:0:1::5", "2001:db8::6"), 4, []span{{5, 6}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := cover(c.addresses, c.limit); !slices.Equal(got, c.want) {
				t.Errorf("got %v, expected %v", got, c.want)
			}
		})
	}
}

// A cover holds every address, is within its limit, and is exact where it can be.
func TestCoverLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.OneOf(rapid.Uint32Range(0, 300), rapid.Uint32()), 1, 200, rapid.ID).Draw(t, "keys")
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		var addresses []netip.Addr
		in := make(map[uint32]bool)
		for _, k := range keys {
			addresses = append(addresses, netip.AddrFrom4([4]byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}))
			in[k] = true
		}
		runs := 0
		for k := range in {
			if k == 0 || !in[k-1] {
				runs++
			}
		}

		spans := cover(addresses, limit)

		if len(spans) != min(runs, limit) {
			t.Errorf("%d spans for %d runs and a limit of %d", len(spans), runs, limit)
		}
		var covered uint64
		for i, s := range spans {
			if s.lo > s.hi || i > 0 && s.lo <= spans[i-1].hi+1 {
				t.Errorf("spans %v are not in order or touch", spans)
			}
			if !in[s.lo] || !in[s.hi] {
				t.Errorf("span %v does not begin and end with an address", s)
			}
			covered += uint64(s.hi) - uint64(s.lo) + 1
		}
		for k := range in {
			if !slices.ContainsFunc(spans, func(s span) bool { return s.lo <= k && k <= s.hi }) {
				t.Errorf("%d is not in %v", k, spans)
			}
		}
		if runs <= limit && covered != uint64(len(in)) {
			t.Errorf("%v covers %d keys, there are %d", spans, covered, len(in))
		}
	})
}

// The program says of every key what the spans say, however long it is.
func TestSearch(t *testing.T) {
	for _, count := range []int{1, 2, 3, 7, 64, 100, maxSpansForTest} {
		r := rand.New(rand.NewPCG(1, uint64(count)))
		var addresses []netip.Addr
		for range count * 3 {
			addresses = append(addresses, netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}))
		}
		spans := cover(addresses, count)
		program := requestFilter(IPv4, spans, spans)
		outside := netip.AddrFrom4([4]byte{})
		if raw, err := bpf.Assemble(program); err != nil || len(raw) > 4096 {
			t.Fatalf("%d spans: program of %d instructions: %v", count, len(raw), err)
		}
		keys := []uint32{0, 0xffffffff}
		for _, s := range spans {
			keys = append(keys, s.lo-1, s.lo, s.lo+1, s.hi-1, s.hi, s.hi+1, r.Uint32())
		}
		for _, k := range keys {
			address := netip.AddrFrom4([4]byte{byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)})
			want := slices.ContainsFunc(spans, func(s span) bool { return s.lo <= k && k <= s.hi })
			if got := passes(t, program, arpRequest(clientMAC, outside, address)); got != want {
				t.Errorf("%d spans: the filter says %v of %v", count, got, address)
			}
			if got := passes(t, program, arpRequest(clientMAC, address, outside)); got != want {
				t.Errorf("%d spans: the filter says %v of what %v says", count, got, address)
			}
		}
	}
}

const maxSpansForTest = 256

func TestFilterPassesRequestsForUsAlone(t *testing.T) {
	ask4, ask6 := arpRequest(clientMAC, client4, vip4), neighborSolicitation(clientMAC, client6, vip6)
	for _, c := range []struct {
		name      string
		family    Family
		addresses []netip.Addr
		claimed   []netip.Addr
		frame     []byte
		want      bool
	}{
		{"a request for our address", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, ask4, true},
		{"a request for another's", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, arpRequest(clientMAC, client4, vip4.Next()), false},
		{"somebody who says to have our address, by a reply", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, appendGratuitousReply(nil, otherMAC, vip4), true},
		{"by a request", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, arpRequest(otherMAC, vip4, client4), true},
		{"a reply of another's", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, appendGratuitousReply(nil, otherMAC, vip4.Next()), false},
		{"a reply to our address", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, appendARPReply(nil, otherMAC, otherMAC, question{client4, vip4, ourMAC}), false},
		{"another hardware type", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, changed(ask4, arpHardwareType, 0, 6), false},
		{"other lengths", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, changed(ask4, arpLengths, 8, 4), false},
		{"a frame that is too short", IPv4, []netip.Addr{vip4}, []netip.Addr{vip4}, ask4[:40], false},
		{"a request for an address that is stood by for", IPv4, []netip.Addr{vip4}, nil, ask4, true},
		{"what its owner says of it, by a request", IPv4, []netip.Addr{vip4}, nil, arpRequest(otherMAC, vip4, vip4), false},
		{"or by a reply", IPv4, []netip.Addr{vip4}, nil, appendGratuitousReply(nil, otherMAC, vip4), false},
		{"what is said of an address that is not to be answered", IPv4, []netip.Addr{vip4.Next()}, []netip.Addr{vip4}, appendGratuitousReply(nil, otherMAC, vip4), true},
		{"a request for one", IPv4, []netip.Addr{vip4.Next()}, []netip.Addr{vip4}, ask4, false},
		{"a solicitation of an address that is stood by for", IPv6, []netip.Addr{vip6}, nil, ask6, true},
		{"what its owner says of it", IPv6, []netip.Addr{vip6}, nil, appendUnsolicitedAdvertisement(nil, otherMAC, ourLinkLocal, vip6), false},
		{"a solicitation of one that is not to be answered", IPv6, nil, []netip.Addr{vip6}, ask6, false},
		{"anything, while there is nothing to answer", IPv4, nil, nil, ask4, false},
		{"a solicitation of our address", IPv6, []netip.Addr{vip6}, []netip.Addr{vip6}, ask6, true},
		{"a solicitation of another's", IPv6, []netip.Addr{vip6}, []netip.Addr{vip6}, neighborSolicitation(clientMAC, client6, vip6.Next()), false},
		{"an advertisement of our address", IPv6, []netip.Addr{vip6}, []netip.Addr{vip6}, appendUnsolicitedAdvertisement(nil, otherMAC, ourLinkLocal, vip6), true},
		{"an advertisement of another's", IPv6, []netip.Addr{vip6}, []netip.Addr{vip6}, appendUnsolicitedAdvertisement(nil, otherMAC, ourLinkLocal, vip6.Next()), false},
		{"a solicitation that a router forwarded", IPv6, []netip.Addr{vip6}, []netip.Addr{vip6}, changed(ask6, ipv6HopLimit, 254), false},
		{"other IPv6", IPv6, []netip.Addr{vip6}, []netip.Addr{vip6}, changed(ask6, ipv6NextHeader, 17), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := passes(t, requestFilter(c.family, cover(c.addresses, 64), cover(c.claimed, 64)), c.frame); got != c.want {
				t.Errorf("the filter says %v", got)
			}
		})
	}
}
