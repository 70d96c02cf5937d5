package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// One function for each kind of object turns it into the few things that matter here. Two objects that
// convert alike are alike to the speaker, and a change that converts to no change costs nothing more.

// service is what matters of a Service that may have to be announced.
type service struct {
	key       types.NamespacedName
	uid       types.UID
	plan      *plan.Service
	addresses []assigned
	// healthPort is its healthCheckNodePort, 0 for none.
	healthPort uint16
	// from is the node that is to announce it, "" for whichever.
	from string
	// announced is the condition as it stands on the Service, nil for none.
	announced *metav1.Condition
}

// assigned is an address that Clarion assigned, and from which pool.
type assigned struct {
	address netip.Addr
	pool    string
}

// serviceOf returns nil for Services that have no address of ours.
func serviceOf(s *corev1.Service, classes v1beta1.ServiceClasses) *service {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || !classes.Serves(s.Spec.LoadBalancerClass) {
		return nil
	}
	addresses := assignedAddresses(s)
	if len(addresses) == 0 {
		return nil
	}
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
	out := &service{
		key:        key,
		uid:        s.UID,
		addresses:  addresses,
		healthPort: uint16(s.Spec.HealthCheckNodePort),
		from:       s.Annotations[v1beta1.AnnotationAnnounceFrom],
		plan: &plan.Service{
			Name:    key.String(),
			Created: s.CreationTimestamp.Time,
			Labels:  s.Labels,
			Local:   s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		},
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, string(v1beta1.ConditionAnnounced)); c != nil {
		copied := *c
		out.announced = &copied
	}
	return out
}

// assignedAddresses returns the addresses in a Service's status that bear Clarion's mark beside our condition. The condition need not be True, for a Service keeps what it has while what it asks for can't
// be had; but two of its reasons say that the addresses are not ours.
func assignedAddresses(s *corev1.Service) []assigned {
	switch c := meta.FindStatusCondition(s.Status.Conditions, string(v1beta1.ConditionAddressAssigned)); {
	case c == nil:
		return nil
	case v1beta1.Reason(c.Reason) == v1beta1.ReasonHeldByAnother, v1beta1.Reason(c.Reason) == v1beta1.ReasonAnotherWriter:
		return nil
	}
	var shows []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		a, err := netip.ParseAddr(in.IP)
		if err != nil && !v1beta1.MarkOf(s.Annotations, s.Status.Conditions).NamesAddresses() {
			return nil // which pool is which address's can't be told
		}
		if err == nil {
			shows = append(shows, a.Unmap())
		}
	}
	var out []assigned
	for _, a := range v1beta1.OurAddresses(s.Annotations, s.Status.Conditions, shows) {
		out = append(out, assigned{a.Address, a.Pool})
	}
	return out
}

// plannedAlike reports whether a change from s to t leaves every decision as it is.
func (s *service) plannedAlike(t *service) bool {
	return s.from == t.from && s.plan.Local == t.plan.Local && s.plan.Created.Equal(t.plan.Created) &&
		maps.Equal(s.plan.Labels, t.plan.Labels) && slices.Equal(s.addresses, t.addresses)
}

// slice is what matters of an EndpointSlice.
type slice struct {
	service   types.NamespacedName
	family    layer2.Family
	endpoints plan.Endpoints
}

// sliceOf returns nil for slices that say nothing about any Service's IP endpoints.
func sliceOf(s *discoveryv1.EndpointSlice) *slice {
	name := s.Labels[discoveryv1.LabelServiceName]
	if name == "" {
		return nil
	}
	out := &slice{service: types.NamespacedName{Namespace: s.Namespace, Name: name}, endpoints: plan.Endpoints{}}
	switch s.AddressType {
	case discoveryv1.AddressTypeIPv4:
		out.family = layer2.IPv4
	case discoveryv1.AddressTypeIPv6:
		out.family = layer2.IPv6
	default:
		return nil
	}
	for _, e := range s.Endpoints {
		node := ""
		if e.NodeName != nil {
			node = *e.NodeName
		}
		facts := out.endpoints[node]
		c := e.Conditions
		ready := c.Ready == nil || *c.Ready // unknown is to be taken as ready
		serving := c.Serving != nil && *c.Serving || c.Serving == nil && ready
		terminating := c.Terminating != nil && *c.Terminating
		facts.Ready = facts.Ready || ready
		facts.ServingTerminating = facts.ServingTerminating || serving && terminating
		out.endpoints[node] = facts
	}
	return out
}

func (s *slice) equal(t *slice) bool {
	return s.service == t.service && s.family == t.family && maps.Equal(s.endpoints, t.endpoints)
}

// node is what matters of a Node.
type node struct {
	uid       types.UID
	plan      plan.Node // without its speaker; Signals are those seen, not those that count
	addresses []netip.Addr
	// shuttingDown is whether the kubelet says that the node shuts down.
	shuttingDown bool
}

// shuttingDown is what the kubelet says in the condition Ready while the node shuts down.
const shuttingDown = "node is shutting down"

