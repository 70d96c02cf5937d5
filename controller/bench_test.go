package controller

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// BenchmarkServices compares the controller, as a process of its own, with a loop that only patches the same statuses:
// the best that this API server can do. Both write as many Services at once, and the clock stops when a watch has shown
// all of them. Each figure is the median of three.
//
//	create    Services are created as fast as the API server takes them; until the last one has its address
//	backlog   Services are there, a pool appears; until the last one has its address
//	restart   the controller is killed and started with all Services assigned; from the Lease to the next assignment
func BenchmarkServices(b *testing.B) {
	if apiServer == nil || os.Getenv("CLARION_BENCH") == "" {
		b.Skip("takes minutes: set CLARION_BENCH=1, and KUBEBUILDER_ASSETS to the directory with kube-apiserver and etcd")
	}
	for _, n := range []int{5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				measure(b, n)
			}
		})
	}
}

const (
	rounds  = 3
	writers = DefaultWorkers
)

func measure(b *testing.B, n int) {
	r := newRig(b, n)
	var create, createRef, backlog, backlogRef, restart []time.Duration
	var memory []float64
	for range rounds {
		r.pool(true)
		createRef = append(createRef, r.createAndPatch())
		r.clear()

		c := r.start()
		c.leads()
		create = append(create, r.createAndWait())
		c.kill()
		c = r.start()
		restart = append(restart, r.nextAssignment())
		memory = append(memory, c.peakMemory())
		c.stop()
		r.pool(false)
		r.clear()

		r.create(nil)
		backlogRef = append(backlogRef, r.patchAll())
		r.clear()
		r.create(nil)
		c = r.start()
		c.leads()
		backlog = append(backlog, r.poolAppears())
		memory = append(memory, c.peakMemory())
		c.stop()
		r.clear()
		b.Logf("round: create %v, patches only %v; backlog %v, patches only %v; restart %v; RSS %.0f MiB",
			create[len(create)-1], createRef[len(createRef)-1], backlog[len(backlog)-1], backlogRef[len(backlogRef)-1],
			restart[len(restart)-1], slices.Max(memory))
	}
	mid := func(d []time.Duration) float64 { slices.Sort(d); return d[len(d)/2].Seconds() }
	b.ReportMetric(mid(create), "s/create")
	b.ReportMetric(mid(create)/mid(createRef), "x/create")
	b.ReportMetric(mid(backlog), "s/backlog")
	b.ReportMetric(mid(backlog)/mid(backlogRef), "x/backlog")
	b.ReportMetric(mid(restart), "s/restart")
	b.ReportMetric(slices.Max(memory), "MiB(RSS)")
}

// rig is an API server with Services on it.
type rig struct {
	*testing.B
	client     client.WithWatch
	ctx        context.Context
	n          int
	namespace  string
	kubeconfig string
	program    string
}

func newRig(b *testing.B, n int) *rig {
	r := &rig{B: b, ctx: b.Context(), n: n}
	dir := b.TempDir()
	r.program = filepath.Join(dir, "clarion-controller")
	if out, err := exec.Command("go", "build", "-o", r.program, "../cmd/clarion-controller").CombinedOutput(); err != nil {
		b.Fatalf("building the controller: %v\n%s", err, out)
	}
	r.kubeconfig = filepath.Join(dir, "kubeconfig")
	r.must(clientcmd.WriteToFile(kubeconfigOf(apiServer), r.kubeconfig))
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

func kubeconfigOf(c *rest.Config) clientcmdapi.Config {
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Token: c.BearerToken}
	k.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	k.CurrentContext = "c"
	return *k
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
		p.Spec.Addresses = []clarion.AddressRange{"198.18.0.0/16"}
		if err := r.client.Create(r.ctx, p); !apierrors.IsAlreadyExists(err) {
			r.must(err)
		}
		return
	}
	err := r.client.Patch(r.ctx, p, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	r.must(client.IgnoreNotFound(err))
	r.must(client.IgnoreNotFound(r.client.Delete(r.ctx, p)))
}

