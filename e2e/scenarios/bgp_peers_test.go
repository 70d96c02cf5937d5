package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/lab"
)

// sessionsOf are a node's sessions as its Speaker tells, by the peers' names.
func (s *bgpStory) sessionsOf(node string) (map[string]v1beta1.BGPSession, error) {
	var speaker v1beta1.Speaker
	if err := json.Unmarshal([]byte(s.kubectl("get", "speaker", node, "-o", "json")), &speaker); err != nil {
		return nil, err
	}
	all := map[string]v1beta1.BGPSession{}
	if speaker.Status.BGP != nil {
		for _, one := range speaker.Status.BGP.Sessions {
			all[one.Peer] = one
		}
	}
	return all, nil
}

// withdraw deletes peers, and returns when no node has sessions with them.
func (s *bgpStory) withdraw(peers ...string) {
	s.Helper()
	s.kubectl(append([]string{"delete", "bgppeer"}, peers...)...)
	s.eventually(20*time.Second, func() error {
		for _, n := range s.lab.Nodes() {
			sessions, err := s.sessionsOf(n.Name)
			if err != nil {
				return err
			}
			for _, p := range peers {
				if _, there := sessions[p]; there {
					return fmt.Errorf("%s tells of a session with %s", n.Name, p)
				}
			}
		}
		return nil
	})
}

// notifications are the ways in which a router ends a session, and what is said of each.
var notifications = []struct {
	code, subcode byte
	data          string
	says          string
}{
	{1, 1, "", "PeerError: the router complains of what we sent"},
	{2, 2, "", "RefusedASN: the router refuses our ASN 65001"},
	{2, 3, "", "RefusedOpen: the router refuses our router ID"},
	{2, 6, "", "RefusedOpen: the router refuses a hold time of 1m30s"},
	{2, 7, "", "RefusedOpen: the router misses a capability of ours"},
	{3, 1, "", "PeerError: the router complains of what we sent"},
	{4, 0, "", "HoldTimeExpiredAtPeer: the router heard nothing of us"},
	{5, 3, "", "PeerError: the router complains of what we sent"},
	{6, 1, "", "TooManyRoutes: the router accepts fewer routes"},
	{6, 2, "\x0afibre work", "PeerShutdown: the session was shut down at the router, saying: fibre work"},
	{6, 3, "", "PeerDeconfigured: the router does not have this node among its neighbors"},
	{6, 4, "", "PeerReset: the session was reset at the router"},
	{6, 5, "", "ConnectionRejected: the router rejects the connection"},
	{6, 6, "", "PeerConfigurationChanged: the router's configuration changed"},
	{6, 7, "", "CollisionResolved: the router has another connection"},
	{6, 8, "", "PeerOutOfResources: the router is out of resources"},
	{6, 10, "", "PeerBFDDown: the router's BFD lost this node"},
	{99, 7, "", "PeerError: the router ended the session with NOTIFICATION 99/7"},
}

// toldOf has a router end its sessions in every way there is, each on a port of its own.
func (s *bgpStory) toldOf(netip.Addr) {
	at := netip.MustParsePrefix("10.99.0.204/16")
	host, err := s.lab.AddHost(s.ctx, lab.HostSpec{Name: "moody", Interfaces: []lab.Interface{{Segment: "lan", Addresses: []netip.Prefix{at}}}})
	s.must(err)
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	const first = 1790
	var objects strings.Builder
	var names []string
	s.must(inNetwork(host, func() error {
		for i, n := range notifications {
			l, err := net.Listen("tcp4", fmt.Sprintf(":%d", first+i))
			if err != nil {
				return err
			}
			context.AfterFunc(ctx, func() { l.Close() })
			go endWith(l, n.code, n.subcode, n.data)
		}
		return nil
	}))
	for i, n := range notifications {
		names = append(names, fmt.Sprintf("moody-%d-%d", n.code, n.subcode))
		fmt.Fprintf(&objects, `---
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: %s}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, peerPort: %d, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node1}}]}
`, names[i], at.Addr(), first+i)
	}
	s.apply(objects.String())
	s.eventually(30*time.Second, func() error {
		sessions, err := s.sessionsOf("node1")
		if err != nil {
			return err
		}
		for i, n := range notifications {
			if got := sessions[names[i]]; !strings.HasPrefix(got.LastError, n.says) {
				return fmt.Errorf("of %d/%d the Speaker tells %+v", n.code, n.subcode, got)
			}
		}
		return nil
	})
	for i, n := range notifications {
		s.peerTells(names[i], func(p *v1beta1.BGPPeer) error {
			for _, c := range p.Status.Conditions {
				if c.Type == string(v1beta1.ConditionSessionsDown) && strings.Contains(c.Message, "node1: "+n.says) {
					return nil
				}
			}
			return fmt.Errorf("the peer tells %+v", p.Status.Conditions)
		})
	}
	s.eventually(20*time.Second, func() error {
		events := s.kubectl("get", "events", "-A", "-o", `jsonpath={range .items[?(@.reason=="SessionDown")]}{.involvedObject.name} {.message}{"\n"}{end}`)
		for i, n := range notifications {
			if want := names[i] + " node node1 has no BGP session: " + n.says; !strings.Contains(events, want) {
				return fmt.Errorf("no event %q among\n%s", want, events)
			}
		}
		return nil
	})
	s.withdraw(names...)
}

