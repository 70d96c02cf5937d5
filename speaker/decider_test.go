package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// lan is a cluster of deciders, one per node, that see the same: what each of them announces must
// be one owner's share.
type lan struct {
	t        testing.TB
	now      time.Time
	deciders map[string]*decider
	objects  []func(*cluster) // all that was ever put, for those that start later
	seen     gossip.Snapshot
	lost     []gossip.Member
	links    []layer2.Link
	life     uint64
	post     map[string]news
	stopped  map[string]decided // what the last stop came to

	// late are changes of objects that have not come to a node yet, and what else happens there later; lag is how long they
	// take, nil for no time.
	late map[string][]later
	lag  func() time.Duration
	// watch is called after each step, and drop for each message: whether it is lost.
	watch func()
	drop  func() bool
	// cut are nodes whose links are down, while gossip reaches them another way.
	cut map[string]bool
	// foreign are addresses that a host has that is no node.
	foreign map[netip.Addr]bool
	// told are each node's announcements as it would have told layer 2 of them, by address.
	told map[*decider]map[netip.Addr][]layer2.Announcement
}

type later struct {
	at time.Time
	do func(*decider)
}

var lanLinks = []layer2.Link{{Name: "eth0", Up: true, HardwareAddr: layer2.MAC{2, 1}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}}}

// newLAN has nodes with speakers that serve, and an advertisement of everything.
func newLAN(t testing.TB, names ...string) *lan {
	l := &lan{t: t, now: time.Unix(1_700_000_000, 0), deciders: map[string]*decider{}, links: lanLinks, post: map[string]news{}, late: map[string][]later{},
		told: map[*decider]map[netip.Addr][]layer2.Announcement{}}
	l.put(func(c *cluster) {
		c.setAdvertisement("everything", &plan.Advertisement{Name: "everything", Settings: plan.DefaultSettings})
	})
	for _, name := range names {
		l.put(func(c *cluster) { c.setNode(name, &node{plan: plan.Node{Name: name}}) })
		l.start(name)
	}
	l.wait(5 * time.Second)
	return l
}

// names are the nodes whose speakers run, in order: the same is done in the same order each time.
func (l *lan) names() []string { return slices.Sorted(maps.Keys(l.deciders)) }

func (l *lan) put(do func(*cluster)) {
	l.objects = append(l.objects, do)
	for _, name := range l.names() {
		d := l.deciders[name]
		if l.lag == nil {
			do(d.cluster)
			continue
		}
		at := l.now.Add(l.lag())
		if waiting := l.late[name]; len(waiting) > 0 && waiting[len(waiting)-1].at.After(at) {
			at = waiting[len(waiting)-1].at // they come in order
		}
		l.late[name] = append(l.late[name], later{at, func(d *decider) { do(d.cluster) }})
	}
}

func (l *lan) start(name string) {
	l.life++
	d := newDecider(name, l.life, false, standIn{})
	for _, do := range l.objects {
		do(d.cluster)
	}
	l.deciders[name] = d
	l.lost = slices.DeleteFunc(l.lost, func(m gossip.Member) bool { return m.Node == name })
}

// stop has a node lost with all that was on it; the others know it.
func (l *lan) stop(name string) { l.end(name, detection.Dead) }

// end has a speaker end; the others know what has become of its node.
func (l *lan) end(name string, state detection.State) {
	i := slices.IndexFunc(l.seen.Members, func(m gossip.Member) bool { return m.Node == name })
	gone := l.seen.Members[i]
	gone.Known = false
	l.lost = append(l.lost, gone)
	delete(l.deciders, name)
	delete(l.late, name)
	l.judge(detection.Verdict{Node: name, Life: gone.Facts.Life, State: state})
	l.stopped = l.step()
}

// judge has all told of a verdict.
func (l *lan) judge(v detection.Verdict) {
	for name := range l.deciders {
		n := l.post[name]
		n.verdicts = append(n.verdicts, v)
		l.post[name] = n
	}
}

// step lets all deciders see each other, decide and talk, until nothing changes.
func (l *lan) step() map[string]decided { return l.wait(time.Second) }

