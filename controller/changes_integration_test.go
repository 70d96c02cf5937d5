package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// neverEmpty checks that a Service, once it had addresses, had some at every moment.
func (h *history) neverEmpty(name string) {
	h.Helper()
	had := 0
	for _, e := range h.end() {
		if s := e.Object.(*corev1.Service); s.Name == name {
			if n := len(s.Status.LoadBalancer.Ingress); n < min(had, 1) {
				h.Errorf("at resource version %s it had no address", s.ResourceVersion)
			} else {
				had = n
			}
		}
	}
}

func annotatePool(w *world, name, key, value string) {
	w.Helper()
	change(w, &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}, func(p *clarion.IPAddressPool) {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, key, value)
	})
}

func TestAnEditOfAPoolMovesNothingUntilItsOperatorSaysSo(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("lab", "192.0.2.0/28")
	w.start()
	w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	change(w, &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}, func(p *clarion.IPAddressPool) {
		p.Spec.Addresses = []clarion.AddressRange{"198.51.100.0/28"}
	})
	w.poolTells("lab", "1/16", "Orphans True HeldOutsidePool")
	w.eventually(func() (string, bool) {
		s := w.get("s")
		return "the Service says " + message(s), shows(s) == "192.0.2.0 True Assigned" && strings.Contains(message(s), "does not give it out any more")
	})
	w.service("new")
	w.sees("new", "198.51.100.0 True Assigned")

	annotatePool(w, "lab", clarion.AnnotationReleaseOrphans, "true")
	w.sees("s", "198.51.100.1 True Assigned")
	w.eventually(func() (string, bool) {
		p := w.poolTells("lab", "2/16")
		for _, c := range p.Status.Conditions {
			if c.Type == string(clarion.ConditionOrphans) {
				return "orphans are told of still", false
			}
		}
		return "", true
	})
	h.neverEmpty("s")
}

func TestANewPoolAdoptsWhatADeletedOneLeaves(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	old := w.pool("old", "192.0.2.0/28")
	w.start()
	w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	w.poolTells("old", "1/16")
	w.must(w.Delete(w.ctx, old))
	w.poolTells("old", "Ready False PoolDeleting")
	w.service("late")
	w.sees("late", "False NoPool")

	w.pool("new", "192.0.2.0/29")
	w.eventually(func() (string, bool) {
		s := w.get("s")
		return "the mark is " + s.Annotations[clarion.AnnotationAssignedFromPool], s.Annotations[clarion.AnnotationAssignedFromPool] == "new=192.0.2.0"
	})
	w.sees("late", "192.0.2.1 True Assigned")
	w.eventually(func() (string, bool) {
		return "the old pool stays", apierrors.IsNotFound(w.Get(w.ctx, client.ObjectKeyFromObject(old), old))
	})
	w.poolTells("new", "2/8")
	w.sees("s", "192.0.2.0 True Assigned")
	h.neverEmpty("s")
}

func TestADeletedPoolIsEmptiedByItsOperator(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	old := w.pool("a-old", "192.0.2.0/28")
	w.pool("b-new", "198.51.100.0/28")
	w.start()
	w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	w.poolTells("a-old", "1/16")
	w.must(w.Delete(w.ctx, old))
	w.poolTells("a-old", "PoolDeleting")
	w.sees("s", "192.0.2.0 True Assigned")
	annotatePool(w, "a-old", clarion.AnnotationReleaseOrphans, "true")
	w.sees("s", "198.51.100.0 True Assigned")
	w.eventually(func() (string, bool) {
		return "the old pool stays", apierrors.IsNotFound(w.Get(w.ctx, client.ObjectKeyFromObject(old), old))
	})
	h.neverEmpty("s")
}

