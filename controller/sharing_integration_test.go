package controller

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func port(n int32) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Ports[0].Port = n }
}

func shares(key string) func(*corev1.Service) { return annotated(clarion.AnnotationAllowSharedIP, key) }

func local(app string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		s.Spec.Selector = map[string]string{"app": app}
	}
}

// neighbour is a second namespace to be in.
func (w *world) neighbour() *world {
	w.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clarion-neighbour-"}}
	w.must(w.Create(w.ctx, ns))
	n := *w
	n.namespace = ns.Name
	w.Cleanup(n.sweep)
	return &n
}

func TestServicesShareAnAddressAsFarAsTheRulesLet(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/28")
	w.start()
	w.service("web", shares("k"), port(80))
	w.sees("web", "192.0.2.0 True Assigned")
	w.service("dns", shares("k"), port(53))
	w.sees("dns", "192.0.2.0 True Assigned")
	w.service("metallb", annotated("metallb.universe.tf/allow-shared-ip", "k"), port(25))
	w.sees("metallb", "192.0.2.0 True Assigned")
	w.poolTells("lab", "1/16") // counted once

	w.service("same-port", shares("k"), port(80))
	w.sees("same-port", "192.0.2.1 True Assigned")
	w.service("other-key", shares("l"), port(443))
	w.sees("other-key", "192.0.2.2 True Assigned")
	w.service("no-key", port(8080))
	w.sees("no-key", "192.0.2.3 True Assigned")
	w.service("local", shares("k"), port(8443), local("a"))
	w.sees("local", "192.0.2.4 True Assigned")
	w.service("local-same", shares("k"), port(8444), local("a"))
	w.sees("local-same", "192.0.2.4 True Assigned")
	w.service("local-other", shares("k"), port(8445), local("b"))
	w.sees("local-other", "192.0.2.5 True Assigned")

	w.service("intruder", port(81), annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.0"))
	s := w.sees("intruder", "False AddressInUse")
	for _, name := range []string{"web", "dns", "metallb"} {
		if strings.Contains(message(s), name) {
			t.Errorf("the message names another's Service: %q", message(s))
		}
	}

	// Another namespace's key is another key.
	n := w.neighbour()
	n.service("web", shares("k"), port(82))
	n.sees("web", "192.0.2.6 True Assigned")
}

func TestAPoolMayLetNamespacesShare(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/28", func(p *clarion.IPAddressPool) { p.Spec.Sharing = clarion.SharingCluster })
	w.start()
	w.poolTells("lab", "Ready True Accepted")
	w.service("web", shares("k"), port(80))
	w.sees("web", "192.0.2.0 True Assigned")
	n := w.neighbour()
	n.service("dns", shares("k"), port(53))
	n.sees("dns", "192.0.2.0 True Assigned")
}

func TestWhoWaitsToShareJoinsWhenAPortFrees(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.7/32")
	w.start()
	w.service("first", shares("k"), port(80))
	w.sees("first", "192.0.2.7 True Assigned")
	w.service("other", shares("k"), port(443))
	w.sees("other", "192.0.2.7 True Assigned")
	w.service("second", shares("k"), port(80))
	w.sees("second", "False PoolExhausted")
	w.must(w.Delete(w.ctx, w.get("first")))
	w.sees("second", "192.0.2.7 True Assigned")
	w.sees("other", "192.0.2.7 True Assigned")
}

func TestAnEditThatMakesSharersClashIsResolvedForTheOlder(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.7/32")
	w.start()
	w.service("older", shares("k"), port(80))
	w.sees("older", "192.0.2.7 True Assigned")
	time.Sleep(1100 * time.Millisecond) // creationTimestamps are in seconds
	young := w.service("younger", shares("k"), port(443))
	w.sees("younger", "192.0.2.7 True Assigned")

	change(w, young, func(s *corev1.Service) { s.Spec.Ports[0].Port = 80 })
	w.eventually(func() (string, bool) {
		s := w.get("younger")
		return "the younger shows " + shows(s), strings.HasPrefix(shows(s), "False ")
	})
	w.sees("older", "192.0.2.7 True Assigned")
	change(w, young, func(s *corev1.Service) { s.Spec.Ports[0].Port = 443 })
	w.sees("younger", "192.0.2.7 True Assigned")

	// The other way round the older one's edit costs the younger its address.
	old := w.get("older")
	change(w, old, func(s *corev1.Service) { s.Spec.Ports[0].Port = 443 })
	w.sees("older", "192.0.2.7 True Assigned")
	w.eventually(func() (string, bool) {
		s := w.get("younger")
		return "the younger shows " + shows(s), strings.HasPrefix(shows(s), "False ")
	})
}

// Two Services have one address when Clarion comes, whoever gave it to them.
func TestWhatIsSharedWhenClarionComes(t *testing.T) {
	w := newWorld(t)
	gives := func(name, ip string) {
		w.changeStatus(name, func(s *corev1.ServiceStatus) {
			s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
		})
	}
	w.service("a", port(80))
	w.service("b", port(443))
	gives("a", "192.0.2.1")
	gives("b", "192.0.2.1") // against the rules, but harmless
	w.service("c", port(80))
	gives("c", "192.0.2.2")
	time.Sleep(1100 * time.Millisecond)
	w.service("d", port(80))
	gives("d", "192.0.2.2") // a clash: the older one keeps it
	w.pool("lab", "192.0.2.0/29")
	w.start()
	w.sees("c", "192.0.2.2 True Assigned")
	w.sees("d", "192.0.2.0 True Assigned")
	w.eventually(func() (string, bool) {
		a, b := shows(w.get("a")), shows(w.get("b"))
		return a + ", " + b, strings.HasPrefix(a, "192.0.2.1 True ") && strings.HasPrefix(b, "192.0.2.1 True ") &&
			(strings.HasSuffix(a, "SharedAgainstRules") || strings.HasSuffix(b, "SharedAgainstRules"))
	})
	// Mended by both giving a key.
	for _, name := range []string{"a", "b"} {
		change(w, w.get(name), func(s *corev1.Service) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, clarion.AnnotationAllowSharedIP, "k")
		})
	}
	w.sees("a", "192.0.2.1 True Assigned")
	w.sees("b", "192.0.2.1 True Assigned")
}
