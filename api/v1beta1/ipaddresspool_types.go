package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IPAddressPool is a set of addresses that Services of type LoadBalancer may get. An address is
// announced only where an L2Advertisement or a BGPAdvertisement covers its pool.
//
// An edit never moves an address that a Service holds, and a deleted pool stays, giving out nothing new,
// until no Service holds one of its addresses.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=ipap
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
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
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for clarion-controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolSpec is what the operator wants of a pool.
type IPAddressPoolSpec struct {
	// addresses that the pool has: CIDRs ("192.0.2.0/24", "2001:db8::/64"), ranges
	// ("192.0.2.10-192.0.2.20") and single addresses ("192.0.2.7"), IPv4 and IPv6 as you like. Blanks
	// around an address don't matter. Entries must not overlap; that, and a range whose end lies before
	// its start, is said in the condition Ready, and the pool is not used until it is mended.
	//
	// All addresses of a CIDR may be given out, the first and the last included (see avoidBuggyIPs);
	// loopback, multicast, link-local and unspecified addresses never are, nor are addresses of Nodes and the
	// network and broadcast addresses of networks that nodes are on. The condition AddressesSkipped lists them.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Addresses []AddressRange `json:"addresses"`

	// excludeAddresses are never given out, though they lie in addresses. Written in the same ways.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	ExcludeAddresses []AddressRange `json:"excludeAddresses,omitempty"`

	// avoidBuggyIPs keeps IPv4 addresses that end in .0 or .255 from being given out, whatever the
	// prefix: some old hosts take them for network or broadcast addresses. Default false.
	// +optional
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// autoAssign says whether Services that ask for no pool and no address may get one from this pool.
	// With false it serves only Services that ask for the pool or for one of its addresses.
	// +optional
	// +kubebuilder:default=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// serviceAllocation says which Services the pool is for. A pool that has it serves those Services
	// and no others, whatever they ask for, and is tried for them before the pools that have none.
	// +optional
	ServiceAllocation *ServiceAllocation `json:"serviceAllocation,omitempty"`

	// sharing says how far a sharing key (annotation clarion.dev/allow-shared-ip) reaches: Namespace
	// means that Services share an address only with Services of their own namespace; Cluster, with
	// those of any namespace that give the same key. Services whose externalTrafficPolicy is Local share only
	// within their namespace and with the same selector, in both cases.
	// +optional
	// +kubebuilder:default=Namespace
	Sharing SharingScope `json:"sharing,omitempty"`

	// strategy says which of the free addresses is given out: the Lowest, or one at Random.
	// +optional
	// +kubebuilder:default=Lowest
	Strategy AssignStrategy `json:"strategy,omitempty"`

	// reuseDelay is how long a released address rests before another Service may get it; the Service
	// that held it, by namespace and name, may have it back at once, and gets it back if it asks for no other.
	// At most 1024 addresses of a pool rest: when more are released, those that have rested longest may be had
	// again early. From 0s to 168h, such as "90s" or "10m". Default 0s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,9})?(ms|[hms])){1,4}$') && duration(self) <= duration('168h')",message="write a duration from 0s to 168h, such as 90s, 10m or 1h30m"
	ReuseDelay *metav1.Duration `json:"reuseDelay,omitempty"`

	// quota limits who may hold how much of the pool. Default: no limit.
	// +optional
	Quota *PoolQuota `json:"quota,omitempty"`
}

// AddressRange is a CIDR ("192.0.2.0/24"), a range ("192.0.2.10-192.0.2.20") or a single address
// ("192.0.2.7"). ParseAddressRange reads it.
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.contains('-') ? isIP(self.substring(0, self.indexOf('-')).trim()) && isIP(self.substring(self.indexOf('-') + 1).trim()) : isCIDR(self.trim()) || isIP(self.trim())",message="write a CIDR such as 192.0.2.0/24, a range such as 192.0.2.10-192.0.2.20, or one address such as 192.0.2.10; one entry per item, without port or zone, IPv4 not mapped into IPv6"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.trim()) || cidr(self.trim()).masked() in [cidr(self.trim())]",message="this CIDR has bits set behind its prefix: for the whole network write its first address, such as 192.0.2.0/24; for the one address leave the prefix out, such as 192.0.2.10"
// +kubebuilder:validation:XValidation:rule="!self.contains('-') || self.substring(0, self.indexOf('-')).contains(':') == self.substring(self.indexOf('-') + 1).contains(':')",message="a range goes from IPv4 to IPv4 or from IPv6 to IPv6: write one entry for each family"
// +kubebuilder:validation:XValidation:rule="[(self.contains('-') ? self.substring(0, self.indexOf('-')) : self.contains('/') ? self.substring(0, self.indexOf('/')) : self).trim()].all(first, !isIP(first) || ip(first).isGlobalUnicast())",message="unspecified, loopback, link-local and multicast addresses can't be given to a Service: write addresses that clients can reach"
type AddressRange string

