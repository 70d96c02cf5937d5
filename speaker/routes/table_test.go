package routes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

var (
	early = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	later = early.Add(time.Hour)
	web   = netip.MustParseAddr("192.0.2.1")
	api   = netip.MustParseAddr("192.0.2.2")
	web6  = netip.MustParseAddr("2001:db8::1")
)

func number(n uint32) *uint32 { return &n }

// label selects what has a label.
func label(name string) plan.Selector {
	return func(labels map[string]string) bool { _, there := labels[name]; return there }
}

func node(name string, change ...func(*plan.Node)) plan.Node {
	n := plan.Node{Name: name, Labels: map[string]string{name: ""}, Speaker: plan.Speaker{Alive: true}}
	for _, f := range change {
		f(&n)
	}
	return n
}

// three is a cluster of three nodes, this one being a, with an iBGP and an eBGP peer and one advertisement.
func three(change ...func(*Cluster)) Cluster {
	c := Cluster{
		Self:           "a",
		Nodes:          []plan.Node{node("a"), node("b"), node("c")},
		Peers:          []Peer{{Name: "tor", Internal: true}, {Name: "edge"}},
		Advertisements: []Advertisement{{Name: "all", Created: early}},
		Within: func(pool string, p netip.Prefix) bool {
			return netip.MustParsePrefix("192.0.2.0/24").Overlaps(p) && p.Bits() >= 24 || netip.MustParsePrefix("2001:db8::/64").Overlaps(p) && p.Bits() >= 64
		},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func advertise(ads ...Advertisement) func(*Cluster) {
	return func(c *Cluster) { c.Advertisements = ads }
}

var everywhere = plan.Endpoints{"a": {Ready: true}, "b": {Ready: true}, "c": {Ready: true}}

func sharer(name string, change ...func(*plan.Sharer)) plan.Sharer {
	s := plan.Sharer{Service: &plan.Service{Name: name, Created: early, Labels: map[string]string{name: ""}}, Pool: "pool", Endpoints: everywhere}
	for _, f := range change {
		f(&s)
	}
	return s
}

func local(nodes ...string) func(*plan.Sharer) {
	return func(s *plan.Sharer) {
		s.Service.Local = true
		s.Endpoints = plan.Endpoints{}
		for _, n := range nodes {
			s.Endpoints[n] = plan.EndpointFacts{Ready: true}
		}
	}
}

func has(a netip.Addr, sharers ...plan.Sharer) Address { return Address{a, sharers} }

// describe writes down what each peer is sent.
func describe(t *Table) string {
	var b strings.Builder
	for _, p := range t.Peers() {
		fmt.Fprintf(&b, "%s:", p.Peer)
		if !p.Wanted {
			b.WriteString(" no session")
		}
		for _, r := range p.Routes.All() {
			fmt.Fprintf(&b, " %v", r.Prefix)
			if r.LocalPref != nil {
				fmt.Fprintf(&b, " lp%d", *r.LocalPref)
			}
			if r.MED != nil {
				fmt.Fprintf(&b, " med%d", *r.MED)
			}
			if r.Prepend > 0 {
				fmt.Fprintf(&b, " +%d", r.Prepend)
			}
			for _, c := range r.Communities {
				fmt.Fprintf(&b, " %d:%d", c>>16, c&0xffff)
			}
			for _, c := range r.LargeCommunities {
				fmt.Fprintf(&b, " %d:%d:%d", c[0], c[1], c[2])
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestRoutes(t *testing.T) {
	for _, row := range []struct {
		name      string
		cluster   Cluster
		addresses []Address
		edge, tor string // what each is sent
	}{
		{"an address is a route of its own", three(), []Address{has(web, sharer("web")), has(web6, sharer("web"))},
			" 192.0.2.1/32 2001:db8::1/128", " 192.0.2.1/32 2001:db8::1/128"},
		{"a peer whose nodeSelectors select others has no session",
			three(func(c *Cluster) { c.Peers[1].Nodes = label("b") }), []Address{has(web, sharer("web"))}, " no session", " 192.0.2.1/32"},
		{"an advertisement for other nodes is none here",
			three(advertise(Advertisement{Name: "b", Nodes: label("b")})), []Address{has(web, sharer("web"))}, "", ""},
		{"an advertisement goes to the peers that it names",
			three(advertise(Advertisement{Name: "tor", Peers: []string{"tor"}})), []Address{has(web, sharer("web"))}, "", " 192.0.2.1/32"},
		{"an advertisement is for the pools and Services that it selects",
			three(advertise(Advertisement{Name: "x", Pools: func(p string) bool { return p == "pool" }, Services: label("web")})),
			[]Address{has(web, sharer("web")), has(api, sharer("api"))}, " 192.0.2.1/32", " 192.0.2.1/32"},
		{"a session carries its families",
			three(func(c *Cluster) {
				c.Peers[0].Families, c.Peers[1].Families = []bgp.Family{bgp.IPv4}, []bgp.Family{bgp.IPv6}
			}),
			[]Address{has(web, sharer("web")), has(web6, sharer("web"))}, " 2001:db8::1/128", " 192.0.2.1/32"},
		{"each peer is sent what its kind is sent",
			three(advertise(Advertisement{Name: "x", LocalPref: number(200), MED: number(0), Prepend: 3, Communities: []string{"no-export", "64512:7", "large:1:2:3"}})),
			[]Address{has(web, sharer("web"))},
			" 192.0.2.1/32 med0 +3 64512:7 65535:65281 1:2:3", " 192.0.2.1/32 lp200 med0 64512:7 65535:65281 1:2:3"},
		{"an aggregate is one route for its addresses",
			three(advertise(Advertisement{Name: "x", AggregationLength: 24, AggregationLengthV6: 64})),
			[]Address{has(web, sharer("web")), has(api, sharer("api")), has(web6, sharer("web"))},
			" 192.0.2.0/24 2001:db8::/64", " 192.0.2.0/24 2001:db8::/64"},
		{"an aggregate stays while one of its addresses can be served",
			three(advertise(Advertisement{Name: "x", AggregationLength: 24})),
			[]Address{has(web, sharer("web", local("b"))), has(api, sharer("api", local("a")))}, " 192.0.2.0/24", " 192.0.2.0/24"},
		{"and goes with the last",
			three(advertise(Advertisement{Name: "x", AggregationLength: 24})),
			[]Address{has(web, sharer("web", local("b"))), has(api, sharer("api", local("c")))}, "", ""},
		{"an aggregate that reaches beyond the pool is not advertised, its addresses are",
			three(advertise(Advertisement{Name: "x", AggregationLength: 16})),
			[]Address{has(web, sharer("web"))}, " 192.0.2.1/32", " 192.0.2.1/32"},
		{"an aggregate and a route of its own can both be wanted",
			three(advertise(Advertisement{Name: "x", AggregationLength: 24}, Advertisement{Name: "y", Peers: []string{"tor"}, Communities: []string{"no-export"}})),
			[]Address{has(web, sharer("web"))}, " 192.0.2.0/24", " 192.0.2.0/24 192.0.2.1/32 65535:65281"},
		{"where advertisements meet, communities unite and the older one's numbers hold",
			three(advertise(
				Advertisement{Name: "young", Created: later, MED: number(1), LocalPref: number(7), Prepend: 2, Communities: []string{"1:1", "3:3"}},
				Advertisement{Name: "old", Created: early, MED: number(5), Communities: []string{"2:2", "1:1"}})),
			[]Address{has(web, sharer("web"))}, " 192.0.2.1/32 med5 +2 1:1 2:2 3:3", " 192.0.2.1/32 lp7 med5 1:1 2:2 3:3"},
		{"of advertisements as old as each other the first by name is the older",
			three(advertise(Advertisement{Name: "b", MED: number(1)}, Advertisement{Name: "a", MED: number(5)})),
			[]Address{has(web, sharer("web"))}, " 192.0.2.1/32 med5", " 192.0.2.1/32 med5"},
		{"aliases mean what the oldest Community says; unknown ones nothing",
			three(advertise(Advertisement{Name: "x", Communities: []string{"transit", "no-export", "nobody"}}), func(c *Cluster) {
				c.Communities = []Community{{"young", later, []Alias{{"transit", "9:9"}, {"no-export", "8:8"}}}, {"old", early, []Alias{{"transit", "7:7"}}}}
			}),
			[]Address{has(web, sharer("web"))}, " 192.0.2.1/32 7:7 65535:65281", " 192.0.2.1/32 7:7 65535:65281"},
	} {
		t.Run(row.name, func(t *testing.T) {
			table := New()
			table.Configure(row.cluster)
			for _, a := range row.addresses {
				table.Set(a)
			}
			if got, want := describe(table), "edge:"+row.edge+"\ntor:"+row.tor+"\n"; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			for _, a := range row.addresses {
				table.Remove(a.Address)
			}
			if got := describe(table); strings.Contains(got, "/") {
				t.Errorf("left over: %s", got)
			}
		})
	}
}

func TestWhoAdvertises(t *testing.T) {
	signals := func(s plan.Signals) func(*plan.Node) { return func(n *plan.Node) { n.Signals = s } }
	nodes := func(nodes ...plan.Node) func(*Cluster) { return func(c *Cluster) { c.Nodes = nodes } }
	const announced = v1beta1.ReasonAnnounced
	for _, row := range []struct {
		name    string
		cluster Cluster
		sharers []plan.Sharer
		nodes   string
		want    []Outcome
	}{
		{"every node does", three(), []plan.Sharer{sharer("web")}, "a b c", []Outcome{{announced, true}}},
		{"without an advertisement nobody does", three(advertise()), []plan.Sharer{sharer("web")}, "", []Outcome{{v1beta1.ReasonNoAdvertisement, false}}},
		{"with Local, nodes with endpoints do", three(), []plan.Sharer{sharer("web", local("b", "c"))}, "b c", []Outcome{{v1beta1.ReasonNoLocalEndpoint, true}}},
		{"without endpoints nobody does", three(), []plan.Sharer{sharer("web", func(s *plan.Sharer) { s.Endpoints = nil })}, "", []Outcome{{v1beta1.ReasonNoEndpoint, false}}},
		{"endpoints that run on no node will do for Cluster", three(),
			[]plan.Sharer{sharer("web", func(s *plan.Sharer) { s.Endpoints = plan.Endpoints{"": {Ready: true}} })}, "a b c", []Outcome{{announced, true}}},
		{"an excluded node does not", three(nodes(node("a", func(n *plan.Node) { n.Labels[v1beta1.LabelExcludeNode] = "" }), node("b"))),
			[]plan.Sharer{sharer("web")}, "b", []Outcome{{v1beta1.ReasonNodeExcluded, true}}},
		{"unless that is ignored", three(nodes(node("a", func(n *plan.Node) { n.Labels[v1beta1.LabelExcludeNode] = "" })), func(c *Cluster) { c.IgnoreExcludeLabel = true }),
			[]plan.Sharer{sharer("web")}, "a", []Outcome{{announced, true}}},
		{"a node without network does not", three(nodes(node("a", func(n *plan.Node) { n.NetworkUnavailable = true }), node("b"))),
			[]plan.Sharer{sharer("web")}, "b", []Outcome{{v1beta1.ReasonNodeNetworkUnavailable, true}}},
		{"a node whose speaker is not heard does not, but that need not be this one's", three(nodes(node("a", func(n *plan.Node) { n.Speaker.Alive = false }), node("b", func(n *plan.Node) { n.Speaker.Alive = false }))),
			[]plan.Sharer{sharer("web")}, "a", []Outcome{{announced, true}}},
		{"a node without a session with any of the peers does not", three(func(c *Cluster) { c.Peers = []Peer{{Name: "tor", Nodes: label("b")}} }),
			[]plan.Sharer{sharer("web")}, "b", []Outcome{{v1beta1.ReasonNoPeer, true}}},
		{"nor does one whose sessions carry only the other family", three(func(c *Cluster) {
			c.Peers = []Peer{{Name: "tor", Nodes: label("b")}, {Name: "edge", Families: []bgp.Family{bgp.IPv6}}}
		}), []plan.Sharer{sharer("web")}, "b", []Outcome{{v1beta1.ReasonNoPeer, true}}},
		{"another node's session counts where it goes to a router that the advertisement names, and carries the family",
			three(advertise(Advertisement{Name: "x", Peers: []string{"edge"}}), nodes(node("a", signals(plan.Draining)), node("b"), node("c")), func(c *Cluster) {
				c.Sessions = func(node, peer string, f bgp.Family) bool { return node == "c" == (peer == "edge") && f == bgp.IPv4 }
			}), []plan.Sharer{sharer("web")}, "c", []Outcome{{v1beta1.ReasonNodeDraining, true}}},
		{"where no other node has such a session, what speaks against this one is ignored",
			three(nodes(node("a", signals(plan.Draining)), node("b")), func(c *Cluster) {
				c.Sessions = func(_, _ string, f bgp.Family) bool { return f == bgp.IPv6 }
			}), []plan.Sharer{sharer("web")}, "a", []Outcome{{announced, true}}},
		{"a node that is not ready leaves it to others", three(nodes(node("a", signals(plan.NotReady)), node("b"))),
			[]plan.Sharer{sharer("web")}, "b", []Outcome{{v1beta1.ReasonNodeNotReady, true}}},
		{"a draining node does as well", three(nodes(node("a", signals(plan.Draining)), node("b", signals(plan.NotReady)))),
			[]plan.Sharer{sharer("web")}, "b", []Outcome{{v1beta1.ReasonNodeDraining, true}}},
		{"what speaks against all of them is ignored", three(nodes(node("a", signals(plan.NotReady)), node("b", signals(plan.NotReady)))),
			[]plan.Sharer{sharer("web")}, "a b", []Outcome{{announced, true}}},
		{"what speaks against the only ones that can serve is ignored", three(nodes(node("a", signals(plan.NotReady)), node("b"))),
			[]plan.Sharer{sharer("web", local("a"))}, "a", []Outcome{{announced, true}}},
		{"a cordon changes nothing", three(nodes(node("a", signals(plan.Cordoned)), node("b"))),
			[]plan.Sharer{sharer("web")}, "a b", []Outcome{{announced, true}}},
		{"a node whose last endpoint is terminating leaves it to those with ready ones", three(),
			[]plan.Sharer{sharer("web", local("b"), func(s *plan.Sharer) { s.Endpoints["a"] = plan.EndpointFacts{ServingTerminating: true} })},
			"b", []Outcome{{v1beta1.ReasonEndpointTerminating, true}}},
		{"where Services share an address, nodes that can serve all of them do", three(),
			[]plan.Sharer{sharer("web", local("a", "b")), sharer("dns", local("b", "c"))}, "b", []Outcome{{v1beta1.ReasonNoEligibleNode, true}, {v1beta1.ReasonNoLocalEndpoint, true}}},
		{"a sharer that nobody can serve takes nothing from the others", three(),
			[]plan.Sharer{sharer("web", local("a", "b")), sharer("dns", local())}, "a b", []Outcome{{announced, true}, {v1beta1.ReasonNoEndpoint, false}}},
		{"if no node can serve all, the oldest is served", three(),
			[]plan.Sharer{sharer("web", local("b"), func(s *plan.Sharer) { s.Service.Created = later }), sharer("dns", local("a"))}, "a",
			[]Outcome{{v1beta1.ReasonNoLocalEndpoint, false}, {announced, true}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			table := New()
			table.Configure(row.cluster)
			table.Set(has(web, row.sharers...))
			got, _ := table.Decision(web)
			if names := strings.Join(got.Nodes, " "); names != row.nodes || !slices.Equal(got.Outcomes, row.want) {
				t.Errorf("advertised by %q, outcomes %+v; want %q, %+v", names, got.Outcomes, row.nodes, row.want)
			}
			if here := slices.Contains(got.Nodes, "a"); here != got.Advertised || here != strings.Contains(describe(table), "192.0.2.1/32") {
				t.Errorf("advertised here: %v; decided %v, sent\n%s", here, got.Advertised, describe(table))
			}
		})
	}
}

func TestWhatBarsAllNodesIsToldApartFromMissingSessions(t *testing.T) {
	excluded := node("a", func(n *plan.Node) { n.Labels[v1beta1.LabelExcludeNode] = "" })
	silent := func(n *plan.Node) { n.Speaker.Alive = false }
	for _, row := range []struct {
		name    string
		cluster Cluster
		sharer  plan.Sharer
		want    []Reason
	}{
		{"nothing", three(), sharer("web"), nil},
		{"sessions alone", three(func(c *Cluster) { c.Nodes = []plan.Node{excluded, node("b", silent)} }), sharer("web"), nil},
		{"the label", three(func(c *Cluster) { c.Nodes = []plan.Node{excluded} }), sharer("web"), []Reason{v1beta1.ReasonNodeExcluded}},
		{"the label, and peers that select nobody", three(func(c *Cluster) {
			c.Nodes, c.Peers = []plan.Node{excluded, node("b", silent)}, []Peer{{Name: "tor", Nodes: label("none")}}
		}), sharer("web"), []Reason{v1beta1.ReasonNoPeer, v1beta1.ReasonNodeExcluded}},
		{"selectors", three(advertise(Advertisement{Name: "x", Nodes: label("none")})), sharer("web"), []Reason{v1beta1.ReasonNotSelected}},
		{"endpoints on an excluded node only", three(func(c *Cluster) { c.Nodes = []plan.Node{excluded, node("b")} }), sharer("web", local("a")),
			[]Reason{v1beta1.ReasonNoLocalEndpoint, v1beta1.ReasonNodeExcluded}},
		{"no endpoint anywhere, which is a reason of its own", three(), sharer("web", func(s *plan.Sharer) { s.Endpoints = nil }), nil},
		{"no advertisement, which is one, too", three(advertise()), sharer("web"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			table := New()
			table.Configure(row.cluster)
			table.Set(has(web, row.sharer))
			if got := table.Barred(web, 0); !slices.Equal(got, row.want) {
				t.Errorf("%v, want %v", got, row.want)
			}
			for _, r := range row.want {
				if !slices.Contains(furthest, r) {
					t.Errorf("%s has no place", r)
				}
			}
		})
	}
	if table := New(); table.Barred(web, 0) != nil {
		t.Error("nobody has it")
	}
}

func TestWhatDoesNotChangeIsTheSame(t *testing.T) {
	table := New()
	cluster := three(advertise(Advertisement{Name: "x", Communities: []string{"1:1"}}))
	table.Configure(cluster)
	table.Set(has(web, sharer("web")))
	table.Set(has(api, sharer("api")))
	before := table.Peers()
	if before[0].Routes != before[1].Routes {
		t.Error("peers that get the same don't share it")
	}
	same := func(when string, want bool) {
		t.Helper()
		after := table.Peers()
		for i := range after {
			if (after[i].Routes == before[i].Routes) != want {
				t.Errorf("%s: %s's routes are the same: %v", when, after[i].Peer, !want)
			}
		}
		before = after
	}
	same("nothing happened", true)
	table.Set(has(web, sharer("web")))
	same("the same again", true)
	table.Configure(three(advertise(Advertisement{Name: "x", Communities: []string{"1:1"}})))
	same("the same cluster again", true)
	table.Configure(three(advertise(Advertisement{Name: "x", Communities: []string{"1:1"}}, Advertisement{Name: "other", Services: label("nobody")})))
	same("an advertisement of nothing", true)
	table.Set(has(web, sharer("web", local("b"))))
	same("an endpoint moved", false)
	table.Configure(three(advertise(Advertisement{Name: "x", Communities: []string{"1:2"}})))
	same("another community", false)
}
