package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPAdvertisement advertises the addresses of the pools it selects as BGP routes.
//
// Where several advertisements meet on one route, what they select and their communities unite; where
// they differ in a single value (localPref, med, asPathPrepend), the older one holds and the younger
// says so in a condition.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=bgpadv
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.spec.peers`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPAdvertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants; left out, it means every pool, Service, node and peer.
	// +optional
	// +kubebuilder:default={}
	Spec BGPAdvertisementSpec `json:"spec,omitempty"`

	// status is what the controller found.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for clarion-controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status BGPAdvertisementStatus `json:"status,omitempty"`
}

// BGPAdvertisementSpec is what the operator wants of a BGPAdvertisement.
// +kubebuilder:validation:XValidation:rule="!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || !has(self.aggregationLength) || self.aggregationLength == 32",fieldPath=".aggregationLength",message="an aggregate carries every Service in it, selected or not: with serviceSelectors leave aggregationLength at 32, or take the selectors out"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || !has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128",fieldPath=".aggregationLengthV6",message="an aggregate carries every Service in it, selected or not: with serviceSelectors leave aggregationLengthV6 at 128, or take the selectors out"
type BGPAdvertisementSpec struct {
	// ipAddressPools are names of pools to advertise, beside those that ipAddressPoolSelectors select.
	// With neither, every pool is advertised.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	IPAddressPools []ObjectName `json:"ipAddressPools,omitempty"`

	// ipAddressPoolSelectors select pools to advertise by their labels; one that selects is enough.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	IPAddressPoolSelectors []LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// serviceSelectors select the Services to advertise by their labels; one that selects is enough.
	// Default: every Service. Not together with aggregates.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`

	// nodeSelectors select the nodes that advertise, and so become next hops, by their labels; one that
	// selects is enough. Default: every node.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// peers are names of the BGPPeers to advertise to. Default: every peer.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Peers []ObjectName `json:"peers,omitempty"`

	// aggregationLength is the prefix length of the IPv4 routes: 32 for a route per address, less for
	// aggregates, which are advertised while one of their addresses is. An aggregate must lie within the
	// pool. 1 to 32.
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	AggregationLength *int32 `json:"aggregationLength,omitempty"`

	// aggregationLengthV6 is the prefix length of the IPv6 routes, as aggregationLength. 1 to 128.
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`

	// localPref is the LOCAL_PREF of the routes toward iBGP peers (RFC 4271 section 5.1.5): the highest
	// is preferred. eBGP peers are sent none. Default: not set; routers then use their own, mostly 100.
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:XValidation:rule="self >= 1",message="write a number from 1 to 4294967295; for \"not set\", which MetalLB writes as 0, leave localPref out"
	LocalPref *uint32 `json:"localPref,omitempty"`

	// med is the MULTI_EXIT_DISC of the routes (RFC 4271 section 5.1.4): of several nodes of one ASN the
	// lowest is preferred. 0 to 4294967295. Default: not set.
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	MED *uint32 `json:"med,omitempty"`

	// asPathPrepend is how many more times the own ASN is put in front of the AS path toward eBGP peers:
	// a longer path is less preferred. 0 to 16. Default 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16
	ASPathPrepend int32 `json:"asPathPrepend,omitempty"`

	// communities of the routes, each one of: a standard community "64512:100" (RFC 1997), a large one
	// "large:64512:1:2" (RFC 8092), a well-known name (no-export, no-advertise, no-export-subconfed,
	// no-peer, graceful-shutdown, accept-own, llgr-stale, no-llgr, blackhole), or a name that a Community
	// gives.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Communities []CommunityRef `json:"communities,omitempty"`
}

// CommunityRef is a community, or the name of one. ParseCommunity reads it.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.contains(':') || self.matches('^[A-Za-z]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",message="not a community: write one such as 64512:100 or large:64512:1:2, a well-known name such as no-export, or a name that a Community gives"
// +kubebuilder:validation:XValidation:rule="!self.contains(':') || self.startsWith('large:') || (self.matches('^(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,4})$') && self.split(':').all(n, int(n) <= 65535))",message="write a standard community as two numbers from 0 to 65535, such as 64512:100, and a longer one as large:64512:1:2 (RFC 8092); extended communities are not known"
// +kubebuilder:validation:XValidation:rule="!self.startsWith('large:') || (self.matches('^large:(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})$') && self.substring(6).split(':').all(n, int(n) <= 4294967295))",message="write a large community as three numbers from 0 to 4294967295, such as large:64512:1:2 (RFC 8092)"
type CommunityRef string

// BGPAdvertisementStatus is what the controller found.
type BGPAdvertisementStatus struct {
	// conditions of the advertisement: Ready, and what is abnormal.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPAdvertisementList is a list of advertisements.
// +kubebuilder:object:root=true
type BGPAdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPAdvertisement `json:"items"`
}
