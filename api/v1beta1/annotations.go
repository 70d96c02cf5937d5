package v1beta1

// Prefixes under which a Service's annotations are read. All three mean the same; what is said under
// several of them must agree.
const (
	// AnnotationPrefix is Clarion's own.
	AnnotationPrefix = "clarion.dev/"
	// MetalLBPrefix and MetalLBOldPrefix let Services written for MetalLB work unchanged.
	MetalLBPrefix    = "metallb.io/"
	MetalLBOldPrefix = "metallb.universe.tf/"
)

// Annotations that a Service's owner writes.
const (
	// AnnotationAddressPool names the IPAddressPool that the Service's addresses must come from.
	AnnotationAddressPool = AnnotationPrefix + keyAddressPool
	// AnnotationLoadBalancerIPs asks for one address, or for one IPv4 and one IPv6 address separated by
	// a comma.
	AnnotationLoadBalancerIPs = AnnotationPrefix + keyLoadBalancerIPs
	// AnnotationAllowSharedIP is a sharing key: Services with equal keys, disjoint ports and compatible
	// external traffic policies may have the same address.
	AnnotationAllowSharedIP = AnnotationPrefix + keyAllowSharedIP

	// AnnotationAnnounceFrom names the node that is to answer for the Service's addresses at layer 2 (kubectl clarion move). They are
	// handed over to it when the annotation is set or changed, if it may announce them and nothing speaks against it; later it is
	// preferred to its equals. When it is lost, others take over. BGP does not go by it.
	AnnotationAnnounceFrom = AnnotationPrefix + keyAnnounceFrom
)

const (
	keyAddressPool     = "address-pool"
	keyLoadBalancerIPs = "loadBalancerIPs"
	keyAllowSharedIP   = "allow-shared-ip"
	keyAnnounceFrom    = "announce-from"
)

// Annotations and finalizers that Clarion writes.
const (
	// AnnotationAssignedFromPool stands on a Service beside the addresses that Clarion assigned and says
	// which pool each comes from: "lan=192.0.2.10,lan=2001:db8::10". Addresses that it does not name are
	// another's. It is believed only beside the condition AddressAssigned. See FormatAssigned, OurAddresses.
	AnnotationAssignedFromPool = AnnotationPrefix + "assigned-from-pool"

	// FinalizerAddressesInUse keeps a deleted IPAddressPool until no Service holds one of its addresses.
	FinalizerAddressesInUse = AnnotationPrefix + "addresses-in-use"
)

// Annotations that an operator writes on an IPAddressPool.
const (
	// AnnotationReleaseOrphans set to "true" on a pool makes Clarion take addresses that the pool no
	// longer covers from the Services that hold them, and give those Services new ones.
	AnnotationReleaseOrphans = AnnotationPrefix + "release-orphans"
)

// DefaultLoadBalancerClass is the spec.loadBalancerClass that Clarion serves unless told otherwise.
const DefaultLoadBalancerClass = Group + "/clarion"

// LabelDrain on a Node, with any value, moves the addresses that it announces to other nodes, if there are any,
// without losing a connection attempt.
const LabelDrain = AnnotationPrefix + "drain"

// Taints of Nodes that are about to go: their addresses are moved to others before.
const (
	// TaintToBeDeleted is the cluster autoscaler's, on a Node that it is about to delete.
	TaintToBeDeleted = "ToBeDeletedByClusterAutoscaler"
	// TaintOutOfService is set by an operator on a Node that is shut down and stays so.
	TaintOutOfService = "node.kubernetes.io/out-of-service"
)

// LabelExcludeNode on a Node, with any value, keeps Clarion from announcing anything there. It is
// Kubernetes' own label.
const LabelExcludeNode = "node.kubernetes.io/exclude-from-external-load-balancers"
