package v1beta1

// ConditionType is the type of a condition that Clarion writes.
type ConditionType string

// Reason is the reason of a condition, an event, a metric or an explanation. Every reason that Clarion
// gives is one of the constants of this package, under the same spelling everywhere.
type Reason string

// This file is the source of docs/reference/conditions.md: each block is a table, each constant a row, with
// columns of their own for what stands in parentheses and behind "To do:".

// Conditions of Services
//
// They stand in the Service's status.conditions, so that
// kubectl wait --for=condition=clarion.dev/Announced works. The message says, to whoever owns the Service,
// what is wrong and what to do, without naming anybody else's Services.
const (
	// ConditionAddressAssigned (True is good): the Service has every address that it is due. Written by
	// the controller. False or Unknown does not mean that the Service has no address: it keeps what it
	// has while what it asks for can't be had.
	ConditionAddressAssigned ConditionType = "clarion.dev/AddressAssigned"

	// ConditionAnnounced (True is good): every address of the Service is answered on some segment or
	// advertised to some peer. It changes with truth or reason, never with counts or with the node that
	// announces. Written by a speaker that announces the Service, and by the controller while no live
	// speaker can be that writer.
	ConditionAnnounced ConditionType = "clarion.dev/Announced"
)

// Reasons of AddressAssigned
//
// They are the reasons of the Service's events, too.
const (
	// ReasonAssigned (True): the addresses stand in status.loadBalancer.ingress.
	ReasonAssigned Reason = "Assigned"

	// ReasonSharedAgainstRules (True): the Service has an address together with another one that it may not
	// share it with. Both had it when Clarion came, and no port of theirs clashes, so both keep it.
	//
	// To do: give both the same clarion.dev/allow-shared-ip, or have one of them ask for another address.
	ReasonSharedAgainstRules Reason = "SharedAgainstRules"

	// ReasonPending (Unknown): the Service, or a change of what it is to have, has been seen and is not
	// decided or not written yet. Also on Ready.
	//
	// To do: wait; if it lasts, see whether clarion-controller runs and leads (kubectl -n clarion-system
	// get lease,pod).
	ReasonPending Reason = "Pending"

	// ReasonNoPool (False): pools exist, but none may serve this Service; the message says of each pool
	// why not.
	//
	// To do: change what the message names of a pool (addresses that can't be read, serviceAllocation,
	// autoAssign), or ask for a pool by the annotation clarion.dev/address-pool.
	ReasonNoPool Reason = "NoPool"

	// ReasonPoolNotFound (False): the Service asks for a pool that does not exist. Also on UnknownName.
	//
	// To do: create the IPAddressPool, or correct the name.
	ReasonPoolNotFound Reason = "PoolNotFound"

	// ReasonPoolExhausted (False): the pools that may serve the Service have no free address; it gets the
	// next one that is released.
	//
	// To do: add addresses to a pool, or delete Services that are not needed.
	ReasonPoolExhausted Reason = "PoolExhausted"

	// ReasonQuotaReached (False): the Services of this namespace hold as many addresses of the pool as its
	// quota allows one namespace.
	//
	// To do: delete a Service of the namespace, or have the pool's quota.perNamespace raised.
	ReasonQuotaReached Reason = "QuotaReached"

	// ReasonPoolNotReady (False): the pool that the Service asks for can't be used; the pool's own Ready
	// condition says why.
	//
	// To do: mend the pool as its Ready condition says (kubectl describe ipap NAME).
	ReasonPoolNotReady Reason = "PoolNotReady"

	// ReasonPoolDeleting (False): the pool that the Service asks for is being deleted and gives out
	// nothing new. Also on the pool's Ready: Services still hold addresses of it.
	//
	// To do: ask for another pool. On the pool: delete or move the Services that hold its addresses, or
	// set the annotation clarion.dev/release-orphans: "true" on it.
	ReasonPoolDeleting Reason = "PoolDeleting"

	// ReasonAddressNotInPool (False): the requested address is in no pool, or not in the requested one.
	//
	// To do: ask for an address of a pool, or add the address to one.
	ReasonAddressNotInPool Reason = "AddressNotInPool"

	// ReasonAddressInUse (False): another Service holds the requested address and does not share it with
	// this one.
	//
	// To do: ask for another address, or let both Services share it (annotation
	// clarion.dev/allow-shared-ip).
	ReasonAddressInUse Reason = "AddressInUse"

	// ReasonAddressResting (False): another Service gave the requested address up, and its pool's reuseDelay
	// has not passed yet.
	//
	// To do: wait until the time that the message names, or ask for another address.
	ReasonAddressResting Reason = "AddressResting"

	// ReasonAddressExcluded (False): the requested address lies in a pool but is never given out
	// (excludeAddresses, avoidBuggyIPs, addresses of nodes, multicast and the like).
	//
	// To do: ask for another address, or take it out of excludeAddresses.
	ReasonAddressExcluded Reason = "AddressExcluded"

	// ReasonFamilyMismatch (False): the requested addresses, or those that the pools have, are not of the
	// Service's IP families.
	//
	// To do: ask for addresses of the Service's ipFamilies, change spec.ipFamilyPolicy, or add a pool of
	// that family.
	ReasonFamilyMismatch Reason = "FamilyMismatch"

	// ReasonInvalidRequest (False): an annotation or spec.loadBalancerIP can't be read.
	//
	// To do: write the value as the message says.
	ReasonInvalidRequest Reason = "InvalidRequest"

	// ReasonConflictingRequests (False): annotations under several prefixes, or an annotation and
	// spec.loadBalancerIP, ask for different things. Nothing moves until they agree.
	//
	// To do: make them agree, or remove all but one.
	ReasonConflictingRequests Reason = "ConflictingRequests"

	// ReasonNoClusterIP (False): the Service has no cluster IP (it is headless, or has not been given one
	// yet), so nothing would carry its traffic.
	//
	// To do: give the Service a cluster IP: a headless Service can't be a load balancer.
	ReasonNoClusterIP Reason = "NoClusterIP"

	// ReasonHeldByAnother (False): the Service's status bears an address that Clarion did not assign and
	// no pool covers. It is left alone and not announced.
	//
	// To do: nothing, if another provider serves the Service; else clear the address from its status, or
	// add it to a pool.
	ReasonHeldByAnother Reason = "HeldByAnother"

	// ReasonAnotherWriter (False): something else keeps changing the addresses that Clarion writes to this
	// Service's status, so Clarion has stopped writing them.
	//
	// To do: find the other writer (kubectl get service NAME -o yaml --show-managed-fields) and stop it. Made
	// anew with a spec.loadBalancerClass, the Service is served by one provider alone.
	ReasonAnotherWriter Reason = "AnotherWriter"
)

