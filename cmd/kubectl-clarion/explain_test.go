package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller"
)

func TestWhomTheControllerServesIsReadFromItsCommandLine(t *testing.T) {
	with := func(args ...string) *appsv1.Deployment {
		return &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Args: args}}}}}}
	}
	for _, row := range []struct {
		name      string
		from      *appsv1.Deployment
		classes   []string
		unclassed bool
	}{
		{"nothing is said", &appsv1.Deployment{}, []string{v1beta1.DefaultLoadBalancerClass}, true},
		{"other flags", with("--mode=active", "--workers", "8"), []string{v1beta1.DefaultLoadBalancerClass}, true},
		{"as the chart has it", with("--log-level=info", "--load-balancer-classes=a.example/x,b.example/y", "--serve-unclassed-services=false"), []string{"a.example/x", "b.example/y"}, false},
		{"in two words", with("--load-balancer-classes", "a.example/x"), []string{"a.example/x"}, true},
	} {
		if got := classesOf(row.from); !slices.Equal(got.Classes, row.classes) || got.Unclassed != row.unclassed {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

// TestWhatPeopleMistypeIsNamedWithItsRemedy: the decision is the controller's, and so is the condition that follows from it.
func TestWhatPeopleMistypeIsNamedWithItsRemedy(t *testing.T) {
	type service = corev1.Service
	annotated := func(name, value string) func(*service, *controller.Seen) {
		return func(s *service, _ *controller.Seen) { s.Annotations[name] = value }
	}
	for name, row := range map[string]struct {
		mistyped       func(*service, *controller.Seen)
		decision, next string
	}{
		"a pool's name":                      {annotated(v1beta1.AnnotationAddressPool, "lann"), "PoolNotFound: pool lann is asked for", "correct the name. There are: lan."},
		"an address outside of all pools":    {func(s *service, _ *controller.Seen) { s.Spec.LoadBalancerIP = "203.0.113.1" }, "AddressNotInPool: 203.0.113.1", "Ask for an address of a pool"},
		"a range for an address":             {annotated(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.1-192.0.2.5"), "is no IP address: write one such as", "Write the value as the message says"},
		"a network for an address":           {annotated(v1beta1.AnnotationLoadBalancerIPs, "192.0.2.1/32"), "has a prefix length: write the address alone", "Write the value"},
		"a name for an address":              {func(s *service, _ *controller.Seen) { s.Spec.LoadBalancerIP = "web.example.com" }, `"web.example.com" is no IP address`, "Write the value"},
		"an annotation's name":               {annotated("clarion.dev/adress-pool", "lan"), "Assigned: 192.0.2.0 from pool lan", "No speaker has said anything of it"},
		"another provider's class":           {func(s *service, _ *controller.Seen) { c := "example.com/x"; s.Spec.LoadBalancerClass = &c }, "another provider's: its loadBalancerClass is example.com/x", "--load-balancer-classes"},
		"the type":                           {func(s *service, _ *controller.Seen) { s.Spec.Type = corev1.ServiceTypeExternalName }, "not a LoadBalancer: its type is ExternalName", "spec.type: LoadBalancer"},
		"a headless Service":                 {func(s *service, _ *controller.Seen) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "None", []string{"None"} }, "NoClusterIP", "Give the Service a cluster IP"},
		"an IPv6 address for a single stack": {annotated(v1beta1.AnnotationLoadBalancerIPs, "2001:db8::1"), "the Service is IPv4 only", "spec.ipFamilyPolicy"},
		"both families where no pool has both": {func(s *service, _ *controller.Seen) {
			policy := corev1.IPFamilyPolicyRequireDualStack
			s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
			s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, "fd00::1")
		}, "FamilyMismatch: no IPv6 address: lan", "add a pool of that family"},
		"a range's ends": {func(_ *service, seen *controller.Seen) {
			seen.Pools[0].Spec.Addresses = []v1beta1.AddressRange{"192.0.2.9-192.0.2.1"}
		}, "ends before it starts: write 192.0.2.1-192.0.2.9", "addresses that can't be read"},
		"a node's address": {func(s *service, seen *controller.Seen) {
			s.Spec.LoadBalancerIP = "192.0.2.7"
			seen.Nodes = []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n7"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}}}}
		}, "AddressExcluded: 192.0.2.7 is asked for, but it is an address of node n7", "Ask for another address"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", Annotations: map[string]string{}},
				Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1"},
					IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Port: 80}}}}
			lan := v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}}}
			seen := controller.Seen{Classes: v1beta1.ServiceClasses{Classes: []string{v1beta1.DefaultLoadBalancerClass}, Unclassed: true}, Now: time.Now(),
				Pools: []v1beta1.IPAddressPool{lan}, Services: []service{}, Namespaces: []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}}
			row.mistyped(&s, &seen)
			seen.Services = append(seen.Services, s)
			if seen.Served(&s) {
				d, status := seen.Explain(&s), metav1.ConditionFalse
				if d.Reason == v1beta1.ReasonAssigned {
					status = metav1.ConditionTrue
				}
				s.Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionAddressAssigned), Status: status, Reason: string(d.Reason), Message: d.Message}}
			}
			var e explanation
			e.fill(&s, seen)
			e.conclude()
			if !strings.Contains(e.Decision, row.decision) || !strings.Contains(e.Next, row.next) || e.Well {
				t.Errorf("%q, %q, want %q, %q", e.Decision, e.Next, row.decision, row.next)
			}
		})
	}
}
