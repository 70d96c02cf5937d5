package deploy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// TestSpeakersMayRunAsRootWithNetRawAlone: the way out where file capabilities are not kept.
func TestSpeakersMayRunAsRootWithNetRawAlone(t *testing.T) {
	out, err := exec.Command(filepath.Join(assets(t), "kubectl"), "kustomize", "../config/root-speaker").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, found := one[*appsv1.DaemonSet](t), false
	pod := want.Spec.Template.Spec.SecurityContext
	*pod.RunAsNonRoot, *pod.RunAsUser, *pod.RunAsGroup = false, 0, 0
	for _, object := range decode(t, out) {
		if got, ok := object.(*appsv1.DaemonSet); ok {
			found = true
			if !equality.Semantic.DeepEqual(got, want) {
				t.Errorf("more than the user differs: %+v", got.Spec.Template.Spec)
			}
		}
	}
	if !found {
		t.Error("there is no DaemonSet")
	}
}

func allowed(err error) bool { return err == nil }

// forbidden is an error by a policy that says why.
func forbidden(why string) func(error) bool {
	return func(err error) bool {
		return (apierrors.IsForbidden(err) || apierrors.IsInvalid(err)) && strings.Contains(err.Error(), why)
	}
}

// assets is the directory with kube-apiserver, etcd and kubectl.
func assets(t *testing.T) string {
	t.Helper()
	directory := os.Getenv("KUBEBUILDER_ASSETS")
	if directory == "" {
		t.Skip("needs Kubernetes' programs: KUBEBUILDER_ASSETS is not set (make test sets it)")
	}
	return directory
}

// cluster is a real API server.
type cluster struct {
	config     *rest.Config
	kubeconfig string
	namespace  string
	admin      kubernetes.Interface
}

// try runs kubectl, which may fail.
func (c cluster) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(filepath.Join(assets(t), "kubectl"), append([]string{"--kubeconfig", c.kubeconfig}, args...)...).CombinedOutput()
	return string(out), err
}

func (c cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(t, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// install applies clarion.yaml by kubectl.
func install(t *testing.T) cluster {
	t.Helper()
	c := start(t, namespace)
	if out := c.kubectl(t, "apply", "-f", "clarion.yaml"); strings.Contains(strings.ToLower(out), "warning") {
		t.Errorf("kubectl apply warns:\n%s", out)
	}
	return c
}

// start starts an API server for something that is installed into a namespace.
func start(t *testing.T, namespace string) cluster {
	t.Helper()
	assets(t)
	env := envtest.Environment{}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	user, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return cluster{config: config, kubeconfig: kubeconfig, namespace: namespace, admin: kubernetes.NewForConfigOrDie(config)}
}

// as is a client that the API server takes for one of Clarion's programs on a node.
func (c cluster) as(program, node string) kubernetes.Interface {
	return kubernetes.NewForConfigOrDie(c.impersonate(program, node))
}

// impersonate says what a ServiceAccount's token says; node is "" in one that is bound to none.
func (c cluster) impersonate(program, node string) *rest.Config {
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + c.namespace + ":clarion-" + program,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + c.namespace, "system:authenticated"},
	}
	if node != "" {
		config.Impersonate.Extra = map[string][]string{"authentication.kubernetes.io/node-name": {node}}
	}
	return config
}

func TestManifestOnARealAPIServer(t *testing.T) {
	c := install(t)
	t.Run("applying again keeps the keys that the controller filled in", c.testApplyAgain)
	t.Run("each program may do what it does and no more", c.testRights)
	t.Run("a speaker may change its condition on a Service alone", c.testSpeakerOnServices)
	t.Run("a speaker may write its own node's Speaker alone", c.testSpeakerOnSpeakers)
	t.Run("who applies an annotation that can't be read is told and not refused where the warnings are installed", c.testWarnings)
	t.Run("who deletes all of the manifest keeps the pools, and is told how to uninstall", c.testDeleteAll)
}

