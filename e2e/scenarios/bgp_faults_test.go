package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// What a router counts of a neighbor: sessions that were established, and UPDATEs that came.
type counted struct {
	Sessions int `json:"connectionsEstablished"`
	Messages struct {
		Updates int `json:"updatesRecv"`
	} `json:"messageStats"`
}

func (s *bgpStory) counts() map[string]counted {
	s.Helper()
	var all map[string]counted
	s.must(s.frr.ShowJSON(s.ctx, "show bgp neighbors json", &all))
	return all
}

// undisturbed has things happen that concern no session and no route, and counts at the router that they did not.
func (s *bgpStory) undisturbed(address netip.Addr) {
	before, watch := s.counts(), s.watch(address)
	control := s.lab.ControlPlane()
	s.must(control.Stop(s.ctx, stage.Controller, 10*time.Second))
	s.must(control.Signal(s.ctx, lab.APIServer, unix.SIGKILL)) // it is started again, and everybody lists everything anew
	s.eventually(60*time.Second, func() error {
		_, err := s.lab.Kubectl(s.ctx, "get", "--raw", "/readyz")
		return err
	})
	s.must(stage.StartController(s.ctx, s.lab))
	s.apply(stage.Pool)
	s.apply(`
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: nobody}
spec: {myASN: 65001, peerASN: 65000, peerAddress: 10.99.0.250}
---
apiVersion: clarion.dev/v1beta1
kind: Community
metadata: {name: unused}
spec: {communities: [{name: unused, value: "65001:99"}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: default, annotations: {clarion.dev/address-pool: lan}}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`)
	for _, o := range []string{"bgppeer/frr", "bgpadvertisement/routed", "bfdprofile/watched", "ipaddresspool/routed"} {
		s.kubectl("annotate", o, "note=x", "--overwrite")
	}
	s.kubectl("-n", stage.Namespace, "label", "secret", "bird", "note=x", "--overwrite")
	s.expectCondition("elsewhere", "Announced", "True Announced") // all of them have seen it
	s.peerTells("nobody", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node3: ") })
	s.kubectl("delete", "bgppeer", "nobody")
	s.kubectl("delete", "service", "elsewhere")
	watch.nothingLost()
	watch.routesKept()
	if after := s.counts(); !maps.Equal(before, after) {
		s.Errorf("the router counted %+v, and then %+v", before, after)
	}
}

// routerRestarts kills bgpd and starts it again: zebra keeps the routes, as the router's graceful restart has it.
func (s *bgpStory) routerRestarts(address netip.Addr) {
	watch := s.watch(address)
	s.must(s.frr.Kill(s.ctx, router.BGPd))
	s.peerTells("frr", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node1: Conn") })
	s.must(s.frr.Revive(s.ctx, router.BGPd))
	for _, n := range s.lab.Nodes() {
		s.established(n.Name, "frr")
	}
	s.nextHops(address, "node1", "node2", "node3")
	watch.nothingLost()
}

// birdRestarts kills BIRD and starts it again, while what the user sends goes by way of it: the kernel there keeps the routes, which BIRD's
// graceful restart takes over. An address that goes to BIRD alone is announced by nobody meanwhile, whatever other sessions there are.
func (s *bgpStory) birdRestarts(address netip.Addr) {
	s.apply(`
apiVersion: clarion.dev/v1beta1
kind: IPAddressPool
metadata: {name: single}
spec: {addresses: [198.51.101.0/28]}
---
apiVersion: clarion.dev/v1beta1
kind: BGPAdvertisement
metadata: {name: single}
spec: {ipAddressPools: [single], peers: [bird]}
---
apiVersion: v1
kind: Service
metadata: {name: single, namespace: default, annotations: {clarion.dev/address-pool: single}}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`)
	s.expectCondition("single", "Announced", "True Announced")
	by := func(router netip.Prefix) {
		s.Helper()
		_, err := s.user.Exec(s.ctx, "ip", "route", "replace", routable.String(), "via", router.Addr().String())
		s.must(err)
	}
	by(birdway)
	watch := s.watch(address)
	s.must(s.bird.Kill(s.ctx, router.Bird))
	s.expectCondition("single", "Announced", "False NoSession")
	s.expectCondition("web", "Announced", "True Announced") // there is FRR
	s.peerTells("bird", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node1: ") })
	s.must(s.bird.Revive(s.ctx, router.Bird))
	s.expectCondition("single", "Announced", "True Announced")
	s.kubectl("delete", "service", "single")
	for _, n := range s.lab.Nodes() {
		s.established(n.Name, "bird")
	}
	s.eventually(20*time.Second, func() error {
		if out, err := s.bird.Show(s.ctx, "show", "status"); err != nil || strings.Contains(out, "recovery in progress") {
			return fmt.Errorf("BIRD has not recovered: %w\n%s", err, out)
		}
		return nil
	})
	time.Sleep(300 * time.Millisecond)
	watch.nothingLost()
	watch.routesKept()
	by(gateway)
	s.kubectl("delete", "bgpadvertisement/single", "ipaddresspool/single")
}

// routerSilent has nothing pass to and from a router that lives: BFD tells, long before the hold time.
func (s *bgpStory) routerSilent(address netip.Addr) {
	s.must(s.frrHost.Silence())
	s.peerTells("frr", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node2: Held: BFD") })
	s.eventually(10*time.Second, func() error {
		if events := s.kubectl("get", "events", "-A", "-o", `jsonpath={range .items[?(@.reason=="SessionDown")]}{.involvedObject.name} {.message}{"\n"}{end}`); !strings.Contains(events, "frr node node2 has no BGP session: Held: BFD") {
			return fmt.Errorf("events: %s", events)
		}
		return nil
	})
	s.expectCondition("web", "Announced", "True Announced") // there is BIRD
	s.must(s.frrHost.Heal())
	s.nextHops(address, "node1", "node2", "node3")
}

// garbage is what a hostile router says after a proper OPEN, on one connection after the other.
var garbage = func() [][]byte {
	marker := slices.Repeat([]byte{0xff}, 16)
	message := func(kind byte, body ...byte) []byte {
		n := 19 + len(body)
		return append(append(slices.Clone(marker), byte(n>>8), byte(n), kind), body...)
	}
	return [][]byte{
		slices.Repeat([]byte{0x00}, 4096),
		append(slices.Clone(marker), 0xff, 0xff, 2),
		append(slices.Clone(marker), 0x00, 0x00, 4),
		message(1), message(1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 255), message(2, 0xff, 0xff, 0xff, 0xff), message(3, 6), message(3, 99, 99, 1, 2, 3), message(4, 1), message(5, 0), message(77),
		append(message(4), message(2, append([]byte{0, 0, 0, 60}, slices.Repeat([]byte{0xe0, 0x0e, 0xff}, 20)...)...)...),
	}
}()

// hostile has a host pose as a router that speaks garbage, and flood the nodes with BFD of the same kind.
func (s *bgpStory) hostile(address netip.Addr) {
	at := netip.MustParsePrefix("10.99.0.203/16")
	host, err := s.lab.AddHost(s.ctx, lab.HostSpec{Name: "evil", Interfaces: []lab.Interface{{Segment: "lan", Addresses: []netip.Prefix{at}}}})
	s.must(err)
	before, watch := s.counts(), s.watch(address)
	pid := s.bgpProcess("node2")
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	taken := make(chan int)
	s.must(inNetwork(host, func() error {
		l, err := net.Listen("tcp4", ":179")
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { l.Close() })
		go func() { taken <- speakGarbage(l) }()
		for _, n := range s.lab.Nodes() {
			c, err := net.Dial("udp4", netip.AddrPortFrom(n.IPv4(), 3784).String())
			if err != nil {
				return err
			}
			go flood(ctx, c)
		}
		return nil
	}))
	s.apply(fmt.Sprintf(`
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: evil}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, connectTime: 1s, bfdProfile: watched}
`, at.Addr()))
	s.peerTells("evil", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node2: ") })
	time.Sleep(3 * time.Second)
	stop()
	if n := <-taken; n < 3 {
		s.Errorf("only %d connections heard garbage", n)
	}
	s.kubectl("delete", "bgppeer", "evil")
	watch.nothingLost()
	watch.routesKept()
	if after := s.counts(); !maps.Equal(before, after) {
		s.Errorf("the other router counted %+v, and then %+v", before, after)
	}
	if now := s.bgpProcess("node2"); now != pid {
		s.Errorf("BGP's process was %s and is %s", pid, now)
	}
}

// speakGarbage takes connections until the listener is closed, and returns how many.
func speakGarbage(l net.Listener) (n int) {
	open := append(slices.Repeat([]byte{0xff}, 16), 0, 29, 1, 4, 0xfd, 0xe8, 0, 90, 9, 9, 9, 9, 0)
	keepalive := append(slices.Repeat([]byte{0xff}, 16), 0, 19, 4)
	for {
		c, err := l.Accept()
		if err != nil {
			return n
		}
		words := slices.Concat(open, keepalive, garbage[n%len(garbage)])
		n++
		go func() {
			defer c.Close()
			_, _ = c.Write(words) // what becomes of it is seen at the other end
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = c.Read(make([]byte, 4096))
		}()
	}
}

// flood sends what looks like BFD, and what does not.
func flood(ctx context.Context, c net.Conn) {
	defer c.Close()
	packet := []byte{0x20, 0xc0, 3, 24, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}
	for i := 0; ctx.Err() == nil; i++ {
		packet[i%len(packet)] ^= byte(i)
		_, _ = c.Write(packet[:1+i%len(packet)])
		if i%20 == 0 {
			time.Sleep(10 * time.Millisecond) // 2,000 a second, and the machine has other things to do
		}
	}
}

// bgpProcess is the number of the process that BGP lives in on a node.
func (s *bgpStory) bgpProcess(node string) string {
	s.Helper()
	out, err := s.node(node).Exec(s.ctx, "sh", "-c", `for p in /proc/[0-9]*; do if [ "$(tr '\0' ' ' < $p/cmdline)" = 'clarion-bgp ' ]; then echo ${p#/proc/}; fi; done`)
	s.must(err)
	return strings.TrimSpace(out)
}

// inNetwork runs f in a host's network; sockets that it opens stay there.
func inNetwork(h *lab.Host, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		there, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/ns/net", h.Machine().PID))
		if err == nil {
			defer there.Close()
			err = netns.Set(there)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// bySix has sessions over IPv6, bound to a device, that wait for BFD and carry both families.
func (s *bgpStory) bySix(address netip.Addr) {
	s.apply(fmt.Sprintf(`
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: frr6}
spec: {myASN: 65001, peerASN: 65000, peerAddress: "%s", vrf: eth0, families: [IPv4, IPv6], bfdProfile: watched, bfdMode: Strict, connectTime: 1s}
`, frrAt6.Addr()))
	s.peerTells("frr6", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node1: Held: BFD is not up") })
	var frr strings.Builder
	fmt.Fprint(&frr, s.frr.Config, "router bgp 65000\n") // all of it, for when it is started again
	for _, n := range s.lab.Nodes() {
		fmt.Fprintf(&frr, " neighbor %[1]s remote-as 65001\n neighbor %[1]s passive\n neighbor %[1]s bfd profile fast\n"+
			" address-family ipv6 unicast\n  neighbor %[1]s activate\n exit-address-family\n", n.IPv6())
	}
	s.must(s.frr.Configure(s.ctx, frr.String()))
	for _, n := range s.lab.Nodes() {
		s.established(n.Name, "frr6")
	}
	s.eventually(15*time.Second, func() error { // FRR makes its BFD session once more when BGP is established
		var all map[string]struct {
			State string `json:"bgpState"`
			BFD   struct {
				Status string `json:"status"`
			} `json:"peerBfdInfo"`
		}
		if err := s.frr.ShowJSON(s.ctx, "show bgp neighbors json", &all); err != nil {
			return err
		}
		for _, n := range s.lab.Nodes() {
			if got := all[n.IPv6().String()]; got.State != "Established" || !strings.EqualFold(got.BFD.Status, "up") {
				return fmt.Errorf("FRR tells of %s: %+v", n.IPv6(), got)
			}
		}
		return nil
	})
	s.nextHops(address, "node1", "node2", "node3")
	s.kubectl("delete", "bgppeer", "frr6")
	s.eventually(20*time.Second, func() error {
		var speaker v1beta1.Speaker
		if err := json.Unmarshal([]byte(s.kubectl("get", "speaker", "node1", "-o", "json")), &speaker); err != nil {
			return err
		}
		if n := len(speaker.Status.BGP.Sessions); n != 2 {
			return fmt.Errorf("node1 tells of %d sessions", n)
		}
		return nil
	})
}
