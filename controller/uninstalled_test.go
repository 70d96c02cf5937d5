package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func TestUninstalledServicesSayThatAndKeepTheirAddresses(t *testing.T) {
	service := func(name string, conditions ...metav1.Condition) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		s.Status.Conditions = conditions
		return s
	}
	assigned := metav1.Condition{Type: string(clarion.ConditionAddressAssigned), Status: metav1.ConditionTrue, Reason: string(clarion.ReasonAssigned)}
	announced := metav1.Condition{Type: string(clarion.ConditionAnnounced), Status: metav1.ConditionTrue, Reason: string(clarion.ReasonAnnounced)}
	other := metav1.Condition{Type: "example.com/Ready", Status: metav1.ConditionTrue, Reason: "Ready"}
	writes, refuse := 0, ""
	c := fake.NewClientBuilder().WithScheme(scheme()).WithStatusSubresource(&corev1.Service{}).
		WithObjects(service("web", assigned, announced, other), service("waits", assigned), service("foreign", other), service("bare")).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if o.GetName() == refuse {
					return errors.New("refused")
				}
				writes++
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()

	refuse = "waits"
	if err := markUninstalled(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "waits") {
		t.Errorf("a write that failed: %v", err)
	}
	refuse = ""
	for range 2 {
		if err := markUninstalled(t.Context(), c, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	if writes != 2 {
		t.Errorf("%d writes for two Services", writes)
	}
	for name, want := range map[string]string{
		"web":     "clarion.dev/AddressAssigned=Unknown/Uninstalled clarion.dev/Announced=False/Uninstalled example.com/Ready=True/Ready",
		"waits":   "clarion.dev/AddressAssigned=Unknown/Uninstalled",
		"foreign": "example.com/Ready=True/Ready",
		"bare":    "",
	} {
		var s corev1.Service
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: name}, &s); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, kind := range []string{assigned.Type, announced.Type, other.Type} {
			for _, c := range s.Status.Conditions {
				if c.Type == kind {
					got = append(got, c.Type+"="+string(c.Status)+"/"+c.Reason)
				}
			}
		}
		if strings.Join(got, " ") != want || len(s.Status.LoadBalancer.Ingress) != 1 {
			t.Errorf("%s: %s with %v, want %s", name, got, s.Status.LoadBalancer.Ingress, want)
		}
	}
}
