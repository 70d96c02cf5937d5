package controller

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// BenchmarkServices compares the controller, as a process of its own, with a loop that only patches the same statuses:
// the best that this API server can do. Both write as many Services at once, and the clock stops when a watch has shown
// all of them. Each figure is the median of three (CLARION_BENCH_ROUNDS=… for more or fewer). A tenth of the Services share an address with another one, a fifth
// are dual-stack, half of them have externalTrafficPolicy Local.
//
//	create    Services are created as fast as the API server takes them; until the last one has its address
//	backlog   Services are there, a pool appears; until the last one has its address
//	restart   the controller is killed and started with all Services assigned; from the Lease to the next assignment
//	churn     with all Services assigned, a thousand are deleted and made again; from each one's creation to its address:
//	          one after the other, and as many at once as the controller has workers, which keeps the API server as busy
//	          as it can be, so that most of it is waiting there: beside it, the same with the loop in the controller's place
func BenchmarkServices(b *testing.B) {
	if apiServer == nil || os.Getenv("CLARION_BENCH") == "" {
		b.Skip("takes minutes: set CLARION_BENCH=1, and KUBEBUILDER_ASSETS to the directory with kube-apiserver and etcd")
	}
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				measure(b, n)
			}
		})
	}
}

const writers = DefaultWorkers

// rounds is how often everything is measured.
func rounds(b *testing.B) int {
	value := os.Getenv("CLARION_BENCH_ROUNDS")
	if value == "" {
		return 3
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		b.Fatalf("CLARION_BENCH_ROUNDS=%s: write how often to measure", value)
	}
	return n
}

func measure(b *testing.B, n int) {
	r := newRig(b, n)
	var create, createRef, backlog, backlogRef []cost
	var restart, churn, churnRef, alone []time.Duration
	var memory []float64
	patchesOnly := func() {
		createRef = append(createRef, r.cost(r.createAndPatch))
		churnRef = append(churnRef, r.churn(min(1000, n), writers, r.loop()))
		r.clear()
	}
	ours := func() {
		c := r.start()
		c.leads()
		create = append(create, r.cost(r.createAndWait))
		r.unique()
		before := r.versions()
		memory = append(memory, c.peakMemory())
		c.kill()
		c = r.start()
		restart = append(restart, r.nextAssignment())
		r.untouched(before)
		alone = append(alone, r.churn(min(200, n), 1, nil))
		churn = append(churn, r.churn(min(1000, n), writers, nil))
		memory = append(memory, c.peakMemory())
		c.stop()
		r.clear()
	}
	for i := range rounds(b) {
		r.pool(true)
		// What came before makes the API server slower: neither comes second each time.
		if i%2 == 0 {
			patchesOnly()
			ours()
		} else {
			ours()
			patchesOnly()
		}
		r.pool(false)

		r.create(nil)
		backlogRef = append(backlogRef, r.cost(r.patchAll))
		r.clear()
		r.create(nil)
		c := r.start()
		c.leads()
		backlog = append(backlog, r.cost(r.poolAppears))
		r.unique()
		memory = append(memory, c.peakMemory())
		c.stop()
		r.clear()
		b.Logf("round: create %v, patches only %v; backlog %v, patches only %v; restart %v; churn one by one %v, at once %v, patches only %v; RSS %.0f MiB",
			create[len(create)-1], createRef[len(createRef)-1], backlog[len(backlog)-1], backlogRef[len(backlogRef)-1],
			restart[len(restart)-1], alone[len(alone)-1], churn[len(churn)-1], churnRef[len(churnRef)-1], slices.Max(memory))
	}
	mid := func(d []time.Duration) float64 { slices.Sort(d); return d[len(d)/2].Seconds() }
	wall := func(costs []cost) (out []time.Duration) {
		for _, c := range costs {
			out = append(out, c.wall)
		}
		return out
	}
	cpu := func(costs []cost) (out []time.Duration) {
		for _, c := range costs {
			out = append(out, c.cpu)
		}
		return out
	}
	b.ReportMetric(mid(wall(create)), "s/create")
	b.ReportMetric(mid(wall(create))/mid(wall(createRef)), "x/create")
	b.ReportMetric(mid(cpu(create))/mid(cpu(createRef)), "x-cpu/create")
	b.ReportMetric(mid(wall(backlog)), "s/backlog")
	b.ReportMetric(mid(wall(backlog))/mid(wall(backlogRef)), "x/backlog")
	b.ReportMetric(mid(cpu(backlog))/mid(cpu(backlogRef)), "x-cpu/backlog")
	b.ReportMetric(mid(restart), "s/restart")
	b.ReportMetric(mid(alone), "s/churn-alone")
	b.ReportMetric(mid(churn), "s/churn")
	b.ReportMetric(mid(churn)/mid(churnRef), "x/churn")
	b.ReportMetric(slices.Max(memory), "MiB(RSS)")
}

