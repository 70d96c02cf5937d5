package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is a router that nodes speak BGP with (RFC 4271). Nodes take no routes from it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=bgpp
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="Interface",type=string,priority=1,JSONPath=`.spec.interface`
// +kubebuilder:printcolumn:name="ASN",type=integer,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="BFD",type=string,priority=1,JSONPath=`.spec.bfdProfile`
// +kubebuilder:printcolumn:name="Up",type=integer,JSONPath=`.status.sessionsUp`
// +kubebuilder:printcolumn:name="Wanted",type=integer,JSONPath=`.status.sessionsWanted`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +required
	Spec BGPPeerSpec `json:"spec"`

	// status is what the controller found.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for clarion-controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status BGPPeerStatus `json:"status,omitempty"`
}

// BGPPeerSpec is what the operator wants of a peer.
// +kubebuilder:validation:XValidation:rule="has(self.peerASN) != has(self.dynamicASN)",fieldPath=".peerASN",message="write peerASN, or dynamicASN (internal or external) to take the router's ASN as it comes: one of the two"
// +kubebuilder:validation:XValidation:rule="has(self.peerAddress) != has(self.interface)",fieldPath=".peerAddress",message="write peerAddress, or interface for an unnumbered session with the router at its other end: one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || !has(self.interface)",fieldPath=".sourceAddress",message="an unnumbered session starts from the interface's link-local address: leave sourceAddress out, or write peerAddress in place of interface"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || !has(self.peerAddress) || !isIP(self.sourceAddress) || !isIP(self.peerAddress) || ip(self.sourceAddress).family() == ip(self.peerAddress).family()",fieldPath=".sourceAddress",message="sourceAddress must be of the family of peerAddress: a session has one family, whatever routes it carries (see families)"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceInterface) || !has(self.sourceAddress)",fieldPath=".sourceInterface",message="sessions start from sourceAddress, or from an address of sourceInterface: write one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceInterface) || !has(self.interface)",fieldPath=".sourceInterface",message="an unnumbered session starts from the interface's link-local address: leave sourceInterface out, or write peerAddress in place of interface"
// +kubebuilder:validation:XValidation:rule="!has(self.bfdMode) || has(self.bfdProfile)",fieldPath=".bfdMode",message="bfdMode says how BFD and BGP go together: set bfdProfile too, or leave bfdMode out"
// +kubebuilder:validation:XValidation:rule="!has(self.bfdMode) || self.bfdMode != 'Strict' || !has(self.interface)",fieldPath=".bfdMode",message="the router at the other end of an interface is found by BGP, which cannot wait for BFD then: leave bfdMode out, or write peerAddress in place of interface"
// +kubebuilder:validation:XValidation:rule="!has(self.bfdMode) || self.bfdMode != 'Strict' || !has(self.sourceInterface)",fieldPath=".bfdMode",message="which address of sourceInterface it is BGP finds, which cannot wait for BFD then: leave bfdMode out, or write sourceAddress in place of sourceInterface"
// +kubebuilder:validation:XValidation:rule="!has(self.localASN) || self.localASN != self.myASN",fieldPath=".localASN",message="localASN stands in for myASN: leave it out where they are equal"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !(has(self.dynamicASN) && self.dynamicASN == 'internal' || has(self.peerASN) && self.peerASN == (has(self.localASN) ? self.localASN : self.myASN))",fieldPath=".ebgpMultiHop",message="an iBGP session may always pass several hops: leave ebgpMultiHop out"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.ttlSecurity)",fieldPath=".ebgpMultiHop",message="ttlSecurity says how far away the router may be: leave ebgpMultiHop out and set ttlSecurity.maxHops (RFC 5082)"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.interface)",fieldPath=".ebgpMultiHop",message="the router at the other end of an interface is one hop away: leave ebgpMultiHop out, or write peerAddress in place of interface"
// +kubebuilder:validation:XValidation:rule="!has(self.ttlSecurity) || !has(self.interface) || !has(self.ttlSecurity.maxHops) || self.ttlSecurity.maxHops == 1",fieldPath=".ttlSecurity.maxHops",message="the router at the other end of an interface is one hop away: leave maxHops at 1, or write peerAddress in place of interface"
// +kubebuilder:validation:XValidation:rule="!has(self.keepaliveTime) || !has(self.holdTime) || !self.keepaliveTime.matches('^([0-9]{1,5}[hms]){1,3}$') || !self.holdTime.matches('^([0-9]{1,5}[hms]){1,3}$') || duration(self.keepaliveTime) <= duration(self.holdTime)",fieldPath=".keepaliveTime",message="keepaliveTime must not be longer than holdTime; a third of it is usual, and what you get when you leave keepaliveTime out"
// +kubebuilder:validation:XValidation:rule="!has(self.keepaliveTime) || !has(self.holdTime) || !self.keepaliveTime.matches('^([0-9]{1,5}[hms]){1,3}$') || !self.holdTime.matches('^([0-9]{1,5}[hms]){1,3}$') || duration(self.keepaliveTime) > duration('0s') || duration(self.holdTime) == duration('0s')",fieldPath=".keepaliveTime",message="with keepaliveTime 0s nothing renews the hold time: set holdTime to 0s too, or write a keepaliveTime from 1s to holdTime"
// +kubebuilder:validation:XValidation:rule="!has(self.restartTime) || (has(self.enableGracefulRestart) && self.enableGracefulRestart)",fieldPath=".restartTime",message="restartTime needs graceful restart: set enableGracefulRestart to true, or leave restartTime out"
// +kubebuilder:validation:XValidation:rule="!has(self.password)",fieldPath=".password",message="passwords don't stand in a BGPPeer: put it under the key 'password' in a Secret of type kubernetes.io/basic-auth in Clarion's namespace, and write that Secret's name as passwordSecret.name"
type BGPPeerSpec struct {
	// myASN is the autonomous system number of the nodes.
	// +required
	MyASN ASN `json:"myASN"`

	// localASN is the ASN that this peer sees in place of myASN: in the OPEN and, alone, in the AS path
	// (known elsewhere as local-as no-prepend replace-as). Default: myASN.
	// +optional
	LocalASN *ASN `json:"localASN,omitempty"`

	// peerASN is the router's ASN: equal to ours for iBGP, another for eBGP.
	// +optional
	PeerASN *ASN `json:"peerASN,omitempty"`

	// dynamicASN takes the router's ASN from its OPEN, in place of peerASN: internal accepts ours alone,
	// external any other.
	// +optional
	DynamicASN DynamicASN `json:"dynamicASN,omitempty"`

	// peerAddress is the router's address, IPv4 or IPv6.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self) && (ip(self).isGlobalUnicast() || ip(self).isLoopback() || ip(self).isLinkLocalUnicast())",message="write the address of one router, such as 192.0.2.1 or 2001:db8::1, without prefix length, port or zone; a host's name won't do"
	// +kubebuilder:validation:XValidation:rule="!isIP(self) || ip(self).family() == 4 || !ip(self).isLinkLocalUnicast()",message="a link-local address says nothing without its link: write interface in place of peerAddress"
	PeerAddress string `json:"peerAddress,omitempty"`

	// interface makes the session unnumbered: with the router at the other end of this interface, by
	// IPv6 link-local addresses, IPv4 routes with IPv6 next hops (RFC 8950). In place of peerAddress.
	// +optional
	Interface InterfaceName `json:"interface,omitempty"`

	// peerPort is the router's TCP port.
	// +optional
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	PeerPort int32 `json:"peerPort,omitempty"`

	// sourceAddress is the node's address that sessions start from; for one node, see nodeSelectors, and
	// sourceInterface for all of them. Default: the one that the node's routes choose.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self) && (ip(self).isGlobalUnicast() || ip(self).isLoopback() || ip(self).isLinkLocalUnicast())",message="write an address of the node, such as 192.0.2.10 or 2001:db8::10, without prefix length, port or zone"
	SourceAddress string `json:"sourceAddress,omitempty"`

	// sourceInterface is the interface of each node whose address, of the family of peerAddress, sessions
	// start from; a loopback or dummy one too. In place of sourceAddress.
	// +optional
	SourceInterface InterfaceName `json:"sourceInterface,omitempty"`

	// holdTime is after how much silence of the router a session is given up; the lower of both sides'
	// holds (RFC 4271 section 4.2). Whole seconds: 0s (never; no keepalives) or 3s to 65535s. Default
	// three times keepaliveTime where that is set, else 90s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}[hms]){1,3}$') && (duration(self) == duration('0s') || duration(self) >= duration('3s') && duration(self) <= duration('65535s'))",message="write whole seconds from 3s to 65535s, such as 90s, or 0s for no hold time at all (RFC 4271 section 4.2)"
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`

	// keepaliveTime is how often a KEEPALIVE is sent. Whole seconds, 0s to 21845s, at most holdTime; 0s
	// only where holdTime is 0s. Default a third of holdTime.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}[hms]){1,3}$') && duration(self) <= duration('21845s')",message="write whole seconds from 1s to 21845s, such as 30s, or 0s together with holdTime 0s"
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`

	// connectTime is the time between two attempts to connect. Whole seconds, 1s to 65535s. Default 5s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}[hms]){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('65535s')",message="write whole seconds from 1s to 65535s, such as 5s"
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// routerID is the BGP identifier of the node toward this peer, written like an IPv4 address; for one
	// node, see nodeSelectors. Default: one that each node makes of its addresses or name and keeps.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip(self).family() == 4 && !ip(self).isUnspecified()",message="write a router ID like an IPv4 address other than 0.0.0.0, such as 192.0.2.10 (RFC 6286)"
	RouterID string `json:"routerID,omitempty"`

	// nodeSelectors select the nodes that have a session with this peer by their labels; one that
	// selects is enough. Default: every node.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// passwordSecret names the Secret that has the TCP-MD5 password (RFC 2385): in Clarion's own
	// namespace, of type kubernetes.io/basic-auth, under the key "password". Default: no password.
	// +optional
	PasswordSecret *SecretReference `json:"passwordSecret,omitempty"`

	// bfdProfile names the BFDProfile that the sessions are watched with. Default: no BFD.
	// +optional
	BFDProfile ObjectName `json:"bfdProfile,omitempty"`

	// bfdMode says how BFD and BGP go together. With Watch BFD ends a session whose path fails, and one
	// may begin before BFD is up, or where the router has none. With Strict no session begins before BFD
	// is up. Default Watch.
	// +optional
	BFDMode BFDMode `json:"bfdMode,omitempty"`

	// enableGracefulRestart asks the router to keep the routes while a speaker restarts (RFC 4724).
	// Default false. Without BFD it keeps those of a lost node too, for restartTime.
	// +optional
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// restartTime is how long the router keeps the routes of a speaker that restarts. Whole seconds, 1s
	// to 4095s. Default 120s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}[hms]){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('4095s')",message="write whole seconds from 1s to 4095s, such as 120s (RFC 4724 section 3)"
	RestartTime *metav1.Duration `json:"restartTime,omitempty"`

	// gracefulShutdown says how a speaker leaves for good (RFC 8326).
	// +optional
	GracefulShutdown *GracefulShutdown `json:"gracefulShutdown,omitempty"`

	// ebgpMultiHop allows an eBGP peer that is not a neighbour on a link of the node. Default false.
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// ttlSecurity accepts only packets that come from near by (RFC 5082, GTSM); the router must have it
	// too. Default: off.
	// +optional
	TTLSecurity *TTLSecurity `json:"ttlSecurity,omitempty"`

	// vrf is the VRF device of the node that sessions are bound to. Default: none.
	// +optional
	VRF InterfaceName `json:"vrf,omitempty"`

	// families whose routes the session carries (RFC 4760), whatever its own family. Default: the family
	// of peerAddress; both where interface is set.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Families []AddressFamily `json:"families,omitempty"`

	RefusedBGPPeerFields `json:",inline"`
}

