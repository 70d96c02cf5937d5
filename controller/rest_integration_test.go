package controller

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func reuseDelay(d time.Duration) func(*clarion.IPAddressPool) {
	return func(p *clarion.IPAddressPool) { p.Spec.ReuseDelay = &metav1.Duration{Duration: d} }
}

func TestAReleasedAddressRestsAlsoOverARestart(t *testing.T) {
	w := newWorld(t)
	const rests = 6 * time.Second
	p := w.pool("lab", "192.0.2.7/32", reuseDelay(rests))
	stop := w.start()
	w.service("holder")
	w.sees("holder", "192.0.2.7 True Assigned")
	w.must(w.Delete(w.ctx, w.get("holder")))
	released := time.Now()
	w.service("waits")
	if s := w.sees("waits", "False PoolExhausted"); !strings.Contains(message(s), "rest") {
		t.Errorf("the message is %q", message(s))
	}
	var told []clarion.RestingAddress
	w.eventually(func() (string, bool) {
		w.must(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
		told = p.Status.Resting
		return "nothing rests", len(told) == 1 && p.Status.IPv4.Available == "0"
	})
	if r := told[0]; r.Address != "192.0.2.7" || r.Namespace != w.namespace || r.Service != "holder" ||
		r.Until.Time.Before(released.Add(rests-time.Second)) || r.Until.Time.After(time.Now().Add(rests+time.Second)) {
		t.Errorf("what rests: %+v", r)
	}

	stop()
	w.start()
	w.service("asks", annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.7"))
	w.sees("asks", "False AddressResting")
	w.must(w.Delete(w.ctx, w.get("asks")))
	w.must(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
	if now := p.Status.Resting; len(now) != 1 || !now[0].Until.Equal(&told[0].Until) || now[0].Service != "holder" {
		t.Errorf("after a restart there rests %+v, before %+v", now, told)
	}

	// When it has rested, the Service that waits gets it, by itself and not before.
	s := w.sees("waits", "192.0.2.7 True Assigned")
	c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned))
	if c.LastTransitionTime.Time.Before(told[0].Until.Time) {
		t.Errorf("it has the address since %v, which was to rest until %v", c.LastTransitionTime, told[0].Until)
	}
	w.eventually(func() (string, bool) {
		w.must(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
		return "it is still said to rest", len(p.Status.Resting) == 0
	})
}

func TestAServiceThatIsMadeAgainHasItsRestingAddressBackAtOnce(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/30", reuseDelay(time.Hour))
	stop := w.start()
	w.service("a")
	w.sees("a", "192.0.2.0 True Assigned")
	w.must(w.Delete(w.ctx, w.get("a")))
	w.service("b")
	w.sees("b", "192.0.2.1 True Assigned")
	w.poolTells("lab", "1/4")
	w.eventually(func() (string, bool) {
		var p clarion.IPAddressPool
		w.must(w.Get(w.ctx, client.ObjectKey{Name: "lab"}, &p))
		return "nothing rests", len(p.Status.Resting) == 1
	})
	stop()
	w.start()
	w.service("a")
	w.sees("a", "192.0.2.0 True Assigned")
}

// What was given up just before the controller stops rests all the same.
func TestWhatIsGivenUpAtTheLastMomentRests(t *testing.T) {
	w := newWorld(t)
	p := w.pool("lab", "192.0.2.0/28", reuseDelay(time.Hour))
	stop := w.start()
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		w.service(name)
	}
	for _, name := range names {
		w.eventually(func() (string, bool) { s := w.get(name); return shows(s), strings.HasSuffix(shows(s), "True Assigned") })
	}
	for _, name := range names {
		w.must(w.Delete(w.ctx, w.get(name)))
	}
	tm := termShown.Load()
	w.eventually(func() (string, bool) {
		tm.mu.Lock()
		defer tm.mu.Unlock()
		return "not all are given up", len(tm.ledger.Resting("lab")) == len(names)
	})
	stop()
	w.must(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
	if len(p.Status.Resting) != len(names) {
		t.Errorf("%d of %d rest: %+v", len(p.Status.Resting), len(names), p.Status.Resting)
	}
	w.start()
	w.service("new")
	w.sees("new", "192.0.2.5 True Assigned")
}
