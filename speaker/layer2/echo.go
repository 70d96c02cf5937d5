package layer2

import (
	"encoding/binary"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// An echo message (RFC 792, RFC 4443 §4) with a nonce as its data. What the kernel
// hands over of ICMP begins with the IP header, of ICMPv6 it does not.
const (
	echoID    = 4
	echoNonce = 8
	echoLen   = 16
)

// appendEcho appends an echo request. The kernel fills in the checksum of ICMPv6.
func appendEcho(b []byte, f Family, id uint16, nonce uint64) []byte {
	request := byte(ipv4.ICMPTypeEcho)
	if f == IPv6 {
		request = byte(ipv6.ICMPTypeEchoRequest)
	}
	start := len(b)
	b = append(b, request, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, uint16(nonce)) // the sequence number, for people who look
	b = binary.BigEndian.AppendUint64(b, nonce)
	if f == IPv4 {
		binary.BigEndian.PutUint16(b[start+2:], ^foldChecksum(sumWords(0, b[start:])))
	}
	return b
}

// parseEcho returns the nonce of an echo reply to the asker with that id.
func parseEcho(b []byte, f Family, id uint16) (nonce uint64, ok bool) {
	reply := byte(ipv6.ICMPTypeEchoReply)
	if f == IPv4 {
		reply = byte(ipv4.ICMPTypeEchoReply)
		if len(b) < 1 {
			return 0, false
		}
		header := int(b[0]&0xf) * 4
		if b[0]>>4 != 4 || header < 20 || len(b) < header {
			return 0, false
		}
		b = b[header:]
	}
	if len(b) < echoLen || b[0] != reply || b[1] != 0 || binary.BigEndian.Uint16(b[echoID:]) != id {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[echoNonce:]), true
}

// sumWords adds the 16-bit words of b to a checksum (RFC 1071).
func sumWords(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// foldChecksum makes 16 bits of a sum.
func foldChecksum(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
