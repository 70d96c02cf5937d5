package plan

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A Reason is a word of the API's vocabulary for why a node may, or may not, announce an address.
type Reason = v1beta1.Reason

// A Selector says whether it selects an object by its labels. A nil Selector selects everything.
type Selector func(labels map[string]string) bool

func (s Selector) selects(labels map[string]string) bool { return s == nil || s(labels) }

// Cluster is what is known of the cluster apart from Services.
type Cluster struct {
	Nodes          []Node
	Advertisements []Advertisement
	// IgnoreExcludeLabel lets nodes announce in spite of the label that excludes them from load balancers.
	IgnoreExcludeLabel bool
}

// A Node is what is known of one node.
type Node struct {
	Name               string
	Labels             map[string]string
	NetworkUnavailable bool
	// Signals are those that count; see HoldDown.
	Signals Signals
	Speaker Speaker
}

// A Speaker is what the speaker on a node says of itself.
type Speaker struct {
	// Known is true once it has said what links the node has, whether it is heard now or not: who is lost and what
	// becomes of its addresses is decided elsewhere.
	Known bool
	// Alive is true while it is heard. Nothing here asks: it is for those who decide what each node does by itself.
	Alive bool
	Links []Link
}

// A Link is an interface of a node.
type Link struct {
	Name string
	Up   bool
	// Prefixes are the networks directly attached.
	Prefixes []netip.Prefix
	// DeafIPv4 and DeafIPv6 are true where the kernel refuses the sockets that answering needs.
	DeafIPv4, DeafIPv6 bool
}

func (l Link) deaf(a netip.Addr) bool {
	if a.Is4() {
		return l.DeafIPv4
	}
	return l.DeafIPv6
}

// An Advertisement says which addresses are announced by which nodes.
type Advertisement struct {
	Name    string
	Created time.Time
	// Pools says whether addresses of a pool, by its name, are announced; nil is all pools.
	Pools    func(name string) bool
	Services Selector
	Nodes    Selector
	// Interfaces says whether to answer on an interface, by its name; nil is on those where the
	// address is on-link.
	Interfaces func(name string) bool
	// Preference is the weight of a node, by its labels; nil is none.
	Preference func(labels map[string]string) int32
	Settings   Settings
}

// Settings are what holds for an address as a whole. Where several advertisements cover it, the oldest one's hold.
type Settings struct {
	// Failback says when a better-placed node may take the address, and under Delayed After how long.
	Failback v1beta1.FailbackPolicy
	After    time.Duration
	// Conflicts says what is done when a foreign host has the address.
	Conflicts v1beta1.ConflictDetection
}

// DefaultAfter is after how long a better-placed node takes addresses unless it is told otherwise.
const DefaultAfter = 5 * time.Minute

// DefaultSettings are those of an advertisement that sets none.
var DefaultSettings = Settings{Failback: v1beta1.FailbackDelayed, After: DefaultAfter, Conflicts: v1beta1.ConflictEnforce}

func (a Advertisement) older(b Advertisement) bool {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c < 0
	}
	return a.Name < b.Name
}

func (a Advertisement) covers(s Sharer) bool {
	return (a.Pools == nil || a.Pools(s.Pool)) && a.Services.selects(s.Service.Labels)
}

// A Service is what is known of a Service of type LoadBalancer.
type Service struct {
	// Name is namespace and name, as in "default/web".
	Name    string
	Created time.Time
	Labels  map[string]string
	// Local is true for externalTrafficPolicy: Local.
	Local bool
}

// A Sharer is a Service that has an address.
type Sharer struct {
	Service *Service
	// Pool that the address was assigned from.
	Pool string
	// Endpoints of the address's family.
	Endpoints Endpoints
}

func (s Sharer) older(t Sharer) bool {
	if c := s.Service.Created.Compare(t.Service.Created); c != 0 {
		return c < 0
	}
	return s.Service.Name < t.Service.Name
}

// Endpoints are a Service's endpoints by the node they run on; "" is for those that run on none.
type Endpoints map[string]EndpointFacts

// EndpointFacts say which kinds of endpoints there are on a node.
type EndpointFacts struct {
	Ready bool
	// ServingTerminating are those that are terminating and still serving.
	ServingTerminating bool
}

