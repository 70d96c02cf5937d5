package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// helm runs Helm and returns what it prints, errors included.
func helm(args ...string) (string, error) {
	out, err := exec.Command("go", append([]string{"tool", "-modfile=../tools/helm.mod", "helm"}, args...)...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return string(out), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, failed.Stderr)
	}
	return string(out), err
}

// rendered returns the objects of the chart with some values set.
func rendered(t *testing.T, namespace string, set ...string) []runtime.Object {
	t.Helper()
	args := []string{"template", "clarion", "chart", "--namespace", namespace}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	out, err := helm(args...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, []byte(out))
}

func find[T runtime.Object](objects []runtime.Object) []T {
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

// comparable leaves out what a chart and a manifest say each in its own way: labels of the release, flags (the manifest leaves them at
// their defaults), the pull policy.
func comparable(t *testing.T, object runtime.Object) runtime.Object {
	t.Helper()
	object = object.DeepCopyObject()
	m, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	labels := m.GetLabels()
	for _, own := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"} {
		delete(labels, own)
	}
	m.SetLabels(labels)
	annotations := m.GetAnnotations()
	delete(annotations, "helm.sh/resource-policy")
	m.SetAnnotations(annotations)
	var pod *corev1.PodSpec
	switch o := object.(type) {
	case *appsv1.Deployment:
		pod = &o.Spec.Template.Spec
	case *appsv1.DaemonSet:
		pod = &o.Spec.Template.Spec
	default:
		return object
	}
	pod.Containers[0].Args, pod.Containers[0].ImagePullPolicy = nil, ""
	return object
}

func nameOf(t *testing.T, object runtime.Object) string {
	t.Helper()
	m, err := meta.Accessor(object)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%T %s", object, m.GetName())
}

func TestTheChartByDefaultIsTheManifest(t *testing.T) {
	chart := map[string]runtime.Object{}
	for _, object := range rendered(t, namespace) {
		m, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		if m.GetAnnotations()["helm.sh/hook"] == "" { // those are there while Helm uninstalls
			chart[nameOf(t, object)] = comparable(t, object)
		}
	}
	for _, object := range manifest(t) {
		if _, ok := object.(*corev1.Namespace); ok {
			continue // Helm's to make
		}
		name := nameOf(t, object)
		got, ok := chart[name]
		if !ok {
			t.Errorf("the chart has no %s", name)
			continue
		}
		delete(chart, name)
		if want := comparable(t, object); !equality.Semantic.DeepEqual(got, want) {
			t.Errorf("%s differs:\nchart:    %+v\nmanifest: %+v", name, got, want)
		}
	}
	for name := range chart {
		t.Errorf("the manifest has no %s", name)
	}
}

func TestTheChartPassesHelmsLint(t *testing.T) {
	for _, set := range []string{"mode=active", "openshift.enabled=true", "metrics.serviceMonitors.enabled=true,metrics.auth=none", "crds.install=false"} {
		if out, err := helm("lint", "--strict", "chart", "--set", set); err != nil {
			t.Errorf("with %s: %v%s", set, err, out)
		}
	}
}

func TestTheChartRefusesValuesThatMeanNothing(t *testing.T) {
	for _, set := range []string{"speaker.replicas=2", "mode=passive", "controller.replicas=0", "speaker.gossipPort=70000", "speakers.runAsRoot=true", "controller.extraArgs={workers}"} {
		if _, err := helm("template", "clarion", "chart", "--set", set); err == nil {
			t.Errorf("%s was taken", set)
		} else if !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s was refused without a word on the schema: %v", set, err)
		}
	}
}

func TestTheChartGoesIntoAnyNamespace(t *testing.T) {
	for _, object := range rendered(t, "elsewhere", "openshift.enabled=false", "controller.networkPolicy.enabled=true") {
		m, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		if ns := m.GetNamespace(); ns != "" && ns != "elsewhere" {
			t.Errorf("%s is in %s", nameOf(t, object), ns)
		}
		var subjects []rbacv1.Subject
		switch o := object.(type) {
		case *rbacv1.RoleBinding:
			subjects = o.Subjects
		case *rbacv1.ClusterRoleBinding:
			subjects = o.Subjects
		}
		for _, s := range subjects {
			if s.Namespace != "elsewhere" {
				t.Errorf("%s binds a subject in %s", nameOf(t, object), s.Namespace)
			}
		}
	}
}

