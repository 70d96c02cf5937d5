package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

const (
	v4 = corev1.IPv4Protocol
	v6 = corev1.IPv6Protocol
)

func TestServicesGetAddresses(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24 2001:db8::/64")
	w.start()

	w.service("four")
	s := w.sees("four", "192.0.2.0 True Assigned")
	if got := message(s); got != "192.0.2.0 from pool lab" {
		t.Errorf("the message is %q", got)
	}
	if mode := s.Status.LoadBalancer.Ingress[0].IPMode; mode == nil || *mode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("ipMode is %v", mode)
	}
	if got := s.Annotations[clarion.AnnotationAssignedFromPool]; got != "lab=192.0.2.0" {
		t.Errorf("the pool on the Service is %q", got)
	}
	w.service("six", families(corev1.IPFamilyPolicySingleStack, v6))
	w.sees("six", "2001:db8:: True Assigned")
	w.service("both", families(corev1.IPFamilyPolicyRequireDualStack, v6, v4))
	w.sees("both", "2001:db8::1 192.0.2.1 True Assigned")
	w.service("classed", class(clarion.DefaultLoadBalancerClass))
	w.sees("classed", "192.0.2.2 True Assigned")
}

func TestServicesGetWhatTheyAskFor(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24 2001:db8::/64")
	w.pool("spare", "198.51.100.0/30", func(p *clarion.IPAddressPool) { no := false; p.Spec.AutoAssign = &no })
	w.start()

	w.service("address", annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.77"))
	w.sees("address", "192.0.2.77 True Assigned")
	w.service("field", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.78" })
	w.sees("field", "192.0.2.78 True Assigned")
	w.service("pair", families(corev1.IPFamilyPolicyRequireDualStack, v4, v6),
		annotated("metallb.io/loadBalancerIPs", "2001:db8::9,192.0.2.9"))
	w.sees("pair", "192.0.2.9 2001:db8::9 True Assigned")
	w.service("pool", annotated(clarion.AnnotationAddressPool, "spare"))
	w.sees("pool", "198.51.100.0 True Assigned")
}

func TestRefusalsSayWhy(t *testing.T) {
	w := newWorld(t)
	w.pool("tiny", "192.0.2.7/32")
	w.pool("six", "2001:db8::/64")
	w.pool("odd", "203.0.113.9-203.0.113.1", func(p *clarion.IPAddressPool) {})
	w.start()

	w.service("holder")
	w.sees("holder", "192.0.2.7 True Assigned")
	for _, tc := range []struct {
		name, want, says string
		with             func(*corev1.Service)
	}{
		{
			"full", "False PoolExhausted",
			"tiny: full (v4 1/1)",
			func(*corev1.Service) {},
		},
		{
			"taken", "False AddressInUse",
			"192.0.2.7 is asked for, but another Service has it",
			annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.7"),
		},
		{
			"outside", "False AddressNotInPool",
			"192.0.2.8 is asked for, but no pool has it",
			annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.8"),
		},
		{
			"wrong-family", "False FamilyMismatch",
			"2001:db8::1 is asked for, but the Service is IPv4 only",
			annotated(clarion.AnnotationLoadBalancerIPs, "2001:db8::1"),
		},
		{
			"no-such-pool", "False PoolNotFound",
			"pool nowhere is asked for, but there is no such IPAddressPool",
			annotated(clarion.AnnotationAddressPool, "nowhere"),
		},
		{
			"unready-pool", "False PoolNotReady",
			"odd: is not ready",
			annotated(clarion.AnnotationAddressPool, "odd"),
		},
		{
			"unreadable", "False InvalidRequest",
			`"lots" is no IP address`,
			annotated(clarion.AnnotationLoadBalancerIPs, "lots"),
		},
		{
			"at-odds", "False ConflictingRequests",
			"make them agree",
			func(s *corev1.Service) {
				s.Annotations[clarion.AnnotationAddressPool] = "tiny"
				s.Annotations["metallb.io/address-pool"] = "six"
			},
		},
	} {
		w.service(tc.name, tc.with)
		if s := w.sees(tc.name, tc.want); !strings.Contains(message(s), tc.says) {
			t.Errorf("%s: the message is %q, it should tell %q", tc.name, message(s), tc.says)
		}
	}

	// One event for each, with the same reason.
	w.eventually(func() (string, bool) {
		var events eventsv1.EventList
		w.must(w.List(w.ctx, &events, client.InNamespace(w.namespace)))
		said := map[string][]string{}
		for _, e := range events.Items {
			said[e.Regarding.Name] = append(said[e.Regarding.Name], e.Type+" "+e.Reason)
		}
		return fmt.Sprint("events: ", said), len(said) == 9 &&
			fmt.Sprint(said["holder"]) == "[Normal Assigned]" && fmt.Sprint(said["taken"]) == "[Warning AddressInUse]"
	})

	// What stood in the way changes.
	w.must(w.Delete(w.ctx, w.get("holder")))
	w.eventually(func() (string, bool) {
		full, taken := shows(w.get("full")), shows(w.get("taken"))
		return fmt.Sprintf("full shows %q, taken shows %q", full, taken),
			full == "192.0.2.7 True Assigned" != (taken == "192.0.2.7 True Assigned")
	})
}

func TestAServiceThatIsNoLoadBalancerAnyMoreGivesItsAddressBack(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.7/32")
	w.start()
	for _, class := range []string{"", clarion.DefaultLoadBalancerClass} {
		name := "s" + fmt.Sprint(len(class))
		s := w.service(name, func(s *corev1.Service) {
			if class != "" {
				s.Spec.LoadBalancerClass = &class
			}
		})
		w.sees(name, "192.0.2.7 True Assigned")
		w.service(name + "-waits")
		w.sees(name+"-waits", "False PoolExhausted")

		change(w, s, func(s *corev1.Service) {
			s.Spec.Type = corev1.ServiceTypeClusterIP
			s.Spec.AllocateLoadBalancerNodePorts = nil
		})
		s = w.sees(name, "")
		if _, ok := s.Annotations[clarion.AnnotationAssignedFromPool]; ok {
			t.Error("the pool's name is still there")
		}
		w.sees(name+"-waits", "192.0.2.7 True Assigned")
		w.must(w.Delete(w.ctx, w.get(name+"-waits")))
	}
}

// A Service goes from our class by way of another type to another provider's class, while nobody looks.
func TestAServiceThatChangedHandsUnseen(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/30")
	stop := w.start()
	s := w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	stop()
	change(w, s, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	})
	change(w, s, func(s *corev1.Service) {
		theirs := "example.com/theirs"
		s.Spec.Type, s.Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, &theirs
	})
	w.changeStatus("s", func(s *corev1.ServiceStatus) {
		s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.5"}}
	})
	w.start()
	w.sees("s", "203.0.113.5")
}

func TestARestartChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24 2001:db8::/64")
	stop := w.start()
	for i := range 20 {
		w.service(fmt.Sprintf("s%d", i), families(corev1.IPFamilyPolicyPreferDualStack, v4, v6))
	}
	versions := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		w.eventually(func() (string, bool) {
			s := w.get(name)
			versions[name] = s.ResourceVersion
			return name + " shows " + shows(s), strings.HasSuffix(shows(s), " True Assigned")
		})
	}
	stop()
	w.start()
	w.service("new", annotated(clarion.AnnotationAddressPool, "lab"))
	w.sees("new", "192.0.2.20 True Assigned")
	for name, version := range versions {
		if s := w.get(name); s.ResourceVersion != version {
			t.Errorf("%s was written: %s", name, shows(s))
		}
	}
}

