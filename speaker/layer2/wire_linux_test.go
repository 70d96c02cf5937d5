package layer2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

var (
	bothFamilies = []netip.Addr{vip4, vip6}
	// sentinels are announced and asked for to show that a silence is one.
	sentinels  = []netip.Addr{vip4.Next(), vip6.Next()}
	everything = slices.Concat(bothFamilies, sentinels)
)

// learns waits until the interface's kernel knows address at mac.
func (i iface) learns(address netip.Addr, mac MAC) {
	i.t.Helper()
	eventually(i.t, fmt.Sprintf("the client to find %v at %v", address, mac), func() bool {
		got, state := i.neighbor(address)
		return got == mac && state&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0
	})
}

// ask sends a client's request for address.
func (p *tap) ask(asker MAC, address netip.Addr) {
	p.t.Helper()
	p.send(clientRequest(asker, address))
}

// answer waits for the answer to a request sent by mac and returns its MAC.
func (p *tap) answer(address netip.Addr, asker MAC) MAC {
	p.t.Helper()
	frames := p.until("an answer for "+address.String(), func(frame []byte) bool {
		_, is := claims(frame, address)
		return is && MAC(frame[:6]) == asker
	})
	mac, _ := claims(frames[len(frames)-1], address)
	return mac
}

// resolve asks up to three times, a second apart, as hosts do: where thousands of
// gratuitous frames pass, a queue may overflow.
func (p *tap) resolve(asker MAC, address netip.Addr) {
	p.t.Helper()
	var err error
	for range 3 {
		p.ask(asker, address)
		_, err = p.within(time.Second, func(frame []byte) bool {
			_, is := claims(frame, address)
			return is && MAC(frame[:6]) == asker
		})
		if err == nil {
			return
		}
	}
	p.t.Fatalf("asking for %v three times: %v", address, err)
}

// silent asks for address and then for sentinel, which is answered, on the same
// interface. It reports whether the former was met with silence: requests
// are answered in order, so an answer would have come first.
func (p *tap) silent(asker MAC, address, sentinel netip.Addr) bool {
	p.t.Helper()
	return p.silentTo(clientRequest(asker, address), asker, address, sentinel)
}

// silentTo is silent for any request.
func (p *tap) silentTo(request []byte, asker MAC, address, sentinel netip.Addr) bool {
	p.t.Helper()
	answers := func(frame []byte, address netip.Addr) bool {
		_, is := claims(frame, address)
		return is && MAC(frame[:6]) == asker
	}
	p.send(request)
	p.ask(asker, sentinel)
	frames := p.until("the answer for "+sentinel.String(), func(frame []byte) bool { return answers(frame, sentinel) })
	return !slices.ContainsFunc(frames, func(frame []byte) bool { return answers(frame, address) })
}

func TestLinuxClientResolves(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", bothFamilies...))
	awaitAnswering(t, a, "cl0", bothFamilies...)
	for _, vip := range bothFamilies {
		c.talk(vip)
		eventually(t, "the client to resolve "+vip.String(), func() bool {
			mac, state := theirs.neighbor(vip)
			return mac == ours.mac() && state == netlink.NUD_REACHABLE
		})
	}
	// An answer is counted when it has left, and so the client may be faster.
	eventually(t, "an answer of each family to be counted", func() bool {
		c := a.Counters()
		return c.Answered[IPv4] == 1 && c.Answered[IPv6] == 1
	})
}

// Linux confirms an entry by a request to the MAC that it knows, in IPv6 to the
// address itself and not to its group: what a raw ICMPv6 socket does not hear,
// because the address is not the node's.
func TestLinuxClientConfirmsByUnicast(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	c.sysctl("net/ipv4/neigh/cl0/delay_first_probe_time", "0")
	c.sysctl("net/ipv6/neigh/cl0/delay_first_probe_time", "0")
	a := start(t)
	a.Apply(on("cl0", bothFamilies...))
	awaitAnswering(t, a, "cl0", bothFamilies...)
	for _, vip := range bothFamilies {
		tap := theirs.tap()
		theirs.setNeighbor(vip, ours.mac(), netlink.NUD_STALE)
		c.talk(vip)
		tap.until("a unicast request for "+vip.String(), func(frame []byte) bool {
			var q question
			var reason DropReason
			if vip.Is4() {
				q, reason = parseARPRequest(frame, ours.mac())
			} else {
				q, reason = parseSolicitation(frame, ours.mac())
			}
			return reason == answered && q.address == vip && MAC(frame[:6]) == ours.mac()
		})
		eventually(t, vip.String()+" to be confirmed", func() bool {
			mac, state := theirs.neighbor(vip)
			return mac == ours.mac() && state == netlink.NUD_REACHABLE
		})
	}
}

