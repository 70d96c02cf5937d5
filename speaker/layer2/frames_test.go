package layer2

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
)

// Who is who in the tests of frames.
var (
	ourMAC    = MAC{0x02, 0, 0, 0, 0, 0x01}
	clientMAC = MAC{0x02, 0, 0, 0, 0, 0x02}
	otherMAC  = MAC{0x02, 0, 0, 0, 0, 0x03}

	ourLinkLocal = netip.MustParseAddr("fe80::1")
	client4      = netip.MustParseAddr("192.0.2.2")
	client6      = netip.MustParseAddr("2001:db8::2")
	vip4         = netip.MustParseAddr("192.0.2.100")
	vip6         = netip.MustParseAddr("2001:db8::100")
)

// clientRequest is the request by which the client asks for an address.
func clientRequest(mac MAC, address netip.Addr) []byte {
	if address.Is4() {
		return arpRequest(mac, client4, address)
	}
	return neighborSolicitation(mac, client6, address)
}

// arpRequest is the request that a client broadcasts.
func arpRequest(mac MAC, from, address netip.Addr) []byte {
	return appendARP(appendEthernet(nil, broadcast, mac, etherTypeARP), arp.OperationRequest, mac, from, MAC{}, address)
}

// neighborSolicitation is the solicitation that a client multicasts.
func neighborSolicitation(mac MAC, from, address netip.Addr) []byte {
	group := solicitedNode(address)
	return solicitation{dstMAC: multicastMAC(group), srcMAC: mac, src: from, dst: group, target: address, options: sourceOption(mac)}.frame()
}

// duplicateProbe is the solicitation by which a host finds out whether the
// address that it wants is free.
func duplicateProbe(mac MAC, address netip.Addr) []byte {
	group := solicitedNode(address)
	return solicitation{dstMAC: multicastMAC(group), srcMAC: mac, src: netip.IPv6Unspecified(), dst: group, target: address}.frame()
}

// A solicitation is a frame with a Neighbor Solicitation of any content, with a
// checksum that is right.
type solicitation struct {
	dstMAC, srcMAC MAC
	src, dst       netip.Addr
	target         netip.Addr
	options        []byte
	code, hopLimit byte // no hop limit means 255
}

func (s solicitation) frame() []byte {
	if s.hopLimit == 0 {
		s.hopLimit = 255
	}
	b := appendEthernet(nil, s.dstMAC, s.srcMAC, etherTypeIPv6)
	b = append(b, 6<<4, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(nsLen+len(s.options)))
	b = append(b, protocolICMPv6, s.hopLimit)
	b = append(b, s.src.AsSlice()...)
	b = append(b, s.dst.AsSlice()...)
	b = append(b, 135, s.code, 0, 0, 0, 0, 0, 0)
	b = append(b, s.target.AsSlice()...)
	b = append(b, s.options...)
	return withChecksum(b)
}

// withChecksum sets the checksum of an ICMPv6 message that reaches to the end of
// the frame, the slow and obvious way.
func withChecksum(frame []byte) []byte {
	frame[icmpv6Offset+2], frame[icmpv6Offset+3] = 0, 0
	message := frame[icmpv6Offset:]
	pseudo := slices.Clone(frame[ipv6Source:icmpv6Offset])
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(message)))
	pseudo = append(pseudo, 0, 0, 0, protocolICMPv6)
	all := append(pseudo, message...)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var sum uint64
	for i := 0; i < len(all); i += 2 {
		sum += uint64(all[i])<<8 | uint64(all[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], ^uint16(sum))
	return frame
}

func sourceOption(mac MAC) []byte { return append([]byte{1, 1}, mac[:]...) }

// changed returns a copy of the frame with other bytes at an offset.
func changed(frame []byte, offset int, b ...byte) []byte {
	frame = slices.Clone(frame)
	copy(frame[offset:], b)
	return frame
}

// readARP reads a frame by the library.
func readARP(t testing.TB, frame []byte) (dst, src MAC, p arp.Packet) {
	t.Helper()
	if err := p.UnmarshalBinary(frame[ethernetLen:]); err != nil {
		t.Fatalf("reading ARP packet % x: %v", frame, err)
	}
	return MAC(frame[:6]), MAC(frame[6:12]), p
}

// readAdvertisement reads a frame by the library, and checks what every
// advertisement of ours has to be.
func readAdvertisement(t testing.TB, frame []byte) (src, dst netip.Addr, na *ndp.NeighborAdvertisement) {
	t.Helper()
	if !validICMPv6Checksum(frame) || frame[ipv6HopLimit] != 255 || int(binary.BigEndian.Uint16(frame[ipv6PayloadLen:])) != len(frame)-icmpv6Offset {
		t.Fatalf("bad checksum, hop limit or length in % x", frame)
	}
	m, err := ndp.ParseMessage(frame[icmpv6Offset:])
	if err != nil {
		t.Fatalf("reading advertisement % x: %v", frame, err)
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok || na.Router || !na.Override {
		t.Fatalf("expected an overriding advertisement of no router, got %+v", m)
	}
	return netip.AddrFrom16([16]byte(frame[ipv6Source:])), netip.AddrFrom16([16]byte(frame[ipv6Destination:])), na
}

// targetMAC returns the link-layer address that an advertisement tells.
func targetMAC(t testing.TB, na *ndp.NeighborAdvertisement) MAC {
	t.Helper()
	for _, o := range na.Options {
		if lla, ok := o.(*ndp.LinkLayerAddress); ok && lla.Direction == ndp.Target {
			return MAC(lla.Addr)
		}
	}
	t.Fatalf("no target link-layer address in %+v", na)
	return MAC{}
}

// passes runs a filter program on a frame that is for this host.
func passes(t testing.TB, program []bpf.Instruction, frame []byte) bool {
	t.Helper()
	program = slices.Clone(program)
	for i, instruction := range program {
		// Package bpf's machine has no packet type.
		if instruction == (bpf.LoadExtension{Num: bpf.ExtType}) {
			program[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: 0}
		}
	}
	machine, err := bpf.NewVM(program)
	if err != nil {
		t.Fatalf("filter program: %v", err)
	}
	n, err := machine.Run(frame)
	if err != nil {
		t.Fatalf("running filter program: %v", err)
	}
	return n > 0
}

// claims reads a frame: does it say who has address, and with what MAC?
func claims(frame []byte, address netip.Addr) (MAC, bool) {
	if len(frame) >= ethernetLen+arpLen && binary.BigEndian.Uint16(frame[12:]) == etherTypeARP {
		return MAC(frame[arpSenderMAC:]), netip.AddrFrom4([4]byte(frame[arpSenderAddress:])) == address
	}
	if len(frame) >= nsOptions+8 && frame[ipv6NextHeader] == protocolICMPv6 && frame[icmpv6Type] == byte(ipv6.ICMPTypeNeighborAdvertisement) {
		return MAC(frame[nsOptions+2:]), netip.AddrFrom16([16]byte(frame[nsTarget:])) == address
	}
	return MAC{}, false
}
