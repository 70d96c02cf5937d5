package ownership

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// A peer plays the other speakers for one machine under test, which runs as node-0.
type peer struct {
	t   testing.TB
	m   *Machine
	now time.Time
	in  Input // what holds until it is changed
}

// newPeer returns a machine that has settled beside the given others, which serve and claim units as told.
func newPeer(t testing.TB, claims map[string][]Unit, units []Unit) *peer {
	p := &peer{t: t, m: New(Config{Self: "node-0", Life: 1}), now: start}
	p.in = Input{Whole: true, Session: 1, Accounted: true, Members: []Member{{Node: "node-0", Life: 1, Known: true}}}
	names := []string{"node-0"}
	for _, name := range nodes(len(claims) + 2)[1:] {
		if _, ok := claims[name]; ok {
			names = append(names, name)
			p.in.Members = append(p.in.Members, Member{Node: name, Life: 9, Known: true, Serving: true})
		}
	}
	in := Input{Units: map[Unit]Placement{}}
	var candidates []Candidate
	for _, name := range names {
		candidates = append(candidates, Candidate{Node: name})
	}
	for _, u := range units {
		in.Units[u] = Placement{Candidates: candidates, Failback: Failback{Policy: Never}}
	}
	for _, name := range names[1:] {
		c := &Claims{Node: name, To: Version{Epoch: 1, Life: 9, Number: 1}}
		for _, u := range claims[name] {
			c.Changes = append(c.Changes, Change{u, Claim{Term: 1, Cause: CauseFirstClaim}})
		}
		in.Messages = append(in.Messages, Received{From: name, Life: 9, Message: c})
	}
	p.step(in)
	for range 20 {
		p.pass(200 * time.Millisecond)
	}
	return p
}

// step is a step at the present time, with what is new.
func (p *peer) step(in Input) Output {
	p.t.Helper()
	in.Whole, in.Session, in.Accounted, in.Members = p.in.Whole, p.in.Session, p.in.Accounted, p.in.Members
	in.Leave, in.Isolated = in.Leave || p.in.Leave, p.in.Isolated
	out := p.m.Step(p.now, in)
	if fault := p.m.check(); fault != "" {
		p.t.Fatal(fault)
	}
	return out
}

// pass is a step after a while.
func (p *peer) pass(d time.Duration) Output {
	p.t.Helper()
	p.now = p.now.Add(d)
	return p.step(Input{})
}

// member changes what a member says of itself.
func (p *peer) member(name string, change func(*Member)) {
	p.in.Members = slices.Clone(p.in.Members)
	for i := range p.in.Members {
		if p.in.Members[i].Node == name {
			change(&p.in.Members[i])
		}
	}
}

func claimsOf(name string, number uint64, changes ...Change) Received {
	return Received{From: name, Life: 9, Message: &Claims{Node: name, Base: number - 1, To: Version{Epoch: 1, Life: 9, Number: number}, Changes: changes}}
}

func roles(out Output, as As) int {
	n := 0
	for _, a := range out.Answers {
		if a.Answer.As == as {
			n++
		}
	}
	return n
}

func TestADeadNodesUnitsAreClaimedInTheStepOfTheVerdict(t *testing.T) {
	units := addresses("192.0.2.1", 30)
	p := newPeer(t, map[string][]Unit{"node-1": units[:15], "node-2": units[15:]}, units)
	mine := 0
	for _, u := range units[:15] {
		if d := p.m.Deputies(u); len(d) != 2 || d[0] == "node-1" || d[1] == "node-1" {
			t.Fatalf("deputies of %v: %q", u, d)
		} else if d[0] == "node-0" {
			mine++
		}
	}
	// node-2 has 15 already.
	if mine != 15 {
		t.Fatalf("first deputy of %d of 15", mine)
	}
	out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Dead}}})
	if got := roles(out, Own); got != 15 || len(out.Moves) != 15 {
		t.Fatalf("answers for %d, moves %v", got, out.Moves)
	}
	for _, a := range out.Answers {
		if a.Answer.Claim {
			t.Errorf("%v is looked for first, though it was in use a moment ago", a.Unit)
		}
	}
	told := 0
	for _, s := range out.Send {
		if c, ok := s.Message.(*Claims); ok && s.To == nil && c.Node == "node-0" {
			told += len(c.Changes)
		}
	}
	if told != 15 {
		t.Errorf("told of %d claims in the same step", told)
	}
	for _, mv := range out.Moves {
		if mv.From != "node-1" || mv.To != "node-0" || mv.Cause != CauseLoss {
			t.Errorf("move %+v", mv)
		}
	}
}

