package speaker

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

var anAddress = netip.MustParseAddr("192.0.2.1")

func TestTheClockGoesOn(t *testing.T) {
	before := clock()
	time.Sleep(time.Millisecond)
	if now := clock(); !now.After(before) || time.Since(now).Abs() > time.Minute {
		t.Errorf("from %s to %s", before, now)
	}
}

func TestAnInboxThatIsFullDropsAndSaysSo(t *testing.T) {
	dropped := 0
	b := newInbox[int](2, func() { dropped++ })
	for i := range 4 {
		b.put(i)
	}
	if got := b.take(); !slices.Equal(got, []int{0, 1}) || dropped != 2 || len(b.signal) != 1 {
		t.Errorf("took %v, dropped %d", got, dropped)
	}
}

// What this node gains under Local waits until kube-proxy can serve it, and for two seconds at most.
func TestGains(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	local := []*service{{plan: &plan.Service{Local: true}, healthPort: 30001}}
	for _, row := range []struct {
		name     string
		services []*service
		was      bool
		fresh    bool
		waits    bool
	}{
		{"a gain waits", local, false, false, true},
		{"what it had before does not", local, true, false, false},
		{"nor what is new to all", local, false, true, false},
		{"nor under Cluster", []*service{{plan: &plan.Service{}, healthPort: 30001}}, false, false, false},
		{"nor without a port to ask", []*service{{plan: &plan.Service{Local: true}}}, false, false, false},
	} {
		g := newGains()
		if got := g.waits(at, anAddress, row.services, row.was, true, row.fresh); got != row.waits {
			t.Errorf("%s: waits %v", row.name, got)
		}
		if asked := g.take(); (len(asked) == 1) != row.waits || row.waits && asked[0] != (gain{anAddress, 30001}) {
			t.Errorf("%s: asks %v", row.name, asked)
		}
	}

	g := newGains()
	g.waits(at, anAddress, local, false, true, false)
	if !g.wakeAt().Equal(at.Add(gainWait)) || len(g.due(at.Add(gainWait-1))) > 0 || !g.waits(at.Add(time.Second), anAddress, local, false, true, false) {
		t.Error("does not wait for two seconds")
	}
	if due := g.due(at.Add(gainWait)); !slices.Equal(due, []netip.Addr{anAddress}) || g.waits(at.Add(gainWait), anAddress, local, false, true, false) {
		t.Errorf("waits for longer; due are %v", due)
	}
	g.waits(at, anAddress, local, false, true, false)
	if !g.serves(anAddress) || g.serves(anAddress) || g.waits(at, anAddress, local, true, true, false) {
		t.Error("waits although kube-proxy serves")
	}
	g.waits(at, anAddress, local, false, true, false)
	if g.waits(at, anAddress, local, true, false, false) || len(g.waiting) > 0 {
		t.Error("waits for what was lost again")
	}
}

func TestAwaitGain(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			http.Error(w, "no endpoints yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	if !awaitGain(t.Context(), at.Addr(), at.Port()) || asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	server.Close()
	if awaitGain(ctx, at.Addr(), at.Port()) {
		t.Error("a port that nobody listens on answers")
	}
}

// Only a kube-proxy that has said that all is well is believed when it says otherwise.
func TestProxyWatch(t *testing.T) {
	status := make(chan int, 1)
	status <- http.StatusServiceUnavailable
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := <-status
		status <- s
		w.WriteHeader(s)
	}))
	defer server.Close()
	p := &proxyWatch{url: server.URL, changed: func() {}, poll: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.run(ctx) }()
	set := func(s int) { <-status; status <- s }
	await := func(what string, failing bool) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); p.failing.Load() != failing; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	time.Sleep(50 * time.Millisecond)
	await("one that was never well is failing", false)
	if p.seen.Load() {
		t.Error("one that was never well was seen to be")
	}
	set(http.StatusOK)
	time.Sleep(50 * time.Millisecond)
	set(http.StatusServiceUnavailable)
	await("does not fail", true)
	set(http.StatusOK)
	await("does not recover", false)
	if !p.seen.Load() {
		t.Error("one that was well was not seen to be")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := (&proxyWatch{}).run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDeafness(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	eth0 := segment{"eth0", layer2.IPv4}
	state := func(s layer2.Status) layer2.State {
		return layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Status: s}}}
	}
	d := newDeafness()
	for _, row := range []struct {
		name string
		at   time.Duration
		is   layer2.State
		deaf bool
	}{
		{"it answers", 0, state(layer2.Answering), false},
		{"its sockets have just failed", time.Second, state(layer2.Failed), false},
		{"they go on to fail", 3 * time.Second, state(layer2.Failed), true},
		{"others have taken over, so nothing is tried", 30 * time.Second, layer2.State{}, true},
		{"after a minute it is tried again", 63 * time.Second, layer2.State{}, false},
	} {
		if got := d.step(at.Add(row.at), row.is)[eth0]; got != row.deaf {
			t.Errorf("%s: deaf %v", row.name, got)
		}
	}
}

