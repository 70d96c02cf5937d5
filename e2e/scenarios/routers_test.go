package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// A benchRouter is one of several routers side by side, each with a network of its own behind it, and a user there.
//
//	user1 ── outside1 ── router1 ──┬── lan ── nodes
//	user2 ── outside2 ── router2 ──┘
type benchRouter struct {
	name            string
	kind            router.Kind
	gracefulRestart bool

	at     netip.Addr
	host   *lab.Host
	user   *lab.Host
	router *router.Router
}

// startRouters starts them and has every node make sessions with them, watched by BFD at 50 ms × 3.
func startRouters(ctx context.Context, l *lab.Lab, all []*benchRouter) error {
	objects := `
apiVersion: clarion.dev/v1beta1
kind: BFDProfile
metadata: {name: fast}
spec: {receiveInterval: 50, transmitInterval: 50, detectMultiplier: 3}
`
	for i, r := range all {
		on := netip.MustParsePrefix(fmt.Sprintf("10.99.0.%d/16", 201+i))
		segment, behind := fmt.Sprintf("outside%d", i+1), netip.MustParsePrefix(fmt.Sprintf("203.0.113.%d/28", 16*i))
		gateway := netip.PrefixFrom(behind.Addr().Next(), behind.Bits())
		user := netip.PrefixFrom(gateway.Addr().Next(), behind.Bits())
		r.at = on.Addr()
		if err := l.AddSegment(segment); err != nil {
			return err
		}
		var err error
		if r.host, err = l.AddHost(ctx, lab.HostSpec{Name: r.name, Forward: true, Interfaces: []lab.Interface{
			{Segment: "lan", Addresses: []netip.Prefix{on}}, {Segment: segment, Addresses: []netip.Prefix{gateway}}}}); err != nil {
			return err
		}
		if _, err = r.host.Exec(ctx, "sysctl", "-w", "net.ipv4.fib_multipath_hash_policy=1"); err != nil {
			return err
		}
		if r.user, err = l.AddHost(ctx, lab.HostSpec{Name: fmt.Sprintf("user%d", i+1), Interfaces: []lab.Interface{{Segment: segment, Addresses: []netip.Prefix{user}}},
			Routes: []lab.Route{{To: routable, Via: gateway.Addr()}}}); err != nil {
			return err
		}
		for _, n := range l.Nodes() {
			if err := n.AddRoutes(lab.Route{To: behind, Via: r.at}); err != nil {
				return err
			}
		}
		if r.router, err = r.host.StartRouter(ctx, router.Spec{Kind: r.kind, Config: r.config(l)}); err != nil {
			return err
		}
		objects += fmt.Sprintf(`---
apiVersion: clarion.dev/v1beta1
kind: BGPPeer
metadata: {name: %s}
spec: {myASN: 65001, peerASN: 65000, peerAddress: %s, bfdProfile: fast, enableGracefulRestart: %v, connectTime: 1s}
`, r.name, r.at, r.gracefulRestart)
	}
	return l.ApplyYAML(ctx, objects)
}

func (r *benchRouter) config(l *lab.Lab) string {
	var b strings.Builder
	if r.kind == router.BIRD {
		restart := map[bool]string{true: "on", false: "off"}[r.gracefulRestart]
		fmt.Fprintf(&b, "router id %s;\nprotocol device {}\nprotocol kernel { ipv4 { export all; }; merge paths on; }\n"+
			"protocol bfd { interface \"*\" { min tx interval 50 ms; min rx interval 50 ms; multiplier 3; }; }\n", r.at)
		for _, n := range l.Nodes() {
			fmt.Fprintf(&b, "protocol bgp %s { local %s as 65000; neighbor %s as 65001; passive on; error wait time 1, 1; bfd on; graceful restart %s;\n"+
				" ipv4 { import all; export none; }; }\n", n.Name, r.at, n.IPv4(), restart)
		}
		return b.String()
	}
	restart := map[bool]string{true: "bgp graceful-restart", false: "bgp graceful-restart-disable"}[r.gracefulRestart]
	fmt.Fprintf(&b, "log timestamp precision 6\nlog stdout debugging\ndebug bgp updates in\nbfd\n profile fast\n  transmit-interval 50\n  receive-interval 50\n exit\nexit\n"+
		"router bgp 65000\n bgp router-id %s\n no bgp ebgp-requires-policy\n %s\n bgp bestpath as-path multipath-relax\n", r.at, restart)
	for _, n := range l.Nodes() {
		fmt.Fprintf(&b, " neighbor %[1]s remote-as 65001\n neighbor %[1]s passive\n neighbor %[1]s bfd profile fast\n", n.IPv4())
	}
	return b.String()
}

// hops are the nodes that the router's kernel sends an address to.
func (r *benchRouter) hops(ctx context.Context, address netip.Addr) (via []string, err error) {
	out, err := r.host.Exec(ctx, "ip", "route", "show", address.String())
	if err != nil {
		return nil, err
	}
	words := strings.Fields(out)
	for i, w := range words {
		if w == "via" && i+1 < len(words) {
			via = append(via, words[i+1])
		}
	}
	return via, nil
}

// await returns when what holds of the next hops holds at all of the routers.
func awaitHops(ctx context.Context, all []*benchRouter, address netip.Addr, within time.Duration, what string, holds func(via []string) bool) error {
	deadline := time.Now().Add(within)
	for _, r := range all {
		for {
			via, err := r.hops(ctx, address)
			if err != nil {
				return err
			}
			if holds(via) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is not so at %s after %v: %s is by way of %v", what, r.name, within, address, via)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// advertiseRoutable has a pool that is on no link be advertised to all routers.
var advertiseRoutable = fmt.Sprintf(`
apiVersion: clarion.dev/v1beta1
kind: IPAddressPool
metadata: {name: routed}
spec: {addresses: [%s]}
---
apiVersion: clarion.dev/v1beta1
kind: BGPAdvertisement
metadata: {name: routed}
spec: {ipAddressPools: [routed]}
`, routable)

// serveByRouters has one Service with back ends on a node that is advertised, and returns its address.
func serveByRouters(b *testing.B, l *lab.Lab, on string) netip.Addr {
	b.Helper()
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(l.ApplyYAML(ctx, advertiseRoutable))
	must(stage.Serve(ctx, l, stage.Web{Name: "web", On: []string{on}}))
	_, err := l.Kubectl(ctx, "wait", "--for=condition=clarion.dev/Announced", "service/web", "--timeout=60s")
	must(err)
	ip, err := l.Kubectl(ctx, "get", "service", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	must(err)
	return netip.MustParseAddr(strings.TrimSpace(ip))
}
