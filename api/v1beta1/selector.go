package v1beta1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// LabelSelector selects objects by their labels: all of matchLabels and matchExpressions must hold, and
// an empty selector selects everything. It reads like Kubernetes' own label selector, with bounds, and
// what can't match anything is refused.
//
// In a list of selectors one that selects is enough; an empty list selects everything.
// +structType=atomic
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
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="no label can have this value: write letters, digits, '-', '_' and '.', a letter or digit first and last; use operator Exists in place of a wildcard"
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
// +kubebuilder:validation:XValidation:rule="!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",fieldPath=".values",message="operators In and NotIn need values to compare with; to ask only whether the label is there use Exists or DoesNotExist"
// +kubebuilder:validation:XValidation:rule="!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",fieldPath=".values",message="operators Exists and DoesNotExist compare with no values: leave values out, or use In or NotIn"
type LabelSelectorRequirement struct {
	// key is the label's key, such as "topology.kubernetes.io/zone".
	// +required
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",message="not a label's key: write a name such as 'rack', or a prefix and a name such as 'topology.kubernetes.io/zone'"
	Key string `json:"key"`

	// operator compares the label with the values: In, NotIn, Exists or DoesNotExist.
	// +required
	Operator LabelSelectorOperator `json:"operator"`

	// values to compare with: at least one for In and NotIn, none for Exists and DoesNotExist.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Values []LabelValue `json:"values,omitempty"`
}

// Selector compiles a LabelSelector. The errors are those that the API server can't see (a key of
// matchLabels that no label can have) or that an object stored before a rule existed may still have.
func (s *LabelSelector) Selector() (labels.Selector, error) {
	plain := metav1.LabelSelector{}
	if len(s.MatchLabels) > 0 {
		plain.MatchLabels = make(map[string]string, len(s.MatchLabels))
		for key, value := range s.MatchLabels {
			plain.MatchLabels[key] = string(value)
		}
	}
	for _, r := range s.MatchExpressions {
		values := make([]string, 0, len(r.Values))
		for _, value := range r.Values {
			values = append(values, string(value))
		}
		plain.MatchExpressions = append(plain.MatchExpressions, metav1.LabelSelectorRequirement{
			Key:      r.Key,
			Operator: metav1.LabelSelectorOperator(r.Operator),
			Values:   values,
		})
	}
	return metav1.LabelSelectorAsSelector(&plain)
}

// anyOf is a list of selectors of which one is enough; the empty list selects everything.
//
// +kubebuilder:object:generate=false
type anyOf []labels.Selector

func compileSelectors(field string, list []LabelSelector) (anyOf, error) {
	compiled := make(anyOf, 0, len(list))
	for i := range list {
		selector, err := list[i].Selector()
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		compiled = append(compiled, selector)
	}
	return compiled, nil
}

func (s anyOf) matches(set map[string]string) bool {
	return len(s) == 0 || s.matchesOne(set)
}

// matchesOne is matches where the empty list selects nothing.
func (s anyOf) matchesOne(set map[string]string) bool {
	for _, selector := range s {
		if selector.Matches(labels.Set(set)) {
			return true
		}
	}
	return false
}
