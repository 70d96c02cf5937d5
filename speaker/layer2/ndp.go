package layer2

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// An IPv6 packet with a Neighbor Solicitation (RFC 4861 §4.3), as offsets into
// its frame.
const (
	ipv6Len         = 40
	ipv6PayloadLen  = ethernetLen + 4
	ipv6NextHeader  = ethernetLen + 6
	ipv6HopLimit    = ethernetLen + 7
	ipv6Source      = ethernetLen + 8
	ipv6Destination = ethernetLen + 24

	icmpv6Offset = ethernetLen + ipv6Len
	icmpv6Type   = icmpv6Offset + 0
	icmpv6Code   = icmpv6Offset + 1
	nsTarget     = icmpv6Offset + 8
	nsOptions    = icmpv6Offset + nsLen
	nsLen        = 24
	naFlags      = icmpv6Offset + 4
	naSolicited  = 0x40

	protocolICMPv6 = 58
	optionUnit     = 8 // options are counted in units of 8 octets
)

var (
	allNodes    = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x01})
	allNodesMAC = multicastMAC(allNodes)
	// solicitedNodes has every solicited-node multicast address (RFC 4291 §2.7.1).
	solicitedNodes = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff}), 104)
)

// multicastMAC maps a multicast address to Ethernet (RFC 2464 §7).
func multicastMAC(group netip.Addr) MAC {
	a := group.As16()
	return MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}

// solicitedNode returns the group to which solicitations for address are sent.
func solicitedNode(address netip.Addr) netip.Addr {
	group, err := ndp.SolicitedNodeMulticast(address)
	if err != nil {
		panic(fmt.Sprintf("layer2: solicited-node group of %v: %v", address, err))
	}
	return group
}

// parseSolicitation reads a Neighbor Solicitation from a frame that arrived on
// the interface whose MAC is own, and validates it as RFC 4861 §7.1.1 says.
// The quotations are from there.
func parseSolicitation(frame []byte, own MAC) (question, DropReason) {
	frame, reason := icmpv6Of(frame)
	if reason != answered {
		return question{}, reason
	}
	// "ICMP Code is 0."
	if frame[icmpv6Type] != byte(ipv6.ICMPTypeNeighborSolicitation) || frame[icmpv6Code] != 0 {
		return question{}, DropNotRequest
	}
	if ethernetSource(frame) == own {
		return question{}, DropOwnFrame
	}
	// "The IP Hop Limit field has a value of 255, i.e., the packet could not
	// possibly have been forwarded by a router."
	if frame[ipv6HopLimit] != ndp.HopLimit {
		return question{}, DropHopLimit
	}
	// "ICMP Checksum is valid."
	if !validICMPv6Checksum(frame) {
		return question{}, DropChecksum
	}
	q := question{
		address:  netip.AddrFrom16([16]byte(frame[nsTarget:])),
		asker:    netip.AddrFrom16([16]byte(frame[ipv6Source:])),
		askerMAC: ethernetSource(frame),
	}
	// "Target Address is not a multicast address."
	if q.address.IsMulticast() || q.address.IsUnspecified() || q.address.Is4In6() {
		return question{}, DropTarget
	}
	source, found, ok := linkLayer(ndp.Source, frame[nsOptions:])
	if !ok {
		return question{}, DropOption
	}
	if q.asker.IsUnspecified() {
		// "If the IP source address is the unspecified address, the IP
		// destination address is a solicited-node multicast address" and "there
		// is no source link-layer address option in the message."
		if !solicitedNodes.Contains(netip.AddrFrom16([16]byte(frame[ipv6Destination:]))) {
			return question{}, DropSender
		}
		if found {
			return question{}, DropOption
		}
	} else if found {
		q.askerMAC = source
	}
	if !q.askerMAC.IsUnicast() || q.asker.IsMulticast() || q.asker.Is4In6() {
		return question{}, DropSender
	}
	return q, answered
}

// icmpv6Of returns a frame up to the end of the ICMPv6 message in it, which is long enough
// for a solicitation or an advertisement.
func icmpv6Of(frame []byte) ([]byte, DropReason) {
	if len(frame) < ethernetLen+ipv6Len {
		return nil, DropMalformed
	}
	if binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv6 || frame[ethernetLen]>>4 != 6 || frame[ipv6NextHeader] != protocolICMPv6 {
		return nil, DropOtherProtocol
	}
	// "ICMP length (derived from the IP length) is 24 or more octets."
	end := icmpv6Offset + int(binary.BigEndian.Uint16(frame[ipv6PayloadLen:]))
	if end < nsOptions || end > len(frame) {
		return nil, DropMalformed
	}
	return frame[:end], answered
}