// wait does so for a while.
func (l *lan) wait(d time.Duration) map[string]decided {
	out := map[string]decided{}
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(20 * time.Millisecond) {
		l.seen = gossip.Snapshot{Running: true, Session: 1, Accounted: true, Lost: l.lost}
		for _, name := range l.names() {
			d := l.deciders[name]
			links := gossipLinks(layer2.Select(l.linksOf(name), d.named))
			for i := range links {
				links[i].MAC[5] = name[0]
			}
			l.seen.Members = append(l.seen.Members, gossip.Member{Node: name, Known: true,
				Facts: gossip.Facts{Life: d.life, Serving: d.machine.Serving(), Links: links}})
		}
		now := l.post
		l.post = map[string]news{}
		for _, name := range l.names() {
			d := l.deciders[name]
			for len(l.late[name]) > 0 && !l.now.Before(l.late[name][0].at) {
				l.late[name][0].do(d)
				l.late[name] = l.late[name][1:]
			}
			d.look(seen{synced: true, gossip: l.seen, links: l.linksOf(name)})
			n := now[name]
			if len(d.conflicts.claiming) > 0 {
				n.evidence = d.conflicts.see(l.state(answeredBy(d)), d.answers)
			}
			decided := d.step(l.now, n)
			for _, s := range decided.Send {
				l.deliver(d, s)
			}
			before := out[name]
			decided.Moves = append(before.Moves, decided.Moves...)
			l.keepsUp(d, decided.revised)
			for key := range before.touched {
				decided.touched[key] = true
			}
			out[name] = decided
		}
		if l.watch != nil {
			l.watch()
		}
	}
	return out
}

// keepsUp fails unless what a node tells layer 2 of what it revises, step by step, comes to all that it has to announce.
func (l *lan) keepsUp(d *decider, r revision) {
	l.t.Helper()
	if len(d.addresses) > 100 {
		return // a benchmark, or as slow as one
	}
	if told := l.told[d]; told != nil && !r.all && len(r.addresses) == 0 && l.now.UnixMilli()%100 != 0 {
		return // what was forgotten is found a moment later
	}
	byAddress := func(all []layer2.Announcement) map[netip.Addr][]layer2.Announcement {
		by := map[netip.Addr][]layer2.Announcement{}
		for _, a := range all {
			by[a.Address] = append(by[a.Address], a)
		}
		return by
	}
	told, whole := l.told[d], byAddress(d.announcements())
	if told == nil || r.all {
		told = map[netip.Addr][]layer2.Announcement{}
		maps.Copy(told, whole)
		l.told[d] = told
	}
	for a := range r.addresses {
		delete(told, a)
	}
	maps.Copy(told, byAddress(d.announcementsOf(slices.Collect(maps.Keys(r.addresses)))))
	if !reflect.DeepEqual(told, whole) {
		l.t.Fatalf("%s has told layer 2 of %v, and announces %v", d.self, told, whole)
	}
	if d.view != nil && !d.allDirty && len(d.dirty) == 0 {
		reasons := map[v1beta1.Reason]int{}
		for a, decided := range d.addresses {
			if r := d.reasonOf(a, decided); r != "" {
				reasons[r]++
			}
		}
		if got := d.countReasons(); !maps.Equal(got, reasons) {
			l.t.Fatalf("%s counts %v, and it is %v", d.self, got, reasons)
		}
	}
	standIns := 0
	for _, a := range d.answers {
		if a.As == ownership.StandIn {
			standIns++
		}
	}
	if d.standIns != standIns {
		l.t.Fatalf("%s stands in for %d addresses, and counts %d", d.self, standIns, d.standIns)
	}
}

// linksOf are a node's links.
func (l *lan) linksOf(name string) []layer2.Link {
	if !l.cut[name] {
		return l.links
	}
	links := slices.Clone(l.links)
	for i := range links {
		links[i].Up = false
	}
	return links
}

// state is what comes of announcements: what is claimed is withheld where a foreign host has it, all else is answered.
func (l *lan) state(announcements []layer2.Announcement) layer2.State {
	var answered, withheld []layer2.Announcement
	for _, a := range announcements {
		if a.Claim && l.foreign[a.Address] {
			withheld = append(withheld, a)
		} else {
			answered = append(answered, a)
		}
	}
	state := answering(answered...)
	for _, a := range withheld {
		for _, name := range a.Interfaces {
			state.Segments = append(state.Segments, layer2.Segment{Interface: name, Family: layer2.FamilyOf(a.Address), Status: layer2.Answering,
				Addresses: []netip.Addr{a.Address}, Conflicts: []layer2.Conflict{{Address: a.Address, MAC: layer2.MAC{0x66}, Withheld: true}}})
		}
	}
	return state
}

// deliver has a message come as it went.
func (l *lan) deliver(from *decider, s ownership.Send) {
	m, err := ownership.Decode(s.Message.Append(nil))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, name := range l.names() {
		if l.drop != nil && !s.Reliable && l.drop() {
			continue
		}
		if name != from.self && (s.To == nil || slices.Contains(s.To, name)) {
			n := l.post[name]
			n.messages = append(n.messages, ownership.Received{From: from.self, Life: from.life, Message: m})
			l.post[name] = n
		}
	}
}

