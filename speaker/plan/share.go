package plan

import (
	"bytes"
	"slices"
)

// ServeMost returns which of the Services that share an address are served, and by which nodes, by number: all that can
// be served anywhere, if there are nodes that can serve all of them; else by the nodes that can serve most, and among
// those that serve equally many, those that serve the oldest. can says whether a node can serve a sharer.
func ServeMost(sharers []Sharer, nodes int, can func(sharer, node int) bool) (served, serving []bool) {
	order := make([]int, len(sharers)) // oldest first
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if sharers[a].older(sharers[b]) {
			return -1
		}
		return 1
	})

	// A node's row has a 1 for each sharer that it can serve, oldest first.
	rows := make([][]byte, nodes)
	var best []byte
	for n := range rows {
		row := make([]byte, len(sharers))
		for rank, i := range order {
			if can(i, n) {
				row[rank] = 1
			}
		}
		rows[n] = row
		if servesMore(row, best) {
			best = row
		}
	}

	served, serving = make([]bool, len(sharers)), make([]bool, nodes)
	if bytes.IndexByte(best, 1) < 0 {
		return served, serving
	}
	for rank, i := range order {
		served[i] = best[rank] == 1
	}
	for n, row := range rows {
		serving[n] = bytes.Equal(row, best)
	}
	return served, serving
}

func servesMore(a, b []byte) bool {
	if na, nb := bytes.Count(a, []byte{1}), bytes.Count(b, []byte{1}); na != nb {
		return na > nb
	}
	return bytes.Compare(a, b) > 0
}
