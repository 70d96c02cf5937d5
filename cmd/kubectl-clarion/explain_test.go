package main

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
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