// ServiceAllocation says which Services a pool is for: those of the namespaces (by name or by
// selector; either is enough), and among them those that serviceSelectors select. What is left out
// does not restrict, so that priority alone means every Service.
type ServiceAllocation struct {
	// priority orders the pools that are for a Service: the lower number is tried first; 0 (the default)
	// means after all that have a number. Pools of equal priority are tried by name.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Priority int32 `json:"priority,omitempty"`

	// namespaces that the pool is for, by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	Namespaces []NamespaceName `json:"namespaces,omitempty"`

	// namespaceSelectors select namespaces that the pool is for by their labels; one that selects is
	// enough.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	NamespaceSelectors []LabelSelector `json:"namespaceSelectors,omitempty"`

	// serviceSelectors select the Services that the pool is for by their labels; one that selects is
	// enough.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`

	// fallback says whether a Service that this pool is for may get an address from a pool without
	// serviceAllocation when this one has none left: Allowed or Denied.
	// +optional
	// +kubebuilder:default=Allowed
	Fallback AllocationFallback `json:"fallback,omitempty"`
}

// NamespaceName is the name of a namespace.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="not a namespace's name: write one name such as 'team-a'; to take namespaces by their labels use namespaceSelectors, which know no wildcards either"
type NamespaceName string

// AllocationFallback says whether Services that a pool is for may be served elsewhere.
// +kubebuilder:validation:Enum=Allowed;Denied
type AllocationFallback string

// Values of serviceAllocation.fallback.
const (
	// FallbackAllowed lets a Service have an address of a pool that is for everybody.
	FallbackAllowed AllocationFallback = "Allowed"
	// FallbackDenied makes it wait for a pool that is for it.
	FallbackDenied AllocationFallback = "Denied"
)

// SharingScope says how far a sharing key reaches.
// +kubebuilder:validation:Enum=Namespace;Cluster
type SharingScope string

// Values of sharing.
const (
	// SharingNamespace keeps a sharing key within its namespace.
	SharingNamespace SharingScope = "Namespace"
	// SharingCluster makes a sharing key mean the same in every namespace.
	SharingCluster SharingScope = "Cluster"
)

// AssignStrategy says which of the free addresses is given out.
// +kubebuilder:validation:Enum=Lowest;Random
type AssignStrategy string

// Values of strategy.
const (
	// StrategyLowest gives out the numerically lowest free address.
	StrategyLowest AssignStrategy = "Lowest"
	// StrategyRandom gives out any free address.
	StrategyRandom AssignStrategy = "Random"
)

// PoolQuota limits who may hold how much of a pool.
type PoolQuota struct {
	// perNamespace is how many addresses of this pool the Services of one namespace may hold. Default:
	// no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	PerNamespace *int32 `json:"perNamespace,omitempty"`
}

// IPAddressPoolStatus is what the controller found.
type IPAddressPoolStatus struct {
	// usage is assigned/capacity of each family, for people: "12/256, 3/2^64".
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

	// conditions of the pool: Ready, and what is abnormal.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// FamilyUsage counts a pool's addresses of one family. Capacity and available are decimal strings, for
// a /64 has more than an integer of 64 bits can count.
type FamilyUsage struct {
	// capacity is how many addresses the pool may give out: addresses less what is excluded.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Capacity string `json:"capacity"`

	// available is how many of them a Service could get now.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Available string `json:"available"`

	// assigned is how many of them Services hold; an address that is shared counts once.
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
