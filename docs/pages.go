// Package docs is the documentation as far as programs read it: its pages, their links and their YAML.
//
// People read the pages; tests hold them to the code. Here each link is followed (pages_test.go). The YAML is applied to
// an API server by config/crd and, on a whole cluster, by e2e/scenarios. What is made from the code, or compared with it,
// is in reference.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// A Page is one file of Markdown.
type Page struct {
	// Path within the checkout, with slashes: "docs/limits.md".
	Path  string
	lines []line
}

// line is one line of a page, and what is inside of.
type line struct {
	text string
	// fence is the word behind the backquotes that opened the block of code that the line is in, "-" for none; "" outside.
	fence string
}

// Pages returns README.md and every page under docs/, in order.
func Pages(checkout string) ([]Page, error) {
	paths := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(checkout, "docs"), func(p string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".md") {
			within, relErr := filepath.Rel(checkout, p)
			paths, err = append(paths, filepath.ToSlash(within)), relErr
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for pages: %w", err)
	}
	var pages []Page
	for _, p := range paths {
		text, err := os.ReadFile(filepath.Join(checkout, filepath.FromSlash(p)))
		if err != nil {
			return nil, fmt.Errorf("reading a page: %w", err)
		}
		pages = append(pages, parsePage(p, string(text)))
	}
	return pages, nil
}

func parsePage(name, text string) Page {
	p := Page{Path: name}
	fence := ""
	for _, l := range strings.Split(text, "\n") {
		mark, isMark := strings.CutPrefix(strings.TrimSpace(l), "```")
		switch {
		case isMark && fence == "":
			fence = strings.TrimSpace(mark)
			if fence == "" {
				fence = "-"
			}
			p.lines = append(p.lines, line{text: "", fence: ""})
		case isMark:
			fence = ""
			p.lines = append(p.lines, line{text: "", fence: ""})
		default:
			p.lines = append(p.lines, line{text: l, fence: fence})
		}
	}
	return p
}

// A Block is a piece of YAML in a page.
type Block struct{ Where, Text string }

// YAML returns every fenced block that is marked yaml.
func (p Page) YAML() []Block {
	var blocks []Block
	inside := false
	for i, l := range p.lines {
		switch {
		case l.fence != "yaml":
			inside = false
		case !inside:
			blocks, inside = append(blocks, Block{fmt.Sprintf("%s:%d", p.Path, i+1), l.text + "\n"}), true
		default:
			blocks[len(blocks)-1].Text += l.text + "\n"
		}
	}
	return blocks
}

// Fragments returns what may stand behind "#" in a link to the page: its headings as GitHub and most generators of sites name them.
func (p Page) Fragments() map[string]bool {
	out := map[string]bool{}
	for _, l := range p.lines {
		title := strings.TrimLeft(l.text, "#")
		if l.fence != "" || title == l.text || !strings.HasPrefix(title, " ") {
			continue
		}
		name := fragment(strings.TrimSpace(title))
		for n, base := 1, name; out[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		out[name] = true
	}
	return out
}

// linkText is a link in a heading, of which the text alone counts.
var linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

func fragment(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, linkText.ReplaceAllString(title, "$1"))
}

// A Link is what a page refers to within the checkout.
type Link struct {
	Line int
	// Target is a path within the checkout, and Fragment what stands behind "#".
	Target, Fragment string
}

var (
	codeSpan  = regexp.MustCompile("`[^`]*`")
	links     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	elsewhere = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// Links returns the page's links, but for those that leave the checkout.
func (p Page) Links() []Link {
	var out []Link
	for i, l := range p.lines {
		if l.fence != "" || strings.HasPrefix(l.text, "    ") {
			continue
		}
		for _, m := range links.FindAllStringSubmatch(codeSpan.ReplaceAllString(l.text, ""), -1) {
			if elsewhere.MatchString(m[1]) {
				continue
			}
			target, fragment, _ := strings.Cut(m[1], "#")
			if target == "" {
				target = p.Path
			} else {
				target = path.Join(path.Dir(p.Path), target)
			}
			out = append(out, Link{Line: i + 1, Target: target, Fragment: fragment})
		}
	}
	return out
}
