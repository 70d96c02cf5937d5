package ownership

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// whole is the input of a speaker that sees everybody it expects.
func whole(members ...string) Input {
	return Input{Whole: true, Accounted: true, Members: heard(members...)}
}

// heard are members that say of themselves that they do not serve, or with "+" before the name that they
// do; "?" is before the names of those that have not said anything.
func heard(names ...string) []Member {
	var members []Member
	for _, name := range names {
		members = append(members, Member{Node: strings.TrimLeft(name, "+?"), Known: name[0] != '?', Serving: name[0] == '+'})
	}
	return members
}

func TestSettling(t *testing.T) {
	type step struct {
		after   time.Duration // since the first step
		in      Input
		serving bool
		wake    time.Duration // since the first step; 0 is none
	}
	unaccounted := func(members ...string) Input { return Input{Whole: true, Members: heard(members...)} }
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"a speaker that hears everybody serves after a second of calm", []step{
			{0, whole("a", "b"), false, time.Second},
			{999 * time.Millisecond, whole("a", "b"), false, time.Second},
			{time.Second, whole("a", "b"), true, 0},
		}},
		{"a speaker that joins later starts the second anew", []step{
			{0, whole("a"), false, time.Second},
			{800 * time.Millisecond, whole("a", "b"), false, 1800 * time.Millisecond},
			{time.Second, whole("a", "b"), false, 1800 * time.Millisecond},
			{1800 * time.Millisecond, whole("a", "b"), true, 0},
		}},
		{"constant coming and going can't hold it up for longer than the limit", []step{
			{0, whole("a"), false, time.Second},
			{900 * time.Millisecond, whole("a", "b"), false, 1900 * time.Millisecond},
			{1800 * time.Millisecond, whole("a"), false, 2800 * time.Millisecond},
			{2700 * time.Millisecond, whole("a", "b"), false, 3 * time.Second},
			{3 * time.Second, whole("a"), true, 0},
		}},
		{"a peer that is not accounted for is waited for up to the limit", []step{
			{0, unaccounted("a"), false, 3 * time.Second},
			{2 * time.Second, unaccounted("a"), false, 3 * time.Second},
			{3 * time.Second, unaccounted("a"), true, 0},
		}},
		{"calm counts from the last change, also while a peer was not accounted for", []step{
			{0, unaccounted("a"), false, 3 * time.Second},
			{1100 * time.Millisecond, whole("a"), true, 0},
		}},
		{"without the API server's objects nothing is known, and nothing claimed ever", []step{
			{0, Input{Accounted: true, Members: heard("a")}, false, 0},
			{time.Hour, Input{Accounted: true, Members: heard("a")}, false, 0},
			{time.Hour, whole("a"), false, time.Hour + time.Second},
		}},
		{"once serving, it serves whoever comes and goes", []step{
			{0, whole("a"), false, time.Second},
			{time.Second, whole("a"), true, 0},
			{2 * time.Second, unaccounted("a", "b"), true, 0},
			{3 * time.Second, whole("a"), true, 0},
		}},
		{"when gossip has ended it settles anew", []step{
			{0, whole("a"), false, time.Second},
			{time.Second, whole("a"), true, 0},
			{2 * time.Second, Input{}, false, 0},
			{3 * time.Second, whole("a"), false, 4 * time.Second},
			{4 * time.Second, whole("a"), true, 0},
		}},
		{"and so it does when gossip was opened again between two looks", []step{
			{0, whole("a", "b"), false, time.Second},
			{time.Second, whole("a", "b"), true, 0},
			{2 * time.Second, Input{Whole: true, Session: 2, Members: heard("a")}, false, 5 * time.Second},
			{2500 * time.Millisecond, Input{Whole: true, Session: 2, Accounted: true, Members: heard("a", "b")}, false, 3500 * time.Millisecond},
			{3500 * time.Millisecond, Input{Whole: true, Session: 2, Accounted: true, Members: heard("a", "b")}, true, 0},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := New(Config{Self: "a"})
			for _, s := range row.steps {
				out := m.Step(start.Add(s.after), s.in)
				if out.Serving != s.serving || m.Serving() != s.serving {
					t.Fatalf("after %v: serving is %v, want %v", s.after, out.Serving, s.serving)
				}
				var want time.Time
				if s.wake != 0 && !s.serving {
					want = start.Add(s.wake)
				}
				if !out.WakeAt.Equal(want) && !s.serving {
					t.Fatalf("after %v: wakes at %v, want %v", s.after, out.WakeAt.Sub(start), s.wake)
				}
			}
		})
	}
}

