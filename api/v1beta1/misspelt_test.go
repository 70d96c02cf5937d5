package v1beta1

import "testing"

func TestAMisspeltAnnotationIsKnownForWhatItIsMeantToBe(t *testing.T) {
	for name, want := range map[string]string{
		AnnotationAddressPool: "", AnnotationLoadBalancerIPs: "", "metallb.io/address-pool": "", AnnotationAssignedFromPool: "", AnnotationAnnounceFrom: "",
		"clarion.dev/adress-pool": AnnotationAddressPool, "clarion.dev/addresspool": AnnotationAddressPool, "clarion.dev/loadbalancerIPs": AnnotationLoadBalancerIPs,
		"clarion.dev/loadBalancerIP": AnnotationLoadBalancerIPs, "clarion.dev/allow-shared-ips": AnnotationAllowSharedIP,
		"metallb.io/loadBalancerIP": AnnotationLoadBalancerIPs, "metallb.universe.tf/adress-pool": AnnotationAddressPool,
		"metallb.io/ip-allocated-from-pool": "", // MetalLB's own
		"clarion.io/address-pool":           AnnotationAddressPool, "claron.dev/address-pool": AnnotationAddressPool,
		"example.com/address-pool": "", "address-pool": "", "": "", "clarion.dev/": AnnotationAddressPool,
	} {
		if got := Misspelt(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