func (l *lan) service(o *corev1.Service) {
	l.put(func(c *cluster) {
		c.setService(types.NamespacedName{Namespace: o.Namespace, Name: o.Name}, serviceOf(o, allClasses))
	})
}

// endpoints gives a Service a ready endpoint on each of the nodes, in both families.
func (l *lan) endpoints(service string, nodes ...string) {
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		s := &discoveryv1.EndpointSlice{AddressType: family,
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
		for _, n := range nodes {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &n})
		}
		l.put(func(c *cluster) {
			c.setSlice(types.NamespacedName{Namespace: "default", Name: service + string(family)}, sliceOf(s))
		})
	}
}

// announced returns who announces what.
func (l *lan) announced() string {
	var out []string
	for name, d := range l.deciders {
		for _, a := range answeredBy(d) {
			out = append(out, fmt.Sprintf("%s@%s:%s", a.Address, name, strings.Join(a.Interfaces, "+")))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// answeredBy returns what a node is to answer for, without what it only stands by for.
func answeredBy(d *decider) []layer2.Announcement {
	return slices.DeleteFunc(d.announcements(), func(a layer2.Announcement) bool { return a.Standby })
}

// owner returns the one that announces an address.
func (l *lan) owner(address string) string {
	l.t.Helper()
	var owners []string
	for name, d := range l.deciders {
		for _, a := range answeredBy(d) {
			if a.Address.String() == address {
				owners = append(owners, name)
			}
		}
	}
	if len(owners) != 1 {
		l.t.Fatalf("%s is announced by %q", address, owners)
	}
	return owners[0]
}

// says returns what the writers say of a Service, and who they are. All that is announced is taken to be answered.
func (l *lan) says(service string) string {
	var out []string
	for name, d := range l.deciders {
		v := d.verdictOn(types.NamespacedName{Namespace: "default", Name: service}, answering(answeredBy(d)...))
		if v.writer {
			out = append(out, fmt.Sprintf("%s: %s %s", name, v.condition.Status, v.condition.Reason))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// answering is the state of layer 2 in which all announcements are answered.
func answering(announcements ...layer2.Announcement) layer2.State {
	return inState(layer2.Answering, announcements...)
}

func inState(status layer2.Status, announcements ...layer2.Announcement) layer2.State {
	var state layer2.State
	for _, a := range announcements {
		for _, name := range a.Interfaces {
			seg := layer2.Segment{Interface: name, Family: layer2.FamilyOf(a.Address), Status: status,
				Error: "permission denied", Addresses: []netip.Addr{a.Address}}
			if status == layer2.Answering {
				seg.Answered = seg.Addresses
			}
			state.Segments = append(state.Segments, seg)
		}
	}
	return state
}

// refusedAlone is a state in which other addresses are answered and these are not.
func refusedAlone(announcements ...layer2.Announcement) layer2.State {
	state := inState(layer2.Answering, announcements...)
	for i := range state.Segments {
		seg := &state.Segments[i]
		seg.Answered = nil
		for _, a := range seg.Addresses {
			seg.Failures = append(seg.Failures, layer2.Failure{Address: a, Error: "no buffer space available"})
		}
	}
	return state
}

func TestOneNodeAnnounces(t *testing.T) {
	l := newLAN(t, "a", "b", "c")
	l.service(newService("web", "192.0.2.1", "2001:db8::1"))
	l.endpoints("web", "a")
	l.step()
	v4, v6 := l.owner("192.0.2.1"), l.owner("2001:db8::1")
	if v4 == v6 {
		t.Fatalf("this test wants families with two owners, both are %s: choose other addresses", v4)
	}

	// The owner of the first address says it, and it alone.
	if got, want := l.says("web"), v4+": True Announced"; got != want {
		t.Errorf("says %q, want %q", got, want)
	}

	// The families are owned independently: the loss of one owner moves its address alone.
	l.stop(v4)
	if now := l.owner("2001:db8::1"); now != v6 {
		t.Errorf("the other family moved to %s", now)
	}
	if got, want := l.says("web"), l.owner("192.0.2.1")+": True Announced"; got != want {
		t.Errorf("says %q, want %q", got, want)
	}
}

func TestWhatIsSaid(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*lan)
		want   string
		words  string
	}{
		{"announced", func(*lan) {}, "True Announced", "every address is answered at layer 2"},
		{"no node is Ready, which is ignored", func(l *lan) {
			for _, n := range []string{"a", "b"} {
				l.put(func(c *cluster) { c.setNode(n, &node{plan: plan.Node{Name: n, Signals: plan.NotReady}}) })
			}
		}, "True Announced", "the Node's condition Ready is not True"},
		{"no endpoint", func(l *lan) { l.endpoints("web") }, "False NoEndpoint", "no endpoint that is ready"},
		{"no advertisement", func(l *lan) { l.put(func(c *cluster) { c.setAdvertisement("everything", nil) }) },
			"False NoAdvertisement", `no L2Advertisement covers pool "lan"`},
		{"the network is elsewhere", func(l *lan) {
			l.links = []layer2.Link{{Name: "eth0", Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
		},
			"False NoInterface", "no interface of the node is in a network"},
		{"all nodes are excluded", func(l *lan) {
			for _, n := range []string{"a", "b"} {
				l.put(func(c *cluster) {
					c.setNode(n, &node{plan: plan.Node{Name: n, Labels: map[string]string{v1beta1.LabelExcludeNode: ""}}})
				})
			}
		}, "False NoEligibleNode", "--ignore-exclude-label"},
		{"one of two addresses can't be announced", func(l *lan) { l.service(newService("web", "192.0.2.1", "198.51.100.1")) },
			"False NoInterface", "198.51.100.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLAN(t, "a", "b")
			l.service(newService("web", "192.0.2.1"))
			l.endpoints("web", "a")
			l.step()
			row.change(l)
			l.step()
			l.now = l.now.Add(10 * time.Second) // signals are held for a while
			l.step()
			// Whatever it is, one speaker says it.
			got := l.says("web")
			if writer, said, _ := strings.Cut(got, ": "); said != row.want || l.deciders[writer] == nil {
				t.Fatalf("says %q, want one to say %q", got, row.want)
			}
			d := l.deciders[got[:1]]
			v := d.verdictOn(types.NamespacedName{Namespace: "default", Name: "web"}, answering(answeredBy(d)...))
			if !v.settled || !strings.Contains(v.condition.Message, row.words) {
				t.Errorf("message %q, want one with %q", v.condition.Message, row.words)
			}
		})
	}
}

// When all nodes are cordoned, one after the other, that moves nothing.
func TestWhatHoldsForAllCountsForAllAtOnce(t *testing.T) {
	l := newLAN(t, "a", "b", "c")
	for i := range 6 {
		l.service(newService(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i+1)))
		l.endpoints(fmt.Sprint("web-", i), "a")
	}
	l.step()
	before := l.announced()
	for _, name := range []string{"a", "b", "c"} {
		l.put(func(c *cluster) { c.setNode(name, &node{plan: plan.Node{Name: name, Signals: plan.Cordoned}}) })
		l.wait(300 * time.Millisecond)
	}
	l.wait(5 * time.Second)
	if got := l.announced(); got != before {
		t.Errorf("announced %s, before %s", got, before)
	}
	if got := l.deciders["a"].addresses[anAddress].ignored; got != v1beta1.ReasonNodeCordoned {
		t.Errorf("ignored is %q", got)
	}
	for _, name := range []string{"a", "b", "c"} {
		l.put(func(c *cluster) { c.setNode(name, &node{plan: plan.Node{Name: name}}) })
		l.wait(300 * time.Millisecond)
	}
	l.wait(20 * time.Second)
	if got := l.announced(); got != before {
		t.Errorf("after all: announced %s, before %s", got, before)
	}
}

// A node that is drained gives away what it has, and another answers before it has ceased to.
func TestADrainedNodeGivesEverythingAway(t *testing.T) {
	l := newLAN(t, "a", "b")
	for i := range 6 {
		l.service(newService(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i+1)))
		l.endpoints(fmt.Sprint("web-", i), "a")
	}
	l.step()
	if len(answeredBy(l.deciders["a"])) == 0 {
		t.Fatal("a has nothing")
	}
	l.put(func(c *cluster) { c.setNode("a", &node{plan: plan.Node{Name: "a", Signals: plan.Draining}}) })
	for range 50 {
		l.wait(20 * time.Millisecond)
		if n := len(answeredBy(l.deciders["a"])) + len(answeredBy(l.deciders["b"])); n < 6 {
			t.Fatalf("%d of 6 addresses are announced", n)
		}
	}
	if got := l.announced(); strings.Contains(got, "@a:") {
		t.Errorf("announced %s", got)
	}
}

// True is said when requests are answered, and not before.
func TestNothingIsSaidBeforeItIsTrue(t *testing.T) {
	l := newLAN(t, "a")
	l.service(newService("web", "192.0.2.1"))
	l.endpoints("web", "a")
	l.step()
	d, key := l.deciders["a"], types.NamespacedName{Namespace: "default", Name: "web"}
	for _, row := range []struct {
		name    string
		state   layer2.State
		settled bool
		want    metav1.ConditionStatus
	}{
		{"layer 2 has not looked yet", layer2.State{}, false, ""},
		{"its sockets are being opened", inState(layer2.Opening, answeredBy(d)...), false, ""},
		{"its link has just gone down", inState(layer2.LinkDown, answeredBy(d)...), false, ""},
		{"the kernel refuses", inState(layer2.Failed, answeredBy(d)...), true, metav1.ConditionFalse},
		{"the kernel refuses this address alone", refusedAlone(answeredBy(d)...), true, metav1.ConditionFalse},
		{"it answers", answering(answeredBy(d)...), true, metav1.ConditionTrue},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := d.verdictOn(key, row.state)
			if !v.writer || v.settled != row.settled || v.settled && v.condition.Status != row.want {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}

func TestASpeakerThatHasNotSettledSaysAndAnnouncesNothing(t *testing.T) {
	l := newLAN(t, "a", "b")
	l.service(newService("web", "192.0.2.1"))
	l.endpoints("web", "a")
	l.step()
	before := l.announced()
	l.start("c")
	if got := l.announced(); got != before {
		t.Errorf("announced %s, before %s", got, before)
	}
	if l.deciders["c"].verdictOn(types.NamespacedName{Namespace: "default", Name: "web"}, layer2.State{}).writer {
		t.Error("it says something")
	}
	l.now = l.now.Add(5 * time.Second)
	l.step()
	if !l.deciders["c"].machine.Serving() {
		t.Error("never serves")
	}
}

// Gossip that was opened again hears nobody at first: that is no reason to claim what others announce.
func TestInANewSessionNothingIsClaimedUntilSettledAgain(t *testing.T) {
	l := newLAN(t, "a", "b")
	for i := range 8 {
		l.service(newService(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i+1)))
		l.endpoints(fmt.Sprint("web-", i), "a")
	}
	l.step()
	d := l.deciders["a"]
	n := len(answeredBy(d))
	if n == 0 || n == 8 {
		t.Fatalf("a announces %d of 8", n)
	}
	alone := gossip.Snapshot{Running: true, Session: 2, Members: l.seen.Members[:1]}
	for range 100 {
		l.now = l.now.Add(20 * time.Millisecond)
		d.look(seen{synced: true, gossip: alone, links: l.links})
		d.step(l.now, news{})
		if got := len(answeredBy(d)); got != n {
			t.Fatalf("announces %d, before %d", got, n)
		}
	}
}

// The first deputy of each address listens for it, so that it knows who asks before it has to take over, and no other does.
func TestTheFirstDeputyStandsBy(t *testing.T) {
	l := newLAN(t, "a", "b", "c")
	const addresses = 12
	for i := range addresses {
		l.service(newService(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i+1)))
		l.endpoints(fmt.Sprint("web-", i), "a")
	}
	l.wait(3 * time.Second)
	standby := func() map[netip.Addr]string {
		by := map[netip.Addr]string{}
		for name, d := range l.deciders {
			for _, a := range d.announcements() {
				if !a.Standby {
					continue
				}
				if by[a.Address] != "" || l.owner(a.Address.String()) == name || len(a.Interfaces) == 0 {
					t.Errorf("%s stands by for %s on %v, which is announced by %s; so does %q", name, a.Address, a.Interfaces, l.owner(a.Address.String()), by[a.Address])
				}
				by[a.Address] = name
			}
		}
		if len(by) != addresses {
			t.Fatalf("somebody stands by for %d of %d addresses", len(by), addresses)
		}
		return by
	}
	before, lost := standby(), map[netip.Addr]bool{}
	for _, a := range answeredBy(l.deciders["c"]) {
		lost[a.Address] = true
	}
	l.stop("c")
	for a := range lost {
		if got := l.owner(a.String()); got != before[a] {
			t.Errorf("%s is announced by %s, and it was %s that stood by", a, got, before[a])
		}
	}
	l.wait(3 * time.Second)
	standby() // somebody else by now
	l.put(func(c *cluster) { c.setService(types.NamespacedName{Namespace: "default", Name: "web-0"}, nil) })
	l.step()
	for name, d := range l.deciders {
		if slices.ContainsFunc(d.announcements(), func(a layer2.Announcement) bool { return a.Address == netip.MustParseAddr("192.0.2.1") }) {
			t.Errorf("%s goes on to listen for what is gone", name)
		}
	}
}

func TestNothingIsDecidedBeforeAllObjectsAreIn(t *testing.T) {
	d := newDecider("a", 1, false, standIn{})
	d.setNode("a", &node{plan: plan.Node{Name: "a"}})
	d.setAdvertisement("everything", &plan.Advertisement{})
	d.setService(types.NamespacedName{Name: "web"}, serviceOf(newService("web", "192.0.2.1"), allClasses))
	snapshot := gossip.Snapshot{Running: true, Accounted: true, Members: []gossip.Member{{Node: "a"}}}
	now := time.Unix(0, 0)
	for range 3 {
		now = now.Add(time.Hour)
		d.look(seen{gossip: snapshot, links: lanLinks})
		if out := d.step(now, news{}); out.Serving || len(d.addresses) > 0 {
			t.Fatalf("decided %+v", out)
		}
	}
}

// An event costs what it concerns, whatever else there is.
func TestOnlyWhatChangedIsDecided(t *testing.T) {
	l := newLAN(t, "a", "b")
	for i := range 50 {
		l.service(newService(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i+1)))
		l.endpoints(fmt.Sprint("web-", i), "a")
	}
	l.step()
	for _, row := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"nothing", func() {}, nil},
		{"the same again", func() {
			l.service(newService("web-7", "192.0.2.8"))
			l.endpoints("web-7", "a")
			l.put(func(c *cluster) { c.setNode("a", &node{plan: plan.Node{Name: "a"}}) })
			l.put(func(c *cluster) { c.setPool("gone", false, nil) })
		}, nil},
		{"a condition", func() {
			s := newService("web-7", "192.0.2.8")
			condition(s, v1beta1.ConditionAnnounced, metav1.ConditionTrue, v1beta1.ReasonAnnounced)
			l.service(s)
		}, nil},
		{"endpoints", func() { l.endpoints("web-7", "b") }, []string{"192.0.2.8"}},
		{"another address", func() { l.service(newService("web-7", "192.0.2.99")) }, []string{"192.0.2.8", "192.0.2.99"}},
		{"gone", func() {
			l.put(func(c *cluster) { c.setService(types.NamespacedName{Namespace: "default", Name: "web-7"}, nil) })
		}, []string{"192.0.2.99"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.change()
			d := l.deciders["a"]
			if d.allDirty {
				t.Fatal("everything would be decided")
			}
			var dirty []string
			for a := range d.dirty {
				dirty = append(dirty, a.String())
			}
			slices.Sort(dirty)
			if !slices.Equal(dirty, row.want) {
				t.Errorf("decides %q, want %q", dirty, row.want)
			}
			l.step()
		})
	}
	if got := len(l.deciders["a"].addresses); got != 49 {
		t.Errorf("%d addresses remembered", got)
	}
}

