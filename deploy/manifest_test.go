// Package deploy holds what Clarion is installed with; its tests hold the manifest to what is promised of it.
package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"github.com/clarion-lb/clarion/deploy/images"
)

const namespace = "clarion-system"

// manifest reads clarion.yaml.
func manifest(t *testing.T) []runtime.Object {
	t.Helper()
	content, err := os.ReadFile("clarion.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, content)
}

// decode reads YAML documents. A field that Kubernetes does not know is an error, as it is for kubectl.
func decode(t *testing.T, content []byte) []runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		objects = append(objects, object)
	}
}

// all returns the manifest's objects of one type.
func all[T runtime.Object](t *testing.T) []T {
	t.Helper()
	var found []T
	for _, object := range manifest(t) {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	return found
}

func one[T runtime.Object](t *testing.T) T {
	t.Helper()
	found := all[T](t)
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want 1", len(found), *new(T))
	}
	return found[0]
}

func pods(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	return map[string]corev1.PodSpec{
		"controller": one[*appsv1.Deployment](t).Spec.Template.Spec,
		"speaker":    one[*appsv1.DaemonSet](t).Spec.Template.Spec,
	}
}

func TestPodsHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	added := map[string][]corev1.Capability{"speaker": {"NET_RAW"}}
	for name, pod := range pods(t) {
		t.Run(name, func(t *testing.T) {
			c := pod.Containers[0]
			for what, ok := range map[string]bool{
				"one container":               len(pod.Containers) == 1 && len(pod.InitContainers) == 0,
				"not root":                    *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser == 65532 && *pod.SecurityContext.RunAsGroup == 65532,
				"seccomp's default profile":   pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
				"read-only root file system":  *c.SecurityContext.ReadOnlyRootFilesystem,
				"no privilege escalation":     !*c.SecurityContext.AllowPrivilegeEscalation,
				"not privileged":              c.SecurityContext.Privileged == nil,
				"all capabilities dropped":    slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}),
				"only needed ones added":      slices.Equal(c.SecurityContext.Capabilities.Add, added[name]),
				"no host's files":             len(pod.Volumes) == 0 && !pod.HostPID && !pod.HostIPC,
				"a ServiceAccount of its own": pod.ServiceAccountName == "clarion-"+name,
			} {
				if !ok {
					t.Errorf("missing: %s", what)
				}
			}
		})
	}
}

func TestPodsAreLookedAfter(t *testing.T) {
	for name, pod := range pods(t) {
		t.Run(name, func(t *testing.T) {
			c := pod.Containers[0]
			if c.LivenessProbe == nil || c.ReadinessProbe == nil {
				t.Fatal("probes are missing")
			}
			// On the host's network the programs tell their health on loopback alone.
			if got := c.ReadinessProbe.HTTPGet.Host; (got == "127.0.0.1") != pod.HostNetwork {
				t.Errorf("readiness is asked at %q", got)
			}
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
				t.Error("CPU or memory is not requested")
			}
			if c.Resources.Limits.Memory().Cmp(*c.Resources.Requests.Memory()) <= 0 {
				t.Error("memory is not limited to something above the request")
			}
			if !c.Resources.Limits.Cpu().IsZero() {
				t.Error("CPU is limited: a throttled speaker looks like a dead one")
			}
			if !strings.HasPrefix(pod.PriorityClassName, "system-") {
				t.Errorf("priority class %q: what carries traffic must not be evicted first", pod.PriorityClassName)
			}
		})
	}
}

func TestSpeakerRunsOnEveryNodeAndOnItsNetwork(t *testing.T) {
	d := one[*appsv1.DaemonSet](t)
	pod := d.Spec.Template.Spec
	if !pod.HostNetwork || pod.DNSPolicy != corev1.DNSClusterFirstWithHostNet {
		t.Errorf("host network %v, DNS policy %s", pod.HostNetwork, pod.DNSPolicy)
	}
	if len(pod.Tolerations) != 1 || pod.Tolerations[0] != (corev1.Toleration{Operator: corev1.TolerationOpExists}) {
		t.Errorf("tolerations %v leave nodes without a speaker", pod.Tolerations)
	}
	if got := *pod.TerminationGracePeriodSeconds; got != 45 {
		t.Errorf("%d s to hand over, want 45", got)
	}
	if got := d.Spec.UpdateStrategy.RollingUpdate; got.MaxUnavailable.IntValue() != 1 || got.MaxSurge != nil {
		t.Errorf("an update takes down %v speakers at once and starts %v more: two cannot share a node's ports", got.MaxUnavailable, got.MaxSurge)
	}
}

// TestHostPortsLeaveMetalLBItsOwn: both run side by side while a cluster changes from one to the other.
func TestHostPortsLeaveMetalLBItsOwn(t *testing.T) {
	metallb := []int32{7472, 7473, 7946, 17472, 17473}
	ports := one[*appsv1.DaemonSet](t).Spec.Template.Spec.Containers[0].Ports
	if len(ports) == 0 {
		t.Error("no port is declared, so the scheduler sees no collision")
	}
	for _, p := range ports {
		if slices.Contains(metallb, p.ContainerPort) {
			t.Errorf("port %d is MetalLB's", p.ContainerPort)
		}
	}
}

