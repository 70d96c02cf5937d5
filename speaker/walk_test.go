package speaker

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/plan"
)

var (
	walks = flag.Uint64("speaker.walks", 60, "how many walks TestWhateverIsChangedEachAddressHasOneOwnerInTheEnd takes")
	walk  = flag.Uint64("speaker.walk", 0, "take this walk alone, and print its story")
)

// TestWhateverIsChangedEachAddressHasOneOwnerInTheEnd has Services, endpoints, nodes and advertisements change at random, each seen by each
// node at its own time, while nodes are lost and come back, speakers restart, messages are lost and foreign hosts take addresses. An address that
// all nodes agree somebody may announce is never without an owner for long, nor has two for long; and when all is quiet each has exactly one, of
// whom all think so, one speaker speaks of each Service, and nothing is remembered of what is gone.
//
// A walk that fails prints its story; -speaker.walk=N takes it again.
func TestWhateverIsChangedEachAddressHasOneOwnerInTheEnd(t *testing.T) {
	first, last := uint64(1), *walks
	if *walk != 0 {
		first, last = *walk, *walk
	}
	for seed := first; seed <= last; seed++ {
		w := newWalker(t, seed)
		w.walk()
		if len(w.faults) > 0 || *walk != 0 {
			t.Logf("walk %d, the story:\n%s", seed, strings.Join(w.story, "\n"))
		}
		for _, f := range w.faults {
			t.Errorf("walk %d: %s", seed, f)
		}
		if len(w.faults) > 0 {
			return
		}
	}
}

// A walk that failed can be looked into only if it can be taken again. Most are the same in any case; of these several would not be if what
// comes in no order drew in no order.
func TestAWalkIsTheSameEachTime(t *testing.T) {
	for seed := uint64(50); seed < 75; seed++ {
		var stories [2][]string
		for i := range stories {
			w := newWalker(t, seed)
			w.walk()
			stories[i] = append(w.story, fmt.Sprint("and then is drawn ", w.rand.Uint64()))
		}
		if !slices.Equal(stories[0], stories[1]) {
			t.Errorf("walk %d, taken twice:\n%s\n\n%s", seed, strings.Join(stories[0], "\n"), strings.Join(stories[1], "\n"))
		}
	}
}

// A walker changes a cluster at random.
type walker struct {
	*lan
	rand      *rand.Rand
	began     time.Time
	all       []string
	services  map[string]*corev1.Service
	created   int
	nodes     map[string]*node
	down      map[string]bool
	nobody    map[netip.Addr]time.Time
	contested map[netip.Addr]bool // that a foreign host had at any time
	several   map[netip.Addr]time.Time
	story     []string
	faults    []string
}

var walkedAddresses = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "2001:db8::1", "2001:db8::2"}

func newWalker(t testing.TB, seed uint64) *walker {
	w := &walker{rand: rand.New(rand.NewPCG(seed, 3)), services: map[string]*corev1.Service{}, nodes: map[string]*node{}, down: map[string]bool{},
		nobody: map[netip.Addr]time.Time{}, several: map[netip.Addr]time.Time{}}
	w.all = []string{"a", "b", "c", "d"}[:2+w.rand.IntN(3)]
	w.lan = newLAN(t, w.all...)
	w.began = w.now
	for _, name := range w.all {
		w.nodes[name] = &node{plan: plan.Node{Name: name}}
	}
	w.lag = func() time.Duration { return time.Duration(w.rand.IntN(300)) * time.Millisecond }
	w.watch = w.look
	w.foreign, w.contested = map[netip.Addr]bool{}, map[netip.Addr]bool{}
	loss := w.rand.IntN(20)
	w.drop = func() bool { return w.rand.IntN(100) < loss }
	return w
}

func (w *walker) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%7.2fs  ", w.now.Sub(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *walker) fault(format string, args ...any) {
	w.tell("FAULT: "+format, args...)
	if len(w.faults) < 10 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

func (w *walker) some(of []string) []string {
	var out []string
	for _, s := range of {
		if w.rand.IntN(2) == 0 {
			out = append(out, s)
		}
	}
	return out
}

func pickOne[T any](w *walker, of []T) T { return of[w.rand.IntN(len(of))] }

func (w *walker) walk() {
	for range 25 {
		w.change()
		if w.rand.IntN(3) > 0 { // else at once with the next
			w.wait(time.Duration(w.rand.IntN(1500)) * time.Millisecond)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.down)) {
		w.boot(name)
	}
	w.tell("all is left in peace")
	clear(w.foreign)
	if len(w.contested) > 0 { // what was held is tried again after 5, 10 and 20 s
		w.wait(30 * time.Second)
	}
	w.wait(30 * time.Second)
	w.check()
}