func TestStaleness(t *testing.T) {
	var s staleness
	at := time.Unix(1_700_000_000, 0)
	if s.stale(at) {
		t.Error("stale from the start")
	}
	s.failed(at)
	if s.stale(at.Add(time.Second)) {
		t.Error("stale by a single failure")
	}
	s.failed(at.Add(80 * time.Second))
	if !s.stale(at.Add(81*time.Second)) || !s.stale(at.Add(160*time.Second)) {
		t.Error("not stale after lasting failures")
	}
	if s.stale(at.Add(80*time.Second + staleUntil)) {
		t.Error("stale for ever")
	}
	s.worked()
	if s.stale(at.Add(81 * time.Second)) {
		t.Error("stale though reading works")
	}
	s.failed(at.Add(5 * time.Minute))
	if s.stale(at.Add(5 * time.Minute)) {
		t.Error("what was before it worked counts")
	}
}

func TestWhatShowsThatTheViewIsOld(t *testing.T) {
	for _, row := range []struct {
		name   string
		method string
		status int // 0 is an error
		err    error
		failed bool
	}{
		{"the API server refuses connections", http.MethodGet, 0, syscall.ECONNREFUSED, true},
		{"it can't be reached", http.MethodGet, 0, context.DeadlineExceeded, true},
		{"it answers", http.MethodGet, http.StatusOK, nil, false},
		{"a watch is too old for it", http.MethodGet, http.StatusGone, nil, false},
		{"it is broken", http.MethodGet, http.StatusInternalServerError, nil, true},
		{"it takes the token for none", http.MethodGet, http.StatusUnauthorized, nil, true},
		{"this speaker stops", http.MethodGet, 0, context.Canceled, false},
		{"a write fails", http.MethodPatch, http.StatusInternalServerError, nil, false},
	} {
		var s staleness
		transport := s.watch(roundTripper(func(*http.Request) (*http.Response, error) {
			if row.err != nil {
				return nil, row.err
			}
			return &http.Response{StatusCode: row.status}, nil
		}))
		r, err := http.NewRequest(row.method, "http://192.0.2.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transport.RoundTrip(r); !errors.Is(err, row.err) { //nolint:bodyclose // there is none
			t.Fatal(err)
		}
		if failed := !s.first.IsZero(); failed != row.failed {
			t.Errorf("%s: %v", row.name, failed)
		}
	}
}