func TestNothingIsWrittenWhileThereIsNoPool(t *testing.T) {
	w := newWorld(t)
	stop := w.start()
	before := w.service("s")
	w.changeStatus("s", func(s *corev1.ServiceStatus) {
		s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.5"}}
	})
	s := w.get("s")
	w.eventually(func() (string, bool) { return "nobody leads", w.leader() != "" })
	time.Sleep(300 * time.Millisecond) // time for a write that should not come
	if now := w.get("s"); now.ResourceVersion != s.ResourceVersion {
		t.Errorf("the Service was written: %s", shows(now))
	}
	// A pool that covers the address adopts it.
	w.pool("lab", "192.0.2.0/24")
	w.sees("s", "192.0.2.5 True Assigned")
	stop()
	_ = before
}

func (w *world) leader() string {
	var l coordinationv1.Lease
	if err := w.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: LeaseName}, &l); err != nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func TestWhatSomebodyElseAssignedIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.service("theirs", class("example.com/theirs"))
	w.service("held")
	w.service("named")
	foreign := map[string]corev1.LoadBalancerIngress{
		"theirs": {IP: "192.0.2.0"}, "held": {IP: "203.0.113.5"}, "named": {Hostname: "lb.example.com"},
	}
	for name, in := range foreign {
		w.changeStatus(name, func(s *corev1.ServiceStatus) { s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{in} })
	}
	theirs := w.get("theirs")
	w.pool("lab", "192.0.2.0/24")
	w.start()

	w.sees("held", "203.0.113.5 False HeldByAnother")
	w.sees("named", "lb.example.com False HeldByAnother")
	// An address that is in use by their doing is not given to anybody.
	w.service("ours")
	w.sees("ours", "192.0.2.1 True Assigned")
	if s := w.get("theirs"); s.ResourceVersion != theirs.ResourceVersion {
		t.Errorf("another provider's Service was written: %s", shows(s))
	}
	// Until a pool covers it.
	w.pool("more", "203.0.113.0/24")
	w.sees("held", "203.0.113.5 True Assigned")
	// Or it is cleared.
	w.changeStatus("named", func(s *corev1.ServiceStatus) { s.LoadBalancer.Ingress = nil })
	w.sees("named", "192.0.2.2 True Assigned")
}