func TestCRDsOutliveTheRelease(t *testing.T) {
	crds := find[*apiextensionsv1.CustomResourceDefinition](rendered(t, namespace))
	if len(crds) != 7 {
		t.Errorf("%d CRDs, want 7", len(crds))
	}
	for _, crd := range crds {
		if crd.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s would go with the release, and all objects of its kind with it", crd.Name)
		}
	}
}

func TestValuesOfTheChartReachThePods(t *testing.T) {
	objects := rendered(t, namespace, "speaker.runAsRoot=true", "mode=observe", "loadBalancerClasses={a/b,c/d}", "serveUnclassedServices=false",
		"images.repository=registry.example.com/clarion-", "images.tag=v9", "speaker.extraArgs={--refresh=1m}", "controller.podDisruptionBudget.enabled=false",
		"controller.networkPolicy.enabled=true", "images.pullSecrets[0].name=pull")
	speaker, controller := find[*appsv1.DaemonSet](objects)[0].Spec.Template.Spec, find[*appsv1.Deployment](objects)[0].Spec.Template.Spec
	for component, pod := range map[string]corev1.PodSpec{"speaker": speaker, "controller": controller} {
		for _, arg := range []string{"--mode=observe", "--load-balancer-classes=a/b,c/d", "--serve-unclassed-services=false"} {
			if !slices.Contains(pod.Containers[0].Args, arg) {
				t.Errorf("%s: %s is not in %q", component, arg, pod.Containers[0].Args)
			}
		}
		if want := "registry.example.com/clarion-" + component + ":v9"; pod.Containers[0].Image != want {
			t.Errorf("image %s, want %s", pod.Containers[0].Image, want)
		}
		if len(pod.ImagePullSecrets) != 1 {
			t.Errorf("%s has no pull secret", component)
		}
	}
	if c := speaker.SecurityContext; *c.RunAsUser != 0 || *c.RunAsNonRoot || !slices.Contains(speaker.Containers[0].Args, "--refresh=1m") {
		t.Errorf("speaker as uid %d with %q", *c.RunAsUser, speaker.Containers[0].Args)
	}
	if n := len(find[*policyv1.PodDisruptionBudget](objects)); n != 0 {
		t.Errorf("%d disruption budgets that were switched off", n)
	}
	if n := len(find[*networkingv1.NetworkPolicy](objects)); n != 1 {
		t.Errorf("%d network policies, want 1", n)
	}
}

