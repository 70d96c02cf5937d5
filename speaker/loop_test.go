package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// newTestLoop is a loop on node a that announces on paper and serves a Service with an endpoint on every node.
func newTestLoop(t testing.TB) (*loop, *paper) {
	t.Helper()
	p, server := newPaper(), newServer()
	s := &speaker{Options: Options{NodeName: "a", Log: discard}, announcer: p, feed: newFeed(), ready: &readiness{},
		gossip: gossip.New(gossip.Options{Node: "a"}), herald: newHerald(server, discard, func(string) {}),
		portrait: newPortrait(server, discard, "a", func(string) {}), crier: newCrier(server, discard, "a", func(string) {})}
	t.Cleanup(s.herald.queue.ShutDown)
	s.messages = newInbox[ownership.Received](maxMessages, func() {})
	s.detector = newDetector("a", s.gossip.Life(), 0, func() {})
	s.proxy = &proxyWatch{}
	s.meters = newMeters(prometheus.NewRegistry(), silent)
	s.uplink = &uplink{bgp: newPaperBGP(), bfd: newPaperBFD(), log: discard, poke: func() {}}
	l := newLoop(s)
	s.herald.done = l.heraldDone
	c := l.decider.cluster
	c.setAdvertisement("everything", &plan.Advertisement{Name: "everything"})
	c.setNode("a", &node{plan: plan.Node{Name: "a"}})
	c.setService(webKey, serviceOf(newService("web", "192.0.2.1"), allClasses))
	family := layer2.IPv4
	c.setSlice(types.NamespacedName{Name: "web-1"}, &slice{service: webKey, family: family, endpoints: plan.Endpoints{"a": {Ready: true}}})
	return l, p
}

func (l *loop) lookAt(t testing.TB, now time.Time, s gossip.Snapshot) {
	for _, do := range l.feed.take() {
		do(l.decider.cluster)
	}
	l.decider.look(seen{synced: true, gossip: s, links: lanLinks})
	state, _ := l.announcer.State()
	l.act(t.Context(), now, state, news{evidence: l.decider.conflicts.see(state, l.decider.answers)})
}

func TestTheLoopAnnounces(t *testing.T) {
	l, p := newTestLoop(t)
	a := gossip.Member{Node: "a", Known: true, Facts: gossip.Facts{Life: l.gossip.Life(), Links: gossipLinks(lanLinks)}}
	alone := gossip.Snapshot{Running: true, Session: 1, Accounted: true, Members: []gossip.Member{a}}
	unintelligible := alone
	unintelligible.Unintelligible = true

	now := start
	for _, row := range []struct {
		name      string
		after     time.Duration
		sees      gossip.Snapshot
		announces bool
	}{
		{"settling", 0, alone, false},
		{"others are there, and not understood", beat, unintelligible, false},
		{"nor a while later", 5 * beat, unintelligible, false},
		{"settling again", beat, alone, false},
		{"settled", beat, alone, true},
		{"gossip has ended: what it has it keeps", beat, gossip.Snapshot{}, true},
		{"gossip begins again", beat, gossip.Snapshot{Running: true, Session: 2, Accounted: true, Members: alone.Members}, true},
		{"settled again", beat, gossip.Snapshot{Running: true, Session: 2, Accounted: true, Members: alone.Members}, true},
	} {
		for range row.after / (20 * time.Millisecond) {
			now = now.Add(20 * time.Millisecond)
			l.lookAt(t, now, row.sees)
		}
		l.lookAt(t, now, row.sees)
		if got := len(p.desired) == 1; got != row.announces {
			t.Fatalf("%s: announces %v", row.name, p.desired)
		}
	}
}

// The herald's report has the Service looked at again, and so written again if the condition is not seen.
func TestWhatIsNeverSeenIsSaidAgain(t *testing.T) {
	l, _ := newTestLoop(t)
	alone := gossip.Snapshot{Running: true, Session: 1, Accounted: true,
		Members: []gossip.Member{{Node: "a", Known: true, Facts: gossip.Facts{Life: l.gossip.Life(), Links: gossipLinks(lanLinks)}}}}
	now := time.Now()
	for range 5 {
		l.lookAt(t, now, alone)
		now = now.Add(beat)
	}
	wanted := func() bool {
		return l.herald.want[webKey].uid == l.decider.services[webKey].uid && len(l.herald.want) == 1
	}
	if !wanted() {
		t.Fatal("not said")
	}
	l.herald.write(t.Context(), webKey)
	l.lookAt(t, now, alone)
	if len(l.herald.want) > 0 {
		t.Fatal("said again at once")
	}
	l.lookAt(t, now.Add(2*seenWithin), alone)
	if !wanted() {
		t.Error("not said again")
	}
}

