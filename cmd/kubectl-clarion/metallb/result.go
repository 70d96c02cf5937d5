package metallb

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A Verdict is what a Note means for who migrates.
type Verdict string

// The verdicts, the most pressing first.
const (
	// Unsupported: Clarion has nothing of the kind.
	Unsupported Verdict = "Unsupported"
	// Todo: something must be done by hand.
	Todo Verdict = "Todo"
	// Differs: it works, but not the same way.
	Differs Verdict = "Differs"
	// Ineffective: it had no effect in MetalLB, and will have one.
	Ineffective Verdict = "Ineffective"
	// Better: what MetalLB could not do.
	Better Verdict = "Better"
)

var pressing = []Verdict{Unsupported, Todo, Differs, Ineffective, Better}

// A Note is what there is to say of an object.
type Note struct {
	Verdict Verdict
	// Object is KIND/NAME of MetalLB's object.
	Object string
	// Field of it, where the note is about one.
	Field string
	Text  string
}

// String returns the note as one line.
func (n Note) String() string {
	if n.Field == "" {
		return fmt.Sprintf("%s: %s", n.Object, n.Text)
	}
	return fmt.Sprintf("%s, %s: %s", n.Object, n.Field, n.Text)
}

// Result is a configuration in Clarion's words.
type Result struct {
	// Objects are Clarion's, and the Secrets they need with the right to read them, in the order to apply them in.
	Objects []unstructured.Unstructured
	// Values are what to set of the Helm chart, as its values file.
	Values map[string]any
	// Flags are the same settings for programs that run without it.
	Flags []string
	Notes []Note
}

func (r *Result) note(verdict Verdict, object, field, format string, args ...any) {
	n := Note{Verdict: verdict, Object: object, Field: field, Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// set notes a setting of the chart under a path of keys, and the flag that it is.
func (r *Result) set(flag string, value any, path ...string) {
	if r.Values == nil {
		r.Values = map[string]any{}
	}
	_ = unstructured.SetNestedField(r.Values, value, path...) // paths here never cross a value
	if flag != "" && !slices.Contains(r.Flags, flag) {
		r.Flags = append(r.Flags, flag)
	}
}

// add adds an object of Clarion's with the labels and annotations that people gave to the one it is made from.
func (r *Result) add(kind string, from metav1.Object, spec map[string]any) {
	r.addNamed(kind, from.GetName(), from.GetLabels(), spec)
}

func (r *Result) addNamed(kind, name string, labels map[string]string, spec map[string]any) {
	object := unstructured.Unstructured{Object: map[string]any{"apiVersion": "clarion.dev/v1beta1", "kind": kind, "spec": spec}}
	object.SetName(name)
	own := map[string]string{}
	for k, v := range labels {
		if k != "app.kubernetes.io/managed-by" { // Helm's, which would take it for its own
			own[k] = v
		}
	}
	if len(own) > 0 {
		object.SetLabels(own)
	}
	r.Objects = append(r.Objects, object)
}

// order puts what others refer to first.
var order = []string{"Secret", "Role", "IPAddressPool", "Community", "BFDProfile", "BGPPeer", "L2Advertisement", "BGPAdvertisement"}

func (r *Result) sort() {
	slices.SortStableFunc(r.Objects, func(a, b unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.GetKind()), slices.Index(order, b.GetKind())), cmp.Compare(a.GetName(), b.GetName()))
	})
	slices.SortStableFunc(r.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(slices.Index(pressing, a.Verdict), slices.Index(pressing, b.Verdict)), cmp.Compare(a.Object, b.Object),
			cmp.Compare(a.Field, b.Field))
	})
}