// rig is an API server with Services on it.
type rig struct {
	*testing.B
	client    client.WithWatch
	ctx       context.Context
	n         int
	namespace string
}

func newRig(b *testing.B, n int) *rig {
	r := &rig{B: b, ctx: b.Context(), n: n}
	config := rest.CopyConfig(apiServer)
	var err error
	r.client, err = client.NewWithWatch(config, client.Options{Scheme: scheme(), Mapper: testMapper()})
	r.must(err)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clarion-bench-"}}
	r.must(r.client.Create(r.ctx, ns))
	r.namespace = ns.Name
	b.Cleanup(func() { r.ctx = context.Background(); r.pool(false); r.clear() })
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// pool makes or removes the pool.
func (r *rig) pool(there bool) {
	p := &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "bench"}}
	if there {
		p.Spec.Addresses = []clarion.AddressRange{"198.18.0.0/16", "2001:db8::/64"}
		if err := r.client.Create(r.ctx, p); !apierrors.IsAlreadyExists(err) {
			r.must(err)
		}
		return
	}
	err := r.client.Patch(r.ctx, p, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	r.must(client.IgnoreNotFound(err))
	r.must(client.IgnoreNotFound(r.client.Delete(r.ctx, p)))
}

// service is the i-th of the mix.
func (r *rig) service(i int) *corev1.Service {
	no := false
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fmt.Sprintf("s%05d", i)},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			AllocateLoadBalancerNodePorts: &no,
			Ports:                         []corev1.ServicePort{{Port: 80}},
			Selector:                      map[string]string{"app": "web"},
		},
	}
	if i%2 == 1 {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	switch {
	case i%10 == 0:
		s.Annotations = map[string]string{clarion.AnnotationAllowSharedIP: fmt.Sprintf("pair-%d", i/20)}
		s.Spec.Ports[0].Port = int32(80 + i%20)
	case i%5 == 1:
		policy := corev1.IPFamilyPolicyRequireDualStack
		s.Spec.IPFamilyPolicy = &policy
	}
	return s
}

// number is the place of a Service in the mix, -1 for none.
func number(s *corev1.Service) int {
	var i int
	if _, err := fmt.Sscanf(s.Name, "s%d", &i); err != nil {
		return -1
	}
	return i
}

// served reports whether a Service has all that it is due.
func served(s *corev1.Service) bool {
	return len(s.Status.LoadBalancer.Ingress) > 0 && len(s.Status.LoadBalancer.Ingress) == len(s.Spec.ClusterIPs)
}

// parallel calls f for each Service, many at once.
func (r *rig) parallel(f func(i int) error) { r.some(r.n, writers, f) }

// some calls f for 0…n-1, some at once.
func (r *rig) some(n, atOnce int, f func(i int) error) {
	next := make(chan int)
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					r.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	if r.Failed() {
		r.FailNow()
	}
}

// create creates the Services; each goes to then, when that is wanted.
func (r *rig) create(then chan<- *corev1.Service) {
	r.parallel(func(i int) error {
		s := r.service(i)
		if err := r.client.Create(r.ctx, s); err != nil {
			return err
		}
		if then != nil {
			then <- s
		}
		return nil
	})
}

