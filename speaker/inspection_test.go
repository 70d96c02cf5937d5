package speaker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/inspect"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// What a simulation says is what happens.
func TestASimulatedLossIsWhatALossIs(t *testing.T) {
	l := newLAN(t, "a", "b", "c", "d")
	addresses := map[string]string{}
	for i := range 12 {
		name, address := fmt.Sprint("s", i), fmt.Sprint("192.0.2.", 10+i)
		l.service(newService(name, address))
		l.endpoints(name, "a", "b")
		addresses[name] = address
	}
	l.wait(2 * time.Second)
	lost := l.owner("192.0.2.10")
	teller := l.deciders["a"]
	if lost == "a" {
		teller = l.deciders["b"]
	}
	moves := simulateAll(t, teller, inspect.Loss, lost)
	if len(moves) == 0 {
		t.Fatal("nothing moves")
	}
	before := map[string]string{}
	for _, a := range addresses {
		before[a] = l.owner(a)
	}
	l.stop(lost)
	l.step()
	for _, a := range addresses {
		want := before[a]
		if want == lost {
			want = moves[a].To
		}
		if got := l.owner(a); got != want {
			t.Errorf("%s went to %s, and was to go to %q", a, got, want)
		}
	}
}

func TestASimulatedDrain(t *testing.T) {
	l := newLAN(t, "a", "b")
	l.service(newService("web", "192.0.2.1"))
	l.endpoints("web", "a", "b")
	l.wait(2 * time.Second)
	owner := l.owner("192.0.2.1")
	other := map[string]string{"a": "b", "b": "a"}[owner]
	if m := simulateAll(t, l.deciders["a"], inspect.Drain, owner)["192.0.2.1"]; m.To != other || m.Stays || len(m.Unserved) > 0 {
		t.Errorf("%+v", m)
	}
	// Where all are drained, it stays.
	l.put(func(c *cluster) { c.setNode(other, &node{plan: plan.Node{Name: other, Signals: plan.Draining}}) })
	l.wait(time.Second)
	owner = l.owner("192.0.2.1")
	if owner == other {
		t.Fatal("a drained node has it")
	}
	if m := simulateAll(t, l.deciders["a"], inspect.Drain, owner)["192.0.2.1"]; !m.Stays {
		t.Errorf("%+v", m)
	}
	// With the node its endpoints are lost, and that the Service is served nowhere is said.
	l.endpoints("web", owner)
	l.wait(time.Second)
	if m := simulateAll(t, l.deciders["a"], inspect.Loss, owner)["192.0.2.1"]; m.To != "" || !strings.Contains(m.Unserved["default/web"], "no endpoint") {
		t.Errorf("%+v", m)
	}
	if _, err := l.deciders["a"].simulate(inspect.Loss, "nobody", &inspect.Simulation{}); !errors.Is(err, inspect.ErrUnknown) {
		t.Errorf("of a node that is not there: %v", err)
	}
}

func simulateAll(t *testing.T, d *decider, e inspect.Event, node string) map[string]inspect.Move {
	t.Helper()
	var out inspect.Simulation
	sim, err := d.simulate(e, node, &out)
	if err != nil {
		t.Fatal(err)
	}
	moves := map[string]inspect.Move{}
	for _, a := range sim.todo {
		m, moved := d.simulated(sim, a)
		if !moved {
			t.Errorf("%s is gone", a)
		}
		moves[a.String()] = m
	}
	if out.Owned != len(moves) {
		t.Errorf("owns %d, %d move", out.Owned, len(moves))
	}
	return moves
}

func TestAnInspectionSaysWhyEachNodeDoesOrDoesNot(t *testing.T) {
	l := newLAN(t, "a", "b", "c")
	l.service(newService("web", "192.0.2.1"))
	l.endpoints("web", "a", "b", "c")
	l.put(func(c *cluster) {
		c.setNode("c", &node{plan: plan.Node{Name: "c", Labels: map[string]string{v1beta1.LabelExcludeNode: ""}}})
	})
	l.wait(2 * time.Second)
	out := inspect.Address{Address: netip.MustParseAddr("192.0.2.1")}
	l.deciders["a"].inspectAddress(&out, "default/web")
	if out.Owner != l.owner("192.0.2.1") || !strings.Contains(out.Ownership, "owned by "+out.Owner) || len(out.Deputies) != 1 {
		t.Errorf("%+v", out)
	}
	var reasons []string
	for _, n := range out.Nodes {
		reasons = append(reasons, n.Node+" "+string(n.Layer2))
	}
	if want := []string{"a Eligible", "b Eligible", "c NodeExcluded"}; !slices.Equal(reasons, want) {
		t.Errorf("%q", reasons)
	}
	d := l.deciders["a"]
	if _, err := d.asked(inspect.Question{Service: "default/none"}); !errors.Is(err, inspect.ErrUnknown) {
		t.Errorf("of no such Service: %v", err)
	}
	if got, err := d.asked(inspect.Question{Service: "default/web"}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// The speaker as it runs answers on its loopback port.
func TestARunningSpeakerIsInspected(t *testing.T) {
	r := newRig(t, crds...)
	r.secret(aKey)
	r.advertisement()
	one := r.start(r.node(1), nil)
	r.service("web", "192.0.2.1")
	r.eventually("web is announced", 20*time.Second, func() bool { return len(r.answerers("192.0.2.1")) == 1 })
	text, found := strings.CutPrefix(get("http://"+one.health+"/inspect?service=default/web"), "200 ")
	var report inspect.Report
	if err := json.Unmarshal([]byte(text), &report); !found || err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if report.Node != "node-1" || len(report.Members) != 1 || len(report.Host.Links) != 1 || len(report.Addresses) != 1 {
		t.Fatalf("%s", text)
	}
	if a := report.Addresses[0]; a.Owner != "node-1" || !slices.Equal(a.Answering, []string{"eth0"}) || a.Nodes[0].Layer2 != v1beta1.ReasonEligible {
		t.Errorf("%s", text)
	}
	if got := get("http://" + one.health + "/simulate?loss=node-1"); !strings.HasPrefix(got, "200") || !strings.Contains(got, `"owned":1`) || !strings.Contains(got, "unserved") {
		t.Errorf("%s", got)
	}
	for query, want := range map[string]string{"/inspect?service=web": "400", "/inspect?address=x": "400", "/inspect?service=default/none": "404",
		"/simulate": "400", "/simulate?drain=nobody": "404", "/inspect": "200", "/nothing": "404"} {
		if got := get("http://" + one.health + query); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", query, got)
		}
	}
}
