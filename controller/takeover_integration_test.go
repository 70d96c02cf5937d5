package controller

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// history is all that happened to the Services of a namespace, in the order in which the API server carried it out.
type history struct {
	*world
	done chan struct{}
	all  []watch.Event
}

// lastOfAll is the Service whose deletion ends a record.
const lastOfAll = "last-of-all"

// record keeps what happens to Services from now on.
func (w *world) record() *history {
	w.Helper()
	c, err := client.NewWithWatch(apiServer, client.Options{Scheme: scheme(), Mapper: mapper()})
	w.must(err)
	var list corev1.ServiceList
	w.must(c.List(w.ctx, &list, client.InNamespace(w.namespace)))
	if len(list.Items) > 0 {
		w.Fatal("record before there are Services")
	}
	h := &history{world: w, done: make(chan struct{})}
	go func() {
		defer close(h.done)
		for version := list.ResourceVersion; h.follow(c, &version); {
		}
	}()
	return h
}

// follow records what happens after a version, and reports whether to go on: the API server ends a watch that falls
// behind, and it can be taken up where it ended.
func (h *history) follow(c client.WithWatch, version *string) (goOn bool) {
	watching, err := c.Watch(h.ctx, &corev1.ServiceList{}, client.InNamespace(h.namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: *version}})
	if err != nil {
		return false
	}
	defer watching.Stop()
	for e := range watching.ResultChan() {
		s, ok := e.Object.(*corev1.Service)
		if !ok {
			return false
		}
		h.all, *version = append(h.all, e), s.ResourceVersion
		if s.Name == lastOfAll && e.Type == watch.Deleted {
			return false
		}
	}
	return h.ctx.Err() == nil
}

// end ends the record.
func (h *history) end() []watch.Event {
	h.Helper()
	last := h.service(lastOfAll, class("example.com/nobodys"))
	h.must(h.Delete(h.ctx, last))
	select {
	case <-h.done:
	case <-time.After(patience):
		h.Fatal("the record does not come to its end")
	}
	if s, ok := h.all[len(h.all)-1].Object.(*corev1.Service); !ok || s.Name != lastOfAll {
		h.Fatalf("the record broke off: %v", h.all[len(h.all)-1].Object)
	}
	return h.all
}

// noAddressTwice checks that at no moment two Services of ours had one address, and that none gained one which did not
// say before that something was about to come.
func (h *history) noAddressTwice() {
	h.Helper()
	h.noAddressTwiceIn(h.end())
}

func (h *history) noAddressTwiceIn(all []watch.Event) {
	h.Helper()
	holders := map[string]map[string]bool{}
	had := map[string][]string{}
	before := map[types.UID]*corev1.Service{}
	for _, e := range all {
		s := e.Object.(*corev1.Service)
		if was := before[s.UID]; was != nil && !mayGain(was) {
			for _, in := range s.Status.LoadBalancer.Ingress {
				if !slices.Contains(had[s.Name], in.IP) {
					h.Errorf("at resource version %s, %s gains %s, and showed %q before", s.ResourceVersion, s.Name, in.IP, shows(was))
				}
			}
		}
		before[s.UID] = s
		for _, ip := range had[s.Name] {
			delete(holders[ip], s.Name)
		}
		had[s.Name] = nil
		if e.Type == watch.Deleted {
			continue
		}
		for _, in := range s.Status.LoadBalancer.Ingress {
			if holders[in.IP] == nil {
				holders[in.IP] = map[string]bool{}
			}
			holders[in.IP][s.Name] = true
			had[s.Name] = append(had[s.Name], in.IP)
			if len(holders[in.IP]) > 1 {
				h.Errorf("at resource version %s, %s is the address of %v", s.ResourceVersion, in.IP, holders[in.IP])
			}
		}
	}
}

// controllerProgram starts a controller as a process, with the Lease's times of the tests.
func (w *world) controllerProgram(identity string, to *rest.Config, args ...string) *program {
	w.Helper()
	return startProgram(w, to, append([]string{"--namespace=" + w.namespace, "--identity=" + identity,
		"--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=200ms"}, args...)...)
}