// patch is what the loop does: the write that the controller would do, and nothing else.
func (r *rig) patch(s *corev1.Service) error {
	i := number(s)
	vip := corev1.LoadBalancerIPModeVIP
	has := i
	if _, shares := s.Annotations[clarion.AnnotationAllowSharedIP]; shares {
		has -= i % 20
	}
	text := fmt.Sprintf("198.18.%d.%d", has/256, has%256)
	ingress := []corev1.LoadBalancerIngress{{IP: text, IPMode: &vip}}
	if len(s.Spec.ClusterIPs) > 1 {
		six := fmt.Sprintf("2001:db8::%x", i)
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: six, IPMode: &vip})
		text += " and " + six
	}
	w := newWrite(s)
	w.ingress(ingress)
	w.annotate(s, "bench")
	w.condition(s, metav1.Condition{
		Type: string(clarion.ConditionAddressAssigned), Status: metav1.ConditionTrue,
		Reason: string(clarion.ReasonAssigned), Message: text + " from pool bench",
	}, time.Now())
	return r.client.Status().Patch(r.ctx, s, client.RawPatch(types.StrategicMergePatchType, w.body()))
}

func (r *rig) createAndPatch() time.Duration {
	done := r.assigned()
	start := time.Now()
	created := make(chan *corev1.Service, r.n)
	var patchers sync.WaitGroup
	for range writers {
		patchers.Go(func() {
			for s := range created {
				if err := r.patch(s); err != nil {
					r.Error(err)
				}
			}
		})
	}
	r.create(created)
	close(created)
	patchers.Wait()
	r.wait(done)
	return time.Since(start)
}

func (r *rig) patchAll() time.Duration {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace)))
	done := r.assigned()
	start := time.Now()
	r.parallel(func(i int) error { return r.patch(&list.Items[i]) })
	r.wait(done)
	return time.Since(start)
}

// assigned counts Services as they get their addresses, and closes done when all have.
func (r *rig) assigned() (done <-chan struct{}) {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace), client.Limit(1)))
	watching, err := r.client.Watch(r.ctx, &corev1.ServiceList{}, client.InNamespace(r.namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	r.must(err)
	all := make(chan struct{})
	go func() {
		defer close(all)
		defer watching.Stop()
		seen := map[string]bool{}
		for e := range watching.ResultChan() {
			s, ok := e.Object.(*corev1.Service)
			if ok && number(s) >= 0 && served(s) {
				if seen[s.Name] = true; len(seen) == r.n {
					return
				}
			}
		}
	}()
	return all
}

func (r *rig) createAndWait() time.Duration {
	done := r.assigned()
	start := time.Now()
	r.create(nil)
	r.wait(done)
	return time.Since(start)
}

func (r *rig) poolAppears() time.Duration {
	done := r.assigned()
	start := time.Now()
	r.pool(true)
	r.wait(done)
	return time.Since(start)
}

func (r *rig) wait(done <-chan struct{}) {
	r.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Minute):
		r.Fatal("not all Services get an address")
	}
}

// unique checks that no address is there twice, but for those that are shared.
func (r *rig) unique() {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace)))
	type holder struct{ name, key string }
	has := map[string]holder{}
	for _, s := range list.Items {
		is := holder{s.Name, s.Annotations[clarion.AnnotationAllowSharedIP]}
		for _, in := range s.Status.LoadBalancer.Ingress {
			if other, ok := has[in.IP]; ok && (is.key == "" || is.key != other.key) {
				r.Fatalf("%s and %s both have %s", other.name, s.Name, in.IP)
			}
			has[in.IP] = is
		}
	}
}

// versions are the resource versions of all Services.
func (r *rig) versions() map[string]string {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace)))
	out := make(map[string]string, len(list.Items))
	for _, s := range list.Items {
		out[s.Name] = s.ResourceVersion
	}
	return out
}

// untouched checks that no Service was written since.
func (r *rig) untouched(before map[string]string) {
	r.Helper()
	now := r.versions()
	for name, version := range before {
		if now[name] != version {
			r.Fatalf("%s was written", name)
		}
	}
}

