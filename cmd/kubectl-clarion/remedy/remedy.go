// Package remedy knows what to do about each reason: what the pages docs/reference/conditions.md and bgp-reasons.md say. Their
// rows are kept beside it, and a test holds them to the pages.
package remedy

import (
	_ "embed"
	"strings"
)

//go:embed remedies.tsv
var table string

var remedies = parse(table)

func parse(table string) map[string]string {
	out := map[string]string{}
	for _, line := range strings.Split(table, "\n") {
		if reason, do, ok := strings.Cut(line, "\t"); ok {
			out[reason] = do
		}
	}
	return out
}

// Of returns what to do about a reason of a condition, a node or a BGP session; "" where there is nothing to do, or the reason is another's.
func Of(reason string) string { return remedies[reason] }