// burst makes Services, changes some, and deletes some, many at once, as an impatient lot of users would.
func (w *world) burst(from, to int) (wait func()) {
	next := make(chan int)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range next {
				name := fmt.Sprintf("s%03d", i)
				s := w.service(name, families(corev1.IPFamilyPolicyPreferDualStack, v4, v6))
				switch i % 5 {
				case 1: // asks for something else
					body := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"192.0.2.%d"}}}`, clarion.AnnotationLoadBalancerIPs, i%256)
					w.must(w.Patch(w.ctx, s, client.RawPatch("application/merge-patch+json", body)))
				case 2: // is made again
					w.must(w.Delete(w.ctx, s))
					w.service(name)
				case 3: // goes
					w.must(w.Delete(w.ctx, s))
				}
			}
		})
	}
	go func() {
		defer close(next)
		for i := from; i < to; i++ {
			next <- i
		}
	}()
	return group.Wait
}

// served counts the Services that have addresses.
func (w *world) served() (with, all int) {
	w.Helper()
	var list corev1.ServiceList
	w.must(w.List(w.ctx, &list, client.InNamespace(w.namespace)))
	for _, s := range list.Items {
		if len(s.Status.LoadBalancer.Ingress) > 0 {
			with++
		}
	}
	return with, len(list.Items)
}

// everybodyIsServed waits until each Service has what it is due; those that ask for an address alone are refused.
func (w *world) everybodyIsServed() {
	w.Helper()
	w.eventually(func() (string, bool) {
		var list corev1.ServiceList
		w.must(w.List(w.ctx, &list, client.InNamespace(w.namespace)))
		for i := range list.Items {
			if got := shows(&list.Items[i]); !strings.HasSuffix(got, "True Assigned") && !strings.HasSuffix(got, "False FamilyMismatch") {
				return fmt.Sprintf("%s shows %q", list.Items[i].Name, got), false
			}
		}
		return "", len(list.Items) > 0
	})
}

func TestALeaderIsKilledInMidBurst(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("lab", "192.0.2.0/24 198.51.100.0/24 2001:db8::/64")
	first := w.controllerProgram("first", apiServer)
	first.leads()
	second := w.controllerProgram("second", apiServer)
	wait := w.burst(0, 300)
	w.eventually(func() (string, bool) {
		with, _ := w.served()
		return fmt.Sprint(with, " are served"), with > 20
	})
	first.kill()
	second.leads()
	wait()
	w.everybodyIsServed()
	h.noAddressTwice()
}

func TestALeaderThatWasStoppedInMidBurstDoesNoHarmWhenItGoesOn(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("lab", "192.0.2.0/24 198.51.100.0/24 2001:db8::/64")
	first := w.controllerProgram("first", apiServer)
	first.leads()
	second := w.controllerProgram("second", apiServer)
	wait := w.burst(0, 200)
	w.eventually(func() (string, bool) {
		with, _ := w.served()
		return fmt.Sprint(with, " are served"), with > 20
	})
	first.freeze()
	wait()
	second.leads()
	wait = w.burst(200, 300)
	first.thaw()
	wait()
	w.everybodyIsServed()
	if w.leader() != "second" {
		t.Errorf("%s leads", w.leader())
	}
	// It is of use again.
	second.stop()
	w.service("after")
	w.everybodyIsServed()
	h.noAddressTwice()
}

// The leader has decided, and its writes are stuck on their way. They arrive when the next leader has already given the
// addresses to others, one of them to a Service that waits just as it did before, so that nobody needed to write the
// one to which the late write goes.
func TestWritesThatArriveAfterTheNextLeadersAreRefused(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("tiny", "192.0.2.7/32")
	way := newDetour(t)
	first := w.controllerProgram("first", way.config())
	first.leads()
	w.service("holder")
	w.sees("holder", "192.0.2.7 True Assigned")
	// Two that wait: the last leader goes by who waited first, the next one by age, and of the same age by name.
	for n := 0; ; n++ {
		late := w.service("z")
		w.sees("z", "False PoolExhausted")
		early := w.service("a")
		w.sees("a", "False PoolExhausted")
		if early.CreationTimestamp.Equal(&late.CreationTimestamp) {
			break
		}
		if n > 20 {
			t.Fatal("no two Services of the same second")
		}
		w.must(w.Delete(w.ctx, late))
		w.must(w.Delete(w.ctx, early))
	}
	waiting := message(w.get("z"))

	way.holdWrites(true)
	w.must(w.Delete(w.ctx, w.get("holder")))
	w.eventually(func() (string, bool) { return "nothing is on its way", way.stuck() > 0 })
	first.freeze()
	second := w.controllerProgram("second", apiServer, "--workers=1") // one after the other
	second.leads()
	w.sees("a", "192.0.2.7 True Assigned")
	if s := w.sees("z", "False PoolExhausted"); message(s) != waiting {
		t.Fatalf("it waits otherwise than before, which makes this test void: %q, %q", message(s), waiting)
	}
	for _, code := range way.deliver(t) {
		if code != 409 {
			t.Errorf("a late write is answered with %d", code)
		}
	}
	way.holdWrites(false)
	first.thaw()
	w.service("b")
	w.sees("b", "False PoolExhausted")
	w.sees("a", "192.0.2.7 True Assigned")
	h.noAddressTwice()
	h.pendingComesBefore("z", "a")
}

// pendingComesBefore checks that a Service was told that it is about to be decided on before another one got addresses
// for the first time.
func (h *history) pendingComesBefore(pending, granted string) {
	h.Helper()
	for _, e := range h.all {
		s := e.Object.(*corev1.Service)
		switch {
		case s.Name == pending && strings.HasSuffix(shows(s), "Unknown Pending"):
			return
		case s.Name == granted && len(s.Status.LoadBalancer.Ingress) > 0:
			h.Errorf("%s has an address before %s was told", granted, pending)
			return
		}
	}
	h.Errorf("%s was never told", pending)
}

// A late write that comes through before its Service is written counts: what it gave is adopted.
func TestAWriteThatArrivesWhileTheNextLeaderTakesOver(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	way := newDetour(t)
	first := w.controllerProgram("first", way.config())
	first.leads()
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("s%02d", i))
		w.service(names[i])
	}
	way.holdWrites(true)
	w.pool("lab", "192.0.2.0/27")
	w.eventually(func() (string, bool) {
		return fmt.Sprint(way.stuck(), " are on their way"), way.stuck() >= DefaultWorkers
	})
	first.kill()
	second := w.controllerProgram("second", apiServer)
	w.eventually(func() (string, bool) { return w.leader() + " leads", w.leader() == "second" })
	through := 0
	for _, code := range way.deliver(t) {
		if code == 200 {
			through++
		}
	}
	t.Logf("%d late writes came through", through)
	second.leads()
	w.everybodyIsServed()
	h.noAddressTwice()
}

// The next leader's own view of Services is behind when it takes over.
func TestANewLeaderWhoseCacheIsBehindGoesByTheAPIServer(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	first := w.controllerProgram("first", apiServer)
	first.leads()
	way := newDetour(t)
	second := w.controllerProgram("second", way.config())
	w.service("s1")
	w.service("s2")
	w.service("gone")
	time.Sleep(time.Second) // until the second one has them
	way.jamServices()
	w.must(w.Delete(w.ctx, w.get("gone")))
	w.pool("tiny", "192.0.2.7/32")
	w.eventually(func() (string, bool) {
		with, _ := w.served()
		return "nobody is served", with == 1
	})
	holder, waits := "s1", "s2"
	if len(w.get("s1").Status.LoadBalancer.Ingress) == 0 {
		holder, waits = "s2", "s1"
	}
	w.sees(waits, "False PoolExhausted")
	first.kill()
	second.leads()
	time.Sleep(500 * time.Millisecond) // for a write that should not come
	w.sees(holder, "192.0.2.7 True Assigned")
	way.flow()
	w.must(w.Delete(w.ctx, w.get(holder)))
	w.sees(waits, "192.0.2.7 True Assigned")
	if err := w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "gone"}, &corev1.Service{}); !apierrors.IsNotFound(err) {
		t.Error("what was deleted is back: ", err)
	}
	h.noAddressTwice()
}

// A leader that goes gives the Lease up, and writes nothing to those who wait.
func TestAHandoverTellsNobodyAnything(t *testing.T) {
	w := newWorld(t)
	w.pool("tiny", "192.0.2.7/32")
	first := w.controllerProgram("first", apiServer)
	first.leads()
	for _, name := range []string{"s1", "s2"} {
		w.service(name)
	}
	w.sees("s1", "192.0.2.7 True Assigned")
	waits := w.sees("s2", "False PoolExhausted")
	first.stop()
	second := w.controllerProgram("second", apiServer)
	second.leads()
	w.service("s3")
	w.sees("s3", "False PoolExhausted")
	if now := w.get("s2"); now.ResourceVersion != waits.ResourceVersion {
		t.Errorf("it was written: %s", shows(now))
	}
}

// While there is no pool nothing is written, whoever vanished; when the first one appears, everybody is told before
// anybody gets anything.
func TestLateWritesAreBarredWhenTheFirstPoolAppears(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	first := w.controllerProgram("first", apiServer)
	first.leads()
	names := map[string]bool{}
	for i := range 30 {
		name := fmt.Sprintf("s%02d", i)
		w.service(name)
		names[name] = true
	}
	first.kill()
	second := w.controllerProgram("second", apiServer)
	second.leads()
	w.pool("lab", "192.0.2.0/27")
	w.everybodyIsServed()
	for _, e := range h.end() {
		s := e.Object.(*corev1.Service)
		switch {
		case strings.HasSuffix(shows(s), "Unknown Pending"):
			delete(names, s.Name)
		case len(s.Status.LoadBalancer.Ingress) > 0 && len(names) > 0:
			t.Fatalf("%s has an address before %d others were told", s.Name, len(names))
		}
	}
	if len(names) > 0 {
		t.Errorf("never told: %v", names)
	}
}
