package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// Fixtures say only what matters: a node is Ready, and its speaker serves on eth0 in 192.0.2.0/24 and
// 2001:db8::/64, unless told otherwise.

func node(name string, change ...func(*Node)) Node {
	n := Node{Name: name, Labels: map[string]string{}, Speaker: Speaker{Known: true,
		Links: []Link{link("eth0", "192.0.2.0/24", "2001:db8::/64")}}}
	for _, c := range change {
		c(&n)
	}
	return n
}

func label(key string) func(*Node) { return func(n *Node) { n.Labels[key] = "" } }
func notReady(n *Node)             { n.Signals |= NotReady }
func signal(s Signals) func(*Node) { return func(n *Node) { n.Signals |= s } }
func noNetwork(n *Node)            { n.NetworkUnavailable = true }
func noSpeaker(n *Node)            { n.Speaker = Speaker{} }
func links(l ...Link) func(*Node)  { return func(n *Node) { n.Speaker.Links = l } }

func link(name string, prefixes ...string) Link {
	l := Link{Name: name, Up: true}
	for _, p := range prefixes {
		l.Prefixes = append(l.Prefixes, netip.MustParsePrefix(p))
	}
	return l
}

func down(l Link) Link { l.Up = false; return l }
func deaf(l Link) Link { l.DeafIPv4 = true; return l }

func preferring(label string, weight int32) func(map[string]string) int32 {
	return func(labels map[string]string) int32 {
		if _, found := labels[label]; found {
			return weight
		}
		return 0
	}
}

// everything covers all pools, Services and nodes.
var everything = Advertisement{Name: "everything"}

func having(label string) Selector {
	return func(labels map[string]string) bool { _, found := labels[label]; return found }
}

