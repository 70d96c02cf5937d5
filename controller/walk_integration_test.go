package controller

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// Users and operators do one thing after the other, in any order: they edit what Services ask for, their types, policies,
// ports and statuses, delete them and make them again, edit, delete and release pools, relabel namespaces; and the
// controller is restarted. Whenever it has calmed down, each Service shows and says what would be decided now by
// who reads all of it afresh, and the pools together count what there is. CLARION_WALK=160:7 makes 160 steps by another seed.
func TestAnythingThatUsersDoComesOutRight(t *testing.T) {
	steps, seed := 48, uint64(1)
	if given := os.Getenv("CLARION_WALK"); given != "" {
		if _, err := fmt.Sscanf(given, "%d:%d", &steps, &seed); err != nil {
			t.Fatalf("CLARION_WALK=%s: %v", given, err)
		}
	}
	w := newWorld(t)
	x := &walk{world: w, worlds: []*world{w, w.neighbour()}, r: rand.New(rand.NewPCG(seed, 1))}
	x.editPool()
	stop := w.start()
	for i := 1; i <= steps; i++ {
		x.step()
		if i%8 == 0 {
			x.settles()
		}
		if i%24 == 0 {
			before := x.services()
			stop()
			stop = w.start()
			x.settles()
			for k, s := range x.services() {
				if b := before[k]; b != nil && shows(b) != shows(s) {
					t.Errorf("before a restart %s showed %q (%s), and then %q (%s)", k, shows(b), message(b), shows(s), message(s))
				}
			}
		}
	}
}

// walk is what happens at random, in two namespaces.
type walk struct {
	*world
	worlds []*world
	r      *rand.Rand
}

func (x *walk) services() map[ipam.Key]*corev1.Service {
	out := map[ipam.Key]*corev1.Service{}
	for _, at := range x.worlds {
		var list corev1.ServiceList
		x.must(x.List(x.ctx, &list, client.InNamespace(at.namespace)))
		for i := range list.Items {
			out[keyOf(&list.Items[i])] = &list.Items[i]
		}
	}
	return out
}

func pick[T any](x *walk, of ...T) T { return of[x.r.IntN(len(of))] }

func (x *walk) oneIn(n int) bool { return x.r.IntN(n) == 0 }

// addr is an address that some pool may have.
func (x *walk) addr() string {
	return pick(x, "192.0.2.", "192.0.2.", "198.51.100.") + strconv.Itoa(x.r.IntN(6))
}

// make creates a Service.
func (x *walk) make(w *world, name string) {
	no := false
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Annotations: map[string]string{}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &no,
			Selector: map[string]string{"app": "a"}, Ports: []corev1.ServicePort{{Port: pick(x, int32(80), 443)}},
		},
	}
	switch x.r.IntN(4) {
	case 0:
		families(corev1.IPFamilyPolicyPreferDualStack, v4, v6)(s)
	case 1:
		families(corev1.IPFamilyPolicyRequireDualStack, v6, v4)(s)
	}
	if !x.oneIn(3) {
		shares(pick(x, "k", "j"))(s)
	}
	x.Logf("make %s: %v", keyOf(s), w.Create(w.ctx, s))
}

// step does something to a Service, or makes it. What the API server refuses, or somebody was faster with, does not
// happen.
func (x *walk) step() {
	w := x.worlds[x.r.IntN(len(x.worlds))]
	key := types.NamespacedName{Namespace: w.namespace, Name: pick(x, "a", "b", "c", "d", "e")}
	s := &corev1.Service{}
	if err := w.Get(w.ctx, key, s); apierrors.IsNotFound(err) {
		x.make(w, key.Name)
		return
	} else if err != nil {
		w.Fatal(err)
	}
	switch x.r.IntN(10) {
	case 0:
		x.editPool()
	case 1:
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
		net := pick(x, "public", "none")
		change(w, ns, func(n *corev1.Namespace) { metav1.SetMetaDataLabel(&n.ObjectMeta, "net", net) })
		x.Logf("namespace %s is %s", ns.Name, net)
	case 2:
		x.Logf("delete %s: %v", key, w.Delete(w.ctx, s))
		if x.oneIn(2) {
			x.make(w, key.Name)
		}
	case 3:
		x.editStatus(&s.Status)
		x.Logf("%s is made to show %q: %v", key, shows(s), w.Status().Update(w.ctx, s))
	default:
		what := x.edit(s)
		x.Logf("%s %s: %v", key, what, w.Update(w.ctx, s))
	}
}