func TestControllerHasAStandInAndRunsOnControlPlanes(t *testing.T) {
	d := one[*appsv1.Deployment](t)
	if *d.Spec.Replicas != 2 {
		t.Errorf("%d replicas", *d.Spec.Replicas)
	}
	pod := d.Spec.Template.Spec
	tolerated := slices.ContainsFunc(pod.Tolerations, func(t corev1.Toleration) bool {
		return t.Key == "node-role.kubernetes.io/control-plane" && t.Operator == corev1.TolerationOpExists
	})
	if !tolerated {
		t.Error("a cluster of control-plane nodes alone cannot run it")
	}
	apart := pod.Affinity.PodAntiAffinity
	if len(apart.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
		t.Error("replicas apart from each other are demanded, so a cluster of one node cannot run it")
	}
	if !slices.ContainsFunc(apart.PreferredDuringSchedulingIgnoredDuringExecution, func(p corev1.WeightedPodAffinityTerm) bool {
		return p.PodAffinityTerm.TopologyKey == corev1.LabelHostname
	}) {
		t.Error("both replicas may land on one node")
	}
}

func TestManifestNamesTheImagesThatAreBuilt(t *testing.T) {
	deployed := pods(t)
	image := deployed["controller"].Containers[0].Image
	repository, tag, ok := strings.Cut(image, "controller:")
	if !ok {
		t.Fatalf("image %s has no tag, or is not the controller's", image)
	}
	built := images.Clarion(repository, tag, "bin", "amd64")
	for i, name := range []string{"controller", "speaker"} {
		c := deployed[name].Containers[0]
		if c.Image != built[i].Name {
			t.Errorf("%s: image %s, but %s is built", name, c.Image, built[i].Name)
		}
		if len(c.Command) > 0 {
			t.Errorf("%s: command %v instead of the image's own", name, c.Command)
		}
		// The kubelet compares runAsUser with the image's when it verifies runAsNonRoot.
		if built[i].User != "65532:65532" {
			t.Errorf("%s: image runs as %s", name, built[i].User)
		}
	}
}

func TestNamespaceAllowsTheSpeaker(t *testing.T) {
	n := one[*corev1.Namespace](t)
	for _, mode := range []string{"enforce", "audit", "warn"} {
		if got := n.Labels["pod-security.kubernetes.io/"+mode]; got != "privileged" {
			t.Errorf("%s: %q", mode, got)
		}
	}
}

func TestEverythingIsInOneNamespace(t *testing.T) {
	for _, object := range manifest(t) {
		m, err := meta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		switch object.(type) {
		case *corev1.Namespace, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding, *apiextensionsv1.CustomResourceDefinition,
			*admissionregistrationv1.ValidatingAdmissionPolicy, *admissionregistrationv1.ValidatingAdmissionPolicyBinding:
			if m.GetNamespace() != "" {
				t.Errorf("%T %s has a namespace", object, m.GetName())
			}
		default:
			if m.GetNamespace() != namespace {
				t.Errorf("%T %s is in namespace %q", object, m.GetName(), m.GetNamespace())
			}
		}
	}
	for _, b := range all[*rbacv1.ClusterRoleBinding](t) {
		if s := b.Subjects[0]; len(b.Subjects) != 1 || s.Namespace != namespace || s.Name != b.Name || b.RoleRef.Name != b.Name {
			t.Errorf("binding %s: role %s for %v", b.Name, b.RoleRef.Name, b.Subjects)
		}
	}
}

// TestGossipSecretSaysNothingOfItsData: what the controller fills in is no difference to what was applied, so that
// applying again, or a GitOps tool, leaves it alone.
func TestGossipSecretSaysNothingOfItsData(t *testing.T) {
	s := one[*corev1.Secret](t)
	if s.Name != "clarion-gossip" || s.Data != nil || s.StringData != nil || s.Immutable != nil {
		t.Errorf("Secret %s: data %v, immutable %v", s.Name, s.Data, s.Immutable)
	}
}

func TestRulesAreNarrow(t *testing.T) {
	rules := map[string][]rbacv1.PolicyRule{}
	for _, r := range all[*rbacv1.ClusterRole](t) {
		rules["cluster role "+r.Name] = r.Rules
	}
	for _, r := range all[*rbacv1.Role](t) {
		rules["role "+r.Name] = r.Rules
	}
	if len(rules) != 6 {
		t.Errorf("%d roles: is each of them looked at here?", len(rules))
	}
	for role, rules := range rules {
		for _, rule := range rules {
			if slices.Contains(rule.Verbs, "*") || slices.Contains(rule.Resources, "*") || slices.Contains(rule.APIGroups, "*") {
				t.Errorf("%s: a rule for everything: %v", role, rule)
			}
			for _, verb := range []string{"delete", "deletecollection", "escalate", "bind", "impersonate"} {
				if slices.Contains(rule.Verbs, verb) {
					t.Errorf("%s: may %s %v", role, verb, rule.Resources)
				}
			}
			core := slices.Contains(rule.APIGroups, "")
			if core && slices.Contains(rule.Resources, "secrets") {
				creates := slices.Equal(rule.Verbs, []string{"create"}) // which can't be limited by name
				if strings.HasPrefix(role, "cluster") || !creates && !slices.Equal(rule.ResourceNames, []string{"clarion-gossip"}) {
					t.Errorf("%s: may %v Secrets %v", role, rule.Verbs, rule.ResourceNames)
				}
			}
			writes := slices.ContainsFunc(rule.Verbs, func(v string) bool { return !slices.Contains([]string{"get", "list", "watch"}, v) })
			if core && writes {
				for _, resource := range rule.Resources {
					if !slices.Contains([]string{"services/status", "secrets"}, resource) {
						t.Errorf("%s: may %v %s", role, rule.Verbs, resource)
					}
				}
			}
		}
	}
}
