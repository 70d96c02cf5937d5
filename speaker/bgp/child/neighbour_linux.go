package child

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// solicitPatience is how long routers have to answer a solicitation: they may wait for half a second, and for
// their last advertisement to be three seconds old (RFC 4861 section 6.2.6).
const solicitPatience = 4 * time.Second

// router implements network: the router at the other end of an interface, by its link-local address. The kernel
// knows it from router advertisements; where it does not, we ask. We also advertise ourselves, since routers
// learn by that who is at their end: as no default router for anybody. Both needs NET_RAW.
func (kernel) router(ctx context.Context, name string) (netip.Addr, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, &sourceError{fmt.Errorf("this node has no interface %s", name)}
	}
	known, found := knownRouter(iface)
	c, self, err := ndp.Listen(iface, ndp.LinkLocal)
	if err != nil {
		if found {
			return known, nil // it may know us too
		}
		return netip.Addr{}, fmt.Errorf("ask for routers on %s: %w", name, err)
	}
	defer c.Close()
	advertisement := &ndp.RouterAdvertisement{}
	if len(iface.HardwareAddr) == 6 {
		advertisement.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: iface.HardwareAddr}}
	}
	if err := c.WriteTo(advertisement, nil, netip.IPv6LinkLocalAllNodes()); err != nil {
		return netip.Addr{}, fmt.Errorf("advertise %s on %s: %w", self, name, err)
	}
	if found {
		return known, nil
	}
	return solicit(ctx, c, iface, self)
}

// knownRouter looks in the kernel's neighbour table for an entry that has advertised itself as a router.
func knownRouter(iface *net.Interface) (netip.Addr, bool) {
	_, _, self, err := addressesOf(iface.Name)
	if err != nil {
		return netip.Addr{}, false
	}
	// Our own advertisements come back to us.
	entries, err := netlink.NeighList(iface.Index, unix.AF_INET6)
	if err != nil {
		return netip.Addr{}, false // the router can still be asked
	}
	for _, e := range entries {
		a, ok := netip.AddrFromSlice(e.IP)
		if ok && a.IsLinkLocalUnicast() && a != self && e.Flags&unix.NTF_ROUTER != 0 && e.State&unix.NUD_FAILED == 0 {
			return a.WithZone(iface.Name), true
		}
	}
	return netip.Addr{}, false
}

// solicit asks who is a router and takes the first that answers.
func solicit(ctx context.Context, c *ndp.Conn, iface *net.Interface, self netip.Addr) (netip.Addr, error) {
	if err := c.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true); err != nil {
		return netip.Addr{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := c.SetReadDeadline(time.Now().Add(solicitPatience)); err != nil {
		return netip.Addr{}, err
	}
	if err := c.WriteTo(&ndp.RouterSolicitation{}, nil, netip.IPv6LinkLocalAllRouters()); err != nil {
		return netip.Addr{}, fmt.Errorf("ask for routers on %s: %w", iface.Name, err)
	}
	for {
		message, control, from, err := c.ReadFrom()
		if err != nil {
			return netip.Addr{}, err
		}
		// RFC 4861 section 6.1.2.
		if _, ok := message.(*ndp.RouterAdvertisement); ok && control != nil && control.HopLimit == ndp.HopLimit &&
			control.IfIndex == iface.Index && from.IsLinkLocalUnicast() && from.WithZone("") != self.WithZone("") {
			return from.WithZone(iface.Name), nil
		}
	}
}