// edit changes what a Service is and asks for.
func (x *walk) edit(s *corev1.Service) (what string) {
	annotate := func(name string, values ...string) string {
		value := pick(x, values...)
		if delete(s.Annotations, name); value != "" {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, name, value)
		}
		return fmt.Sprintf("has %s %q", name, value)
	}
	switch x.r.IntN(13) {
	case 0, 1:
		return annotate(clarion.AnnotationAllowSharedIP, "", "k", "j")
	case 2, 3:
		return annotate(clarion.AnnotationLoadBalancerIPs, "", "lots", "::ffff:192.0.2.1", x.addr(), " "+x.addr()+" ",
			x.addr()+",2001:db8::"+strconv.Itoa(x.r.IntN(4)))
	case 4:
		return annotate(clarion.AnnotationAddressPool, "", "p", "q", "r", "nope", "Bad!")
	case 5: // not meant to be
		return annotate(clarion.AnnotationAssignedFromPool, "", "q", "p="+x.addr(), "garbage=")
	case 6:
		s.Spec.LoadBalancerIP = pick(x, "", x.addr())
		return "has the loadBalancerIP " + s.Spec.LoadBalancerIP
	case 7:
		http, https := corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "https", Port: 443}
		s.Spec.Ports = pick(x, []corev1.ServicePort{http}, []corev1.ServicePort{https}, []corev1.ServicePort{http, https})
		return fmt.Sprintf("has %d ports from %d", len(s.Spec.Ports), s.Spec.Ports[0].Port)
	case 8:
		s.Spec.ExternalTrafficPolicy = pick(x, corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster)
		return "is " + string(s.Spec.ExternalTrafficPolicy)
	case 9:
		s.Spec.Selector = map[string]string{"app": pick(x, "a", "b")}
		return fmt.Sprint("selects ", s.Spec.Selector)
	case 10:
		policy := pick(x, corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack)
		if s.Spec.IPFamilyPolicy = &policy; policy == corev1.IPFamilyPolicySingleStack {
			s.Spec.IPFamilies, s.Spec.ClusterIPs = s.Spec.IPFamilies[:1], s.Spec.ClusterIPs[:1]
		}
		return "is " + string(policy)
	}
	no := false
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts, s.Spec.LoadBalancerClass = corev1.ServiceTypeClusterIP, nil, nil
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort, s.Spec.LoadBalancerIP = "", 0, ""
		return "is no load balancer any more"
	}
	s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeLoadBalancer, &no
	class := pick(x, "", clarion.DefaultLoadBalancerClass, "example.com/theirs")
	if class != "" {
		s.Spec.LoadBalancerClass = &class
	}
	return "is a load balancer of class " + class
}

// editStatus is what somebody does who should not.
func (x *walk) editStatus(s *corev1.ServiceStatus) {
	switch x.r.IntN(4) {
	case 0:
		s.LoadBalancer.Ingress = nil
	case 1:
		s.LoadBalancer.Ingress = append(s.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "lb.example.com"})
	case 2:
		s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: x.addr()}}
	case 3:
		s.Conditions = nil
	}
}

// editPool makes, edits, releases or deletes a pool.
func (x *walk) editPool() {
	p := &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: pick(x, "p", "q", "r")}}
	err := x.Get(x.ctx, client.ObjectKeyFromObject(p), p)
	exists := err == nil
	switch {
	case exists && x.oneIn(4):
		x.Logf("delete pool %s: %v", p.Name, x.Delete(x.ctx, p))
		return
	case exists && x.oneIn(4):
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, clarion.AnnotationReleaseOrphans, pick(x, "true", "false"))
	default:
		p.Spec = x.poolSpec()
	}
	if exists {
		err = x.Update(x.ctx, p)
	} else {
		err = x.Create(x.ctx, p)
	}
	x.Logf("pool %s is %+v, annotations %v: %v", p.Name, p.Spec, p.Annotations, err)
}

