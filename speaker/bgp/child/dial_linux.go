package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// kernel is the real network.
type kernel struct{}

// dialPatience is how long a connection may take to come about.
const dialPatience = 5 * time.Second

// dial implements network. None of what it asks of the kernel needs a capability, apart from SO_BINDTODEVICE
// before Linux 5.7 (NET_RAW).
func (kernel) dial(ctx context.Context, p *bgp.Peer, router netip.Addr) (net.Conn, error) {
	source, err := sourceOf(p, router)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		Timeout:   dialPatience,
		KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if controlErr := c.Control(func(fd uintptr) { err = prepare(int(fd), p, router) }); controlErr != nil {
				return controlErr
			}
			return err
		},
	}
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(router, p.Port).String())
}

// sourceOf is where to connect from; invalid leaves it to the kernel.
func sourceOf(p *bgp.Peer, router netip.Addr) (netip.Addr, error) {
	if p.SourceAddress.IsValid() || p.SourceInterface == "" {
		return p.SourceAddress, nil
	}
	v4, v6, linkLocal, err := addressesOf(p.SourceInterface)
	switch {
	case err != nil:
		return netip.Addr{}, &sourceError{err}
	case router.Is4():
		v6 = v4
	case router.IsLinkLocalUnicast():
		v6 = linkLocal
	}
	if !v6.IsValid() {
		return netip.Addr{}, &sourceError{fmt.Errorf("interface %s has no address to reach %s from", p.SourceInterface, router)}
	}
	return v6, nil
}

// sourceError is that the node lacks what connections should start from.
type sourceError struct{ error }

// prepare makes a socket what the session needs before its first packet.
func prepare(fd int, p *bgp.Peer, router netip.Addr) error {
	if p.Device != "" {
		if err := unix.BindToDevice(fd, p.Device); err != nil {
			if errors.Is(err, unix.ENODEV) {
				return &sourceError{fmt.Errorf("there is no device %s", p.Device)}
			}
			return fmt.Errorf("bind to device %s: %w", p.Device, err)
		}
	}
	level, ttl, minimum := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL
	if router.Is6() {
		level, ttl, minimum = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT
	}
	switch {
	case p.TTLSecurity > 0:
		if err := unix.SetsockoptInt(fd, level, ttl, 255); err != nil {
			return fmt.Errorf("set TTL: %w", err)
		}
		if err := unix.SetsockoptInt(fd, level, minimum, 256-p.TTLSecurity); err != nil {
			return fmt.Errorf("set lowest TTL: %w", err)
		}
	case !p.Multihop && (p.DynamicASN == bgp.ExternalASN || p.PeerASN != 0 && !p.Internal(p.PeerASN)):
		// A router on our link: nobody forwards our packets.
		if err := unix.SetsockoptInt(fd, level, ttl, 1); err != nil {
			return fmt.Errorf("set TTL: %w", err)
		}
	}
	// Routing protocols' precedence (RFC 4271 appendix E).
	const internetControl = 0xc0
	if router.Is6() {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, internetControl) // it helps, no more
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, internetControl)
	}
	if p.Password == "" {
		return nil
	}
	return setMD5(fd, router, string(p.Password))
}

func setMD5(fd int, router netip.Addr, password string) error {
	sig := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(sig.Key[:], password)
	if router.Is4() {
		sig.Addr.Family = unix.AF_INET
		copy(sig.Addr.Data[2:], router.AsSlice()) // after the port
	} else {
		sig.Addr.Family = unix.AF_INET6
		copy(sig.Addr.Data[6:], router.WithZone("").AsSlice()) // after port and flow
	}
	if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig); err != nil {
		return fmt.Errorf("set the TCP-MD5 password: %w", err)
	}
	return nil
}

// addressesOf are the addresses of an interface that can be sources and next hops.
func addressesOf(name string) (v4, v6, linkLocal netip.Addr, err error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return v4, v6, linkLocal, fmt.Errorf("interface %s: %w", name, err)
	}
	all, err := iface.Addrs()
	if err != nil {
		return v4, v6, linkLocal, fmt.Errorf("interface %s: %w", name, err)
	}
	for _, one := range all {
		prefix, ok := one.(*net.IPNet)
		if !ok {
			continue
		}
		a, _ := netip.AddrFromSlice(prefix.IP)
		a = a.Unmap()
		ones, bits := prefix.Mask.Size()
		switch {
		case a.Is6() && a.IsLinkLocalUnicast():
			linkLocal = first(linkLocal, a)
		case ones == bits && name != "lo":
			// An address of one host may be a Service's, which another speaker or tool put there.
			continue
		case a.Is4() && !a.IsLoopback():
			v4 = first(v4, a)
		case a.Is6() && a.IsGlobalUnicast():
			v6 = first(v6, a)
		}
	}
	return v4, v6, linkLocal, nil
}

func first(a, b netip.Addr) netip.Addr {
	if a.IsValid() {
		return a
	}
	return b
}

