package speaker

import (
	"slices"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/gossip"
)

func TestAStallIsFelt(t *testing.T) {
	var p pulse
	now := start
	for i, row := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {beat, false}, {time.Millisecond, false}, {beat + stall, false}, {beat + stall + 1, true}, {beat, false}, {time.Hour, true}} {
		now = now.Add(row.after)
		if got := p.feel(now); got != row.want {
			t.Errorf("look %d, after %v: stalled is %v", i, row.after, got)
		}
	}
}

// Whoever comes back may have announced what others announce now, so that is announced again: once what it says
// of itself is known, for only then is it decided what this node gives up to it.
func TestWhoeverComesBackIsNoticedOnce(t *testing.T) {
	member := func(name string, known bool) gossip.Member { return gossip.Member{Node: name, Known: known} }
	d := newDecider("a", false)
	for _, row := range []struct {
		name    string
		members []gossip.Member
		want    bool
	}{
		{"itself", []gossip.Member{member("a", true)}, false},
		{"heard, not known", []gossip.Member{member("a", true), member("b", false)}, false},
		{"known", []gossip.Member{member("a", true), member("b", true)}, true},
		{"nothing new", []gossip.Member{member("a", true), member("b", true)}, false},
		{"lost", []gossip.Member{member("a", true)}, false},
		{"back", []gossip.Member{member("a", true), member("b", true)}, true},
	} {
		s := seen{synced: true, links: lanLinks, gossip: gossip.Snapshot{Running: true, Members: row.members}}
		d.look(s)
		s.gossip.Members = slices.Clone(row.members)
		d.look(s) // looked at twice before the step
		if got := d.step(start).joined; got != row.want {
			t.Errorf("%s: joined is %v", row.name, got)
		}
	}
}
