package ipam

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The allocator decides and does nothing else: it has no client, no socket and no clock, so that a table or a random
// walk can put it in any situation, and kubectl can ask it why. This test is that promise.
func TestItOnlyDecides(t *testing.T) {
	allowed := []string{
		"cmp", "encoding/binary", "errors", "fmt", "hash/fnv", "hash/maphash", "maps", "math", "math/big", "math/bits", "net/netip",
		"slices", "strconv", "strings", "time",
		"github.com/clarion-lb/clarion/api/v1beta1",
		"github.com/google/btree",
		"go4.org/netipx",
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				if path, _ := strconv.Unquote(n.Path.Value); !slices.Contains(allowed, path) {
					t.Errorf("%s imports %s", files.Position(n.Pos()), path)
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && !slices.Contains([]string{"Time", "Duration", "Second"}, n.Sel.Name) {
					t.Errorf("%s uses time.%s", files.Position(n.Pos()), n.Sel.Name)
				}
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine", files.Position(n.Pos()))
			}
			return true
		})
	}
}
