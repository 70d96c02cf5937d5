package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BFDProfile says how fast a dead router is noticed (RFC 5880). A BGPPeer names the profile that its
// sessions are watched with.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=bfdp
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
// +kubebuilder:printcolumn:name="Receive",type=integer,JSONPath=`.spec.receiveInterval`
// +kubebuilder:printcolumn:name="Transmit",type=integer,JSONPath=`.spec.transmitInterval`
// +kubebuilder:printcolumn:name="Multiplier",type=integer,JSONPath=`.spec.detectMultiplier`
// +kubebuilder:printcolumn:name="Passive",type=boolean,priority=1,JSONPath=`.spec.passiveMode`
// +kubebuilder:printcolumn:name="Echo",type=boolean,priority=1,JSONPath=`.spec.echoMode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BFDProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants; left out, it means the defaults.
	// +optional
	// +kubebuilder:default={}
	Spec BFDProfileSpec `json:"spec,omitempty"`

	// status is what the controller found.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for clarion-controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status BFDProfileStatus `json:"status,omitempty"`
}

// BFDProfileSpec is what the operator wants of a BFD session. A session is down when nothing has come
// for detectMultiplier times the interval that both sides agreed on (RFC 5880 section 6.8.4).
// +kubebuilder:validation:XValidation:rule="!has(self.echoInterval) || (has(self.echoMode) && self.echoMode)",fieldPath=".echoInterval",message="echoInterval needs the echo function: set echoMode to true, or leave echoInterval out"
type BFDProfileSpec struct {
	// receiveInterval is the shortest time between two of the router's packets that we can take, in
	// milliseconds, 10 to 60000 (RequiredMinRxInterval).
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	ReceiveInterval *int32 `json:"receiveInterval,omitempty"`

	// transmitInterval is the shortest time between two of our packets that we would like, in
	// milliseconds, 10 to 60000 (DesiredMinTxInterval).
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	TransmitInterval *int32 `json:"transmitInterval,omitempty"`

	// detectMultiplier is how many packets in a row may be missing before the session is down, 2 to 255
	// (DetectMult).
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	DetectMultiplier *int32 `json:"detectMultiplier,omitempty"`

	// echoMode sends packets that the router's forwarding plane returns (RFC 5880 section 6.4); IPv4
	// sessions with a neighbour on the link only. Default false.
	// +optional
	EchoMode bool `json:"echoMode,omitempty"`

	// echoInterval is the time between two echo packets, in milliseconds, 10 to 60000; goes with
	// echoMode. Default 50.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	EchoInterval *int32 `json:"echoInterval,omitempty"`

	// passiveMode waits for the router's first packet before sending any (RFC 5880 section 6.1, passive
	// role). Default false.
	// +optional
	PassiveMode bool `json:"passiveMode,omitempty"`

	// minimumTtl is the lowest TTL or hop limit that packets of multihop sessions may come with
	// (RFC 5883), 1 to 254; those of single-hop sessions must come with 255 (RFC 5881 section 5).
	// +optional
	// +kubebuilder:default=254
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	MinimumTTL *int32 `json:"minimumTtl,omitempty"`

	// authentication of packets (RFC 5880 section 6.7). Default: none.
	// +optional
	Authentication *BFDAuthentication `json:"authentication,omitempty"`
}

// BFDAuthentication says how packets are authenticated (RFC 5880 section 6.7). Both ends need the same
// type, and at least one key in common.
type BFDAuthentication struct {
	// type is KeyedSHA1 or MeticulousKeyedSHA1 (RFC 5880 section 6.7.4); the latter takes each packet once.
	// +required
	Type BFDAuthenticationType `json:"type"`

	// keys that packets may come with, each with an id of its own; the first signs ours. To change keys
	// without a gap, add the new one, have the router take both, put the new one first on both sides, and
	// take the old one away.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:XValidation:rule="self.all(k, self.exists_one(o, o.id == k.id))",message="two keys have the same id: set each to one of its own, from 0 to 255"
	Keys []BFDKey `json:"keys"`
}

// BFDAuthenticationType is a way to authenticate BFD packets.
// +kubebuilder:validation:Enum=KeyedSHA1;MeticulousKeyedSHA1
type BFDAuthenticationType string

// Ways to authenticate.
const (
	BFDKeyedSHA1           BFDAuthenticationType = "KeyedSHA1"
	BFDMeticulousKeyedSHA1 BFDAuthenticationType = "MeticulousKeyedSHA1"
)

// BFDKey is a key and the number that packets call it by.
type BFDKey struct {
	// id is the Auth Key ID, 0 to 255.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	ID int32 `json:"id"`

	// passwordSecret is the Secret with the key, of 1 to 20 bytes: of type kubernetes.io/basic-auth, in
	// Clarion's namespace, under the key password.
	// +required
	PasswordSecret SecretReference `json:"passwordSecret"`
}

// BFDProfileStatus is what the controller found.
type BFDProfileStatus struct {
	// conditions of the profile: Ready, and what is abnormal.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BFDProfileList is a list of profiles.
// +kubebuilder:object:root=true
type BFDProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BFDProfile `json:"items"`
}
