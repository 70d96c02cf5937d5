package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is a router that nodes speak BGP with.
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=bgpp
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="Interface",type=string,priority=1,JSONPath=`.spec.interface`
// +kubebuilder:printcolumn:name="ASN",type=integer,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="BFD",type=string,JSONPath=`.spec.bfdProfile`
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
	Status BGPPeerStatus `json:"status,omitempty"`
}

// BGPPeerSpec is what the operator wants of a peer.
type BGPPeerSpec struct {
	// myASN is the autonomous system number of the nodes.
	// +required
	MyASN ASN `json:"myASN"`

	// localASN is the ASN shown to this peer in place of myASN.
	// +optional
	LocalASN *ASN `json:"localASN,omitempty"`

	// peerASN is the router's ASN.
	// +optional
	PeerASN *ASN `json:"peerASN,omitempty"`

	// dynamicASN takes the router's ASN from its OPEN.
	// +optional
	DynamicASN DynamicASN `json:"dynamicASN,omitempty"`

	// peerAddress is the router's address.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	PeerAddress string `json:"peerAddress,omitempty"`

	// interface finds the router as the BGP speaker at the other end of this interface.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	Interface string `json:"interface,omitempty"`

	// peerPort is the router's TCP port.
	// +optional
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	PeerPort int32 `json:"peerPort,omitempty"`

	// sourceAddress is the address that sessions start from.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	SourceAddress string `json:"sourceAddress,omitempty"`

	// holdTime is after how much silence a session is given up.
	// +optional
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`

	// keepaliveTime is how often a KEEPALIVE is sent.
	// +optional
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`

	// connectTime is the time between attempts to connect.
	// +optional
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// routerID is the BGP identifier of the nodes toward this peer.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	RouterID string `json:"routerID,omitempty"`

	// nodeSelectors select the nodes that have a session with this peer.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// passwordSecret names the Secret with the TCP-MD5 password.
	// +optional
	PasswordSecret *SecretReference `json:"passwordSecret,omitempty"`

	// bfdProfile names the BFDProfile that the sessions are watched with.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	BFDProfile string `json:"bfdProfile,omitempty"`

	// enableGracefulRestart keeps the routes at the router while a speaker restarts.
	// +optional
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// restartTime is how long the router keeps the routes of a speaker that restarts.
	// +optional
	RestartTime *metav1.Duration `json:"restartTime,omitempty"`

	// gracefulShutdown says how a speaker leaves for good.
	// +optional
	GracefulShutdown *GracefulShutdown `json:"gracefulShutdown,omitempty"`

	// ebgpMultiHop allows an external peer that is not a neighbour on the link.
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// ttlSecurity accepts only packets that come from at most so many hops away.
	// +optional
	TTLSecurity *TTLSecurity `json:"ttlSecurity,omitempty"`

	// vrf is the VRF device that sessions are bound to.
	// +optional
	// +kubebuilder:validation:MaxLength=15
	VRF string `json:"vrf,omitempty"`

	// families whose routes are exchanged.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Families []AddressFamily `json:"families,omitempty"`

	RefusedBGPPeerFields `json:",inline"`
}

// RefusedBGPPeerFields are MetalLB's fields that Clarion does not take. They are in the schema so that
// the API server can refuse them with a message that names the replacement; no program reads them.
type RefusedBGPPeerFields struct {
	// password is refused.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Password *string `json:"password,omitempty"`

	// disableMP is refused.
	// +optional
	DisableMP *bool `json:"disableMP,omitempty"`

	// dualStackAddressFamily is refused.
	// +optional
	DualStackAddressFamily *bool `json:"dualStackAddressFamily,omitempty"`
}

// ASN is the number of an autonomous system (RFC 6793: 32 bits).
// +kubebuilder:validation:Format=int64
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=4294967295
type ASN uint32

// DynamicASN says which ASNs a router may show in its OPEN.
// +kubebuilder:validation:Enum=internal;external
type DynamicASN string

// Values of dynamicASN.
const (
	DynamicASNInternal DynamicASN = "internal"
	DynamicASNExternal DynamicASN = "external"
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
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// namespace is refused.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace *string `json:"namespace,omitempty"`
}

// GracefulShutdown says how a speaker leaves for good (RFC 8326).
type GracefulShutdown struct {
	// linger is how long routes stay, marked GRACEFUL_SHUTDOWN, before they are withdrawn.
	// +optional
	Linger *metav1.Duration `json:"linger,omitempty"`
}

// TTLSecurity is the generalized TTL security mechanism (RFC 5082).
type TTLSecurity struct {
	// maxHops is how many hops away the router may be; 1 is a neighbour on the link.
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

	// conditions of the peer.
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