// parseAdvertisement reads from a Neighbor Advertisement who says to have which address,
// and validates it as RFC 4861 §7.1.2 says, from where the quotations are.
func parseAdvertisement(frame []byte) (statement, bool) {
	frame, reason := icmpv6Of(frame)
	if reason != answered || frame[icmpv6Type] != byte(ipv6.ICMPTypeNeighborAdvertisement) || frame[icmpv6Code] != 0 ||
		frame[ipv6HopLimit] != ndp.HopLimit || !validICMPv6Checksum(frame) {
		return statement{}, false
	}
	s := statement{address: netip.AddrFrom16([16]byte(frame[nsTarget:])), mac: ethernetSource(frame), source: ethernetSource(frame)}
	// "Target Address is not a multicast address."
	if s.address.IsMulticast() || s.address.IsUnspecified() || s.address.Is4In6() {
		return statement{}, false
	}
	// "If the IP Destination Address is a multicast address the Solicited flag is zero."
	s.answer = frame[naFlags]&naSolicited != 0
	if frame[ipv6Destination] == 0xff && s.answer {
		return statement{}, false
	}
	target, found, ok := linkLayer(ndp.Target, frame[nsOptions:])
	if found {
		s.mac = target
	}
	return s, ok && s.mac.IsUnicast()
}

// linkLayer walks through options and returns the link-layer address of that direction
// if there is one. ok is false when the options break a rule: "All
// included options have a length that is greater than zero." Options that have
// no meaning here are skipped, whatever is in them (RFC 4861 §9).
func linkLayer(d ndp.Direction, options []byte) (mac MAC, found, ok bool) {
	for len(options) > 0 {
		if len(options) < 2 {
			return MAC{}, false, false
		}
		size := int(options[1]) * optionUnit
		if size == 0 || size > len(options) {
			return MAC{}, false, false
		}
		if ndp.Direction(options[0]) == d && !found {
			if size != optionUnit {
				return MAC{}, false, false
			}
			mac, found = MAC(options[2:]), true
		}
		options = options[size:]
	}
	return mac, found, true
}

// appendNeighborAdvertisement appends the answer to q (RFC 4861 §7.2.4): mac has
// the address. Like a kernel's own, it comes from the address that was asked
// for. Who only probes has no address to answer to, so all nodes hear it.
func appendNeighborAdvertisement(b []byte, own, mac MAC, q question) []byte {
	if q.asker.IsUnspecified() {
		return appendAdvertisement(b, own, allNodesMAC, q.address, allNodes, q.address, mac, false)
	}
	return appendAdvertisement(b, own, q.askerMAC, q.address, q.asker, q.address, mac, true)
}

// appendUnsolicitedAdvertisement appends the advertisement that tells all nodes
// of a change (RFC 4861 §7.2.6). It comes from source, the interface's
// link-local address; where there is none, from the address itself.
func appendUnsolicitedAdvertisement(b []byte, own MAC, source, address netip.Addr) []byte {
	if !source.IsValid() {
		source = address
	}
	return appendAdvertisement(b, own, allNodesMAC, source, allNodes, address, own, false)
}

// appendSolicitation appends a Neighbor Solicitation from source for address, to the MAC
// to, or to the address's group if that is zero.
func appendSolicitation(b []byte, own, to MAC, source, address netip.Addr) []byte {
	dst := address
	if to.IsZero() {
		dst = solicitedNode(address)
		to = multicastMAC(dst)
	}
	return appendNDP(b, own, to, source, dst, &ndp.NeighborSolicitation{
		TargetAddress: address,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: own[:]}},
	})
}

// appendDuplicateProbe appends the Neighbor Solicitation by which a host finds out whether address
// is free (RFC 4862 §5.4.2).
func appendDuplicateProbe(b []byte, own MAC, address netip.Addr) []byte {
	group := solicitedNode(address)
	return appendNDP(b, own, multicastMAC(group), netip.IPv6Unspecified(), group, &ndp.NeighborSolicitation{TargetAddress: address})
}

func appendAdvertisement(b []byte, own, dstMAC MAC, src, dst, target netip.Addr, mac MAC, solicited bool) []byte {
	return appendNDP(b, own, dstMAC, src, dst, &ndp.NeighborAdvertisement{
		// Not Router: the node may route, but nobody should take the address
		// for a router's. Override: this is the one answer, not a proxy's.
		Solicited:     solicited,
		Override:      true,
		TargetAddress: target,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac[:]}},
	})
}

// appendNDP appends a frame with an NDP message.
func appendNDP(b []byte, own, dstMAC MAC, src, dst netip.Addr, m ndp.Message) []byte {
	message, err := ndp.MarshalMessageChecksum(m, src, dst)
	if err != nil {
		panic(fmt.Sprintf("layer2: building %+v from %v to %v: %v", m, src, dst, err))
	}
	b = appendEthernet(b, dstMAC, own, etherTypeIPv6)
	b = append(b, 6<<4, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(message)))
	b = append(b, protocolICMPv6, ndp.HopLimit)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return append(b, message...)
}

// validICMPv6Checksum checks the sum over the pseudo-header (RFC 8200 §8.1) and
// the message, which reaches to the end of the frame. Its sum with the checksum in place is all ones.
func validICMPv6Checksum(frame []byte) bool {
	length := len(frame) - icmpv6Offset
	sum := uint32(length) + protocolICMPv6 // fits: a payload is below 64 KiB
	sum = sumWords(sum, frame[ipv6Source:icmpv6Offset])
	return foldChecksum(sumWords(sum, frame[icmpv6Offset:])) == 0xffff
}
