package speaker

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/plan"
)

var allClasses = v1beta1.ServiceClasses{Classes: []string{v1beta1.DefaultLoadBalancerClass}, Unclassed: true}

// newService returns a Service that has addresses from pool "lan".
func newService(name string, addresses ...string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "uid-" + "1",
			Annotations: map[string]string{v1beta1.AnnotationAssignedFromPool: "lan"}},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	for _, a := range addresses {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	condition(s, v1beta1.ConditionAddressAssigned, metav1.ConditionTrue, v1beta1.ReasonAssigned)
	return s
}

func condition(s *corev1.Service, kind v1beta1.ConditionType, status metav1.ConditionStatus, reason v1beta1.Reason) {
	for i := range s.Status.Conditions {
		if c := &s.Status.Conditions[i]; c.Type == string(kind) {
			c.Status, c.Reason = status, string(reason)
			return
		}
	}
	s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: string(kind), Status: status, Reason: string(reason)})
}

// An address is announced when it bears our mark, and left alone when it does not.
func TestWhichAddressesAreOurs(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*corev1.Service)
		want   []assigned
	}{
		{"assigned by us", func(*corev1.Service) {}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}}},
		{"no condition: somebody else's", func(s *corev1.Service) { s.Status.Conditions = nil }, nil},
		{"no pool beside it: somebody else's", func(s *corev1.Service) { s.Annotations = nil }, nil},
		{"held by another", func(s *corev1.Service) {
			condition(s, v1beta1.ConditionAddressAssigned, metav1.ConditionFalse, v1beta1.ReasonHeldByAnother)
		}, nil},
		{"another writer keeps changing it", func(s *corev1.Service) {
			condition(s, v1beta1.ConditionAddressAssigned, metav1.ConditionFalse, v1beta1.ReasonAnotherWriter)
		}, nil},
		{"what it asks for now can't be had: it keeps what it has", func(s *corev1.Service) {
			condition(s, v1beta1.ConditionAddressAssigned, metav1.ConditionFalse, v1beta1.ReasonAddressInUse)
		}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}}},
		{"a change of what it asks for is being decided: it keeps what it has", func(s *corev1.Service) {
			condition(s, v1beta1.ConditionAddressAssigned, metav1.ConditionUnknown, v1beta1.ReasonPending)
		}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}}},
		{"two addresses from one pool", func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: "2001:db8::1"})
		}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}, {netip.MustParseAddr("2001:db8::1"), "lan"}}},
		{"two addresses from two pools", func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: "2001:db8::1"})
			s.Annotations[v1beta1.AnnotationAssignedFromPool] = "lan,six"
		}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}, {netip.MustParseAddr("2001:db8::1"), "six"}}},
		{"an address that another wrote beside ours is not ours", func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: "192.0.2.99"})
			s.Annotations[v1beta1.AnnotationAssignedFromPool] = "lan=192.0.2.1"
		}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}}},
		{"an address that another wrote in place of ours is not ours", func(s *corev1.Service) {
			s.Annotations[v1beta1.AnnotationAssignedFromPool] = "lan=192.0.2.2"
		}, nil},
		{"pools that do not fit the addresses are not believed", func(s *corev1.Service) {
			s.Annotations[v1beta1.AnnotationAssignedFromPool] = "lan,six"
		}, nil},
		{"a host name is no address", func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress[0] = corev1.LoadBalancerIngress{Hostname: "lb.example.com"}
		}, nil},
		{"an IPv4 address in IPv6 clothes is one", func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress[0].IP = "::ffff:192.0.2.1"
		}, []assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}}},
		{"another type of Service", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP }, nil},
		{"another class", func(s *corev1.Service) { other := "example.com/other"; s.Spec.LoadBalancerClass = &other }, nil},
		{"our class", func(s *corev1.Service) { ours := v1beta1.DefaultLoadBalancerClass; s.Spec.LoadBalancerClass = &ours },
			[]assigned{{netip.MustParseAddr("192.0.2.1"), "lan"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := newService("web", "192.0.2.1")
			row.change(o)
			var got []assigned
			if converted := serviceOf(o, allClasses); converted != nil {
				got = converted.addresses
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("addresses %v, want %v", got, row.want)
			}
		})
	}
}

func TestServiceOf(t *testing.T) {
	o := newService("web", "192.0.2.1")
	o.Labels = map[string]string{"public": ""}
	o.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	condition(o, v1beta1.ConditionAnnounced, metav1.ConditionFalse, v1beta1.ReasonNoEndpoint)
	s := serviceOf(o, allClasses)
	if !s.plan.Local || s.plan.Name != "default/web" || s.uid != o.UID || s.announced == nil || s.announced.Reason != "NoEndpoint" {
		t.Errorf("converted to %+v, %+v", s, s.plan)
	}
	if _, ok := s.plan.Labels["public"]; !ok {
		t.Errorf("labels %v", s.plan.Labels)
	}
}

