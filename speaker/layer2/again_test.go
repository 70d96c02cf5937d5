package layer2

import (
	"slices"
	"testing"
)

func TestWhoReadsWhatIsToBeAnnouncedAgainMissesNothing(t *testing.T) {
	addresses := scattered(IPv4, maxAgain)
	var g again
	read := uint64(0)
	expect := func(what string, want []int, all bool) {
		t.Helper()
		got, everything, now := g.since(read)
		read = now
		if everything != all || len(got) != len(want) {
			t.Fatalf("%s: %d addresses, all: %v", what, len(got), everything)
		}
		for i, n := range want {
			if got[i] != addresses[n] {
				t.Fatalf("%s: %v", what, got)
			}
		}
	}
	expect("nothing", nil, false)
	g.add(addresses[:2])
	g.add(addresses[2:3])
	expect("three", []int{0, 1, 2}, false)
	expect("nothing more", nil, false)
	g.add(nil)
	expect("all", nil, true)
	g.add(addresses[5:6])
	expect("one after all", []int{5}, false)
	g.add(addresses[6:7])
	g.add(slices.Clone(addresses))
	expect("too many to be kept", nil, true)
	g.add(append(slices.Clone(addresses), addresses[0]))
	expect("too many at once", nil, true)
	if len(g.kept) > maxAgain {
		t.Errorf("%d are kept", len(g.kept))
	}
}