func TestADeletedPoolStaysUntilItsLastServiceGoes(t *testing.T) {
	w := newWorld(t)
	w.start()
	unused := w.pool("unused", "198.51.100.0/24")
	p := w.pool("lab", "192.0.2.0/24")
	w.service("s", annotated(clarion.AnnotationAddressPool, "lab"))
	w.sees("s", "192.0.2.0 True Assigned")
	w.eventually(func() (string, bool) {
		w.must(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
		return fmt.Sprintf("usage %q, finalizers %v", p.Status.Usage, p.Finalizers), p.Status.Usage == "1/256" && len(p.Finalizers) == 1
	})
	w.must(w.Delete(w.ctx, unused))
	w.eventually(func() (string, bool) {
		return "a pool that nobody uses stays", apierrors.IsNotFound(w.Get(w.ctx, client.ObjectKeyFromObject(unused), unused))
	})

	w.must(w.Delete(w.ctx, p))
	w.service("late", annotated(clarion.AnnotationAddressPool, "lab"))
	w.sees("late", "False PoolDeleting")
	if s := w.sees("s", "192.0.2.0 True Assigned"); !strings.Contains(message(s), "being deleted") {
		t.Errorf("the message is %q", message(s))
	}
	w.must(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
	w.must(w.Delete(w.ctx, w.get("s")))
	w.eventually(func() (string, bool) {
		return "the pool stays", apierrors.IsNotFound(w.Get(w.ctx, client.ObjectKeyFromObject(p), p))
	})
	w.sees("late", "False PoolDeleting") // no pool is left: nothing is written any more
}

func TestAChangedRequestNeverLeavesAServiceWithoutAnAddress(t *testing.T) {
	w := newWorld(t)
	w.pool("a", "192.0.2.0/24")
	w.pool("b", "198.51.100.0/32")
	w.start()
	s := w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")

	var list corev1.ServiceList
	c, err := client.NewWithWatch(apiServer, client.Options{Scheme: scheme(), Mapper: mapper()})
	w.must(err)
	watching, err := c.Watch(w.ctx, &list, client.InNamespace(w.namespace))
	w.must(err)
	defer watching.Stop()

	move := func(pool, want string) {
		change(w, s, func(s *corev1.Service) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, clarion.AnnotationAddressPool, pool)
		})
		w.sees("s", want)
	}
	move("b", "198.51.100.0 True Assigned")
	move("c", "198.51.100.0 False PoolNotFound")
	move("a", "192.0.2.0 True Assigned")
	for {
		select {
		case e := <-watching.ResultChan():
			if s, ok := e.Object.(*corev1.Service); ok && len(s.Status.LoadBalancer.Ingress) != 1 {
				t.Errorf("at one moment it had %d addresses", len(s.Status.LoadBalancer.Ingress))
			}
			continue
		case <-time.After(100 * time.Millisecond):
		}
		break
	}
}

