package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// L2Advertisement makes nodes answer ARP and NDP for the addresses of the pools it selects.
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=l2adv
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type L2Advertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +optional
	Spec L2AdvertisementSpec `json:"spec,omitempty"`

	// status is what the controller found.
	// +optional
	Status L2AdvertisementStatus `json:"status,omitempty"`
}

// L2AdvertisementSpec is what the operator wants of an L2Advertisement.
type L2AdvertisementSpec struct {
	// ipAddressPools are names of pools to announce.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	IPAddressPools []ObjectName `json:"ipAddressPools,omitempty"`

	// ipAddressPoolSelectors select pools to announce by their labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	IPAddressPoolSelectors []LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// serviceSelectors select the Services to announce by their labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`

	// nodeSelectors select the nodes that may announce by their labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// preferredNodeSelectors rank the nodes that may announce.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`

	// interfaces to answer on: names and globs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Interfaces []InterfaceGlob `json:"interfaces,omitempty"`

	// failback says when an address returns to a node that is preferred.
	// +optional
	Failback *Failback `json:"failback,omitempty"`

	// conflictDetection says what is done about a foreign host that has the address already.
	// +optional
	// +kubebuilder:default=Enforce
	ConflictDetection ConflictDetection `json:"conflictDetection,omitempty"`
}

// ObjectName is the name of a cluster-scoped object.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
type ObjectName string

// InterfaceGlob is the name of a network interface, or a pattern of names.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
type InterfaceGlob string

// PreferredNodeSelector gives weight to the nodes it selects.
type PreferredNodeSelector struct {
	// weight is added to the score of each node that preference selects.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`

	// preference selects nodes by their labels.
	// +required
	Preference LabelSelector `json:"preference"`
}

// Failback says when an address returns to a node that is preferred.
type Failback struct {
	// policy says when.
	// +optional
	// +kubebuilder:default=Delayed
	Policy FailbackPolicy `json:"policy,omitempty"`

	// after is how long a node must have been well before it takes addresses back.
	// +optional
	After *metav1.Duration `json:"after,omitempty"`
}

// FailbackPolicy says when an address returns to a node that is preferred.
// +kubebuilder:validation:Enum=Delayed;Immediate;Never
type FailbackPolicy string

// Values of failback.policy.
const (
	FailbackDelayed   FailbackPolicy = "Delayed"
	FailbackImmediate FailbackPolicy = "Immediate"
	FailbackNever     FailbackPolicy = "Never"
)

// ConflictDetection says what is done about a foreign host that has the address already.
// +kubebuilder:validation:Enum=Enforce;Report;Off
type ConflictDetection string

// Values of conflictDetection.
const (
	ConflictEnforce ConflictDetection = "Enforce"
	ConflictReport  ConflictDetection = "Report"
	ConflictOff     ConflictDetection = "Off"
)

// L2AdvertisementStatus is what the controller found.
type L2AdvertisementStatus struct {
	// conditions of the advertisement.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// L2AdvertisementList is a list of advertisements.
// +kubebuilder:object:root=true
type L2AdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []L2Advertisement `json:"items"`
}
