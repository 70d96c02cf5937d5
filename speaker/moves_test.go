package speaker

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// Services whose addresses move say the same as before: a lost node costs no write to any of them. What is written when
// the truth changes is one write each, by one speaker.
func TestAMoveWritesNothingOnServices(t *testing.T) {
	const services = 60
	l := newLAN(t, "a", "b", "c")
	speeches := map[string]*speech{"a": newSpeech(), "b": newSpeech(), "c": newSpeech()}
	stands := map[types.NamespacedName]*metav1.Condition{}
	writes := 0
	speak := func() {
		for name, d := range l.deciders {
			state := answering(d.announcements()...)
			for key, s := range d.services {
				v := d.verdictOn(key, state)
				if !v.writer || !v.settled {
					speeches[name].forget(key)
					continue
				}
				if speeches[name].utter(l.now, key, s.uid, stands[key], v.condition) {
					writes++
					said := v.condition
					stands[key] = &said
				}
			}
		}
	}
	for i := range services {
		l.service(newService(fmt.Sprint("s", i), fmt.Sprint("192.0.2.", 10+i)))
		l.endpoints(fmt.Sprint("s", i), "a", "b", "c")
	}
	l.wait(3 * time.Second)
	speak()
	if writes != services {
		t.Fatalf("%d writes for %d Services", writes, services)
	}
	lost := l.owner("192.0.2.10")
	moved := l.deciders[lost].machine.OwnedCount()
	l.stop(lost)
	for range 20 {
		l.step()
		speak()
	}
	if writes != services || moved < services/4 {
		t.Errorf("%d addresses moved, and %d conditions were written", moved, writes-services)
	}
	for key, c := range stands {
		if c.Reason != string(v1beta1.ReasonAnnounced) {
			t.Errorf("%s says %s", key, c.Reason)
		}
	}
}