// change changes something.
func (w *walker) change() {
	name := pickOne(w, []string{"s0", "s1", "s2", "s3", "s4"})
	switch w.rand.IntN(15) {
	case 0, 1, 2: // another Service of that name, or other addresses for the one that there is
		s := w.services[name]
		if s == nil || w.rand.IntN(4) == 0 {
			w.created++
			s = newService(name)
			s.UID = types.UID(fmt.Sprint("uid-", w.created))
			s.CreationTimestamp = metav1.NewTime(w.began.Add(time.Duration(w.created) * time.Second))
			if w.rand.IntN(2) == 0 {
				s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyLocal, 30000
			}
		}
		s = s.DeepCopy()
		s.Status.LoadBalancer.Ingress = nil
		for _, a := range w.some(walkedAddresses) {
			if len(s.Status.LoadBalancer.Ingress) < 2 {
				s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
			}
		}
		w.services[name] = s
		w.tell("%s (%s, %s) has %v", name, s.UID, s.Spec.ExternalTrafficPolicy, s.Status.LoadBalancer.Ingress)
		w.service(s)
	case 3:
		w.tell("%s is deleted", name)
		delete(w.services, name)
		w.put(func(c *cluster) { c.setService(types.NamespacedName{Namespace: "default", Name: name}, nil) })
	case 4, 5, 6:
		ready, ending := w.some(w.all), w.some(w.all)
		w.tell("%s has endpoints on %v, and such as terminate on %v", name, ready, ending)
		w.slices(name, ready, ending)
	case 7:
		ad := &plan.Advertisement{Name: "everything", Settings: plan.DefaultSettings}
		ad.Settings.Failback = pickOne(w, []v1beta1.FailbackPolicy{v1beta1.FailbackDelayed, v1beta1.FailbackImmediate, v1beta1.FailbackNever})
		selects := pickOne(w, []string{"", "", "zone"})
		if selects != "" {
			ad.Nodes = func(labels map[string]string) bool { _, has := labels[selects]; return has }
		}
		w.tell("the advertisement is deleted, and made anew at once: failback %s, nodes with %q", ad.Settings.Failback, selects)
		w.put(func(c *cluster) { c.setAdvertisement("everything", nil) })
		if w.rand.IntN(2) == 0 {
			w.wait(time.Duration(w.rand.IntN(900)) * time.Millisecond)
		}
		w.put(func(c *cluster) { c.setAdvertisement("everything", ad) })
	case 8, 9:
		n := *w.nodes[pickOne(w, w.all)]
		n.plan.Labels = maps.Clone(n.plan.Labels)
		if n.plan.Labels == nil {
			n.plan.Labels = map[string]string{}
		}
		label := pickOne(w, []string{"zone", v1beta1.LabelExcludeNode})
		if _, has := n.plan.Labels[label]; has {
			delete(n.plan.Labels, label)
		} else {
			n.plan.Labels[label] = ""
		}
		w.set(n)
	case 10:
		n := *w.nodes[pickOne(w, w.all)]
		n.plan.Signals ^= pickOne(w, []plan.Signals{plan.Draining, plan.Cordoned, plan.OutOfService})
		w.set(n)
		if w.rand.IntN(2) == 0 { // and back at once
			n.plan.Signals = 0
			w.set(n)
		}
	case 11:
		if name := pickOne(w, w.all); w.down[name] {
			w.boot(name)
		} else if len(w.down) < len(w.all)-1 {
			w.tell("%s is lost", name)
			w.down[name] = true
			w.stop(name)
			clear(w.nobody)
		}
	case 14:
		a := netip.MustParseAddr(pickOne(w, walkedAddresses))
		w.foreign[a], w.contested[a] = !w.foreign[a], true
		w.tell("a foreign host has %s: %v", a, w.foreign[a])
	case 12, 13:
		if name := pickOne(w, w.all); w.down[name] {
			w.boot(name)
		} else if len(w.down) < len(w.all)-1 {
			w.tell("%s: the speaker ends", name)
			w.down[name] = true
			w.end(name, detection.Silent)
			clear(w.nobody)
			if w.rand.IntN(2) == 0 {
				w.boot(name)
			}
		}
	}
}

func (w *walker) set(n node) {
	w.tell("%s: signals %b, labels %v", n.plan.Name, n.plan.Signals, n.plan.Labels)
	w.nodes[n.plan.Name] = &n
	w.put(func(c *cluster) { c.setNode(n.plan.Name, &n) })
}

func (w *walker) boot(name string) {
	w.tell("%s is back", name)
	delete(w.down, name)
	w.start(name)
	clear(w.nobody)
	w.wait(40 * time.Millisecond)
}

func (w *walker) slices(service string, ready, ending []string) {
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		s := &discoveryv1.EndpointSlice{AddressType: family,
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
		yes, no := true, false
		for _, n := range ready {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &n})
		}
		for _, n := range ending {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &n, Conditions: discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}})
		}
		w.put(func(c *cluster) {
			c.setSlice(types.NamespacedName{Namespace: "default", Name: service + string(family)}, sliceOf(s))
		})
	}
}

// addresses are all that Services have.
func (w *walker) addresses() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, s := range w.services {
		for _, in := range s.Status.LoadBalancer.Ingress {
			out[netip.MustParseAddr(in.IP)] = true
		}
	}
	return out
}