// Reasons of Announced
const (
	// ReasonAnnounced (True): every address is answered or advertised.
	ReasonAnnounced Reason = "Announced"

	// ReasonNoAdvertisement (False): no L2Advertisement and no BGPAdvertisement covers the address.
	//
	// To do: create an L2Advertisement or a BGPAdvertisement that covers the pool and the Service, or correct the one that is to.
	ReasonNoAdvertisement Reason = "NoAdvertisement"

	// ReasonNoEligibleNode (False): an advertisement covers the address, but no node may announce it; the
	// message names their reasons, which are those below.
	//
	// To do: change what the message names.
	ReasonNoEligibleNode Reason = "NoEligibleNode"

	// ReasonNoEndpoint (False): the Service has no endpoint that could serve traffic. Also a node's
	// reason.
	//
	// To do: make the Service's selector match Pods that are ready.
	ReasonNoEndpoint Reason = "NoEndpoint"

	// ReasonNoInterface (False): no node that may announce the address has an interface on which it makes
	// sense: one with an address of its network, or one that the L2Advertisement names. Also a node's
	// reason.
	//
	// To do: choose a pool of a network that the nodes are on, or name interfaces that they have in the
	// L2Advertisement.
	ReasonNoInterface Reason = "NoInterface"

	// ReasonAddressConflict (False, or True where conflictDetection is Report): a host that is no node of the cluster has the
	// address; the message names its MAC. It is announced once that host is gone. Also of events.
	//
	// To do: find the host by its MAC and give it another address, or take the address out of the pool.
	ReasonAddressConflict Reason = "AddressConflict"

	// ReasonKubeProxyAnswersARP (True): the address is answered, but another node's kernel answers for it, too.
	//
	// To do: set strictARP: true in kube-proxy's IPVS configuration.
	ReasonKubeProxyAnswersARP Reason = "KubeProxyAnswersARP"

	// ReasonNoSession (False): the address is to be advertised by BGP, but no node that may do so has a session with a
	// router it goes to.
	//
	// To do: see why the sessions are down (kubectl describe bgppeer, kubectl get speakers -o yaml).
	ReasonNoSession Reason = "NoSession"

	// ReasonNoLiveSpeaker (Unknown): no speaker is alive to announce the address, or to say so.
	//
	// To do: see why the Pods of the DaemonSet clarion-speaker do not run.
	ReasonNoLiveSpeaker Reason = "NoLiveSpeaker"

	// ReasonUninstalled (False; Unknown on AddressAssigned): Clarion has been uninstalled. The addresses stay
	// in the status, and nobody announces them or keeps them from being given to others.
	//
	// To do: install Clarion again, which takes them up where they are, or clear them from the status.
	ReasonUninstalled Reason = "Uninstalled"
)

