package layer2

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/ndp"
)

func TestNeighborSolicitations(t *testing.T) {
	group := solicitedNode(vip6)
	ask := solicitation{dstMAC: multicastMAC(group), srcMAC: clientMAC, src: client6, dst: group, target: vip6, options: sourceOption(clientMAC)}
	with := func(change func(s *solicitation)) []byte {
		s := ask
		change(&s)
		return s.frame()
	}
	asked := question{address: vip6, asker: client6, askerMAC: clientMAC}
	nonce := []byte{14, 1, 1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		name   string
		frame  []byte
		want   question
		reason DropReason
	}{
		{"a multicast solicitation is a question", ask.frame(), asked, answered},
		{"so is one sent to us alone, as hosts do to confirm an entry",
			with(func(s *solicitation) { s.dstMAC, s.dst, s.options = ourMAC, vip6, nil }), asked, answered},
		{"without an option the answer goes to the Ethernet source",
			with(func(s *solicitation) { s.srcMAC, s.options = otherMAC, nil }),
			question{address: vip6, asker: client6, askerMAC: otherMAC}, answered},
		{"with an option it goes where the option says",
			with(func(s *solicitation) { s.srcMAC = otherMAC }), asked, answered},
		{"a link-local asker", with(func(s *solicitation) { s.src = netip.MustParseAddr("fe80::2") }),
			question{address: vip6, asker: netip.MustParseAddr("fe80::2"), askerMAC: clientMAC}, answered},
		{"a probe for duplicates has no source", duplicateProbe(clientMAC, vip6),
			question{address: vip6, asker: netip.IPv6Unspecified(), askerMAC: clientMAC}, answered},
		{"a probe with a nonce (RFC 7527)",
			with(func(s *solicitation) { s.src, s.options = netip.IPv6Unspecified(), nonce }),
			question{address: vip6, asker: netip.IPv6Unspecified(), askerMAC: clientMAC}, answered},
		{"unknown options are skipped", with(func(s *solicitation) {
			s.options = append(append([]byte{200, 1, 0, 0, 0, 0, 0, 0}, nonce...), sourceOption(clientMAC)...)
		}), asked, answered},
		{"known options that mean nothing here are skipped, sense or nonsense",
			with(func(s *solicitation) { s.options = append([]byte{5, 1, 9, 9, 9, 9, 9, 9}, sourceOption(clientMAC)...) }), asked, answered},
		{"padding of the frame is no part of it", append(ask.frame(), 0, 0, 0), asked, answered},

		{"a frame that is cut off is malformed", ask.frame()[:icmpv6Offset+nsLen+2], question{}, DropMalformed},
		{"a frame without a whole IPv6 header is malformed", ask.frame()[:50], question{}, DropMalformed},
		{"an empty frame is malformed", nil, question{}, DropMalformed},
		{"ICMP length is 24 or more octets", withChecksum(changed(ask.frame(), ipv6PayloadLen, 0, 23)[:icmpv6Offset+23]), question{}, DropMalformed},
		{"not IPv6", changed(ask.frame(), 12, 0x08, 0x00), question{}, DropOtherProtocol},
		{"version 4 in an IPv6 frame", changed(ask.frame(), ethernetLen, 4<<4), question{}, DropOtherProtocol},
		{"not ICMPv6", changed(ask.frame(), ipv6NextHeader, 17), question{}, DropOtherProtocol},
		{"an advertisement is no question", withChecksum(changed(ask.frame(), icmpv6Type, 136)), question{}, DropNotRequest},
		{"ICMP code is 0", with(func(s *solicitation) { s.code = 1 }), question{}, DropNotRequest},
		{"our own frame, sent back by the network", with(func(s *solicitation) { s.srcMAC = ourMAC }), question{}, DropOwnFrame},
		{"hop limit has a value of 255", with(func(s *solicitation) { s.hopLimit = 254 }), question{}, DropHopLimit},
		{"ICMP checksum is valid", changed(ask.frame(), icmpv6Offset+2, 0xde, 0xad), question{}, DropChecksum},
		{"target address is not a multicast address", with(func(s *solicitation) { s.target = allNodes }), question{}, DropTarget},
		{"target address is not unspecified", with(func(s *solicitation) { s.target = netip.IPv6Unspecified() }), question{}, DropTarget},
		{"options have a length greater than zero", with(func(s *solicitation) { s.options = make([]byte, 8) }), question{}, DropOption},
		{"options end where the message ends", with(func(s *solicitation) { s.options = append([]byte{1, 2}, clientMAC[:]...) }), question{}, DropOption},
		{"an option has at least type and length", with(func(s *solicitation) { s.options = append(sourceOption(clientMAC), 1) }), question{}, DropOption},
		{"a link-layer address of another length", with(func(s *solicitation) { s.options = append([]byte{1, 2}, make([]byte, 14)...) }), question{}, DropOption},
		{"without a source, the destination is a solicited-node group",
			with(func(s *solicitation) { s.src, s.dst, s.options = netip.IPv6Unspecified(), vip6, nil }), question{}, DropSender},
		{"without a source, there is no source link-layer address",
			with(func(s *solicitation) { s.src = netip.IPv6Unspecified() }), question{}, DropOption},
		{"nobody can be answered at a group's MAC",
			with(func(s *solicitation) { s.options = sourceOption(allNodesMAC) }), question{}, DropSender},
		{"nobody has a group's address", with(func(s *solicitation) { s.src = allNodes }), question{}, DropSender},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, reason := parseSolicitation(c.frame, ourMAC)
			if q != c.want || reason != c.reason {
				t.Errorf("got %+v, %q; expected %+v, %q", q, reason, c.want, c.reason)
			}
		})
	}
}

