package reference

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/docs"
)

// mentions calls f with what a pattern's first group finds in the documentation, and where.
func mentions(t *testing.T, pattern string, f func(where, what string)) {
	t.Helper()
	pages, err := docs.Pages(checkout)
	if err != nil {
		t.Fatal(err)
	}
	found, compiled := 0, regexp.MustCompile(pattern)
	for _, p := range pages {
		if strings.HasPrefix(p.Path, "docs/adr/") {
			continue // decisions are not brought up to date
		}
		text, err := os.ReadFile(filepath.Join(checkout, filepath.FromSlash(p.Path)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range compiled.FindAllStringSubmatch(string(text), -1) {
			found++
			f(p.Path, m[1])
		}
	}
	if found < 5 {
		t.Errorf("%s was found %d times: the pattern is wrong", pattern, found)
	}
}

// declared are what a pattern's first group finds in the Go files of a directory.
func declared(t *testing.T, directory, pattern string) map[string]bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(checkout, directory, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no Go files in %s: %v", directory, err)
	}
	out := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			out[m[1]] = true
		}
	}
	return out
}

func TestEveryCommandThatIsMentionedExists(t *testing.T) {
	known := declared(t, "cmd/kubectl-clarion", `(?:Use: +|Aliases: +\[\]string\{|p\.\w+\()"([a-z]+)`)
	mentions(t, `kubectl clarion ((?:[a-z]+ ?)+)`, func(where, what string) {
		for i, word := range strings.Fields(what) {
			// Of what follows, the words of a sentence are not meant.
			if i == 0 && !known[word] {
				t.Errorf("%s tells of kubectl clarion %s, which there is not", where, word)
			}
		}
	})
}

func TestEveryFlagThatIsMentionedExists(t *testing.T) {
	const flag = `Var[P]?\([^"]*"([a-z-]+)"`
	known := map[string]bool{"output": true, "watch": true}
	for _, directory := range []string{"cmd/clarion-controller", "cmd/clarion-speaker", "cmd/kubectl-clarion", "cmd/internal/program"} {
		for name := range declared(t, directory, flag) {
			known[name] = true
		}
	}
	// Of flags in running text only those of other programs are excepted.
	others := map[string]bool{"lb-class": true, "ignore-exclude-lb": true, "validate": true, "disable": true, "set": true}
	mentions(t, "`--([a-z-]+)[=`]", func(where, what string) {
		if !known[what] && !others[what] {
			t.Errorf("%s tells of the flag --%s, which there is not", where, what)
		}
	})
}

func TestEveryValueOfTheChartThatIsMentionedExists(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(checkout, "deploy/chart/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	mentions(t, `(?:--set |--set ')([A-Za-z.]+)=`, func(where, what string) {
		at := any(values)
		for _, key := range strings.Split(what, ".") {
			object, _ := at.(map[string]any)
			next, found := object[key]
			if !found {
				t.Errorf("%s sets the value %s, which the chart has not", where, what)
				return
			}
			at = next
		}
	})
}
