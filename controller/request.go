package controller

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// ourConditions are the conditions of Services that are Clarion's.
var ourConditions = []clarion.ConditionType{clarion.ConditionAddressAssigned, clarion.ConditionAnnounced}

func keyOf(s *corev1.Service) ipam.Key { return ipam.Key{Namespace: s.Namespace, Name: s.Name} }

// side says whose a Service is.
type side uint8

const (
	ours    side = iota // of type LoadBalancer and of a class that we serve
	others              // of type LoadBalancer and of another class
	nobodys             // of another type
)

func sideOf(s *corev1.Service, classes clarion.ServiceClasses) side {
	switch {
	case s.Spec.Type != corev1.ServiceTypeLoadBalancer:
		return nobodys
	case classes.Serves(s.Spec.LoadBalancerClass):
		return ours
	default:
		return others
	}
}

// marked reports whether a Service bears anything that Clarion wrote.
func marked(s *corev1.Service) bool {
	if _, ok := s.Annotations[clarion.AnnotationAssignedFromPool]; ok {
		return true
	}
	for _, kind := range ourConditions {
		if meta.FindStatusCondition(s.Status.Conditions, string(kind)) != nil {
			return true
		}
	}
	return false
}

// requestOf reads what is to be known of a Service to decide what it gets.
func requestOf(s *corev1.Service, namespaceLabels map[string]string) ipam.Request {
	r := ipam.Request{
		Service:         keyOf(s),
		Labels:          s.Labels,
		NamespaceLabels: namespaceLabels,
		Created:         s.CreationTimestamp.Time,
		Policy:          ipam.SingleStack,
		Local:           s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Selector:        s.Spec.Selector,
		Status:          statusOf(s),
	}
	if s.Spec.IPFamilyPolicy != nil {
		r.Policy = ipam.Policy(*s.Spec.IPFamilyPolicy)
	}
	for _, ip := range s.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(ip); err == nil { // "None" is none
			r.Families = append(r.Families, ipam.FamilyOf(a))
		}
	}
	for _, p := range s.Spec.Ports {
		r.Ports = append(r.Ports, ipam.Port{Protocol: string(p.Protocol), Port: uint16(p.Port)})
	}
	asked, err := clarion.ParseRequest(s.Annotations, s.Spec.LoadBalancerIP)
	if err != nil {
		r.Unreadable = &ipam.Unreadable{Reason: clarion.ReasonInvalidRequest, Message: err.Error()}
		if e := (*clarion.RequestError)(nil); errors.As(err, &e) {
			r.Unreadable.Reason = e.Reason
		}
		return r
	}
	r.Addresses, r.Pool, r.SharingKey = asked.Addresses, asked.Pool, asked.SharingKey
	return r
}

// statusOf reads what a Service's status says that it holds.
func statusOf(s *corev1.Service) ipam.Status {
	var out ipam.Status
	for _, in := range s.Status.LoadBalancer.Ingress {
		a, err := netip.ParseAddr(in.IP)
		if err != nil || in.Hostname != "" {
			out.Unreadable = true
			continue
		}
		out.Addresses = append(out.Addresses, a.Unmap())
	}
	mark := clarion.MarkOf(s.Annotations, s.Status.Conditions)
	if out.Unreadable && !mark.NamesAddresses() {
		return out
	}
	if ours := mark.Ours(out.Addresses); len(ours) > 0 && (mark.NamesAddresses() || wroteAll(s, out.Addresses)) {
		out.Pools = make([]string, len(out.Addresses))
		for _, a := range ours {
			out.Pools[slices.Index(out.Addresses, a.Address)] = a.Pool
		}
	}
	return out
}

// wroteAll reports whether addresses are those that we wrote, where the mark beside them names pools alone. Our
// condition, which is written together with them, names each: an address that it does not name came later and from
// somebody else, though our marks still stand there.
func wroteAll(s *corev1.Service, addrs []netip.Addr) bool {
	c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned))
	if c == nil {
		return false
	}
	words := strings.FieldsFunc(c.Message, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !slices.Contains(words, a.String()) })
}