func TestNeighborAdvertisements(t *testing.T) {
	q := question{address: vip6, asker: client6, askerMAC: clientMAC}
	probe := question{address: vip6, asker: netip.IPv6Unspecified(), askerMAC: clientMAC}
	type advertisement struct {
		dstMAC, srcMAC MAC
		src, dst       netip.Addr
		solicited      bool
		target         netip.Addr
		targetMAC      MAC
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  advertisement
	}{
		{"an answer is solicited and goes to the asker alone", appendNeighborAdvertisement(nil, ourMAC, ourMAC, q),
			advertisement{clientMAC, ourMAC, vip6, client6, true, vip6, ourMAC}},
		{"a probe for duplicates is answered to all nodes, unsolicited", appendNeighborAdvertisement(nil, ourMAC, ourMAC, probe),
			advertisement{allNodesMAC, ourMAC, vip6, allNodes, false, vip6, ourMAC}},
		{"a stand-in names the owner's MAC and is itself the Ethernet source", appendNeighborAdvertisement(nil, ourMAC, otherMAC, q),
			advertisement{clientMAC, ourMAC, vip6, client6, true, vip6, otherMAC}},
		{"an unsolicited one comes from the link-local address", appendUnsolicitedAdvertisement(nil, ourMAC, ourLinkLocal, vip6),
			advertisement{allNodesMAC, ourMAC, ourLinkLocal, allNodes, false, vip6, ourMAC}},
		{"or from the address where there is none", appendUnsolicitedAdvertisement(nil, ourMAC, netip.Addr{}, vip6),
			advertisement{allNodesMAC, ourMAC, vip6, allNodes, false, vip6, ourMAC}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst, na := readAdvertisement(t, c.frame)
			got := advertisement{MAC(c.frame[:6]), MAC(c.frame[6:12]), src, dst, na.Solicited, na.TargetAddress, targetMAC(t, na)}
			if got != c.want {
				t.Errorf("got %+v, expected %+v", got, c.want)
			}
		})
	}
}

// FuzzNDP holds our reading of a frame against the library's where that can read
// it, the answer against the question, and the kernel's filter against both.
func FuzzNDP(f *testing.F) {
	f.Add(neighborSolicitation(clientMAC, client6, vip6))
	f.Add(neighborSolicitation(clientMAC, vip6, vip6))
	f.Add(neighborSolicitation(clientMAC, client6, netip.MustParseAddr("2001:db8:0:1::100")))
	f.Add(duplicateProbe(clientMAC, vip6))
	f.Add(appendUnsolicitedAdvertisement(nil, otherMAC, ourLinkLocal, vip6))
	f.Add([]byte{})
	filter := requestFilter(IPv6, cover([]netip.Addr{vip6}, 64), cover([]netip.Addr{vip6}, 64))
	answers := tableOf(map[netip.Addr]binding{vip6: {}})
	f.Fuzz(func(t *testing.T, frame []byte) {
		frame = slices.Clone(frame)
		if len(frame) >= icmpv6Offset+nsLen {
			// A fuzzer does not find checksums.
			end := icmpv6Offset + int(binary.BigEndian.Uint16(frame[ipv6PayloadLen:]))
			if end >= icmpv6Offset+nsLen && end <= len(frame) {
				withChecksum(frame[:end])
			}
		}
		q, reason := parseSolicitation(frame, ourMAC)
		passed := passes(t, filter, frame)
		if reason != answered {
			if q != (question{}) {
				t.Errorf("refused for %s, but read as %+v", reason, q)
			}
			return
		}
		if m, err := ndp.ParseMessage(frame[icmpv6Offset:]); err == nil {
			if ns, ok := m.(*ndp.NeighborSolicitation); !ok || ns.TargetAddress != q.address {
				t.Errorf("read as %+v, by the library as %+v", q, m)
			}
		}
		if _, reason := answers.answer(q, nil); reason != answered {
			return
		}
		if !passed {
			t.Errorf("the filter does not pass a request for %v", q.address)
		}
		frame = appendNeighborAdvertisement(nil, ourMAC, ourMAC, q)
		_, dst, na := readAdvertisement(t, frame)
		if na.TargetAddress != vip6 || na.Solicited == q.asker.IsUnspecified() || na.Solicited && dst != q.asker || targetMAC(t, na) != ourMAC {
			t.Errorf("answer to %+v is %+v to %v", q, na, dst)
		}
	})
}