func TestAHandEditedStatusIsPutRightAndAnotherWriterIsNotFought(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24")
	w.start()
	w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	overwrite := func() {
		w.changeStatus("s", func(s *corev1.ServiceStatus) {
			s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
		})
	}
	for range contestPatience {
		overwrite()
		w.sees("s", "192.0.2.0 True Assigned")
	}
	overwrite()
	s := w.sees("s", "203.0.113.9 False AnotherWriter")
	if _, ok := s.Annotations[clarion.AnnotationAssignedFromPool]; ok {
		t.Error("our mark stands beside what somebody else wrote")
	}
	// The Service is changed: a new try.
	change(w, s, func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, clarion.AnnotationLoadBalancerIPs, "192.0.2.3")
	})
	w.sees("s", "192.0.2.3 True Assigned")
}

func TestALabelOnANamespaceLetsItsServicesIn(t *testing.T) {
	w := newWorld(t)
	label := clarion.LabelValue("public")
	w.pool("lab", "192.0.2.0/24", func(p *clarion.IPAddressPool) {
		p.Spec.ServiceAllocation = &clarion.ServiceAllocation{
			NamespaceSelectors: []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{"net": label}}},
		}
	})
	w.start()
	w.service("s")
	w.sees("s", "False NoPool")
	change(w, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, func(n *corev1.Namespace) {
		n.Labels["net"] = "public"
	})
	w.sees("s", "192.0.2.0 True Assigned")
}

func TestPreferDualStackIsCompletedWhenAPoolCan(t *testing.T) {
	w := newWorld(t)
	w.pool("four", "192.0.2.0/24")
	w.start()
	w.service("s", families(corev1.IPFamilyPolicyPreferDualStack, v6, v4))
	w.sees("s", "192.0.2.0 True Assigned")
	w.pool("six", "2001:db8::/64")
	s := w.sees("s", "2001:db8:: 192.0.2.0 True Assigned")
	if got := s.Annotations[clarion.AnnotationAssignedFromPool]; got != "six=2001:db8::,four=192.0.2.0" {
		t.Errorf("the pools on the Service are %q", got)
	}
}