func nodeOf(n *corev1.Node) *node {
	out := &node{uid: n.UID, plan: plan.Node{Name: n.Name, Labels: n.Labels, Signals: plan.NotReady}}
	if n.Spec.Unschedulable {
		out.plan.Signals |= plan.Cordoned
	}
	if _, drained := n.Labels[v1beta1.LabelDrain]; drained {
		out.plan.Signals |= plan.Draining
	}
	for _, t := range n.Spec.Taints {
		switch t.Key {
		case v1beta1.TaintToBeDeleted:
			out.plan.Signals |= plan.BeingRemoved
		case v1beta1.TaintOutOfService:
			out.plan.Signals |= plan.OutOfService
		}
	}
	for _, c := range n.Status.Conditions {
		switch c.Type {
		case corev1.NodeReady:
			if c.Status == corev1.ConditionTrue {
				out.plan.Signals &^= plan.NotReady
			}
			out.shuttingDown = c.Status != corev1.ConditionTrue && strings.Contains(c.Message, shuttingDown)
		case corev1.NodeNetworkUnavailable:
			out.plan.NetworkUnavailable = c.Status == corev1.ConditionTrue
		}
	}
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			out.addresses = append(out.addresses, addr.Unmap())
		}
	}
	return out
}

func (n *node) equal(o *node) bool {
	return n.uid == o.uid && n.plan.Signals == o.plan.Signals && n.shuttingDown == o.shuttingDown && n.plan.NetworkUnavailable == o.plan.NetworkUnavailable &&
		maps.Equal(n.plan.Labels, o.plan.Labels) && slices.Equal(n.addresses, o.addresses)
}

// reachedAt returns the node's address in the family of bind, which all speakers have to share.
func (n *node) reachedAt(bind netip.Addr) netip.Addr {
	for _, a := range n.addresses {
		if a.Is4() == bind.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// advertisementOf compiles an L2Advertisement. The labels of pools are asked for when they are needed.
func advertisementOf(ad *v1beta1.L2Advertisement, poolLabels func(pool string) map[string]string) (*plan.Advertisement, error) {
	selection, err := ad.Spec.Selection()
	if err != nil {
		return nil, err
	}
	out := &plan.Advertisement{
		Name:     ad.Name,
		Pools:    func(pool string) bool { return selection.Pool(pool, poolLabels(pool)) },
		Services: selection.Service,
		Nodes:    selection.Node,
		Created:  ad.CreationTimestamp.Time,
		Settings: settingsOf(ad.Spec),
	}
	if spec := ad.Spec; len(spec.Interfaces) > 0 {
		out.Interfaces = spec.MatchesInterface
	}
	if len(ad.Spec.PreferredNodeSelectors) > 0 {
		out.Preference = selection.Preference
	}
	return out, nil
}

// settingsOf returns an advertisement's settings. What is not set, or of a later version of the API, is the default.
func settingsOf(spec v1beta1.L2AdvertisementSpec) plan.Settings {
	s := plan.DefaultSettings
	if f := spec.Failback; f != nil {
		switch f.Policy {
		case v1beta1.FailbackDelayed, v1beta1.FailbackImmediate, v1beta1.FailbackNever:
			s.Failback = f.Policy
		}
		if f.After != nil {
			s.After = f.After.Duration
		}
	}
	switch spec.ConflictDetection {
	case v1beta1.ConflictEnforce, v1beta1.ConflictReport, v1beta1.ConflictOff:
		s.Conflicts = spec.ConflictDetection
	}
	return s
}

// planLinks are a node's links as the plan needs them.
func planLinks(links []gossip.Link) []plan.Link {
	var out []plan.Link
	for _, l := range links {
		out = append(out, plan.Link{Name: l.Name, Up: l.Up, Prefixes: l.Prefixes, DeafIPv4: l.DeafIPv4, DeafIPv6: l.DeafIPv6})
	}
	return out
}

func gossipLinks(links []layer2.Link) []gossip.Link {
	var out []gossip.Link
	for _, l := range links {
		out = append(out, gossip.Link{Name: l.Name, MAC: l.HardwareAddr, Up: l.Up, Prefixes: l.Prefixes,
			Addresses: l.Addresses, LinkLocal: l.LinkLocal})
	}
	return out
}

// gossipAt returns the address to listen on for gossip, and the one that others should use if it is another. setting is what this speaker was
// told to listen on, and before what it does now: who takes the Node away has its addresses moved, and that is agreed on by gossip.
func (d *decider) gossipAt(setting netip.Addr, before gossip.Desired) (listen, advertise netip.Addr) {
	switch self := d.nodes[d.self]; {
	case self == nil || len(self.addresses) == 0:
		if before.Listen.IsValid() {
			return before.Listen.Addr(), before.Advertise
		}
		return setting, advertise
	case !setting.IsValid():
		return d.gossipAddress(self), advertise
	case setting.IsUnspecified():
		return setting, self.reachedAt(setting)
	}
	return setting, advertise
}

// gossipAddress returns the address of this node that gossip listens on: one of the family that most nodes come first with,
// among those that all have, so that all speakers use the same.
func (d *decider) gossipAddress(self *node) netip.Addr {
	all := map[bool]bool{true: true, false: true} // by whether it is IPv4
	first := map[bool]int{}
	for _, n := range d.nodes {
		if len(n.addresses) == 0 {
			continue
		}
		first[n.addresses[0].Is4()]++
		has := map[bool]bool{}
		for _, a := range n.addresses {
			has[a.Is4()] = true
		}
		all[true], all[false] = all[true] && has[true], all[false] && has[false]
	}
	want := self.addresses[0].Is4()
	switch {
	case all[true] && all[false]:
		want = first[true] >= first[false]
	case all[true]:
		want = true
	case all[false]:
		want = false
	}
	for _, a := range self.addresses {
		if a.Is4() == want {
			return a
		}
	}
	return self.addresses[0]
}