func TestStandInBeginsInTheStepOfTheVerdictAndEndsWhenTheOwnerIsHeard(t *testing.T) {
	units := addresses("192.0.2.1", 8)
	p := newPeer(t, map[string][]Unit{"node-1": units}, units)
	out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Silent}}})
	if got := roles(out, StandIn); got != 8 || len(out.Moves) != 0 {
		t.Fatalf("stands in for %d, moves %v", got, out.Moves)
	}
	if a := p.m.Answer(units[0]); a.For != "node-1" || a.Claim {
		t.Errorf("answer %+v", a)
	}
	p.member("node-1", func(m *Member) { m.Life, m.Serving = 10, false })
	if out := p.pass(100 * time.Millisecond); len(out.Answers) > 0 {
		t.Errorf("changes %v though the new speaker does not serve yet", out.Answers)
	}
	p.member("node-1", func(m *Member) { m.Serving = true })
	var whole []Change
	for _, u := range units {
		whole = append(whole, Change{u, Claim{Term: 1}})
	}
	out = p.step(Input{Messages: []Received{{From: "node-1", Life: 10, Message: &Claims{Node: "node-1", To: Version{Epoch: 2, Life: 10, Number: 1}, Changes: whole}}}})
	if got := roles(out, Nothing); got != 8 || len(out.Moves) != 0 {
		t.Errorf("falls silent for %d, moves %v", got, out.Moves)
	}
}

func TestARestartThatWasSaidIsStoodInForAtOnce(t *testing.T) {
	units := addresses("192.0.2.1", 3)
	p := newPeer(t, map[string][]Unit{"node-1": units}, units)
	p.member("node-1", func(m *Member) { m.Restarting = true })
	if got := roles(p.step(Input{}), StandIn); got != 3 {
		t.Errorf("stands in for %d", got)
	}
}

func TestAnotherLifeOfTheSameMachineIsTold(t *testing.T) {
	units := addresses("192.0.2.1", 3)
	p := newPeer(t, map[string][]Unit{"node-1": nil}, units)
	p.member("node-0", func(m *Member) { m.Life = 77 })
	out := p.step(Input{})
	if len(out.Send) == 0 {
		t.Fatal("nothing is told")
	}
	c, ok := out.Send[0].Message.(*Claims)
	if !ok || c.To.Life != 77 || c.Base != 0 || len(c.Changes) != p.m.OwnedCount() || len(out.Answers) > 0 {
		t.Errorf("says %+v, answers %v", out.Send[0].Message, out.Answers)
	}
}

// Deputies that were worked out while this node could take nothing, because it had been stopped, are worked out anew when it can.
func TestWhoWasStoppedIsADeputyAgain(t *testing.T) {
	units := addresses("192.0.2.1", 6)
	p := newPeer(t, map[string][]Unit{"node-1": units, "node-2": nil}, units)
	p.now = p.now.Add(5 * time.Second)
	p.step(Input{})
	p.step(Input{Units: map[Unit]Placement{units[0]: {Candidates: []Candidate{{Node: "node-0"}, {Node: "node-1"}, {Node: "node-2"}}, Failback: Failback{Policy: Immediate}}}})
	for range 15 {
		p.pass(200 * time.Millisecond) // a second of it nobody answers what it asks
	}
	for _, u := range units {
		if d := p.m.Deputies(u); len(d) != 2 {
			t.Errorf("deputies of %v are %q", u, d)
		}
	}
}

func TestStandInCanBeSwitchedOff(t *testing.T) {
	units := addresses("192.0.2.1", 3)
	p := newPeer(t, map[string][]Unit{"node-1": units}, units)
	p.m.config.NoStandIn = true
	if out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Silent}}}); len(out.Answers) > 0 {
		t.Errorf("answers %v", out.Answers)
	}
}

