package routes

import (
	"net/netip"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// A Reason is a word of the API's vocabulary.
type Reason = v1beta1.Reason

// Cluster is what is known of the cluster apart from Services. It must not be
// changed after it was given away.
type Cluster struct {
	// Self is this node's name.
	Self  string
	Nodes []plan.Node
	// Peers, Advertisements and Communities have unique names.
	Peers          []Peer
	Advertisements []Advertisement
	Communities    []Community
	// Within says whether a pool has every address of a prefix.
	Within func(pool string, prefix netip.Prefix) bool
	// Sessions says whether another node that is heard has a session with a peer in which it sends routes of a family; nil is that
	// each has.
	Sessions func(node, peer string, f bgp.Family) bool
	// IgnoreExcludeLabel lets nodes advertise in spite of the label that excludes them from load balancers.
	IgnoreExcludeLabel bool
}

// A Peer is what matters here of a BGPPeer.
type Peer struct {
	Name string
	// Nodes that have a session with it; nil is all.
	Nodes plan.Selector
	// Internal is an iBGP peer.
	Internal bool
	// Families whose routes the session carries; none is both.
	Families []bgp.Family
}

// An Advertisement is a BGPAdvertisement.
type Advertisement struct {
	Name    string
	Created time.Time
	// Pools says whether addresses of a pool are advertised; nil is all pools.
	Pools    func(name string) bool
	Services plan.Selector
	Nodes    plan.Selector
	// Peers to advertise to, by name; none is all.
	Peers []string
	// AggregationLength and AggregationLengthV6 are the lengths of prefixes; 0 is a route per address.
	AggregationLength   int
	AggregationLengthV6 int
	LocalPref           *uint32
	MED                 *uint32
	Prepend             int
	// Communities as they are written: in numbers, by well-known names, or by those that a Community gives.
	Communities []string
}

func (a Advertisement) older(b Advertisement) bool {
	return olderThan(a.Created, a.Name, b.Created, b.Name)
}

// A Community gives names to communities.
type Community struct {
	Name    string
	Created time.Time
	Aliases []Alias
}

// An Alias is a name and the community that it stands for, in numbers.
type Alias struct{ Name, Value string }

func olderThan(a time.Time, aName string, b time.Time, bName string) bool {
	if c := a.Compare(b); c != 0 {
		return c < 0
	}
	return aName < bName
}

// An Address is one that Services have.
type Address struct {
	Address netip.Addr
	Sharers []plan.Sharer
}

// A Decision says what becomes of an address.
type Decision struct {
	// Advertised says whether this node advertises it, and Outcomes for each sharer, in the order they were given, why it
	// does or does not.
	Advertised bool
	Outcomes   []Outcome
	// Nodes that advertise it, in order of their names. Decisions share these lists.
	Nodes []string
}

// An Outcome says what became of a Service, on this node and anywhere.
type Outcome struct {
	// Reason is this node's: Announced, or why it does not advertise the address for the sake of this Service.
	Reason Reason
	// Served says whether the Service is served by the nodes that advertise the address.
	Served bool
}

// A PeerRoutes is what a peer is to be sent.
type PeerRoutes struct {
	Peer string
	// Wanted says whether this node should have a session with the peer; else its nodeSelectors select others.
	Wanted bool
	// Routes are shared by peers that get the same, and must not be changed. Never nil where the session is wanted.
	Routes *bgp.Routes
}