// The entry is fresh, and so protected by Linux's locktime against all but
// gratuitous frames.
func TestTakingAnAddressOverridesWhatClientsKnow(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	for _, vip := range bothFamilies {
		theirs.setNeighbor(vip, otherMAC, netlink.NUD_REACHABLE)
	}
	a.Apply(on("cl0", bothFamilies...))
	for _, vip := range bothFamilies {
		theirs.learns(vip, ours.mac())
	}
	if got := a.Counters().Answered; got[IPv4] != 0 || got[IPv6] != 0 {
		t.Errorf("the client asked: %v", got)
	}
}

// Another node announced the addresses by mistake, and the clients believe it.
func TestReannouncingCorrectsMisledClients(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", bothFamilies...))
	awaitAnswering(t, a, "cl0", bothFamilies...)
	for round := range uint64(len(rounds)) {
		eventually(t, "the announcing to be over", func() bool {
			g := a.Counters().Gratuitous
			return g[IPv4] >= 2*(round+1) && g[IPv6] >= round+1
		})
	}
	for _, vip := range bothFamilies {
		theirs.setNeighbor(vip, otherMAC, netlink.NUD_REACHABLE)
	}
	a.Reannounce()
	for _, vip := range bothFamilies {
		theirs.learns(vip, ours.mac())
	}
	if got := a.Counters().Answered; got[IPv4] != 0 || got[IPv6] != 0 {
		t.Errorf("the client asked: %v", got)
	}
}

func TestUnsolicitedAdvertisementIsFromTheLinkLocalAddress(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	source := ours.linkLocal()
	tap := theirs.tap()
	a := start(t)
	a.Apply(on("cl0", vip6))
	frames := tap.until("an advertisement", func(frame []byte) bool { _, is := claims(frame, vip6); return is })
	frame := frames[len(frames)-1]
	src, dst, na := readAdvertisement(t, frame)
	if src != source || dst != allNodes || MAC(frame[:6]) != allNodesMAC || na.Solicited {
		t.Errorf("%+v from %v to %v, expected from %v", na, src, dst, source)
	}
}

func TestLinuxClientFindsItsDuplicate(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", bothFamilies...))
	awaitAnswering(t, a, "cl0", bothFamilies...)

	t.Run("an IPv6 host that wants the address gives it up", func(t *testing.T) {
		c.sysctl("net/ipv6/conf/cl0/accept_dad", "1")
		address, err := netlink.ParseAddr(vip6.String() + "/64")
		must(t, err)
		must(t, c.AddrAdd(theirs.link(), address))
		eventually(t, "duplicate address detection to fail", func() bool {
			addrs, err := c.AddrList(theirs.link(), netlink.FAMILY_V6)
			must(t, err)
			return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
				return a.IP.Equal(address.IP) && a.Flags&unix.IFA_F_DADFAILED != 0
			})
		})
	})
	t.Run("an ARP probe is answered", func(t *testing.T) {
		tap := theirs.tap()
		tap.send(arpRequest(theirs.mac(), netip.IPv4Unspecified(), vip4))
		if mac := tap.answer(vip4, theirs.mac()); mac != ours.mac() {
			t.Errorf("the answer names %v", mac)
		}
	})
}

