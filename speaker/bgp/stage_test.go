package bgp_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/lab/wire"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/bgp/child"
)

// The scenarios run real routers, each on a host of its own:
//
//	node (the child)                       tor
//	  Manager ─► child                       FRR or BIRD
//	  eth0 192.0.2.1/24    ═══ veth ═══    eth0 192.0.2.2/24
//	       2001:db8::1/64                       2001:db8::2/64
func TestMain(m *testing.M) {
	if os.Args[0] == bgp.ChildName {
		os.Exit(child.Main())
	}
	// Most of the time routers are waited for.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(wire.Main(m))
}

var (
	nodeV4, torV4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	nodeV6, torV6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	webV4, webV6  = netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("2001:db8:1::1/128")
)

// stage is a node and a router with a cable between them.
type stage struct {
	*testing.T
	node, tor *wire.Host
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{T: t, node: wire.NewHost(t, "node"), tor: wire.NewHost(t, "tor")}
	wire.Connect(t,
		wire.End{Host: s.node, Name: "eth0", Addresses: wire.Prefixes("192.0.2.1/24", "2001:db8::1/64")},
		wire.End{Host: s.tor, Name: "eth0", Addresses: wire.Prefixes("192.0.2.2/24", "2001:db8::2/64")})
	return s
}

// each runs a scenario with every kind of router.
func each(t *testing.T, scenario func(*stage, router.Kind)) {
	wire.Need(t)
	for _, kind := range router.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			scenario(newStage(t), kind)
		})
	}
}

// neighbor is how a router sees the node.
type neighbor struct {
	Name              string // of BIRD's protocol
	Address           string // the node's
	Local             string // the router's, where BIRD must be told
	ASN, RemoteASN    uint32
	Password          string
	TTLSecurity       bool
	Multihop          bool
	Hold              int
	GracefulRestart   bool
	V4, V6            bool
	ExtendedNextHop   bool
	Interface         string
	MaxPrefix         int
	RouterID          string
	FRRMore, BIRDMore string
}

// config writes a router's configuration.
func config(kind router.Kind, all ...neighbor) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	id := "192.0.2.2"
	if all[0].RouterID != "" {
		id = all[0].RouterID
	}
	if kind == router.BIRD {
		say("router id %s;\nprotocol device { scan time 1; }\nprotocol kernel { ipv4 { export all; }; merge paths on; }\nprotocol kernel { ipv6 { export all; }; merge paths on; }", id)
		for i, n := range all {
			if n.Name == "" {
				n.Name = fmt.Sprintf("node%d", i+1)
			}
			say("protocol bgp %s {\n  local %s as %d;", n.Name, n.Local, n.ASN)
			if n.Interface != "" {
				say("  neighbor range fe80::/10 as %d; interface \"%s\"; dynamic name \"%s\"; direct;", n.RemoteASN, n.Interface, n.Name)
			} else {
				say("  neighbor %s as %d;", n.Address, n.RemoteASN)
			}
			say("  passive on; error wait time 1, 1; hold time %d;", max(n.Hold, 3))
			if n.Password != "" {
				say("  password %q;", n.Password)
			}
			if n.TTLSecurity {
				say("  ttl security on;")
			}
			if n.Multihop {
				say("  multihop;")
			}
			if n.GracefulRestart {
				say("  graceful restart on;")
			}
			for _, f := range []struct {
				on   bool
				name string
			}{{n.V4, "ipv4"}, {n.V6, "ipv6"}} {
				if f.on {
					say("  %s { import all; export none; %s%s };", f.name,
						map[bool]string{true: "extended next hop on; "}[n.ExtendedNextHop && f.name == "ipv4"],
						map[bool]string{true: fmt.Sprintf("import limit %d action disable; ", n.MaxPrefix)}[n.MaxPrefix > 0])
				}
			}
			say("%s}", n.BIRDMore)
		}
		return b.String()
	}
	say("router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n no bgp network import-check\n bgp bestpath as-path multipath-relax", all[0].ASN, id)
	for _, n := range all {
		peer := n.Address
		if n.Interface != "" {
			peer = n.Interface
			say(" neighbor %s interface remote-as %d", peer, n.RemoteASN)
		} else {
			say(" neighbor %s remote-as %d\n neighbor %s passive", peer, n.RemoteASN, peer)
		}
		say(" neighbor %s timers %d %d\n neighbor %s timers connect 1", peer, max(n.Hold, 3)/3, max(n.Hold, 3), peer)
		if n.Password != "" {
			say(" neighbor %s password %s", peer, n.Password)
		}
		if n.TTLSecurity {
			say(" neighbor %s ttl-security hops 1", peer)
		}
		if n.Multihop {
			say(" neighbor %s ebgp-multihop", peer)
		}
		if n.ExtendedNextHop && n.Interface == "" {
			say(" neighbor %s capability extended-nexthop", peer)
		}
		for _, f := range []struct {
			on   bool
			name string
		}{{n.V4, "ipv4"}, {n.V6, "ipv6"}} {
			if f.on {
				say(" address-family %s unicast\n  neighbor %s activate", f.name, peer)
				if n.MaxPrefix > 0 {
					say("  neighbor %s maximum-prefix %d", peer, n.MaxPrefix)
				}
				say(" exit-address-family")
			}
		}
		say("%s", n.FRRMore)
	}
	return b.String()
}