// TestOnOpenShiftTheSpeakerHasItsConstraintsAndTheOthersTheirNamespaces: OpenShift gives Pods a user of the namespace's range, and
// lets none on the host's network without a SecurityContextConstraints that its ServiceAccount may use.
func TestOnOpenShiftTheSpeakerHasItsConstraintsAndTheOthersTheirNamespaces(t *testing.T) {
	args := []string{"template", "clarion", "chart", "--namespace", "elsewhere", "--set", "openshift.enabled=true", "--show-only"}
	out, err := helm(append(args, "templates/openshift.yaml")...)
	if err != nil {
		t.Fatal(err)
	}
	var constraints struct {
		Metadata                 metav1.ObjectMeta
		Users                    []string
		AllowHostNetwork         bool
		AllowHostPorts           bool
		AllowHostPID             bool
		AllowHostIPC             bool
		AllowHostDirVolumePlugin bool
		AllowPrivilegedContainer bool
		AllowPrivilegeEscalation bool
		AllowedCapabilities      []corev1.Capability
		RequiredDropCapabilities []corev1.Capability
		ReadOnlyRootFilesystem   bool
	}
	if err := yaml.Unmarshal([]byte(out), &constraints); err != nil {
		t.Fatal(err)
	}
	out, err = helm(append(args, "templates/speaker.yaml", "--show-only", "templates/controller.yaml", "--show-only", "templates/uninstall.yaml")...)
	if err != nil {
		t.Fatal(err)
	}
	objects := decode(t, []byte(out))
	speaker := find[*appsv1.DaemonSet](objects)[0].Spec.Template
	may := speaker.Spec.Containers[0].SecurityContext
	for what, ok := range map[string]bool{
		"the constraints are for the speaker's account": slices.Equal(constraints.Users, []string{"system:serviceaccount:elsewhere:" + speaker.Spec.ServiceAccountName}),
		"the Pods name them":                            speaker.Annotations["openshift.io/required-scc"] == constraints.Metadata.Name,
		"the host's network, and nothing else":          constraints.AllowHostNetwork && constraints.AllowHostPorts && !constraints.AllowHostPID && !constraints.AllowHostIPC && !constraints.AllowHostDirVolumePlugin,
		"no privileges":                                 !constraints.AllowPrivilegedContainer && !constraints.AllowPrivilegeEscalation && constraints.ReadOnlyRootFilesystem,
		"the capabilities that the Pod asks for":        slices.Equal(constraints.AllowedCapabilities, may.Capabilities.Add) && slices.Equal(constraints.RequiredDropCapabilities, may.Capabilities.Drop),
	} {
		if !ok {
			t.Errorf("does not hold: %s", what)
		}
	}
	for name, pod := range map[string]corev1.PodSpec{"controller": find[*appsv1.Deployment](objects)[0].Spec.Template.Spec, "uninstall": find[*batchv1.Job](objects)[0].Spec.Template.Spec} {
		if c := pod.SecurityContext; !*c.RunAsNonRoot || c.RunAsUser != nil || c.RunAsGroup != nil {
			t.Errorf("%s asks for user %v, group %v: the namespace's range has others", name, c.RunAsUser, c.RunAsGroup)
		}
	}
}

func TestTheNetworkPolicyLetsInWhatTheControllerServes(t *testing.T) {
	objects := rendered(t, namespace, "controller.networkPolicy.enabled=true")
	policy, controller := find[*networkingv1.NetworkPolicy](objects)[0], find[*appsv1.Deployment](objects)[0]
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(controller.Spec.Template.Labels)) || selector.Matches(labels.Set(find[*appsv1.DaemonSet](objects)[0].Spec.Template.Labels)) {
		t.Errorf("it selects %s, not the controller alone", selector)
	}
	var open, served []string
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			open = append(open, p.Port.String())
		}
	}
	for _, p := range controller.Spec.Template.Spec.Containers[0].Ports {
		served = append(served, p.Name)
	}
	if slices.Sort(open); !slices.Equal(open, slices.Sorted(slices.Values(served))) {
		t.Errorf("it lets in to %v, and the controller serves %v", open, served)
	}
	// Whoever restricts what goes out would cut the controller off its API server, which has no label to be selected by.
	if !slices.Equal(policy.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) {
		t.Errorf("policy types %v", policy.Spec.PolicyTypes)
	}
}

func TestADisruptionBudgetKeepsAController(t *testing.T) {
	budget, controller := one[*policyv1.PodDisruptionBudget](t), one[*appsv1.Deployment](t)
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(controller.Spec.Template.Labels)) || budget.Spec.MinAvailable.IntValue() != int(*controller.Spec.Replicas)-1 {
		t.Errorf("of %d replicas it keeps %v, of Pods %s", *controller.Spec.Replicas, budget.Spec.MinAvailable, selector)
	}
}