func TestSilence(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	elsewhere := wire(t, "cl1", n, c)[1]
	a := start(t)
	a.Apply(append(on("cl0", everything...), on("cl1", sentinels...)...))
	awaitAnswering(t, a, "cl0", everything...)
	awaitAnswering(t, a, "cl1", sentinels...)
	for i, vip := range bothFamilies {
		tap := elsewhere.tap()
		if !tap.silent(elsewhere.mac(), vip, sentinels[i]) {
			t.Errorf("%v was answered on an interface where it is not announced", vip)
		}
	}
	tap := theirs.tap()
	for _, vip := range bothFamilies {
		tap.ask(theirs.mac(), vip)
		tap.answer(vip, theirs.mac())
	}
	a.Apply(append(on("cl0", sentinels...), on("cl1", sentinels...)...))
	for i, vip := range bothFamilies {
		if !theirs.tap().silent(theirs.mac(), vip, sentinels[i]) {
			t.Errorf("%v was answered after it was withdrawn", vip)
		}
	}
}

// A switch that floods, or a promiscuous interface, brings frames that are for others.
func TestRequestsSentToAnotherHostAreNotOurs(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", everything...))
	awaitAnswering(t, a, "cl0", everything...)
	for i, vip := range bothFamilies {
		request := changed(clientRequest(theirs.mac(), vip), 0, otherMAC[:]...)
		if !theirs.tap().silentTo(request, theirs.mac(), vip, sentinels[i]) {
			t.Errorf("%v was answered", vip)
		}
	}
}

func TestStandInAnswersWithTheOwnersMAC(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	var desired []Announcement
	for _, vip := range bothFamilies {
		desired = append(desired, Announcement{Address: vip, Interfaces: []string{"cl0"}, HardwareAddr: otherMAC})
	}
	tap := theirs.tap()
	a.Apply(desired)
	awaitAnswering(t, a, "cl0", bothFamilies...)
	for _, vip := range bothFamilies {
		c.talk(vip)
		theirs.learns(vip, otherMAC)
		frames := tap.until("the answer", func(frame []byte) bool { _, is := claims(frame, vip); return is })
		if src := ethernetSource(frames[len(frames)-1]); src != ours.mac() {
			t.Errorf("the frame's source is %v", src)
		}
	}
	if g := a.Counters().Gratuitous; g[IPv4] != 0 || g[IPv6] != 0 {
		t.Errorf("a stand-in sent gratuitous frames: %v", g)
	}
}

func TestLinkThatComesBackAnnouncesAgain(t *testing.T) {
	n, client := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, client, 2)
	a := start(t)
	a.Apply(on("cl0", bothFamilies...))
	awaitAnswering(t, a, "cl0", bothFamilies...)

	// forget gives the client a wrong entry, which only an announcement can mend.
	forget := func() {
		for _, vip := range bothFamilies {
			theirs.setNeighbor(vip, otherMAC, netlink.NUD_REACHABLE)
		}
	}
	for _, c := range []struct {
		name   string
		happen func()
	}{
		{"down and up in a moment", func() { ours.down(); ours.up(); forget() }},
		{"down for long enough to see, then up", func() {
			ours.down()
			awaitState(t, a, "the link to be seen down", func(s State) bool {
				return len(s.Segments) == 2 && s.Segments[0].Status == LinkDown && s.Segments[1].Status == LinkDown
			})
			ours.up()
			forget()
		}},
		{"carrier lost in a moment", func() { theirs.down(); theirs.up(); forget() }},
		{"another MAC", func() { forget(); ours.setMAC(clientMAC) }},
		{"another interface of the same name", func() {
			must(t, n.LinkDel(ours.link()))
			ours, theirs = connect(t, "cl0", n, 1, client, 2)
			forget()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.happen()
			for _, vip := range bothFamilies {
				theirs.learns(vip, ours.mac())
			}
			awaitAnswering(t, a, "cl0", bothFamilies...)
			tap := theirs.tap()
			for _, vip := range bothFamilies {
				tap.ask(theirs.mac(), vip)
				if mac := tap.answer(vip, theirs.mac()); mac != ours.mac() {
					t.Errorf("%v is answered with %v, expected %v", vip, mac, ours.mac())
				}
			}
		})
	}
}

