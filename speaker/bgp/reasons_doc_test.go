package bgp

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestEveryReasonIsDocumented(t *testing.T) {
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/reference/bgp-reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`Reason = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(found) == 0 {
		t.Fatal("no reasons found")
	}
	for _, reason := range found {
		if !strings.Contains(string(page), "| `"+reason[1]+"` |") {
			t.Errorf("docs/reference/bgp-reasons.md has no row for %s", reason[1])
		}
	}
}

func TestThePageGivesEachReasonTheMeaningThatItHas(t *testing.T) {
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/reference/bgp-reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ToLower(string(text))
	found := regexp.MustCompile(`// (\w+): ((?:.*\n\t// )*.*)\n\t\w+ +Reason = "`).FindAllStringSubmatch(string(source), -1)
	if len(found) < 20 {
		t.Fatalf("only %d reasons have a meaning", len(found))
	}
	for _, reason := range found {
		meaning := strings.ReplaceAll(reason[2], "\n\t// ", " ")
		if !strings.Contains(page, strings.ToLower("| `"+reason[1]+"` | "+meaning+" |")) {
			t.Errorf("docs/reference/bgp-reasons.md does not say of %s: %s", reason[1], meaning)
		}
		if reason[1] == string(SourceUnavailable) && !strings.Contains(meaning, "no sourceAddress is set") {
			t.Errorf("a node without an address of the peer's family is not among what %s means: %s", reason[1], meaning)
		}
	}
}
