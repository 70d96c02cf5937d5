package child

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

var (
	v4, v6    = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	linkLocal = netip.MustParseAddr("fe80::1")
)

func TestNextHops(t *testing.T) {
	for _, row := range []struct {
		name    string
		dialect dialect
		family  bgp.Family
		given   string
		want    string // empty: none
		mp      bool
	}{
		{"IPv4 over IPv4", dialect{v4: v4}, bgp.IPv4, "", "192.0.2.1", false},
		{"IPv4 over IPv6 with an IPv4 address on the link", dialect{v4: v4, v6: v6, extended: true}, bgp.IPv4, "", "192.0.2.1", false},
		{"IPv4 over IPv6 without one", dialect{v6: v6, linkLocal: linkLocal, extended: true}, bgp.IPv4, "", "2001:db8::1 fe80::1", true},
		{"IPv4 over link-local addresses", dialect{linkLocal: linkLocal, extended: true}, bgp.IPv4, "", "fe80::1 fe80::1", true},
		{"IPv4 over IPv6, and the router knows no RFC 8950", dialect{v6: v6}, bgp.IPv4, "", "", false},
		{"IPv6 over IPv6", dialect{v6: v6, linkLocal: linkLocal}, bgp.IPv6, "", "2001:db8::1 fe80::1", true},
		{"IPv6 over IPv4 without an IPv6 address", dialect{v4: v4}, bgp.IPv6, "", "", false},
		{"a next hop of the route's own", dialect{v4: v4}, bgp.IPv4, "192.0.2.9", "192.0.2.9", false},
		{"one of the route's own that the router can't take", dialect{v4: v4}, bgp.IPv4, "2001:db8::9", "192.0.2.1", false},
		{"one of the route's own for IPv6", dialect{v6: v6, linkLocal: linkLocal}, bgp.IPv6, "2001:db8::9", "2001:db8::9", true},
	} {
		given := netip.Addr{}
		if row.given != "" {
			given = netip.MustParseAddr(row.given)
		}
		hops, mp, err := row.dialect.nextHops(row.family, given)
		var got []string
		for _, h := range hops {
			got = append(got, h.String())
		}
		if strings.Join(got, " ") != row.want || (err == nil) != (row.want != "") || err == nil && mp != row.mp {
			t.Errorf("%s: %v %t %v", row.name, hops, mp, err)
		}
	}
}

func TestASPath(t *testing.T) {
	for _, row := range []struct {
		name    string
		dialect dialect
		prepend int
		want    string
	}{
		{"within an AS it is empty", dialect{asn: 65001, internal: true, fourOctetASN: true}, 3, ""},
		{"ours alone", dialect{asn: 65001, fourOctetASN: true}, 0, "65001"},
		{"prepended", dialect{asn: 4200000001, fourOctetASN: true}, 2, "4200000001 4200000001 4200000001"},
		{"a router that knows no large ASNs", dialect{asn: 4200000001}, 1, "23456 23456, 4200000001 4200000001"},
		{"which a small one does not matter to", dialect{asn: 65001}, 0, "65001"},
	} {
		var parts []string
		for _, a := range row.dialect.path(row.prepend) {
			parts = append(parts, strings.Trim(a.String(), "{}"))
		}
		text := strings.Join(parts, "")
		for _, want := range strings.Split(row.want, ", ") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s", row.name, text)
			}
		}
		if row.want == "" && strings.ContainsAny(text, "0123456789") {
			t.Errorf("%s: %s", row.name, text)
		}
	}
}

// told reads UPDATEs as a router does.
func told(t interface{ Fatal(...any) }, messages [][]byte, fourOctetASN bool) (announced, withdrawn []netip.Prefix) {
	prefixes := func(all []codec.PathNLRI) (out []netip.Prefix) {
		for _, n := range all {
			out = append(out, n.NLRI.(*codec.IPAddrPrefix).Prefix)
		}
		return out
	}
	for _, b := range messages {
		if len(b) > maxMessage || int(binary.BigEndian.Uint16(b[16:])) != len(b) {
			t.Fatal("a message of", len(b), "bytes")
		}
		m, err := codec.ParseBGPMessage(b, &codec.MarshallingOption{Use2ByteAS: !fourOctetASN})
		if err != nil {
			t.Fatal(err)
		}
		u := m.Body.(*codec.BGPUpdate)
		announced, withdrawn = append(announced, prefixes(u.NLRI)...), append(withdrawn, prefixes(u.WithdrawnRoutes)...)
		for _, a := range u.PathAttributes {
			switch a := a.(type) {
			case *codec.PathAttributeMpReachNLRI:
				announced = append(announced, prefixes(a.Value)...)
			case *codec.PathAttributeMpUnreachNLRI:
				withdrawn = append(withdrawn, prefixes(a.Value)...)
			}
		}
	}
	return announced, withdrawn
}

