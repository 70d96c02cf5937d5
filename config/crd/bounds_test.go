package crd_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Bounds are not written down a second time: they are read from the schema, and each is tried at the
// first value beyond it, in an object of testdata/full.yaml that has the field. Numbers are tried on the
// bound too.
func TestEveryBoundHolds(t *testing.T) {
	c := server(t)
	full := readObjects(t, "testdata/full.yaml")
	for _, o := range full {
		if refusals := apply(t, c, o); len(refusals) > 0 {
			t.Fatalf("%s %s of testdata/full.yaml is refused: %v", o.GetKind(), o.GetName(), refusals)
		}
	}
	try := func(t *testing.T, kind, field string, change func(old any) any) []refusal {
		t.Helper()
		for _, o := range full {
			changed := o.DeepCopy()
			if o.GetKind() == kind && replace(changed, field, change) {
				return apply(t, c, changed)
			}
		}
		t.Fatalf("no %s of testdata/full.yaml has %s", kind, field)
		return nil
	}
	refuses := func(t *testing.T, kind, field, says string, change func(old any) any) {
		t.Helper()
		refusals := try(t, kind, field, change)
		if !slices.ContainsFunc(refusals, func(r refusal) bool {
			return strings.HasPrefix(r.field, strings.TrimSuffix(field, "{}")) && strings.Contains(r.message, says)
		}) {
			t.Errorf("want a refusal that says %q, got %v", says, refusals)
		}
	}
	takes := func(t *testing.T, kind, field string, value any) {
		t.Helper()
		// Beside what the changed value has to do with other fields, nothing may be wrong with it.
		for _, r := range try(t, kind, field, func(any) any { return value }) {
			if strings.Contains(r.message, "should be") || strings.Contains(r.message, "Unsupported value") {
				t.Errorf("%v is refused: %v", value, r)
			}
		}
	}

	bounds := 0
	walkParts(t, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		kind, field, _ := strings.Cut(path, ".")
		if !strings.HasPrefix(field, "spec.") || refusedFields[path] {
			return
		}
		bound := func(name string, test func(t *testing.T)) {
			bounds++
			t.Run(path+"/"+name, test)
		}
		if schema.Maximum != nil {
			bound("maximum", func(t *testing.T) {
				takes(t, kind, field, int64(*schema.Maximum))
				refuses(t, kind, field, "less than or equal to", func(any) any { return int64(*schema.Maximum) + 1 })
			})
		}
		if schema.Minimum != nil {
			bound("minimum", func(t *testing.T) {
				takes(t, kind, field, int64(*schema.Minimum))
				refuses(t, kind, field, "greater than or equal to", func(any) any { return int64(*schema.Minimum) - 1 })
			})
		}
		if len(schema.Enum) > 0 {
			bound("enum", func(t *testing.T) {
				for _, value := range schema.Enum {
					plain, err := strconv.Unquote(string(value.Raw))
					if err != nil {
						t.Fatal(err)
					}
					takes(t, kind, field, plain)
				}
				refuses(t, kind, field, "supported values", func(any) any { return "Nonsense" })
			})
		}
		if schema.MaxLength != nil {
			bound("maxLength", func(t *testing.T) {
				refuses(t, kind, field, fmt.Sprintf("may not be more than %d", *schema.MaxLength), func(any) any {
					return strings.Repeat("1", int(*schema.MaxLength)+1)
				})
			})
		}
		if schema.MaxItems != nil {
			bound("maxItems", func(t *testing.T) {
				refuses(t, kind, field, fmt.Sprintf("must have at most %d items", *schema.MaxItems), func(old any) any {
					return slices.Repeat(old.([]any), int(*schema.MaxItems)+1)
				})
			})
		}
		if schema.MinItems != nil {
			bound("minItems", func(t *testing.T) {
				refuses(t, kind, field, "should have at least 1 items", func(any) any { return []any{} })
			})
		}
		if schema.MaxProperties != nil {
			bound("maxProperties", func(t *testing.T) {
				refuses(t, kind, field, fmt.Sprintf("must have at most %d", *schema.MaxProperties), func(any) any {
					many := map[string]any{}
					for i := range *schema.MaxProperties + 1 {
						many[fmt.Sprint("label-", i)] = ""
					}
					return many
				})
			})
		}
	})
	if bounds < 140 {
		t.Errorf("only %d bounds were tried: the walk misses some", bounds)
	}
}

// refusedFields are in the schema only to be refused (see RefusedBGPPeerFields); no valid object has
// them, and refusals_test.go has their rows.
var refusedFields = map[string]bool{
	"BGPPeer.spec.password":                                          true,
	"BGPPeer.spec.passwordSecret.namespace":                          true,
	"BFDProfile.spec.authentication.keys[].passwordSecret.namespace": true,
	"BGPPeer.spec.disableMP":                                         true,
	"BGPPeer.spec.dualStackAddressFamily":                            true,
}

// Bounds of the status matter to our own programs only: they must be there (schema_test.go), and what
// we write must fit (the writers' tests).

var step = regexp.MustCompile(`[^.\[\]{}]+|\[\]|\{\}`)

// replace changes the value at a field such as spec.nodeSelectors[].matchLabels{}, first items taken;
// false where the object has none.
func replace(o *unstructured.Unstructured, field string, change func(old any) any) bool {
	var into func(value any, steps []string) (any, bool)
	into = func(value any, steps []string) (any, bool) {
		if len(steps) == 0 {
			return change(value), true
		}
		switch v := value.(type) {
		case []any:
			if steps[0] != "[]" || len(v) == 0 {
				return nil, false
			}
			item, ok := into(v[0], steps[1:])
			v[0] = item
			return v, ok
		case map[string]any:
			key := steps[0]
			if key == "{}" {
				for key = range v {
					break
				}
			}
			old, ok := v[key]
			if !ok {
				return nil, false
			}
			v[key], ok = into(old, steps[1:])
			return v, ok
		}
		return nil, false
	}
	changed, ok := into(o.Object, step.FindAllString(field, -1))
	if ok {
		o.Object = changed.(map[string]any)
	}
	return ok
}
