package speaker

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// What is told of an address holds when it is told.
func TestAMoveIsToldWhenTheAddressIsAnswered(t *testing.T) {
	const self = "a"
	at := func(ms int) time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(ms) * time.Millisecond) }
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	to := func(node string, addresses ...netip.Addr) (moves []ownership.Move) {
		for _, a := range addresses {
			moves = append(moves, ownership.Move{Unit: unitOf(a), To: node, Cause: ownership.CauseFirstClaim})
		}
		return moves
	}
	type step struct {
		at             int
		moves          []ownership.Move
		answered, held []netip.Addr
		want           []netip.Addr
		waits          bool
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"it is told once the probe has ended", []step{
			{at: 0, moves: to(self, one), waits: true},
			{at: 200, waits: true},
			{at: 320, answered: []netip.Addr{one}, want: []netip.Addr{one}},
			{at: 500, answered: []netip.Addr{one}},
		}},
		{"those taken together are told together", []step{
			{at: 0, moves: to(self, two, one), waits: true},
			{at: 320, answered: []netip.Addr{one}, waits: true},
			{at: 1100, answered: []netip.Addr{one, two}, want: []netip.Addr{one, two}},
		}},
		{"not for ever: one that is not answered does not keep the other from being told", []step{
			{at: 0, moves: to(self, one, two), waits: true},
			{at: 2000, answered: []netip.Addr{one}, want: []netip.Addr{one}},
			{at: 9000, answered: []netip.Addr{one, two}, want: []netip.Addr{two}},
		}},
		{"one that a foreign host holds is told when that host is gone", []step{
			{at: 0, moves: to(self, one, two), waits: true},
			{at: 300, answered: []netip.Addr{one}, held: []netip.Addr{two}, want: []netip.Addr{one}},
			{at: 60000, answered: []netip.Addr{one, two}, want: []netip.Addr{two}},
		}},
		{"one that was taken on by another is that one's to tell", []step{
			{at: 0, moves: to(self, one), waits: true},
			{at: 100, moves: to("b", one)},
			{at: 300, answered: []netip.Addr{one}},
		}},
		{"one that nobody may announce any more is not told", []step{
			{at: 0, moves: to(self, one), waits: true},
			{at: 100, moves: to("", one)},
			{at: 300, answered: []netip.Addr{one}},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := newUntold()
			for _, s := range row.steps {
				u.add(at(s.at), s.moves, self)
				told, wakeAt := u.take(at(s.at), func(a netip.Addr) bool { return slices.Contains(s.answered, a) },
					func(a netip.Addr) bool { return slices.Contains(s.held, a) })
				var got []netip.Addr
				for _, m := range told {
					got = append(got, m.Unit.Address)
				}
				if !slices.Equal(got, s.want) || wakeAt.IsZero() == s.waits {
					t.Errorf("after %d ms: told of %v, wants to look again at %v; want %v", s.at, got, wakeAt, s.want)
				}
			}
			if len(u.taken)+len(u.late) > 0 {
				t.Errorf("left: %v", u)
			}
		})
	}
}

// A cluster in which Services are made all the time tells of them all the same, each once and while it is news.
func TestMovesAreToldWhileMoreCome(t *testing.T) {
	const each, many = 300 * time.Millisecond, 40
	start := time.Unix(1_700_000_000, 0)
	taken, toldAt := map[netip.Addr]time.Time{}, map[netip.Addr]time.Time{}
	u, a := newUntold(), netip.MustParseAddr("192.0.2.0")
	for now := start; now.Before(start.Add(many*each + tellWithin)); now = now.Add(50 * time.Millisecond) {
		if since := now.Sub(start); since%each == 0 && since < many*each {
			a = a.Next()
			taken[a] = now
			u.add(now, []ownership.Move{{Unit: unitOf(a), To: "a", Cause: ownership.CauseFirstClaim}}, "a")
		}
		told, _ := u.take(now, func(a netip.Addr) bool { return now.Sub(taken[a]) >= 500*time.Millisecond }, func(netip.Addr) bool { return false })
		for _, m := range told {
			if at, twice := toldAt[m.Unit.Address]; twice {
				t.Errorf("%s was told at %v, and again at %v", m.Unit.Address, at, now)
			}
			toldAt[m.Unit.Address] = now
			if late := now.Sub(taken[m.Unit.Address]); late > tellWithin {
				t.Errorf("%s was told %v after it was taken", m.Unit.Address, late)
			}
		}
	}
	if len(toldAt) != many {
		t.Errorf("told of %d addresses of %d", len(toldAt), many)
	}
}

// Addresses that can't be answered may be many, and for long.
func TestWhatIsNeverAnsweredIsSeldomLookedAt(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	u, stuck := newUntold(), netip.MustParseAddr("192.0.2.1")
	u.add(start, []ownership.Move{{Unit: unitOf(stuck), To: "a", Cause: ownership.CauseFirstClaim}}, "a")
	asked := 0
	for now := start.Add(tellWithin); now.Before(start.Add(time.Minute)); now = now.Add(10 * time.Millisecond) {
		u.take(now, func(netip.Addr) bool { asked++; return false }, func(netip.Addr) bool { return false })
	}
	if asked > 35 {
		t.Errorf("in a minute it was asked %d times whether the address is answered", asked)
	}
}

// Who reads that an address has moved away from a node learns what was the matter with that node.
func TestAMoveSaysWhatSpokeAgainstItsOwner(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(l *lan, owner string)
		want   string
	}{
		{"drained", func(l *lan, owner string) {
			l.put(func(c *cluster) { c.setNode(owner, &node{plan: plan.Node{Name: owner, Signals: plan.Draining}}) })
		}, "its owner was no longer among the best placed (the Node has the label clarion.dev/drain)"},
		{"excluded", func(l *lan, owner string) {
			l.put(func(c *cluster) {
				c.setNode(owner, &node{plan: plan.Node{Name: owner, Labels: map[string]string{v1beta1.LabelExcludeNode: ""}}})
			})
		}, "its owner left or may no longer answer (the node has the label " + v1beta1.LabelExcludeNode + ")"},
		{"unplugged", func(l *lan, owner string) { l.cut = map[string]bool{owner: true} },
			"its owner left or may no longer answer (the link is down: eth0)"},
		{"lost", func(l *lan, owner string) { l.stop(owner) }, "its owner was lost"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLAN(t, "a", "b", "c")
			l.service(newService("web", "192.0.2.1"))
			l.endpoints("web", "a", "b", "c")
			l.step()
			owner := l.owner("192.0.2.1")
			row.change(l, owner)
			var told []string
			for name, decided := range l.wait(time.Second) {
				for _, m := range append(l.stopped[name].Moves, decided.Moves...) {
					if m.To == name {
						told = append(told, fmt.Sprintf("from %s: %s", m.From, l.deciders[name].whyMoved(m)))
					}
				}
			}
			if want := []string{"from " + owner + ": " + row.want}; !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
		})
	}
}
