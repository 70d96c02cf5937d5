package controller

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// apiServer is a real kube-apiserver, shared by the tests of the package: each works in namespaces of its own and with
// pools of its own. It is nil when there are no binaries to run it from.
var apiServer *rest.Config

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	os.Exit(func() int {
		defer func() { _ = os.RemoveAll(builtIn) }() // "" is nothing
		if os.Getenv("KUBEBUILDER_ASSETS") == "" {
			return m.Run()
		}
		env := &envtest.Environment{
			CRDDirectoryPaths:     []string{"../config/crd"},
			ErrorIfCRDPathMissing: true,
		}
		env.ControlPlane.GetAPIServer().Configure().
			Set("service-cluster-ip-range", "10.96.0.0/14,fd96::/108").
			Set("service-node-port-range", "10000-30000"). // a health check port for each Service with the policy Local
			Set("max-requests-inflight", "2000").
			Set("max-mutating-requests-inflight", "2000")
		env.ControlPlane.Etcd = &envtest.Etcd{}
		env.ControlPlane.Etcd.Configure().Enable("unsafe-no-fsync") // nothing here outlives the test
		config, err := env.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, "starting the API server:", err)
			return 1
		}
		defer func() { _ = env.Stop() }()
		config.QPS = -1
		apiServer = config
		return m.Run()
	}())
}

// testMapper knows what the controller knows, and Leases.
func testMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	return meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{mapper(), m}}
}

// world is what a test has of the cluster.
type world struct {
	*testing.T
	client.Client
	ctx       context.Context
	namespace string
	options   Options
}

// newWorld skips the test when there is no API server. Only one world exists at a time: pools are the whole cluster's.
func newWorld(t *testing.T) *world {
	t.Helper()
	if apiServer == nil {
		t.Skip("KUBEBUILDER_ASSETS is not set: it names the directory with kube-apiserver and etcd (make test sets it)")
	}
	c, err := client.New(apiServer, client.Options{Scheme: scheme(), Mapper: testMapper()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Client: c, ctx: t.Context()}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "clarion-test-"}}
	w.must(c.Create(w.ctx, ns))
	w.namespace = ns.Name
	w.options = Options{
		Config:        apiServer,
		Namespace:     ns.Name,
		Classes:       clarion.ServiceClasses{Classes: []string{clarion.DefaultLoadBalancerClass}, Unclassed: true},
		LeaderElect:   true,
		LeaseDuration: 3 * time.Second,
		RenewDeadline: 2 * time.Second,
		RetryPeriod:   200 * time.Millisecond,
		Log:           slog.New(slog.NewTextHandler(lineLog{t}, nil)),
	}
	t.Cleanup(w.sweep)
	return w
}

// poolTells waits until a pool tells all of some texts: its usage, and its conditions as "Ready True Accepted: gives out".
func (w *world) poolTells(name string, want ...string) *clarion.IPAddressPool {
	w.Helper()
	var p clarion.IPAddressPool
	w.eventually(func() (string, bool) {
		w.must(w.Get(w.ctx, types.NamespacedName{Name: name}, &p))
		text := p.Status.Usage
		for _, c := range p.Status.Conditions {
			text += fmt.Sprintf(" | %s %s %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				return fmt.Sprintf("pool %s tells %q, not %q", name, text, part), false
			}
		}
		return "", true
	})
	return &p
}

// lineLog gives log lines to a test, until the test ends.
type lineLog struct{ t *testing.T }