// What caches hold in the place of objects is what they ask about: namespace, name and version.
func TestWhatACacheKeepsHasNameAndVersion(t *testing.T) {
	o := newService("web", "192.0.2.1")
	o.ResourceVersion = "7"
	transform := keepServices(allClasses)
	in, err := transform(o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := transform(in)
	if err != nil || again != in {
		t.Errorf("what is kept was changed: %v, %v", again, err)
	}
	m, err := meta.Accessor(in)
	if err != nil {
		t.Fatal(err)
	}
	if m.GetNamespace() != "default" || m.GetName() != "web" || m.GetResourceVersion() != "7" || m.GetUID() != "" || m.GetDeletionTimestamp() != nil {
		t.Errorf("kept %+v", in)
	}
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(in); key != "default/web" {
		t.Errorf("key %q, %v", key, err)
	}

	f, c := newFeed(), newCluster()
	h := keptHandler(f, func(key types.NamespacedName, s *service) func(*cluster) {
		return func(c *cluster) { c.setService(key, s) }
	})
	take := func() {
		for _, do := range f.take() {
			do(c)
		}
	}
	h.OnAdd(in, true)
	take()
	if c.services[webKey] == nil {
		t.Error("the loop was not told")
	}
	h.OnDelete(cache.DeletedFinalStateUnknown{Key: "default/web", Obj: in})
	take()
	if c.services[webKey] != nil {
		t.Error("the loop was not told that it is gone")
	}
}

func ptr[T any](v T) *T { return &v }

func TestSliceOf(t *testing.T) {
	ready := discoveryv1.EndpointConditions{Ready: ptr(true)}
	unready := discoveryv1.EndpointConditions{Ready: ptr(false)}
	for _, row := range []struct {
		name      string
		endpoints []discoveryv1.Endpoint
		want      plan.Endpoints
	}{
		{"ready", []discoveryv1.Endpoint{{NodeName: ptr("a"), Conditions: ready}},
			plan.Endpoints{"a": {Ready: true}}},
		{"not ready", []discoveryv1.Endpoint{{NodeName: ptr("a"), Conditions: unready}},
			plan.Endpoints{"a": {}}},
		{"without a word on it, it is ready", []discoveryv1.Endpoint{{NodeName: ptr("a")}},
			plan.Endpoints{"a": {Ready: true}}},
		{"terminating and still serving", []discoveryv1.Endpoint{{NodeName: ptr("a"),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(true), Terminating: ptr(true)}}},
			plan.Endpoints{"a": {ServingTerminating: true}}},
		{"terminating and not serving any more", []discoveryv1.Endpoint{{NodeName: ptr("a"),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(false), Terminating: ptr(true)}}},
			plan.Endpoints{"a": {}}},
		{"one ready and one not on the same node", []discoveryv1.Endpoint{{NodeName: ptr("a"), Conditions: unready}, {NodeName: ptr("a"), Conditions: ready}},
			plan.Endpoints{"a": {Ready: true}}},
		{"on no node", []discoveryv1.Endpoint{{Conditions: ready}},
			plan.Endpoints{"": {Ready: true}}},
		{"none", nil, plan.Endpoints{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := &discoveryv1.EndpointSlice{
				ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
				AddressType: discoveryv1.AddressTypeIPv6, Endpoints: row.endpoints}
			got := sliceOf(o)
			if !reflect.DeepEqual(got.endpoints, row.want) || got.family != layer2.IPv6 || got.service.String() != "default/web" {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
	for _, row := range []struct {
		name string
		o    *discoveryv1.EndpointSlice
	}{
		{"of no Service", &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}},
		{"of host names", &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeFQDN,
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := sliceOf(row.o); got != nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestNodeOf(t *testing.T) {
	o := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "u", Labels: map[string]string{"edge": ""}},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, {Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue}, {Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.1"}, {Type: corev1.NodeInternalIP, Address: "2001:db8::1"}, {Type: corev1.NodeExternalIP, Address: "192.0.2.1"}},
		},
	}
	trimmed, err := trimNode(o)
	if err != nil {
		t.Fatal(err)
	}
	n := nodeOf(trimmed.(*corev1.Node))
	if n.uid != "u" || n.plan.Signals != 0 || !n.plan.NetworkUnavailable || n.plan.Name != "a" ||
		n.reachedAt(netip.MustParseAddr("10.0.0.9")) != netip.MustParseAddr("10.0.0.1") ||
		n.reachedAt(netip.MustParseAddr("::1")) != netip.MustParseAddr("2001:db8::1") {
		t.Errorf("got %+v", n)
	}
	for _, status := range []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionUnknown} {
		o.Status.Conditions[0].Status = status
		if nodeOf(o).plan.Signals&plan.NotReady == 0 {
			t.Errorf("Ready is %s, and that counts as ready", status)
		}
	}
}

func TestWhatSpeaksAgainstANode(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*corev1.Node)
		want   plan.Signals
	}{
		{"nothing", func(*corev1.Node) {}, 0},
		{"cordoned", func(n *corev1.Node) { n.Spec.Unschedulable = true }, plan.Cordoned},
		{"drained, whatever the label says", func(n *corev1.Node) { n.Labels = map[string]string{"clarion.dev/drain": "no"} }, plan.Draining},
		{"the autoscaler's taint", func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "other"}, {Key: "ToBeDeletedByClusterAutoscaler", Value: "1700000000", Effect: corev1.TaintEffectNoSchedule}}
		}, plan.BeingRemoved},
		{"out of service", func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "node.kubernetes.io/out-of-service", Value: "nodeshutdown", Effect: corev1.TaintEffectNoExecute}}
		}, plan.OutOfService},
		{"a node that has said nothing yet", func(n *corev1.Node) { n.Status.Conditions = nil }, plan.NotReady},
	} {
		o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
		row.change(o)
		trimmed, err := trimNode(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := nodeOf(trimmed.(*corev1.Node)).plan.Signals; got != row.want {
			t.Errorf("%s: %07b, want %07b", row.name, got, row.want)
		}
	}
}