// How long an address may be without an owner, or have two: a gain waits for 2 s, who hears nobody hesitates for 1 s, and what is seen of objects comes
// up to 300 ms late; whenever a speaker comes or goes, the time counts anew.
const (
	nobodyFor  = 3500 * time.Millisecond
	severalFor = time.Second
)

// look sees after each step who answers.
func (w *walker) look() {
	for _, name := range w.names() {
		d := w.deciders[name]
		fresh := d.gains.take()
		slices.SortFunc(fresh, func(a, b gain) int { return a.address.Compare(b.address) }) // they come in any order, and each draws
		for _, g := range fresh {
			if w.rand.IntN(3) > 0 { // else kube-proxy has no such port
				w.late[name] = append(w.late[name], later{w.now.Add(time.Duration(w.rand.IntN(1900)) * time.Millisecond), func(d *decider) {
					if d.gains.serves(g.address) {
						d.dirty[g.address] = true
					}
				}})
				slices.SortStableFunc(w.late[name], func(a, b later) int { return a.at.Compare(b.at) })
			}
		}
	}
	for _, text := range walkedAddresses {
		a := netip.MustParseAddr(text)
		answerers, may := w.answerers(a), true
		for _, d := range w.deciders {
			decided := d.addresses[a]
			may = may && decided != nil && len(decided.candidates) > 0 && slices.ContainsFunc(decided.candidates, func(c plan.Candidate) bool { return w.deciders[c.Node] != nil })
		}
		since(w.nobody, a, w.now, may && len(answerers) == 0 && !w.contested[a])
		since(w.several, a, w.now, len(answerers) > 1)
		if at, is := w.nobody[a]; is && w.now.Sub(at) > nobodyFor {
			w.fault("nobody has answered for %s for %v", a, w.now.Sub(at))
			w.explain(a)
			delete(w.nobody, a)
		}
		if at, is := w.several[a]; is && w.now.Sub(at) > severalFor {
			w.fault("%v have answered for %s for %v", answerers, a, w.now.Sub(at))
			w.explain(a)
			delete(w.several, a)
		}
	}
}

// explain tells what each node thinks of an address.
func (w *walker) explain(a netip.Addr) {
	for _, name := range w.all {
		if d := w.deciders[name]; d != nil {
			w.tell("  %s: %s, answered %+v, of %v", name, d.machine.Explain(unitOf(a)), d.answers[unitOf(a)], d.addresses[a].placement)
		}
	}
}

// since notes since when something is so.
func since(m map[netip.Addr]time.Time, a netip.Addr, now time.Time, is bool) {
	if _, was := m[a]; !is {
		delete(m, a)
	} else if !was {
		m[a] = now
	}
}

// answerers are the nodes with whose MACs an address is answered, by whomever.
func (w *walker) answerers(a netip.Addr) []string {
	names := map[string]bool{}
	for _, name := range w.all {
		if d := w.deciders[name]; d != nil {
			for _, answered := range answeredBy(d) {
				switch {
				case answered.Address != a, answered.Claim && w.foreign[a]:
				case answered.HardwareAddr.IsZero():
					names[name] = true
				default: // another's: see lan.wait
					names[string(rune(answered.HardwareAddr[5]))] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// check wants everything in order when all is quiet.
func (w *walker) check() {
	addresses := w.addresses()
	for _, text := range walkedAddresses {
		a := netip.MustParseAddr(text)
		answerers := w.answerers(a)
		var placement any
		owners := map[string]bool{}
		candidates := 0
		for _, name := range w.all {
			d := w.deciders[name]
			decided := d.addresses[a]
			if (decided != nil) != addresses[a] {
				w.fault("%s has decided on %s: %v", name, a, decided)
			}
			if decided == nil {
				continue
			}
			if placement == nil {
				placement, candidates = decided.placement, len(decided.placement)
			} else if !reflect.DeepEqual(placement, any(decided.placement)) {
				w.fault("%s has %s placed on %v, another on %v", name, a, decided.placement, placement)
			}
			owners[d.machine.Owner(unitOf(a))] = true
		}
		switch {
		case candidates == 0 && len(answerers) > 0:
			w.fault("%v answer for %s, which nobody may", answerers, a)
		case candidates > 0 && (len(answerers) != 1 || len(owners) != 1 || !owners[answerers[0]]):
			w.fault("%v answer for %s, which they take to be owned by %v, of %d candidates", answerers, a, slices.Collect(maps.Keys(owners)), candidates)
		}
	}
	for _, name := range w.all {
		d := w.deciders[name]
		if len(d.gains.waiting) > 0 || len(d.conflicts.claiming) > 0 || len(d.conflicts.held) > 0 || len(d.dirty) > 0 || len(d.addresses) != len(d.sharers) {
			w.fault("%s remembers %v, %v, %v, %v", name, d.gains.waiting, d.conflicts.claiming, d.conflicts.held, d.dirty)
		}
	}
	for name, s := range w.services {
		if said := w.says(name); len(s.Status.LoadBalancer.Ingress) > 0 && (said == "" || strings.Contains(said, ",")) {
			w.fault("of %s is said %q", name, said)
		}
	}
}