func (l lineLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// sweep removes what the test made, finalizers included.
func (w *world) sweep() {
	ctx := context.Background()
	var services corev1.ServiceList
	w.must(w.List(ctx, &services, client.InNamespace(w.namespace)))
	for i := range services.Items {
		w.must(client.IgnoreNotFound(w.Delete(ctx, &services.Items[i])))
	}
	for _, o := range []client.Object{
		&clarion.IPAddressPool{}, &clarion.L2Advertisement{}, &clarion.BGPPeer{}, &clarion.BGPAdvertisement{},
		&clarion.BFDProfile{}, &clarion.Community{}, &clarion.Speaker{}, &corev1.Node{},
	} {
		w.must(w.DeleteAllOf(ctx, o))
	}
	var pools clarion.IPAddressPoolList
	w.must(w.List(ctx, &pools))
	for i := range pools.Items {
		w.must(client.IgnoreNotFound(w.Patch(ctx, &pools.Items[i],
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// start runs a controller until the test ends, or stop is called.
func (w *world) start(with ...func(*Options)) (stop func()) {
	w.Helper()
	o := w.options
	for _, f := range with {
		f(&o)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					w.Error("the controller ended with", err)
				}
			case <-time.After(20 * time.Second):
				w.Error("the controller does not end")
			}
		})
	}
	w.Cleanup(stop)
	return stop
}

// pool makes a pool.
func (w *world) pool(name, addresses string, with ...func(*clarion.IPAddressPool)) *clarion.IPAddressPool {
	w.Helper()
	p := &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range strings.Fields(addresses) {
		p.Spec.Addresses = append(p.Spec.Addresses, clarion.AddressRange(a))
	}
	for _, f := range with {
		f(p)
	}
	w.must(w.Create(w.ctx, p))
	return p
}

// service makes a Service of type LoadBalancer.
func (w *world) service(name string, with ...func(*corev1.Service)) *corev1.Service {
	w.Helper()
	no := false
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Annotations: map[string]string{}},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			AllocateLoadBalancerNodePorts: &no,
			Ports:                         []corev1.ServicePort{{Port: 80}},
		},
	}
	for _, f := range with {
		f(s)
	}
	w.must(w.Create(w.ctx, s))
	return s
}

func annotated(name, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations[name] = value }
}

func families(policy corev1.IPFamilyPolicy, list ...corev1.IPFamily) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, list }
}

func class(name string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerClass = &name }
}

func (w *world) get(name string) *corev1.Service {
	w.Helper()
	var s corev1.Service
	w.must(w.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: name}, &s))
	return &s
}

// shows puts a Service's status into a line: "10.0.0.1 True Assigned".
func shows(s *corev1.Service) string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP+in.Hostname)
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned)); c != nil {
		out = append(out, string(c.Status), c.Reason)
	}
	return strings.Join(out, " ")
}

func message(s *corev1.Service) string {
	if c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned)); c != nil {
		return c.Message
	}
	return ""
}

// sees waits until a Service's status is as wanted.
func (w *world) sees(name, want string) *corev1.Service {
	w.Helper()
	var s *corev1.Service
	w.eventually(func() (string, bool) {
		s = w.get(name)
		return fmt.Sprintf("Service %s shows %q (%s), want %q", name, shows(s), message(s), want), shows(s) == want
	})
	return s
}

// patience is how long anything may take that should come true.
const patience = 15 * time.Second

func (w *world) eventually(is func() (string, bool)) {
	w.Helper()
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var ok bool
		if last, ok = is(); ok {
			return
		}
	}
	w.Fatal(last)
}

// change edits an object as a user would, again if somebody else was faster.
func change[T client.Object](w *world, o T, edit func(T)) {
	w.Helper()
	w.eventually(func() (string, bool) {
		w.must(w.Get(w.ctx, client.ObjectKeyFromObject(o), o))
		edit(o)
		err := w.Update(w.ctx, o)
		return fmt.Sprint("updating: ", err), err == nil
	})
}

// changeStatus edits a Service's status as another controller would.
func (w *world) changeStatus(name string, edit func(*corev1.ServiceStatus)) {
	w.Helper()
	w.eventually(func() (string, bool) {
		s := w.get(name)
		edit(&s.Status)
		err := w.Status().Update(w.ctx, s)
		return fmt.Sprint("updating the status: ", err), err == nil
	})
}
