package layer2

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

func TestStatements(t *testing.T) {
	probe := arpRequest(otherMAC, netip.IPv4Unspecified(), vip4)
	na := appendUnsolicitedAdvertisement(nil, otherMAC, netip.MustParseAddr("fe80::3"), vip6)
	standIn := question{address: vip4, asker: client4, askerMAC: clientMAC}
	for _, c := range []struct {
		name   string
		family Family
		frame  []byte
		want   statement
		ok     bool
	}{
		{"an announcement says it", IPv4, appendARPAnnouncement(nil, otherMAC, vip4), statement{vip4, otherMAC, otherMAC, false}, true},
		{"so does a gratuitous reply", IPv4, appendGratuitousReply(nil, otherMAC, vip4), statement{vip4, otherMAC, otherMAC, false}, true},
		{"so does any request", IPv4, arpRequest(otherMAC, vip4, client4), statement{vip4, otherMAC, otherMAC, false}, true},
		{"an answer to a probe is one", IPv4, says(otherMAC, vip4), statement{vip4, otherMAC, otherMAC, true}, true},
		{"who stands in says it of another", IPv4, appendARPReply(nil, clientMAC, otherMAC, standIn), statement{vip4, otherMAC, clientMAC, false}, true},
		{"a probe says nothing", IPv4, probe, statement{}, false},
		{"nor does an operation that is no ARP", IPv4, changed(probe, arpOperation, 0, 9), statement{}, false},
		{"nor a host at all MACs", IPv4, changed(appendARPAnnouncement(nil, otherMAC, vip4), arpSenderMAC, 0xff), statement{}, false},
		{"nor half a frame", IPv4, probe[:30], statement{}, false},
		{"an advertisement says it", IPv6, na, statement{vip6, otherMAC, otherMAC, false}, true},
		{"an answer to a look is one", IPv6, answersLook(otherMAC, vip6), statement{vip6, otherMAC, otherMAC, true}, true},
		{"a solicitation says nothing", IPv6, neighborSolicitation(otherMAC, client6, vip6), statement{}, false},
		{"nor what a router forwarded", IPv6, changed(na, ipv6HopLimit, 64), statement{}, false},
		{"nor what has a wrong checksum", IPv6, changed(na, nsTarget+15, 9), statement{}, false},
		{"nor half an option", IPv6, na[:len(na)-1], statement{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := protocols[c.family].statement(c.frame)
			if ok != c.ok || ok && got != c.want {
				t.Errorf("got %+v, %t; expected %+v, %t", got, ok, c.want, c.ok)
			}
		})
	}
}

// Our reading of what others say is held against the library's.
func FuzzARPStatement(f *testing.F) {
	f.Add(appendARPAnnouncement(nil, otherMAC, vip4))
	f.Add(says(otherMAC, vip4))
	f.Add(arpRequest(otherMAC, netip.IPv4Unspecified(), vip4))
	f.Fuzz(func(t *testing.T, frame []byte) {
		s, ok := parseARPStatement(frame)
		if !ok {
			return
		}
		var p arp.Packet
		if err := p.UnmarshalBinary(frame[ethernetLen:]); err != nil {
			t.Fatalf("%x is read as %+v: %v", frame, s, err)
		}
		if p.SenderIP != s.address || MAC(p.SenderHardwareAddr) != s.mac || !s.mac.IsUnicast() || s.address.IsUnspecified() || s.address.IsMulticast() {
			t.Errorf("%x is read as %+v, and is %+v", frame, s, p)
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	f.Add(appendUnsolicitedAdvertisement(nil, otherMAC, ourLinkLocal, vip6))
	f.Add(answersLook(otherMAC, vip6))
	f.Add(says(otherMAC, vip6))
	f.Fuzz(func(t *testing.T, frame []byte) {
		// The fuzzer can't find checksums.
		if len(frame) >= nsOptions {
			binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], 0)
			if whole, reason := icmpv6Of(frame); reason == answered {
				sum := sumWords(uint32(len(whole)-icmpv6Offset)+protocolICMPv6, whole[ipv6Source:])
				binary.BigEndian.PutUint16(frame[icmpv6Offset+2:], ^foldChecksum(sum))
			}
		}
		s, ok := parseAdvertisement(frame)
		if !ok {
			return
		}
		end := icmpv6Offset + int(binary.BigEndian.Uint16(frame[ipv6PayloadLen:]))
		if !s.mac.IsUnicast() || !s.address.Is6() || s.address.IsMulticast() {
			t.Errorf("%x is read as %+v", frame, s)
		}
		m, err := ndp.ParseMessage(frame[icmpv6Offset:end])
		if err != nil {
			return // the library reads options that have no meaning here, too
		}
		na, is := m.(*ndp.NeighborAdvertisement)
		if !is || na.TargetAddress != s.address || na.Solicited != s.answer {
			t.Errorf("%x is read as %+v, and is %+v", frame, s, m)
		}
	})
}

func FuzzEcho(f *testing.F) {
	reply := appendEcho(nil, IPv6, 7, 99)
	reply[0] = 129
	f.Add(reply, true)
	f.Add(append([]byte{0x45, 19: 0}, appendEcho(nil, IPv4, 7, 99)...), false)
	f.Add([]byte{0x4f}, false)
	f.Fuzz(func(t *testing.T, message []byte, six bool) {
		family := IPv4
		if six {
			family = IPv6
		}
		nonce, ok := parseEcho(message, family, 7)
		if !ok {
			return
		}
		if !six {
			message = message[int(message[0]&0xf)*4:]
		}
		if binary.BigEndian.Uint64(message[8:16]) != nonce || binary.BigEndian.Uint16(message[4:6]) != 7 {
			t.Errorf("%x has the nonce %x", message, nonce)
		}
	})
}

func TestEcho(t *testing.T) {
	for _, family := range []Family{IPv4, IPv6} {
		request := appendEcho(nil, family, 7, 0x0102030405060708)
		if family == IPv4 && foldChecksum(sumWords(0, request)) != 0xffff {
			t.Errorf("%x: the checksum is wrong", request)
		}
		reply := func(kind byte, id byte) []byte {
			b := changed(request, 0, kind)
			b[5] = id
			if family == IPv4 {
				b = append(append([]byte{0x46}, make([]byte, 23)...), b...) // with an option
			}
			return b
		}
		kind := map[Family]byte{IPv4: 0, IPv6: 129}[family]
		if nonce, ok := parseEcho(reply(kind, 7), family, 7); !ok || nonce != 0x0102030405060708 {
			t.Errorf("%v: the nonce of a reply is %x, %t", family, nonce, ok)
		}
		for what, message := range map[string][]byte{
			"another's": reply(kind, 8), "a request": reply(map[Family]byte{IPv4: 8, IPv6: 128}[family], 7),
			"half a reply": reply(kind, 7)[:12], "nothing": nil,
		} {
			if _, ok := parseEcho(message, family, 7); ok {
				t.Errorf("%v: %s is taken for a reply", family, what)
			}
		}
	}
}
