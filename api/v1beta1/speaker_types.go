package v1beta1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Speaker is what one node's speaker does and sees. There is one per node, named like it; its speaker
// creates and writes it, and it goes with the Node. Nobody configures anything here.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=spk
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
// +kubebuilder:printcolumn:name="L2 Addresses",type=integer,JSONPath=`.status.layer2.addressesOwned`
// +kubebuilder:printcolumn:name="BGP Up",type=integer,JSONPath=`.status.bgp.sessionsUp`
// +kubebuilder:printcolumn:name="BGP Wanted",type=integer,JSONPath=`.status.bgp.sessionsWanted`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Version",type=string,priority=1,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Speaker struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// status is what the speaker does and sees.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for the node's clarion-speaker", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status SpeakerStatus `json:"status,omitempty"`
}

// SpeakerStatus is what a speaker does and sees. It is at most 64 KiB and written at most once a
// second.
type SpeakerStatus struct {
	// version of the speaker.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version,omitempty"`

	// layer2 is what the speaker does on its links.
	// +optional
	Layer2 *SpeakerLayer2 `json:"layer2,omitempty"`

	// bgp is what the speaker does toward routers.
	// +optional
	BGP *SpeakerBGP `json:"bgp,omitempty"`

	// network is what the speaker sees of the networks that the node is on. No pool gives out what they
	// need for themselves: network and broadcast addresses, and gateways.
	// +optional
	Network *SpeakerNetwork `json:"network,omitempty"`

	// membership is what the speaker sees of the others.
	// +optional
	Membership *SpeakerMembership `json:"membership,omitempty"`

	// conditions of the speaker.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SpeakerLayer2 is what a speaker does on its links.
type SpeakerLayer2 struct {
	// addressesOwned is how many addresses the node answers for.
	// +required
	AddressesOwned int32 `json:"addressesOwned"`
}

// SpeakerNetwork is what a speaker sees of the networks that its node is on.
type SpeakerNetwork struct {
	// onLink are the networks that are directly attached to the node's interfaces, at most 64 of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	OnLink []string `json:"onLink,omitempty"`

	// gateways are the next hops of the node's default routes, at most 16 of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=64
	Gateways []string `json:"gateways,omitempty"`
}

// SpeakerBGP is what a speaker does toward routers.
type SpeakerBGP struct {
	// sessionsUp is how many of the wanted sessions are established.
	// +required
	SessionsUp int32 `json:"sessionsUp"`

	// sessionsWanted is how many sessions the node should have.
	// +required
	SessionsWanted int32 `json:"sessionsWanted"`

	// sessions of the node, by peer.
	// +optional
	// +listType=map
	// +listMapKey=peer
	// +kubebuilder:validation:MaxItems=64
	Sessions []BGPSession `json:"sessions,omitempty"`
}

// BGPSession is the state of one session.
type BGPSession struct {
	// peer is the name of the BGPPeer.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Peer string `json:"peer"`

	// address that the session is with.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address,omitempty"`

	// state of the session (RFC 4271 section 8.2.2).
	// +required
	State BGPState `json:"state"`

	// since is when the session came to this state.
	// +required
	Since metav1.Time `json:"since"`

	// lastError is why the session last went down or did not come up.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastError string `json:"lastError,omitempty"`

	// routesSent is how many routes the router has been sent.
	// +required
	RoutesSent int32 `json:"routesSent"`
}

// Words that the lastError of a session begins with that is up, or could be, if it were not for what is beside it
// (docs/reference/bgp-reasons.md).
const (
	SessionNotWatched = "NotWatched"
	SessionNoPassword = "NoPassword"
)

// WithoutBFD tells why there is no BFD beside a session, though there is to be.
func (s *BGPSession) WithoutBFD() (why string, is bool) {
	for _, word := range []string{string(ReasonBFDNotUp), SessionNotWatched} {
		if why, is = strings.CutPrefix(s.LastError, word+": "); is {
			return why, true
		}
	}
	return "", false
}

// WithoutSecret tells why a session that is up would have no password if it were made anew.
func (s *BGPSession) WithoutSecret() (why string, is bool) {
	if s.State != BGPEstablished {
		return "", false
	}
	return strings.CutPrefix(s.LastError, SessionNoPassword+": ")
}

// BGPState is a state of RFC 4271's finite state machine.
// +kubebuilder:validation:Enum=Idle;Connect;Active;OpenSent;OpenConfirm;Established
type BGPState string

// States of a BGP session (RFC 4271 section 8.2.2).
const (
	BGPIdle        BGPState = "Idle"
	BGPConnect     BGPState = "Connect"
	BGPActive      BGPState = "Active"
	BGPOpenSent    BGPState = "OpenSent"
	BGPOpenConfirm BGPState = "OpenConfirm"
	BGPEstablished BGPState = "Established"
)

// SpeakerMembership is what a speaker sees of the others.
type SpeakerMembership struct {
	// alive is how many speakers, itself included, the speaker hears.
	// +required
	Alive int32 `json:"alive"`

	// expected is how many there should be.
	// +required
	Expected int32 `json:"expected"`

	// missing are nodes whose speakers have not been heard for long, at most 64 of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	Missing []string `json:"missing,omitempty"`
}

// SpeakerList is a list of Speakers.
// +kubebuilder:object:root=true
type SpeakerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Speaker `json:"items"`
}