// Reasons of nodes
//
// Why one node may, or may not, announce a Service. NoEndpoint and NoInterface are among them.
const (
	// ReasonEligible (may): nothing speaks against the node.
	ReasonEligible Reason = "Eligible"

	// ReasonNodeNotReady (as a last resort): the Node's condition Ready is not True.
	//
	// To do: see to the node's kubelet (kubectl describe node NAME).
	ReasonNodeNotReady Reason = "NodeNotReady"

	// ReasonNodeExcluded (may not): the Node bears the label
	// node.kubernetes.io/exclude-from-external-load-balancers.
	//
	// To do: remove the label from nodes that are to announce.
	ReasonNodeExcluded Reason = "NodeExcluded"

	// ReasonNodeNetworkUnavailable (may not): the Node's condition NetworkUnavailable is True.
	//
	// To do: see the Pods of the network plug-in on the node.
	ReasonNodeNetworkUnavailable Reason = "NodeNetworkUnavailable"

	// ReasonNotSelected (may not): the nodeSelectors of no advertisement that covers the address select
	// the node.
	//
	// To do: correct the nodeSelectors of the advertisement, or label the node.
	ReasonNotSelected Reason = "NotSelected"

	// ReasonNoSpeaker (may not): no speaker is alive on the node.
	//
	// To do: see why no Pod of the DaemonSet clarion-speaker runs there (kubectl clarion doctor).
	ReasonNoSpeaker Reason = "NoSpeaker"

	// ReasonNoPeer (may not): a BGPAdvertisement covers the address and selects the node, but no BGPPeer that it
	// advertises to selects the node and carries the address' family.
	//
	// To do: see the nodeSelectors and families of the BGPPeers, and the peers of the BGPAdvertisement.
	ReasonNoPeer Reason = "NoPeer"

	// ReasonNoLocalEndpoint (may not): externalTrafficPolicy is Local, and no endpoint on the node can
	// serve.
	//
	// To do: have a Pod of the Service run on a node that may announce, or set externalTrafficPolicy: Cluster.
	ReasonNoLocalEndpoint Reason = "NoLocalEndpoint"

	// ReasonLinkDown (may not): the interface that would announce the address has no carrier.
	//
	// To do: see to the cable or the switch's port; or name other interfaces in the L2Advertisement.
	ReasonLinkDown Reason = "LinkDown"

	// ReasonLinkFailed (may not): the kernel refuses the sockets that answering on the interface needs.
	//
	// To do: see the log of the node's speaker.
	ReasonLinkFailed Reason = "LinkFailed"

	// ReasonNodeCordoned (as a last resort): the Node is cordoned. Nodes that are not come first; where all candidates are,
	// that is ignored, and so with each reason below.
	//
	// To do: uncordon the node when it is to announce again.
	ReasonNodeCordoned Reason = "NodeCordoned"

	// ReasonProxyUnhealthy (as a last resort): kube-proxy on the node answered its health check once and now says that it is
	// not healthy.
	//
	// To do: see the log of kube-proxy on the node.
	ReasonProxyUnhealthy Reason = "ProxyUnhealthy"

	// ReasonNodeDraining (as a last resort): the Node bears the label clarion.dev/drain.
	//
	// To do: remove the label when the node is to announce again.
	ReasonNodeDraining Reason = "NodeDraining"

	// ReasonNodeBeingRemoved (as a last resort): the Node bears the taint ToBeDeletedByClusterAutoscaler.
	ReasonNodeBeingRemoved Reason = "NodeBeingRemoved"

	// ReasonNodeOutOfService (as a last resort): the Node bears the taint node.kubernetes.io/out-of-service.
	//
	// To do: remove the taint when the node is back.
	ReasonNodeOutOfService Reason = "NodeOutOfService"

	// ReasonViewStale (as a last resort): the speaker on the node has not reached the API server for a minute, and others do.
	//
	// To do: see what is between the node and the API server.
	ReasonViewStale Reason = "ViewStale"

	// ReasonEndpointTerminating (as a last resort): externalTrafficPolicy is Local, and the last endpoint on the node is
	// terminating, though still serving.
	ReasonEndpointTerminating Reason = "EndpointTerminating"
)

