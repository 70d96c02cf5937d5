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
// says no is the node's reason. Above the line they are facts that exclude. Those below only rank ([Signals]): such a
// node is not used while there is a better one, and what holds for every candidate
// is ignored and told, for a cluster must not be blacked out by judging it.
// What is observed, and not asked for by anybody, is slow to count and slower to cease to ([HoldDown]).
//
//	NotSelected             no advertisement that covers the address selects the node
//	NodeExcluded            the node has the exclusion label (can be ignored by a setting)
//	NodeNetworkUnavailable  the Node says that its network is not set up
//	NoSpeaker               no speaker has been heard there
//	NoInterface             no link is on-link for the address, or named by an advertisement
//	LinkDown                there are such links, all down
//	LinkFailed              the kernel refuses the sockets that answering there needs
//	NoEndpoint              no endpoint anywhere can serve
//	NoLocalEndpoint         externalTrafficPolicy is Local, and no endpoint on the node can serve
//	----------------------  and, from the heaviest:
//	EndpointTerminating     externalTrafficPolicy is Local, and the last endpoint on the node is going
//	NodeOutOfService        the taint of that name
//	NodeBeingRemoved        the cluster autoscaler's taint
//	NodeDraining            the label clarion.dev/drain
//	NodeNotReady            the Node's condition Ready is not True
//	ProxyUnhealthy          kube-proxy says so, and once said otherwise
//	NodeCordoned            spec.unschedulable
//	ViewStale               the node's speaker does not reach the API server, and others do
//
// Among candidates of equal rank those come first that the advertisements prefer (Weight).
//
// Endpoints can serve by kube-proxy's own rules: those that are ready, and where none is, those that are
// terminating and still serving.
//
// # Stopping
//
// [HowToStop] decides whether a speaker that is told to stop hands over what its node has, or is about to come back.
package plan
