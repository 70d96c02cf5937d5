package controller

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// The leader is stopped with its writes on their way, and the only pool goes. The next leader writes nothing while there is
// none, so that what comes late comes through, and is a Service's as anything that a leader before has written. Then there
// is a pool again: what comes after that meets a conflict, and what came before is given to nobody else.
func TestLateWritesWhileThereIsNoPool(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	way := newDetour(t)
	first := w.controllerProgram("first", way.config())
	first.leads()
	for i := range 24 {
		w.service(fmt.Sprintf("s%02d", i))
	}
	way.holdWrites(true)
	pool := w.pool("lab", "192.0.2.0/27")
	w.eventually(func() (string, bool) {
		return fmt.Sprint(way.stuck(), " are on their way"), way.stuck() >= DefaultWorkers
	})
	first.freeze()
	w.must(client.IgnoreNotFound(w.Delete(w.ctx, pool)))
	w.must(client.IgnoreNotFound(w.Patch(w.ctx, pool, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
	second := w.controllerProgram("second", apiServer)
	second.leads()
	w.service("young")
	for _, code := range way.deliverSome(t, DefaultWorkers/2) {
		if code != 200 {
			t.Errorf("while nobody writes a late write is answered with %d", code)
		}
	}
	before, _ := w.served()
	if before != DefaultWorkers/2 {
		t.Errorf("%d Services are served by what came late, want %d", before, DefaultWorkers/2)
	}

	w.pool("again", "192.0.2.0/27")
	w.everybodyIsServed()
	for _, code := range way.deliver(t) {
		if code != 409 {
			t.Errorf("a write that comes after the next leader's is answered with %d", code)
		}
	}
	way.holdWrites(false)
	first.thaw()
	w.service("after")
	w.everybodyIsServed()
	if w.leader() != "second" {
		t.Errorf("%s leads", w.leader())
	}
	h.noAddressTwice()
}
