package bgp

import (
	"crypto/sha256"
	"net/netip"
)

// RouterID is a BGP identifier that a node keeps: its first IPv4 address or, where it has none, a number
// made from its name, which looks like a unicast address.
func RouterID(node string, addresses []netip.Addr) netip.Addr {
	for _, a := range addresses {
		if a = a.Unmap(); a.Is4() && !a.IsUnspecified() && !a.IsLoopback() {
			return a
		}
	}
	sum := sha256.Sum256([]byte(node))
	id := [4]byte(sum[:4])
	// 1.x.x.x to 126.x.x.x: neither 0.0.0.0 nor loopback nor multicast.
	id[0] = 1 + id[0]%126
	return netip.AddrFrom4(id)
}
