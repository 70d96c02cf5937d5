package bfd

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/clarion-lb/clarion/e2e/lab/wire"
)

// The tests against other implementations need root and CLARION_LAB=1. This
// process is then in a network namespace of its own, the node:
//
//	node (this process)                     router (a namespace)
//	  Engine                                  FRR's bfdd, or BIRD
//	  cl0 192.0.2.1/24    ═══ veth ═══     cl0 192.0.2.2/24
//	      2001:db8::1/64                      2001:db8::2/64
//	  lo  203.0.113.1/32                   lo  203.0.113.2/32

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	// A new network namespace has its loopback interface down.
	if lo, err := netlink.LinkByName("lo"); err == nil && lo.Attrs().OperState == netlink.OperDown {
		_ = netlink.LinkSetUp(lo)
	}
	os.Exit(wire.Main(m))
}

var (
	nodeV4, routerV4     = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	nodeV6, routerV6     = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	nodeFar, routerFar   = netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	nodeSafe, routerSafe = netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")
)

// lab makes the node and the router, tied together by a cable.
func lab(t testing.TB) (node, router *wire.Host) {
	t.Helper()
	node, router = wire.Self(t), wire.NewHost(t, "router")
	plug(t, node, router)
	return node, router
}

// plug ties them together by a new cable.
func plug(t testing.TB, node, router *wire.Host) {
	t.Helper()
	prefix := func(a netip.Addr) netip.Prefix {
		if a.Is4() {
			return netip.PrefixFrom(a, 24)
		}
		return netip.PrefixFrom(a, 64)
	}
	wire.Connect(t, wire.End{Host: node, Name: "cl0", Addresses: []netip.Prefix{prefix(nodeV4), prefix(nodeSafe), prefix(nodeV6)}},
		wire.End{Host: router, Name: "cl0", Addresses: []netip.Prefix{prefix(routerV4), prefix(routerSafe), prefix(routerV6)}})
	far(t, node, nodeFar, routerFar, routerV4)
	far(t, router, routerFar, nodeFar, nodeV4)
}

// far gives a host a loopback address, and a way to the other's.
func far(t testing.TB, h *wire.Host, own, other, via netip.Addr) {
	t.Helper()
	lo, err := h.LinkByName("lo")
	must(t, err)
	address, err := netlink.ParseAddr(own.String() + "/32")
	must(t, err)
	must(t, h.AddrReplace(lo, address))
	t.Cleanup(func() { _ = h.AddrDel(lo, address) })
	must(t, h.RouteReplace(&netlink.Route{Dst: netlink.NewIPNet(other.AsSlice()), Gw: via.AsSlice()}))
}

// linkLocal returns the link-local address of a host's interface.
func linkLocal(t testing.TB, h *wire.Host, name string) netip.Addr {
	t.Helper()
	var found netip.Addr
	eventually(t, "a link-local address", func() bool {
		link, err := h.LinkByName(name)
		must(t, err)
		addresses, err := h.AddrList(link, netlink.FAMILY_V6)
		must(t, err)
		for _, a := range addresses {
			if ip, _ := netip.AddrFromSlice(a.IP); ip.IsLinkLocalUnicast() {
				found = ip
			}
		}
		return found.IsValid()
	})
	return found
}

// run runs a command on a host.
func run(t testing.TB, h *wire.Host, argv ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", slices.Concat([]string{"--net=" + h.Path(), "--"}, argv)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v on %s: %v: %s", argv, h.Name, err, out)
	}
	return string(out)
}
