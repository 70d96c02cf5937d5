// Package flagpage keeps docs/reference/flags.md in step with the programs' flags, for their tests.
package flagpage

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const page = "../../docs/reference/flags.md"

var update = flag.Bool("update", false, "write docs/reference/flags.md anew")

// Check fails where the page's part on a program is not what its flags are; with -update it is written.
func Check(t *testing.T, program string, flags *pflag.FlagSet) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "## "+program+"\n", "\n## "
	before, rest, found := strings.Cut(string(content), begin)
	if !found {
		t.Fatalf("%s has no part %q", page, begin)
	}
	_, after, more := strings.Cut(rest, end)
	want := before + begin + "\n" + table(flags)
	if more {
		want += end + after
	}
	if want == string(content) {
		return
	}
	if !*update {
		t.Errorf("%s is not in step: go test ./cmd/%s -update", page, program)
		return
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| Flag | Default | |\n| --- | --- | --- |\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == "version" || f.Hidden {
			return
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + strings.Trim(f.DefValue, "[]") + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, value, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
	return b.String()
}