func TestConflicts(t *testing.T) {
	u := unitOf(anAddress)
	mac := layer2.MAC{2, 9}
	free := layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Addresses: []netip.Addr{anAddress}, Answered: []netip.Addr{anAddress}}}}
	asking := layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Addresses: []netip.Addr{anAddress}, Claiming: []netip.Addr{anAddress}}}}
	taken := layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Addresses: []netip.Addr{anAddress},
		Conflicts: []layer2.Conflict{{Address: anAddress, Kind: layer2.ForeignHost, MAC: mac, Withheld: true}}}}}
	reported := layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Addresses: []netip.Addr{anAddress}, Answered: []netip.Addr{anAddress},
		Conflicts: []layer2.Conflict{{Address: anAddress, Kind: layer2.ForeignHost, MAC: mac}}}}}
	own, claim := ownership.Answer{As: ownership.Own}, ownership.Answer{As: ownership.Own, Claim: true}

	c, answers := newConflicts(), map[ownership.Unit]ownership.Answer{}
	for _, step := range []struct {
		name   string
		answer *ownership.Answer
		state  layer2.State
		want   ownership.Found
		held   bool
	}{
		{"a claim is being looked at", &claim, asking, 0, false},
		{"nobody else answers", nil, free, ownership.FoundFree, false},
		{"that is told once", &own, free, 0, false},
		{"another claims it later", nil, taken, ownership.FoundHeld, true},
		{"that is told once, too", nil, taken, 0, true},
		{"given back", &ownership.Answer{}, layer2.State{}, 0, true},
		{"looked at again", &claim, asking, 0, true},
		{"still there", nil, taken, ownership.FoundHeld, true},
		{"and again", &claim, asking, 0, true},
		{"gone", nil, free, ownership.FoundFree, false},
		{"a conflict that is only reported", &claim, reported, ownership.FoundFree, false},
	} {
		if step.answer != nil {
			answers[u] = *step.answer
			c.answer(u, *step.answer)
		}
		var found ownership.Found
		if e := c.see(step.state, answers); len(e) > 0 {
			found = e[0].Found
		}
		if _, held := c.held[anAddress]; found != step.want || held != step.held {
			t.Errorf("%s: found %d, held %v", step.name, found, held)
		}
	}
}

// A look asks thrice, and is answered by the worst that was seen.
func TestLooker(t *testing.T) {
	u := unitOf(anAddress)
	member, foreign := layer2.MAC{2, 1}, layer2.MAC{2, 9}
	for _, row := range []struct {
		name    string
		answers []layer2.MAC // zero for none; none at all for what can't be sent
		want    ownership.Found
	}{
		{"nobody", make([]layer2.MAC, 3), ownership.FoundFree},
		{"a node, once", []layer2.MAC{{}, member}, ownership.FoundMember},
		{"a foreign host", []layer2.MAC{foreign, foreign, {}}, ownership.FoundHeld},
		{"a foreign host and a node", []layer2.MAC{foreign, member}, ownership.FoundMember},
		{"nothing can be asked, which frees nothing", nil, ownership.FoundMember},
	} {
		var found []ownership.Evidence
		var probes []layer2.Probe
		l := newLooker(func(e ...ownership.Evidence) { found = append(found, e...) })
		l.probe = func(p ...layer2.Probe) {
			probes = append(probes, p...)
			for _, q := range p {
				if row.answers == nil {
					l.result(layer2.ProbeResult{Probe: q, Outcome: layer2.ProbeNotSent})
				}
			}
		}
		l.look(u, place{interfaces: []string{"eth0"}, members: []layer2.MAC{member}})
		if len(row.answers) > 0 {
			l.look(u, place{interfaces: []string{"eth0"}, members: []layer2.MAC{member}}) // one look at a time
		}
		for i, mac := range row.answers {
			if len(probes) != i+1 {
				t.Fatalf("%s: %d probes, %d answers", row.name, len(probes), i)
			}
			r := layer2.ProbeResult{Probe: probes[i], Outcome: layer2.ProbeUnanswered}
			if !mac.IsZero() {
				r.Outcome, r.MAC = layer2.ProbeAnswered, mac
			}
			l.result(r)
		}
		if len(found) != 1 || found[0].Found != row.want || len(l.asked)+len(l.open)+len(l.queue)+l.out > 0 {
			t.Errorf("%s: found %+v, left %d %d", row.name, found, len(l.open), l.out)
		}
	}
}