// endWith takes connections, begins a session on each, and ends it with a NOTIFICATION: those about an OPEN before it is established.
func endWith(l net.Listener, code, subcode byte, data string) {
	marker := slices.Repeat([]byte{0xff}, 16)
	open := append(slices.Clone(marker), 0, 29, 1, 4, 0xfd, 0xe8, 0, 90, 9, 9, 9, 9, 0)
	keepalive := append(slices.Clone(marker), 0, 19, 4)
	words := append(append(slices.Clone(marker), 0, byte(21+len(data)), 3, code, subcode), data...)
	if code != 2 {
		words = slices.Concat(open, keepalive, words)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = c.Write(words) // what becomes of it is seen at the other end
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, c)
		}()
	}
}

// fromAfar has sessions start from an interface of the nodes' own, several hops away from the routers, and watched by multihop BFD.
func (s *bgpStory) fromAfar(netip.Addr) {
	var frr, bird strings.Builder
	frrBefore, birdBefore := s.frr.Config, s.bird.Config
	fmt.Fprint(&frr, frrBefore, "router bgp 65000\n")
	fmt.Fprint(&bird, birdBefore)
	source := map[string]netip.Addr{}
	for i, n := range s.lab.Nodes() {
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(4 * i)}), 30)
		at := net.Addr().Next()
		source[n.Name] = at
		_, err := n.Exec(s.ctx, "sh", "-ec", fmt.Sprintf("ip link add src0 type bridge; ip addr add %s/30 dev src0; ip link set src0 up", at))
		s.must(err)
		for _, r := range []*lab.Host{s.frrHost, s.birdHost} {
			s.must(r.AddRoutes(lab.Route{To: net, Via: n.IPv4()}))
		}
		fmt.Fprintf(&frr, " neighbor %[1]s remote-as 65001\n neighbor %[1]s passive\n neighbor %[1]s ebgp-multihop 3\n neighbor %[1]s update-source %[2]s\n neighbor %[1]s bfd profile fast\n", at, frrAt.Addr())
		fmt.Fprintf(&bird, "protocol bgp far_%s {\n local %s as 65000;\n neighbor %s as 65001;\n multihop 3; passive on; error wait time 1, 1; bfd on;\n"+
			" ipv4 { import all; export none; };\n}\n", n.Name, birdAt.Addr(), at)
	}
	s.must(s.frr.Configure(s.ctx, frr.String()))
	s.must(s.bird.Configure(s.ctx, bird.String()))
	// BIRD sends multihop BFD with the system's usual TTL of 64.
	s.apply(fmt.Sprintf(`
apiVersion: clarion.dev/v1beta1
kind: BFDProfile
metadata: {name: far}
spec: {receiveInterval: 500, transmitInterval: 500, detectMultiplier: 5, minimumTtl: 60}
---
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: frr-far}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, sourceInterface: src0, ebgpMultiHop: true, bfdProfile: far, connectTime: 1s}
---
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: bird-far}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, sourceInterface: src0, ebgpMultiHop: true, bfdProfile: far, connectTime: 1s}
`, frrAt.Addr(), birdAt.Addr()))
	for _, n := range s.lab.Nodes() {
		s.established(n.Name, "frr-far", "bird-far")
	}
	s.eventually(20*time.Second, func() error {
		var all []struct {
			Peer     string `json:"peer"`
			Multihop bool   `json:"multihop"`
			Status   string `json:"status"`
		}
		if err := s.frr.ShowJSON(s.ctx, "show bfd peers json", &all); err != nil {
			return err
		}
		out, err := s.bird.Show(s.ctx, "show", "bfd", "sessions")
		if err != nil {
			return err
		}
		for node, at := range source {
			up := false
			for _, one := range all {
				up = up || one.Peer == at.String() && one.Multihop && one.Status == "up"
			}
			if !up {
				return fmt.Errorf("FRR's BFD sessions, without %s of %s: %+v", at, node, all)
			}
			up = false
			for line := range strings.Lines(out) {
				f := strings.Fields(line)
				up = up || len(f) > 2 && f[0] == at.String() && f[2] == "Up"
			}
			if !up {
				return fmt.Errorf("BIRD's BFD sessions, without %s of %s:\n%s", at, node, out)
			}
		}
		return nil
	})
	s.withdraw("frr-far", "bird-far")
	forget := []string{"configure terminal", "router bgp 65000"}
	for _, n := range s.lab.Nodes() {
		_, err := n.Exec(s.ctx, "ip", "link", "del", "src0")
		s.must(err)
		forget = append(forget, "no neighbor "+source[n.Name].String())
	}
	_, err := s.frr.Show(s.ctx, forget...)
	s.must(err)
	s.frr.Config = frrBefore
	s.must(s.bird.Configure(s.ctx, birdBefore))
}

