package v1beta1

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FormatAssignedPools makes the value of the annotation assigned-from-pool: the pool of each address, in
// their order, and one name where all are the same.
func FormatAssignedPools(pools []string) string {
	if len(pools) > 0 && len(slices.Compact(slices.Clone(pools))) == 1 {
		return pools[0]
	}
	return strings.Join(pools, ",")
}

// AssignedPools reads the annotation assigned-from-pool: the pool of each of a Service's addresses, in
// their order. It reports false where the mark is not ours to believe: without our condition beside it,
// or where it does not fit the number of addresses.
func AssignedPools(annotations map[string]string, conditions []metav1.Condition, addresses int) ([]string, bool) {
	value := annotations[AnnotationAssignedFromPool]
	if value == "" || addresses <= 0 || meta.FindStatusCondition(conditions, string(ConditionAddressAssigned)) == nil {
		return nil, false
	}
	pools := strings.Split(value, ",")
	if slices.Contains(pools, "") {
		return nil, false
	}
	if len(pools) == 1 {
		return slices.Repeat(pools, addresses), true
	}
	return pools, len(pools) == addresses
}