func TestAServiceThatTurnsFromSingleToDualStackAndBackKeepsTheFamilyThatStays(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("four", "192.0.2.0/28")
	w.pool("six", "2001:db8::/64")
	w.start()
	s := w.service("s", families(corev1.IPFamilyPolicySingleStack, v4))
	w.sees("s", "192.0.2.0 True Assigned")
	w.service("in-between")
	w.sees("in-between", "192.0.2.1 True Assigned")
	become := func(policy corev1.IPFamilyPolicy, list ...corev1.IPFamily) {
		change(w, s, func(s *corev1.Service) {
			s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, list
			if policy == corev1.IPFamilyPolicySingleStack {
				s.Spec.ClusterIPs = s.Spec.ClusterIPs[:1]
			}
		})
	}
	become(corev1.IPFamilyPolicyRequireDualStack, v4, v6)
	w.sees("s", "192.0.2.0 2001:db8:: True Assigned")
	become(corev1.IPFamilyPolicySingleStack, v4)
	w.sees("s", "192.0.2.0 True Assigned")
	w.poolTells("six", "0/2^64")
	h.neverEmpty("s")
}

func TestRequireDualStackGetsBothOrNeither(t *testing.T) {
	w := newWorld(t)
	w.pool("four", "192.0.2.0/28")
	w.start()
	w.service("s", families(corev1.IPFamilyPolicyRequireDualStack, v4, v6))
	w.eventually(func() (string, bool) {
		s := w.get("s")
		return shows(s) + ": " + message(s), strings.HasPrefix(shows(s), "False ") && strings.Contains(message(s), "no IPv6 address")
	})
	w.service("other")
	w.sees("other", "192.0.2.0 True Assigned") // nothing is held for the one that waits
	w.pool("six", "2001:db8::/64")
	w.sees("s", "192.0.2.1 2001:db8:: True Assigned")
}

func TestAQuotaIsAReasonLikeAnyOther(t *testing.T) {
	w := newWorld(t)
	two := int32(2)
	w.pool("lab", "192.0.2.0/28", func(p *clarion.IPAddressPool) { p.Spec.Quota = &clarion.PoolQuota{PerNamespace: &two} })
	w.start()
	w.service("a")
	w.sees("a", "192.0.2.0 True Assigned")
	w.service("b", shares("k"), port(1))
	w.sees("b", "192.0.2.1 True Assigned")
	w.service("shares-b", shares("k"), port(2)) // costs nothing
	w.sees("shares-b", "192.0.2.1 True Assigned")
	w.service("c")
	w.sees("c", "False QuotaReached")
	n := w.neighbour()
	n.service("a")
	n.sees("a", "192.0.2.2 True Assigned")

	// A change within the quota goes, and an address that is given up lets the next in.
	change(w, w.get("a"), func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, clarion.AnnotationLoadBalancerIPs, "192.0.2.9")
	})
	w.sees("a", "192.0.2.9 True Assigned")
	w.sees("c", "False QuotaReached")
	w.must(w.Delete(w.ctx, w.get("a")))
	w.sees("c", "192.0.2.0 True Assigned")

	w.service("d")
	w.sees("d", "False QuotaReached")
	change(w, &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lab"}}, func(p *clarion.IPAddressPool) { p.Spec.Quota = nil })
	w.eventually(func() (string, bool) { s := w.get("d"); return shows(s), strings.HasSuffix(shows(s), "True Assigned") })
}

func TestWhatWasAskedForAndCannotBeHadKeepsTheOldAddress(t *testing.T) {
	w := newWorld(t)
	h := w.record()
	w.pool("lab", "192.0.2.0/29")
	w.start()
	w.service("holder", annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.5"))
	w.sees("holder", "192.0.2.5 True Assigned")
	s := w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	change(w, s, func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, clarion.AnnotationLoadBalancerIPs, "192.0.2.5")
	})
	got := w.sees("s", "192.0.2.0 False AddressInUse")
	if m := message(got); !strings.Contains(m, "keeps 192.0.2.0 from pool lab") || strings.Contains(m, "holder") {
		t.Errorf("the message is %q", m)
	}
	w.must(w.Delete(w.ctx, w.get("holder")))
	w.sees("s", "192.0.2.5 True Assigned")
	w.service("next")
	w.sees("next", "192.0.2.0 True Assigned")
	h.neverEmpty("s")
	h.noAddressTwiceIn(h.all)
}