// CanServe reports whether kube-proxy would send traffic to one of these endpoints.
func (f EndpointFacts) CanServe() bool { return f.Ready || f.ServingTerminating }

func (e Endpoints) anywhere() bool {
	for _, f := range e {
		if f.CanServe() {
			return true
		}
	}
	return false
}

// A View is a cluster made ready for decisions. It remembers parts of them, so it belongs to one
// goroutine; what it is made of and what it returns must not be changed.
type View struct {
	nodes    []Node // by name
	ads      []Advertisement
	selected [][]bool // by advertisement and node
	weights  [][]int32
	prefixes []netip.Prefix
	ignore   bool
	places   map[placeKey]*place
}

// New returns a View of the cluster.
func New(c Cluster) *View {
	v := &View{
		nodes:  slices.SortedFunc(slices.Values(c.Nodes), func(a, b Node) int { return strings.Compare(a.Name, b.Name) }),
		ads:    slices.SortedFunc(slices.Values(c.Advertisements), func(a, b Advertisement) int { return strings.Compare(a.Name, b.Name) }),
		ignore: c.IgnoreExcludeLabel,
		places: map[placeKey]*place{},
	}
	for _, ad := range v.ads {
		row, weights := make([]bool, len(v.nodes)), make([]int32, len(v.nodes))
		for i, n := range v.nodes {
			row[i] = ad.Nodes.selects(n.Labels)
			if row[i] && ad.Preference != nil {
				weights[i] = ad.Preference(n.Labels)
			}
		}
		v.selected, v.weights = append(v.selected, row), append(v.weights, weights)
	}
	for _, n := range v.nodes {
		for _, l := range n.Speaker.Links {
			v.prefixes = append(v.prefixes, l.Prefixes...)
		}
	}
	slices.SortFunc(v.prefixes, netip.Prefix.Compare)
	v.prefixes = slices.Compact(v.prefixes)
	return v
}

// A place is where addresses are announced that the same advertisements cover and the same networks
// contain: most addresses of a cluster share a few places, so what holds for all of them is worked out
// once.
type place struct {
	ads   []int    // that cover it
	nodes []placed // by node
	// candidates if an endpoint anywhere is all that the Service needs.
	candidates []Candidate
	ignored    Reason
	settings   Settings
}

// placed is what the checks that know no endpoints say of a node.
type placed struct {
	refusal    Reason // "" when none refuses
	interfaces []string
}

// placeKey has the numbers of the advertisements that cover the address, and of the networks that contain it.
type placeKey struct{ ads, prefixes string }

// place returns the place of address for the advertisements with the given numbers.
func (v *View) place(address netip.Addr, ads []int) *place {
	var buf [32]byte
	key := placeKey{ads: string(appendNumbers(buf[:0], ads))}
	containing := buf[:0]
	for i, p := range v.prefixes {
		if p.Contains(address) {
			containing = appendNumbers(containing, []int{i})
		}
	}
	key.prefixes = string(containing)

	p := v.places[key]
	if p == nil {
		p = &place{ads: ads, nodes: make([]placed, len(v.nodes)), settings: v.settings(ads)}
		for i := range v.nodes {
			p.nodes[i] = v.check(address, ads, i)
		}
		p.candidates, p.ignored = v.candidates(p.ads, func(i int) ([]string, Signals) { return p.nodes[i].interfaces, 0 })
		v.places[key] = p
	}
	return p
}

// settings returns those that hold where the advertisements with the given numbers cover an address.
func (v *View) settings(ads []int) Settings {
	if len(ads) == 0 {
		return DefaultSettings
	}
	return v.ads[slices.MinFunc(ads, func(a, b int) int {
		if v.ads[a].older(v.ads[b]) {
			return -1
		}
		return 1
	})].Settings
}

func appendNumbers(b []byte, numbers []int) []byte {
	for _, n := range numbers {
		b = append(b, byte(n>>16), byte(n>>8), byte(n))
	}
	return b
}

// covering returns the numbers of the advertisements that cover an address of s.
func (v *View) covering(s Sharer) []int {
	var ads []int
	for i, ad := range v.ads {
		if ad.covers(s) {
			ads = append(ads, i)
		}
	}
	return ads
}
