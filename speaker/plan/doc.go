// Package plan decides which nodes may announce which address, on which interfaces, and why the others may not.
//
// # Contract
//
// [New] takes what is known of the cluster (nodes, their links and speakers, advertisements) and returns
// a [View]. [View.Decide] takes one address and the Services that have it, and returns the candidates;
// [View.Explain] returns the reason for each node. Both are pure: equal arguments give equal answers, on
// every node, and nothing is opened, asked or timed. Who among the candidates answers is not decided
// here (see speaker/ownership).
//
// What is announced is an address. Where several Services share it, its candidates are the nodes that
// can serve all of those that can be served anywhere; if there is no such node, those that can serve most
// of them, ties going to the oldest, and the rest are told why.
//
// # Checks
//
// Whether a node may announce a Service's address is a list of checks, in this order; the first that
// says no is the node's reason. Above the line they are facts that exclude. NodeNotReady only
// ranks: such a node is not used while there is a better one, and if it holds for every candidate it
// is ignored and told, for a cluster must not be blacked out by judging it.
//
//	NotSelected             no advertisement that covers the address selects the node
//	NodeExcluded            the node has the exclusion label (can be ignored by a setting)
//	NodeNetworkUnavailable  the Node says that its network is not set up
//	NoSpeaker               no speaker is heard there, or it does not serve yet
//	NoInterface             no link is on-link for the address, or named by an advertisement
//	LinkDown                there are such links, all down
//	NoEndpoint              no endpoint anywhere can serve
//	NoLocalEndpoint         externalTrafficPolicy is Local, and no endpoint on the node can serve
//	----------------------
//	NodeNotReady            the Node is not Ready, and other candidates are
//
// Endpoints can serve by kube-proxy's own rules: those that are ready, and where none is, those that are
// terminating and still serving.
package plan
