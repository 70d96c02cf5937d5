package scenarios

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A block is a piece of YAML in the documentation.
type block struct{ where, text string }

// yamlBlocks finds every fenced block marked yaml in README.md and docs/.
func yamlBlocks(t *testing.T, checkout string) []block {
	t.Helper()
	var blocks []block
	read := func(path string) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var inside *strings.Builder
		begin := 0
		for i, line := range strings.Split(string(text), "\n") {
			switch {
			case inside == nil && strings.TrimSpace(line) == "```yaml":
				inside, begin = &strings.Builder{}, i+1
			case inside != nil && strings.TrimSpace(line) == "```":
				blocks = append(blocks, block{fmt.Sprintf("%s:%d", filepath.Base(path), begin), inside.String()})
				inside = nil
			case inside != nil:
				inside.WriteString(line + "\n")
			}
		}
	}
	read(filepath.Join(checkout, "README.md"))
	err := filepath.WalkDir(filepath.Join(checkout, "docs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			read(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}
