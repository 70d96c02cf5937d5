package v1beta1

// ConditionType is the type of a condition that Clarion writes.
type ConditionType string

// Reason is the reason of a condition, an event, a metric or an explanation. Every reason Clarion gives
// is one of the constants of this package, under the same spelling everywhere.
type Reason string

// Conditions of Services.
const (
	// ConditionAddressAssigned is True when the Service has every address that it is due. Written by the
	// controller.
	ConditionAddressAssigned ConditionType = "clarion.dev/AddressAssigned"

	// ConditionAnnounced is True when every address of the Service is answered on some segment or
	// advertised to some peer. It changes with truth or reason, never with counts or with the owner.
	// Written by the speaker that owns the Service's first address, and by the controller where no live
	// speaker can be that writer.
	ConditionAnnounced ConditionType = "clarion.dev/Announced"
)

// Reasons of AddressAssigned.
const (
	// ReasonAssigned (True): the addresses are in status.loadBalancer.ingress.
	ReasonAssigned Reason = "Assigned"

	// ReasonPending (Unknown): the Service, or a change of what it asks for, has been seen and is not
	// decided yet.
	ReasonPending Reason = "Pending"

	// ReasonNoPool (False): pools exist, but none may serve this Service.
	ReasonNoPool Reason = "NoPool"
	// ReasonPoolNotFound (False): the Service asks for a pool that does not exist.
	ReasonPoolNotFound Reason = "PoolNotFound"
	// ReasonPoolExhausted (False): the pools that may serve the Service have no free address.
	ReasonPoolExhausted Reason = "PoolExhausted"
	// ReasonQuotaReached (False): the Service's namespace holds as many addresses of the pool as the pool's
	// quota allows.
	ReasonQuotaReached Reason = "QuotaReached"
	// ReasonPoolNotReady (False): the pool that the Service asks for is not valid; its Ready condition
	// says why.
	ReasonPoolNotReady Reason = "PoolNotReady"
	// ReasonPoolDeleting (False): the pool that the Service asks for is being deleted and gives out
	// nothing new.
	ReasonPoolDeleting Reason = "PoolDeleting"
	// ReasonAddressNotInPool (False): the requested address is in no pool, or not in the requested one.
	ReasonAddressNotInPool Reason = "AddressNotInPool"
	// ReasonAddressInUse (False): another Service holds the requested address and does not share it.
	ReasonAddressInUse Reason = "AddressInUse"
	// ReasonAddressExcluded (False): the requested address is inside a pool but is never given out
	// (excludeAddresses, avoidBuggyIPs, a node's own address, …).
	ReasonAddressExcluded Reason = "AddressExcluded"
	// ReasonFamilyMismatch (False): the requested addresses, or those that the pools have, are not of
	// the Service's IP families.
	ReasonFamilyMismatch Reason = "FamilyMismatch"
	// ReasonInvalidRequest (False): an annotation or spec.loadBalancerIP can't be read.
	ReasonInvalidRequest Reason = "InvalidRequest"
	// ReasonConflictingRequests (False): annotations under several prefixes, or an annotation and
	// spec.loadBalancerIP, ask for different things. Nothing moves until they agree.
	ReasonConflictingRequests Reason = "ConflictingRequests"
	// ReasonNoClusterIP (False): the Service has no cluster IP (headless, or not given one yet), so
	// nothing would carry its traffic.
	ReasonNoClusterIP Reason = "NoClusterIP"
	// ReasonHeldByAnother (False): the Service's status bears an address that Clarion did not assign and
	// no pool covers. It is left alone and not announced.
	ReasonHeldByAnother Reason = "HeldByAnother"
	// ReasonAnotherWriter (False): something else keeps changing the addresses that Clarion writes to
	// this Service's status, so Clarion has stopped writing.
	ReasonAnotherWriter Reason = "AnotherWriter"
)

// Reasons of Announced.
const (
	// ReasonAnnounced (True): every address is answered or advertised.
	ReasonAnnounced Reason = "Announced"
	// ReasonNoAdvertisement (False): no L2Advertisement or BGPAdvertisement covers the address.
	ReasonNoAdvertisement Reason = "NoAdvertisement"
	// ReasonNoEligibleNode (False): advertisements cover the address, but every node is excluded; the
	// message counts why.
	ReasonNoEligibleNode Reason = "NoEligibleNode"
	// ReasonNoEndpoint (False): the Service has no endpoint that could serve traffic. Also a node's
	// reason.
	ReasonNoEndpoint Reason = "NoEndpoint"
	// ReasonNoInterface (False): no interface of any eligible node is on-link for the address or named
	// by the L2Advertisement. Also a node's reason.
	ReasonNoInterface Reason = "NoInterface"
	// ReasonNoLiveSpeaker (Unknown): no speaker is alive to announce the address or to say so.
	ReasonNoLiveSpeaker Reason = "NoLiveSpeaker"
)

