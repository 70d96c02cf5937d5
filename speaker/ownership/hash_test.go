package ownership

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func unitAt(address string) Unit { return Unit{Address: netip.MustParseAddr(address)} }

func nodes(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("node-%d", i)
	}
	return names
}

// addresses returns n consecutive addresses, which is what pools give out.
func addresses(first string, n int) []Unit {
	units := make([]Unit, n)
	a := netip.MustParseAddr(first)
	for i := range units {
		units[i] = Unit{Address: a}
		a = a.Next()
	}
	return units
}

// The hash is part of the protocol: if it changed, an old and a new speaker would both answer for an
// address, or neither would, for as long as an update takes.
func TestOwnerIsTheSameInEveryVersion(t *testing.T) {
	for _, row := range []struct {
		unit Unit
		want string
	}{
		{unitAt("192.0.2.1"), "node-1"},
		{unitAt("192.0.2.2"), "node-2"},
		{unitAt("192.0.2.3"), "node-1"},
		{unitAt("2001:db8::1"), "node-1"},
		{unitAt("fe80::1%eth0"), "node-0"},
		{Unit{Address: netip.MustParseAddr("192.0.2.1"), Segment: "rack-2"}, "node-0"},
		{Unit{Address: netip.MustParseAddr("192.0.2.1"), Share: 1}, "node-2"},
	} {
		if got := Owner(row.unit, nodes(3)); got != row.want {
			t.Errorf("%v: owner %q, want %q", row.unit, got, row.want)
		}
	}
	if got, want := score(unitAt("192.0.2.1").hash(), "node-0"), uint64(0xa41c72c4dc8f091); got != want {
		t.Errorf("score of 192.0.2.1 and node-0: %#x, want %#x", got, want)
	}
}

func TestNobodyOwnsWithoutCandidates(t *testing.T) {
	if got := Owner(unitAt("192.0.2.1"), nil); got != "" {
		t.Errorf("owner %q", got)
	}
}

func genNodes(min int) *rapid.Generator[[]string] {
	return rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]([a-z0-9-]{0,10}[a-z0-9])?`), min, 12, rapid.ID[string])
}

var genUnit = rapid.Custom(func(t *rapid.T) Unit {
	var a netip.Addr
	if rapid.Bool().Draw(t, "v4") {
		a = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
	} else {
		a = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")))
	}
	return Unit{Address: a, Segment: Segment(rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "segment"))}
})

func TestOwnerIsACandidateWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, candidates := genUnit.Draw(t, "unit"), genNodes(1).Draw(t, "nodes")
		owner := Owner(u, candidates)
		if !slices.Contains(candidates, owner) {
			t.Fatalf("owner %q is not among %q", owner, candidates)
		}
		if again := Owner(u, rapid.Permutation(candidates).Draw(t, "order")); again != owner {
			t.Fatalf("owner %q, and %q in another order", owner, again)
		}
	})
}

// Antisymmetry: of two nodes exactly one beats the other, and adding more candidates can't change who
// of those two is ahead.
func TestOwnerBeatsEveryOtherCandidateAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, candidates := genUnit.Draw(t, "unit"), genNodes(2).Draw(t, "nodes")
		owner := Owner(u, candidates)
		for _, other := range candidates {
			if got := Owner(u, []string{other, owner}); got != owner {
				t.Fatalf("%q owns among all, but %q against %q", owner, got, other)
			}
		}
	})
}

func TestOnlyTheLostNodesUnitsMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, candidates := genUnit.Draw(t, "unit"), genNodes(2).Draw(t, "nodes")
		before := Owner(u, candidates)
		i := rapid.IntRange(0, len(candidates)-1).Draw(t, "lost")
		lost := candidates[i]
		after := Owner(u, slices.Concat(candidates[:i], candidates[i+1:]))
		if before != lost && after != before {
			t.Fatalf("%q was lost, and the unit of %q moved to %q", lost, before, after)
		}
	})
}

func TestShareIsFair(t *testing.T) {
	for _, row := range []struct {
		pool  string
		nodes int
	}{
		{"192.0.2.0", 2}, {"192.0.2.0", 3}, {"10.1.128.0", 10}, {"2001:db8::", 3}, {"2001:db8:0:1::", 50},
	} {
		t.Run(fmt.Sprintf("%s over %d nodes", row.pool, row.nodes), func(t *testing.T) {
			const n = 10_000
			count := map[string]int{}
			for _, u := range addresses(row.pool, n) {
				count[Owner(u, nodes(row.nodes))]++
			}
			// Each count is binomial; over six standard deviations is no accident.
			mean := float64(n) / float64(row.nodes)
			for _, node := range nodes(row.nodes) {
				if d := float64(count[node]) - mean; d*d > 36*mean {
					t.Errorf("%s owns %d of %d, expected about %.0f", node, count[node], n, mean)
				}
			}
		})
	}
}

// What a lost node owned spreads over all survivors alike.
func TestLossIsFair(t *testing.T) {
	all := nodes(5)
	count, moved := map[string]int{}, 0
	for _, u := range addresses("10.0.0.0", 20_000) {
		if Owner(u, all) == all[2] {
			moved++
			count[Owner(u, slices.Concat(all[:2], all[3:]))]++
		}
	}
	mean := float64(moved) / 4
	for node, n := range count {
		if d := float64(n) - mean; d*d > 36*mean {
			t.Errorf("%s inherits %d of %d, expected about %.0f", node, n, moved, mean)
		}
	}
}

func TestCompareOrdersUnits(t *testing.T) {
	sorted := []Unit{
		unitAt("192.0.2.1"),
		{Address: netip.MustParseAddr("192.0.2.1"), Share: 1},
		{Address: netip.MustParseAddr("192.0.2.1"), Segment: "a"},
		{Address: netip.MustParseAddr("192.0.2.1"), Segment: "b"},
		unitAt("192.0.2.2"),
		unitAt("2001:db8::1"),
	}
	shuffled := slices.Clone(sorted)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	slices.SortFunc(shuffled, Unit.Compare)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("sorted to %v", shuffled)
	}
}

func BenchmarkOwner(b *testing.B) {
	candidates, u := nodes(10), unitAt("192.0.2.1")
	for b.Loop() {
		Owner(u, candidates)
	}
}