// loop patches whatever is created as fast as it can, in the place of a controller that is not there, until stopped.
func (r *rig) loop() func(e watch.Event) {
	added := make(chan *corev1.Service, r.n)
	for range writers {
		go func() {
			for {
				select {
				case <-r.ctx.Done():
					return
				case s := <-added:
					if err := r.patch(s); err != nil && !apierrors.IsNotFound(err) {
						r.Error(err)
					}
				}
			}
		}()
	}
	return func(e watch.Event) {
		if s, ok := e.Object.(*corev1.Service); ok && e.Type == watch.Added {
			added <- s
		}
	}
}

// churn deletes Services and makes them again, some at once, and returns the median of how long each was without an
// address. What is seen goes to also, when that is wanted.
func (r *rig) churn(n, atOnce int, also func(watch.Event)) time.Duration {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace), client.Limit(1)))
	watching, err := r.client.Watch(r.ctx, &corev1.ServiceList{}, client.InNamespace(r.namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	r.must(err)
	defer watching.Stop()

	type life struct{ asked, made, seen, served time.Time }
	var mu sync.Mutex
	lives := map[types.UID]*life{}
	at := func(uid types.UID) *life { // with mu
		if lives[uid] == nil {
			lives[uid] = &life{}
		}
		return lives[uid]
	}
	go func() {
		for e := range watching.ResultChan() {
			if also != nil {
				also(e)
			}
			s, ok := e.Object.(*corev1.Service)
			if !ok || e.Type == watch.Deleted {
				continue
			}
			mu.Lock()
			it := at(s.UID)
			if e.Type == watch.Added {
				it.seen = time.Now()
			}
			if served(s) && it.served.IsZero() {
				it.served = time.Now()
			}
			mu.Unlock()
		}
	}()
	r.some(n, atOnce, func(i int) error {
		one := i * 7919 % r.n // from all over the mix
		if err := r.client.Delete(r.ctx, r.service(one)); err != nil {
			return err
		}
		s := r.service(one)
		asked := time.Now()
		if err := r.client.Create(r.ctx, s); err != nil {
			return err
		}
		mu.Lock()
		it := at(s.UID)
		it.asked, it.made = asked, time.Now()
		mu.Unlock()
		for deadline := time.Now().Add(time.Minute); atOnce == 1 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			mu.Lock()
			ready := !it.served.IsZero()
			mu.Unlock()
			if ready {
				break
			}
		}
		return nil
	})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var took, create, assign []time.Duration
		mu.Lock()
		for _, it := range lives {
			if !it.asked.IsZero() && !it.served.IsZero() {
				took = append(took, it.served.Sub(it.asked))
				create = append(create, it.made.Sub(it.asked))
				assign = append(assign, it.served.Sub(it.seen))
			}
		}
		mu.Unlock()
		if len(took) == n {
			for _, d := range [][]time.Duration{took, create, assign} {
				slices.Sort(d)
			}
			r.Logf("churn of %d, %d at once: median %v, of which %v until it is created and %v from when it is seen", n, atOnce,
				took[n/2], create[n/2], assign[n/2])
			return took[n/2]
		}
	}
	r.Fatal("not all Services that were made again get an address")
	return 0
}

func (r *rig) start() *program {
	return startProgram(r, apiServer, "--namespace="+r.namespace)
}

// won is when the controller won the Lease.
func (r *rig) won() time.Time {
	r.Helper()
	var l coordinationv1.Lease
	r.must(r.client.Get(r.ctx, types.NamespacedName{Namespace: r.namespace, Name: LeaseName}, &l))
	return l.Spec.AcquireTime.Time
}

// nextAssignment is how long after the lease was won a new Service has its address.
func (r *rig) nextAssignment() time.Duration {
	s := r.service(0)
	s.Name = "next"
	r.must(r.client.Create(r.ctx, s))
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		r.must(r.client.Get(r.ctx, client.ObjectKeyFromObject(s), s))
		if c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned)); c != nil && c.Status == metav1.ConditionTrue {
			took := time.Since(r.won())
			r.must(r.client.Delete(r.ctx, s))
			return took
		}
	}
	r.Fatal("a new Service gets no address")
	return 0
}

// clear removes the Services.
func (r *rig) clear() {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace)))
	r.some(len(list.Items), writers, func(i int) error {
		return client.IgnoreNotFound(r.client.Delete(r.ctx, &list.Items[i]))
	})
}
