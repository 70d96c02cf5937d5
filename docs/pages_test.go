package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const checkout = ".."

func pages(t *testing.T) map[string]Page {
	t.Helper()
	list, err := Pages(checkout)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Page{}
	for _, p := range list {
		all[p.Path] = p
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all := pages(t)
	followed := 0
	for _, p := range all {
		for _, l := range p.Links() {
			followed++
			if _, err := os.Stat(filepath.Join(checkout, filepath.FromSlash(l.Target))); err != nil {
				t.Errorf("%s:%d: there is no %s", p.Path, l.Line, l.Target)
				continue
			}
			if target, isPage := all[l.Target]; l.Fragment != "" && isPage && !target.Fragments()[l.Fragment] {
				t.Errorf("%s:%d: %s has no heading #%s", p.Path, l.Line, l.Target, l.Fragment)
			}
		}
	}
	if followed < 100 {
		t.Errorf("only %d links were followed", followed)
	}
}

// Whoever starts at docs/README.md finds everything.
func TestEveryPageCanBeReachedFromTheIndex(t *testing.T) {
	all := pages(t)
	reached := map[string]bool{}
	var follow func(path string)
	follow = func(path string) {
		if p, isPage := all[path]; isPage && !reached[path] {
			reached[path] = true
			for _, l := range p.Links() {
				follow(l.Target)
			}
		}
	}
	follow("docs/README.md")
	for path := range all {
		if path != "README.md" && !reached[path] {
			t.Errorf("no link leads from docs/README.md to %s", path)
		}
	}
}

// A site generator makes a site of docs/ alone: every page has one title, at its top, and links to nothing outside.
func TestDocsAreASiteOfTheirOwn(t *testing.T) {
	for _, p := range pages(t) {
		if p.Path == "README.md" {
			continue
		}
		var titles []int
		for i, l := range p.lines {
			if l.fence == "" && strings.HasPrefix(l.text, "# ") {
				titles = append(titles, i+1)
			}
		}
		if !slices.Equal(titles, []int{1}) {
			t.Errorf("%s has its titles on lines %v; one on the first is wanted", p.Path, titles)
		}
		for _, l := range p.Links() {
			if !strings.HasPrefix(l.Target, "docs/") {
				t.Errorf("%s:%d: %s is not in docs/: name it, without a link", p.Path, l.Line, l.Target)
			}
		}
	}
}

func TestEveryConceptHasADiagram(t *testing.T) {
	concepts := 0
	for _, p := range pages(t) {
		if !strings.HasPrefix(p.Path, "docs/concepts/") {
			continue
		}
		concepts++
		drawn := func(l line) bool { return l.fence == "-" && strings.ContainsAny(l.text, "│─►▼└→>") }
		if !slices.ContainsFunc(p.lines, drawn) {
			t.Errorf("%s has no diagram", p.Path)
		}
	}
	if concepts < 6 {
		t.Errorf("only %d concepts", concepts)
	}
}

func TestWhatIsReadOfAPage(t *testing.T) {
	p := parsePage("docs/how-to/page.md", "# A title, with `code` & more\n\n## Again\n[there](../limits.md#one) `[no](x.md)` [away](https://example.com)\n"+
		"```yaml\na: 1\n# Not a title\nb: 2\n```\n```\n[no](y.md)\n```\n## Again\n[here](#again-1)\n```yaml\nc: 3\n```\n")
	if got := p.Fragments(); len(got) != 3 || !got["a-title-with-code--more"] || !got["again"] || !got["again-1"] {
		t.Errorf("fragments: %v", got)
	}
	if got, want := p.Links(), []Link{{4, "docs/limits.md", "one"}, {14, "docs/how-to/page.md", "again-1"}}; !slices.Equal(got, want) {
		t.Errorf("links: %v, want %v", got, want)
	}
	want := []Block{{"docs/how-to/page.md:6", "a: 1\n# Not a title\nb: 2\n"}, {"docs/how-to/page.md:16", "c: 3\n"}}
	if got := p.YAML(); !slices.Equal(got, want) {
		t.Errorf("YAML: %q, want %q", got, want)
	}
}