func TestAPoolTellsWhenItIsNearlyFull(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/30")
	w.start()
	for _, name := range []string{"a", "b", "c", "d"} {
		w.service(name)
	}
	w.poolTells("lab", "4/4", "NearlyFull True FewAddressesLeft: 0 of 4 IPv4 addresses are left")
	w.must(w.Delete(w.ctx, w.get("a")))
	w.eventually(func() (string, bool) {
		p := w.poolTells("lab", "3/4")
		for _, c := range p.Status.Conditions {
			if c.Type == string(clarion.ConditionNearlyFull) {
				return c.Message, false
			}
		}
		return "", true
	})
}

// The numbers are there within a second of a change.
func TestAPoolsNumbersFollowWithinASecond(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24")
	w.start()
	var worst time.Duration
	for i, want := range []string{"1/256", "2/256", "3/256", "4/256", "5/256"} {
		name := string(rune('a' + i))
		w.service(name)
		w.sees(name, "192.0.2."+string(rune('0'+i))+" True Assigned")
		since := time.Now()
		w.poolTells("lab", want)
		worst = max(worst, time.Since(since))
	}
	t.Logf("at most %v", worst)
	if worst > 3*time.Second { // a second, on a machine that does nothing else
		t.Errorf("it took up to %v", worst)
	}
}

// Above ten changes a second they follow within five, and are written about twice a second at most.
func TestAPoolsNumbersFollowABurst(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24")
	w.start()
	w.poolTells("lab", "0/256")
	c, err := client.NewWithWatch(apiServer, client.Options{Scheme: scheme(), Mapper: mapper()})
	w.must(err)
	watching, err := c.Watch(w.ctx, &clarion.IPAddressPoolList{})
	w.must(err)
	defer watching.Stop()
	start := time.Now()
	const n = 60
	for i := range n {
		w.service(fmt.Sprintf("s%02d", i))
	}
	w.everybodyIsServed()
	since := time.Now()
	w.poolTells("lab", fmt.Sprintf("%d/256", n))
	if took := time.Since(since); took > 10*time.Second { // five, on a machine that does nothing else
		t.Errorf("it took %v", took)
	}
	writes := -1 // the pool as it was
	for most := 4 + int(time.Since(start)/poolPause); ; {
		select {
		case <-watching.ResultChan():
			writes++
			continue
		case <-time.After(100 * time.Millisecond):
		}
		if writes > most { // a finalizer and an observation of it come on top
			t.Errorf("the pool was written %d times, want at most %d", writes, most)
		}
		return
	}
}

// Who is refused is not tried again until something changes that stood in its way.
func TestNothingIsRetriedOnATimer(t *testing.T) {
	w := newWorld(t)
	w.pool("tiny", "192.0.2.7/32")
	w.pool("other", "198.51.100.0/30", func(p *clarion.IPAddressPool) { no := false; p.Spec.AutoAssign = &no })
	w.start()
	w.service("holder")
	w.sees("holder", "192.0.2.7 True Assigned")
	for _, name := range []string{"w1", "w2", "w3"} {
		w.service(name)
		w.sees(name, "False PoolExhausted")
	}
	tries := func() int { return int(testutil.ToFloat64(decisions)) }
	quiet := func() int { // waits for what is under way to end
		n := tries()
		w.eventually(func() (string, bool) {
			time.Sleep(300 * time.Millisecond)
			before := n
			n = tries()
			return "it goes on deciding", n == before
		})
		return n
	}
	before := quiet()
	time.Sleep(3 * time.Second)
	if now := tries(); now != before {
		t.Errorf("%d decisions while nothing changed", now-before)
	}
	// What concerns nobody that waits wakes nobody.
	w.service("elsewhere", annotated(clarion.AnnotationAddressPool, "other"))
	w.sees("elsewhere", "198.51.100.0 True Assigned")
	if now := quiet(); now-before > 3 { // the Service itself: created, written, announced by nobody
		t.Errorf("%d decisions for one Service that concerns no other", now-before)
	}
	before = quiet()
	w.must(w.Delete(w.ctx, w.get("holder")))
	w.sees("w1", "192.0.2.7 True Assigned")
	if now := quiet(); now-before > 4 { // the one that is woken, and its write seen
		t.Errorf("%d decisions for one address that got free", now-before)
	}
}
