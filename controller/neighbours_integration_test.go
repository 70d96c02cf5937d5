package controller

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Another provider works in the same cluster: what is its is as it was, whatever we and it do.
func TestBesideAnotherProviderNothingOfItsChanges(t *testing.T) {
	w := newWorld(t)
	theirs := class("example.com/theirs")
	assigns := func(name, ip string) {
		w.changeStatus(name, func(s *corev1.ServiceStatus) {
			s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
			meta.SetStatusCondition(&s.Conditions, metav1.Condition{
				Type: "example.com/Assigned", Status: metav1.ConditionTrue, Reason: "Done", LastTransitionTime: metav1.Now(),
			})
		})
	}
	w.service("before", theirs)
	assigns("before", "192.0.2.0") // in what will be our pool
	w.service("waiting", theirs)
	w.service("asks-us", theirs, annotated(clarion.AnnotationAddressPool, "lab"), shares("k"))
	w.service("unclassed") // served by them too, while we have no pool
	assigns("unclassed", "203.0.113.5")

	versions := map[string]string{}
	note := func(names ...string) {
		for _, name := range names {
			versions[name] = w.get(name).ResourceVersion
		}
	}
	note("before", "waiting", "asks-us", "unclassed")
	stop := w.start()
	w.eventually(func() (string, bool) { return "nobody leads", w.leader() != "" })
	time.Sleep(300 * time.Millisecond) // for a write that should not come: there is no pool
	untouched := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if s := w.get(name); s.ResourceVersion != versions[name] {
				t.Errorf("%s was written: %s", name, shows(s))
			}
		}
	}
	untouched("before", "waiting", "asks-us", "unclassed")

	w.pool("lab", "192.0.2.0/30")
	w.service("ours")
	w.sees("ours", "192.0.2.1 True Assigned") // .0 is in use
	w.sees("unclassed", "203.0.113.5 False HeldByAnother")
	assigns("waiting", "192.0.2.2")
	note("waiting")
	w.service("ours-too")
	w.sees("ours-too", "192.0.2.3 True Assigned") // .2 is theirs by now
	assigns("unclassed", "203.0.113.6")           // they move it
	w.eventually(func() (string, bool) {
		s := w.get("unclassed")
		return shows(s), s.Status.LoadBalancer.Ingress[0].IP == "203.0.113.6"
	})
	stop()
	w.start()
	w.service("late")
	w.sees("late", "False PoolExhausted")
	untouched("before", "waiting", "asks-us")
	if s := w.get("unclassed"); meta.FindStatusCondition(s.Status.Conditions, "example.com/Assigned") == nil ||
		s.Annotations[clarion.AnnotationAssignedFromPool] != "" || s.Status.LoadBalancer.Ingress[0].IP != "203.0.113.6" {
		t.Errorf("what another provider serves: %+v %+v", s.Annotations, s.Status)
	}

	// What they give up can be had.
	w.must(w.Delete(w.ctx, w.get("before")))
	w.sees("late", "192.0.2.0 True Assigned")
}

// A Service may come to us, and go, with its type and class; each time what we put there goes in one write.
func TestAServiceThatChangesItsClassIsClearedInOneWrite(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("lab", "192.0.2.0/30")
	w.start()
	s := w.service("s", class(clarion.DefaultLoadBalancerClass))
	w.sees("s", "192.0.2.0 True Assigned")
	become := func(kind corev1.ServiceType, class string) {
		change(w, s, func(s *corev1.Service) {
			s.Spec.Type, s.Spec.LoadBalancerClass = kind, nil
			if kind == corev1.ServiceTypeLoadBalancer {
				no := false
				s.Spec.AllocateLoadBalancerNodePorts = &no
				if class != "" {
					s.Spec.LoadBalancerClass = &class
				}
			} else {
				s.Spec.AllocateLoadBalancerNodePorts = nil
			}
		})
	}
	become(corev1.ServiceTypeClusterIP, "")
	w.sees("s", "")
	become(corev1.ServiceTypeLoadBalancer, "example.com/theirs")
	w.sees("s", "")
	w.service("next")
	w.sees("next", "192.0.2.0 True Assigned") // it was given back
	become(corev1.ServiceTypeNodePort, "")
	become(corev1.ServiceTypeLoadBalancer, "")
	w.sees("s", "192.0.2.1 True Assigned")

	ours := func(s *corev1.Service) string {
		_, marked := s.Annotations[clarion.AnnotationAssignedFromPool]
		c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned))
		return fmt.Sprintf("mark %t condition %t", marked, c != nil)
	}
	for _, e := range h.end() {
		if s := e.Object.(*corev1.Service); s.Name == "s" {
			if got := ours(s); got != "mark true condition true" && got != "mark false condition false" {
				t.Errorf("at one moment: %s", got)
			}
		}
	}
}

func TestWhatOthersWriteBesideOursStays(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/30")
	w.start()
	w.service("s", annotated("example.com/note", "mine"))
	w.changeStatus("s", func(s *corev1.ServiceStatus) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: "example.com/Seen", Status: metav1.ConditionTrue, Reason: "Seen", LastTransitionTime: metav1.Now()})
	})
	w.sees("s", "192.0.2.0 True Assigned")
	change(w, w.get("s"), func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, clarion.AnnotationLoadBalancerIPs, "192.0.2.2")
	})
	s := w.sees("s", "192.0.2.2 True Assigned")
	if meta.FindStatusCondition(s.Status.Conditions, "example.com/Seen") == nil || s.Annotations["example.com/note"] != "mine" {
		t.Errorf("what others wrote: %v, %+v", s.Annotations, s.Status.Conditions)
	}
}