// unnumbered has a node with links of its own to both routers, without addresses: they find each other by router advertisements,
// and IPv4 goes by way of IPv6 (RFC 8950).
func (s *bgpStory) unnumbered(address netip.Addr) {
	node := s.node("node1")
	for i, r := range []*lab.Host{s.frrHost, s.birdHost} {
		at := fmt.Sprintf("up%d", i)
		s.must(inNetwork(node.Host, func() error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: at}, PeerName: "up0", PeerNamespace: netlink.NsPid(r.Machine().PID)})
		}))
		for host, name := range map[*lab.Host]string{node.Host: at, r: "up0"} {
			_, err := host.Exec(s.ctx, "ip", "link", "set", name, "up")
			s.must(err)
		}
	}
	frrBefore, birdBefore := s.frr.Config, s.bird.Config
	s.must(s.frr.Configure(s.ctx, frrBefore+"interface up0\n ipv6 nd ra-interval 1\n no ipv6 nd suppress-ra\nexit\nrouter bgp 65000\n neighbor up0 interface remote-as 65001\n neighbor up0 bfd profile fast\n"+
		" address-family ipv6 unicast\n  neighbor up0 activate\n exit-address-family\n"))
	s.must(s.bird.Configure(s.ctx, birdBefore+`
protocol radv { interface "up0" { min ra interval 3; max ra interval 4; }; }
protocol bgp links {
 local as 65000; neighbor range fe80::/10 as 65001; interface "up0"; dynamic name "link"; direct; passive on; error wait time 1, 1; bfd graceful;
 ipv4 { import all; export none; extended next hop on; };
 ipv6 { import all; export none; };
}
`))
	for i, name := range []string{"frr-link", "bird-link"} {
		s.apply(fmt.Sprintf(`
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: %s}
spec: {myASN: 65001, peerASN: 65000, interface: up%d, bfdProfile: watched, connectTime: 1s, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node1}}]}
`, name, i))
	}
	s.established("node1", "frr-link", "bird-link")
	sessions, err := s.sessionsOf("node1")
	s.must(err)
	for _, name := range []string{"frr-link", "bird-link"} {
		if a := sessions[name].Address; !strings.HasPrefix(a, "fe80:") {
			s.Errorf("the session with %s is with %q", name, a)
		}
	}
	s.eventually(20*time.Second, func() error {
		var all map[string]struct {
			State string `json:"bgpState"`
			BFD   struct {
				Status string `json:"status"`
			} `json:"peerBfdInfo"`
		}
		if err := s.frr.ShowJSON(s.ctx, "show bgp neighbors up0 json", &all); err != nil {
			return err
		}
		if got := all["up0"]; got.State != "Established" || !strings.EqualFold(got.BFD.Status, "up") {
			return fmt.Errorf("FRR tells of its link: %+v", got)
		}
		for _, r := range []*lab.Host{s.frrHost, s.birdHost} {
			out, err := r.Exec(s.ctx, "ip", "route", "show", address.String())
			if err != nil || !strings.Contains(out, "inet6 fe80:") {
				return fmt.Errorf("%s sends %s not by IPv6: %w\n%s", r.Name, address, err, out)
			}
		}
		return nil
	})
	s.withdraw("frr-link", "bird-link")
	_, err = s.frr.Show(s.ctx, "configure terminal", "router bgp 65000", "no neighbor up0 interface remote-as 65001")
	s.must(err)
	s.frr.Config = frrBefore
	s.must(s.bird.Configure(s.ctx, birdBefore))
	for i := range 2 {
		_, err := node.Exec(s.ctx, "ip", "link", "del", fmt.Sprintf("up%d", i))
		s.must(err)
	}
}
