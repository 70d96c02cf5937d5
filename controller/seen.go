package controller

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// Seen is all that decides who gets which address, as anybody can read it who may list these objects. It serves those who want to know
// what the controller decides, and why, without being the controller: they run the very same decisions.
type Seen struct {
	Services   []corev1.Service
	Pools      []clarion.IPAddressPool
	Namespaces []corev1.Namespace
	Nodes      []corev1.Node
	Speakers   []clarion.Speaker
	// Classes are those of the Services that Clarion serves.
	Classes clarion.ServiceClasses
	Now     time.Time
}

// Snapshot returns what is seen in the allocator's words.
func (s Seen) Snapshot() ipam.Snapshot {
	out := ipam.Snapshot{Now: s.Now, Others: map[ipam.Key][]netip.Addr{}, Resting: restsOf(s.Pools)}
	for i := range s.Pools {
		out.Pools = append(out.Pools, poolOf(&s.Pools[i]))
	}
	for _, n := range networkOf(s.Nodes, s.Speakers) {
		out.Reserved = append(out.Reserved, n.Reserved()...)
	}
	for i := range s.Services {
		service := &s.Services[i]
		r := requestOf(service, s.namespaceLabels(service.Namespace))
		switch sideOf(service, s.Classes) {
		case ours:
			out.Services = append(out.Services, r)
		case others:
			if r.Status.Pools != nil {
				out.Services = append(out.Services, r)
			} else {
				out.Others[r.Service] = r.Status.Addresses
			}
		}
	}
	return out
}

func (s Seen) namespaceLabels(name string) map[string]string {
	i := slices.IndexFunc(s.Namespaces, func(n corev1.Namespace) bool { return n.Name == name })
	if i < 0 {
		return map[string]string{}
	}
	if labels := s.Namespaces[i].Labels; labels != nil {
		return labels
	}
	return map[string]string{}
}

// Served reports whether a Service is one that Clarion serves.
func (s Seen) Served(service *corev1.Service) bool { return sideOf(service, s.Classes) == ours }

// Explain says what a Service would be told now, and why.
func (s Seen) Explain(service *corev1.Service) ipam.Decision {
	return s.Snapshot().Explain(requestOf(service, s.namespaceLabels(service.Namespace)))
}

// A Change is a Service that would not keep exactly the addresses that it has.
type Change struct {
	Service  ipam.Key
	Has      []netip.Addr
	Decision ipam.Decision
}

// Changes returns the Services that would be changed if a controller began with what is seen, in order. One that has nothing and would
// get something is not among them.
func (s Seen) Changes() []Change {
	snapshot := s.Snapshot()
	allocator := snapshot.Allocator()
	slices.SortFunc(snapshot.Services, func(a, b ipam.Request) int { return a.Service.Compare(b.Service) })
	var out []Change
	for _, r := range snapshot.Services {
		if len(r.Status.Addresses) == 0 {
			continue
		}
		d := allocator.Assign(r)
		keeps := len(d.Grants) == len(r.Status.Addresses)
		for i := 0; keeps && i < len(d.Grants); i++ {
			keeps = d.Grants[i].Address == r.Status.Addresses[i]
		}
		if !keeps {
			out = append(out, Change{Service: r.Service, Has: r.Status.Addresses, Decision: d})
		}
	}
	return out
}
