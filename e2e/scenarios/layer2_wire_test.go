package scenarios

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// TestLayer2OnTheWire is what addresses meet on a LAN that is not all ours, and what they wait for. Three light nodes, a back end on
// two of them, and addresses one at a time.
//
//	client   printer   proxy ── behind
//	  │         │        │
//	──┴──── lan ┴────────┴──┬──────────┬──────────┬──
//	                      node1      node2      node3
//	                     (back end) (back end)
func TestLayer2OnTheWire(t *testing.T) {
	l := lab.Up(t, lab.Options{Nodes: 3, Light: true})
	s := &story{T: t, lab: l, ctx: t.Context()}
	s.must(stage.Run(s.ctx, l, func(line string) { t.Log(line) }))
	s.must(stage.Announce(s.ctx, l))
	s.must(stage.Serve(s.ctx, l, stage.Web{Name: "web", On: []string{"node1", "node2"}, NoService: true}))
	wire, err := listen(l)
	s.must(err)
	defer wire.close()

	s.chapter("a router that answers for any address is ignored", func(s *story) {
		s.must(l.AddSegment("behind"))
		_, err := l.AddHost(s.ctx, lab.HostSpec{Name: "proxy", Forward: true, Interfaces: []lab.Interface{
			{Segment: "lan", Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.200/16")}},
			{Segment: "behind", Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.100.1/24")}},
		}})
		s.must(err)
		proxy := l.Host("proxy")
		_, err = proxy.Exec(s.ctx, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/proxy_arp; echo 0 > /proc/sys/net/ipv4/neigh/eth0/proxy_delay")
		s.must(err)
		address := netip.MustParseAddr("10.99.100.77")
		s.eventually(20*time.Second, func() error {
			answers, err := l.AskLAN(s.ctx, address, 300*time.Millisecond)
			if err == nil && len(answers) == 0 {
				err = fmt.Errorf("the router does not answer for others")
			}
			return err
		})
		s.wants("any", address)
		s.becomes("any", "True Announced")
		s.must(proxy.PowerOff())
	})

	s.chapter("a host that takes an address later is defended against and told, until it has gone", func(s *story) {
		address := addressFor(201)
		s.wants("defended", address)
		s.becomes("defended", "True Announced")
		s.eventually(20*time.Second, func() error { // all rounds are over
			if wire.count(address) < 6 {
				return fmt.Errorf("%s was announced in %d frames", address, wire.count(address))
			}
			return nil
		})
		ours := wire.last()[address]
		printer, err := l.AddHost(s.ctx, lab.HostSpec{Name: "printer", Interfaces: []lab.Interface{{
			Segment: "lan", Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.201/16"), netip.PrefixFrom(address, lab.LANv4.Bits())}}}})
		s.must(err)
		theirs, err := printer.Exec(s.ctx, "cat", "/sys/class/net/eth0/address")
		s.must(err)
		theirs = strings.TrimSpace(theirs)
		asked := netip.MustParseAddr("10.99.200.1")
		s.eventually(20*time.Second, func() error {
			if wire.last()[address] != theirs && !wire.saidAfter(address, ours, theirs) {
				asked = asked.Next() // each of which it has to ask for
				s.must(speakFrom(printer, address, asked))
				return fmt.Errorf("the printer has not said that it has %s", address)
			}
			return nil
		})
		s.becomes("defended", "True AddressConflict")
		if got := s.condition("defended", "Announced"); !strings.Contains(got, theirs) {
			s.Errorf("the condition %q does not name %s", got, theirs)
		}
		if !wire.saidAfter(address, ours, theirs) {
			s.Errorf("%s was not defended", address)
		}
		s.must(printer.PowerOff())
		s.becomes("defended", "True Announced")
	})

	s.chapter("a node's kernel that answers, too, is no stranger, and is told", func(s *story) {
		address := addressFor(202)
		for _, n := range l.Nodes() { // whichever owns it, others answer
			_, err := n.Exec(s.ctx, "ip", "address", "add", address.String()+"/32", "dev", "lo")
			s.must(err)
		}
		s.wants("proxied", address)
		s.becomes("proxied", "True KubeProxyAnswersARP")
		for _, n := range l.Nodes() {
			_, err := n.Exec(s.ctx, "ip", "address", "delete", address.String()+"/32", "dev", "lo")
			s.must(err)
		}
	})

	s.chapter("Local: an endpoint that begins to terminate has the address moved before it is gone, and nobody is refused", func(s *story) {
		addresses := []netip.Addr{addressFor(203), addressFor6(203)}
		pods := s.pods()
		for _, a := range addresses {
			s.wantsLocal(localTo(a), a, endpoint{pods, "node1", true}, endpoint{pods, "node2", true})
		}
		first, second := map[netip.Addr]string{}, map[netip.Addr]string{}
		for _, a := range addresses {
			s.becomes(localTo(a), "True Announced")
			s.reach(a)
			first[a] = s.owner(a).Name
			if second[a] = map[string]string{"node1": "node2", "node2": "node1"}[first[a]]; second[a] == "" {
				s.Fatalf("%s has no endpoint and answers for %s", first[a], a)
			}
		}
		watch := stage.StartWatch(s.ctx, l, addresses...)
		time.Sleep(300 * time.Millisecond)
		for _, a := range addresses {
			s.wantsLocal(localTo(a), a, endpoint{pods, first[a], false}, endpoint{pods, second[a], true})
		}
		for _, a := range addresses {
			s.eventually(20*time.Second, func() error {
				answers, err := l.AskLAN(s.ctx, a, 200*time.Millisecond)
				if err == nil && (len(answers) != 1 || answers[0].Node == nil || answers[0].Node.Name != second[a]) {
					err = fmt.Errorf("%v answer for %s", answers, a)
				}
				return err
			})
		}
		time.Sleep(time.Second)
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			if summary.Failures > openAtTheFlip {
				s.Errorf("%d of %d connections failed: %v", summary.Failures, summary.Attempts, summary)
			}
		}
	})

	s.chapter("Local: a node that gains an endpoint waits for its kube-proxy, but not for ever", func(s *story) {
		addresses := []netip.Addr{addressFor(204), addressFor6(204)}
		pods := s.pods()
		for _, a := range addresses {
			s.wantsLocal(localTo(a), a, endpoint{pods, "node1", true})
		}
		for _, a := range addresses {
			s.becomes(localTo(a), "True Announced")
			s.wantsLocal(localTo(a), a)
		}
		for _, a := range addresses {
			s.becomes(localTo(a), "False NoEndpoint")
		}
		s.must(l.Node("node2").Signal(s.ctx, lab.KubeProxy, unix.SIGSTOP))
		defer l.Node("node2").Signal(s.ctx, lab.KubeProxy, unix.SIGCONT)
		for _, a := range addresses {
			began := time.Now()
			s.wantsLocal(localTo(a), a, endpoint{pods, "node2", true})
			s.eventually(20*time.Second, func() error {
				answers, err := l.AskLAN(s.ctx, a, 50*time.Millisecond)
				if err == nil && len(answers) == 0 {
					err = fmt.Errorf("nobody answers for %s", a)
				}
				return err
			})
			waited := time.Since(began)
			s.Logf("%s was announced after %v", a, waited)
			if waited < 2*time.Second {
				s.Errorf("%s was announced after %v although kube-proxy was stopped", a, waited)
			}
		}
	})

	s.chapter("a deputy tells those that asked, when it has taken over, in a way that they must heed", func(s *story) {
		address := addressFor(205)
		s.wants("told", address)
		s.becomes("told", "True Announced")
		time.Sleep(time.Second) // by then there are deputies
		owner := s.owner(address)
		mac := wire.last()[address]
		s.must(owner.Cut())
		s.eventually(20*time.Second, func() error {
			if !wire.toldDirectly(address, mac) {
				return fmt.Errorf("nobody has asked the client on behalf of %s", address)
			}
			return nil
		})
		s.must(owner.Heal())
	})

	s.chapter("an advertisement's interfaces are names and patterns", func(s *story) {
		address := addressFor(206)
		s.apply(advertisement(`spec: {ipAddressPools: [lan], interfaces: ["eth1", "bond*"]}`))
		s.wants("named", address)
		s.becomes("named", "False NoInterface")
		answers, err := l.AskLAN(s.ctx, address, 300*time.Millisecond)
		s.must(err)
		if len(answers) > 0 {
			s.Errorf("%v answer for %s", answers, address)
		}
		s.apply(advertisement(`spec: {ipAddressPools: [lan], interfaces: ["eth1", "eth?"]}`))
		s.becomes("named", "True Announced")
		s.owner(address)
	})
}

// addressFor is one of the pool's addresses that no other chapter uses.
func addressFor(n byte) netip.Addr {
	b := lab.PoolV4.Addr().As4()
	b[3] = n
	return netip.AddrFrom4(b)
}

// addressFor6 is the same of IPv6.
func addressFor6(n byte) netip.Addr {
	b := lab.PoolV6.Addr().As16()
	b[15] = n
	return netip.AddrFrom16(b)
}

// advertisement is that of the pool.
func advertisement(spec string) string {
	return "{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: lan}, " + spec + "}"
}

// wants makes a Service with an address, to be deleted at the end of the chapter.
func (s *story) wants(name string, address netip.Addr) {
	s.Helper()
	s.Cleanup(func() { s.lab.Kubectl(context.WithoutCancel(s.ctx), "delete", "service", name, "--wait=false") })
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: default, annotations: {clarion.dev/loadBalancerIPs: %q}}, "+
		"spec: {type: LoadBalancer, ipFamilies: [IPv%d], selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}", name, address, familyOf(address)))
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// becomes waits for a Service's condition Announced to begin like that.
func (s *story) becomes(service, prefix string) {
	s.Helper()
	s.eventually(time.Minute, func() error {
		if got := s.condition(service, "Announced"); !strings.HasPrefix(got, prefix) {
			return fmt.Errorf("%s is %q, not %s", service, got, prefix)
		}
		return nil
	})
	s.Logf("%s: %s", service, s.condition(service, "Announced"))
}

// pods are the back ends' addresses, of both families, by node.
func (s *story) pods() map[string][]netip.Addr {
	s.Helper()
	pods := map[string][]netip.Addr{}
	for _, line := range strings.Fields(s.kubectl("get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.spec.nodeName}={.status.podIPs[0].ip}={.status.podIPs[1].ip} {end}`)) {
		words := strings.Split(line, "=")
		for _, ip := range words[1:] {
			pods[words[0]] = append(pods[words[0]], netip.MustParseAddr(ip))
		}
	}
	if len(pods) != 2 {
		s.Fatalf("back ends are %v, want one on each of two nodes", pods)
	}
	return pods
}

// endpoint is a back end on a node: ready, or serving to its end.
type endpoint struct {
	pods  map[string][]netip.Addr
	node  string
	ready bool
}

// localTo is the name of a Service under externalTrafficPolicy Local, by its address.
func localTo(a netip.Addr) string {
	return fmt.Sprintf("local-v%d-%d", familyOf(a), a.AsSlice()[a.BitLen()/8-1])
}

// wantsLocal makes a Service under externalTrafficPolicy Local with exactly these endpoints.
func (s *story) wantsLocal(name string, address netip.Addr, endpoints ...endpoint) {
	s.Helper()
	s.Cleanup(func() {
		s.lab.Kubectl(context.WithoutCancel(s.ctx), "delete", "service,endpointslice", name, "--wait=false", "--ignore-not-found")
	})
	family := familyOf(address)
	var list []string
	for _, e := range endpoints {
		for _, ip := range e.pods[e.node] {
			if familyOf(ip) == family {
				list = append(list, fmt.Sprintf("{addresses: [%q], nodeName: %s, conditions: {ready: %t, serving: true, terminating: %t}}", ip, e.node, e.ready, !e.ready))
			}
		}
	}
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %[1]s, namespace: default, annotations: {clarion.dev/loadBalancerIPs: %[2]q}}, "+
		"spec: {type: LoadBalancer, externalTrafficPolicy: Local, ipFamilies: [IPv%[4]d], ports: [{port: 80, targetPort: 8080}]}}\n---\n"+
		"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: %[1]s, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}, "+
		"addressType: IPv%[4]d, ports: [{port: 8080}], endpoints: [%[3]s]}", name, address, strings.Join(list, ", "), family))
}

// speakFrom has a host ask for a neighbour in an address' name.
func speakFrom(h *lab.Host, from, to netip.Addr) error {
	return h.Machine().InNetwork(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			return err
		}
		defer c.Close()
		c.Write([]byte{0}) // refused by whoever is there
		return nil
	})
}
