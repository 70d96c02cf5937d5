package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Community gives names to BGP communities, for use in BGPAdvertisements. A name that two Communities
// give means what the older one says; the younger says so in a condition.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=clarion,shortName=bgpcomm
// +kubebuilder:metadata:labels="app.kubernetes.io/component=crds"
// +kubebuilder:printcolumn:name="Names",type=string,JSONPath=`.spec.communities[*].name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Community struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the operator wants.
	// +required
	Spec CommunitySpec `json:"spec"`

	// status is what the controller found.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "Pending", message: "Waiting for clarion-controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status CommunityStatus `json:"status,omitempty"`
}

// CommunitySpec is a list of names and what they mean.
type CommunitySpec struct {
	// communities are the names and what they mean.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Communities []CommunityAlias `json:"communities"`
}

// CommunityAlias is a name for a community.
type CommunityAlias struct {
	// name to use in BGPAdvertisements: letters, digits, "-", "_" and ".", a letter first. The well-known
	// names can't be given another meaning.
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')",message="write a name of letters, digits, '-', '_' and '.', that starts with a letter and ends with a letter or digit, such as to-transit"
	// +kubebuilder:validation:XValidation:rule="!(self in ['no-export', 'no-advertise', 'no-export-subconfed', 'no-peer', 'graceful-shutdown', 'accept-own', 'llgr-stale', 'no-llgr', 'blackhole'])",message="this name is well known and needs no Community: use it in BGPAdvertisements as it is, or choose another name"
	Name string `json:"name"`

	// value of the community: "64512:100" (RFC 1997), or "large:64512:1:2" (RFC 8092).
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.startsWith('large:') || (self.matches('^(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,4})$') && self.split(':').all(n, int(n) <= 65535))",message="write two numbers from 0 to 65535, such as 64512:100 (RFC 1997), or a large community such as large:64512:1:2 (RFC 8092)"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('large:') || (self.matches('^large:(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})$') && self.substring(6).split(':').all(n, int(n) <= 4294967295))",message="write a large community as three numbers from 0 to 4294967295, such as large:64512:1:2 (RFC 8092)"
	Value string `json:"value"`
}

// CommunityStatus is what the controller found.
type CommunityStatus struct {
	// conditions of the names: Ready, and what is abnormal.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CommunityList is a list of Communities.
// +kubebuilder:object:root=true
type CommunityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Community `json:"items"`
}
