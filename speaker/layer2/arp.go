package layer2

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/arp"
)

// An ARP packet for IPv4 over Ethernet (RFC 826), as offsets into its frame.
const (
	arpLen = 28

	arpHardwareType  = ethernetLen + 0
	arpProtocolType  = ethernetLen + 2
	arpLengths       = ethernetLen + 4
	arpOperation     = ethernetLen + 6
	arpSenderMAC     = ethernetLen + 8
	arpSenderAddress = ethernetLen + 14
	arpTargetMAC     = ethernetLen + 18
	arpTargetAddress = ethernetLen + 24

	hardwareTypeEthernet = 1
	ethernetIPv4Lengths  = 6<<8 | 4
)

// parseARPRequest reads a request from a frame that arrived on the interface
// whose MAC is own.
func parseARPRequest(frame []byte, own MAC) (question, DropReason) {
	if len(frame) < ethernetLen+arpLen {
		return question{}, DropMalformed
	}
	field := func(offset int) uint16 { return binary.BigEndian.Uint16(frame[offset:]) }
	if field(12) != etherTypeARP || field(arpHardwareType) != hardwareTypeEthernet ||
		field(arpProtocolType) != etherTypeIPv4 || field(arpLengths) != ethernetIPv4Lengths {
		return question{}, DropOtherProtocol
	}
	if arp.Operation(field(arpOperation)) != arp.OperationRequest {
		return question{}, DropNotRequest
	}
	if ethernetSource(frame) == own {
		return question{}, DropOwnFrame
	}
	q := question{
		address:  netip.AddrFrom4([4]byte(frame[arpTargetAddress:])),
		asker:    netip.AddrFrom4([4]byte(frame[arpSenderAddress:])),
		askerMAC: MAC(frame[arpSenderMAC:]),
	}
	if !q.askerMAC.IsUnicast() || q.asker.IsMulticast() || q.asker == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return question{}, DropSender
	}
	return q, answered
}

// parseARPStatement reads from a frame, whatever its operation, who says to have which
// address: every ARP packet does, but for the probes of RFC 5227.
func parseARPStatement(frame []byte) (statement, bool) {
	if len(frame) < ethernetLen+arpLen {
		return statement{}, false
	}
	field := func(offset int) uint16 { return binary.BigEndian.Uint16(frame[offset:]) }
	if field(12) != etherTypeARP || field(arpHardwareType) != hardwareTypeEthernet ||
		field(arpProtocolType) != etherTypeIPv4 || field(arpLengths) != ethernetIPv4Lengths {
		return statement{}, false
	}
	switch arp.Operation(field(arpOperation)) {
	case arp.OperationRequest, arp.OperationReply:
	default:
		return statement{}, false
	}
	s := statement{address: netip.AddrFrom4([4]byte(frame[arpSenderAddress:])), mac: MAC(frame[arpSenderMAC:]), source: ethernetSource(frame)}
	s.answer = field(arpOperation) == uint16(arp.OperationReply) && binary.BigEndian.Uint32(frame[arpTargetAddress:]) == 0
	return s, s.mac.IsUnicast() && !s.address.IsUnspecified() && !s.address.IsMulticast()
}

// appendARPReply appends the answer to q: mac has the address. The frame's
// Ethernet source is own, which is not mac where one node stands in for another.
func appendARPReply(b []byte, own, mac MAC, q question) []byte {
	b = appendEthernet(b, q.askerMAC, own, etherTypeARP)
	return appendARP(b, arp.OperationReply, mac, q.address, q.askerMAC, q.asker)
}

// appendARPAnnouncement appends the ARP Announcement of RFC 5227 §3: a request
// in which sender and target are the address announced. It comes first, because
// Linux lets only a gratuitous frame override an entry that is younger than its
// locktime, and because some hosts heed no other form.
func appendARPAnnouncement(b []byte, own MAC, address netip.Addr) []byte {
	b = appendEthernet(b, broadcast, own, etherTypeARP)
	return appendARP(b, arp.OperationRequest, own, address, MAC{}, address)
}

// appendGratuitousReply appends the other form of a gratuitous frame, a reply to
// nobody, for hosts that heed replies only. Its target MAC is the sender's:
// that is how Linux knows a gratuitous reply.
func appendGratuitousReply(b []byte, own MAC, address netip.Addr) []byte {
	b = appendEthernet(b, broadcast, own, etherTypeARP)
	return appendARP(b, arp.OperationReply, own, address, own, address)
}

// appendARPProbe appends the ARP Probe of RFC 5227 §2.1.1: a request without a sender
// address, so that nobody's cache is changed by it. It goes to the MAC to, or to all if
// that is zero.
func appendARPProbe(b []byte, own, to MAC, address netip.Addr) []byte {
	if to.IsZero() {
		to = broadcast
	}
	b = appendEthernet(b, to, own, etherTypeARP)
	return appendARP(b, arp.OperationRequest, own, netip.IPv4Unspecified(), MAC{}, address)
}

// appendARPRequest appends an ordinary request from sender for address, to the MAC to or
// to all if that is zero. Whoever gets it has to answer and so to note sender's MAC
// (RFC 826), other than a gratuitous one, which some devices ignore.
func appendARPRequest(b []byte, own, to MAC, sender, address netip.Addr) []byte {
	if to.IsZero() {
		to = broadcast
	}
	b = appendEthernet(b, to, own, etherTypeARP)
	return appendARP(b, arp.OperationRequest, own, sender, MAC{}, address)
}

func appendARP(b []byte, op arp.Operation, senderMAC MAC, sender netip.Addr, targetMAC MAC, target netip.Addr) []byte {
	p, err := arp.NewPacket(op, senderMAC[:], sender, targetMAC[:], target)
	if err != nil {
		panic(fmt.Sprintf("layer2: building ARP packet for %v from %v: %v", target, sender, err))
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		panic(fmt.Sprintf("layer2: marshaling ARP packet %+v: %v", p, err))
	}
	return append(b, payload...)
}
