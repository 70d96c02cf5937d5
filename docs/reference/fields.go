// Package reference makes the page of every field of the API (fields.md) from the CRDs, and holds the other pages beside
// it to the code.
package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// FieldsPage is the page's name, beside this file.
const FieldsPage = "fields.md"

const fieldsIntro = `# Every field

All that can be written in Clarion's objects, and all that stands in their status, with types, defaults and limits. What the kinds are for, and what is on a
Service, is told in [The API](api.md); the same texts come by ` + "`kubectl explain`" + `.

A field without "required" may be left out. A list of selectors selects what one of them selects.

<!-- Made from config/crd by make generate. -->
`

// ReadCRDs reads the generated CRDs of a directory, in the order in which people meet them.
func ReadCRDs(directory string) ([]apiextensionsv1.CustomResourceDefinition, error) {
	files, err := filepath.Glob(filepath.Join(directory, "clarion.dev_*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no CRDs in %s: %w", directory, err)
	}
	crds := make([]apiextensionsv1.CustomResourceDefinition, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = yaml.UnmarshalStrict(data, &crds[i])
		}
		if err != nil {
			return nil, fmt.Errorf("reading the CRD %s: %w", file, err)
		}
	}
	slices.SortStableFunc(crds, func(a, b apiextensionsv1.CustomResourceDefinition) int { return rank(a) - rank(b) })
	return crds, nil
}

// order is that of docs/reference/api.md; a kind that it does not know comes last.
var order = []string{"IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community", "Speaker"}

func rank(crd apiextensionsv1.CustomResourceDefinition) int {
	if i := slices.Index(order, crd.Spec.Names.Kind); i >= 0 {
		return i
	}
	return len(order)
}

// Fields returns the page.
func Fields(crds []apiextensionsv1.CustomResourceDefinition) string {
	var page strings.Builder
	page.WriteString(fieldsIntro)
	var selector *schema
	for _, crd := range crds {
		version := crd.Spec.Versions[0]
		root := version.Schema.OpenAPIV3Schema
		fmt.Fprintf(&page, "\n## %s\n\n%s\n\n", crd.Spec.Names.Kind, paragraphs(root.Description))
		fmt.Fprintf(&page, "`kubectl get %s`, or `%s`, shows: %s.\n", crd.Spec.Names.Plural, crd.Spec.Names.ShortNames[0], columns(version))
		for _, part := range []string{"spec", "status"} {
			of, found := root.Properties[part]
			if !found {
				continue
			}
			t := &table{}
			t.children("", &of)
			if t.selector != nil {
				selector = t.selector
			}
			t.write(&page, crd.Spec.Names.Kind+" "+part, of.XValidations)
		}
	}
	if selector != nil {
		fmt.Fprintf(&page, "\n## LabelSelector\n\n%s\n", paragraphs(selector.Description))
		t := &table{}
		t.children("", selector)
		t.write(&page, "LabelSelector fields", selector.XValidations)
	}
	return page.String()
}

type schema = apiextensionsv1.JSONSchemaProps

// A table has the fields of one part of a kind.
type table struct {
	rows    []string
	refused []string
	// selector is the schema of a label selector, if there was one: it has a section of its own.
	selector *schema
}

func (t *table) write(page *strings.Builder, title string, rules apiextensionsv1.ValidationRules) {
	fmt.Fprintf(page, "\n### %s\n\n| Field | Type | Default | Limits | Meaning |\n| --- | --- | --- | --- | --- |\n%s", title, strings.Join(t.rows, ""))
	for _, rule := range slices.Backward(rules) {
		t.refused = slices.Insert(t.refused, 0, refusal(strings.TrimPrefix(rule.FieldPath, "."), rule.Message))
	}
	if t.refused = unique(t.refused); len(t.refused) > 0 {
		fmt.Fprintf(page, "\nWhat the API server refuses besides, and what it says:\n\n%s", strings.Join(t.refused, ""))
	}
}

func unique(in []string) (out []string) {
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func refusal(field, message string) string {
	if field == "" {
		return "- " + text(message) + "\n"
	}
	return "- `" + field + "`: " + text(message) + "\n"
}

// children adds the fields of an object, and those of what it consists of.
func (t *table) children(path string, of *schema) {
	names := make([]string, 0, len(of.Properties))
	for name := range of.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		child := of.Properties[name]
		t.field(path+name, &child, slices.Contains(of.Required, name))
	}
}

