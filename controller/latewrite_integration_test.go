package controller

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// The leader has decided to move a Service because its operator said so, and its write is stuck on its way. The operator
// takes that back, so that to the next leader the Service is as it should be, and the address to which it was to move
// goes to another one. Then the late write arrives.
func TestALateMoveOfAServiceThatLooksSettled(t *testing.T) {
	for name, tc := range map[string]struct {
		hold  func(*detour)
		codes []int // of the late writes
	}{
		"before it was told": {func(d *detour) { d.holdWrites(true) }, []int{200}}, // what comes late says that something is to come
		"after it was told":  {(*detour).holdAddresses, []int{409}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h := w.record()
			pool := w.pool("lab", "192.0.2.0/32")
			way := newDetour(t)
			first := w.controllerProgram("first", way.config())
			first.leads()
			w.service("s")
			w.sees("s", "192.0.2.0 True Assigned")
			change(w, pool, func(p *clarion.IPAddressPool) { p.Spec.Addresses = []clarion.AddressRange{"192.0.2.1/32"} })
			w.poolTells("lab", "Orphans True")

			tc.hold(way)
			release := func(value string) {
				change(w, pool, func(p *clarion.IPAddressPool) {
					metav1.SetMetaDataAnnotation(&p.ObjectMeta, clarion.AnnotationReleaseOrphans, value)
				})
			}
			release("true")
			w.eventually(func() (string, bool) { return "nothing is on its way", way.stuck() > 0 })
			first.freeze()
			release("false")
			second := w.controllerProgram("second", apiServer)
			second.leads()
			w.service("t")
			w.sees("t", "192.0.2.1 True Assigned")
			w.sees("s", "192.0.2.0 True Assigned")
			if codes := way.deliver(t); !slices.Equal(codes, tc.codes) {
				t.Errorf("the late writes are answered with %v, want %v", codes, tc.codes)
			}
			w.sees("s", "192.0.2.0 True Assigned")
			w.sees("t", "192.0.2.1 True Assigned")
			h.noAddressTwice()
		})
	}
}