func TestEndpointsCountInTheirFamilyAndFromAllSlices(t *testing.T) {
	l := newLAN(t, "a", "b")
	o := newService("web", "192.0.2.1", "2001:db8::1")
	o.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	l.service(o)
	slice := func(name string, family discoveryv1.AddressType, nodes ...string) {
		s := &discoveryv1.EndpointSlice{AddressType: family,
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}}
		for _, n := range nodes {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &n})
		}
		l.put(func(c *cluster) { c.setSlice(types.NamespacedName{Name: name}, sliceOf(s)) })
	}
	slice("1", discoveryv1.AddressTypeIPv4, "a")
	slice("2", discoveryv1.AddressTypeIPv6, "b")
	l.step()
	if got, want := l.announced(), "192.0.2.1@a:eth0 2001:db8::1@b:eth0"; got != want {
		t.Fatalf("announced %s, want %s", got, want)
	}
	slice("3", discoveryv1.AddressTypeIPv4, "b")
	slice("4", discoveryv1.AddressTypeIPv4)
	l.step()
	if got := len(l.deciders["a"].addresses[netip.MustParseAddr("192.0.2.1")].candidates); got != 2 {
		t.Errorf("%d candidates, endpoints are on two nodes", got)
	}
	l.put(func(c *cluster) { c.setSlice(types.NamespacedName{Name: "1"}, nil) })
	l.step()
	if got, want := l.announced(), "192.0.2.1@b:eth0 2001:db8::1@b:eth0"; got != want {
		t.Errorf("announced %s, want %s", got, want)
	}
}