// Conditions of Clarion's objects
//
// Ready is on every object, from its creation on. Every other condition tells of something abnormal and is
// absent while there is nothing to tell. All have observedGeneration.
const (
	// ConditionReady (True is good): the object, as of observedGeneration, is accepted and in force. On a
	// Speaker: the speaker works.
	ConditionReady ConditionType = "Ready"

	// ConditionOverlapping (True is bad): some addresses of the pool are an older pool's, too. The older
	// one keeps them; this one is served without them.
	//
	// To do: take the common addresses out of one of the pools.
	ConditionOverlapping ConditionType = "Overlapping"

	// ConditionOrphans (True is bad): Services hold addresses that the pool, since an edit, does not cover
	// any more. They keep them; the pool's annotation clarion.dev/release-orphans: "true" moves them.
	ConditionOrphans ConditionType = "Orphans"

	// ConditionAddressesSkipped (True is bad): some addresses that the pool lists are never given out,
	// such as loopback or multicast addresses, addresses of Nodes, or the network and broadcast addresses of a
	// network that nodes are on.
	//
	// To do: take them out of the pool, or into excludeAddresses, if they are many.
	ConditionAddressesSkipped ConditionType = "AddressesSkipped"

	// ConditionNearlyFull (True is bad): of the pool's IPv4 or IPv6 addresses less than a tenth is available.
	//
	// To do: add addresses to the pool.
	ConditionNearlyFull ConditionType = "NearlyFull"

	// ConditionUnknownName (True is bad): the object names another object that does not exist. What it
	// says besides is in force.
	//
	// To do: correct the name, or create what it names.
	ConditionUnknownName ConditionType = "UnknownName"

	// ConditionSelectsNothing (True is bad): a selector of the object selects no Node or no IPAddressPool that there is, so that
	// the object has no effect.
	//
	// To do: correct the selector, or label what it is to select.
	ConditionSelectsNothing ConditionType = "SelectsNothing"

	// ConditionSessionsDown (True is bad): nodes that should have a session with the peer have none that is
	// established; the message has each one's reason (see docs/reference/bgp-reasons.md).
	//
	// To do: do what the reason asks for; a session comes up by itself when nothing stands in its way any more.
	ConditionSessionsDown ConditionType = "SessionsDown"

	// ConditionBFDDown (True is bad): sessions with the peer are established, and the BFD sessions that bfdProfile asks for beside them
	// are not up: a router that is lost is noticed when the hold time is over.
	//
	// To do: have the router run BFD for these neighbors, and let UDP 3784 (4784 over several hops) pass; or leave out bfdProfile.
	ConditionBFDDown ConditionType = "BFDDown"

	// ConditionKeepsLostNodes (True is bad): graceful restart without BFD. The router takes a node that is lost for one
	// that restarts, and goes on sending it traffic until restartTime has passed.
	//
	// To do: set bfdProfile, or a short restartTime.
	ConditionKeepsLostNodes ConditionType = "KeepsLostNodes"

	// ConditionOverruled (True is bad): a value of the object contradicts an older object's, where both
	// mean the same route or the same name. The older one holds; what this one says besides is in force.
	//
	// To do: make the values agree, or keep apart what the objects are about.
	ConditionOverruled ConditionType = "Overruled"

	// ConditionAggregateRefused (True is bad): aggregates of the BGPAdvertisement would draw traffic for
	// addresses that are not its pool's. The addresses are advertised one by one in their place.
	//
	// To do: choose a longer aggregationLength, or a pool that has the whole prefix.
	ConditionAggregateRefused ConditionType = "AggregateRefused"
)

