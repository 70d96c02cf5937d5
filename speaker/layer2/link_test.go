package layer2

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

func TestInterpret(t *testing.T) {
	mac := ourMAC[:]
	address := func(link int, prefix string) kernelAddress {
		return kernelAddress{link: link, prefix: netip.MustParsePrefix(prefix)}
	}
	prefixes := func(s ...string) []netip.Prefix {
		var ps []netip.Prefix
		for _, p := range s {
			ps = append(ps, netip.MustParsePrefix(p))
		}
		return ps
	}
	addresses := func(s ...string) []netip.Addr {
		var as []netip.Addr
		for _, a := range s {
			as = append(as, netip.MustParseAddr(a))
		}
		return as
	}
	eth := kernelLink{name: "eth0", index: 2, mac: mac, ethernet: true, up: true, kind: "device"}
	is := Link{Name: "eth0", Index: 2, HardwareAddr: ourMAC, Up: true}
	with := func(l Link, change func(*Link)) Link { change(&l); return l }
	for _, c := range []struct {
		name      string
		links     []kernelLink
		addresses []kernelAddress
		want      []Link
	}{
		{"an interface with its networks, each once and in order", []kernelLink{eth},
			[]kernelAddress{address(2, "2001:db8::1/64"), address(2, "192.0.2.7/24"), address(2, "192.0.2.1/24"), address(2, "10.0.0.1/8")},
			[]Link{with(is, func(l *Link) {
				l.Prefixes = prefixes("10.0.0.0/8", "192.0.2.0/24", "2001:db8::/64")
				l.Addresses = addresses("10.0.0.1", "192.0.2.1", "192.0.2.7", "2001:db8::1")
			})}},
		{"addresses beside the first one of a network may be elsewhere soon", []kernelLink{eth},
			[]kernelAddress{address(2, "192.0.2.7/24"), {link: 2, prefix: netip.MustParsePrefix("192.0.2.1/24"), beside: true}},
			[]Link{with(is, func(l *Link) { l.Prefixes, l.Addresses = prefixes("192.0.2.0/24"), addresses("192.0.2.7") })}},
		{"single addresses attach no network", []kernelLink{eth},
			[]kernelAddress{address(2, "192.0.2.1/32"), address(2, "2001:db8::1/128")}, []Link{is}},
		{"link-local networks are on every link and say nothing; the address is one to speak from", []kernelLink{eth},
			[]kernelAddress{address(2, "169.254.1.1/16"), address(2, "fe80::2/64"), address(2, "fe80::1/64")},
			[]Link{with(is, func(l *Link) { l.LinkLocal = netip.MustParseAddr("fe80::1") })}},
		{"but not while it may be a duplicate", []kernelLink{eth},
			[]kernelAddress{{link: 2, prefix: netip.MustParsePrefix("fe80::1/64"), unusable: true}}, []Link{is}},
		{"an interface that is down is a link, with its networks", []kernelLink{{name: "eth0", index: 2, mac: mac, ethernet: true}},
			[]kernelAddress{address(2, "192.0.2.1/24")},
			[]Link{with(is, func(l *Link) {
				l.Up, l.Prefixes, l.Addresses = false, prefixes("192.0.2.0/24"), addresses("192.0.2.1")
			})}},
		{"ports of bridges, bonds and teams are not links, their masters are",
			[]kernelLink{
				{name: "br0", index: 3, mac: mac, ethernet: true, up: true, kind: "bridge"}, {name: "eth0", index: 2, mac: mac, ethernet: true, up: true, master: 3},
				{name: "bond0", index: 5, mac: mac, ethernet: true, up: true, kind: "bond"}, {name: "eth1", index: 4, mac: mac, ethernet: true, up: true, master: 5},
			}, []kernelAddress{address(3, "192.0.2.1/24")},
			[]Link{{Name: "bond0", Index: 5, HardwareAddr: ourMAC, Up: true},
				{Name: "br0", Index: 3, HardwareAddr: ourMAC, Up: true, Prefixes: prefixes("192.0.2.0/24"), Addresses: addresses("192.0.2.1")}}},
		{"what belongs to a VRF is a link, and says so",
			[]kernelLink{{name: "red", index: 3, mac: mac, ethernet: true, noARP: true, kind: "vrf"}, {name: "eth0", index: 2, mac: mac, ethernet: true, up: true, master: 3}},
			nil, []Link{with(is, func(l *Link) { l.Master = "red" })}},
		{"a port whose master is out of sight is not a link", []kernelLink{{name: "eth0", index: 2, mac: mac, ethernet: true, up: true, master: 9}}, nil, []Link{}},
		{"nor is what has no Ethernet, no ARP, or no network outside",
			[]kernelLink{
				{name: "lo", index: 1, mac: make([]byte, 6), ethernet: false, loopback: true, up: true},
				{name: "wg0", index: 2, up: true, kind: "wireguard"},
				{name: "ib0", index: 3, mac: make([]byte, 20), up: true},
				{name: "kube-ipvs0", index: 4, mac: mac, ethernet: true, noARP: true, kind: "dummy"},
			}, []kernelAddress{address(1, "127.0.0.1/8"), address(4, "192.0.2.1/24"), address(7, "192.0.2.1/24")}, []Link{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := interpret(c.links, c.addresses); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, expected %+v", got, c.want)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	lan := Link{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}}
	bare, pod := Link{Name: "eth1"}, Link{Name: "cali123"}
	names := func(links []Link) (ns []string) {
		for _, l := range links {
			ns = append(ns, l.Name)
		}
		return ns
	}
	for _, c := range []struct {
		name  string
		named func(string) bool
		want  []string
	}{
		{"links with a network make sense", nil, []string{"eth0"}},
		{"others do when somebody names them", func(n string) bool { return n == "eth1" }, []string{"eth0", "eth1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := names(Select([]Link{pod, lan, bare}, c.named)); !slices.Equal(got, c.want) {
				t.Errorf("got %v, expected %v", got, c.want)
			}
		})
	}
	for address, want := range map[string]bool{
		"192.0.2.9": true, "::ffff:192.0.2.9": true, "2001:db8::9": true, "192.0.3.9": false, "2001:db8:1::9": false,
	} {
		if got := lan.OnLink(netip.MustParseAddr(address)); got != want {
			t.Errorf("OnLink(%s) = %v", address, got)
		}
	}
}

func TestLinksDifferInAnything(t *testing.T) {
	base := Link{Name: "eth0", Index: 2, HardwareAddr: ourMAC, Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	if same := base; !base.Equal(same) {
		t.Error("a link is not equal to its copy")
	}
	for name, change := range map[string]func(*Link){
		"name":               func(l *Link) { l.Name = "eth1" },
		"index":              func(l *Link) { l.Index = 3 },
		"hardware address":   func(l *Link) { l.HardwareAddr = otherMAC },
		"being up":           func(l *Link) { l.Up = false },
		"master":             func(l *Link) { l.Master = "red" },
		"networks":           func(l *Link) { l.Prefixes = nil },
		"addresses":          func(l *Link) { l.Addresses = []netip.Addr{client4} },
		"routers":            func(l *Link) { l.Routers = []netip.Addr{client4} },
		"link-local address": func(l *Link) { l.LinkLocal = ourLinkLocal },
	} {
		other := base
		if change(&other); base.Equal(other) {
			t.Errorf("links are equal that differ in %s", name)
		}
	}
}