// A change of one sharer never withdraws what another needs.
func TestASharedAddressStaysWithItsLastSharer(t *testing.T) {
	l := newLAN(t, "a", "b")
	for _, name := range []string{"web", "dns"} {
		l.service(newService(name, "192.0.2.1"))
		l.endpoints(name, "a")
	}
	l.step()
	owner := l.owner("192.0.2.1")
	l.endpoints("web") // its endpoints go
	l.step()
	if got := l.owner("192.0.2.1"); got != owner {
		t.Errorf("moved to %s", got)
	}
	if got, want := l.says("web")+"; "+l.says("dns"), owner+": False NoEndpoint; "+owner+": True Announced"; got != want {
		t.Errorf("says %s, want %s", got, want)
	}
	l.put(func(c *cluster) { c.setService(types.NamespacedName{Namespace: "default", Name: "web"}, nil) })
	l.step()
	l.owner("192.0.2.1")
	l.put(func(c *cluster) { c.setService(types.NamespacedName{Namespace: "default", Name: "dns"}, nil) })
	l.step()
	if got := l.announced(); got != "" {
		t.Errorf("announced %s", got)
	}
}

// Who is to say that a Service is announced nowhere may change with the speakers: it is said anew then.
func TestAnUnservedServiceIsSpokenOfWhenSpeakersChange(t *testing.T) {
	l := newLAN(t, "a", "b")
	l.service(newService("web", "192.0.2.1")) // without endpoints
	out := l.step()
	key := types.NamespacedName{Namespace: "default", Name: "web"}
	if !out["a"].touched[key] || !out["b"].touched[key] {
		t.Fatal("not spoken of when it comes")
	}
	writer := l.says("web")[:1]
	other := map[string]string{"a": "b", "b": "a"}[writer]
	l.stop(writer)
	if out := l.stopped; !out[other].touched[key] {
		t.Error("not spoken of when its writer is gone")
	}
	if got, want := l.says("web"), other+": False NoEndpoint"; got != want {
		t.Errorf("says %q, want %q", got, want)
	}
}

