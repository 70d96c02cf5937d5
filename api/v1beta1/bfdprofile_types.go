package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BFDProfile says how fast a dead router is noticed (RFC 5880).
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=bfdp
// +kubebuilder:printcolumn:name="Receive",type=integer,JSONPath=`.spec.receiveInterval`
// +kubebuilder:printcolumn:name="Transmit",type=integer,JSONPath=`.spec.transmitInterval`
// +kubebuilder:printcolumn:name="Multiplier",type=integer,JSONPath=`.spec.detectMultiplier`
// +kubebuilder:printcolumn:name="Passive",type=boolean,priority=1,JSONPath=`.spec.passiveMode`
// +kubebuilder:printcolumn:name="Echo",type=boolean,priority=1,JSONPath=`.spec.echoMode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BFDProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +optional
	Spec BFDProfileSpec `json:"spec,omitempty"`

	// status is what the controller found.
	// +optional
	Status BFDProfileStatus `json:"status,omitempty"`
}

// BFDProfileSpec is what the operator wants of a BFD session.
type BFDProfileSpec struct {
	// receiveInterval is the shortest time between the router's packets that we can take, in ms.
	// +optional
	// +kubebuilder:default=300
	ReceiveInterval *int32 `json:"receiveInterval,omitempty"`

	// transmitInterval is the shortest time between our packets that we want, in ms.
	// +optional
	// +kubebuilder:default=300
	TransmitInterval *int32 `json:"transmitInterval,omitempty"`

	// detectMultiplier is how many packets may be lost before the session is down.
	// +optional
	// +kubebuilder:default=3
	DetectMultiplier *int32 `json:"detectMultiplier,omitempty"`

	// echoMode uses the echo function.
	// +optional
	EchoMode bool `json:"echoMode,omitempty"`

	// echoInterval is the time between echo packets, in ms.
	// +optional
	// +kubebuilder:default=50
	EchoInterval *int32 `json:"echoInterval,omitempty"`

	// passiveMode waits for the router to begin.
	// +optional
	PassiveMode bool `json:"passiveMode,omitempty"`

	// minimumTtl is the lowest TTL that packets of multihop sessions may come with.
	// +optional
	// +kubebuilder:default=254
	MinimumTTL *int32 `json:"minimumTtl,omitempty"`
}

// BFDProfileStatus is what the controller found.
type BFDProfileStatus struct {
	// conditions of the profile.
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
