package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

// fakeSpeakers answers from what each node would show.
type fakeSpeakers map[string]inspect.Report

func (f fakeSpeakers) Nodes() []string {
	return []string{"a", "b", "c"}
}

func (f fakeSpeakers) Inspect(_ context.Context, node string, _ inspect.Question) (inspect.Report, error) {
	if r, there := f[node]; there {
		return r, nil
	}
	return inspect.Report{}, errors.New("no answer from " + node)
}

func (f fakeSpeakers) Simulate(_ context.Context, by string, e inspect.Event, node string) (inspect.Simulation, error) {
	if _, there := f[by]; !there {
		return inspect.Simulation{}, errors.New("no answer from " + by)
	}
	return inspect.Simulation{Node: node, Event: e, By: by, Owned: 2, Moves: []inspect.Move{
		{Address: netip.MustParseAddr("192.0.2.1"), Services: []string{"default/web"}, To: "c"},
		{Address: netip.MustParseAddr("192.0.2.2"), Services: []string{"default/local"}, Unserved: map[string]string{"default/local": "no endpoint"}},
	}}, nil
}

func TestEachNodeIsToldOf(t *testing.T) {
	address := inspect.Address{Address: netip.MustParseAddr("192.0.2.1"), Owner: "c", Ownership: "owned by c for 5m0s, because nobody had it", Deputies: []string{"b"},
		Nodes: []inspect.Node{
			{Node: "a", Layer2: v1beta1.ReasonNodeExcluded, Message: "the node has the label", BGP: v1beta1.ReasonNodeExcluded},
			{Node: "b", Layer2: v1beta1.ReasonEligible, BGP: v1beta1.ReasonNoSession},
			{Node: "c", Layer2: v1beta1.ReasonEligible, BGP: v1beta1.ReasonAnnounced},
			{Node: "d", Layer2: v1beta1.ReasonEligible, BGP: v1beta1.ReasonNoSpeaker},
		}, AdvertisedBy: []string{"c"}}
	members := []inspect.Member{{Node: "a", Heard: true}, {Node: "b", Heard: true}, {Node: "c", Heard: true}, {Node: "d", Verdict: "dead"}}
	owners := address
	owners.Answering, owners.Wire = []string{"eth0"}, []string{"a host with the MAC 02:00:00:00:00:01 answers, too"}
	f := fakeSpeakers{"b": {Node: "b", Members: members, Addresses: []inspect.Address{address}}, "c": {Node: "c", Members: members, Addresses: []inspect.Address{owners}}}

	// The speaker of a does not answer, b knows who owns it, and c what comes of it.
	got, err := announcedBy(t.Context(), f, "default/web")
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	e := explanation{Service: "default/web", Served: true, Announcing: got, Addresses: []string{"192.0.2.1"},
		Routers: sessionsOf([]v1beta1.Speaker{
			withSession("c", v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPEstablished, RoutesSent: 7}),
			withSession("b", v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPActive, LastError: "WrongPeerASN: it says 65001"}),
		})}
	e.conclude()
	var b strings.Builder
	if err := e.Print(&b, view.Style{}); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{
		"owned by c for 5m0s", "advertised by BGP from c", "answered on eth0", "MAC 02:00:00:00:00:01",
		"  c ", "answers at layer 2, advertises by BGP",
		"  b ", "it may; takes it if the owner is lost (deputy 1); not by BGP: NoSession",
		"  a ", "NodeExcluded: the node has the label",
		"  d ", "NoSpeaker: it might, but its speaker is not heard",
		"  b ↔ tor", "WrongPeerASN", "→ Correct peerASN", "  c ↔ tor", "7 routes sent",
	} {
		i := strings.Index(b.String()[at:], want)
		if i < 0 {
			t.Fatalf("no %q, or not in its place:\n%s", want, b.String())
		}
		at += i
	}
	if _, err := announcedBy(t.Context(), fakeSpeakers{}, "default/web"); err == nil {
		t.Error("nobody answers, and all is well")
	}
}

func withSession(node string, s v1beta1.BGPSession) v1beta1.Speaker {
	s.Since = metav1.NewTime(time.Now().Add(-time.Minute))
	return v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: v1beta1.SpeakerStatus{BGP: &v1beta1.SpeakerBGP{Sessions: []v1beta1.BGPSession{s}}}}
}

