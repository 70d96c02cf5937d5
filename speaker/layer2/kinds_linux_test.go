package layer2

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// A bridge and a macvlan are interfaces like others; the port of a bridge is none.
func TestKindsOfInterfaces(t *testing.T) {
	for _, kind := range []string{"bridge", "macvlan"} {
		t.Run(kind, func(t *testing.T) {
			n, c := node(t), newHost(t)
			ends := wire(t, "cl0", n, c)
			ends[1].addr("192.0.2.2/24")
			ends[1].addr("2001:db8::2/64")
			attrs := netlink.LinkAttrs{Name: "clover"}
			var over netlink.Link = &netlink.Bridge{LinkAttrs: attrs}
			if kind == "macvlan" {
				attrs.ParentIndex = ends[0].link().Attrs().Index
				over = &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
			}
			if err := n.LinkAdd(over); err != nil {
				t.Skipf("this kernel has no %s: %v", kind, err)
			}
			top := iface{n, "clover"}
			t.Cleanup(func() { must(t, n.LinkDel(top.link())) })
			if kind == "bridge" {
				must(t, n.LinkSetMaster(ends[0].link(), over))
			}
			top.up()
			top.addr("192.0.2.1/24")
			top.linkLocal()
			ends[1].linkLocal()

			a := start(t)
			both := on("clover", bothFamilies...)
			for _, port := range on("cl0", sentinels...) {
				if kind == "bridge" {
					both = append(both, port)
				}
			}
			for i := range both {
				both[i].Claim = true
			}
			a.Apply(both)
			awaitAnswering(t, a, "clover", bothFamilies...)
			for _, vip := range bothFamilies {
				c.talk(vip)
				ends[1].learns(vip, top.mac())
			}
			s, _ := a.State()
			for _, seg := range s.Segments {
				if seg.Interface == "cl0" && seg.Status != NoInterface {
					t.Errorf("the bridge's port is %+v", seg)
				}
			}
			q := proberOf(t, a)
			for _, method := range []Method{ProbeNeighbor, ProbeEcho, ProbeConnect} {
				for _, target := range []netip.Addr{client4, ends[1].linkLocal()} {
					q.expect(fmt.Sprintf("%s %v", method, target), Probe{Method: method, Interface: "clover", Target: target, Port: 7000}, ProbeAnswered)
				}
			}
		})
	}
}

// Ten thousand addresses that are taken at once are each announced within three seconds, those that were asked
// for lately at the very first, and requests are answered all the while.
func TestTenThousandAddressesAreAnnouncedInTime(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	all := scattered(IPv4, 10000)
	asked := all[5000:5010]
	standby := on("cl0", asked...)
	for i := range standby {
		standby[i].Standby = true
	}
	a.Apply(standby)
	tap := theirs.tap()
	eventually(t, "the askers to be known", func() bool {
		for _, vip := range asked {
			tap.ask(theirs.mac(), vip)
		}
		return !slices.ContainsFunc(asked, func(vip netip.Addr) bool { return len(a.Askers("cl0", vip)) == 0 })
	})

	began := time.Now()
	a.Apply(on("cl0", all...))
	first := make(map[netip.Addr]time.Duration)
	var order []netip.Addr
	tap.until("all to be announced", func(frame []byte) bool {
		if len(frame) < ethernetLen+arpLen || MAC(frame[:6]) != broadcast {
			return false
		}
		vip := netip.AddrFrom4([4]byte(frame[arpSenderAddress:]))
		if _, known := first[vip]; !known && vip != client4 {
			first[vip] = time.Since(began)
			order = append(order, vip)
		}
		// A tap may lose frames of such a flood.
		return len(first) >= len(all)*99/100
	})
	last := first[order[len(order)-1]]
	t.Logf("announced within %v", last.Round(time.Millisecond))
	if last > 3*time.Second {
		t.Errorf("the last one was announced after %v", last)
	}
	for _, vip := range asked {
		if i := slices.Index(order, vip); i < 0 || i >= len(asked) {
			t.Errorf("%v, which was asked for lately, was announced as number %d", vip, i)
		}
	}
	for _, vip := range all[:5] {
		tap.resolve(theirs.mac(), vip)
	}
}
