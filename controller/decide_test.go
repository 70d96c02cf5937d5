package controller

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// termWith is a term with pools, and with no cluster but what from is.
func termWith(from *cluster, pools ...ipam.Pool) *term {
	o := Options{Mode: Active, Now: func() time.Time { return noon }, Classes: clarion.ServiceClasses{Unclassed: true},
		Log: slog.New(slog.DiscardHandler)}
	t := newTerm(from, o, nil, tenure{left: func() time.Duration { return requestTimeout }})
	t.poolGens = map[string]poolVersion{}
	for _, p := range pools {
		t.poolGens[p.Name] = poolVersion{}
	}
	t.ledger.SetPools(pools)
	return t
}

// asking is a Service that asks for a pool, if not for "".
func asking(uid types.UID, version, pool string) *corev1.Service {
	s := bare()
	s.UID, s.ResourceVersion, s.Spec.ClusterIPs = uid, version, []string{"10.96.0.1"}
	if pool != "" {
		s.Annotations = map[string]string{clarion.AnnotationAddressPool: pool}
	}
	return s
}

func TestAServiceMadeAgainInheritsNothing(t *testing.T) {
	gold := poolOf(somePool("192.0.2.0/29"))
	gold.Name, gold.AutoAssign = "gold", false
	for name, tc := range map[string]struct{ asks, want string }{
		"asking for no pool":              {"", "False NoPool"},
		"asking for one that is not":      {"nope", "False PoolNotFound"},
		"asking for what it had, in turn": {"gold", "192.0.2.0 True Assigned"},
	} {
		t.Run(name, func(t *testing.T) {
			tm := termWith(nil, gold)
			s := asking("first", "5", "gold")
			w, d := tm.decide(s, nil)
			if w == nil || shows(apply(t, s, w)) != "192.0.2.0 True Assigned" {
				t.Fatalf("the first gets %+v", d)
			}
			tm.mu.Lock()
			tm.settleLocked(s, apply(t, s, w), d)
			tm.mu.Unlock()

			again := asking("second", "9", tc.asks)
			w, d = tm.decide(again, nil)
			if w == nil {
				t.Fatal("the second is not written")
			}
			if got := shows(apply(t, again, w)); got != tc.want {
				t.Errorf("the second shows %q (%s), want %q", got, d.Message, tc.want)
			}
			if held := tm.ledger.Holds(keyOf(again)); len(held) != len(d.Grants) {
				t.Errorf("it holds %v, and was granted %v", held, d.Grants)
			}
			if err := tm.ledger.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// An address that goes to another Service is told of in the event of that change: in one write, which is the last.
func TestWhoLosesAnAddressIsToldOnce(t *testing.T) {
	for name, tc := range map[string]struct{ pool, shows, event string }{
		"and gets another": {"192.0.2.0/30", "192.0.2.1 True Assigned",
			"192.0.2.1 from pool lab; 192.0.2.0 is left to another Service that has it too: "},
		"and waits": {"192.0.2.0/32", "False PoolExhausted", "It gets the next address"},
	} {
		t.Run(name, func(t *testing.T) {
			tm := termWith(nil, ipam.Pool{Name: "lab", AutoAssign: true, Ranges: poolOf(somePool(tc.pool)).Ranges})
			sharer := func(name types.UID, port int32) *corev1.Service {
				s := asking(name, "5", "")
				s.Name = string(name)
				s.Annotations = map[string]string{clarion.AnnotationAllowSharedIP: "k"}
				s.Spec.Ports = []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: port}}
				return s
			}
			settled(t, tm, sharer("a", 80))
			younger := settled(t, tm, sharer("b", 443))
			if got := shows(younger); got != "192.0.2.0 True Assigned" {
				t.Fatalf("the younger shows %q", got)
			}
			younger.Spec.Ports[0].Port = 80
			w, d := tm.decide(younger, nil)
			if w != nil && w.foretells {
				younger = foretold(t, tm, younger, w)
				w, d = tm.decide(younger, nil)
			}
			if w == nil || w.note == nil || !strings.Contains(w.note.text, tc.event) || !strings.Contains(w.note.text, "192.0.2.0 is left to another Service") {
				t.Fatalf("it is told %+v", w.note)
			}
			after := apply(t, younger, w)
			tm.mu.Lock()
			tm.settleLocked(younger, after, d)
			tm.mu.Unlock()
			if got := shows(after); got != tc.shows || strings.Contains(message(after), "is left to") {
				t.Errorf("it shows %q: %s", got, message(after))
			}
			if w, d := tm.decide(after, nil); w != nil {
				t.Errorf("it is written again: %+v", d)
			}
		})
	}
}

// showing is a Service whose status somebody else has written.
func showing(s *corev1.Service, version, ip string) *corev1.Service {
	s = s.DeepCopy()
	s.ResourceVersion = version
	vip := corev1.LoadBalancerIPModeVIP // the API server's default
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip, IPMode: &vip}}
	return s
}

