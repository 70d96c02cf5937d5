package lab

import (
	"fmt"
	"net"
	"net/netip"
)

// Addresses of every lab. Labs do not meet, so all have the same ones.
var (
	// LAN is the segment that nodes and client share.
	LANv4 = netip.MustParsePrefix("10.99.0.0/16")
	LANv6 = netip.MustParsePrefix("fd99::/64")

	// PoolV4 and PoolV6 are parts of the LAN that no host has an address in.
	PoolV4 = netip.MustParsePrefix("10.99.64.0/18")
	PoolV6 = netip.MustParsePrefix("fd99::a:0/112")

	// Cluster addresses of Services.
	ServicesV4 = netip.MustParsePrefix("10.97.0.0/16")
	ServicesV6 = netip.MustParsePrefix("fd97::/112")

	// Addresses of pods, of which each node has a part.
	PodsV4 = netip.MustParsePrefix("10.98.0.0/16")
	PodsV6 = netip.MustParsePrefix("fd98::/48")
)

// MaxNodes is how many nodes the LAN has places for.
const MaxNodes = 100

// Names of the hosts and of the segment that every lab has.
const (
	lanName     = "lan"
	fabricName  = "fabric"
	controlName = "cp"
	clientName  = "client"
)

// Places on the LAN; a host's last digits are the same in both families.
const (
	clientPlace    = 5
	controlPlace   = 10
	firstNodePlace = 11
)

// nodeName is the name of the i-th node, counted from 1.
func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

func nodePlace(i int) int { return firstNodePlace + i - 1 }

// lanAddresses are the two addresses of a place on the LAN.
func lanAddresses(place int) []netip.Prefix {
	v4 := LANv4.Addr().As4()
	v4[3] = byte(place)
	// fd99::11 and not fd99::b, so that people see who it is.
	v6 := netip.MustParseAddr(fmt.Sprintf("%s%d", LANv6.Addr(), place))
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4(v4), LANv4.Bits()),
		netip.PrefixFrom(v6, LANv6.Bits()),
	}
}

// podPrefixes are the pod addresses of the i-th node.
func podPrefixes(i int) []netip.Prefix {
	v4, v6 := PodsV4.Addr().As4(), PodsV6.Addr().As16()
	v4[2], v6[7] = byte(i), byte(i)
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4(v4), 24),
		netip.PrefixFrom(netip.AddrFrom16(v6), 64),
	}
}

// hardwareAddr is the MAC address of the interface with that IPv4 address,
// which it shows: 02:00:0a:63:00:0b belongs to 10.99.0.11.
func hardwareAddr(v4 netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x00}, v4.AsSlice()...)
}

// podRoutes lead to the pods of every node but the i-th.
func podRoutes(nodes, i int) []Route {
	var routes []Route
	for n := 1; n <= nodes; n++ {
		if n == i {
			continue
		}
		via := lanAddresses(nodePlace(n))
		for family, pods := range podPrefixes(n) {
			routes = append(routes, Route{To: pods, Via: via[family].Addr()})
		}
	}
	return routes
}

// defaultRoutes lead everywhere by way of the control plane's host. Nodes need
// them even with nothing behind: without a route for the cluster addresses the
// kernel drops a packet before kube-proxy's rules can send it elsewhere.
func defaultRoutes() []Route {
	via := lanAddresses(controlPlace)
	return []Route{
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: via[0].Addr()},
		{To: netip.MustParsePrefix("::/0"), Via: via[1].Addr()},
	}
}
