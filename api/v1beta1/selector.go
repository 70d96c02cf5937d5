package v1beta1

// LabelSelector selects objects by their labels: all of matchLabels and matchExpressions must hold, and
// an empty selector selects everything. It reads like Kubernetes' own label selector, with bounds.
type LabelSelector struct {
	// matchLabels are labels that must be there with exactly these values.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions are further requirements.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	MatchExpressions []LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// LabelSelectorOperator says how a label is compared with the values of a requirement.
// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
type LabelSelectorOperator string

// Operators of label selectors.
const (
	// SelectorIn holds where the label is there with one of the values.
	SelectorIn LabelSelectorOperator = "In"
	// SelectorNotIn holds where the label is not there, or has none of the values.
	SelectorNotIn LabelSelectorOperator = "NotIn"
	// SelectorExists holds where the label is there, whatever its value.
	SelectorExists LabelSelectorOperator = "Exists"
	// SelectorDoesNotExist holds where the label is not there.
	SelectorDoesNotExist LabelSelectorOperator = "DoesNotExist"
)

// LabelSelectorRequirement is one requirement on one label.
type LabelSelectorRequirement struct {
	// key is the label's key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`

	// operator compares the label with the values.
	// +required
	Operator LabelSelectorOperator `json:"operator"`

	// values to compare with: at least one for In and NotIn, none for Exists and DoesNotExist.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Values []LabelValue `json:"values,omitempty"`
}
