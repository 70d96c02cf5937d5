package controller

import (
	"fmt"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// A refusal tells of every pool why it was not used, in the condition and in the event, and of no other tenant.
func TestARefusalTellsTheWholeStoryAndNamesNoOtherTenant(t *testing.T) {
	w := newWorld(t)
	n := w.neighbour()
	w.pool("lab", "192.0.2.7/32")
	w.pool("theirs", "198.51.100.0/24", func(p *clarion.IPAddressPool) {
		p.Spec.ServiceAllocation = &clarion.ServiceAllocation{Namespaces: []clarion.NamespaceName{clarion.NamespaceName(n.namespace)}}
	})
	w.pool("on-request", "203.0.113.0/24", func(p *clarion.IPAddressPool) { no := false; p.Spec.AutoAssign = &no })
	w.pool("six", "2001:db8::/64")
	w.start()
	n.service("secret-name", annotated(clarion.AnnotationAddressPool, "lab"))
	n.sees("secret-name", "192.0.2.7 True Assigned")

	w.service("s")
	story := message(w.sees("s", "False PoolExhausted"))
	for _, part := range []string{"no IPv4 address", "lab: full (v4 1/1)", "theirs: is not for namespace " + w.namespace, "on-request: is only for Services that ask for it", "six: family IPv6"} {
		if !strings.Contains(story, part) {
			t.Errorf("the story is %q, it should tell %q", story, part)
		}
	}
	w.service("asks", annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.7"), shares("k"))
	refusal := message(w.sees("asks", "False AddressInUse"))
	for _, text := range []string{story, refusal} {
		if strings.Contains(text, "secret-name") || strings.Contains(text, n.namespace) {
			t.Errorf("%q names another tenant", text)
		}
	}

	want := map[string]string{"s": "Warning PoolExhausted " + story, "asks": "Warning AddressInUse " + refusal}
	w.eventually(func() (string, bool) {
		var events eventsv1.EventList
		w.must(w.List(w.ctx, &events, client.InNamespace(w.namespace)))
		got := map[string]string{}
		for _, e := range events.Items {
			got[e.Regarding.Name] = e.Type + " " + e.Reason + " " + e.Note
		}
		return fmt.Sprintf("the events are %q, want %q", got, want), fmt.Sprint(got) == fmt.Sprint(want)
	})
}
