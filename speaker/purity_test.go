package speaker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// plan and ownership must come to the same result on every node, run in simulations, and answer whoever asks for an
// explanation far from any cluster. That they can only while they reach no API server, no socket and no clock.
func TestPurePartsStayPure(t *testing.T) {
	for _, row := range []struct {
		part string
		// allowed are modules besides the standard library; what they reach counts as theirs.
		allowed []string
	}{
		// The API's vocabulary brings apimachinery, which brings net/http; plan itself must not import it.
		{"plan", []string{"github.com/clarion-lb/clarion/api/v1beta1"}},
		{"ownership", []string{"github.com/clarion-lb/clarion/speaker/tlv"}},
		{"detection", []string{"github.com/clarion-lb/clarion/speaker/tlv"}},
		{"tlv", nil},
		{"routes", []string{"github.com/clarion-lb/clarion/api/v1beta1", "github.com/clarion-lb/clarion/speaker/bgp", "github.com/clarion-lb/clarion/speaker/plan"}},
		{"bfd/packet", nil},
		{"bfd/session", []string{"github.com/clarion-lb/clarion/speaker/bfd/packet"}},
	} {
		t.Run(row.part, func(t *testing.T) {
			out, err := exec.Command("go", "list", "-deps", "./"+row.part).Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, dep := range strings.Fields(string(out)) {
				for _, banned := range []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/hashicorp",
					"github.com/vishvananda", "github.com/mdlayher"} {
					if strings.HasPrefix(dep, banned) {
						t.Errorf("reaches %s", dep)
					}
				}
			}
			files, err := filepath.Glob(row.part + "/*.go")
			if err != nil || len(files) == 0 {
				t.Fatal("no files", err)
			}
			for _, name := range files {
				if !strings.HasSuffix(name, "_test.go") {
					checkPure(t, name, row.allowed)
				}
			}
		})
	}
}

func checkPure(t *testing.T, name string, allowed []string) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		switch {
		case strings.Contains(path, ".") && !slices.Contains(allowed, path),
			strings.HasPrefix(path, "net") && path != "net/netip",
			strings.HasPrefix(path, "os"), path == "syscall", strings.HasPrefix(path, "math/rand"):
			t.Errorf("%s imports %s", name, path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After",
				"AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}, sel.Sel.Name) {
				t.Errorf("%s: time.%s", set.Position(n.Pos()), sel.Sel.Name)
			}
		}
		return true
	})
}