// RefusedBGPPeerFields are MetalLB's fields that Clarion does not take. They are in the schema so that
// the API server refuses them with a message that names the replacement; no program reads them. (The rule
// for password stands with the spec: a field's own rule has its value repeated in the message.)
type RefusedBGPPeerFields struct {
	// password is refused: see passwordSecret.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Password *string `json:"password,omitempty"`

	// disableMP is refused: see families.
	// +optional
	// +kubebuilder:validation:XValidation:rule="false",message="disableMP is not taken: write the families whose routes the session carries as families, such as [IPv4]"
	DisableMP *bool `json:"disableMP,omitempty"`

	// dualStackAddressFamily is refused: see families.
	// +optional
	// +kubebuilder:validation:XValidation:rule="false",message="dualStackAddressFamily is not taken: for true write families: [IPv4, IPv6]; for false leave it out"
	DualStackAddressFamily *bool `json:"dualStackAddressFamily,omitempty"`
}

// ASN is the number of an autonomous system, of 32 bits (RFC 6793).
// +kubebuilder:validation:Format=int64
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=4294967295
// +kubebuilder:validation:XValidation:rule="self != 23456",message="23456 only stands in for large numbers where a router knows none (AS_TRANS, RFC 6793): write the ASN itself"
type ASN uint32