func TestTwoClaimsAreResolvedInOneExchange(t *testing.T) {
	u := unitAt("192.0.2.1")
	for _, row := range []struct {
		name  string
		claim Claim
		keeps bool
	}{
		{"the later term wins", Claim{Term: 2}, false},
		{"a provisional claim yields", Claim{Term: 9, Provisional: true}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPeer(t, map[string][]Unit{"node-1": nil, "node-2": nil}, nil)
			p.step(Input{Units: map[Unit]Placement{u: {Candidates: []Candidate{{Node: "node-0"}}}}})
			if p.m.Owner(u) != "node-0" {
				t.Fatal(p.m.Explain(u))
			}
			p.step(Input{Units: map[Unit]Placement{u: {Candidates: []Candidate{{Node: "node-0"}, {Node: "node-1"}}}},
				Evidence: []Evidence{{Unit: u, Found: FoundFree}}})
			out := p.step(Input{Messages: []Received{claimsOf("node-1", 2, Change{u, row.claim})}})
			if row.keeps {
				if p.m.Owner(u) != "node-0" || len(out.Answers) > 0 {
					t.Fatalf("%s; answers %v", p.m.Explain(u), out.Answers)
				}
				out = p.step(Input{Messages: []Received{claimsOf("node-1", 3, Change{Unit: u})}})
				if !slices.Equal(out.Reannounce, []Unit{u}) {
					t.Errorf("the other has fallen silent, announced again: %v", out.Reannounce)
				}
				return
			}
			if p.m.Owner(u) != "node-1" || roles(out, Nothing) != 1 {
				t.Fatalf("%s; answers %v", p.m.Explain(u), out.Answers)
			}
			if c, ok := out.Send[0].Message.(*Claims); !ok || len(c.Changes) != 1 || c.Changes[0].Claim.Term != 0 {
				t.Errorf("says %+v, not that it gave up", out.Send)
			}
		})
	}
}

func TestWhatASuspiciousNodeClaimsBecomesSolidWhenItIsSuspiciousNoMore(t *testing.T) {
	units := addresses("192.0.2.1", 6)
	p := newPeer(t, map[string][]Unit{"node-1": units[:3], "node-2": units[3:]}, units)
	p.in.Isolated = true
	out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", State: Dead}, {Node: "node-2", State: Dead}}})
	if len(out.Answers) > 0 {
		t.Fatalf("claims at once: %v", out.Answers)
	}
	if out = p.pass(isolatedFor); roles(out, Own) != 6 {
		t.Fatalf("claims %d after a second", roles(out, Own))
	}
	provisional := func() (n int) {
		for _, c := range p.m.self.set {
			if c.Provisional {
				n++
			}
		}
		return n
	}
	for range 20 {
		p.pass(300 * time.Millisecond)
	}
	if provisional() != 6 {
		t.Fatalf("%d are provisional while it suspects itself", provisional())
	}
	p.in.Isolated = false
	for range 5 {
		p.pass(300 * time.Millisecond)
	}
	if provisional() != 6 {
		t.Fatal("solid too soon")
	}
	p.pass(500 * time.Millisecond)
	p.pass(500 * time.Millisecond)
	if provisional() != 0 {
		t.Errorf("%d are provisional still", provisional())
	}
}

// A node that is cut off in the moment in which one of the others has just answered takes that one for silent and the rest for dead.
func TestWhoHearsNoSpeakerWhileAKernelSeemsToAnswerClaimsProvisionally(t *testing.T) {
	units := addresses("192.0.2.1", 6)
	p := newPeer(t, map[string][]Unit{"node-1": units[:3], "node-2": units[3:]}, units)
	out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Silent}, {Node: "node-2", Life: 9, State: Dead}}})
	if roles(out, Own) > 0 {
		t.Fatalf("claims at once: %v", out.Answers)
	}
	taken := 0
	for range 20 {
		taken += roles(p.pass(300*time.Millisecond), Own)
	}
	if taken != 3 {
		t.Errorf("%d of 3 are taken from who is dead", taken)
	}
	for u, c := range p.m.self.set {
		if !c.Provisional {
			t.Errorf("the claim on %v is solid", u)
		}
	}

	// One that said that its speaker restarts is silent for that reason.
	p = newPeer(t, map[string][]Unit{"node-1": units[:3], "node-2": units[3:]}, units)
	p.member("node-1", func(m *Member) { m.Restarting = true })
	out = p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Silent}, {Node: "node-2", Life: 9, State: Dead}}})
	if roles(out, Own) != 3 {
		t.Errorf("beside one that restarts %d of 3 are taken at once", roles(out, Own))
	}
}

