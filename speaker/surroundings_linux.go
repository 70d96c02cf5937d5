package speaker

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// gateways are the next hops of this node's default routes, link-local ones left out: they can't be a Service's address
// anyway. What the kernel does not tell is not known.
func gateways() (out []netip.Addr) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	add := func(ip []byte) {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap().IsGlobalUnicast() {
			out = append(out, a.Unmap())
		}
	}
	for _, r := range routes {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				continue
			}
		}
		add(r.Gw)
		for _, hop := range r.MultiPath {
			add(hop.Gw)
		}
	}
	return out
}