func TestAddressesAreCountedByThisNodesReason(t *testing.T) {
	l, _ := newTestLoop(t)
	a := gossip.Member{Node: "a", Known: true, Facts: gossip.Facts{Life: l.gossip.Life(), Links: gossipLinks(lanLinks)}}
	alone := gossip.Snapshot{Running: true, Session: 1, Accounted: true, Members: []gossip.Member{a}}
	reasons := func() map[v1beta1.Reason]int {
		if counted := l.meters.eligible.Load(); counted != nil {
			return *counted
		}
		return nil
	}
	now := start
	expect := func(story string, want map[v1beta1.Reason]int) {
		t.Helper()
		for range 3 {
			now = now.Add(countEvery)
			l.lookAt(t, now, alone)
		}
		if got := reasons(); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", story, got, want)
		}
	}
	expect("the node may", map[v1beta1.Reason]int{v1beta1.ReasonEligible: 1})
	l.feed.put(func(c *cluster) {
		c.setNode("a", &node{plan: plan.Node{Name: "a", Labels: map[string]string{v1beta1.LabelExcludeNode: ""}}})
	})
	expect("the node is excluded", map[v1beta1.Reason]int{v1beta1.ReasonNodeExcluded: 1})
	before := l.meters.eligible.Load()
	expect("nothing changes", map[v1beta1.Reason]int{v1beta1.ReasonNodeExcluded: 1})
	if l.meters.eligible.Load() != before {
		t.Error("what has not changed was counted anew")
	}
	l.feed.put(func(c *cluster) { c.setService(webKey, nil) })
	expect("the Service is gone", map[v1beta1.Reason]int{})
}

// TestWhoObservesIsReadyWithoutTheOthers: an install in observe mode rolls out, though nobody makes the keys for gossip.
func TestWhoObservesIsReadyWithoutTheOthers(t *testing.T) {
	for observe, want := range map[bool]int{true: 0, false: 1} {
		l, _ := newTestLoop(t)
		l.Observe = observe
		l.lookAt(t, start, gossip.Snapshot{})
		if waits := l.ready.get(); len(waits) != want {
			t.Errorf("observing %v: waits for %q", observe, waits)
		}
	}
}

// What it costs, from the informers' news to layer 2's tables, that one Service more comes and is answered for, beside others.
func BenchmarkOneServiceMore(b *testing.B) {
	for _, others := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			l, _ := newTestLoop(b)
			l.announcer = layer2.New(layer2.Options{})
			links := []layer2.Link{{Name: "eth0", Up: true, HardwareAddr: layer2.MAC{2, 1}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
			snapshot := gossip.Snapshot{Running: true, Session: 1, Accounted: true, Members: []gossip.Member{
				{Node: "a", Known: true, Facts: gossip.Facts{Life: l.gossip.Life(), Links: gossipLinks(links)}}}}
			count, now := 0, start
			at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
			// At layer 2 all goes well: else those that are not answered are what takes long.
			well := layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Status: layer2.Answering}}}
			for i := range 1 << 16 {
				well.Segments[0].Answered = append(well.Segments[0].Answered, at(i))
			}
			one := func() {
				name, at := fmt.Sprint("web-", count), at(count).String()
				count++
				key := types.NamespacedName{Namespace: "default", Name: name}
				s := serviceOf(newService(name, at), allClasses)
				l.feed.put(func(c *cluster) { c.setService(key, s) })
				l.feed.put(func(c *cluster) {
					c.setSlice(key, &slice{service: key, family: layer2.IPv4, endpoints: plan.Endpoints{"a": {Ready: true}}})
				})
			}
			look := func(n news) {
				for _, do := range l.feed.take() {
					do(l.decider.cluster)
				}
				now = now.Add(10 * time.Millisecond)
				l.decider.look(seen{synced: true, gossip: snapshot, links: links})
				l.act(b.Context(), now, well, n)
			}
			free := func() (n news) {
				for u, answer := range l.decider.answers {
					if answer.Claim {
						n.evidence = append(n.evidence, ownership.Evidence{Unit: u, Found: ownership.FoundFree})
					}
				}
				return n
			}
			for range others {
				one()
			}
			for range 600 {
				look(news{})
			}
			look(free())
			if n := l.decider.machine.OwnedCount(); n != others {
				b.Fatalf("%d addresses", n)
			}
			b.ReportAllocs()
			for b.Loop() {
				one()
				look(news{})
				u := unitOf(at(count - 1))
				look(news{evidence: []ownership.Evidence{{Unit: u, Found: ownership.FoundFree}}})
				if l.decider.answers[u] != (ownership.Answer{As: ownership.Own}) {
					b.Fatalf("answers %+v", l.decider.answers[u])
				}
			}
		})
	}
}
