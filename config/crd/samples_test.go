package crd_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestSamplesApply(t *testing.T) {
	c := server(t)
	files, _ := filepath.Glob("../samples/*.yaml")
	seen := map[string]bool{}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		for _, o := range readObjects(t, file) {
			seen[o.GetKind()] = true
			if refusals := apply(t, c, o); len(refusals) > 0 {
				t.Errorf("%s: %s %s is refused: %v", file, o.GetKind(), o.GetName(), refusals)
			}
		}
	}
	for _, crd := range loadCRDs(t) {
		if kind := crd.Spec.Names.Kind; kind != "Speaker" && !seen[kind] {
			t.Errorf("there is no sample of a %s in config/samples", kind)
		}
	}
}

func TestDefaultsAreWhatTheDocsSay(t *testing.T) {
	c, ctx := server(t), context.Background()
	create := func(o client.Object) {
		t.Helper()
		o.SetName("defaults")
		if err := c.Create(ctx, o, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
	}
	pool := &v1beta1.IPAddressPool{Spec: v1beta1.IPAddressPoolSpec{
		Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}, ServiceAllocation: &v1beta1.ServiceAllocation{},
	}}
	create(pool)
	if s := pool.Spec; s.AutoAssign == nil || !*s.AutoAssign || s.AvoidBuggyIPs || s.Sharing != v1beta1.SharingNamespace ||
		s.Strategy != v1beta1.StrategyLowest || s.ServiceAllocation.Fallback != v1beta1.FallbackAllowed {
		t.Errorf("IPAddressPool: %+v", s)
	}
	l2 := &v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{Failback: &v1beta1.Failback{}}}
	create(l2)
	if s := l2.Spec; s.ConflictDetection != v1beta1.ConflictEnforce || s.Failback.Policy != v1beta1.FailbackDelayed {
		t.Errorf("L2Advertisement: %+v", s)
	}
	adv := &v1beta1.BGPAdvertisement{}
	create(adv)
	if s := adv.Spec; s.AggregationLength == nil || *s.AggregationLength != 32 || s.AggregationLengthV6 == nil || *s.AggregationLengthV6 != 128 {
		t.Errorf("BGPAdvertisement: %+v", s)
	}
	asn := v1beta1.ASN(64500)
	peer := &v1beta1.BGPPeer{Spec: v1beta1.BGPPeerSpec{MyASN: 64512, PeerASN: &asn, PeerAddress: "192.0.2.1", TTLSecurity: &v1beta1.TTLSecurity{}}}
	create(peer)
	if s := peer.Spec; s.PeerPort != 179 || s.TTLSecurity.MaxHops != 1 {
		t.Errorf("BGPPeer: %+v", s)
	}
	bfd := &v1beta1.BFDProfile{}
	create(bfd)
	if s := bfd.Spec; *s.ReceiveInterval != 300 || *s.TransmitInterval != 300 || *s.DetectMultiplier != 3 || *s.MinimumTTL != 254 {
		t.Errorf("BFDProfile: %+v", s)
	}
}

