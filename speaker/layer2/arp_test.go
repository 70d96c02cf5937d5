package layer2

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/arp"
)

func TestARPRequests(t *testing.T) {
	ask := arpRequest(clientMAC, client4, vip4)
	asked := question{address: vip4, asker: client4, askerMAC: clientMAC}
	for _, c := range []struct {
		name   string
		frame  []byte
		want   question
		reason DropReason
	}{
		{"a broadcast request is a question", ask, asked, answered},
		{"so is one sent to our MAC alone, as hosts do to confirm an entry", changed(ask, 0, ourMAC[:]...), asked, answered},
		{"padding to the least Ethernet frame is no part of it", append(slices.Clone(ask), make([]byte, 18)...), asked, answered},
		{"a probe has no sender address", arpRequest(clientMAC, netip.IPv4Unspecified(), vip4),
			question{address: vip4, asker: netip.IPv4Unspecified(), askerMAC: clientMAC}, answered},
		{"what the target MAC of a request says does not matter", changed(ask, arpTargetMAC, broadcast[:]...), asked, answered},
		{"the answer goes to the sender in the packet, not to the Ethernet source", changed(ask, 6, otherMAC[:]...), asked, answered},

		{"a frame that is cut off is malformed", ask[:len(ask)-1], question{}, DropMalformed},
		{"an empty frame is malformed", nil, question{}, DropMalformed},
		{"another EtherType is none of our business", changed(ask, 12, 0x08, 0x00), question{}, DropOtherProtocol},
		{"another hardware type", changed(ask, arpHardwareType, 0, 6), question{}, DropOtherProtocol},
		{"another protocol type", changed(ask, arpProtocolType, 0x86, 0xdd), question{}, DropOtherProtocol},
		{"a hardware address of another length", changed(ask, arpLengths, 8), question{}, DropOtherProtocol},
		{"a protocol address of another length", changed(ask, arpLengths+1, 16), question{}, DropOtherProtocol},
		{"a reply is no question", changed(ask, arpOperation, 0, 2), question{}, DropNotRequest},
		{"a reverse request is no question", changed(ask, arpOperation, 0, 3), question{}, DropNotRequest},
		{"our own frame, sent back by the network", changed(ask, 6, ourMAC[:]...), question{}, DropOwnFrame},
		{"nobody can be answered at the broadcast MAC", changed(ask, arpSenderMAC, broadcast[:]...), question{}, DropSender},
		{"nor at a group's", changed(ask, arpSenderMAC, 1, 0, 0x5e, 0, 0, 1), question{}, DropSender},
		{"nor at none", changed(ask, arpSenderMAC, 0, 0, 0, 0, 0, 0), question{}, DropSender},
		{"no host has a multicast address", changed(ask, arpSenderAddress, 224, 0, 0, 1), question{}, DropSender},
		{"nor the broadcast address", changed(ask, arpSenderAddress, 255, 255, 255, 255), question{}, DropSender},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, reason := parseARPRequest(c.frame, ourMAC)
			if q != c.want || reason != c.reason {
				t.Errorf("got %+v, %q; expected %+v, %q", q, reason, c.want, c.reason)
			}
		})
	}
}

func TestARPFrames(t *testing.T) {
	q := question{address: vip4, asker: client4, askerMAC: clientMAC}
	probe := question{address: vip4, asker: netip.IPv4Unspecified(), askerMAC: clientMAC}
	type packet struct {
		dst, src, senderMAC, targetMAC MAC
		op                             arp.Operation
		sender, target                 netip.Addr
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  packet
	}{
		{"a reply goes to the asker alone", appendARPReply(nil, ourMAC, ourMAC, q),
			packet{clientMAC, ourMAC, ourMAC, clientMAC, arp.OperationReply, vip4, client4}},
		{"a probe gets a reply, too", appendARPReply(nil, ourMAC, ourMAC, probe),
			packet{clientMAC, ourMAC, ourMAC, clientMAC, arp.OperationReply, vip4, netip.IPv4Unspecified()}},
		{"a stand-in names the owner's MAC and is itself the Ethernet source", appendARPReply(nil, ourMAC, otherMAC, q),
			packet{clientMAC, ourMAC, otherMAC, clientMAC, arp.OperationReply, vip4, client4}},
		{"an announcement is a request for the sender's own address", appendARPAnnouncement(nil, ourMAC, vip4),
			packet{broadcast, ourMAC, ourMAC, MAC{}, arp.OperationRequest, vip4, vip4}},
		{"a gratuitous reply has the same MAC twice", appendGratuitousReply(nil, ourMAC, vip4),
			packet{broadcast, ourMAC, ourMAC, ourMAC, arp.OperationReply, vip4, vip4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst, src, p := readARP(t, c.frame)
			got := packet{dst, src, MAC(p.SenderHardwareAddr), MAC(p.TargetHardwareAddr), p.Operation, p.SenderIP, p.TargetIP}
			if got != c.want {
				t.Errorf("got %+v, expected %+v", got, c.want)
			}
			if c.frame[12] != 0x08 || c.frame[13] != 0x06 {
				t.Errorf("EtherType is % x", c.frame[12:14])
			}
		})
	}
}

// FuzzARP holds our reading of a frame against the library's, the answer against
// the question, and the kernel's filter against both.
func FuzzARP(f *testing.F) {
	f.Add(arpRequest(clientMAC, client4, vip4))
	f.Add(arpRequest(clientMAC, netip.IPv4Unspecified(), vip4))
	f.Add(arpRequest(clientMAC, vip4, vip4))
	f.Add(appendGratuitousReply(nil, otherMAC, vip4))
	f.Add(append(arpRequest(clientMAC, client4, netip.MustParseAddr("192.0.2.101")), make([]byte, 18)...))
	f.Add([]byte{})
	filter := requestFilter(IPv4, cover([]netip.Addr{vip4}, 64), cover([]netip.Addr{vip4}, 64))
	answers := tableOf(map[netip.Addr]binding{vip4: {}})
	f.Fuzz(func(t *testing.T, frame []byte) {
		q, reason := parseARPRequest(frame, ourMAC)
		passed := passes(t, filter, frame)
		if reason != answered {
			if q != (question{}) {
				t.Errorf("refused for %s, but read as %+v", reason, q)
			}
			return
		}
		_, _, p := readARP(t, frame)
		if p.TargetIP != q.address || p.SenderIP != q.asker || MAC(p.SenderHardwareAddr) != q.askerMAC || p.Operation != arp.OperationRequest {
			t.Errorf("read as %+v, by the library as %+v", q, p)
		}
		if passed != (q.address == vip4) {
			t.Errorf("the filter says %v of a request for %v", passed, q.address)
		}
		if _, reason := answers.answer(q, nil); reason != answered {
			return
		}
		dst, src, reply := readARP(t, appendARPReply(nil, ourMAC, ourMAC, q))
		if dst != q.askerMAC || src != ourMAC || reply.SenderIP != vip4 || MAC(reply.SenderHardwareAddr) != ourMAC || reply.TargetIP != q.asker {
			t.Errorf("answer to %+v is %+v", q, reply)
		}
	})
}