func TestPoolsTellHowTheyAre(t *testing.T) {
	w := newWorld(t)
	w.start()
	sees := func(name string, want ...string) {
		t.Helper()
		w.eventually(func() (string, bool) {
			var p clarion.IPAddressPool
			w.must(w.Get(w.ctx, types.NamespacedName{Name: name}, &p))
			var got []string
			for _, c := range p.Status.Conditions {
				got = append(got, fmt.Sprintf("%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message))
			}
			text := p.Status.Usage + " | " + strings.Join(got, " | ")
			for _, part := range want {
				if !strings.Contains(text, part) {
					return fmt.Sprintf("pool %s tells %q, not %q", name, text, part), false
				}
			}
			return "", meta.FindStatusCondition(p.Status.Conditions, "Ready").ObservedGeneration == p.Generation
		})
	}
	w.pool("old", "192.0.2.0/24 2001:db8::/64")
	sees("old", "0/256, 0/2^64", "Ready True Accepted")
	time.Sleep(time.Second) // creationTimestamps are in seconds
	w.pool("young", "192.0.2.128-192.0.3.127")
	sees("young", "0/128", "Ready True Accepted", "Overlapping True OlderPoolHolds", "keep them: old")
	w.pool("reversed", "203.0.113.9-203.0.113.1")
	sees("reversed", "Ready False Invalid", "ends before it starts")
	w.pool("rests", "198.51.100.0/24", func(p *clarion.IPAddressPool) {
		p.Spec.ReuseDelay = &metav1.Duration{Duration: time.Minute}
	})
	sees("rests", "Ready True Accepted")

	w.service("s", annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.7"))
	sees("old", "1/256, 0/2^64")
	p := &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	change(w, p, func(p *clarion.IPAddressPool) { p.Spec.Addresses = []clarion.AddressRange{"192.0.2.16/28"} })
	sees("old", "1/16", "Orphans True HeldOutsidePool")
	w.sees("s", "192.0.2.7 True Assigned")
	change(w, p, func(p *clarion.IPAddressPool) {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, clarion.AnnotationReleaseOrphans, "true")
	})
	w.sees("s", "192.0.2.7 False AddressNotInPool") // it asks for just that one
}

func TestOtherObjectsTellHowTheyAre(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.pool("lab", "192.0.2.0/24")
	for _, o := range []client.Object{
		&clarion.L2Advertisement{
			ObjectMeta: metav1.ObjectMeta{Name: "good"},
			Spec:       clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lab"}},
		},
		&clarion.L2Advertisement{
			ObjectMeta: metav1.ObjectMeta{Name: "half"},
			Spec:       clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lab", "later"}},
		},
		&clarion.L2Advertisement{
			ObjectMeta: metav1.ObjectMeta{Name: "bad"},
			Spec:       clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"later"}},
		},
		&clarion.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "bgp"}},
	} {
		w.must(w.Create(w.ctx, o))
	}
	sees := func(o client.Object, conditions func() []metav1.Condition, want string) {
		t.Helper()
		w.eventually(func() (string, bool) {
			w.must(w.Get(w.ctx, client.ObjectKeyFromObject(o), o))
			var got []string
			for _, c := range conditions() {
				got = append(got, fmt.Sprintf("%s %s %s", c.Type, c.Status, c.Reason))
			}
			return fmt.Sprintf("%s tells %q, want %q", o.GetName(), got, want), strings.Join(got, ", ") == want
		})
	}
	l2 := func(name, want string) {
		t.Helper()
		a := &clarion.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: name}}
		sees(a, func() []metav1.Condition { return a.Status.Conditions }, want)
	}
	l2("good", "Ready True Accepted")
	l2("half", "Ready True Accepted, UnknownName True PoolNotFound")
	l2("bad", "Ready False PoolNotFound, UnknownName True PoolNotFound")
	bgp := &clarion.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "bgp"}}
	sees(bgp, func() []metav1.Condition { return bgp.Status.Conditions }, "Ready False NoPeers")
	w.pool("later", "198.51.100.0/24")
	l2("half", "Ready True Accepted")
	l2("bad", "Ready True Accepted")
}

func TestGossipKeysAreFilledOnce(t *testing.T) {
	w := newWorld(t)
	key := types.NamespacedName{Namespace: w.namespace, Name: gossipSecret}
	w.must(w.Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}))
	stop := w.start()
	var s corev1.Secret
	w.eventually(func() (string, bool) {
		w.must(w.Get(w.ctx, key, &s))
		return "no key", len(strings.TrimSpace(string(s.Data[gossipKeys]))) == 44
	})
	stop()
	w.start()
	w.service("s")
	w.pool("lab", "192.0.2.0/24")
	w.sees("s", "192.0.2.0 True Assigned")
	var again corev1.Secret
	w.must(w.Get(w.ctx, key, &again))
	if again.ResourceVersion != s.ResourceVersion {
		t.Error("the Secret was written again")
	}
}