// Reasons of conditions of Clarion's objects
const (
	// ReasonAccepted (True, on Ready): the object is valid and in force.
	ReasonAccepted Reason = "Accepted"

	// ReasonNotInForce (False, on Ready): the object is valid, but this version of Clarion does nothing with
	// it, or with the field that the message names.
	//
	// To do: see the limits of this version (docs/limits.md).
	ReasonNotInForce Reason = "NotInForce"

	// ReasonInvalid (False, on Ready): the object contradicts itself in a way that the API server can't
	// see; the message names the value and what to write instead. What was live stays live.
	//
	// To do: correct the value as the message says.
	ReasonInvalid Reason = "Invalid"

	// ReasonRunning (True, on a Speaker's Ready): the speaker has its view of the cluster and of the other
	// speakers, and announces what is its to announce.
	ReasonRunning Reason = "Running"

	// ReasonStarting (False, on a Speaker's Ready): the speaker is still gathering its view.
	//
	// To do: wait; if it lasts, see the log of the speaker's Pod, which says what it waits for.
	ReasonStarting Reason = "Starting"

	// ReasonNodeLost (Unknown, on a Speaker's Ready): the speaker has not been heard of for a while.
	// Written by the controller.
	//
	// To do: see to the node; its addresses are announced by others.
	ReasonNodeLost Reason = "NodeLost"

	// ReasonNameNotFound (True, on UnknownName): what is missing is a BGPPeer, a BFDProfile, a name that a
	// Community gives, or the Secret of a password that is in force.
	ReasonNameNotFound Reason = "NameNotFound"

	// ReasonNothingMatches (True, on SelectsNothing): nothing has the labels.
	ReasonNothingMatches Reason = "NothingMatches"

	// ReasonNotEstablished (True, on SessionsDown): some sessions are not established.
	ReasonNotEstablished Reason = "NotEstablished"

	// ReasonBFDNotUp (True, on BFDDown): the message has each node's reason.
	ReasonBFDNotUp Reason = "BFDNotUp"

	// ReasonNoBFD (True, on KeepsLostNodes): enableGracefulRestart is set and bfdProfile is not.
	ReasonNoBFD Reason = "NoBFD"

	// ReasonNoPeers (False, on Ready): the BGPAdvertisement is valid, but there is no BGPPeer that it goes to.
	//
	// To do: create a BGPPeer, or correct peers.
	ReasonNoPeers Reason = "NoPeers"

	// ReasonOlderObjectHolds (True, on Overruled): an older object says otherwise; the message names it.
	ReasonOlderObjectHolds Reason = "OlderObjectHolds"

	// ReasonBeyondPool (True, on AggregateRefused): the prefix has addresses that the pool has not.
	ReasonBeyondPool Reason = "BeyondPool"

	// ReasonOlderPoolHolds (True, on Overlapping): an older pool lists some of the addresses.
	ReasonOlderPoolHolds Reason = "OlderPoolHolds"

	// ReasonHeldOutsidePool (True, on Orphans): Services hold addresses that the pool does not cover.
	ReasonHeldOutsidePool Reason = "HeldOutsidePool"

	// ReasonFewAddressesLeft (True, on NearlyFull): Services hold most of the addresses, or they rest.
	ReasonFewAddressesLeft Reason = "FewAddressesLeft"

	// ReasonNeverGivenOut (True, on AddressesSkipped): no Service can have such addresses.
	ReasonNeverGivenOut Reason = "NeverGivenOut"
)

// Reasons of events
//
// Besides those above: an event bears the reason of the condition that changed. These change none.
const (
	// ReasonReleased (Normal): a Service has given up an address.
	ReasonReleased Reason = "Released"

	// ReasonMoved (Normal): an address is announced from another node than before.
	ReasonMoved Reason = "Moved"

	// ReasonSessionEstablished (Normal): a node's BGP session with a router is established.
	ReasonSessionEstablished Reason = "SessionEstablished"

	// ReasonSessionDown (Warning): a node's BGP session with a router ended, or does not come up; the message says why.
	ReasonSessionDown Reason = "SessionDown"
)
