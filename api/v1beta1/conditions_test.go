package v1beta1_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/conditions.md")

const conditionsPage = "../../docs/reference/conditions.md"

const conditionsIntro = `# Conditions and reasons

Everything that Clarion says about an object it says by a condition: a type, a status, a reason that
programs can rely on, and a message for people. Types and reasons are a closed vocabulary: what is not on
this page, Clarion does not write. The same reasons, under the same spelling, are those of events and
metrics.

<!-- Made from api/v1beta1/conditions.go by: go test ./api/v1beta1 -run TestConditionsPage -update -->
`

// qualified is the shape of every constant's comment: name, what stands in parentheses, meaning, and in a
// paragraph of its own what to do.
var qualified = regexp.MustCompile(`^(\w+) \(([^)]+)\): (.+?)(?: To do: (.+))?$`)

// conditionsMarkdown makes the page from the comments of conditions.go.
func conditionsMarkdown(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "conditions.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(conditionsIntro)
	for _, declaration := range file.Decls {
		block, ok := declaration.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		title, text, _ := strings.Cut(block.Doc.Text(), "\n")
		page.WriteString("\n## " + title + "\n")
		if text = strings.TrimSpace(text); text != "" {
			page.WriteString("\n" + text + "\n")
		}
		first := "Reason"
		if strings.HasPrefix(title, "Conditions") {
			first = "Condition"
		}
		page.WriteString("\n| " + first + " | | Meaning | What to do |\n| --- | --- | --- | --- |\n")
		for _, s := range block.Specs {
			spec := s.(*ast.ValueSpec)
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			comment := strings.Join(strings.Fields(spec.Doc.Text()), " ")
			m := qualified.FindStringSubmatch(comment)
			if m == nil || m[1] != spec.Names[0].Name {
				t.Errorf("the comment of %s is not “%s (status or polarity): meaning”: %q", spec.Names[0].Name, spec.Names[0].Name, comment)
				continue
			}
			page.WriteString("| `" + value + "` | " + m[2] + " | " + sentence(m[3]) + " | " + sentence(m[4]) + " |\n")
		}
	}
	return page.String()
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func TestConditionsPageIsTheVocabulary(t *testing.T) {
	want := conditionsMarkdown(t)
	if *update {
		if err := os.WriteFile(conditionsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(conditionsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what conditions.go says; make it anew with -update", conditionsPage)
	}
}

// Every constant of the two types must stand in conditions.go, where the page finds it, and no two may
// have one spelling.
func TestEveryConditionAndReasonIsOnThePage(t *testing.T) {
	page, err := os.ReadFile(conditionsPage)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	where := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			kind, ok := spec.Type.(*ast.Ident)
			if !ok || (kind.Name != "Reason" && kind.Name != "ConditionType") {
				return true
			}
			name := spec.Names[0].Name
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(page), "| `"+value+"` |") {
				t.Errorf("%s lacks %s (%q)", conditionsPage, name, value)
			}
			key := kind.Name + " " + value
			if other, twice := where[key]; twice {
				t.Errorf("%s and %s are both %q", name, other, value)
			}
			where[key] = name
			if want := map[string]string{"Reason": "Reason", "ConditionType": "Condition"}[kind.Name] + strings.TrimPrefix(value, "clarion.dev/"); name != want {
				t.Errorf("%s is spelt %q; call it %s", name, value, want)
			}
			return true
		})
	}
	if len(where) < 30 {
		t.Errorf("only %d constants were found", len(where))
	}
}