// Of two nodes without a router, whoever loses the other suspects itself, and so detection does not call the other dead.
func TestWhoSuspectsItselfTakesOverFromThoseOnlyGossipHasLost(t *testing.T) {
	for _, state := range []State{Unjudged, Alive, Silent} {
		units := addresses("192.0.2.1", 4)
		p := newPeer(t, map[string][]Unit{"node-1": units}, units)
		p.in.Isolated = true
		p.in.Members = p.in.Members[:1]
		out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: state}}})
		if roles(out, Own) > 0 {
			t.Fatalf("state %d: claims at once: %v", state, out.Answers)
		}
		taken := 0
		for range 8 {
			taken += roles(p.pass(300*time.Millisecond), Own)
		}
		if taken != 4 {
			t.Fatalf("state %d: %d of 4 are taken after %v", state, taken, 8*300*time.Millisecond)
		}
		for _, u := range units {
			if c, _ := p.m.mine(p.m.units[u]); !c.Provisional {
				t.Errorf("state %d: the claim on %v is solid", state, u)
			}
		}
	}
}

func TestAfterAPauseNothingIsSaidBeforeAMemberHasAnswered(t *testing.T) {
	units := addresses("192.0.2.1", 4)
	p := newPeer(t, map[string][]Unit{"node-1": units[:2]}, units)
	p.step(Input{Evidence: []Evidence{{Unit: units[2], Found: FoundFree}, {Unit: units[3], Found: FoundFree}}})
	out := p.pass(5 * time.Second)
	if !out.Mute || len(out.Answers) > 0 {
		t.Fatalf("mute: %v, answers %v", out.Mute, out.Answers)
	}
	var ask uint64
	for _, s := range out.Send {
		if d, ok := s.Message.(*Digest); ok && d.Ask != 0 {
			ask = d.Ask
		}
	}
	if ask == 0 {
		t.Fatal("nobody was asked")
	}
	// A verdict that had waited all the time is not acted on.
	p.now = p.now.Add(time.Millisecond)
	if out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Dead}}}); len(out.Answers) > 0 || !out.Mute {
		t.Fatalf("mute: %v, answers %v", out.Mute, out.Answers)
	}
	p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Alive}}})
	reply := &Digest{Reply: ask, Serving: true, Full: true, Sets: []SetVersion{{"node-1", Version{1, 9, 1}}}}
	if out := p.step(Input{Messages: []Received{{From: "node-1", Life: 9, Message: reply}}}); out.Mute {
		t.Error("still mute")
	}
	out = p.pass(2 * time.Second)
	if !out.Mute {
		t.Fatal("a second pause went unnoticed")
	}
	for range 5 {
		out = p.pass(250 * time.Millisecond)
	}
	if out.Mute {
		t.Error("mute although nobody answers for a second")
	}
}

func TestASpeakerAloneOwnsEverything(t *testing.T) {
	units := addresses("192.0.2.1", 5)
	p := newPeer(t, nil, units)
	if p.m.OwnedCount() != 5 || !p.m.Serving() || !p.m.Settled() {
		t.Errorf("owns %d", p.m.OwnedCount())
	}
	if a := p.m.Answer(units[0]); a != (Answer{As: Own, Claim: true}) {
		t.Errorf("a first claim is answered %+v", a)
	}
}

// What nobody announced is told when it is announced, after a cold start too; not what a speaker finds to have been its node's before.
func TestWhatIsClaimedInAColdStartIsAMoveAndWhatIsRememberedIsNot(t *testing.T) {
	units := addresses("192.0.2.1", 5)
	for _, row := range []struct {
		name       string
		remembered int
	}{
		{"nobody remembers anything", 0},
		{"another remembers two", 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := New(Config{Self: "node-0", Life: 5})
			in := Input{Whole: true, Session: 1, Accounted: true, Units: map[Unit]Placement{},
				Members: []Member{{Node: "node-0", Life: 5, Known: true}, {Node: "node-1", Life: 9, Known: true, Serving: true}}}
			for _, u := range units {
				in.Units[u] = Placement{Candidates: []Candidate{{Node: "node-0"}}}
			}
			former := &Claims{Node: "node-0", To: Version{Epoch: 1, Life: 4, Number: 1}}
			for _, u := range units[:row.remembered] {
				former.Changes = append(former.Changes, Change{u, Claim{Term: 1, Cause: CauseLoss}})
			}
			in.Messages = []Received{
				{From: "node-1", Life: 9, Message: &Claims{Node: "node-1", To: Version{Epoch: 1, Life: 9, Number: 1}}},
				{From: "node-1", Life: 9, Message: former},
			}
			var moves []Move
			for i := range 50 {
				moves = append(moves, m.Step(start.Add(time.Duration(i)*100*time.Millisecond), in).Moves...)
				in.Messages, in.Units = nil, nil
			}
			if m.OwnedCount() != 5 || len(moves) != 5-row.remembered {
				t.Fatalf("owns %d, told %v", m.OwnedCount(), moves)
			}
			for _, move := range moves {
				if move.From != "" || move.To != "node-0" || move.Cause != CauseFirstClaim {
					t.Errorf("told %+v", move)
				}
			}
		})
	}
}