// All addresses of a node are looked for at once when its speaker has been silent for long.
func TestManyLooksWaitForEachOther(t *testing.T) {
	const many = 3 * maxLooks
	found, most := 0, 0
	var probes []layer2.Probe
	l := newLooker(func(...ownership.Evidence) { found++ })
	l.probe = func(p ...layer2.Probe) { probes = append(probes, p...) }
	for i := range many {
		l.look(unitOf(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})), place{interfaces: []string{"eth0"}})
	}
	for len(probes) > 0 {
		most = max(most, len(probes))
		p := probes[0]
		probes = probes[1:]
		l.result(layer2.ProbeResult{Probe: p, Outcome: layer2.ProbeUnanswered})
	}
	if found != many || most != maxLooks {
		t.Errorf("%d of %d found, %d at once", found, many, most)
	}
}

func TestWorkload(t *testing.T) {
	key := types.NamespacedName{Namespace: "clarion-system", Name: "clarion-speaker"}
	set := func(change func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
		o := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		change(o)
		return o
	}
	affinity := func(r ...corev1.NodeSelectorRequirement) func(*appsv1.DaemonSet) {
		return func(o *appsv1.DaemonSet) {
			o.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: r}}}}}
		}
	}
	node := &plan.Node{Name: "a", Labels: map[string]string{"zone": "edge"}}
	for _, row := range []struct {
		name string
		set  *appsv1.DaemonSet
		want plan.Workload
	}{
		{"as ever", set(func(*appsv1.DaemonSet) {}), plan.WorkloadStays},
		{"gone", nil, plan.WorkloadGone},
		{"being deleted", set(func(o *appsv1.DaemonSet) {
			now := metav1.Now()
			o.DeletionTimestamp, o.Finalizers = &now, []string{"foregroundDeletion"}
		}), plan.WorkloadGone},
		{"a nodeSelector that selects", set(func(o *appsv1.DaemonSet) { o.Spec.Template.Spec.NodeSelector = map[string]string{"zone": "edge"} }), plan.WorkloadStays},
		{"one that does not", set(func(o *appsv1.DaemonSet) { o.Spec.Template.Spec.NodeSelector = map[string]string{"zone": "core"} }), plan.WorkloadDeselects},
		{"an affinity that selects", set(affinity(corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"edge", "core"}})), plan.WorkloadStays},
		{"one that does not", set(affinity(corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpDoesNotExist})), plan.WorkloadDeselects},
		{"one of a later version", set(affinity(corev1.NodeSelectorRequirement{Key: "zone", Operator: "Near"})), plan.WorkloadStays},
	} {
		build := fake.NewClientBuilder().WithScheme(scheme())
		if row.set != nil {
			build = build.WithObjects(row.set)
		}
		w := workload{reader: build.Build(), key: key, ran: true}
		if got := w.ask(t.Context(), node); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
		w.ran = false
		if got := w.ask(t.Context(), node); got != plan.WorkloadUnknown {
			t.Errorf("%s: a DaemonSet that never ran the speaker says %d", row.name, got)
		}
	}
}