func named(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// service has an address from pool "lan" and a ready endpoint on each of the nodes; "!" before a name
// makes it one that is not ready, "~" one that is terminating and still serving.
func service(name string, endpoints ...string) Sharer {
	s := Sharer{Service: &Service{Name: name}, Pool: "lan", Endpoints: Endpoints{}}
	for _, e := range endpoints {
		node := strings.TrimLeft(e, "!~")
		f := s.Endpoints[node]
		switch e[0] {
		case '!':
		case '~':
			f.ServingTerminating = true
		default:
			f.Ready = true
		}
		s.Endpoints[node] = f
	}
	return s
}

func local(s Sharer) Sharer { s.Service.Local = true; return s }

func age(s Sharer, since time.Duration) Sharer {
	s.Service.Created = time.Unix(1_000_000_000, 0).Add(-since)
	return s
}

func labelled(s Sharer, label string) Sharer {
	s.Service.Labels = map[string]string{label: ""}
	return s
}

const anAddress = "192.0.2.10"

// say puts a decision into a line: candidates, then the outcome of each sharer that is not served.
func say(d Decision) string {
	var words []string
	for _, c := range d.Candidates {
		word := c.Node + ":" + strings.Join(c.Interfaces, "+")
		if c.Weight != 0 {
			word += fmt.Sprintf("*%d", c.Weight)
		}
		if c.Rank != 0 {
			word += fmt.Sprintf("(%s)", c.Rank.Reason())
		}
		words = append(words, word)
	}
	for i, o := range d.Outcomes {
		if !o.Served() {
			words = append(words, fmt.Sprintf("#%d %s", i, o.Reason))
		}
	}
	if d.Ignored != "" {
		words = append(words, fmt.Sprintf("ignored %s", d.Ignored))
	}
	return strings.Join(words, " ")
}

func TestDecide(t *testing.T) {
	three := []Node{node("a"), node("b"), node("c")}
	all := []Advertisement{everything}
	for _, row := range []struct {
		name    string
		nodes   []Node
		ads     []Advertisement
		ignore  bool // --ignore-exclude-label
		address string
		sharers []Sharer
		want    string
	}{
		// Who.
		{"every node with the network may announce", three, all, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0 b:eth0 c:eth0"},
		{"so with IPv6", three, all, false, "2001:db8::10",
			[]Sharer{service("web", "a")}, "a:eth0 b:eth0 c:eth0"},
		{"an address that no advertisement covers is announced nowhere", three, nil, false, anAddress,
			[]Sharer{service("web", "a")}, "#0 NoAdvertisement"},
		{"an advertisement for another pool does not count", three,
			[]Advertisement{{Name: "x", Pools: named("other")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "#0 NoAdvertisement"},
		{"an advertisement for other Services does not count", three,
			[]Advertisement{{Name: "x", Services: having("public")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "#0 NoAdvertisement"},
		{"an advertisement for this Service does", three,
			[]Advertisement{{Name: "x", Services: having("public")}}, false, anAddress,
			[]Sharer{labelled(service("web", "a"), "public")}, "a:eth0 b:eth0 c:eth0"},
		{"nodeSelectors choose among the nodes", []Node{node("a"), node("b", label("edge"))},
			[]Advertisement{{Name: "x", Nodes: having("edge")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "b:eth0"},
		{"several advertisements unite their nodes", []Node{node("a"), node("b", label("edge")), node("c", label("core"))},
			[]Advertisement{{Name: "x", Nodes: having("edge")}, {Name: "y", Nodes: having("core")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "b:eth0 c:eth0"},
		{"only those that cover the Service do", []Node{node("a"), node("b", label("edge")), node("c", label("core"))},
			[]Advertisement{{Name: "x", Nodes: having("edge")}, {Name: "y", Nodes: having("core"), Services: having("public")}},
			false, anAddress, []Sharer{service("web", "a")}, "b:eth0"},
		{"an excluded node may not", []Node{node("a", label(v1beta1.LabelExcludeNode)), node("b")}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "b:eth0"},
		{"all nodes excluded: nobody", []Node{node("a", label(v1beta1.LabelExcludeNode))}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "#0 NoEligibleNode"},
		{"the exclusion label can be ignored", []Node{node("a", label(v1beta1.LabelExcludeNode)), node("b")}, all, true, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0 b:eth0"},
		{"a node without network may not, and if it is the only one", []Node{node("a", noNetwork)}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "#0 NoEligibleNode"},
		{"a node whose speaker was never heard may not", []Node{node("a", noSpeaker), node("b")}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "b:eth0"},
		{"a cluster without nodes", nil, all, false, anAddress,
			[]Sharer{service("web", "a")}, "#0 NoEligibleNode"},

		// Soft signals rank.
		{"a node that is not Ready comes after one that is", []Node{node("a", notReady), node("b")}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0(NodeNotReady) b:eth0"},
		{"if no candidate is Ready that is ignored, and told", []Node{node("a", notReady), node("b", notReady)}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0(NodeNotReady) b:eth0(NodeNotReady) ignored NodeNotReady"},
		{"a Ready node that can't announce does not make the others worse", []Node{node("a", notReady), node("b", links())}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0(NodeNotReady) ignored NodeNotReady"},
		{"with Local, the only node with an endpoint announces though it is not Ready", []Node{node("a", notReady), node("b")}, all, false, anAddress,
			[]Sharer{local(service("web", "a"))}, "a:eth0(NodeNotReady) ignored NodeNotReady"},
		{"what speaks against some is not ignored, though something speaks against all",
			[]Node{node("a", notReady), node("b", signal(Cordoned))}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0(NodeNotReady) b:eth0(NodeCordoned)"},
		{"a drained node is still a candidate, the last", []Node{node("a", signal(Draining)), node("b", notReady)}, all, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0(NodeDraining) b:eth0(NodeNotReady)"},

		// Local endpoints that begin to terminate.
		{"with Local, a node whose last endpoint is terminating comes after one with a ready one", three, all, false, anAddress,
			[]Sharer{local(service("web", "~a", "b"))}, "a:eth0(EndpointTerminating) b:eth0"},
		{"one terminating and one ready is as good as one ready", three, all, false, anAddress,
			[]Sharer{local(service("web", "~a", "a", "b"))}, "a:eth0 b:eth0"},
		{"where all are terminating that is ignored", three, all, false, anAddress,
			[]Sharer{local(service("web", "~a", "~b"))}, "a:eth0(EndpointTerminating) b:eth0(EndpointTerminating) ignored EndpointTerminating"},
		{"a cordoned node with a ready endpoint is better than one whose last is terminating",
			[]Node{node("a", signal(Cordoned|NotReady)), node("b")}, all, false, anAddress,
			[]Sharer{local(service("web", "a", "~b"))}, "a:eth0(NodeNotReady) b:eth0(EndpointTerminating)"},
		{"it counts for a sharer too", three, all, false, anAddress,
			[]Sharer{local(service("web", "a", "b")), local(service("dns", "a", "~b"))}, "a:eth0 b:eth0(EndpointTerminating)"},

		// Preferences.
		{"preferred nodes have weight", []Node{node("a", label("edge")), node("b")},
			[]Advertisement{{Name: "x", Preference: preferring("edge", 10)}}, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0*10 b:eth0"},
		{"several advertisements add up, on the nodes that they select", []Node{node("a", label("edge"), label("core")), node("b", label("edge"))},
			[]Advertisement{{Name: "x", Preference: preferring("edge", 10)}, {Name: "y", Nodes: having("core"), Preference: preferring("edge", 5)}}, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0*15 b:eth0*10"},
		{"the advertisements of Services that are not served add nothing", []Node{node("a", label("edge")), node("b")},
			[]Advertisement{{Name: "x", Services: having("public")}, {Name: "y", Services: having("lab"), Preference: preferring("edge", 5)}}, false, anAddress,
			[]Sharer{labelled(service("web", "a"), "public"), labelled(service("dns"), "lab")}, "a:eth0 b:eth0 #1 NoEndpoint"},

		// Endpoints, by kube-proxy's rules.
		{"Cluster needs an endpoint somewhere", three, all, false, anAddress,
			[]Sharer{service("web")}, "#0 NoEndpoint"},
		{"one that is not ready is none", three, all, false, anAddress,
			[]Sharer{service("web", "!a", "!b")}, "#0 NoEndpoint"},
		{"one that is terminating and still serving is one", three, all, false, anAddress,
			[]Sharer{service("web", "~a", "!b")}, "a:eth0 b:eth0 c:eth0"},
		{"one that runs on no node is one", three, all, false, anAddress,
			[]Sharer{{Service: &Service{Name: "web"}, Pool: "lan", Endpoints: Endpoints{"": {Ready: true}}}},
			"a:eth0 b:eth0 c:eth0"},
		{"Local needs an endpoint on the node", three, all, false, anAddress,
			[]Sharer{local(service("web", "a", "c"))}, "a:eth0 c:eth0"},
		{"which must be ready", three, all, false, anAddress,
			[]Sharer{local(service("web", "!a", "c"))}, "c:eth0"},
		{"or terminating and still serving", three, all, false, anAddress,
			[]Sharer{local(service("web", "~a", "!b", "c"))}, "a:eth0(EndpointTerminating) c:eth0"},
		{"one ready and one not on the same node is fine, in either order", three, all, false, anAddress,
			[]Sharer{local(service("web", "!a", "a", "b", "!b"))}, "a:eth0 b:eth0"},
		{"one that runs on no node is on none", three, all, false, anAddress,
			[]Sharer{{Service: &Service{Name: "web", Local: true}, Pool: "lan", Endpoints: Endpoints{"": {Ready: true}}}},
			"#0 NoEndpoint"},
		{"Local with endpoints only on nodes that are not selected: nobody", []Node{node("a"), node("b", label("edge"))},
			[]Advertisement{{Name: "x", Nodes: having("edge")}}, false, anAddress,
			[]Sharer{local(service("web", "a"))}, "#0 NoEndpoint"},
		{"Local with endpoints on both, selected one: that one", []Node{node("a"), node("b", label("edge"))},
			[]Advertisement{{Name: "x", Nodes: having("edge")}}, false, anAddress,
			[]Sharer{local(service("web", "a", "b"))}, "b:eth0"},

		// Interfaces.
		{"an address is answered where it is on-link only",
			[]Node{node("a", links(link("eth0", "192.0.2.0/24"), link("eth1", "198.51.100.0/24"))), node("b", links(link("eth1", "198.51.100.0/24")))},
			all, false, anAddress, []Sharer{service("web", "a")}, "a:eth0"},
		{"on every interface where it is", []Node{node("a", links(link("eth1", "192.0.2.0/24"), link("eth0", "192.0.0.0/16")))},
			all, false, anAddress, []Sharer{service("web", "a")}, "a:eth0+eth1"},
		{"off-link everywhere: nobody", three, all, false, "203.0.113.1",
			[]Sharer{service("web", "a")}, "#0 NoInterface"},
		{"a link that is down does not answer",
			[]Node{node("a", links(down(link("eth0", "192.0.2.0/24")))), node("b")},
			all, false, anAddress, []Sharer{service("web", "a")}, "b:eth0"},
		{"a link on which sockets fail does not answer",
			[]Node{node("a", links(deaf(link("eth0", "192.0.2.0/24", "2001:db8::/64")))), node("b")},
			all, false, anAddress, []Sharer{service("web", "a")}, "b:eth0"},
		{"and answers the other family all the same",
			[]Node{node("a", links(deaf(link("eth0", "192.0.2.0/24", "2001:db8::/64")))), node("b")},
			all, false, "2001:db8::10", []Sharer{service("web", "a")}, "a:eth0 b:eth0"},
		{"all links down", []Node{node("a", links(down(link("eth0", "192.0.2.0/24"))))},
			all, false, anAddress, []Sharer{service("web", "a")}, "#0 NoInterface"},
		{"named interfaces answer, on-link or not",
			[]Node{node("a", links(link("eth0", "192.0.2.0/24"), link("eth1"))), node("b")},
			[]Advertisement{{Name: "x", Interfaces: named("eth1", "eth2")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth1"},
		{"several advertisements unite their interfaces, on-link among them",
			[]Node{node("a", links(link("eth0", "192.0.2.0/24"), link("eth1"), link("eth2")))},
			[]Advertisement{everything, {Name: "x", Interfaces: named("eth1")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0+eth1"},
		{"an advertisement's interfaces count on the nodes that it selects",
			[]Node{node("a", links(link("eth0", "192.0.2.0/24"), link("eth1"))), node("b", label("edge"), links(link("eth0", "192.0.2.0/24"), link("eth1")))},
			[]Advertisement{everything, {Name: "x", Nodes: having("edge"), Interfaces: named("eth1")}}, false, anAddress,
			[]Sharer{service("web", "a")}, "a:eth0 b:eth0+eth1"},

		// Shared addresses.
		{"sharers are served by the nodes that can serve all", three, all, false, anAddress,
			[]Sharer{local(service("web", "a", "b")), local(service("dns", "b", "c"))}, "b:eth0"},
		{"a sharer that can be served nowhere does not count, and is told", three, all, false, anAddress,
			[]Sharer{local(service("web", "a", "b")), service("dns")}, "a:eth0 b:eth0 #1 NoEndpoint"},
		{"nor does one that no advertisement covers", three, []Advertisement{{Name: "x", Services: having("public")}}, false, anAddress,
			[]Sharer{service("web", "a"), labelled(service("dns", "a"), "public")}, "a:eth0 b:eth0 c:eth0 #0 NoAdvertisement"},
		{"no node can serve all: those announce that serve most", three, all, false, anAddress,
			[]Sharer{local(service("web", "a")), local(service("dns", "b", "c")), local(service("ntp", "c"))}, "c:eth0 #0 NoEligibleNode"},
		{"with equally many, those that serve the oldest", three, all, false, anAddress,
			[]Sharer{age(local(service("web", "a", "b")), time.Hour), age(local(service("dns", "c")), 2*time.Hour)}, "c:eth0 #0 NoEligibleNode"},
		{"of the same age the first by name is the oldest", three, all, false, anAddress,
			[]Sharer{local(service("web", "a", "b")), local(service("dns", "c"))}, "c:eth0 #0 NoEligibleNode"},
		{"sharers unite their interfaces",
			[]Node{node("a", links(link("eth0", "192.0.2.0/24"), link("eth1")))},
			[]Advertisement{{Name: "x", Services: having("public")}, {Name: "y", Services: having("lab"), Interfaces: named("eth1")}}, false, anAddress,
			[]Sharer{labelled(service("web", "a"), "public"), labelled(service("dns", "a"), "lab")}, "a:eth0+eth1"},
		{"those that are not served add none",
			[]Node{node("a", links(link("eth0", "192.0.2.0/24"), link("eth1")))},
			[]Advertisement{{Name: "x", Services: having("public")}, {Name: "y", Services: having("lab"), Interfaces: named("eth1")}}, false, anAddress,
			[]Sharer{labelled(service("web", "a"), "public"), labelled(service("dns"), "lab")}, "a:eth0 #1 NoEndpoint"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := New(Cluster{Nodes: row.nodes, Advertisements: row.ads, IgnoreExcludeLabel: row.ignore})
			if got := say(v.Decide(netip.MustParseAddr(row.address), row.sharers)); got != row.want {
				t.Errorf("decided  %s\nexpected %s", got, row.want)
			}
		})
	}
}

// Each check says its no, with words to act on.
func TestExplain(t *testing.T) {
	for _, row := range []struct {
		name   string
		node   Node
		ads    []Advertisement
		sharer Sharer
		want   Reason
		words  string
	}{
		{"eligible", node("a"), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonEligible, "may announce the address on eth0"},
		{"no advertisement covers the pool", node("a"), nil, service("web", "a"),
			v1beta1.ReasonNoAdvertisement, `no L2Advertisement covers pool "lan", which 192.0.2.10 is from: create one`},
		{"no advertisement selects the Service", node("a"), []Advertisement{{Name: "x", Services: having("public")}}, service("web", "a"),
			v1beta1.ReasonNoAdvertisement, `serviceSelectors of L2Advertisement "x"`},
		{"no advertisement selects the node", node("a"),
			[]Advertisement{{Name: "v", Nodes: having("edge")}, {Name: "w", Nodes: having("edge")}, {Name: "x", Nodes: having("edge")}, {Name: "y", Nodes: having("edge")}},
			service("web", "a"), v1beta1.ReasonNotSelected, `nodeSelectors of L2Advertisement "v", "w", "x" and 1 more do not select`},
		{"excluded", node("a", label(v1beta1.LabelExcludeNode)), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeExcluded, "label node.kubernetes.io/exclude-from-external-load-balancers: remove it, or let the speakers run with --ignore-exclude-label"},
		{"no network", node("a", noNetwork), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeNetworkUnavailable, "NetworkUnavailable is True"},
		{"no speaker", node("a", noSpeaker), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNoSpeaker, "no speaker has been heard"},
		{"off-link", node("a", links(link("eth0", "10.0.0.0/8"))), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNoInterface, "no interface of the node is in a network that contains 192.0.2.10: give it an address there, or name"},
		{"none of the named interfaces", node("a"), []Advertisement{{Name: "x", Interfaces: named("bond0")}}, service("web", "a"),
			v1beta1.ReasonNoInterface, `none of the interfaces that L2Advertisement "x" names`},
		{"link down", node("a", links(down(link("eth0", "192.0.2.0/24")), link("eth1"))), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonLinkDown, "down: eth0"},
		{"no endpoint", node("a"), []Advertisement{everything}, service("web"),
			v1beta1.ReasonNoEndpoint, "no endpoint that is ready"},
		{"no endpoint anywhere, Local", node("a"), []Advertisement{everything}, local(service("web", "!a")),
			v1beta1.ReasonNoEndpoint, "no endpoint that is ready"},
		{"no local endpoint", node("a"), []Advertisement{everything}, local(service("web", "z")),
			v1beta1.ReasonNoLocalEndpoint, "externalTrafficPolicy is Local"},
		{"sockets fail", node("a", links(deaf(link("eth0", "192.0.2.0/24")))), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonLinkFailed, "refuses the sockets that answering on it needs: eth0"},
		{"not ready, another is", node("a", notReady), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeNotReady, "Ready is not True, and there are better candidates"},
		{"cordoned, another is not", node("a", signal(Cordoned)), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeCordoned, "spec.unschedulable"},
		{"kube-proxy is ill, another is not", node("a", signal(ProxyUnhealthy)), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonProxyUnhealthy, "kube-proxy"},
		{"drained, another is not", node("a", signal(Draining|Cordoned)), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeDraining, "label clarion.dev/drain"},
		{"about to be deleted", node("a", signal(BeingRemoved)), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeBeingRemoved, "taint ToBeDeletedByClusterAutoscaler"},
		{"out of service", node("a", signal(OutOfService)), []Advertisement{everything}, service("web", "a"),
			v1beta1.ReasonNodeOutOfService, "taint node.kubernetes.io/out-of-service"},
		{"its last endpoint is terminating", node("a"), []Advertisement{everything}, local(service("web", "~a", "z")),
			v1beta1.ReasonEndpointTerminating, "is terminating"},
	} {
		t.Run(row.name, func(t *testing.T) {
			// "z" is there so that the cluster has something better.
			v := New(Cluster{Nodes: []Node{row.node, node("z")}, Advertisements: row.ads})
			got := v.Explain(netip.MustParseAddr(anAddress), []Sharer{row.sharer}, 0)[0]
			if got.Node != "a" || got.Reason != row.want || !strings.Contains(got.Message, row.words) {
				t.Errorf("got  %s %s: %s\nwant %s: …%s…", got.Node, got.Reason, got.Message, row.want, row.words)
			}
			if (got.Reason == v1beta1.ReasonEligible) != (len(got.Interfaces) > 0) {
				t.Errorf("%s with interfaces %q", got.Reason, got.Interfaces)
			}
		})
	}
}

// Several noes at once: the first in the order of the checks is the reason.
func TestTheFirstNoWins(t *testing.T) {
	// Each step mends what the check before it found wrong.
	n := node("a", notReady, noNetwork, noSpeaker, label(v1beta1.LabelExcludeNode), links(down(link("eth1", "10.0.0.0/8"))))
	ads := []Advertisement{{Name: "x", Nodes: having("edge")}}
	s := local(service("web"))
	for _, step := range []struct {
		want Reason
		mend func()
	}{
		{v1beta1.ReasonNotSelected, func() { n.Labels["edge"] = "" }},
		{v1beta1.ReasonNodeExcluded, func() { delete(n.Labels, v1beta1.LabelExcludeNode) }},
		{v1beta1.ReasonNodeNetworkUnavailable, func() { n.NetworkUnavailable = false }},
		{v1beta1.ReasonNoSpeaker, func() { n.Speaker = Speaker{Known: true, Links: n.Speaker.Links} }},
		{v1beta1.ReasonNoInterface, func() { n.Speaker.Links = []Link{down(link("eth0", "192.0.2.0/24"))} }},
		{v1beta1.ReasonLinkDown, func() { n.Speaker.Links[0].Up = true }},
		{v1beta1.ReasonNoEndpoint, func() { s.Endpoints = Endpoints{"z": {Ready: true}} }},
		{v1beta1.ReasonNoLocalEndpoint, func() { s.Endpoints["a"] = EndpointFacts{ServingTerminating: true} }},
		{v1beta1.ReasonEndpointTerminating, func() { s.Endpoints["a"] = EndpointFacts{Ready: true} }},
		{v1beta1.ReasonNodeNotReady, func() { n.Signals = 0 }},
		{v1beta1.ReasonEligible, func() {}},
	} {
		v := New(Cluster{Nodes: []Node{n, node("z", label("edge"))}, Advertisements: ads})
		if got := v.Explain(netip.MustParseAddr(anAddress), []Sharer{s}, 0)[0]; got.Reason != step.want {
			t.Fatalf("got %s, want %s", got.Reason, step.want)
		}
		step.mend()
	}
}

// A Service that nobody can serve gets the reason of the nodes that came furthest, and all reasons once.
func TestOutcomeTellsWhatIsMissing(t *testing.T) {
	for _, row := range []struct {
		name    string
		nodes   []Node
		sharers []Sharer
		want    Reason
		words   []string
	}{
		{"one link is down, the rest excluded",
			[]Node{node("a", label(v1beta1.LabelExcludeNode)), node("b", links(down(link("eth0", "192.0.2.0/24")))), node("c", label(v1beta1.LabelExcludeNode))},
			[]Sharer{service("web", "a")}, v1beta1.ReasonNoInterface,
			[]string{"no node can announce 192.0.2.10: LinkDown (the link is down: eth0); NodeExcluded (", "--ignore-exclude-label"}},
		{"an endpoint on a node that may not announce", []Node{node("a", noSpeaker), node("b")},
			[]Sharer{local(service("web", "a"))}, v1beta1.ReasonNoEndpoint,
			[]string{"NoLocalEndpoint (externalTrafficPolicy is Local", "NoSpeaker (no speaker"}},
		{"nobody speaks", []Node{node("a", noSpeaker)},
			[]Sharer{service("web", "a")}, v1beta1.ReasonNoEligibleNode, []string{"NoSpeaker"}},
		{"others share the address", []Node{node("a"), node("b")},
			[]Sharer{age(local(service("web", "a")), time.Hour), age(local(service("dns", "b")), 2*time.Hour)},
			v1beta1.ReasonNoEligibleNode, []string{"192.0.2.10 is shared"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := New(Cluster{Nodes: row.nodes, Advertisements: []Advertisement{everything}})
			got := v.Decide(netip.MustParseAddr(anAddress), row.sharers).Outcomes[0]
			if got.Reason != row.want {
				t.Errorf("reason %s, want %s", got.Reason, row.want)
			}
			for _, words := range row.words {
				if !strings.Contains(got.Message, words) {
					t.Errorf("message %q lacks %q", got.Message, words)
				}
			}
			for _, s := range row.sharers {
				if strings.Contains(got.Message, s.Service.Name) {
					t.Errorf("message %q names a Service", got.Message)
				}
			}
		})
	}
}

func TestTheBestCandidates(t *testing.T) {
	for _, row := range []struct {
		name       string
		candidates []Candidate
		want       string
	}{
		{"none", nil, ""},
		{"all alike", []Candidate{{Node: "a"}, {Node: "b"}}, "a b"},
		{"rank comes first", []Candidate{{Node: "a", Rank: Cordoned, Weight: 100}, {Node: "b"}}, "b"},
		{"then weight", []Candidate{{Node: "a"}, {Node: "b", Weight: 5}, {Node: "c", Weight: 5}}, "b c"},
		{"what all have changes nothing", []Candidate{{Node: "a", Rank: NotReady}, {Node: "b", Rank: NotReady | Cordoned}}, "a"},
		{"the heavier signal is worse than all lighter ones", []Candidate{{Node: "a", Rank: NotReady}, {Node: "b", Rank: Cordoned | ProxyUnhealthy}}, "b"},
	} {
		if got := strings.Join(Decision{Candidates: row.candidates}.Best(), " "); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// Where advertisements differ in what can only hold once, the oldest holds.
func TestTheOldestAdvertisementSettles(t *testing.T) {
	at := time.Unix(1_000_000_000, 0)
	never := Settings{Failback: v1beta1.FailbackNever, Conflicts: v1beta1.ConflictOff}
	at5 := Settings{Failback: v1beta1.FailbackDelayed, After: time.Second, Conflicts: v1beta1.ConflictReport}
	for _, row := range []struct {
		name    string
		ads     []Advertisement
		sharers []Sharer
		want    Settings
	}{
		{"one", []Advertisement{{Name: "a", Created: at, Settings: never}}, []Sharer{service("web", "a")}, never},
		{"the older", []Advertisement{{Name: "a", Created: at.Add(1), Settings: at5}, {Name: "b", Created: at, Settings: never}},
			[]Sharer{service("web", "a")}, never},
		{"of the same age the first by name", []Advertisement{{Name: "b", Created: at, Settings: at5}, {Name: "a", Created: at, Settings: never}},
			[]Sharer{service("web", "a")}, never},
		{"one that does not cover the Service does not count",
			[]Advertisement{{Name: "a", Created: at, Services: having("public"), Settings: at5}, {Name: "b", Created: at.Add(1), Settings: never}},
			[]Sharer{service("web", "a")}, never},
		{"of those that cover sharers the oldest",
			[]Advertisement{{Name: "a", Created: at.Add(1), Services: having("public"), Settings: at5}, {Name: "b", Created: at, Services: having("lab"), Settings: never}},
			[]Sharer{labelled(service("web", "a"), "public"), labelled(service("dns", "a"), "lab")}, never},
	} {
		v := New(Cluster{Nodes: []Node{node("a")}, Advertisements: row.ads})
		if got := v.Decide(netip.MustParseAddr(anAddress), row.sharers).Settings; got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}
