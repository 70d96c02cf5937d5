package layer2

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Neighbors returns hosts on a link that this node's kernel has talked with, at most limit of them, those first that answered last: as
// [Announcer.Hosts], who could be asked whether this node is still connected.
func Neighbors(l Link, family Family, limit int) []Asker {
	kernels := netlink.FAMILY_V4
	if family == IPv6 {
		kernels = netlink.FAMILY_V6
	}
	table, err := netlink.NeighList(l.Index, kernels)
	if err != nil {
		return nil // there are others to ask, mostly
	}
	return neighborsAmong(l, table, limit)
}

// neighborsAmong picks from a kernel's table.
func neighborsAmong(l Link, table []netlink.Neigh, limit int) []Asker {
	slices.SortStableFunc(table, func(a, b netlink.Neigh) int {
		return cmp.Compare(b.State&netlink.NUD_REACHABLE, a.State&netlink.NUD_REACHABLE)
	})
	var hosts []Asker
	for _, n := range table {
		address, ok := netip.AddrFromSlice(n.IP)
		address = address.Unmap()
		const answered = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE
		switch {
		case len(hosts) == limit:
			return hosts
		case !ok || n.LinkIndex != l.Index || n.State&answered == 0 || len(n.HardwareAddr) != len(MAC{}):
		case !l.OnLink(address) && !address.IsLinkLocalUnicast() || address.IsMulticast():
		default:
			hosts = append(hosts, Asker{Address: address, MAC: MAC(n.HardwareAddr)})
		}
	}
	return hosts
}