// nextHops implements network: the connection's own address, and what else the interface has that it is on.
func (kernel) nextHops(local netip.Addr) (v4, v6, linkLocal netip.Addr) {
	zone := local.Zone()
	local = local.Unmap().WithZone("")
	if name := interfaceWith(local, zone); name != "" {
		v4, v6, linkLocal, _ = addressesOf(name) // without it there is still the connection's own
	}
	switch {
	case local.Is4():
		v4 = local
	case local.IsLinkLocalUnicast():
		linkLocal = local
	default:
		v6 = local
	}
	return v4, v6, linkLocal
}

func interfaceWith(a netip.Addr, zone string) string {
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, iface := range all {
		if zone != "" && iface.Name != zone {
			continue
		}
		addresses, err := iface.Addrs()
		if err != nil {
			continue
		}
		for _, one := range addresses {
			if prefix, ok := one.(*net.IPNet); ok {
				if b, _ := netip.AddrFromSlice(prefix.IP); b.Unmap() == a {
					return iface.Name
				}
			}
		}
	}
	return ""
}

// lowTTLs implements network: how many packets the kernel dropped so far because of a lowest TTL.
func (kernel) lowTTLs() uint64 {
	content, err := os.ReadFile("/proc/self/net/netstat")
	if err != nil {
		return 0
	}
	return netstat(string(content), "TcpExt:", "TCPMinTTLDrop")
}

// netstat finds a counter in pairs of lines, names above numbers.
func netstat(content, group, counter string) uint64 {
	var names []string
	for line := range strings.Lines(content) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != group {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == counter && i < len(fields) {
				n, _ := strconv.ParseUint(fields[i], 10, 64)
				return n
			}
		}
		return 0
	}
	return 0
}

// noConnection tells why a connection did not come about.
func noConnection(err error, p *bgp.Peer, router netip.Addr, tooFar bool) (bgp.Reason, string) {
	at := netip.AddrPortFrom(router, p.Port)
	var source *sourceError
	var timeout net.Error
	switch {
	case tooFar:
		return lowTTL(p, router)
	case errors.As(err, &source):
		return bgp.SourceUnavailable, source.Error()
	case errors.Is(err, unix.EADDRNOTAVAIL) && !p.SourceAddress.IsValid():
		return bgp.SourceUnavailable, fmt.Sprintf("this node has no address to reach %s from: see whether %s is on, and has an address, on the interface", router, family(router))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return bgp.SourceUnavailable, fmt.Sprintf("this node does not have the source address %s", p.SourceAddress)
	case errors.Is(err, unix.ECONNREFUSED):
		said := fmt.Sprintf("nobody takes BGP connections at %s", at)
		if isOwn(router) {
			said += ", which is this node itself"
		}
		return bgp.ConnectionRefused, said
	case errors.Is(err, unix.ENETUNREACH):
		return bgp.Unreachable, fmt.Sprintf("this node has no route to %s", router)
	case errors.Is(err, unix.EHOSTUNREACH):
		return bgp.Unreachable, fmt.Sprintf("nobody on the way answers for %s", router)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return bgp.NotPermitted, "the kernel refuses: " + err.Error()
	case errors.Is(err, unix.ENOPROTOOPT):
		return bgp.NotPermitted, "the kernel cannot do what the session needs: " + err.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return bgp.ConnectTimeout, fmt.Sprintf("no answer from %s: %s", at, silence(p))
	}
	return bgp.Unreachable, fmt.Sprintf("no connection with %s: %s", at, err)
}

// family is an address family in words.
func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// isOwn reports whether an address is one of this node's.
func isOwn(a netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(own, func(one net.Addr) bool {
		n, is := one.(*net.IPNet)
		if !is {
			return false
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		return ok && ip.Unmap() == a.WithZone("")
	})
}

// lowTTL is what it means that the kernel drops a router's packets because of their TTL.
func lowTTL(p *bgp.Peer, router netip.Addr) (bgp.Reason, string) {
	return bgp.TTLTooLow, fmt.Sprintf("packets from %s come with a TTL below %d: ttlSecurity is not set at the router, or it is more hops away than maxHops, %d", router, 256-p.TTLSecurity, p.TTLSecurity)
}

// silence lists what makes a router not answer, by what the session is like.
func silence(p *bgp.Peer) string {
	reasons := []string{"the router is down", "something in between drops packets"}
	if p.Password != "" {
		reasons = append(reasons, "the router has another TCP-MD5 password or none")
	} else {
		reasons = append(reasons, "the router wants a TCP-MD5 password")
	}
	if p.TTLSecurity > 0 {
		reasons = append(reasons, "ttlSecurity differs")
	} else if !p.Multihop && !p.Internal(p.PeerASN) && p.DynamicASN != bgp.InternalASN {
		reasons = append(reasons, "it is not on a link of this node and ebgpMultiHop is not set")
	}
	return strings.Join(reasons[:len(reasons)-1], ", ") + ", or " + reasons[len(reasons)-1]
}