// field adds a field, unless it is there only to be refused.
func (t *table) field(path string, f *schema, required bool) {
	for _, rule := range f.XValidations {
		t.refused = append(t.refused, refusal(path, rule.Message))
		if rule.Rule == "false" {
			return
		}
	}
	inner := f
	if f.Items != nil {
		inner = f.Items.Schema
		for _, rule := range inner.XValidations {
			if !isSelector(inner) {
				t.refused = append(t.refused, refusal(path+"[]", rule.Message))
			}
		}
	}
	what := text(f.Description)
	if path == "conditions" {
		what += " See [Conditions](conditions.md)."
	}
	t.rows = append(t.rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", path, typeOf(f), defaultOf(path, f), limits(f, required), what))
	switch {
	case isSelector(inner):
		t.selector = inner
	case path == "conditions": // Kubernetes' own, the same everywhere
	case f.Items != nil:
		t.children(path+"[].", inner)
	default:
		t.children(path+".", inner)
	}
}

func isSelector(f *schema) bool {
	_, labels := f.Properties["matchLabels"]
	_, expressions := f.Properties["matchExpressions"]
	return labels && expressions
}

func typeOf(f *schema) string {
	switch {
	case isSelector(f):
		return "[LabelSelector](#labelselector)"
	case f.Items != nil && f.XListType != nil && *f.XListType == "map":
		return "list of " + typeOf(f.Items.Schema) + " by " + strings.Join(f.XListMapKeys, ", ")
	case f.Items != nil && f.XListType != nil && *f.XListType == "set":
		return "set of " + typeOf(f.Items.Schema)
	case f.Items != nil:
		return "list of " + typeOf(f.Items.Schema)
	case f.AdditionalProperties != nil:
		return "map of " + typeOf(f.AdditionalProperties.Schema)
	case f.Format == "date-time":
		return "time"
	}
	return f.Type
}

func defaultOf(path string, f *schema) string {
	if f.Default == nil || path == "conditions" {
		return ""
	}
	return "`" + strings.Trim(string(f.Default.Raw), `"`) + "`"
}

// limits says what of a field's value its schema checks, but for rules, which speak for themselves.
func limits(f *schema, required bool) string {
	var out []string
	if required {
		out = append(out, "required")
	}
	if f.Items != nil {
		if f.MinItems != nil {
			out = append(out, fmt.Sprintf("at least %d", *f.MinItems))
		}
		if f.MaxItems != nil {
			out = append(out, fmt.Sprintf("at most %d", *f.MaxItems))
		}
		if of := values(f.Items.Schema); of != "" {
			out = append(out, "each "+of)
		}
	}
	if f.MaxProperties != nil {
		out = append(out, fmt.Sprintf("at most %d", *f.MaxProperties))
	}
	if of := values(f); of != "" {
		out = append(out, of)
	}
	return strings.Join(out, "; ")
}

// values says which values of a scalar are taken.
func values(f *schema) string {
	if len(f.Enum) > 0 {
		var words []string
		for _, e := range f.Enum {
			words = append(words, "`"+strings.Trim(string(e.Raw), `"`)+"`")
		}
		return "one of " + strings.Join(words, ", ")
	}
	switch {
	case f.Minimum != nil && f.Maximum != nil:
		return fmt.Sprintf("%.0f to %.0f", *f.Minimum, *f.Maximum)
	case f.Minimum != nil:
		return fmt.Sprintf("%.0f or more", *f.Minimum)
	case f.Maximum != nil:
		return fmt.Sprintf("at most %.0f", *f.Maximum)
	case f.MinLength != nil && f.MaxLength != nil:
		return fmt.Sprintf("%d to %d characters", *f.MinLength, *f.MaxLength)
	case f.MaxLength != nil:
		return fmt.Sprintf("at most %d characters", *f.MaxLength)
	}
	return ""
}

func columns(v apiextensionsv1.CustomResourceDefinitionVersion) string {
	var usual, wide []string
	for _, c := range v.AdditionalPrinterColumns {
		if c.Priority == 0 {
			usual = append(usual, c.Name)
		} else {
			wide = append(wide, c.Name)
		}
	}
	s := strings.Join(usual, ", ")
	if len(wide) > 0 {
		s += "; with `-o wide` also " + strings.Join(wide, ", ")
	}
	return s
}

// special are characters that Markdown would take for more than themselves.
var special = strings.NewReplacer(`|`, `\|`, `*`, `\*`, `<`, `&lt;`)

// text puts a description on one line.
func text(s string) string {
	paragraphs := strings.Split(special.Replace(strings.TrimSpace(s)), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, " ")
}

func paragraphs(s string) string {
	parts := strings.Split(strings.TrimSpace(s), "\n\n")
	for i, p := range parts {
		parts[i] = text(p)
	}
	return strings.Join(parts, "\n\n")
}