func TestCourtesy(t *testing.T) {
	type step struct {
		after    time.Duration
		members  []Member
		serving  bool
		courtesy bool
		wake     time.Duration // 0 is none
	}
	const second = time.Second
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"all start together: what falls to others is left to them for a moment", []step{
			{0, heard("a", "b"), false, true, second},
			{second, heard("a", "b"), true, true, 2 * second},
			{second + second/2, heard("a", "+b"), true, true, 2 * second},
			{2 * second, heard("a", "+b"), true, false, 0},
		}},
		{"and no longer, if one of them never serves", []step{
			{0, heard("a", "b"), false, true, second},
			{second, heard("a", "b"), true, true, 2 * second},
			{2 * second, heard("a", "b"), true, false, 0},
		}},
		{"another one came to serve a moment before", []step{
			{0, heard("a", "b", "c"), false, true, second},
			{second - 1, heard("a", "+b", "c"), false, true, second},
			{second, heard("a", "+b", "c"), true, true, 2 * second},
		}},
		{"another one has served for a while: it will fall silent, so nothing is left to anybody", []step{
			{0, heard("a", "+b", "c"), false, false, second},
			{second, heard("a", "+b", "c"), true, false, 0},
		}},
		{"what another one does is known when it has said so", []step{
			{0, heard("a", "?b", "c"), false, true, second},
			{second / 2, heard("a", "+b", "c"), false, false, second},
			{second, heard("a", "+b", "c"), true, false, 0},
		}},
		{"it served, and is gone", []step{
			{0, heard("a", "+b", "c"), false, false, second},
			{second / 2, heard("a", "c"), false, true, second + second/2},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := New(Config{Self: "a"})
			for _, s := range row.steps {
				now := start.Add(s.after)
				out := m.Step(now, Input{Whole: true, Accounted: true, Members: s.members})
				if out.Serving != s.serving || m.Courtesy(now) != s.courtesy {
					t.Fatalf("after %v: serving is %v, courtesy %v", s.after, out.Serving, m.Courtesy(now))
				}
				var want time.Time
				if s.wake != 0 {
					want = start.Add(s.wake)
				}
				if !out.WakeAt.Equal(want) {
					t.Fatalf("after %v: wakes at %v, want %v", s.after, out.WakeAt.Sub(start), s.wake)
				}
			}
		})
	}
}

// serving returns a machine that has settled.
func serving(self string) *Machine {
	m := New(Config{Self: self})
	m.Step(start, whole(self))
	m.Step(start.Add(DefaultLimit), whole(self))
	return m
}

func TestClaimsNothingBeforeItServes(t *testing.T) {
	u := unit("192.0.2.1") // node-1 among three
	m := New(Config{Self: "node-1"})
	in := whole("node-0", "node-1", "node-2")
	in.Candidates = map[Unit][]string{u: nodes(3)}

	out := m.Step(start, in)
	if m.OwnedCount() != 0 || m.Owner(u) == "node-1" {
		t.Fatalf("claimed before serving: %+v", out)
	}
	interim := m.Owner(u)

	in.Candidates = nil
	out = m.Step(start.Add(DefaultStable), in)
	if want := []Move{{u, interim, "node-1"}}; !slices.Equal(out.Moves, want) {
		t.Errorf("moves %+v, want %+v", out.Moves, want)
	}
	if got := slices.Collect(m.Owned()); !slices.Equal(got, []Unit{u}) {
		t.Errorf("owned %v", got)
	}
}