// testDeleteAll is the last: little of the manifest is left after it.
func (c cluster) testDeleteAll(t *testing.T) {
	// A new policy is not in force at once, and must be before anything is really deleted.
	inForce := func(want bool) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
			_, err := c.try(t, "delete", "crd", "communities.clarion.dev", "--dry-run=server")
			return (err != nil) == want, nil
		})
		if err != nil {
			t.Fatalf("CRDs are refused to be deleted: want %v: %v", want, err)
		}
	}
	crds := func() int { return strings.Count(c.kubectl(t, "get", "crds", "-o", "name"), ".clarion.dev") }

	inForce(false) // no pool, nothing to keep
	c.kubectl(t, "apply", "-f", "../config/samples/ipaddresspool.yaml", "-f", "../config/samples/l2advertisement.yaml")
	inForce(true)
	// There is nobody to empty the namespace.
	out, err := c.try(t, "delete", "-f", "clarion.yaml", "--wait=false")
	if err == nil || !strings.Contains(out, "IPAddressPool ") || !strings.Contains(out, "app.kubernetes.io/component!=crds") {
		t.Errorf("kubectl delete: %v, and says\n%s", err, out)
	}
	if n := crds(); n != 7 {
		t.Errorf("%d CRDs are left of 7", n)
	}
	if out := c.kubectl(t, "get", "ipaddresspools,l2advertisements", "-o", "jsonpath={.items[*].metadata.deletionTimestamp}"); out != "" {
		t.Errorf("pools and advertisements have been deleted: %s", out)
	}
	if out := c.kubectl(t, "get", "deployments,daemonsets,clusterroles", "-A", "-o", "name"); strings.Contains(out, "clarion") {
		t.Errorf("left behind:\n%s", out)
	}

	c.kubectl(t, "apply", "-f", "../config/admission/crds.yaml")
	inForce(true)
	c.kubectl(t, "delete", "ipaddresspools", "--all")
	inForce(false)
	c.kubectl(t, "delete", "crds", "--selector", "app.kubernetes.io/component=crds,app.kubernetes.io/name=clarion", "--timeout=30s")
	if n := crds(); n != 0 {
		t.Errorf("%d CRDs are left, and no pool", n)
	}
}

func (c cluster) testWarnings(t *testing.T) {
	c.kubectl(t, "apply", "-k", "../config/warnings")
	apply := func(annotations string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "service.yaml")
		service := "{apiVersion: v1, kind: Service, metadata: {name: warned, namespace: default, annotations: {" + annotations + "}}, spec: {type: LoadBalancer, ports: [{port: 80}]}}"
		if err := os.WriteFile(file, []byte(service), 0o600); err != nil {
			t.Fatal(err)
		}
		return c.kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", file)
	}
	// A new policy is not in force at once.
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return strings.Contains(apply("clarion.dev/loadBalancerIPs: one"), "Warning"), nil
	})
	if err != nil {
		t.Fatalf("the policy does not come into force: %v", err)
	}
	for annotations, want := range map[string]string{
		`clarion.dev/loadBalancerIPs: "192.0.2.1, 2001:db8::1", metallb.io/address-pool: lan.one, clarion.dev/allow-shared-ip: any key`: "",
		`clarion.dev/assigned-from-pool: lan=192.0.2.1, example.com/pool: "?", clarion.dev/loadBalancerIPs: " "`:                        "",
		`clarion.dev/announce-from: node1`:                                        "",
		`metallb.universe.tf/loadBalancerIPs: 192.0.2.256`:                        "is not one IP address",
		`clarion.dev/loadBalancerIPs: 192.0.2.0/28`:                               "is not one IP address",
		`clarion.dev/loadBalancerIPs: "192.0.2.1,192.0.2.2,192.0.2.3"`:            "more than two",
		`clarion.dev/address-pool: "my pool"`:                                     "is not the name of an IPAddressPool",
		`clarion.dev/adress-pool: lan`:                                            "clarion.dev/adress-pool",
		`clarion.dev/loadbalancerips: 192.0.2.1, metallb.io/loadBalancerIPs: one`: "is not one IP address",
	} {
		got := apply(annotations)
		if want == "" && strings.Contains(got, "Warning") || !strings.Contains(got, want) {
			t.Errorf("%s: %s", annotations, got)
		}
	}
}

