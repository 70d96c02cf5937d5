package layer2

import "encoding/binary"

// The Ethernet header, as in IEEE 802.3 with an EtherType.
const (
	ethernetLen = 14

	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	etherTypeIPv6 = 0x86dd
)

var broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// maxFrame is the longest frame that is looked at whole. Requests are far
// shorter; what is longer is cut off by the kernel and refused as malformed.
const maxFrame = 2048

// appendEthernet appends an Ethernet header. The source is always the
// interface's own MAC, whatever the payload says, so that switches keep the
// station on the port where it is.
func appendEthernet(b []byte, dst, src MAC, etherType uint16) []byte {
	b = append(b, dst[:]...)
	b = append(b, src[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}

// ethernetSource returns the source of a frame that has a whole header.
func ethernetSource(frame []byte) MAC { return MAC(frame[6:12]) }

// ethernetDestination returns the destination of a frame that has a whole header.
func ethernetDestination(frame []byte) MAC { return MAC(frame[:6]) }