func TestNothingIsClaimedOnHalfAView(t *testing.T) {
	m := New(Config{Self: "node-0", Life: 1})
	u := unitAt("192.0.2.1")
	in := Input{Session: 1, Members: []Member{{Node: "node-0", Life: 1}}, Units: map[Unit]Placement{u: {Candidates: []Candidate{{Node: "node-0"}}}}}
	for i := range 40 {
		out := m.Step(start.Add(time.Duration(i)*100*time.Millisecond), in)
		if out.Serving || len(out.Answers) > 0 {
			t.Fatal("it serves before its view is whole")
		}
	}
	in.Whole, in.Units = true, nil // but not all speakers that should exist are accounted for
	began := start.Add(4 * time.Second)
	for i := range 40 {
		out := m.Step(began.Add(time.Duration(i)*100*time.Millisecond), in)
		if want := i >= 30; out.Serving != want {
			t.Fatalf("after %d ms, serving: %v", i*100, out.Serving)
		}
	}
}

func TestAStepWithoutNewsDoesNothing(t *testing.T) {
	units := addresses("192.0.2.1", 12)
	p := newPeer(t, map[string][]Unit{"node-1": units[:6], "node-2": units[6:]}, units)
	for range 20 {
		out := p.pass(100 * time.Millisecond)
		if len(out.Answers)+len(out.Moves)+len(out.Reannounce)+len(out.Look) > 0 {
			t.Fatalf("%+v", out)
		}
		for _, s := range out.Send {
			if d, ok := s.Message.(*Digest); !ok || len(d.Sets) > 1 && !d.Full {
				t.Errorf("says %+v", s.Message)
			}
		}
	}
}

func TestExplainSaysWhoAndWhy(t *testing.T) {
	units := addresses("192.0.2.1", 3)
	p := newPeer(t, map[string][]Unit{"node-1": units[:1], "node-2": units[1:2]}, units)
	for _, row := range []struct {
		do   func()
		unit Unit
		want []string
	}{
		{nil, units[0], []string{"owned by node-1", "nobody had it", "deputies are node-"}},
		{nil, unitAt("192.0.2.99"), []string{"no node may answer"}},
		{nil, units[2], []string{"owned by node-0"}},
		{func() {
			p.step(Input{Evidence: []Evidence{{Unit: units[2], Found: FoundHeld, By: "02:00:00:00:00:01"}}})
		}, units[2], []string{"holds the address"}},
		{func() { p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Silent}}}) }, units[0], []string{"silent"}},
		{func() { p.step(Input{Verdicts: []Verdict{{Node: "node-2", Life: 9, State: Dead}}}) }, units[1], []string{"node-0", "lost"}},
	} {
		if row.do != nil {
			row.do()
		}
		got := p.m.Explain(row.unit)
		for _, want := range row.want {
			if !strings.Contains(got, want) {
				t.Errorf("%v: %q lacks %q", row.unit, got, want)
			}
		}
	}
}

// Ten thousand units among three nodes: what a step costs goes with what changed.
func BenchmarkStep(b *testing.B) {
	units := addresses("10.0.0.1", 10000)
	claims := map[string][]Unit{"node-1": units[3333:6666], "node-2": units[6666:]}
	b.Run("nothing new", func(b *testing.B) {
		p := newPeer(b, claims, units)
		for b.Loop() {
			p.now = p.now.Add(time.Millisecond)
			p.m.Step(p.now, p.in)
		}
	})
	b.Run("one claim changes", func(b *testing.B) {
		p := newPeer(b, claims, units)
		n := uint64(1)
		for b.Loop() {
			p.now = p.now.Add(time.Millisecond)
			n++
			in := p.in
			in.Messages = []Received{claimsOf("node-1", n, Change{units[4000], Claim{Term: 1, Held: n%2 == 0}})}
			p.m.Step(p.now, in)
		}
	})
	b.Run("a node is lost", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			p := newPeer(b, claims, units)
			in := p.in
			in.Verdicts = []Verdict{{Node: "node-1", Life: 9, State: Dead}}
			b.StartTimer()
			p.m.Step(p.now, in)
		}
	})
	b.Run("all deputies", func(b *testing.B) {
		p := newPeer(b, claims, units)
		for b.Loop() {
			for _, g := range p.m.groups {
				p.m.deputize(g)
			}
		}
	})
}

