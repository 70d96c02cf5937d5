package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// tellSelectsNothing says of an object whether a selector of its selects nothing of what there is: a label that was mistyped, or that nobody has
// yet. selection is nil where the selectors can't be read, which is told elsewhere; byLabel is whether pools are selected by their labels.
func tellSelectsNothing(c conditions, selection *clarion.Selection, byLabel bool, pools []clarion.IPAddressPool, nodes []corev1.Node) {
	var nothing []string
	if selection != nil {
		if byLabel && !slices.ContainsFunc(pools, func(p clarion.IPAddressPool) bool { return selection.Pool(p.Name, p.Labels) }) {
			nothing = append(nothing, fmt.Sprintf("of %d IPAddressPools ipAddressPoolSelectors select none", len(pools)))
		}
		if len(nodes) > 0 && !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return selection.Node(n.Labels) }) {
			nothing = append(nothing, fmt.Sprintf("of %d Nodes nodeSelectors select none", len(nodes)))
		}
	}
	c.setIf(len(nothing) > 0, clarion.ConditionSelectsNothing, clarion.ReasonNothingMatches,
		"has no effect: "+strings.Join(nothing, "; ")+". Correct the selector, or label what it is to select")
}

// selectedAlike reports whether two versions of a Node are the same to selectors.
func selectedAlike(before, after any) bool {
	b, ok1 := before.(metav1.Object)
	a, ok2 := after.(metav1.Object)
	return ok1 && ok2 && maps.Equal(b.GetLabels(), a.GetLabels())
}
