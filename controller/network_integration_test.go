package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// node makes a Node with addresses, and its Speaker, which has seen networks and gateways.
func (w *world) node(name string, addresses, onLink, gateways []string) {
	w.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: "10.244.7.0/24", PodCIDRs: []string{"10.244.7.0/24"}}}
	w.must(w.Create(w.ctx, n))
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	w.must(w.Status().Update(w.ctx, n))
	s := &clarion.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	w.must(w.Create(w.ctx, s))
	s.Status.Network = &clarion.SpeakerNetwork{OnLink: onLink, Gateways: gateways}
	w.must(w.Status().Update(w.ctx, s))
}

func TestAddressesThatTheNodesNetworkNeedsAreNotGivenOut(t *testing.T) {
	w := newWorld(t)
	w.node("a", []string{"192.0.2.2", "2001:db8::2"}, []string{"192.0.2.0/29", "2001:db8::/64", "10.244.7.0/24"}, []string{"192.0.2.1"})
	w.pool("lan", "192.0.2.0/29 2001:db8::/126")
	w.pool("pods", "10.244.7.0/32")
	w.start()
	w.poolTells("lan", "0/4, 0/2", "Ready True Accepted", "AddressesSkipped True NeverGivenOut",
		"192.0.2.0 (the network address of 192.0.2.0/29, which nodes are on)", "192.0.2.1 (a gateway of nodes)",
		"192.0.2.2 (an address of node a)", "192.0.2.7 (the broadcast address of 192.0.2.0/29, which nodes are on)",
		"2001:db8:: (the routers' anycast address", "2001:db8::2 (an address of node a)")
	w.poolTells("pods", "0/1") // behind a Node, not where Nodes are

	w.service("s", families(corev1.IPFamilyPolicyRequireDualStack, v4, v6), annotated(clarion.AnnotationAddressPool, "lan"))
	w.sees("s", "192.0.2.3 2001:db8::1 True Assigned")
	w.service("asks", annotated(clarion.AnnotationLoadBalancerIPs, "192.0.2.2"))
	w.sees("asks", "False AddressExcluded")

	// A Node comes that has the address of a live Service: it keeps it, and the operator is told.
	w.node("b", []string{"192.0.2.3", "192.0.2.4"}, nil, nil)
	w.poolTells("lan", "1/2, 1/2", "192.0.2.4 (an address of node b)", "Orphans True")
	w.sees("s", "192.0.2.3 2001:db8::1 True Assigned")
	w.service("next", annotated(clarion.AnnotationAddressPool, "lan"))
	w.sees("next", "192.0.2.5 True Assigned")

	// It goes, and its address is given out.
	w.must(w.Delete(w.ctx, &clarion.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "a"}}))
	w.must(w.Delete(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}))
	w.sees("asks", "192.0.2.2 True Assigned")
}
