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