// Services with externalTrafficPolicy Local have lists of candidates of their own, which must not be kept.
func TestEndpointsThatComeAndGoCostNoMemory(t *testing.T) {
	l := newLAN(t, "a", "b")
	o := newService("web", "192.0.2.1")
	o.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	l.service(o)
	d, key := l.deciders["a"], types.NamespacedName{Namespace: "default", Name: "web-slice"}
	flap := func(times int) {
		for i := range times {
			d.setSlice(key, &slice{service: types.NamespacedName{Namespace: "default", Name: "web"}, family: layer2.IPv4,
				endpoints: plan.Endpoints{[]string{"a", "b"}[i%2]: {Ready: true}}})
			d.step(l.now, news{})
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flap(100)
	before := heap()
	flap(20_000)
	if after := heap(); after > before+512<<10 {
		t.Errorf("grew by %d kB", (after-before)>>10)
	}
	runtime.KeepAlive(l)
}

func TestWhatChangesNothingTouchesNothing(t *testing.T) {
	veth := layer2.Link{Name: "veth0", Up: true}
	for _, row := range []struct {
		name           string
		change         func(*lan)
		decided        bool // all is decided anew
		touched, again bool // the Service that is served, and the one that is not
	}{
		{"a pod's interface comes", func(l *lan) { l.links = append(slices.Clone(lanLinks), veth) }, false, false, false},
		{"a speaker comes that can't announce it", func(l *lan) {
			l.put(func(c *cluster) { c.setNode("c", &node{plan: plan.Node{Name: "c"}}) })
		}, true, false, true},
		{"the interface is named by an advertisement from now on", func(l *lan) {
			l.links = append(slices.Clone(lanLinks), veth)
			l.step()
			l.put(func(c *cluster) {
				c.setAdvertisement("veth", &plan.Advertisement{Name: "veth", Interfaces: func(name string) bool { return name == "veth0" }})
			})
		}, true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLAN(t, "a", "b")
			l.service(newService("web", "192.0.2.1"))
			l.endpoints("web", "a")
			idle := newService("idle", "192.0.2.2") // without endpoints
			l.service(idle)
			l.step()
			view := l.deciders["a"].view
			row.change(l)
			out := l.step()["a"]
			if decided := l.deciders["a"].view != view; decided != row.decided {
				t.Errorf("everything decided anew: %v", decided)
			}
			if got := out.touched[webKey]; got != row.touched {
				t.Errorf("touched: %v", got)
			}
			if got := out.touched[types.NamespacedName{Namespace: "default", Name: "idle"}]; got != row.again {
				t.Errorf("the one that is not served touched: %v", got)
			}
		})
	}
}

func TestAnInterfaceNamedLaterIsAnsweredOn(t *testing.T) {
	l := newLAN(t, "a")
	l.links = append(slices.Clone(lanLinks), layer2.Link{Name: "veth0", Up: true})
	l.service(newService("web", "192.0.2.1"))
	l.endpoints("web", "a")
	l.step()
	d := l.deciders["a"]
	d.setAdvertisement("veth", &plan.Advertisement{Name: "veth", Interfaces: func(name string) bool { return name == "veth0" }})
	l.step()
	if got, want := l.announced(), "192.0.2.1@a:eth0+veth0"; got != want {
		t.Errorf("announced %q, want %q", got, want)
	}
}

// What a verdict costs, until it is known what to answer for.
func BenchmarkNodeLost(b *testing.B) {
	const addresses = 9000
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		l := newLAN(b, "a", "b", "c")
		l.links = []layer2.Link{{Name: "eth0", Up: true, HardwareAddr: layer2.MAC{2, 1}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
		for i := range addresses {
			address := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()
			l.service(newService(fmt.Sprint("web-", i), address))
			l.endpoints(fmt.Sprint("web-", i), "a", "b")
		}
		l.wait(3 * time.Second)
		d, life := l.deciders["a"], l.deciders["c"].life
		b.StartTimer()
		out := d.step(l.now, news{verdicts: []detection.Verdict{{Node: "c", Life: life, State: detection.Dead}}})
		if len(out.Answers) < addresses/7 {
			b.Fatalf("%d answers", len(out.Answers))
		}
		d.announcements()
	}
}

func TestANodeIsAloneWhenItIsCutOffWhereverOthersAre(t *testing.T) {
	prefix := netip.MustParsePrefix
	lan := layer2.Link{Name: "eth0", Up: true, Prefixes: []netip.Prefix{prefix("192.0.2.0/24")}}
	storage := layer2.Link{Name: "eth1", Up: true, Prefixes: []netip.Prefix{prefix("198.51.100.0/24")}, LinkLocal: netip.MustParseAddr("fe80::1")}
	pods := layer2.Link{Name: "cni0", Up: true, Prefixes: []netip.Prefix{prefix("10.244.1.0/24")}}
	docker := layer2.Link{Name: "docker0", Up: true, Prefixes: []netip.Prefix{prefix("172.17.0.0/16")}}
	down := layer2.Link{Name: "eth2", Prefixes: []netip.Prefix{prefix("203.0.113.0/24")}, LinkLocal: netip.MustParseAddr("fe80::1")}
	for _, row := range []struct {
		name     string
		links    []layer2.Link
		isolated []string
		want     bool
	}{
		{"not cut off", []layer2.Link{lan}, nil, false},
		{"cut off on its only link", []layer2.Link{lan}, []string{"eth0"}, true},
		{"bridges of containers don't count", []layer2.Link{pods, docker, lan}, []string{"eth0"}, true},
		{"another link leads to others", []layer2.Link{lan, storage}, []string{"eth0"}, false},
		{"cut off on both", []layer2.Link{lan, storage}, []string{"eth0", "eth1"}, true},
		{"the other one is down", []layer2.Link{lan, down}, []string{"eth0", "eth2"}, true},
	} {
		d := newDecider("a", 1, false, standIn{})
		d.nodes["b"] = &node{addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}
		others := gossipLinks(row.links)
		d.look(seen{links: row.links, gossip: gossip.Snapshot{Lost: []gossip.Member{{Node: "b", Facts: gossip.Facts{Life: 2, Links: others}}}}})
		d.isolated = row.isolated
		if got := d.allIsolated(); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

func TestALinkThatStaysDeadAfterItsNodeIsBackCounts(t *testing.T) {
	l := newLAN(t, "a", "b", "c")
	l.service(newService("web", "192.0.2.10"))
	l.endpoints("web", "a", "b")
	l.wait(3 * time.Second)
	b := detection.Verdict{Node: "b", Life: l.deciders["b"].life, State: detection.Dead, DeadLinks: []string{"eth0"}}
	l.judge(b)
	l.step()
	b.State = detection.Alive
	l.judge(b)
	l.step()
	for _, name := range []string{"a", "c"} {
		placement := l.deciders[name].addresses[netip.MustParseAddr("192.0.2.10")].placement
		if i := slices.IndexFunc(placement, func(c ownership.Candidate) bool { return c.Node == "b" }); i < 0 || !placement[i].Dead {
			t.Errorf("%s places %+v", name, placement)
		}
	}
}
