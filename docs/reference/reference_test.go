package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const checkout = "../.."

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheFieldsPageIsOfTheseCRDs(t *testing.T) {
	crds, err := ReadCRDs(filepath.Join(checkout, "config/crd"))
	if err != nil {
		t.Fatal(err)
	}
	if want := Fields(crds); page(t, FieldsPage) != want {
		t.Errorf("%s is not what config/crd says: make generate", FieldsPage)
	}
}

// files parses the Go files of a directory that are no tests.
func files(t *testing.T, directory string) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(checkout, directory, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", directory, err)
	}
	out := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		out[directory+"/"+filepath.Base(name)] = file
	}
	return out
}

// constants are the values of a file's constants that are strings, literal or put together from others.
func constants(t *testing.T, file *ast.File) map[string]string {
	t.Helper()
	known := map[string]string{"Group": "clarion.dev"}
	var value func(ast.Expr) string
	value = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, err := strconv.Unquote(e.Value)
			if err != nil {
				t.Fatal(err)
			}
			return s
		case *ast.Ident:
			return known[e.Name]
		case *ast.BinaryExpr:
			return value(e.X) + value(e.Y)
		}
		t.Fatalf("a constant of %T", e)
		return ""
	}
	for range 2 { // for those that stand before what they are made of
		for _, declaration := range file.Decls {
			block, ok := declaration.(*ast.GenDecl)
			if !ok || block.Tok != token.CONST {
				continue
			}
			for _, s := range block.Specs {
				for i, name := range s.(*ast.ValueSpec).Names {
					known[name.Name] = value(s.(*ast.ValueSpec).Values[i])
				}
			}
		}
	}
	return known
}

func TestTheAnnotationsPageHasEveryNameThereIs(t *testing.T) {
	text := page(t, "annotations.md")
	names := constants(t, files(t, "api/v1beta1")["api/v1beta1/annotations.go"])
	if len(names) < 12 {
		t.Fatalf("only %d names were found: %v", len(names), names)
	}
	known := []string{"clarion.dev/AddressAssigned", "clarion.dev/Announced", "clarion.dev/controller", "clarion.dev/speaker", "clarion.dev/"}
	for constant, name := range names {
		known = append(known, name)
		if !strings.HasPrefix(constant, "key") && constant != "Group" && !strings.Contains(text, "`"+name) {
			t.Errorf("annotations.md lacks %s (%s)", name, constant)
		}
	}
	for _, p := range []string{"annotations.md", "api.md", "events.md"} {
		for _, m := range regexp.MustCompile("`(clarion[.]dev/[^`:]*)").FindAllStringSubmatch(page(t, p), -1) {
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s tells of %s, which is nothing of the code's", p, m[1])
			}
		}
	}
}

// variable are the reasons of events that come from a variable: where, and which it can have.
func variable(addressAssigned []string) map[string][]string {
	return map[string][]string{
		"controller/write.go d.Reason":           addressAssigned,
		"speaker/tell.go reason":                 {"Announced", "Moved"},
		"speaker/tell.go v1beta1.Reason(reason)": {"AddressConflict", "KubeProxyAnswersARP"},
	}
}

func TestTheEventsPageHasEveryEventThereIs(t *testing.T) {
	reasons := map[string]string{}
	var addressAssigned []string
	for _, declaration := range files(t, "api/v1beta1")["api/v1beta1/conditions.go"].Decls {
		block, ok := declaration.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		title, _, _ := strings.Cut(block.Doc.Text(), "\n")
		for _, s := range block.Specs {
			spec := s.(*ast.ValueSpec)
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons[spec.Names[0].Name] = value
			// Pending is written without an event: the decision that follows is one.
			if title == "Reasons of AddressAssigned" && value != "Pending" {
				addressAssigned = append(addressAssigned, value)
			}
		}
	}
	known := variable(addressAssigned)

	said := map[string]bool{}
	note := func(where string, reason ast.Expr) {
		if s, ok := reason.(*ast.SelectorExpr); ok && reasons[s.Sel.Name] != "" {
			said[reasons[s.Sel.Name]] = true
			return
		}
		key := where + " " + source(reason)
		if known[key] == nil {
			t.Errorf("an event has the reason %s: tell here and on events.md which these can be", key)
		}
		for _, r := range known[key] {
			said[r] = true
		}
	}
	for _, directory := range []string{"controller", "speaker"} {
		for name, file := range files(t, directory) {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CompositeLit:
					if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "note" && len(n.Elts) == 3 {
						note(name, n.Elts[1])
					}
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "cry" && len(n.Args) == 4 {
						note(name, n.Args[2])
					}
				}
				return true
			})
		}
	}
	if len(said) < 20 {
		t.Fatalf("only these were found: %v", said)
	}

	text := page(t, "events.md")
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^[|] (`.*?) [|]").FindAllStringSubmatch(text, -1) {
		for _, m := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(row[1], -1) {
			told[m[1]] = true
		}
	}
	for reason := range said {
		if !told[reason] {
			t.Errorf("events.md has no row for %s", reason)
		}
	}
	for reason := range told {
		if !said[reason] {
			t.Errorf("events.md tells of %s, and no event has that reason", reason)
		}
	}
}

// source spells an expression as far as reasons need it.
func source(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return source(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		var arguments []string
		for _, a := range e.Args {
			arguments = append(arguments, source(a))
		}
		return source(e.Fun) + "(" + strings.Join(arguments, ", ") + ")"
	}
	return "?"
}

// What docs/security.md says of rights is what config/rbac grants.
func TestTheSecurityPageHasEveryRight(t *testing.T) {
	text := page(t, "../security.md")
	for who, title := range map[string]string{"controller": "### The controller's rights", "speaker": "### A speaker's rights"} {
		_, section, found := strings.Cut(text, title+"\n")
		if !found {
			t.Fatalf("security.md has no section %q", title)
		}
		section, _, _ = strings.Cut(section, "\n#")
		granted := map[string]bool{}
		for _, rule := range rules(t, who+".yaml") {
			row := "| `" + strings.Join(rule.Resources, "`, `") + "` | " + strings.Join(rule.Verbs, ", ") + " |"
			granted[row] = true
			if !strings.Contains(section, row) {
				t.Errorf("security.md does not tell of the %s's right %s", who, row)
			}
		}
		rows := regexp.MustCompile("(?m)^[|] `.*?` [|] [a-z, ]+ [|]").FindAllString(section, -1)
		for _, row := range rows {
			if !granted[row] {
				t.Errorf("security.md tells of a right that the %s has not: %s", who, row)
			}
		}
		if len(rows) < 10 {
			t.Errorf("only %d rows were found for the %s", len(rows), who)
		}
	}
}

// rules are those of all roles in a file of config/rbac.
func rules(t *testing.T, name string) []rbacv1.PolicyRule {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(checkout, "config/rbac", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []rbacv1.PolicyRule
	for _, document := range strings.Split(string(data), "\n---\n") {
		var role rbacv1.ClusterRole // a Role has rules of the same shape
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		out = append(out, role.Rules...)
	}
	return out
}