// What the Go types write, the API server takes; and an object that no controller has seen says so.
func TestAnObjectThatNobodyReconcilesSaysSo(t *testing.T) {
	c, ctx := server(t), context.Background()
	asn := v1beta1.ASN(4294967295)
	objects := []client.Object{
		&v1beta1.IPAddressPool{Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}}},
		&v1beta1.L2Advertisement{},
		&v1beta1.BGPAdvertisement{},
		&v1beta1.BGPPeer{Spec: v1beta1.BGPPeerSpec{MyASN: 64512, PeerASN: &asn, PeerAddress: "192.0.2.1"}},
		&v1beta1.BFDProfile{},
		&v1beta1.Community{Spec: v1beta1.CommunitySpec{Communities: []v1beta1.CommunityAlias{{Name: "a", Value: "1:2"}}}},
		&v1beta1.Speaker{},
	}
	for _, o := range objects {
		o.SetName("new")
		if err := c.Create(ctx, o); err != nil {
			t.Fatalf("%T: %v", o, err)
		}
		t.Cleanup(func() {
			if err := c.Delete(ctx, o); err != nil {
				t.Errorf("%T: %v", o, err)
			}
		})
		conditions := conditionsOf(t, o)
		ready := meta.FindStatusCondition(*conditions, string(v1beta1.ConditionReady))
		if ready == nil || ready.Status != metav1.ConditionUnknown || ready.Reason != string(v1beta1.ReasonPending) {
			t.Errorf("a new %T has the condition %+v", o, ready)
		}
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: string(v1beta1.ConditionReady), Status: metav1.ConditionTrue, Reason: string(v1beta1.ReasonAccepted), ObservedGeneration: o.GetGeneration(),
		})
		if err := c.Status().Update(ctx, o); err != nil {
			t.Errorf("%T: %v", o, err)
		}
		if !meta.IsStatusConditionTrue(*conditionsOf(t, o), string(v1beta1.ConditionReady)) {
			t.Errorf("%T does not keep its status", o)
		}
	}
}

func conditionsOf(t *testing.T, o client.Object) *[]metav1.Condition {
	t.Helper()
	switch o := o.(type) {
	case *v1beta1.IPAddressPool:
		return &o.Status.Conditions
	case *v1beta1.L2Advertisement:
		return &o.Status.Conditions
	case *v1beta1.BGPAdvertisement:
		return &o.Status.Conditions
	case *v1beta1.BGPPeer:
		return &o.Status.Conditions
	case *v1beta1.BFDProfile:
		return &o.Status.Conditions
	case *v1beta1.Community:
		return &o.Status.Conditions
	case *v1beta1.Speaker:
		return &o.Status.Conditions
	}
	t.Fatalf("%T has no conditions", o)
	return nil
}

// A misspelt field is refused by kubectl apply, which asks for strict validation; a client that asks for
// less has it dropped, and is warned unless it asks for nothing at all (docs/reference/api.md).
func TestAMisspeltFieldIsRefusedOnlyWhenStrict(t *testing.T) {
	c := server(t)
	misspelt := object(t, "IPAddressPool", "{addresses: [192.0.2.0/24], autoassign: false}")
	if refusals := apply(t, c, misspelt); len(refusals) != 1 || !strings.Contains(refusals[0].message, `unknown field "spec.autoassign"`) {
		t.Errorf("strict: %v", refusals)
	}
	for _, mode := range []string{metav1.FieldValidationWarn, metav1.FieldValidationIgnore} {
		o := misspelt.DeepCopy()
		if err := c.Create(context.Background(), o, client.DryRunAll, client.FieldValidation(mode)); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if _, kept := o.Object["spec"].(map[string]any)["autoassign"]; kept {
			t.Errorf("%s keeps a field that nobody reads", mode)
		}
	}
}

// Server-side apply merges lists by their type: two managers of one pool add addresses to the same set.
func TestTwoManagersUniteTheirAddresses(t *testing.T) {
	c, ctx := server(t), context.Background()
	for _, manager := range []struct{ name, address string }{{"network-team", "192.0.2.0/25"}, {"lab-team", "192.0.2.128/25"}} {
		o := object(t, "IPAddressPool", "addresses: ["+manager.address+"]")
		o.SetName("united")
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(manager.name)); err != nil {
			t.Fatal(err)
		}
	}
	pool := &v1beta1.IPAddressPool{}
	if err := c.Get(ctx, types.NamespacedName{Name: "united"}, pool); err != nil {
		t.Fatal(err)
	}
	if want := []v1beta1.AddressRange{"192.0.2.0/25", "192.0.2.128/25"}; !slices.Equal(pool.Spec.Addresses, want) {
		t.Errorf("the pool has %v, want %v", pool.Spec.Addresses, want)
	}
	if err := c.Delete(ctx, pool); err != nil {
		t.Error(err)
	}
}