// InterfaceName is the name of a network interface.
// +kubebuilder:validation:MaxLength=15
// +kubebuilder:validation:XValidation:rule="self.matches('^[-A-Za-z0-9_.,+=@#%~]+$') && self != '.' && self != '..'",message="not an interface's name: write one of at most 15 characters, such as eth1 or bond0.100"
type InterfaceName string

// DynamicASN says which ASNs a router may show in its OPEN.
// +kubebuilder:validation:Enum=internal;external
type DynamicASN string

// Values of dynamicASN.
const (
	// DynamicASNInternal accepts our own ASN alone.
	DynamicASNInternal DynamicASN = "internal"
	// DynamicASNExternal accepts any other.
	DynamicASNExternal DynamicASN = "external"
)

// BFDMode says how BFD and BGP go together.
// +kubebuilder:validation:Enum=Watch;Strict
type BFDMode string

// Values of bfdMode.
const (
	// BFDWatch has BFD end sessions.
	BFDWatch BFDMode = "Watch"
	// BFDStrict has sessions wait for BFD as well.
	BFDStrict BFDMode = "Strict"
)

// AddressFamily is an IP family.
// +kubebuilder:validation:Enum=IPv4;IPv6
type AddressFamily string

// Values of families.
const (
	IPv4 AddressFamily = "IPv4"
	IPv6 AddressFamily = "IPv6"
)

