package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/plan"
	"github.com/clarion-lb/clarion/speaker/routes"
)

// routingWorld is one node's routing, and what it sees: three nodes, a, b and c, a router, a Service with endpoints on all.
type routingWorld struct {
	*testing.T
	now     time.Time
	r       *routing
	c       *cluster
	nodes   map[string]*plan.Node
	silent  map[string]bool   // nodes that no router sends traffic to
	tells   map[string]uint32 // what a node says of its sessions: that it has this one alone
	dirty   map[netip.Addr]bool
	hear    func(node string) hearing // nil for what silent and tells say
	session bgp.Session
	last    routed
}

func newRoutingWorld(t *testing.T) *routingWorld {
	w := &routingWorld{T: t, now: start, r: newRouting("a", false), c: newCluster(), nodes: map[string]*plan.Node{}, silent: map[string]bool{}, tells: map[string]uint32{},
		dirty: map[netip.Addr]bool{}, session: established("tor", bgp.IPv4)}
	for _, name := range []string{"a", "b", "c"} {
		w.nodes[name] = &plan.Node{Name: name}
	}
	w.c.setNode("a", &node{addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	w.r.setRouter("tor", aRouter(func(*bgp.Peer) {}))
	w.r.setAdvertisement("everything", &routes.Advertisement{Name: "everything"})
	w.serve("web", "198.51.100.1", false, "a", "b", "c")
	w.step(0)
	return w
}

func aRouter(change func(*bgp.Peer)) *router {
	r := &router{peer: bgp.Peer{Name: "tor", Address: netip.MustParseAddr("192.0.2.254"), ASN: 65001, PeerASN: 65000, Linger: defaultLinger}}
	change(&r.peer)
	return r
}

// serve has a Service with an address, and endpoints on nodes.
func (w *routingWorld) serve(name, address string, local bool, on ...string) {
	o := newService(name, address)
	s := serviceOf(o, allClasses)
	s.plan.Local, s.healthPort = local, 30000
	w.c.setService(s.key, s)
	e := plan.Endpoints{}
	for _, n := range on {
		e[n] = plan.EndpointFacts{Ready: true}
	}
	w.c.setSlice(types.NamespacedName{Name: name + "-1"}, &slice{service: s.key, family: layer2.IPv4, endpoints: e})
	for a := range w.c.dirty {
		w.dirty[a] = true
	}
	clear(w.c.dirty)
}

func (w *routingWorld) step(after time.Duration) {
	w.now = w.now.Add(after)
	v := routingView{cluster: w.c, dirty: w.dirty, hearing: w.hearing, bgp: &bgp.Snapshot{Sessions: []bgp.Session{w.session}},
		links: []layer2.Link{{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}}
	for _, n := range w.nodes {
		v.nodes = append(v.nodes, *n)
	}
	w.last = w.r.step(w.now, v)
}

func (w *routingWorld) hearing(node string) hearing {
	if w.hear != nil {
		return w.hear(node)
	}
	if n, tells := w.tells[node]; tells {
		return hearing{!w.silent[node], []uint32{n}}
	}
	return hearing{!w.silent[node], nil}
}

func established(peer string, families ...bgp.Family) bgp.Session {
	return bgp.Session{Peer: peer, State: bgp.Established, Negotiated: bgp.Negotiated{Families: families}}
}

func (w *routingWorld) expect(want string) {
	w.Helper()
	got := "no session"
	if len(w.r.desired.Peers) > 0 {
		got = routesInWords(w.r.desired.Peers[0].Routes)
	}
	if got != want {
		w.Errorf("the router is sent %q, not %q", got, want)
	}
}

func TestRouting(t *testing.T) {
	const web = "198.51.100.1/32"
	for _, row := range []struct {
		name string
		tell func(*routingWorld)
	}{
		{"what nothing has changed of is not said again", func(w *routingWorld) {
			w.expect(web)
			before := w.r.desired.Peers[0].Routes
			for a := range w.c.sharers {
				w.dirty[a] = true
			}
			w.step(time.Second)
			if w.last.sessions || w.last.watched || w.r.desired.Peers[0].Routes != before {
				w.Errorf("came to %+v", w.last)
			}
		}},
		{"a node that is drained has its routes fade, and then go", func(w *routingWorld) {
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			w.expect(web + " going")
			if want := w.now.Add(defaultLinger); !w.last.wakeAt.Equal(want) {
				w.Errorf("wakes at %v, not %v", w.last.wakeAt, want)
			}
			w.step(defaultLinger - 1)
			w.expect(web + " going")
			w.step(1)
			w.expect("")
			w.nodes["a"].Signals = 0
			w.step(0)
			w.expect(web)
		}},
		{"a drain that is taken back makes the routes plain again", func(w *routingWorld) {
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			w.nodes["a"].Signals = 0
			w.step(time.Second)
			w.expect(web)
		}},
		{"a drained node goes on where routers send traffic to no other", func(w *routingWorld) {
			w.silent["b"], w.silent["c"] = true, true
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			w.expect(web)
			w.silent["b"] = false
			w.step(0)
			w.expect(web + " going")
		}},
		{"a drained node goes on where the others' sessions are with routers that the advertisement does not name", func(w *routingWorld) {
			w.tells["b"], w.tells["c"] = sessionNumber("another", bgp.IPv4), sessionNumber("tor", bgp.IPv6)
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			w.expect(web)
			w.tells["c"] = sessionNumber("tor", bgp.IPv4)
			w.step(0)
			w.expect(web + " going")
		}},
		{"what the session does not carry is not sent", func(w *routingWorld) {
			a := netip.MustParseAddr("198.51.100.1")
			if !w.r.sent(a) || len(w.r.sessionNumbers()) != 1 {
				w.Errorf("sent: %v, tells of %v", w.r.sent(a), w.r.sessionNumbers())
			}
			w.session.Negotiated.NoNextHop = []bgp.Family{bgp.IPv4}
			w.step(0)
			if w.r.sent(a) || w.r.established() {
				w.Error("sent, without a next hop")
			}
			w.session = established("tor", bgp.IPv6)
			w.step(0)
			if w.r.sent(a) || w.r.audible()(a) {
				w.Error("sent, in a session that carries IPv6 alone")
			}
		}},
		{"a drained iBGP node's routes are the least preferred", func(w *routingWorld) {
			w.r.setRouter("tor", aRouter(func(p *bgp.Peer) { p.PeerASN = p.ASN }))
			w.step(0)
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			if r := w.r.desired.Peers[0].Routes.All()[0]; r.LocalPref == nil || *r.LocalPref != 0 {
				w.Errorf("the route is %+v", r)
			}
		}},
		{"without a linger routes go at once", func(w *routingWorld) {
			w.r.setRouter("tor", aRouter(func(p *bgp.Peer) { p.Linger = 0 }))
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			w.expect("")
		}},
		{"the last local endpoint is gone: the route goes at once", func(w *routingWorld) {
			w.serve("web", "198.51.100.1", true, "a", "b")
			w.step(0)
			w.expect(web)
			w.serve("web", "198.51.100.1", true, "b")
			w.step(0)
			w.expect("")
		}},
		{"a gain under Local waits for kube-proxy, and not for ever", func(w *routingWorld) {
			w.serve("web", "198.51.100.1", true, "b")
			w.step(0)
			w.serve("web", "198.51.100.1", true, "a", "b")
			w.step(0)
			w.expect("")
			if asked := w.r.gains.take(); len(asked) != 1 || asked[0].port != 30000 {
				w.Errorf("asks kube-proxy for %v", asked)
			}
			w.step(gainWait)
			w.expect(web)
		}},
		{"a gain under Local comes with kube-proxy's word", func(w *routingWorld) {
			w.serve("web", "198.51.100.1", true, "b")
			w.step(0)
			w.serve("web", "198.51.100.1", true, "a", "b")
			w.step(0)
			a := netip.MustParseAddr("198.51.100.1")
			if !w.r.gains.serves(a) {
				w.Error("does not wait")
			}
			w.dirty[a] = true
			w.step(time.Millisecond)
			w.expect(web)
		}},
		{"one sharer's change withdraws nothing that the other needs", func(w *routingWorld) {
			w.serve("mail", "198.51.100.1", false, "b")
			w.step(0)
			w.expect(web)
			w.serve("mail", "198.51.100.1", false)
			w.step(0)
			w.expect(web)
		}},
		{"a session that is up without BFD says so", func(w *routingWorld) {
			r := aRouter(func(*bgp.Peer) {})
			w.r.setProfile("fast", &profile{Profile: bfd.Profile{DetectMultiplier: 3}})
			r.bfd = "fast"
			w.r.setRouter("tor", r)
			w.step(0)
			tells := func(session bgp.State, beside bfd.State) string {
				return w.r.status(&bgp.Snapshot{Sessions: []bgp.Session{{Peer: "tor", State: session, Since: start}}},
					bfd.Snapshot{Sessions: []bfd.Status{{Name: "tor", State: beside, Reason: "no packet came"}}}, start).Sessions[0].LastError
			}
			if got := tells(bgp.Established, bfd.Down); got != "BFDNotUp: the session goes on without: no packet came" {
				w.Errorf("tells %q", got)
			}
			if got := tells(bgp.Established, bfd.Up) + tells(bgp.Active, bfd.Down); got != "" {
				w.Errorf("tells %q", got)
			}
		}},
		{"without its password a session is not made, and says so", func(w *routingWorld) {
			w.r.setRouter("tor", nil)
			w.step(0)
			r := aRouter(func(*bgp.Peer) {})
			r.secret = "tor"
			w.r.setRouter("tor", r)
			w.step(0)
			w.expect("no session")
			says := func(want string) {
				w.Helper()
				if got := w.r.status(&bgp.Snapshot{}, bfd.Snapshot{}, start); got.SessionsWanted != 1 || got.Sessions[0].LastError != "NoPassword: "+want {
					w.Errorf("tells %+v", got)
				}
			}
			says("the Secret tor is being read")
			if i := w.r.desired.Impossible; len(i) > 0 {
				w.Errorf("events and metrics tell of %v before anything is known", i)
			}
			w.r.setUnreadable("tor", "speakers may not read it")
			w.step(0)
			says("speakers may not read it")
			w.r.setUnreadable("tor", "")
			w.step(0)
			says("in Clarion's namespace there is no Secret tor")
			if i := w.r.desired.Impossible; len(i) != 1 || i[0].Peer != "tor" || i[0].Reason != bgp.NoPassword {
				w.Errorf("events and metrics tell of %v", i)
			}
			if got := w.r.status(&bgp.Snapshot{}, bfd.Snapshot{}, start.Add(-time.Hour)); got.Sessions[0].Since.Before(&metav1.Time{Time: start}) {
				w.Errorf("tells that it is so since the speaker began: %v", got.Sessions[0].Since)
			}
			w.r.setPassword("tor", password{secret: "first"})
			w.step(0)
			w.expect(web)
			if len(w.r.desired.Impossible) > 0 {
				w.Errorf("still impossible: %v", w.r.desired.Impossible)
			}
			w.r.removePassword("tor")
			w.step(0)
			if w.last.sessions || w.r.desired.Peers[0].Password != "first" {
				w.Error("a Secret that is gone changes a session that there is")
			}
			if got := w.r.status(&bgp.Snapshot{Sessions: []bgp.Session{w.session}}, bfd.Snapshot{}, start).Sessions[0].LastError; got !=
				"NoPassword: the session goes on with the password that it has: in Clarion's namespace there is no Secret tor" {
				w.Errorf("of a session whose Secret is gone it tells %q", got)
			}
			w.r.setPassword("tor", password{secret: "second"})
			w.step(0)
			if !w.last.sessions || w.r.desired.Peers[0].Password != "second" {
				w.Error("another password does not come into force")
			}
		}},
		{"a session goes on with what it has while another Secret is being read", func(w *routingWorld) {
			named := func(secret string) {
				r := aRouter(func(*bgp.Peer) {})
				r.secret = secret
				w.r.setRouter("tor", r)
				w.step(0)
			}
			goesOn := func(with bgp.Secret) {
				w.Helper()
				if p := w.r.desired.Peers; len(p) != 1 || p[0].Password != with {
					w.Fatalf("the session is to be %+v", p)
				}
			}
			named("first") // it had none so far
			goesOn("")
			w.r.setPassword("first", password{secret: "1"})
			w.step(0)
			goesOn("1")
			named("second")
			goesOn("1")
			w.r.setUnreadable("second", "") // there is none
			w.step(0)
			goesOn("1")
			if got := w.r.status(&bgp.Snapshot{Sessions: []bgp.Session{w.session}}, bfd.Snapshot{}, start).Sessions[0].LastError; !strings.HasPrefix(got, "NoPassword: the session goes on") {
				w.Errorf("tells %q", got)
			}
			w.r.setPassword("second", password{secret: "2"})
			w.step(0)
			goesOn("2")
			named("")
			goesOn("")
			named("third")
			w.r.setUnreadable("third", "") // there is none, and the session is not to be without
			w.step(0)
			w.expect("no session")
		}},
		{"of two peers that mean one session the older has it, and the other says so", func(w *routingWorld) {
			double := aRouter(func(p *bgp.Peer) { p.Name, p.Port = "again", bgp.Port })
			double.created = start
			w.r.setRouter("again", double)
			w.step(0)
			got := w.r.status(&bgp.Snapshot{}, bfd.Snapshot{}, start)
			if len(w.r.desired.Peers) != 1 || got.SessionsWanted != 2 || !strings.HasPrefix(got.Sessions[0].LastError, "Misconfigured: it has the same session in mind as BGPPeer tor") {
				w.Errorf("tells %+v", got)
			}
			apart := aRouter(func(p *bgp.Peer) { p.Name, p.Port = "again", 1790 })
			w.r.setRouter("again", apart)
			w.step(0)
			if len(w.r.desired.Peers) != 2 || len(w.r.problems) > 0 {
				w.Errorf("on another port it is %v", w.r.problems)
			}
		}},
		{"BFD without its key is told, and BGP goes on", func(w *routingWorld) {
			w.r.setProfile("signed", &profile{keys: []profileKey{{1, "key"}}})
			r := aRouter(func(*bgp.Peer) {})
			r.bfd = "signed"
			w.r.setRouter("tor", r)
			w.r.setUnreadable("key", "") // nobody has it
			w.step(0)
			w.expect(web)
			says := func(want string) {
				w.Helper()
				if got := w.r.status(&bgp.Snapshot{Sessions: []bgp.Session{w.session}}, bfd.Snapshot{}, start).Sessions[0]; got.State != "Established" || got.LastError != want {
					w.Errorf("tells %+v", got)
				}
			}
			says("NotWatched: in Clarion's namespace there is no Secret key")
			w.r.setPassword("key", password{secret: bgp.Secret(strings.Repeat("x", 21))})
			w.step(0)
			says("NotWatched: the password in Secret key is longer than 20 bytes, which BFD does not allow")
			w.r.setPassword("key", password{secret: "word"})
			w.step(0)
			says("")
			if len(w.r.sessions) != 1 {
				w.Errorf("watched by %v", w.r.sessions)
			}
		}},
		{"a session that waits for BFD tells why that is not up", func(w *routingWorld) {
			r := aRouter(func(*bgp.Peer) {})
			r.bfd, r.strict = "fast", true
			w.r.setRouter("tor", r)
			says := func(want string, watched ...bfd.Status) {
				w.Helper()
				held := bgp.Session{Peer: "tor", LastError: bgp.Held, LastMessage: waitsForBFD}
				if got := w.r.status(&bgp.Snapshot{Sessions: []bgp.Session{held}}, bfd.Snapshot{Sessions: watched}, start).Sessions[0].LastError; got != want {
					w.Errorf("tells %q", got)
				}
			}
			w.step(0)
			says("NotWatched: there is no BFDProfile fast")
			w.r.setProfile("fast", &profile{keys: []profileKey{{1, "key"}}})
			w.r.setUnreadable("key", "")
			w.step(0)
			says("NotWatched: in Clarion's namespace there is no Secret key")
			w.r.setPassword("key", password{secret: "word"})
			w.step(0)
			says("Held: "+waitsForBFD+": no packet came", bfd.Status{Name: "tor", State: bfd.Down, Reason: "no packet came"})
		}},
		{"a password that can't be does not end the session with the one before", func(w *routingWorld) {
			r := aRouter(func(*bgp.Peer) {})
			r.secret = "tor"
			w.r.setRouter("tor", r)
			w.r.setPassword("tor", password{secret: "first"})
			w.step(0)
			long := passwordOf(&corev1.Secret{Type: corev1.SecretTypeBasicAuth, Data: map[string][]byte{"password": []byte(strings.Repeat("x", 81))}})
			w.r.setPassword("tor", long)
			w.step(0)
			if w.last.sessions || w.r.desired.Peers[0].Password != "first" || !strings.Contains(long.problem, "longer than 80 bytes") {
				w.Errorf("the password is %q: %s", w.r.desired.Peers[0].Password, long.problem)
			}
		}},
		{"a router of the node's network is watched over one hop, another over several", func(w *routingWorld) {
			w.r.setProfile("fast", &profile{Profile: bfd.Profile{DetectMultiplier: 3, EchoInterval: time.Second}})
			watched := func(address string, ibgp bool) bfd.Session {
				r := aRouter(func(p *bgp.Peer) { p.Address = netip.MustParseAddr(address) })
				if ibgp {
					r.peer.PeerASN = r.peer.ASN
				}
				r.bfd = "fast"
				w.r.setRouter("tor", r)
				w.step(0)
				if len(w.r.sessions) != 1 {
					w.Fatalf("watched by %v", w.r.sessions)
				}
				return w.r.sessions[0]
			}
			if s := watched("192.0.2.254", true); s.Path.Multihop || s.EchoInterval == 0 {
				w.Errorf("a neighbour is watched by %+v", s)
			}
			clear(w.r.distant)
			if s := watched("203.0.113.1", true); !s.Path.Multihop || s.EchoInterval != 0 {
				w.Errorf("one far away is watched by %+v", s)
			}
			if s := watched("203.0.113.1", false); s.Path.Multihop {
				w.Errorf("an eBGP router, which is a neighbour without ebgpMultiHop, is watched by %+v", s)
			}
		}},
		{"a router on an interface is watched once BGP has found it", func(w *routingWorld) {
			w.r.setProfile("fast", &profile{})
			r := aRouter(func(p *bgp.Peer) { p.Address, p.Interface = netip.Addr{}, "eth1" })
			r.bfd = "fast"
			w.r.setRouter("tor", r)
			w.step(0)
			if len(w.r.sessions) > 0 {
				w.Errorf("watched by %v", w.r.sessions)
			}
			w.session.Remote = netip.MustParseAddrPort("[fe80::1%eth1]:179")
			w.step(0)
			w.session = bgp.Session{}
			w.step(0)
			want := bfd.Path{Peer: netip.MustParseAddr("fe80::1"), Interface: "eth1"}
			if len(w.r.sessions) != 1 || w.r.sessions[0].Path != want {
				w.Errorf("watched by %v", w.r.sessions)
			}
		}},
		{"a session from an interface is watched from the same address, once BGP has found it", func(w *routingWorld) {
			w.r.setProfile("fast", &profile{})
			r := aRouter(func(p *bgp.Peer) { p.SourceInterface = "dummy0" })
			r.bfd = "fast"
			w.r.setRouter("tor", r)
			w.step(0)
			if len(w.r.sessions) > 0 || w.r.desired.Peers[0].SourceInterface != "dummy0" {
				w.Errorf("watched by %v", w.r.sessions)
			}
			w.session.Local = netip.MustParseAddrPort("192.0.2.77:40000")
			w.step(0)
			w.session = bgp.Session{}
			w.step(0)
			if len(w.r.sessions) != 1 || w.r.sessions[0].Path.Local != netip.MustParseAddr("192.0.2.77") {
				w.Errorf("watched by %v", w.r.sessions)
			}
		}},
		{"with Strict the session waits for BFD, and a change of mode is one of sessions", func(w *routingWorld) {
			r := aRouter(func(*bgp.Peer) {})
			r.bfd, r.strict = "fast", true
			w.r.setRouter("tor", r)
			w.step(0)
			if !w.last.sessions || !w.r.strict["tor"] {
				w.Errorf("waits: %v", w.r.strict)
			}
			w.step(0)
			if w.last.sessions {
				w.Error("nothing has changed, and sessions are told anew")
			}
			w.r.setRouter("tor", aRouter(func(*bgp.Peer) {}))
			w.step(0)
			if !w.last.sessions || len(w.r.strict) > 0 {
				w.Errorf("waits: %v", w.r.strict)
			}
		}},
		{"an aggregate fades with its last address", func(w *routingWorld) {
			w.r.setAdvertisement("everything", &routes.Advertisement{Name: "everything", AggregationLength: 24})
			w.r.setPool("lan", poolSet("198.51.100.0/24"))
			w.step(0)
			w.expect("198.51.100.0/24")
			if !w.r.sent(netip.MustParseAddr("198.51.100.1")) {
				w.Error("an address in an aggregate is not taken for advertised")
			}
			w.nodes["a"].Signals = plan.Draining
			w.step(0)
			w.expect("198.51.100.0/24 going")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newRoutingWorld(t)
			row.tell(w)
		})
	}
}

func TestWithoutRoutersAndAdvertisementsNothingIsDecided(t *testing.T) {
	w := newRoutingWorld(t)
	w.r = newRouting("a", false)
	w.step(0)
	if w.r.active || w.last.sessions || w.last.watched || len(w.r.decisions) > 0 {
		t.Errorf("came to %+v", w.last)
	}
	if s := w.r.status(&bgp.Snapshot{}, bfd.Snapshot{}, start); s != nil {
		t.Errorf("tells %+v", s)
	}
	w.r.setRouter("tor", aRouter(func(*bgp.Peer) {}))
	w.r.setAdvertisement("everything", &routes.Advertisement{Name: "everything"})
	w.step(0)
	w.expect("198.51.100.1/32") // of what was there before
}

// Peers that get the same routes share one list, so that the child is told once.
func TestFadingRoutesAreShared(t *testing.T) {
	w := newRoutingWorld(t)
	for i, name := range []string{"second", "third"} {
		w.r.setRouter(name, aRouter(func(p *bgp.Peer) { p.Name, p.Port = name, uint16(1790+i) }))
	}
	w.step(0)
	w.nodes["a"].Signals = plan.Draining
	w.step(0)
	peers := w.r.desired.Peers
	if len(peers) != 3 || slices.ContainsFunc(peers, func(p bgp.Peer) bool { return p.Routes != peers[0].Routes }) {
		t.Error("equal routes are not the same list")
	}
}

func poolSet(cidr string) *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix(cidr))
	s, err := b.IPSet()
	if err != nil {
		panic(err)
	}
	return s
}

func TestAddressesAreCountedByWhatThisNodeDoesWithThemByBGP(t *testing.T) {
	type reasons = map[v1beta1.Reason]int
	for _, row := range []struct {
		name string
		tell func(*routingWorld)
		want reasons
	}{
		{"it advertises them", func(*routingWorld) {}, reasons{v1beta1.ReasonEligible: 1}},
		{"in an aggregate, too", func(w *routingWorld) {
			w.r.setAdvertisement("everything", &routes.Advertisement{Name: "everything", AggregationLength: 24})
		}, reasons{v1beta1.ReasonEligible: 1}},
		{"its session is down", func(w *routingWorld) { w.session.State = bgp.Active }, reasons{v1beta1.ReasonNoSession: 1}},
		{"a session is up, and not the one that they go to", func(w *routingWorld) {
			w.r.setRouter("other", &router{peer: bgp.Peer{Name: "other", Address: netip.MustParseAddr("192.0.2.253"), ASN: 65001, PeerASN: 65000}})
			w.r.setAdvertisement("everything", &routes.Advertisement{Name: "everything", Peers: []string{"other"}})
		}, reasons{v1beta1.ReasonNoSession: 1}},
		{"the node is excluded", func(w *routingWorld) { w.nodes["a"].Labels = map[string]string{v1beta1.LabelExcludeNode: ""} }, reasons{v1beta1.ReasonNodeExcluded: 1}},
		{"it has no endpoint of what is Local", func(w *routingWorld) { w.serve("web", "198.51.100.1", true, "b") }, reasons{v1beta1.ReasonNoLocalEndpoint: 1}},
		{"no advertisement covers them", func(w *routingWorld) { w.r.setAdvertisement("everything", nil) }, reasons{}},
		{"the Service is gone", func(w *routingWorld) {
			w.c.setService(types.NamespacedName{Namespace: "default", Name: "web"}, nil)
			w.dirty[netip.MustParseAddr("198.51.100.1")] = true
		}, reasons{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newRoutingWorld(t)
			w.step(time.Second)
			before := w.r.revised
			w.step(time.Second)
			if w.r.revised != before {
				t.Error("it would be counted anew though nothing has changed")
			}
			row.tell(w)
			w.step(time.Second)
			if got := w.r.reasons(); !maps.Equal(got, row.want) {
				t.Errorf("%v, want %v", got, row.want)
			}
			if changed := w.r.revised != before; changed != !maps.Equal(row.want, reasons{v1beta1.ReasonEligible: 1}) && !strings.Contains(row.name, "aggregate") {
				t.Errorf("it would be counted anew: %v", changed)
			}
		})
	}
}

func TestWhyAnAddressIsNotAdvertisedIsToldWithWhatToDo(t *testing.T) {
	a := netip.MustParseAddr("198.51.100.1")
	for _, row := range []struct {
		why    v1beta1.Reason
		barred []v1beta1.Reason
		reason v1beta1.Reason
		says   string
	}{
		{v1beta1.ReasonNoAdvertisement, nil, "", ""},
		{v1beta1.ReasonNoEndpoint, nil, v1beta1.ReasonNoEndpoint, "has a selector that matches Pods"},
		{v1beta1.ReasonAnnounced, nil, v1beta1.ReasonNoSession, "has a session with a router"},
		{v1beta1.ReasonNotSelected, nil, v1beta1.ReasonNoSession, "has a session with a router"},
		{v1beta1.ReasonNodeExcluded, []v1beta1.Reason{v1beta1.ReasonNodeExcluded, v1beta1.ReasonNotSelected}, v1beta1.ReasonNoEligibleNode, "--ignore-exclude-label); NotSelected (the nodeSelectors"},
		{v1beta1.ReasonNoPeer, []v1beta1.Reason{v1beta1.ReasonNoPeer}, v1beta1.ReasonNoEligibleNode, "see the nodeSelectors and families of the BGPPeers"},
		{v1beta1.ReasonNodeNetworkUnavailable, []v1beta1.Reason{v1beta1.ReasonNodeNetworkUnavailable}, v1beta1.ReasonNoEligibleNode, "network plug-in"},
		{v1beta1.ReasonNodeExcluded, []v1beta1.Reason{v1beta1.ReasonNoLocalEndpoint, v1beta1.ReasonNodeExcluded}, v1beta1.ReasonNoEndpoint, "have one run there, or say Cluster"},
	} {
		if reason, says := notRouted(a, row.why, row.barred); reason != row.reason || !strings.Contains(says, row.says) || strings.Contains(says, "()") {
			t.Errorf("%s, %v: %s %q", row.why, row.barred, reason, says)
		}
	}
}

// TestNodesThatAreAllExcludedAreNoMatterOfSessions: what a decider says of a Service's address.
func TestNodesThatAreAllExcludedAreNoMatterOfSessions(t *testing.T) {
	w := newRoutingWorld(t)
	a, key := netip.MustParseAddr("198.51.100.1"), types.NamespacedName{Namespace: "default", Name: "web"}
	d := &decider{cluster: w.c, routing: w.r, self: "a"}
	if got := d.barred(a, key); got != nil {
		t.Errorf("of nodes that advertise: %v", got)
	}
	for _, n := range w.nodes {
		n.Labels = map[string]string{v1beta1.LabelExcludeNode: ""}
	}
	w.step(0)
	if got := d.barred(a, key); !slices.Equal(got, []v1beta1.Reason{v1beta1.ReasonNodeExcluded}) {
		t.Errorf("%v", got)
	}
	if got := d.barred(a, types.NamespacedName{Name: "another"}); got != nil {
		t.Errorf("of a Service that has it not: %v", got)
	}
}

// TestWhoSaysThatAnAddressIsAdvertised: every node comes to the same writer, though each sees its own sessions otherwise than the others'.
func TestWhoSaysThatAnAddressIsAdvertised(t *testing.T) {
	a, key := netip.MustParseAddr("198.51.100.1"), types.NamespacedName{Namespace: "default", Name: "web"}
	nodes := []string{"a", "b", "c"}
	tor, other := sessionNumber("tor", bgp.IPv4), sessionNumber("other", bgp.IPv4)
	for _, row := range []struct {
		name string
		has  map[string][]uint32 // sessions, by node
		want []string
	}{
		{"all nodes have the session", map[string][]uint32{"a": {tor}, "b": {tor}, "c": {tor}}, nodes},
		{"one has none, but one with another router", map[string][]uint32{"a": {other}, "b": {tor}, "c": {tor}}, []string{"b", "c"}},
		{"all have one with another router alone", map[string][]uint32{"a": {other}, "b": {other}, "c": {other}}, nil},
		{"the session carries the other family", map[string][]uint32{"a": {sessionNumber("tor", bgp.IPv6)}, "b": {tor}}, []string{"b"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, self := range nodes {
				w := newRoutingWorld(t)
				w.r = newRouting(self, false)
				w.r.setRouter("tor", aRouter(func(*bgp.Peer) {}))
				w.r.setRouter("other", aRouter(func(p *bgp.Peer) { p.Name, p.Port = "other", 1790 }))
				w.r.setAdvertisement("to-tor", &routes.Advertisement{Name: "to-tor", Peers: []string{"tor"}})
				d := &decider{cluster: w.c, routing: w.r, self: self, seen: seen{}}
				w.session = bgp.Session{Peer: "tor"}
				for _, n := range nodes {
					has := row.has[n]
					if n == self {
						switch {
						case slices.Contains(has, tor):
							w.session = established("tor", bgp.IPv4)
						case slices.Contains(has, other):
							w.session = established("other", bgp.IPv4)
						case len(has) > 0:
							w.session = established("tor", bgp.IPv6)
						}
						continue
					}
					d.seen.gossip.Members = append(d.seen.gossip.Members, gossip.Member{Node: n, Known: true, Facts: gossip.Facts{Routed: len(has) > 0, Sessions: has}})
				}
				w.hear = d.hearing
				w.step(0)
				if got, _ := d.routed(a, key); !slices.Equal(got, row.want) {
					t.Errorf("as %s sees it, %v advertise it, not %v", self, got, row.want)
				}
			}
		})
	}
}