func TestDeputiesOfManyNodesAreSpreadEvenly(t *testing.T) {
	units := addresses("192.0.2.1", 200)
	claims := map[string][]Unit{}
	for i := range 10 {
		claims[fmt.Sprintf("node-%d", i+1)] = units[i*20 : i*20+20]
	}
	p := newPeer(t, claims, units)
	for name, had := range claims {
		first := map[string]int{}
		for _, u := range had {
			first[p.m.Deputies(u)[0]]++
		}
		// node-0 has nothing, so it is first where it can be.
		if first["node-0"] != 20 {
			t.Errorf("first deputies of %s: %v", name, first)
		}
	}
}

// A node whose link is back after it was cut off takes all the others for lost, until it hears from them.
func TestWhoHearsNobodyClaimsNothingAtOnce(t *testing.T) {
	units := addresses("192.0.2.1", 4)
	p := newPeer(t, map[string][]Unit{"node-1": units}, units)
	p.in.Members = p.in.Members[:1]
	if out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Dead}}}); roles(out, Own) > 0 {
		t.Fatalf("claims at once: %v", out.Answers)
	}
	taken := 0
	for range 4 {
		taken += roles(p.pass(300*time.Millisecond), Own)
	}
	if taken != 4 {
		t.Errorf("%d of 4 are taken after 1.2 s", taken)
	}
}

// A successor that dies may have announced what it was offered, with its last breath.
func TestAnOwnerWhoseSuccessorVanishesAnnouncesOnceMore(t *testing.T) {
	units := addresses("192.0.2.1", 1)
	p := newPeer(t, map[string][]Unit{"node-1": nil}, units)
	p.step(Input{Evidence: []Evidence{{Unit: units[0], Found: FoundFree}}})
	if p.m.Answer(units[0]) != (Answer{As: Own}) {
		t.Fatalf("owned by %q", p.m.Owner(units[0]))
	}
	out := p.step(Input{Orders: []Order{{Unit: units[0], To: "node-1"}}})
	if !slices.ContainsFunc(out.Send, func(s Send) bool { _, offers := s.Message.(*Offer); return offers }) {
		t.Fatalf("nothing is offered: %+v", out.Send)
	}
	out = p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Dead}}})
	if !slices.Equal(out.Reannounce, units) || p.m.Answer(units[0]).As != Own {
		t.Errorf("%v are announced, answered as %+v", out.Reannounce, p.m.Answer(units[0]))
	}
}

// A member that makes up nodes and addresses does not exhaust the memory of others, and what is true is known beside it.
func TestWhatIsMadeUpIsNotRememberedWithoutBounds(t *testing.T) {
	units := addresses("192.0.2.1", 2)
	p := newPeer(t, map[string][]Unit{"node-1": units[1:]}, units)
	say := func(name string, number uint64, claimed []Unit) {
		c := &Claims{Node: name, Base: number - 1, To: Version{Epoch: 1, Life: 9, Number: number}}
		for _, u := range claimed {
			c.Changes = append(c.Changes, Change{u, Claim{Term: 1}})
		}
		p.step(Input{Messages: []Received{{From: "node-1", Life: 9, Message: c}, {From: name, Life: 9, Message: &Digest{}}}})
	}
	for i := range maxNodes + 100 {
		say(sprint("nobody-", i), 1, nil)
	}
	for i := range uint64(2 * maxStrangers / 4096) {
		say("node-1", 2+i, addresses(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}).String(), 4096))
	}
	if len(p.m.nodes) > maxNodes || p.m.strangers() > maxStrangers {
		t.Errorf("%d nodes and %d units are remembered", len(p.m.nodes), len(p.m.units))
	}
	if p.m.Owner(units[1]) != "node-1" {
		t.Errorf("%v is owned by %q", units[1], p.m.Owner(units[1]))
	}
}
