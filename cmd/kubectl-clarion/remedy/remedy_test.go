package remedy

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write remedies.tsv")

// row is a reason's: its name in backquotes first, what to do last.
var row = regexp.MustCompile("^\\| `([A-Za-z./]+)` \\|.*\\| ([^|]*) \\|$")

func TestTheRemediesAreThoseOfThePages(t *testing.T) {
	var want strings.Builder
	reasons := 0
	for _, page := range []string{"conditions.md", "bgp-reasons.md"} {
		text, err := os.ReadFile("../../../docs/reference/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			m := row.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			reasons++
			if do := strings.ReplaceAll(m[2], "`", ""); strings.TrimSpace(do) != "" {
				want.WriteString(m[1] + "\t" + do + "\n")
			}
		}
	}
	if reasons < 60 {
		t.Fatalf("only %d reasons are on the pages", reasons)
	}
	if *update {
		if err := os.WriteFile("remedies.tsv", []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want.String() {
		t.Error("remedies.tsv is not what the pages say; make it anew: make generate")
	}
}

func TestRemedies(t *testing.T) {
	for _, reason := range []string{"PoolExhausted", "NoEndpoint", "NodeExcluded", "AddressConflict", "NoLiveSpeaker"} {
		if Of(reason) == "" {
			t.Errorf("nothing to do about %s", reason)
		}
	}
	if Of("Eligible") != "" || Of("SomebodyElses") != "" {
		t.Error("there is something to do about nothing")
	}
}
