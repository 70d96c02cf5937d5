// Package routes decides which routes this node advertises to which of its BGP
// peers, and why it does not.
//
// # Contract
//
// A [Table] is told of the cluster by [Table.Configure], and of addresses one by
// one by [Table.Set] and [Table.Remove]. [Table.Peers] returns what to advertise to
// each peer, [Table.Decision] why an address is or is not advertised. What there is to
// tell about the objects themselves the controller tells.
// Nothing is opened, asked or timed: equal arguments give equal answers, in
// whatever order they came.
//
// A change of one address costs its own decision, and a pass over the routes of
// the peers that it concerns. Peers whose routes are equal share one
// [bgp.Routes], and what did not change is the very same one, so that to compare
// is to look at a pointer.
//
//	Address ─► decide: who may advertise it? ─► contributions: (advertisement, prefix)
//	                                                  │ counted
//	                                                  ▼
//	                         prefix ─► advertisements that meet on it
//	                                                  │ merged, for each group of peers
//	                                                  ▼
//	                                             bgp.Routes
//
// # Who advertises an address
//
// Every node that can serve it, toward every peer that an advertisement names and
// that has a session there: routers share the traffic among them. The reasons that
// exclude a node are asked in this order; the first that says no is the node's:
//
//	NotSelected             no BGPAdvertisement that covers the address selects the node
//	NodeExcluded            the node has the exclusion label (can be ignored by a setting)
//	NodeNetworkUnavailable  the Node says that its network is not set up
//	NoPeer                  no BGPPeer that is advertised to selects the node and carries routes of the address' family
//	NoSpeaker               no speaker is heard there that has a session with such a peer
//	NoEndpoint              no endpoint anywhere can serve
//	NoLocalEndpoint         externalTrafficPolicy is Local, and no endpoint on the node can serve
//
// What speaks against a node without excluding it (plan.Signals) makes it leave
// the traffic to others that are better off; where there are none it goes on. A
// cordoned node goes on in any case: clusters are cordoned node by node before an
// upgrade, and the traffic of all must not pile up on the last one.
//
// Where several Services share an address, the nodes that can serve all those
// that can be served anywhere advertise it; if there is none, those that serve
// most, ties going to the oldest. So one Service's change does not withdraw what
// another needs.
//
// # What a route says
//
// Where several advertisements meet on a prefix their communities unite. Of
// localPref, med and asPathPrepend the oldest advertisement that sets one is
// heard; a younger one that says otherwise is told by the controller. What a peer
// would not be sent is left out of its routes: localPref toward eBGP, the prepended
// ASNs toward iBGP, families that the session does not carry. GRACEFUL_SHUTDOWN is
// not marked here: that is part of leaving, which package bgp does.
//
// An aggregate is advertised while one of its addresses is. It must lie within the
// pool: what reaches beyond would draw traffic that is somebody else's. Where it
// does not, the addresses are advertised one by one, and that is told.
package routes