var anyPrefix = rapid.Custom(func(t *rapid.T) netip.Prefix {
	if rapid.Bool().Draw(t, "IPv4") {
		b := rapid.Uint32().Draw(t, "address")
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, b))), rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
	}
	b := [16]byte{0x20, 1}
	binary.BigEndian.PutUint32(b[2:], rapid.Uint32().Draw(t, "high"))
	binary.BigEndian.PutUint32(b[12:], rapid.Uint32().Draw(t, "low"))
	return netip.PrefixFrom(netip.AddrFrom16(b), rapid.IntRange(16, 128).Draw(t, "bits")).Masked()
})

// A router reads exactly the prefixes that were written, however many there are and whatever is said of them.
func TestUpdatesSayWhatTheyShould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := dialect{asn: 65001, internal: rapid.Bool().Draw(t, "internal"), fourOctetASN: rapid.Bool().Draw(t, "4 octets"), v4: v4, v6: v6, linkLocal: linkLocal}
		r := bgp.Route{Prepend: rapid.IntRange(0, bgp.MaxPrepend).Draw(t, "prepend"), Communities: rapid.SliceOfN(rapid.Uint32(), 0, 300).Draw(t, "communities")}
		all := rapid.SliceOfNDistinct(anyPrefix, 1, 50, func(p netip.Prefix) netip.Prefix { return p }).Draw(t, "prefixes")
		if rapid.Bool().Draw(t, "many") {
			for i := range 3000 {
				all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
			}
		}
		slices.SortFunc(all, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
		all = slices.Compact(all)
		for _, f := range []bgp.Family{bgp.IPv4, bgp.IPv6} {
			g := group{family: f, said: intern(&r)}
			for _, p := range all {
				if bgp.FamilyOf(p.Addr()) == f {
					g.prefixes = append(g.prefixes, p)
				}
			}
			messages, err := d.announcement(g)
			if err != nil {
				t.Fatal(err)
			}
			if announced, withdrawn := told(t, messages, d.fourOctetASN); !slices.Equal(announced, g.prefixes) || len(withdrawn) > 0 {
				t.Fatalf("announced %v and withdrawn %v, want %v", announced, withdrawn, g.prefixes)
			}
			if messages, err = withdrawal(g.prefixes); err != nil {
				t.Fatal(err)
			}
			if announced, withdrawn := told(t, messages, d.fourOctetASN); !slices.Equal(withdrawn, g.prefixes) || len(announced) > 0 {
				t.Fatalf("announced %v and withdrawn %v, want %v", announced, withdrawn, g.prefixes)
			}
		}
	})
}

func TestFewMessages(t *testing.T) {
	g := group{family: bgp.IPv4, said: intern(&bgp.Route{})}
	for i := range 10000 {
		g.prefixes = append(g.prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
	}
	d := dialect{asn: 65001, fourOctetASN: true, v4: v4}
	messages, err := d.announcement(g)
	if err != nil || len(messages) != 13 { // 5 bytes each, 4,049 bytes of room
		t.Errorf("%d messages, %v", len(messages), err)
	}
}

func TestARouteThatFitsNoMessage(t *testing.T) {
	r := bgp.Route{}
	for i := range 1100 {
		r.Communities = append(r.Communities, uint32(i))
	}
	d := dialect{asn: 65001, fourOctetASN: true, v4: v4}
	for n := 1; n <= 2; n++ {
		g := group{family: bgp.IPv4, said: intern(&r), prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")}[:n]}
		if _, err := d.announcement(g); err == nil || !strings.Contains(err.Error(), "communities") {
			t.Errorf("%d prefixes: %v", n, err)
		}
	}
}