// Requests for others' addresses do not reach the process, so they cost it
// nothing, and do not keep it from answering.
func TestStormForOthers(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", bothFamilies...))
	awaitAnswering(t, a, "cl0", bothFamilies...)
	tap := theirs.tap()
	before := cpuTime(t)
	const count = 20_000
	for i := range count {
		other := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		if other == vip4 {
			continue
		}
		tap.send(arpRequest(theirs.mac(), client4, other))
	}
	t.Logf("%d requests for others: %v of CPU for sending and all else", count, cpuTime(t)-before)
	for _, vip := range bothFamilies {
		tap := theirs.tap()
		tap.ask(theirs.mac(), vip)
		tap.answer(vip, theirs.mac())
	}
	for f, reasons := range a.Counters().Dropped {
		for reason, n := range reasons {
			if n != 0 {
				t.Errorf("%d %s frames reached the process and were dropped: %s", n, f, reason)
			}
		}
	}
}

// Filters and groups are charged to the socket, which has room for 20,480 octets by
// default on older kernels. Thousands of scattered addresses are answered all the
// same, even in less.
func TestManyAddressesInLittleRoom(t *testing.T) {
	for _, room := range []string{"20480", "6000"} {
		t.Run(room, func(t *testing.T) {
			n, c := node(t), newHost(t)
			n.sysctl("net/core/optmem_max", room)
			t.Cleanup(func() { n.sysctl("net/core/optmem_max", "131072") })
			_, theirs := connect(t, "cl0", n, 1, c, 2)
			a := start(t)
			addresses := append(scattered(IPv4, 1000), scattered(IPv6, 1000)...)
			a.Apply(on("cl0", addresses...))
			awaitAnswering(t, a, "cl0", addresses...)
			tap := theirs.tap()
			for _, address := range addresses {
				tap.resolve(theirs.mac(), address)
			}
			// Changing a full filter and full groups works as well.
			fewer := addresses[250:1250]
			a.Apply(on("cl0", fewer...))
			awaitState(t, a, "fewer addresses", func(s State) bool {
				return len(s.Segments) == 2 && len(s.Segments[0].Answered)+len(s.Segments[1].Answered) == len(fewer)
			})
			a.Apply(on("cl0", addresses...))
			awaitAnswering(t, a, "cl0", addresses...)
		})
	}
}

// A switch that snoops delivers a group only where it was reported.
func TestGroupIsReported(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	tap := theirs.tap()
	a := start(t)
	a.Apply(on("cl0", vip6))
	group := solicitedNode(vip6)
	tap.until("an MLD report of "+group.String(), func(frame []byte) bool {
		// IPv6 with a hop-by-hop header of 8 octets, then the report (RFC 3810 §5.2).
		const report = ethernetLen + ipv6Len + 8
		if len(frame) < report+8 || frame[12] != 0x86 || frame[ipv6NextHeader] != 0 || frame[report] != byte(ipv6.ICMPTypeVersion2MulticastListenerReport) {
			return false
		}
		for records := frame[report+8:]; len(records) >= 20; {
			if netip.AddrFrom16([16]byte(records[4:])) == group {
				return true
			}
			records = records[min(len(records), 20+16*int(binary.BigEndian.Uint16(records[2:]))):]
		}
		return false
	})
}

func TestGratuitousFramesOnTheWire(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	tap := theirs.tap()
	a := start(t)
	a.Apply(on("cl0", vip4))
	var forms []arp.Operation
	began := time.Now()
	tap.until("six gratuitous frames", func(frame []byte) bool {
		if _, is := claims(frame, vip4); is {
			dst, src, p := readARP(t, frame)
			if dst != broadcast || src != ours.mac() || p.TargetIP != vip4 {
				t.Errorf("gratuitous frame is %+v", p)
			}
			forms = append(forms, p.Operation)
		}
		return len(forms) == 6
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("three rounds took %v", took)
	}
	for i, f := range forms {
		if want := []arp.Operation{arp.OperationRequest, arp.OperationReply}[i%2]; f != want {
			t.Errorf("frame %d is a %v, expected a %v", i, f, want)
		}
	}
}