// settled writes what is decided on a Service, and returns it as it is then.
func settled(t *testing.T, tm *term, s *corev1.Service) *corev1.Service {
	t.Helper()
	w, d := tm.decide(s, nil)
	if w != nil && w.foretells {
		s = foretold(t, tm, s, w)
		w, d = tm.decide(s, nil)
	}
	if w == nil {
		return s
	}
	after := apply(t, s, w)
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.settleLocked(s, after, d)
	return after
}

func foretold(t *testing.T, tm *term, s *corev1.Service, w *write) *corev1.Service {
	t.Helper()
	after := apply(t, s, w)
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.foretoldLocked(s, after)
	return after
}

// A write that adds an address goes only to a Service that says by its condition that something may be about to come:
// the next leader goes by that.
func TestAnAddressIsAddedOnlyToAServiceThatSaysSo(t *testing.T) {
	lab := ipam.Pool{Name: "lab", AutoAssign: true, Ranges: poolOf(somePool("192.0.2.0/30")).Ranges}
	gold := ipam.Pool{Name: "gold", Ranges: poolOf(somePool("198.51.100.0/30")).Ranges}
	asks := func(s *corev1.Service, pool string) *corev1.Service {
		s = s.DeepCopy()
		s.Annotations[clarion.AnnotationAddressPool] = pool
		return s
	}
	without := func(s *corev1.Service) *corev1.Service {
		s = s.DeepCopy()
		s.Status.LoadBalancer.Ingress = nil
		return s
	}
	for _, row := range []struct {
		name  string
		is    func(s *corev1.Service) *corev1.Service // what becomes of a Service that was assigned 192.0.2.0
		tells string                                  // what it is told before it gains an address, "" for nothing
		says  string
		ends  string
	}{
		{"it asks for another pool", func(s *corev1.Service) *corev1.Service { return asks(s, "gold") }, "192.0.2.0 Unknown Pending",
			"about to be assigned 198.51.100.0 from pool gold; keeps 192.0.2.0 until then", "198.51.100.0 True Assigned"},
		{"it asks for one that is not", func(s *corev1.Service) *corev1.Service { return asks(s, "nope") }, "", "", "192.0.2.0 False PoolNotFound"},
		{"somebody else wrote to it", func(s *corev1.Service) *corev1.Service { return showing(s, "8", "203.0.113.9") }, "203.0.113.9 Unknown Pending",
			"about to be assigned 192.0.2.0 from pool lab; keeps 203.0.113.9 until then", "192.0.2.0 True Assigned"},
		{"somebody else cleared it", without, "Unknown Pending", "about to be assigned 192.0.2.0 from pool lab", "192.0.2.0 True Assigned"},
		{"somebody else wrote to it and took our condition away", func(s *corev1.Service) *corev1.Service {
			s = showing(s, "8", "203.0.113.9")
			s.Status.Conditions = nil
			return s
		}, "203.0.113.9 Unknown Pending", "about to be assigned 192.0.2.0 from pool lab; keeps 203.0.113.9 until then", "192.0.2.0 True Assigned"},
		{"nothing", func(s *corev1.Service) *corev1.Service { return s }, "", "", "192.0.2.0 True Assigned"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tm := termWith(nil, lab, gold)
			s := asking("u", "5", "")
			s.Annotations = map[string]string{}
			w, _ := tm.decide(s, nil)
			if w.foretells {
				t.Error("a new Service is told before it is assigned its address")
			}
			s = row.is(settled(t, tm, s))
			w, _ = tm.decide(s, nil)
			if got := w != nil && w.foretells; got != (row.tells != "") {
				t.Fatalf("it is told before: %t", got)
			}
			if row.tells != "" {
				s = foretold(t, tm, s, w)
				if shows(s) != row.tells || message(s) != row.says {
					t.Errorf("it is told %q: %q, want %q: %q", shows(s), message(s), row.tells, row.says)
				}
				if !mayGain(s) {
					t.Error("it may not gain an address even so")
				}
			}
			if s = settled(t, tm, s); shows(s) != row.ends {
				t.Errorf("it shows %q in the end, want %q", shows(s), row.ends)
			}
		})
	}
}

// A Service that turns to another type and back shows nothing, for the API server clears it: that is nobody's doing, however
// often it does so unseen.
func TestAServiceThatKeepsChangingItsTypeIsServed(t *testing.T) {
	tm := termWith(nil, poolOf(somePool("192.0.2.0/30")))
	s := settled(t, tm, asking("u", "5", ""))
	for range 3 * contestPatience {
		s.Status.LoadBalancer.Ingress = nil
		between := s.DeepCopy()
		between.Spec.Type = corev1.ServiceTypeClusterIP
		tm.serviceChanged(between)
		if s = settled(t, tm, s); shows(s) != "192.0.2.0 True Assigned" {
			t.Fatalf("it shows %q", shows(s))
		}
	}
}