func TestChartOnARealAPIServer(t *testing.T) {
	c := start(t, "elsewhere")
	run := func(args ...string) string {
		t.Helper()
		out, err := helm(append(args, "--kubeconfig", c.kubeconfig, "--namespace", c.namespace)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := run("install", "clarion", "chart", "--create-namespace")
	if !strings.Contains(out, "pod-security.kubernetes.io/enforce=privileged") {
		t.Errorf("the notes don't say how the speakers are let into a namespace that Helm made:\n%s", out)
	}
	c.kubectl(t, "label", "namespace", c.namespace, "pod-security.kubernetes.io/enforce=privileged")

	_, err := c.as("controller", "node1").CoreV1().Secrets(c.namespace).Patch(t.Context(), "clarion-gossip", types.MergePatchType,
		[]byte(`{"data":{"keys":"ZmlsbGVkIGlu"}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatalf("the controller can't fill in the keys: %v", err)
	}
	c.kubectl(t, "apply", "-f", "../config/samples/ipaddresspool.yaml")

	t.Run("a speaker there may write its own node's Speaker alone", c.testSpeakerOnSpeakers)
	t.Run("a speaker there may change its condition on a Service alone", c.testSpeakerOnServices)
	t.Run("an upgrade keeps the keys and asks no more for the label", func(t *testing.T) {
		out := run("upgrade", "clarion", "chart", "--set", "speaker.maxUnavailable=2")
		if strings.Contains(out, "pod-security") {
			t.Errorf("the namespace is labelled, and the notes say:\n%s", out)
		}
		secret, err := c.admin.CoreV1().Secrets(c.namespace).Get(t.Context(), "clarion-gossip", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(secret.Data["keys"]); got != "filled in" {
			t.Errorf("the keys are %q", got)
		}
	})
	t.Run("uninstalled, the CRDs and pools stay", func(t *testing.T) {
		run("uninstall", "clarion", "--no-hooks") // there is no kubelet to run the Job
		if out := c.kubectl(t, "get", "ipaddresspools", "-o", "name"); !strings.Contains(out, "ipaddresspool.clarion.dev/") {
			t.Errorf("pools left: %q", out)
		}
		if out := c.kubectl(t, "get", "clusterroles,daemonsets,deployments,validatingadmissionpolicies", "-A", "-o", "name"); strings.Contains(out, "clarion") {
			t.Errorf("left behind:\n%s", out)
		}
		run("install", "clarion", "chart")
	})
}

// TestTheChartBringsWhatClarionIsWatchedWith: the rules and the dashboard, whole, with the labels that find them.
func TestTheChartBringsWhatClarionIsWatchedWith(t *testing.T) {
	out, err := helm("template", "clarion", "chart", "--show-only", "templates/monitors.yaml", "--set",
		"metrics.prometheusRules.enabled=true,metrics.prometheusRules.labels.release=prometheus,metrics.dashboard.enabled=true,metrics.serviceMonitors.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	var rules map[string]any
	kinds := map[string]int{}
	for document := range strings.SplitSeq(out, "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		kind, _ := object["kind"].(string)
		kinds[kind]++
		labels := object["metadata"].(map[string]any)["labels"].(map[string]any)
		switch kind {
		case "PrometheusRule":
			rules = object["spec"].(map[string]any)
			if labels["release"] != "prometheus" {
				t.Errorf("labels %v", labels)
			}
		case "ConfigMap":
			dashboard, _ := object["data"].(map[string]any)["clarion.json"].(string)
			if want, err := os.ReadFile("monitoring/dashboard.json"); err != nil || dashboard != string(want) || labels["grafana_dashboard"] != "1" {
				t.Errorf("the dashboard is not the one in monitoring, or its labels are %v (%v)", labels, err)
			}
		}
	}
	if kinds["PrometheusRule"] != 1 || kinds["ConfigMap"] != 1 || kinds["ServiceMonitor"] != 2 || kinds["Service"] != 2 {
		t.Errorf("objects %v", kinds)
	}
	content, err := os.ReadFile("monitoring/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := yaml.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(rules, want) {
		t.Error("the rules are not those in monitoring")
	}
}

// TestAnUpgradeMayReuseTheValuesOfAnOlderChart: with --reuse-values Helm knows none of the values that came since.
func TestAnUpgradeMayReuseTheValuesOfAnOlderChart(t *testing.T) {
	now, err := helm("template", "clarion", "chart")
	if err != nil {
		t.Fatal(err)
	}
	old, err := helm("template", "clarion", "chart", "--set", "uninstall=null,warnings=null,metrics.prometheusRules=null,metrics.dashboard=null")
	if err != nil || old != now {
		t.Errorf("without the values of today the objects are others (%v)", err)
	}
}
