package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IPAddressPool is a set of addresses that Services of type LoadBalancer may get.
// +genclient
// +genclient:nonNamespaced
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=ipap
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Auto Assign",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Usage",type=string,JSONPath=`.status.usage`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IPAddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +required
	Spec IPAddressPoolSpec `json:"spec"`

	// status is what the controller found.
	// +optional
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolSpec is what the operator wants of a pool.
type IPAddressPoolSpec struct {
	// addresses that the pool has.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Addresses []AddressRange `json:"addresses"`

	// excludeAddresses are never given out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	ExcludeAddresses []AddressRange `json:"excludeAddresses,omitempty"`

	// avoidBuggyIPs keeps IPv4 addresses that end in .0 or .255 from being given out.
	// +optional
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// autoAssign says whether Services that ask for no pool and no address may get one from this pool.
	// +optional
	// +kubebuilder:default=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// serviceAllocation says which Services the pool is for.
	// +optional
	ServiceAllocation *ServiceAllocation `json:"serviceAllocation,omitempty"`

	// sharing says how far a sharing key reaches.
	// +optional
	// +kubebuilder:default=Namespace
	Sharing SharingScope `json:"sharing,omitempty"`

	// strategy says which free address is given out.
	// +optional
	// +kubebuilder:default=Lowest
	Strategy AssignStrategy `json:"strategy,omitempty"`

	// reuseDelay is how long a released address rests before another Service may get it.
	// +optional
	ReuseDelay *metav1.Duration `json:"reuseDelay,omitempty"`

	// quota limits who may hold how much of the pool.
	// +optional
	Quota *PoolQuota `json:"quota,omitempty"`
}

// AddressRange is a CIDR, a range "first-last" or a single address.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
type AddressRange string

// ServiceAllocation says which Services a pool is for.
type ServiceAllocation struct {
	// priority orders the pools that select a Service: the lower number first, 0 (or none) last.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Priority int32 `json:"priority,omitempty"`

	// namespaces that the pool is for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Namespaces []string `json:"namespaces,omitempty"`

	// namespaceSelectors select namespaces that the pool is for by their labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	NamespaceSelectors []LabelSelector `json:"namespaceSelectors,omitempty"`

	// serviceSelectors select the Services that the pool is for by their labels.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`

	// fallback says whether a Service that this pool selects may be served by a pool that does not.
	// +optional
	// +kubebuilder:default=Allowed
	Fallback AllocationFallback `json:"fallback,omitempty"`
}

// AllocationFallback says whether selected Services may be served elsewhere.
// +kubebuilder:validation:Enum=Allowed;Denied
type AllocationFallback string

// Values of serviceAllocation.fallback.
const (
	FallbackAllowed AllocationFallback = "Allowed"
	FallbackDenied  AllocationFallback = "Denied"
)

// SharingScope says how far a sharing key reaches.
// +kubebuilder:validation:Enum=Namespace;Cluster
type SharingScope string

// Values of sharing.
const (
	SharingNamespace SharingScope = "Namespace"
	SharingCluster   SharingScope = "Cluster"
)

// AssignStrategy says which of the free addresses is given out.
// +kubebuilder:validation:Enum=Lowest;Random
type AssignStrategy string

// Values of strategy.
const (
	StrategyLowest AssignStrategy = "Lowest"
	StrategyRandom AssignStrategy = "Random"
)

// PoolQuota limits who may hold how much of a pool.
type PoolQuota struct {
	// perNamespace is how many addresses of this pool the Services of one namespace may hold.
	// +optional
	// +kubebuilder:validation:Minimum=1
	PerNamespace *int32 `json:"perNamespace,omitempty"`
}

// IPAddressPoolStatus is what the controller found.
type IPAddressPoolStatus struct {
	// usage is assigned/capacity per family, for people: "12/256, 3/2^64".
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Usage string `json:"usage,omitempty"`

	// ipv4 counts the pool's IPv4 addresses; absent when it has none.
	// +optional
	IPv4 *FamilyUsage `json:"ipv4,omitempty"`

	// ipv6 counts the pool's IPv6 addresses; absent when it has none.
	// +optional
	IPv6 *FamilyUsage `json:"ipv6,omitempty"`

	// resting are released addresses that wait for reuseDelay to pass.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=1024
	Resting []RestingAddress `json:"resting,omitempty"`

	// conditions of the pool.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// FamilyUsage counts a pool's addresses of one family. Capacity and available are decimal strings, for
// a /64 has more than an integer can hold.
type FamilyUsage struct {
	// capacity is how many addresses the pool may give out.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Capacity string `json:"capacity"`

	// available is how many of them are free.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Available string `json:"available"`

	// assigned is how many of them Services hold; a shared address counts once.
	// +required
	Assigned int64 `json:"assigned"`
}

// RestingAddress is a released address that waits before another Service may get it.
type RestingAddress struct {
	// address that rests.
	// +required
	// +kubebuilder:validation:MaxLength=45
	Address string `json:"address"`

	// until is when any Service may have it.
	// +required
	Until metav1.Time `json:"until"`

	// namespace of the Service that held it and may have it back at once.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`

	// service that held it and may have it back at once.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Service string `json:"service"`
}

// IPAddressPoolList is a list of pools.
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