func (r *rig) service(i int) *corev1.Service {
	no := false
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fmt.Sprintf("s%05d", i)},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			AllocateLoadBalancerNodePorts: &no,
			Ports:                         []corev1.ServicePort{{Port: 80}},
			Selector:                      map[string]string{"app": "web"},
		},
	}
}

// parallel calls f for 0…n-1, many at once.
func (r *rig) parallel(f func(i int) error) {
	next := make(chan int)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					r.Error(err)
				}
			}
		})
	}
	for i := range r.n {
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
	var i int
	if _, err := fmt.Sscanf(s.Name, "s%d", &i); err != nil {
		return err
	}
	vip := corev1.LoadBalancerIPModeVIP
	ip := fmt.Sprintf("198.18.%d.%d", i/256, i%256)
	w := newWrite(s)
	w.ingress([]corev1.LoadBalancerIngress{{IP: ip, IPMode: &vip}})
	w.annotate(s, "bench")
	w.condition(s, metav1.Condition{
		Type: string(clarion.ConditionAddressAssigned), Status: metav1.ConditionTrue,
		Reason: string(clarion.ReasonAssigned), Message: ip + " from pool bench",
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
			if ok && strings.HasPrefix(s.Name, "s") && len(s.Status.LoadBalancer.Ingress) == 1 {
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
	took := time.Since(start)
	r.unique()
	return took
}

func (r *rig) poolAppears() time.Duration {
	done := r.assigned()
	start := time.Now()
	r.pool(true)
	r.wait(done)
	took := time.Since(start)
	r.unique()
	return took
}

func (r *rig) wait(done <-chan struct{}) {
	r.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Minute):
		r.Fatal("not all Services get an address")
	}
}

// unique checks that no address is there twice.
func (r *rig) unique() {
	var list corev1.ServiceList
	r.must(r.client.List(r.ctx, &list, client.InNamespace(r.namespace)))
	has := map[string]string{}
	for _, s := range list.Items {
		for _, in := range s.Status.LoadBalancer.Ingress {
			if other, ok := has[in.IP]; ok {
				r.Fatalf("%s and %s both have %s", other, s.Name, in.IP)
			}
			has[in.IP] = s.Name
		}
	}
}

// leads waits until the controller leads and has adopted.
func (c *controllerProcess) leads() {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if strings.Contains(c.logs.String(), "msg=leading") {
			return
		}
	}
	c.r.Fatalf("nobody leads\n%s", c.logs.String())
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
	n := r.n
	r.n = len(list.Items)
	r.parallel(func(i int) error { return client.IgnoreNotFound(r.client.Delete(r.ctx, &list.Items[i])) })
	r.n = n
}

// controllerProcess is a controller that runs as users run it.
type controllerProcess struct {
	r    *rig
	cmd  *exec.Cmd
	logs lockedBuffer
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (r *rig) start() *controllerProcess {
	c := &controllerProcess{r: r}
	c.cmd = exec.Command(r.program, "--kubeconfig="+r.kubeconfig, "--namespace="+r.namespace,
		"--metrics-bind-address=0", "--health-bind-address=0", "--log-format=text")
	c.cmd.Stdout, c.cmd.Stderr = &c.logs, &c.logs
	r.must(c.cmd.Start())
	return c
}

func (c *controllerProcess) stop() { c.end(syscall.SIGTERM) }
func (c *controllerProcess) kill() { c.end(syscall.SIGKILL) }

func (c *controllerProcess) end(s os.Signal) {
	c.r.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.r.Fatalf("the controller has ended by itself: %v\n%s", err, c.logs.String())
	}
	if err := c.cmd.Wait(); err != nil && s != syscall.SIGKILL {
		c.r.Fatalf("the controller ended with %v\n%s", err, c.logs.String())
	}
}

// peakMemory is the most that the process had resident, in MiB.
func (c *controllerProcess) peakMemory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	c.r.must(err)
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	return 0
}