// Gossip that starts again hears nobody at first: what this node owns is given up, not all others' claimed.
func TestClaimsNothingInANewSessionBeforeItServesAgain(t *testing.T) {
	m := serving("node-2")
	units := addresses("192.0.2.4", 2) // node-2, node-1 among three
	in := Input{Whole: true, Members: heard("+node-1", "node-2"), Candidates: map[Unit][]string{units[0]: nodes(3), units[1]: nodes(3)}}
	m.Step(start, in)
	alone := Input{Whole: true, Session: 2, Members: heard("node-2"),
		Candidates: map[Unit][]string{units[1]: {"node-2"}}}
	out := m.Step(start, alone)
	for _, move := range out.Moves {
		if move.To == "node-2" {
			t.Errorf("claimed: %+v", move)
		}
	}
	if m.OwnedCount() != 0 || !m.Courtesy(start) {
		t.Errorf("owns %v, courtesy %v", slices.Collect(m.Owned()), m.Courtesy(start))
	}
}

func TestAloneAndNotServingNobodyOwns(t *testing.T) {
	m := New(Config{Self: "node-0"})
	in := whole("node-0")
	in.Candidates = map[Unit][]string{unit("192.0.2.1"): nodes(1)}
	if out := m.Step(start, in); len(out.Moves) != 0 {
		t.Errorf("moves %+v", out.Moves)
	}
}

func TestMovesSayEachChangeOnceInOrder(t *testing.T) {
	m := serving("node-2")
	units := addresses("192.0.2.4", 3) // node-2, node-1, node-0 among three
	all := map[Unit][]string{units[0]: nodes(3), units[1]: nodes(3), units[2]: nodes(3)}

	out := m.Step(start, Input{Whole: true, Candidates: all})
	want := []Move{{units[0], "", "node-2"}, {units[1], "", "node-1"}, {units[2], "", "node-0"}}
	if !slices.Equal(out.Moves, want) {
		t.Fatalf("moves %+v, want %+v", out.Moves, want)
	}
	if out = m.Step(start, Input{Whole: true, Candidates: all}); len(out.Moves) != 0 {
		t.Errorf("the same again moves %+v", out.Moves)
	}
	if out = m.Step(start, Input{Whole: true}); len(out.Moves) != 0 {
		t.Errorf("nothing new moves %+v", out.Moves)
	}
	out = m.Step(start, Input{Whole: true, Candidates: map[Unit][]string{units[0]: {"node-1"}, units[2]: nil}})
	want = []Move{{units[0], "node-2", "node-1"}, {units[2], "node-0", ""}}
	if !slices.Equal(out.Moves, want) {
		t.Errorf("moves %+v, want %+v", out.Moves, want)
	}
}

func TestAUnitWithoutCandidatesIsForgotten(t *testing.T) {
	m := serving("node-0")
	u := unit("192.0.2.1")
	m.Step(start, Input{Whole: true, Candidates: map[Unit][]string{u: nodes(1)}})
	if got := slices.Collect(m.Owned()); !slices.Equal(got, []Unit{u}) || m.OwnedCount() != 1 {
		t.Fatalf("owned %v", got)
	}
	m.Step(start, Input{Whole: true, Candidates: map[Unit][]string{u: nil}})
	if m.OwnedCount() != 0 || m.Owner(u) != "" || len(m.units) != 0 {
		t.Errorf("still there: %v", slices.Collect(maps.Keys(m.units)))
	}
}

func TestStepCostGoesWithWhatChanged(t *testing.T) {
	m := serving("node-0")
	all := map[Unit][]string{}
	for _, u := range addresses("10.0.0.0", 5000) {
		all[u] = nodes(3)
	}
	m.Step(start, Input{Whole: true, Candidates: all})
	one := Input{Whole: true, Candidates: map[Unit][]string{unit("10.0.0.7"): nodes(3)}}
	if n := testing.AllocsPerRun(100, func() { m.Step(start, one) }); n > 2 {
		t.Errorf("%v allocations for a step that changes nothing", n)
	}
}
