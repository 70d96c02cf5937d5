package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// Where the routers of the story are, beside the lab's own hosts, and the network of those who come by way of them.
var (
	frrAt    = netip.MustParsePrefix("10.99.0.201/16")
	frrAt6   = netip.MustParsePrefix("fd99::201/64")
	birdAt   = netip.MustParsePrefix("10.99.0.202/16")
	outside  = netip.MustParsePrefix("203.0.113.0/24")
	gateway  = netip.MustParsePrefix("203.0.113.1/24")
	birdway  = netip.MustParsePrefix("203.0.113.3/24")
	userAt   = netip.MustParsePrefix("203.0.113.2/24")
	routable = netip.MustParsePrefix("198.51.100.0/24")
)

// TestBGP is a cluster whose addresses are on no link: routers learn them from the nodes and share the traffic among them.
//
//	user ── outside ─┬─ frr ──┬── lan ──┬── node1
//	                 └─ bird ─┘         ├── node2 (back end)
//	                                    └── node3 (back end)
func TestBGP(t *testing.T) {
	s, address := bgpCluster(t)

	s.chapter("both routers learn the address from every node, and traffic is shared", func(st *story) {
		s := s.in(st)
		s.nextHops(address, "node1", "node2", "node3")
		s.eventually(10*time.Second, func() error {
			out, err := s.bird.Show(s.ctx, "show", "route", "for", address.String(), "all")
			if got := strings.Count(out, "BGP.next_hop"); err != nil || got != 3 || strings.Count(out, "(65001,7)") != 3 {
				return fmt.Errorf("BIRD has %d routes to %s: %v\n%s", got, address, err, out)
			}
			return nil
		})
		for _, peer := range []string{"frr", "bird"} {
			s.peerTells(peer, func(p *v1beta1.BGPPeer) error {
				if p.Status.SessionsUp == nil || *p.Status.SessionsUp != 3 || *p.Status.SessionsWanted != 3 {
					return fmt.Errorf("the peer tells %+v", p.Status)
				}
				return nil
			})
		}
		s.eventually(20*time.Second, func() error { // kube-proxy on every node may take its time
			through := map[netip.Addr]int{}
			for range 60 {
				via, err := s.via(address)
				if err != nil {
					return err
				}
				through[via]++
			}
			for _, n := range s.lab.Nodes() {
				if through[n.IPv4()] == 0 {
					return fmt.Errorf("of 60 connections none came by way of %s: %v", n.Name, through)
				}
			}
			return nil
		})
	})

	s.chapter("a node is drained: it leaves the traffic to the others, and no connection fails", func(st *story) {
		s := s.in(st)
		watch := s.watch(address)
		s.kubectl("label", "node", "node1", "clarion.dev/drain=")
		s.nextHops(address, "node2", "node3")
		time.Sleep(300 * time.Millisecond)
		watch.nothingLost()
		s.kubectl("label", "node", "node1", "clarion.dev/drain-")
		s.nextHops(address, "node1", "node2", "node3")
	})

	s.chapter("a speaker is started again, with graceful restart: no connection fails, and the router keeps the routes", func(st *story) {
		s := s.in(st)
		node := s.node("node1")
		watch := s.watch(address)
		s.must(node.Stop(s.ctx, stage.Speaker, 30*time.Second))
		s.must(stage.StartSpeaker(s.ctx, s.lab, node))
		s.established("node1", "frr", "bird")
		time.Sleep(time.Second)
		watch.nothingLost()
		watch.routesKept()
		s.nextHops(address, "node1", "node2", "node3")
	})

	s.chapter("a speaker leaves a cordoned node: its routes linger, and no connection fails", func(st *story) {
		s := s.in(st)
		node := s.node("node1")
		s.kubectl("cordon", "node1")
		watch := s.watch(address)
		s.must(node.Stop(s.ctx, stage.Speaker, 30*time.Second))
		s.nextHops(address, "node2", "node3")
		watch.nothingLost()
		s.kubectl("uncordon", "node1")
		s.must(stage.StartSpeaker(s.ctx, s.lab, node))
		s.nextHops(address, "node1", "node2", "node3")
	})

	s.chapter("the process that BGP lives in is killed: it is back, and no connection fails", func(st *story) {
		s := s.in(st)
		watch := s.watch(address)
		_, err := s.node("node1").Exec(s.ctx, "sh", "-c", "for p in /proc/[0-9]*; do if [ \"$(tr '\\0' ' ' < $p/cmdline)\" = 'clarion-bgp ' ]; then kill -9 ${p#/proc/}; fi; done")
		s.must(err)
		time.Sleep(time.Second)
		s.established("node1", "frr", "bird")
		watch.nothingLost()
		watch.routesKept()
	})

	for _, c := range []struct {
		name string
		tell func(*bgpStory, netip.Addr)
	}{
		{"restarts and edits elsewhere reset no session and send no UPDATE", (*bgpStory).undisturbed},
		{"a session over IPv6, bound to a device, waits for BFD", (*bgpStory).bySix},
		{"sessions that start from an interface several hops away are watched by multihop BFD", (*bgpStory).fromAfar},
		{"routers on links without addresses are found, and IPv4 goes by IPv6", (*bgpStory).unnumbered},
		{"each NOTIFICATION is told where one looks for it", (*bgpStory).toldOf},
		{"a router speaks garbage and floods BFD: nothing but its own session suffers", (*bgpStory).hostile},
		{"the router's BGP is killed and comes back: no connection fails", (*bgpStory).routerRestarts},
		{"BIRD is killed and comes back: no connection fails, and what goes to it alone is said not to be announced", (*bgpStory).birdRestarts},
	} {
		s.chapter(c.name, func(st *story) { c.tell(s.in(st), address) })
	}

	s.chapter("a node is cut off: BFD has the router turn to the others long before the hold time is over", func(st *story) {
		s := s.in(st)
		node := s.node("node1")
		s.kubectl("patch", "bfdprofile", "watched", "--type=merge", "-p", `{"spec":{"receiveInterval":50,"transmitInterval":50}}`)
		s.watchedAt(50)
		watch := s.watch(address)
		s.must(node.Cut())
		s.nextHops(address, "node2", "node3")
		time.Sleep(500 * time.Millisecond)
		summary, _ := watch.stop()
		s.Logf("nobody answered some for %v, %d of %d connections failed", summary.Gap, summary.Failures, summary.Attempts)
		if summary.Gap > 5*time.Second { // the hold time is 90 s; how fast it is on a machine that is not busy, the benchmark tells
			s.Errorf("nobody answered for %v", summary.Gap)
		}
		s.must(node.Heal())
		s.nextHops(address, "node1", "node2", "node3")
	})

	s.chapter("a router goes silent: BFD tells, and the Service is still announced by the other", func(st *story) { s.in(st).routerSilent(address) })

	s.chapter("a wrong ASN, a wrong password and a wrong TTL are told where one looks for them", func(st *story) {
		s := s.in(st)
		s.kubectl("patch", "bgppeer", "frr", "--type=merge", "-p", `{"spec":{"peerASN":65009}}`)
		s.kubectl("-n", stage.Namespace, "patch", "secret", "bird", "--type=merge", "-p", `{"stringData":{"password":"wrong"}}`)
		s.peerTells("frr", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "WrongPeerASN") })
		s.peerTells("bird", func(p *v1beta1.BGPPeer) error { return tellsDown(p, "node1: ") })
		s.expectCondition("web", "Announced", "False NoSession")
		s.kubectl("patch", "bgppeer", "frr", "--type=merge", "-p", `{"spec":{"peerASN":65000}}`)
		s.kubectl("-n", stage.Namespace, "patch", "secret", "bird", "--type=merge", "-p", `{"stringData":{"password":"speaks-bgp"}}`)
		s.expectCondition("web", "Announced", "True Announced")
		for _, peer := range []string{"frr", "bird"} { // neither router sends with a TTL of 255
			s.kubectl("patch", "bgppeer", peer, "--type=merge", "-p", `{"spec":{"ttlSecurity":{}}}`)
		}
		for _, peer := range []string{"frr", "bird"} {
			s.peerTells(peer, func(p *v1beta1.BGPPeer) error { return tellsDown(p, "TTLTooLow: packets from 10.99.0.") })
			s.kubectl("patch", "bgppeer", peer, "--type=merge", "-p", `{"spec":{"ttlSecurity":null}}`)
		}
		s.expectCondition("web", "Announced", "True Announced")
	})
}