func TestSettingsOf(t *testing.T) {
	never := plan.DefaultSettings
	never.Failback, never.Conflicts = v1beta1.FailbackNever, v1beta1.ConflictOff
	later := plan.DefaultSettings
	later.After = time.Minute
	for _, row := range []struct {
		name string
		spec v1beta1.L2AdvertisementSpec
		want plan.Settings
	}{
		{"none set", v1beta1.L2AdvertisementSpec{}, plan.DefaultSettings},
		{"all set", v1beta1.L2AdvertisementSpec{Failback: &v1beta1.Failback{Policy: v1beta1.FailbackNever}, ConflictDetection: v1beta1.ConflictOff}, never},
		{"later", v1beta1.L2AdvertisementSpec{Failback: &v1beta1.Failback{After: &metav1.Duration{Duration: time.Minute}}}, later},
		{"words of a later version", v1beta1.L2AdvertisementSpec{Failback: &v1beta1.Failback{Policy: "OnFullMoon"}, ConflictDetection: "Duel"}, plan.DefaultSettings},
	} {
		if got := settingsOf(row.spec); got != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}

func TestAdvertisementOf(t *testing.T) {
	pools := map[string]map[string]string{"lan": {"zone": "in"}, "dmz": {"zone": "out"}}
	poolLabels := func(pool string) map[string]string { return pools[pool] }
	ad, err := advertisementOf(&v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: v1beta1.L2AdvertisementSpec{
		IPAddressPoolSelectors: []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"zone": "out"}}},
		NodeSelectors:          []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"edge": ""}}},
		Interfaces:             []v1beta1.InterfaceGlob{"eth*"},
	}}, poolLabels)
	if err != nil {
		t.Fatal(err)
	}
	if ad.Pools("lan") || !ad.Pools("dmz") || ad.Pools("gone") || ad.Nodes(nil) || !ad.Nodes(map[string]string{"edge": ""}) ||
		!ad.Services(nil) || !ad.Interfaces("eth1") || ad.Interfaces("bond0") {
		t.Error("selects something else")
	}
	pools["lan"]["zone"] = "out" // labels are asked for when they are needed
	if !ad.Pools("lan") {
		t.Error("does not see a pool's new labels")
	}

	all, err := advertisementOf(&v1beta1.L2Advertisement{}, poolLabels)
	if err != nil {
		t.Fatal(err)
	}
	if !all.Pools("lan") || !all.Pools("gone") || all.Interfaces != nil {
		t.Error("an empty advertisement does not cover all pools on-link")
	}
	if _, err := advertisementOf(&v1beta1.L2Advertisement{Spec: v1beta1.L2AdvertisementSpec{
		NodeSelectors: []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{"not a key": ""}}}}}, poolLabels); err == nil {
		t.Error("a selector that can't be read is taken")
	}
}

func TestLinksGoThrough(t *testing.T) {
	links := []layer2.Link{{Name: "eth0", HardwareAddr: layer2.MAC{2, 0, 0, 0, 0, 1}, Up: true,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, LinkLocal: netip.MustParseAddr("fe80::1")}}
	told := gossipLinks(links)
	if want := (gossip.Link{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Up: true, Prefixes: links[0].Prefixes, LinkLocal: links[0].LinkLocal}); !told[0].Equal(want) {
		t.Errorf("told %+v", told)
	}
	told[0].DeafIPv6 = true
	if got, want := planLinks(told), []plan.Link{{Name: "eth0", Up: true, Prefixes: links[0].Prefixes, DeafIPv6: true}}; !reflect.DeepEqual(got, want) {
		t.Errorf("planned with %+v", got)
	}
}