// The detector's shell: what is heard goes in, what the machine orders goes out, and the verdicts come to the loop.
func TestDetector(t *testing.T) {
	d := newDetector("a", 1, 20*time.Millisecond, func() {})
	sent := make(chan []string, 1000)
	d.send = func(to []string, _ []byte) { sent <- to }
	d.probe = func(probes ...layer2.Probe) {
		for _, p := range probes {
			d.results.put(layer2.ProbeResult{Probe: p, Outcome: layer2.ProbeUnanswered, Sent: time.Now()})
		}
	}
	d.turning = func(time.Duration) bool { return true }
	links := []layer2.Link{{Name: "eth0", Up: true, HardwareAddr: layer2.MAC{2, 1}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	b := gossip.Member{Node: "b", Known: true, Addr: netip.MustParseAddr("192.0.2.7"), Facts: gossip.Facts{Life: 2, Links: gossipLinks(links)}}
	d.tell(detection.Serving, worldOf("a", gossip.Snapshot{Members: []gossip.Member{b}}, links, 7956, nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.run(ctx) }()
	select {
	case to := <-sent:
		if !slices.Equal(to, []string{"b"}) {
			t.Errorf("writes to %q", to)
		}
	case <-time.After(10 * time.Second):
		t.Error("no heartbeat")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWorldOf(t *testing.T) {
	links := []layer2.Link{{Name: "eth0", Up: true, HardwareAddr: layer2.MAC{2, 1}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	facts := gossip.Facts{Life: 2, Links: gossipLinks(links)}
	w := worldOf("a", gossip.Snapshot{
		Members: []gossip.Member{{Node: "a", Facts: facts}, {Node: "b", Known: true, Facts: facts, Addr: netip.MustParseAddr("192.0.2.7")}, {Node: "c"}},
		Lost:    []gossip.Member{{Node: "d", Facts: facts}},
	}, links, 7956, nil)
	if len(w.Links) != 1 || len(w.Members) != 2 || w.Members[0].Node != "b" || !w.Members[0].Gossip || w.Members[0].Addr != netip.MustParseAddrPort("192.0.2.7:7956") ||
		w.Members[1].Node != "d" || w.Members[1].Gossip || w.Members[1].Links[0].MAC != (detection.MAC{2, 1}) {
		t.Errorf("the world is %+v", w)
	}
}

// Where a node has no address of gossip's network, and no IPv6, it is probed for at the address that it has there.
func TestASecondLinkIsProbedAtItsOwnAddress(t *testing.T) {
	at, network := netip.MustParseAddr, netip.MustParsePrefix
	storage := layer2.Link{Name: "eth1", Up: true, HardwareAddr: layer2.MAC{2, 2}, Addresses: []netip.Addr{at("10.9.0.7"), at("198.51.100.7"), at("198.51.100.8")},
		Prefixes: []netip.Prefix{network("198.51.100.0/24"), network("203.0.113.0/24"), network("10.9.0.0/16")}}
	b := gossip.Member{Node: "b", Known: true, Addr: at("192.0.2.7"), Facts: gossip.Facts{Life: 2, Links: gossipLinks([]layer2.Link{storage})}}
	got := worldOf("a", gossip.Snapshot{Members: []gossip.Member{b}}, nil, 7956, nil).Members[0].Links[0].Addresses
	if want := []netip.Prefix{network("198.51.100.7/24"), network("203.0.113.0/24"), network("10.9.0.7/16")}; !slices.Equal(got, want) {
		t.Errorf("it is at %v there", got)
	}
}

func TestRoutersComeBeforeOtherHostsAndNodesAreNone(t *testing.T) {
	at := netip.MustParseAddr
	links := []layer2.Link{{Name: "eth0", Addresses: []netip.Addr{at("192.0.2.1")}, Routers: []netip.Addr{at("192.0.2.1"), at("192.0.2.254"), at("fe80::1")}}}
	nodes := gossip.Snapshot{Lost: []gossip.Member{{Node: "b", Facts: gossip.Facts{Links: []gossip.Link{{Name: "eth0", MAC: [6]byte{2, 7}}}}}}}
	got := hostsOf(links, nodes, func(_ string, f layer2.Family, _ int) []layer2.Asker {
		if f == layer2.IPv6 {
			return nil
		}
		return []layer2.Asker{{Address: at("192.0.2.7"), MAC: layer2.MAC{2, 7}}, {Address: at("192.0.2.254"), MAC: layer2.MAC{2, 9}}, {Address: at("192.0.2.100"), MAC: layer2.MAC{2, 8}}}
	}, func(_ layer2.Link, f layer2.Family, _ int) []layer2.Asker {
		if f == layer2.IPv6 {
			return nil
		}
		return []layer2.Asker{{Address: at("192.0.2.7"), MAC: layer2.MAC{2, 7}}, {Address: at("192.0.2.100"), MAC: layer2.MAC{2, 8}}, {Address: at("192.0.2.5"), MAC: layer2.MAC{2, 5}}}
	})
	var want []detection.Host
	for _, a := range []string{"192.0.2.254", "fe80::1", "192.0.2.100", "192.0.2.5"} {
		want = append(want, detection.Host{Link: "eth0", Addr: at(a)})
	}
	if !slices.Equal(got, want) {
		t.Errorf("hosts %v", got)
	}
}

// All speakers listen on the same family, whatever the order of their nodes' addresses.
func TestGossipAddress(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	for _, row := range []struct {
		name  string
		nodes [][]netip.Addr // the first is this node
		want  netip.Addr
	}{
		{"alike", [][]netip.Addr{{v4, v6}, {v4, v6}}, v4},
		{"the other way round", [][]netip.Addr{{v6, v4}, {v6, v4}}, v6},
		{"mixed: the first of most", [][]netip.Addr{{v6, v4}, {v4, v6}, {v4, v6}}, v4},
		{"a tie", [][]netip.Addr{{v6, v4}, {v4, v6}}, v4},
		{"one has no IPv6", [][]netip.Addr{{v6, v4}, {v6, v4}, {v4}}, v4},
		{"no family that all have", [][]netip.Addr{{v6}, {v4}}, v6},
		{"a node without an address does not matter", [][]netip.Addr{{v6, v4}, {}}, v6},
	} {
		d := &decider{cluster: newCluster()}
		for i, addresses := range row.nodes {
			d.nodes[string(rune('a'+i))] = &node{addresses: addresses}
		}
		if got := d.gossipAddress(d.nodes["a"]); got != row.want {
			t.Errorf("%s: %s", row.name, got)
		}
	}
}

// Who deletes a Node has what it announces moved to others, in an order that they agree on by gossip.
func TestGossipGoesOnWhenTheNodeIsGone(t *testing.T) {
	a := netip.MustParseAddr
	any4, any6, given := a("0.0.0.0"), a("::"), a("192.0.2.99")
	for _, setting := range []netip.Addr{{}, any4, any6, given} {
		d := newDecider("a", 1, false, standIn{})
		d.setNode("a", &node{plan: plan.Node{Name: "a"}, addresses: []netip.Addr{a("192.0.2.1"), a("2001:db8::1")}})
		d.setNode("b", &node{plan: plan.Node{Name: "b"}, addresses: []netip.Addr{a("192.0.2.2"), a("2001:db8::2")}})
		var told gossip.Desired
		listen, advertise := d.gossipAt(setting, told)
		want := map[netip.Addr][2]netip.Addr{{}: {a("192.0.2.1"), {}}, any4: {any4, a("192.0.2.1")}, any6: {any6, a("2001:db8::1")}, given: {given, {}}}[setting]
		if listen != want[0] || advertise != want[1] {
			t.Errorf("with the setting %v: listens on %v and advertises %v, want %v", setting, listen, advertise, want)
		}
		told.Listen, told.Advertise = netip.AddrPortFrom(listen, 7956), advertise
		d.setNode("a", nil)
		if listen, advertise := d.gossipAt(setting, told); listen != want[0] || advertise != want[1] {
			t.Errorf("without its Node, with the setting %v: listens on %v and advertises %v, want %v", setting, listen, advertise, want)
		}
	}
}

// What layer 2 says may be from before this node has given an address away.
func TestAConflictOnAnAddressThatWasGivenAwayIsForgotten(t *testing.T) {
	a := anAddress
	state := layer2.State{Segments: []layer2.Segment{{Interface: "eth0", Family: layer2.IPv4, Status: layer2.Answering,
		Addresses: []netip.Addr{a}, Conflicts: []layer2.Conflict{{Address: a, MAC: layer2.MAC{0x66}, Withheld: true}}}}}
	c, answers := newConflicts(), map[ownership.Unit]ownership.Answer{unitOf(a): {As: ownership.Own, Claim: true}}
	c.answer(unitOf(a), answers[unitOf(a)])
	if found := c.see(state, answers); len(found) != 1 || found[0].Found != ownership.FoundHeld || len(c.held) != 1 {
		t.Fatalf("of a claim that a foreign host contests: %v, %v", found, c.held)
	}
	delete(answers, unitOf(a))
	c.answer(unitOf(a), ownership.Answer{})
	if c.see(state, answers); len(c.held) != 1 {
		t.Error("who holds the address is forgotten before it is asked for again")
	}
	delete(c.held, a)
	if found := c.see(state, answers); len(found) > 0 || len(c.held) > 0 {
		t.Errorf("of an address that another has now: %v, %v", found, c.held)
	}
}