func (x *walk) poolSpec() (spec clarion.IPAddressPoolSpec) {
	spec.Addresses = pick(x,
		[]clarion.AddressRange{"192.0.2.0/30"},
		[]clarion.AddressRange{"192.0.2.0/29", "2001:db8::/64"},
		[]clarion.AddressRange{"192.0.2.1-192.0.2.5", "2001:db8::/126"},
		[]clarion.AddressRange{"198.51.100.0/31"},
		[]clarion.AddressRange{"198.51.100.2/32", "2001:db8::2/128"},
		[]clarion.AddressRange{"192.0.2.9-192.0.2.1"}, // reversed
	)
	if x.oneIn(4) {
		spec.ExcludeAddresses = []clarion.AddressRange{"192.0.2.2-192.0.2.3"}
	}
	auto := !x.oneIn(5)
	spec.AutoAssign, spec.AvoidBuggyIPs = &auto, x.oneIn(4)
	if x.oneIn(4) {
		spec.Sharing = clarion.SharingCluster
	}
	if x.oneIn(4) {
		two := int32(2)
		spec.Quota = &clarion.PoolQuota{PerNamespace: &two}
	}
	if x.oneIn(4) {
		spec.ReuseDelay = &metav1.Duration{Duration: time.Duration(1+x.r.IntN(4)) * time.Second}
	}
	if x.oneIn(3) {
		spec.ServiceAllocation = &clarion.ServiceAllocation{Priority: x.r.Int32N(3), Fallback: pick(x, clarion.FallbackAllowed, clarion.FallbackDenied)}
		if x.oneIn(2) {
			spec.ServiceAllocation.NamespaceSelectors = []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{"net": "public"}}}
		}
	}
	return spec
}

// settles waits until every Service of ours shows and says what would be decided now, no other one bears our marks, and
// the pools together count what there is.
func (x *walk) settles() {
	x.Helper()
	x.eventually(func() (string, bool) {
		seen := x.sees()
		var wrong []string
		no := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
		if len(seen.Pools) == 0 { // nothing is written
			return "", true
		}
		for i := range seen.Services {
			s := &seen.Services[i]
			c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned))
			switch {
			case !seen.Served(s):
				if marked(s) || s.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Status.LoadBalancer.Ingress) > 0 {
					no("%s is not ours and shows %q, annotations %v", keyOf(s), shows(s), s.Annotations)
				}
				continue
			case c == nil:
				no("%s shows %q", keyOf(s), shows(s))
				continue
			case c.Reason == string(clarion.ReasonAnotherWriter): // us
				continue
			}
			d := seen.Explain(s)
			is, want := fmt.Sprint(statusOf(s).Addresses, " ", c.Reason), fmt.Sprint(addressesOf(d), " ", d.Reason)
			if d.Foreign {
				is, want = c.Reason, string(d.Reason)
			}
			// Of whom a quota stands in the way, or who waits for two families, there may be more by now that does.
			more := strings.Contains(c.Message, "quota") || len(s.Spec.ClusterIPs) > 1
			refused := c.Status == metav1.ConditionFalse && d.Outcome == ipam.Refused
			if is != want && !(more && refused) || !more && !strings.HasPrefix(c.Message, d.Message) || d.Lost != "" {
				no("%s shows %s: %s; it would be told %s: %s", keyOf(s), is, c.Message, want, d.Told())
			}
		}
		// In which of two pools an address counts that an edit left between them may depend on who had it before.
		ledger := seen.Snapshot().Allocator()
		var counted, held int64
		for i := range seen.Pools {
			usage, _ := ledger.Usage(seen.Pools[i].Name)
			held += usage.IPv4.Assigned + usage.IPv6.Assigned
			for _, f := range []*clarion.FamilyUsage{seen.Pools[i].Status.IPv4, seen.Pools[i].Status.IPv6} {
				if f != nil {
					counted += f.Assigned
				}
			}
		}
		if counted != held {
			no("pools count %d addresses that are assigned, and there are %d", counted, held)
		}
		return strings.Join(wrong, "\n"), len(wrong) == 0
	})
}

// sees reads all that decides.
func (x *walk) sees() Seen {
	var pools clarion.IPAddressPoolList
	var namespaces corev1.NamespaceList
	x.must(x.List(x.ctx, &pools))
	x.must(x.List(x.ctx, &namespaces))
	seen := Seen{Classes: x.options.Classes, Now: time.Now(), Pools: pools.Items, Namespaces: namespaces.Items}
	for _, s := range x.services() {
		seen.Services = append(seen.Services, *s)
	}
	return seen
}
