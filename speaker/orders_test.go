package speaker

import (
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/plan"
)

func TestAnAddressMovesToTheNodeThatItsServiceNames(t *testing.T) {
	l := newLAN(t, "a", "b", "c")
	o := newService("web", "192.0.2.1")
	l.service(o)
	l.endpoints("web", "a", "b", "c")
	l.wait(2 * time.Second)
	owner := l.owner("192.0.2.1")
	other := map[string]string{"a": "b", "b": "c", "c": "a"}[owner]
	third := map[string]string{"a": "b", "b": "c", "c": "a"}[other]
	names := func(node string) {
		o = o.DeepCopy()
		o.Annotations[v1beta1.AnnotationAnnounceFrom] = node
		l.service(o)
		l.step()
	}
	if names(other); l.owner("192.0.2.1") != other {
		t.Fatalf("%s has it, not %s", l.owner("192.0.2.1"), other)
	}
	// What names no node that could have it changes nothing.
	if names("nobody"); l.owner("192.0.2.1") != other {
		t.Errorf("%s has it", l.owner("192.0.2.1"))
	}
	l.put(func(c *cluster) { c.setNode(third, &node{plan: plan.Node{Name: third, Signals: plan.Draining}}) })
	l.step()
	if names(third); l.owner("192.0.2.1") != other {
		t.Errorf("%s has it, which is being drained", l.owner("192.0.2.1"))
	}
	// Nor does it move when the annotation goes.
	if names(""); l.owner("192.0.2.1") != other {
		t.Errorf("%s has it", l.owner("192.0.2.1"))
	}
	// The node is lost: another takes it, whatever the annotation says.
	names(other)
	l.stop(other)
	l.step()
	if got := l.owner("192.0.2.1"); got == other {
		t.Errorf("%s has it, which is lost", got)
	}
	// A speaker that starts finds the annotation, and moves nothing for it: failback gives it back in its time.
	has := l.owner("192.0.2.1")
	l.start(other)
	l.wait(5 * time.Second)
	if got := l.owner("192.0.2.1"); got != has {
		t.Errorf("a start moved it from %s to %s", has, got)
	}
	l.wait(plan.DefaultAfter + 10*time.Second)
	if got := l.owner("192.0.2.1"); got != other {
		t.Errorf("after failback's time %s has it", got)
	}
}
