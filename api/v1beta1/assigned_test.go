package v1beta1_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestAssignedPools(t *testing.T) {
	ours := []metav1.Condition{{Type: string(v1beta1.ConditionAddressAssigned), Status: metav1.ConditionFalse}}
	for _, row := range []struct {
		name       string
		value      string
		conditions []metav1.Condition
		addresses  int
		want       []string // nil: not believed
	}{
		{name: "one address", value: "lan", conditions: ours, addresses: 1, want: []string{"lan"}},
		{name: "two addresses of one pool", value: "lan", conditions: ours, addresses: 2, want: []string{"lan", "lan"}},
		{name: "two addresses of two pools", value: "v4,v6", conditions: ours, addresses: 2, want: []string{"v4", "v6"}},
		{name: "no mark", conditions: ours, addresses: 1},
		{name: "a mark without our condition is somebody else's", value: "lan", addresses: 1},
		{name: "a mark beside another's condition", value: "lan", conditions: []metav1.Condition{{Type: "Ready"}}, addresses: 1},
		{name: "a mark without an address", value: "lan", conditions: ours},
		{name: "two pools for one address", value: "v4,v6", conditions: ours, addresses: 1},
		{name: "two pools for three addresses", value: "v4,v6", conditions: ours, addresses: 3},
		{name: "a pool without a name", value: "v4,", conditions: ours, addresses: 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := v1beta1.AssignedPools(map[string]string{v1beta1.AnnotationAssignedFromPool: row.value}, row.conditions, row.addresses)
			if ok != (row.want != nil) || ok && !slices.Equal(got, row.want) {
				t.Errorf("got %v, %v; want %v", got, ok, row.want)
			}
			if row.want != nil {
				if text := v1beta1.FormatAssignedPools(row.want); text != row.value {
					t.Errorf("%v is written %q, want %q", row.want, text, row.value)
				}
			}
		})
	}
}

func FuzzAssignedPools(f *testing.F) {
	f.Add("lan", 2)
	f.Add("v4,v6", 2)
	f.Add(",", -1)
	f.Fuzz(func(t *testing.T, value string, addresses int) {
		ours := []metav1.Condition{{Type: string(v1beta1.ConditionAddressAssigned)}}
		addresses %= 100
		pools, ok := v1beta1.AssignedPools(map[string]string{v1beta1.AnnotationAssignedFromPool: value}, ours, addresses)
		if !ok {
			return
		}
		if len(pools) != addresses || slices.Contains(pools, "") {
			t.Errorf("%q became %q for %d addresses", value, pools, addresses)
		}
		again, ok := v1beta1.AssignedPools(map[string]string{v1beta1.AnnotationAssignedFromPool: v1beta1.FormatAssignedPools(pools)}, ours, addresses)
		if !ok || !slices.Equal(pools, again) {
			t.Errorf("%q became %q, which became %q", value, pools, again)
		}
	})
}