// Reasons why one node may or may not announce a Service. ReasonNoEndpoint and ReasonNoInterface are
// among them.
const (
	// ReasonEligible: the node may announce the Service.
	ReasonEligible Reason = "Eligible"
	// ReasonNodeNotReady: the Node's condition Ready is not True.
	ReasonNodeNotReady Reason = "NodeNotReady"
	// ReasonNodeExcluded: the Node bears the label
	// node.kubernetes.io/exclude-from-external-load-balancers.
	ReasonNodeExcluded Reason = "NodeExcluded"
	// ReasonNodeNetworkUnavailable: the Node's condition NetworkUnavailable is True.
	ReasonNodeNetworkUnavailable Reason = "NodeNetworkUnavailable"
	// ReasonNotSelected: no advertisement's nodeSelectors select the node.
	ReasonNotSelected Reason = "NotSelected"
	// ReasonNoSpeaker: no speaker is alive on the node.
	ReasonNoSpeaker Reason = "NoSpeaker"
	// ReasonNoLocalEndpoint: externalTrafficPolicy is Local and no endpoint on the node can serve.
	ReasonNoLocalEndpoint Reason = "NoLocalEndpoint"
	// ReasonLinkDown: the interface that would announce the address has no carrier.
	ReasonLinkDown Reason = "LinkDown"
)

// Conditions of Clarion's own objects. Ready is on every kind; every other condition is
// abnormal-true: absent or False is good.
const (
	// ConditionReady is True when the object, as of observedGeneration, is accepted and in force.
	ConditionReady ConditionType = "Ready"

	// ConditionOverlap is True on an IPAddressPool when an older pool lists some of its addresses too: the
	// older one keeps them, this one is served without them.
	ConditionOverlap ConditionType = "Overlap"
	// ConditionAddressesSkipped is True on an IPAddressPool when some of its addresses are never given out
	// because they mean something else to every host (loopback, multicast, link-local, …).
	ConditionAddressesSkipped ConditionType = "AddressesSkipped"
	// ConditionOrphans is True on an IPAddressPool when Services hold addresses that came from it and that it
	// does not cover any more. They keep them.
	ConditionOrphans ConditionType = "Orphans"
	// ConditionDeletionBlocked is True on an IPAddressPool that is being deleted while Services hold its
	// addresses. It gives out nothing new and goes with the last of them.
	ConditionDeletionBlocked ConditionType = "DeletionBlocked"
	// ConditionUnresolvedReferences is True on an object that names objects which do not exist.
	ConditionUnresolvedReferences ConditionType = "UnresolvedReferences"
	// ConditionPartlyInForce is True on an object that is in force but for fields that this version does not
	// act upon; the message names them.
	ConditionPartlyInForce ConditionType = "PartlyInForce"
)

// Reasons of Ready.
const (
	// ReasonAccepted (True): the object is valid and in force.
	ReasonAccepted Reason = "Accepted"
	// ReasonInvalid (False): the object contradicts itself in a way the API server can't see; the
	// message names the value and what to write instead. What was live stays live.
	ReasonInvalid Reason = "Invalid"
	// ReasonNotInForce (False): the object is valid, but this version does not act upon objects of its kind.
	ReasonNotInForce Reason = "NotInForce"
	// ReasonNodeLost (Unknown, on a Speaker): the speaker has not been heard of for a while.
	ReasonNodeLost Reason = "NodeLost"
)

// Reasons of the abnormal-true conditions.
const (
	// ReasonOlderPool (Overlap): the message names the pools that keep addresses.
	ReasonOlderPool Reason = "OlderPool"
	// ReasonNeverAssigned (AddressesSkipped): the message lists the addresses and what they are.
	ReasonNeverAssigned Reason = "NeverAssigned"
	// ReasonAddressesInUse (Orphans, DeletionBlocked): Services hold addresses.
	ReasonAddressesInUse Reason = "AddressesInUse"
	// ReasonNotFound (UnresolvedReferences): the message names what does not exist. Also a reason of Ready
	// where nothing that the object names exists.
	ReasonNotFound Reason = "NotFound"
	// ReasonNotSupportedYet (PartlyInForce): the message names the fields.
	ReasonNotSupportedYet Reason = "NotSupportedYet"
)