// logs writes to a test's log, until the test has ended.
type logs struct {
	mu sync.Mutex
	t  testing.TB
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// manager runs a Manager on the node until the test ends, or stop.
func (s *stage) manager() (m *bgp.Manager, stop func()) { return managerOn(s.T, s.node, nil) }

func managerOn(t testing.TB, node *wire.Host, command func() *exec.Cmd) (m *bgp.Manager, stop func()) {
	t.Helper()
	l := &logs{t: t}
	m = bgp.New(bgp.Options{Log: slog.New(slog.NewTextHandler(l, nil)), Command: command})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	// A child is born into the network of the thread that starts it.
	go func() { done <- node.In(func() error { return m.Run(ctx) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		l.t = nil
		l.mu.Unlock()
	})
	t.Cleanup(stop)
	return m, stop
}

// peer is the node's side of the usual session: eBGP, IPv4.
func peer() bgp.Peer {
	return bgp.Peer{Name: "tor", Address: torV4, ASN: 65001, PeerASN: 65000, HoldTime: 3 * time.Second, ConnectTime: time.Second}
}

// node is the router's side of it.
func node() neighbor {
	return neighbor{Address: nodeV4.String(), ASN: 65000, RemoteASN: 65001, V4: true}
}

func desired(peers ...bgp.Peer) bgp.Desired {
	return bgp.Desired{RouterID: nodeV4, Peers: peers}
}

func routes(t testing.TB, all ...bgp.Route) *bgp.Routes {
	t.Helper()
	r, err := bgp.NewRoutes(all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func to(p netip.Prefix) bgp.Route { return bgp.Route{Prefix: p} }

// await waits until a session is as wanted.
func await(t testing.TB, m *bgp.Manager, peer, what string, holds func(bgp.Session) bool) bgp.Session {
	t.Helper()
	timeout := time.After(40 * time.Second)
	for {
		snapshot, changed := m.Snapshot()
		s, _ := snapshot.Session(peer)
		if holds(s) {
			return s
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("session with %s is not %s: %+v", peer, what, s)
		}
	}
}

func established(s bgp.Session) bool { return s.State == bgp.Established }

func up(t testing.TB, m *bgp.Manager, peer string) bgp.Session {
	t.Helper()
	return await(t, m, peer, "established", established)
}

func failed(r bgp.Reason) func(bgp.Session) bool {
	return func(s bgp.Session) bool { return s.State != bgp.Established && s.LastError == r }
}

// eventually waits for something that is not in the snapshot.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// held is what a router says of a prefix in its BGP table; empty where it has no route to it.
func held(t testing.TB, r *router.Router, p netip.Prefix) string {
	t.Helper()
	command := "show route all " + p.String()
	if r.Kind == router.FRR {
		command = fmt.Sprintf("show bgp %s unicast %s json", map[bool]string{true: "ipv4", false: "ipv6"}[p.Addr().Is4()], p)
	}
	out, err := r.Show(t.Context(), command)
	if err != nil {
		if r.Kind == router.BIRD {
			return "" // birdc fails where there is no route
		}
		t.Fatal(err)
	}
	if r.Kind == router.FRR && !strings.Contains(out, "paths") || r.Kind == router.BIRD && !strings.Contains(out, p.String()) {
		return ""
	}
	return out
}

func has(t testing.TB, r *router.Router, p netip.Prefix) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %s", r.Kind, p), func() bool { return held(t, r, p) != "" })
}

func lacks(t testing.TB, r *router.Router, p netip.Prefix) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has no route to %s", r.Kind, p), func() bool { return held(t, r, p) == "" })
}