// bgpCluster is the cluster of the story, with the address of a Service that both routers are to know.
func bgpCluster(t *testing.T) (*bgpStory, netip.Addr) {
	l := lab.Up(t, lab.Options{Nodes: 3, Light: true})
	s := &bgpStory{story: &story{T: t, lab: l, ctx: t.Context()}}
	s.must(stage.Run(s.ctx, l, func(line string) { t.Log(line) }))
	s.routers()
	s.must(stage.Serve(s.ctx, l, stage.Web{Name: "web", On: []string{"node2", "node3"}, NoService: true}))
	s.reachPods()
	s.apply(fmt.Sprintf(`
apiVersion: clarion.dev/v1beta1
kind: IPAddressPool
metadata: {name: routed}
spec: {addresses: [%s]}
---
apiVersion: clarion.dev/v1beta1
kind: BGPAdvertisement
metadata: {name: routed}
spec: {ipAddressPools: [routed], communities: ["65001:7"]}
---
apiVersion: clarion.dev/v1beta1
kind: BFDProfile
metadata: {name: watched}
spec: {receiveInterval: 1000, transmitInterval: 1000}
---
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: frr}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, bfdProfile: watched, enableGracefulRestart: true, connectTime: 1s}
---
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: bird}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, bfdProfile: watched, enableGracefulRestart: true, connectTime: 1s, passwordSecret: {name: bird}}
---
apiVersion: v1
kind: Secret
metadata: {name: bird, namespace: %s}
type: kubernetes.io/basic-auth
stringData: {password: speaks-bgp}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`, routable, frrAt.Addr(), birdAt.Addr(), stage.Namespace))
	s.expectCondition("web", "Announced", "True Announced")
	address := netip.MustParseAddr(strings.TrimSpace(s.kubectl("get", "service", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")))
	return s, address
}

// bgpStory is a story with routers in it.
type bgpStory struct {
	*story
	frr, bird               *router.Router
	frrHost, birdHost, user *lab.Host
	controls                []netip.AddrPort // the Pods behind the Service
}

func (s *bgpStory) in(st *story) *bgpStory {
	now := *s
	now.story = st
	return &now
}

// routers starts FRR, with a network behind it, and BIRD.
func (s *bgpStory) routers() {
	s.must(s.lab.AddSegment("outside"))
	frr, err := s.lab.AddHost(s.ctx, lab.HostSpec{Name: "frr", Forward: true, Interfaces: []lab.Interface{
		{Segment: "lan", Addresses: []netip.Prefix{frrAt, frrAt6}}, {Segment: "outside", Addresses: []netip.Prefix{gateway}}}})
	s.must(err)
	bird, err := s.lab.AddHost(s.ctx, lab.HostSpec{Name: "bird", Forward: true, Interfaces: []lab.Interface{
		{Segment: "lan", Addresses: []netip.Prefix{birdAt}}, {Segment: "outside", Addresses: []netip.Prefix{birdway}}}})
	s.must(err)
	s.frrHost, s.birdHost = frr, bird
	for _, host := range []*lab.Host{frr, bird} {
		_, err = host.Exec(s.ctx, "sysctl", "-w", "net.ipv4.fib_multipath_hash_policy=1")
		s.must(err)
		s.must(host.Start(s.ctx, lab.Process{Name: routeMonitor, Args: []string{"ip", "-ts", "monitor", "route", "nexthop"}}))
	}
	s.user, err = s.lab.AddHost(s.ctx, lab.HostSpec{Name: "user", Interfaces: []lab.Interface{{Segment: "outside", Addresses: []netip.Prefix{userAt}}},
		Routes: []lab.Route{{To: routable, Via: gateway.Addr()}, {To: lab.PodsV4, Via: gateway.Addr()}}})
	s.must(err)

	var f, b strings.Builder
	fmt.Fprint(&f, "bfd\n profile fast\n  transmit-interval 50\n  receive-interval 50\n exit\nexit\nrouter bgp 65000\n bgp router-id 10.99.0.201\n"+
		" no bgp ebgp-requires-policy\n bgp graceful-restart\n bgp bestpath as-path multipath-relax\n")
	fmt.Fprint(&b, "router id 10.99.0.202;\nprotocol device {}\n"+
		"protocol kernel { ipv4 { export all; }; merge paths on; graceful restart on; }\n"+
		"protocol bfd {\n interface \"*\" { min tx interval 1 s; min rx interval 1 s; multiplier 3; };\n multihop { min tx interval 500 ms; min rx interval 500 ms; multiplier 5; };\n}\n")
	for _, n := range s.lab.Nodes() {
		s.must(n.AddRoutes(lab.Route{To: outside, Via: frrAt.Addr()}))
		fmt.Fprintf(&f, " neighbor %[1]s remote-as 65001\n neighbor %[1]s passive\n neighbor %[1]s bfd profile fast\n", n.IPv4())
		fmt.Fprintf(&b, "protocol bgp %s {\n local %s as 65000;\n neighbor %s as 65001;\n passive on; error wait time 1, 1; password \"speaks-bgp\"; bfd graceful; graceful restart on;\n"+
			" ipv4 { import all; export none; };\n}\n", n.Name, birdAt.Addr(), n.IPv4())
	}
	s.frr, err = frr.StartRouter(s.ctx, router.Spec{Kind: router.FRR, Config: f.String()})
	s.must(err)
	s.bird, err = bird.StartRouter(s.ctx, router.Spec{Kind: router.BIRD, Config: b.String()})
	s.must(err)
}

func (s *bgpStory) node(name string) *lab.Node {
	nodes := s.lab.Nodes()
	return nodes[slices.IndexFunc(nodes, func(n *lab.Node) bool { return n.Name == name })]
}

// nextHops waits until FRR forwards to exactly these nodes.
func (s *bgpStory) nextHops(address netip.Addr, nodes ...string) {
	s.Helper()
	var want []string
	for _, name := range nodes {
		want = append(want, s.node(name).IPv4().String())
	}
	s.eventually(20*time.Second, func() error {
		var table map[string][]struct {
			NextHops []struct {
				IP     string `json:"ip"`
				Active bool   `json:"active"`
			} `json:"nexthops"`
		}
		if err := s.frr.ShowJSON(s.ctx, "show ip route "+address.String()+"/32 json", &table); err != nil {
			return err
		}
		var got []string
		for _, routes := range table {
			for _, r := range routes {
				for _, hop := range r.NextHops {
					if hop.Active {
						got = append(got, hop.IP)
					}
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("FRR sends %s to %v, not to %v", address, got, want)
		}
		return nil
	})
}

// established waits until a node's Speaker tells of sessions with the peers.
func (s *bgpStory) established(node string, peers ...string) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		var speaker v1beta1.Speaker
		if err := json.Unmarshal([]byte(s.kubectl("get", "speaker", node, "-o", "json")), &speaker); err != nil {
			return err
		}
		if speaker.Status.BGP == nil {
			return fmt.Errorf("the Speaker of %s tells of no sessions", node)
		}
		for _, peer := range peers {
			if !slices.ContainsFunc(speaker.Status.BGP.Sessions, func(b v1beta1.BGPSession) bool {
				return b.Peer == peer && b.State == v1beta1.BGPEstablished && b.RoutesSent == 1
			}) {
				return fmt.Errorf("the Speaker of %s tells %+v", node, speaker.Status.BGP)
			}
		}
		return nil
	})
}

// watchedAt waits until all nodes' BFD sessions with FRR have agreed on an interval, in milliseconds.
func (s *bgpStory) watchedAt(interval int) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		var all []struct {
			Peer     string `json:"peer"`
			Status   string `json:"status"`
			Receive  int    `json:"remote-receive-interval"`
			Transmit int    `json:"remote-transmit-interval"`
		}
		if err := s.frr.ShowJSON(s.ctx, "show bfd peers json", &all); err != nil {
			return err
		}
		for _, one := range all {
			if !strings.Contains(one.Peer, ":") && (one.Status != "up" || one.Receive != interval || one.Transmit != interval) {
				return fmt.Errorf("FRR's BFD sessions: %+v", all)
			}
		}
		return nil
	})
}

// peerTells waits until a peer's status is as it should be.
func (s *bgpStory) peerTells(name string, holds func(*v1beta1.BGPPeer) error) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		var p v1beta1.BGPPeer
		if err := json.Unmarshal([]byte(s.kubectl("get", "bgppeer", name, "-o", "json")), &p); err != nil {
			return err
		}
		return holds(&p)
	})
}

func tellsDown(p *v1beta1.BGPPeer, words string) error {
	for _, c := range p.Status.Conditions {
		if c.Type == string(v1beta1.ConditionSessionsDown) && strings.HasPrefix(c.Message, "0 of 3") && strings.Contains(c.Message, words) {
			return nil
		}
	}
	return fmt.Errorf("the peer does not tell %q: %+v", words, p.Status.Conditions)
}

// via makes a request as the user, and returns by which address it reached the back end: that of the node which passed it on to
// another, the user's where it did not have to.
func (s *bgpStory) via(address netip.Addr) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DialContext: s.user.Dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(address, 80).String()+"/", nil)
	if err != nil {
		return netip.Addr{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return netip.Addr{}, err
	}
	defer response.Body.Close()
	var answer struct {
		Client netip.AddrPort `json:"client"`
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	return answer.Client.Addr(), err
}