func TestTheNextStepIsThatOfTheReason(t *testing.T) {
	says := func(reason v1beta1.Reason) *metav1.Condition {
		return &metav1.Condition{Status: metav1.ConditionFalse, Reason: string(reason)}
	}
	saying := func(reason v1beta1.Reason, message string) *metav1.Condition {
		return &metav1.Condition{Status: metav1.ConditionFalse, Reason: string(reason), Message: message}
	}
	assigned := &metav1.Condition{Status: metav1.ConditionTrue, Reason: string(v1beta1.ReasonAssigned)}
	excluded := []announcing{{Nodes: []nodeAnnouncing{{Refused: true, Reason: v1beta1.ReasonNodeExcluded}, {Refused: true, Reason: v1beta1.ReasonNodeExcluded}, {Refused: true, Reason: v1beta1.ReasonNoSpeaker}}}}
	for _, row := range []struct {
		name string
		e    explanation
		want string
	}{
		{"nobody has looked", explanation{}, "kubectl clarion doctor"},
		{"there is no pool", explanation{noPool: true}, "Create an IPAddressPool"},
		{"another host answers, too", explanation{Assigned: assigned, Announced: &metav1.Condition{Status: metav1.ConditionTrue, Reason: string(v1beta1.ReasonAddressConflict)}}, "Find the host by its MAC"},
		{"no address", explanation{Assigned: says(v1beta1.ReasonPoolExhausted)}, "Add addresses to a pool"},
		{"no speaker has spoken", explanation{Assigned: assigned}, "kubectl clarion speakers"},
		{"no endpoint", explanation{Assigned: assigned, Announced: says(v1beta1.ReasonNoEndpoint)}, "selector"},
		{"what most nodes lack", explanation{Assigned: assigned, Announced: says(v1beta1.ReasonNoEligibleNode), Announcing: excluded}, "Remove the label"},
		{"what the nodes lack that came furthest", explanation{Assigned: assigned, Announced: saying(v1beta1.ReasonNoEligibleNode,
			"no node can advertise 2001:db8::1 by BGP: NoPeer (no BGPPeer selects the node: see the nodeSelectors); NodeExcluded (the node has the label)"), Announcing: excluded}, "See the nodeSelectors and families of the BGPPeers"},
		{"an endpoint on the nodes that came furthest", explanation{Assigned: assigned, Announced: saying(v1beta1.ReasonNoEndpoint,
			"no node can announce 192.0.2.1: NoLocalEndpoint (no endpoint is there); NodeExcluded (the node has the label)"), Announcing: excluded}, "set externalTrafficPolicy: Cluster"},
		{"no endpoint where traffic is to stay on the node", explanation{Assigned: assigned, Announced: says(v1beta1.ReasonNoEndpoint),
			Announcing: []announcing{{Nodes: []nodeAnnouncing{{Refused: true, Reason: v1beta1.ReasonNoLocalEndpoint}}}},
			Routers:    []routerSession{{Peer: "tor", State: v1beta1.BGPActive, LastError: "WrongPeerASN: it says 65001"}}}, "set externalTrafficPolicy: Cluster"},
		{"a session's reason", explanation{Assigned: assigned, Announced: says(v1beta1.ReasonNoSession),
			Routers: []routerSession{{Peer: "tor", State: v1beta1.BGPActive, LastError: "WrongPeerASN: it says 65001"}}}, "Correct peerASN"},
		{"a reason of a later version", explanation{Assigned: assigned, Announced: says("Moonphase")}, "Moonphase"},
	} {
		row.e.Served = true
		if row.e.conclude(); row.e.Well || !strings.Contains(row.e.Next, row.want) {
			t.Errorf("%s: %q", row.name, row.e.Next)
		}
	}
	well := explanation{Served: true, Assigned: assigned, Announced: assigned}
	if well.conclude(); !well.Well || well.Next != "" {
		t.Errorf("%+v", well)
	}
}

func TestASimulationIsToldForPeople(t *testing.T) {
	s, err := simulated(t.Context(), fakeSpeakers{"b": {}}, inspect.Loss, "a")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := prediction(s).Print(&b, view.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"192.0.2.1   default/web     c", "192.0.2.2   default/local   nobody", "default/local would be announced nowhere: no endpoint",
		"If node a were lost", "new owners: c 1; announced nowhere: 1 Services. Worked out by the speaker of node b"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q:\n%s", want, b.String())
		}
	}
}

func TestAMoveIsSeenToHaveHappened(t *testing.T) {
	at := netip.MustParseAddr("192.0.2.1")
	shows := func(owner string, why v1beta1.Reason) fakeSpeakers {
		return fakeSpeakers{"b": {Node: "b", Addresses: []inspect.Address{{Address: at, Owner: owner, Ownership: "owned by " + owner,
			Nodes: []inspect.Node{{Node: "b", Layer2: why, Message: "the label"}}}}}}
	}
	for _, row := range []struct {
		speakers fakeSpeakers
		want     string
		moved    bool
	}{
		{shows("b", v1beta1.ReasonEligible), "192.0.2.1 is answered by node b", true},
		{shows("a", v1beta1.ReasonNodeExcluded), "has not moved: owned by a; b may not have it: NodeExcluded: the label", false},
		{fakeSpeakers{}, "has not moved: no answer from b", false},
	} {
		streams, _, out, _ := genericiooptions.NewTestIOStreams()
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		err := (&program{IOStreams: streams}).awaitMove(ctx, row.speakers, at, "b")
		cancel()
		if (err == nil) != row.moved || !strings.Contains(out.String(), row.want) {
			t.Errorf("%v: %s, want %q", err, out, row.want)
		}
	}
}