func (c cluster) testApplyAgain(t *testing.T) {
	secrets := c.admin.CoreV1().Secrets(namespace)
	secret, err := secrets.Get(t.Context(), "clarion-gossip", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(secret.Data) > 0 {
		t.Errorf("the Secret ships with %v", secret.Data)
	}
	_, err = c.as("controller", "node1").CoreV1().Secrets(namespace).Patch(t.Context(), "clarion-gossip", types.MergePatchType,
		[]byte(`{"data":{"keys":"ZmlsbGVkIGlu"}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"apply"}, {"apply", "--server-side", "--force-conflicts"}} {
		out := c.kubectl(t, append(args, "-f", "clarion.yaml")...)
		for line := range strings.Lines(out) {
			// kubectl sends a disruption budget's selector whole each time, for that is how it is merged, and then says "configured";
			// that nothing changes is seen by diff below.
			budget := strings.HasPrefix(line, "poddisruptionbudget.policy/") && strings.HasSuffix(line, " configured\n")
			if !strings.HasSuffix(line, " unchanged\n") && !strings.HasSuffix(line, " serverside-applied\n") && !budget {
				t.Errorf("applying again changes something: %s", line)
			}
		}
		secret, err := secrets.Get(t.Context(), "clarion-gossip", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(secret.Data["keys"]); got != "filled in" {
			t.Errorf("after kubectl %s the keys are %q", strings.Join(args, " "), got)
		}
	}
	// What GitOps tools call "in sync".
	if out := c.kubectl(t, "diff", "-f", "clarion.yaml"); out != "" {
		t.Errorf("kubectl diff after the keys were filled in:\n%s", out)
	}
}

// may asks the API server for a program's right. A name stands for one object, none for all of them.
func (c cluster) may(t *testing.T, program, verb, group, resource, name, in string) bool {
	t.Helper()
	resource, subresource, _ := strings.Cut(resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: group, Resource: resource, Subresource: subresource, Name: name, Namespace: in,
		},
	}}
	review, err := c.as(program, "node1").AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

func (c cluster) testRights(t *testing.T) {
	for _, test := range []struct {
		verb, group, resource, name, in string
		controller, speaker             bool
	}{
		{"watch", "", "services", "", "", true, true},
		{"patch", "", "services/status", "", "", true, true},
		{"patch", "", "services", "", "", false, false},
		{"update", "", "services/status", "", "", false, false},
		{"watch", "", "nodes", "", "", true, true},
		{"patch", "", "nodes", "", "", false, false},
		{"patch", "", "nodes/status", "", "", false, false},
		{"watch", "", "namespaces", "", "", true, false},
		{"watch", "discovery.k8s.io", "endpointslices", "", "", false, true},
		{"list", "", "pods", "", "", false, false},
		{"list", "", "pods", "", namespace, true, false},
		{"get", "apps", "daemonsets", "clarion-speaker", namespace, false, true},
		{"list", "apps", "daemonsets", "", "", false, false},
		{"get", "apps", "deployments", "clarion-controller", namespace, true, false},
		{"watch", "clarion.dev", "speakers", "", "", true, true},
		{"watch", "clarion.dev", "ipaddresspools", "", "", true, true},
		{"watch", "clarion.dev", "l2advertisements", "", "", true, true},
		{"watch", "clarion.dev", "bgppeers", "", "", true, true},
		{"patch", "clarion.dev", "ipaddresspools", "", "", true, false},
		{"patch", "clarion.dev", "l2advertisements", "", "", false, false},
		{"patch", "clarion.dev", "ipaddresspools/status", "", "", true, false},
		{"patch", "clarion.dev", "communities/status", "", "", true, false},
		{"delete", "clarion.dev", "ipaddresspools", "", "", false, false},
		{"create", "clarion.dev", "ipaddresspools", "", "", false, false},
		{"create", "clarion.dev", "speakers", "", "", false, true},
		{"patch", "clarion.dev", "speakers/status", "node1", "", true, true},
		{"patch", "clarion.dev", "speakers", "node1", "", false, false},
		{"create", "events.k8s.io", "events", "", "shop", true, true},
		{"create", "authentication.k8s.io", "tokenreviews", "", "", true, true},
		{"create", "authorization.k8s.io", "subjectaccessreviews", "", "", true, true},
		{"create", "coordination.k8s.io", "leases", "", namespace, true, false},
		{"update", "coordination.k8s.io", "leases", "clarion-controller", namespace, true, false},
		{"update", "coordination.k8s.io", "leases", "another", namespace, false, false},
		{"update", "coordination.k8s.io", "leases", "clarion-controller", "kube-system", false, false},
		{"get", "", "secrets", "clarion-gossip", namespace, true, true},
		{"watch", "", "secrets", "clarion-gossip", namespace, false, true},
		{"patch", "", "secrets", "clarion-gossip", namespace, true, false},
		{"create", "", "secrets", "", namespace, true, false},
		{"create", "", "secrets", "", "kube-system", false, false},
		{"get", "", "secrets", "another", namespace, false, false},
		{"get", "", "secrets", "clarion-gossip", "kube-system", false, false},
		{"list", "", "secrets", "", namespace, false, false},
		{"list", "", "secrets", "", "", false, false},
	} {
		what := strings.Join([]string{test.verb, test.group, test.resource, test.name, test.in}, " ")
		for program, want := range map[string]bool{"controller": test.controller, "speaker": test.speaker} {
			if got := c.may(t, program, test.verb, test.group, test.resource, test.name, test.in); got != want {
				t.Errorf("%s: %s: allowed is %v, want %v", program, what, got, want)
			}
		}
	}
	// The cluster's own role of docs/how-to/bgp.md, which the manifest binds.
	_, err := c.admin.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "clarion-speaker-passwords"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"tor"}, Verbs: []string{"get", "list", "watch"}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); !c.may(t, "speaker", "watch", "", "secrets", "tor", namespace); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("a Secret that the role names is not the speaker's to read")
		}
	}
	if c.may(t, "speaker", "get", "", "secrets", "another", namespace) || c.may(t, "controller", "get", "", "secrets", "tor", namespace) {
		t.Error("the role grants more than it names")
	}
}

func (c cluster) testSpeakerOnServices(t *testing.T) {
	const assigned = "clarion.dev/AddressAssigned"
	ctx := t.Context()
	services := c.admin.CoreV1().Services("default")
	_, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"note": "as it was"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: "Test", LastTransitionTime: metav1.Now()}
	}
	// A patch of the status, made from what is there.
	write := func(client kubernetes.Interface, change func(*corev1.Service), o metav1.PatchOptions) error {
		before, err := services.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		after := before.DeepCopy()
		change(after)
		patch, err := ctrlclient.MergeFrom(before).Data(after)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.CoreV1().Services("default").Patch(ctx, "web", types.MergePatchType, patch, o, "status")
		return err
	}
	address := func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.10"}}
	}
	setCondition := func(kind string, status metav1.ConditionStatus) func(*corev1.Service) {
		return func(s *corev1.Service) {
			for i := range s.Status.Conditions {
				if s.Status.Conditions[i].Type == kind {
					s.Status.Conditions[i] = condition(kind, status)
					return
				}
			}
			s.Status.Conditions = append(s.Status.Conditions, condition(kind, status))
		}
	}
	annotate := func(s *corev1.Service) { s.Annotations["clarion.dev/assigned-from-pool"] = "lan" }

	speaker, controller := c.as("speaker", "node1"), c.as("controller", "node1")
	// A new policy is not in force at once.
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return write(speaker, address, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}) != nil, nil
	})
	if err != nil {
		t.Fatalf("the policy does not come into force: %v", err)
	}
	for _, test := range []struct {
		story  string
		client kubernetes.Interface
		change func(*corev1.Service)
		want   func(error) bool
	}{
		{"a speaker announces a Service that has no status yet", speaker, setCondition("clarion.dev/Announced", metav1.ConditionFalse), allowed},
		{"a speaker gives it no address", speaker, address, forbidden("may not change a Service's addresses")},
		{"a speaker does not say that it has one", speaker, setCondition(assigned, metav1.ConditionTrue), forbidden("may only change clarion.dev/Announced")},
		{"the controller does all that at once", controller, func(s *corev1.Service) {
			address(s)
			annotate(s)
			setCondition(assigned, metav1.ConditionTrue)(s)
		}, allowed},
		{"a speaker announces it", speaker, setCondition("clarion.dev/Announced", metav1.ConditionTrue), allowed},
		{"a speaker takes no address away", speaker, func(s *corev1.Service) { s.Status.LoadBalancer = corev1.LoadBalancerStatus{} }, forbidden("may not change a Service's addresses")},
		{"a speaker does not take the controller's condition away", speaker, func(s *corev1.Service) { s.Status.Conditions = nil }, forbidden("may only change clarion.dev/Announced")},
		{"a speaker does not turn the controller's condition", speaker, setCondition(assigned, metav1.ConditionFalse), forbidden("may only change clarion.dev/Announced")},
		{"a speaker writes no annotation", speaker, func(s *corev1.Service) { s.Annotations["note"] = "forged" }, forbidden("may not change a Service's metadata")},
		{"a speaker takes its condition back", speaker, func(s *corev1.Service) { s.Status.Conditions = s.Status.Conditions[1:] }, allowed},
	} {
		if err := write(test.client, test.change, metav1.PatchOptions{}); !test.want(err) {
			t.Errorf("%s: got %v", test.story, err)
		}
	}
}

func (c cluster) testSpeakerOnSpeakers(t *testing.T) {
	ctx := t.Context()
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := func(node string) ctrlclient.Client {
		c, err := ctrlclient.New(c.impersonate("speaker", node), ctrlclient.Options{Scheme: scheme})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	named := func(name string, owners ...metav1.OwnerReference) *v1beta1.Speaker {
		return &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: owners}}
	}
	node := func(kind, name string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "v1", Kind: kind, Name: name, UID: "1"}
	}
	create := func(token string, s *v1beta1.Speaker, o ...ctrlclient.CreateOption) error {
		return client(token).Create(ctx, s, o...)
	}
	tell := func(token, name string) error {
		patch := ctrlclient.RawPatch(types.MergePatchType, []byte(`{"status":{"version":"v1"}}`))
		return client(token).Status().Patch(ctx, named(name), patch)
	}

	// A new policy is not in force at once.
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return create("node1", named("node2"), ctrlclient.DryRunAll) != nil, nil
	})
	if err != nil {
		t.Fatalf("the policy does not come into force: %v", err)
	}
	for _, test := range []struct {
		story string
		err   error
		want  func(error) bool
	}{
		{"node1's makes its own", create("node1", named("node1", node("Node", "node1"))), allowed},
		{"node2's makes its own", create("node2", named("node2", node("Node", "node2"))), allowed},
		{"node1's tells of itself", tell("node1", "node1"), allowed},
		{"node1's does not tell of node2", tell("node1", "node2"), forbidden("by its token is node1")},
		{"node1's makes none for node3", create("node1", named("node3")), forbidden("by its token is node1")},
		{"a token of no node makes none", create("", named("node3")), forbidden("bind the token to a Pod or Node")},
		{"a Speaker is not owned by something else", create("node4", named("node4", node("Pod", "node4"))), forbidden("belongs to its Node")},
	} {
		if !test.want(test.err) {
			t.Errorf("%s: got %v", test.story, test.err)
		}
	}
}