// SecretReference names a Secret in Clarion's own namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	Name ObjectName `json:"name"`

	// namespace is refused: Secrets are read in Clarion's own namespace only.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="false",message="Secrets are read in Clarion's own namespace only: copy the Secret there and leave namespace out"
	Namespace *string `json:"namespace,omitempty"`
}

// GracefulShutdown says how a speaker leaves for good (RFC 8326).
type GracefulShutdown struct {
	// linger is how long the routes stay, marked GRACEFUL_SHUTDOWN, before they are withdrawn, counted
	// from the last of them. From 0s to 40s, as the Pod's terminationGracePeriodSeconds (45) allows.
	// Default 2s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|[hms])){1,4}$') && duration(self) <= duration('40s')",message="write a duration from 0s to 40s, such as 2s or 1500ms: a speaker that leaves has 45s for everything"
	Linger *metav1.Duration `json:"linger,omitempty"`
}

// TTLSecurity accepts only packets that come from near by (RFC 5082).
type TTLSecurity struct {
	// maxHops is how many hops away the router may be, 1 to 254; 1 is a neighbour on a link of the node.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	MaxHops int32 `json:"maxHops,omitempty"`
}

// BGPPeerStatus is what the controller found.
type BGPPeerStatus struct {
	// sessionsUp is how many nodes have an established session with the peer.
	// +optional
	SessionsUp *int32 `json:"sessionsUp,omitempty"`

	// sessionsWanted is how many nodes should have one.
	// +optional
	SessionsWanted *int32 `json:"sessionsWanted,omitempty"`

	// conditions of the peer: Ready, and what is abnormal.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPPeerList is a list of peers.
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPPeer `json:"items"`
}
