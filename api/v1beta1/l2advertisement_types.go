package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// L2Advertisement makes nodes answer ARP (IPv4) and NDP (IPv6) for the addresses of the pools it
// selects: one node at a time for each address and segment.
//
// Where several advertisements cover an address, what they select unites; where they differ in a single
// value (failback, conflictDetection), the older one holds and the younger says so in a condition.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=l2adv
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type L2Advertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants; left out, it means every pool, Service and node.
	// +optional
	// +kubebuilder:default={}
	Spec L2AdvertisementSpec `json:"spec,omitempty"`

	// status is what the controller found.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for clarion-controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status L2AdvertisementStatus `json:"status,omitempty"`
}

// L2AdvertisementSpec is what the operator wants of an L2Advertisement.
type L2AdvertisementSpec struct {
	// ipAddressPools are names of pools to announce, beside those that ipAddressPoolSelectors select.
	// With neither, every pool is announced.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	IPAddressPools []ObjectName `json:"ipAddressPools,omitempty"`

	// ipAddressPoolSelectors select pools to announce by their labels; one that selects is enough.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	IPAddressPoolSelectors []LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// serviceSelectors select the Services to announce by their labels; one that selects is enough.
	// Default: every Service.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`

	// nodeSelectors select the nodes that may announce by their labels; one that selects is enough.
	// Default: every node.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// preferredNodeSelectors rank the nodes that may announce: the weights of those that select a node
	// are added up, and the highest sum is preferred. Addresses are spread evenly among equals.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`

	// interfaces to answer on: names ("eth1") and patterns in which "*" stands for any characters and
	// "?" for one ("eth*", "bond?"). An address is answered on every interface named here, on-link or
	// not. Default: the interfaces that have an address of a prefix that contains the address.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Interfaces []InterfaceGlob `json:"interfaces,omitempty"`

	// failback says when an address returns to a node that is preferred to the one that has it.
	// Default: policy Delayed, after 5m.
	// +optional
	Failback *Failback `json:"failback,omitempty"`

	// conflictDetection says what is done when a host that is no node of the cluster has the address:
	// Enforce (the address is not announced while that host answers), Report (announced, and said in
	// conditions and events) or Off (not looked for). RFC 5227 for IPv4, RFC 4862 section 5.4 for IPv6.
	// +optional
	// +kubebuilder:default=Enforce
	ConflictDetection ConflictDetection `json:"conflictDetection,omitempty"`
}

// ObjectName is the name of a cluster-scoped object.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="not an object's name: write the metadata.name of one object, lower case letters, digits, '-' and '.'; to take several by their labels use selectors"
type ObjectName string

// InterfaceGlob is the name of a network interface, or a pattern of names in which "*" stands for any
// characters and "?" for one.
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.matches('^[-A-Za-z0-9_.,+=@#%~*?]+$')",message="not an interface's name or pattern: write a name such as 'eth1', or a pattern such as 'eth*' or 'bond?', in which '*' stands for any characters and '?' for one"
// +kubebuilder:validation:XValidation:rule="self.contains('*') || size(self) <= 15",message="no interface has a name of more than 15 characters: shorten it, or put '*' in place of the rest"
type InterfaceGlob string

// PreferredNodeSelector gives weight to the nodes it selects.
type PreferredNodeSelector struct {
	// weight is added to the score of each node that preference selects, 1 to 100.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`

	// preference selects nodes by their labels.
	// +required
	Preference LabelSelector `json:"preference"`
}

// Failback says when an address returns to a node that is preferred to the one that has it.
// +kubebuilder:validation:XValidation:rule="!has(self.after) || self.policy == 'Delayed'",fieldPath=".after",message="only policy Delayed waits: leave after out, or set policy to Delayed"
type Failback struct {
	// policy says when: Delayed (after the node has been well for a while), Immediate (at once) or Never
	// (only when the node that has it loses it).
	// +optional
	// +kubebuilder:default=Delayed
	Policy FailbackPolicy `json:"policy,omitempty"`

	// after is how long a node must have been well before it takes addresses back; goes with policy
	// Delayed. From 1s to 24h, such as "90s" or "10m". Default 5m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|[hms])){1,4}$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="write a duration from 1s to 24h, such as 90s, 10m or 1h30m; for no wait at all set policy to Immediate"
	After *metav1.Duration `json:"after,omitempty"`
}

// FailbackPolicy says when an address returns to a node that is preferred.
// +kubebuilder:validation:Enum=Delayed;Immediate;Never
type FailbackPolicy string

// Values of failback.policy.
const (
	// FailbackDelayed returns addresses, a few at a time, to a node that has been well for a while.
	FailbackDelayed FailbackPolicy = "Delayed"
	// FailbackImmediate returns them as soon as the node is well.
	FailbackImmediate FailbackPolicy = "Immediate"
	// FailbackNever leaves them where they are until that node loses them.
	FailbackNever FailbackPolicy = "Never"
)

// ConflictDetection says what is done when a host that is no node of the cluster has the address.
// +kubebuilder:validation:Enum=Enforce;Report;Off
type ConflictDetection string

// Values of conflictDetection.
const (
	// ConflictEnforce keeps an address that a foreign host has from being announced.
	ConflictEnforce ConflictDetection = "Enforce"
	// ConflictReport announces it nevertheless, and says so.
	ConflictReport ConflictDetection = "Report"
	// ConflictOff does not look.
	ConflictOff ConflictDetection = "Off"
)

// L2AdvertisementStatus is what the controller found.
type L2AdvertisementStatus struct {
	// conditions of the advertisement: Ready, and what is abnormal.
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