// Whoever takes away what a Service is told is another writer too, who is not fought for ever.
func TestWhoKeepsTakingAwayWhatAServiceIsToldIsGivenWay(t *testing.T) {
	tm := termWith(nil, poolOf(somePool("192.0.2.0/30")))
	s := settled(t, tm, asking("u", "5", ""))
	for range 2 * contestPatience {
		s = showing(s, s.ResourceVersion, "203.0.113.9")
		s.Status.Conditions = nil
		w, _ := tm.decide(s, nil)
		if w == nil || !w.foretells {
			s = settled(t, tm, s)
			break
		}
		s = foretold(t, tm, s, w)
	}
	if got := shows(s); got != "203.0.113.9 False AnotherWriter" {
		t.Errorf("it shows %q", got)
	}
}

func TestWhatAnotherWriterPutsInAStatusIsGivenToNobodyElse(t *testing.T) {
	pool := poolOf(somePool("192.0.2.0/31"))
	tm := termWith(nil, pool)
	s := settled(t, tm, asking("u", "5", ""))
	for range contestPatience + 1 {
		s = settled(t, tm, showing(s, s.ResourceVersion, "192.0.2.1"))
	}
	if got := shows(s); got != "192.0.2.1 False AnotherWriter" {
		t.Fatalf("another writer was not given way: %q", got)
	}
	newcomer := func() string {
		other := asking("v", "6", "")
		other.Name = "other"
		w, d := tm.decide(other, nil)
		if err := tm.ledger.Check(); err != nil {
			t.Error(err)
		}
		if w == nil {
			t.Fatalf("the newcomer is not written: %+v", d)
		}
		return shows(apply(t, other, w))
	}
	if got := newcomer(); got != "False PoolExhausted" {
		t.Errorf("a newcomer shows %q, though 192.0.2.1 stands in a status", got)
	}
	s = settled(t, tm, showing(s, s.ResourceVersion, "192.0.2.0")) // the other one gave in
	if got := shows(s); got != "192.0.2.0 True Assigned" {
		t.Fatalf("the contest is not over: %q", got)
	}
	if got := newcomer(); got != "192.0.2.1 True Assigned" {
		t.Errorf("a newcomer shows %q, though 192.0.2.1 is free", got)
	}
}

// Beside a provider that is at work, observe mode goes by what that one writes: so would a controller that begins later.
func TestObserveModeFollowsWhatOthersAssign(t *testing.T) {
	tm := termWith(nil, poolOf(somePool("192.0.2.0/29")))
	tm.o.Mode = Observe
	s := asking("u", "5", "")
	for i, has := range []string{"192.0.2.0", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"} {
		if i > 0 {
			s = showing(s, "6", has)
		}
		w, d := tm.decide(s, nil)
		if w == nil || shows(apply(t, s, w)) != has+" True Assigned" {
			t.Errorf("with %s in its status it would get %+v", has, d)
		}
		if held := tm.ledger.Holds(keyOf(s)); len(held) != 1 {
			t.Errorf("the ledger holds %v for it", held)
		}
	}
	if w, d := tm.decide(showing(s, "7", "203.0.113.9"), nil); w == nil || !d.Foreign {
		t.Errorf("what no pool covers is not left alone: %+v", d)
	}
}

// someCache has a Service, and its namespace once that has come.
type someCache struct {
	cache.Cache
	service   *corev1.Service
	namespace *corev1.Namespace
}

func (c *someCache) Get(_ context.Context, k client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *corev1.Service:
		c.service.DeepCopyInto(o)
		return nil
	case *corev1.Namespace:
		if c.namespace != nil {
			c.namespace.DeepCopyInto(o)
			return nil
		}
	}
	return apierrors.NewNotFound(corev1.Resource("any"), k.Name)
}

// Which pools are for a Service is a matter of its namespace's labels, which come by a watch of their own.
func TestAServiceWaitsForItsNamespaceInTheCache(t *testing.T) {
	c := &someCache{service: asking("u", "5", "")}
	open, theirs := poolOf(somePool("192.0.2.0/29")), poolOf(somePool("198.51.100.0/29"))
	open.Name, theirs.Name = "open", "theirs"
	theirs.For = &ipam.Audience{
		Exclusive: true,
		Namespace: func(_ string, labels map[string]string) bool { return labels["team"] == "x" },
	}
	tm := termWith(&cluster{cache: c}, open, theirs)
	tm.o.Mode = Observe // decides, and sends nothing
	k := keyOf(c.service)
	if err := tm.reconcile(t.Context(), k); err == nil {
		t.Error("not tried again")
	}
	if held := tm.ledger.Holds(k); len(held) > 0 {
		t.Errorf("decided without the namespace: %v", held)
	}
	c.namespace = &corev1.Namespace{}
	c.namespace.Labels = map[string]string{"team": "x"}
	if err := tm.reconcile(t.Context(), k); err != nil {
		t.Error(err)
	}
	if held := tm.ledger.Holds(k); len(held) != 1 || held[0].String() != "198.51.100.0" {
		t.Errorf("with the namespace: %v", held)
	}
}
