package reference

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
	"time"
)

// duration works out a duration as it stands in the source, such as 10 * time.Second.
func duration(t *testing.T, e ast.Expr) time.Duration {
	t.Helper()
	units := map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute}
	switch e := e.(type) {
	case *ast.BasicLit:
		var n int64
		if _, err := fmt.Sscan(e.Value, &n); err == nil {
			return time.Duration(n)
		}
	case *ast.SelectorExpr:
		if unit := units[e.Sel.Name]; unit != 0 {
			return unit
		}
	case *ast.BinaryExpr:
		if e.Op == token.MUL {
			return duration(t, e.X) * duration(t, e.Y)
		}
	}
	t.Fatalf("no duration that this test can read: %s", source(e))
	return 0
}

// The times after which soft signals count are those of the code.
func TestTheEligibilityPageHasTheTimesOfSoftSignals(t *testing.T) {
	inWords := func(d time.Duration) string {
		switch {
		case d == 0:
			return "at once"
		case d%time.Minute == 0:
			return fmt.Sprintf("%d min", d/time.Minute)
		}
		return fmt.Sprintf("%d s", d/time.Second)
	}
	text, found := page(t, "../concepts/eligibility.md"), 0
	ast.Inspect(files(t, "speaker/plan")["speaker/plan/soft.go"], func(n ast.Node) bool {
		signal, ok := n.(*ast.CompositeLit)
		if !ok || len(signal.Elts) != 5 {
			return true
		}
		reason := strings.TrimPrefix(signal.Elts[1].(*ast.SelectorExpr).Sel.Name, "Reason")
		onset, release := duration(t, signal.Elts[2]), duration(t, signal.Elts[3])
		row := regexp.MustCompile("(?m)^[|] `" + reason + "` [|].*[|] " + inWords(onset) + " [|] " + inWords(release) + " [|]$")
		if found++; !row.MatchString(text) {
			t.Errorf("eligibility.md has no row for %s that says: %s, %s", reason, inWords(onset), inWords(release))
		}
		return false
	})
	if found < 8 {
		t.Errorf("only %d soft signals were found", found)
	}
}

// The budget of a loss is made of these constants.
func TestTheLayer2PageHasTheTimesOfDetection(t *testing.T) {
	text := page(t, "../concepts/layer-2.md")
	values := map[string]string{}
	for _, declaration := range files(t, "speaker/detection")["speaker/detection/config.go"].Decls {
		block, ok := declaration.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, s := range block.Specs {
			for i, name := range s.(*ast.ValueSpec).Names {
				value := duration(t, s.(*ast.ValueSpec).Values[i])
				if values[name.Name] = fmt.Sprint(int64(value)); value >= time.Millisecond {
					values[name.Name] = fmt.Sprint(value.Milliseconds())
				}
			}
		}
	}
	for _, want := range []string{
		"one every " + values["DefaultInterval"] + " ms",
		values["examRounds"] + " rounds, " + values["examSpacing"] + " ms apart; over after " + values["examLength"] + " ms",
		"2 × " + values["DefaultInterval"] + " + 10 ms",
		"3 × " + values["DefaultInterval"] + " + 60 ms",
		"late by more than " + values["lateness"] + " ms",
		"(" + values["DefaultInterval"] + " ms; " + values["MinInterval"] + " ms to 2 s)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("layer-2.md does not say %q, as the constants of speaker/detection would have it", want)
		}
	}
}
