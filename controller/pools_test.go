package controller

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

func somePool(addresses ...string) *clarion.IPAddressPool {
	p := &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lab", Generation: 3}}
	for _, a := range addresses {
		p.Spec.Addresses = append(p.Spec.Addresses, clarion.AddressRange(a))
	}
	return p
}

func TestReadingAPool(t *testing.T) {
	p := somePool("192.0.2.0/24")
	if got := poolOf(p); !got.AutoAssign || got.For != nil || got.Random || got.PerNamespace != 0 || got.Invalid != "" || len(got.Ranges) != 1 {
		t.Errorf("the defaults: %+v", got)
	}
	no, four := false, int32(4)
	p.Spec.AutoAssign, p.Spec.AvoidBuggyIPs, p.Spec.Strategy = &no, true, clarion.StrategyRandom
	p.Spec.Quota = &clarion.PoolQuota{PerNamespace: &four}
	p.Spec.ExcludeAddresses = []clarion.AddressRange{"192.0.2.9"}
	p.Spec.ServiceAllocation = &clarion.ServiceAllocation{
		Priority:         7,
		Namespaces:       []clarion.NamespaceName{"team-a"},
		ServiceSelectors: []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{"tier": "gold"}}},
		Fallback:         clarion.FallbackDenied,
	}
	now := metav1.Now()
	p.DeletionTimestamp = &now
	p.Annotations = map[string]string{clarion.AnnotationReleaseOrphans: "true"}
	got := poolOf(p)
	if got.AutoAssign || !got.AvoidBuggyIPs || !got.Random || got.PerNamespace != 4 || len(got.Exclude) != 1 || !got.Deleting || !got.ReleaseOrphans {
		t.Errorf("with everything set: %+v", got)
	}
	a := got.For
	if a.Priority != 7 || !a.Exclusive || !a.Namespace("team-a", nil) || a.Namespace("team-b", nil) ||
		!a.Service(map[string]string{"tier": "gold"}) || a.Service(nil) {
		t.Errorf("its audience: %+v", a)
	}
	for _, bad := range []*clarion.IPAddressPool{
		somePool("192.0.2.9-192.0.2.1"), somePool("192.0.2.0/24", "192.0.2.128/25"), somePool("lots"), somePool(),
	} {
		if got := poolOf(bad); got.Invalid == "" || len(got.Ranges) != 0 {
			t.Errorf("%q is read as %+v", bad.Spec.Addresses, got)
		}
		bad.Spec.ServiceAllocation = p.Spec.ServiceAllocation
		if got := poolOf(bad); got.Invalid == "" || got.For == nil || !got.For.Exclusive || !got.For.Namespace("team-a", nil) {
			t.Errorf("%q forgets whom it keeps from other pools: %+v", bad.Spec.Addresses, got)
		}
	}
}

func TestWhatAPoolTells(t *testing.T) {
	a := ipam.New()
	old := ipam.Pool{Name: "old", Ranges: poolOf(somePool("192.0.2.0/25")).Ranges, Created: time.Unix(1, 0)}
	p := somePool("192.0.2.0/24", "2001:db8::/64")
	pool := poolOf(p)
	pool.Created = time.Unix(2, 0)
	a.SetPools([]ipam.Pool{old, pool})
	a.Assign(ipam.Request{Service: ipam.Key{Namespace: "default", Name: "s"}, Families: []ipam.Family{ipam.IPv6}})
	u, _ := a.Usage("lab")
	s := poolStatus(p, u, a.Condition("lab"), noon)
	if s.Usage != "0/128, 1/2^64" || s.IPv4.Capacity != "128" || s.IPv6.Available != "18446744073709551615" || s.IPv6.Assigned != 1 {
		t.Errorf("the numbers: %+v %+v %q", s.IPv4, s.IPv6, s.Usage)
	}
	has := func(kind, reason, says string) {
		t.Helper()
		c := meta.FindStatusCondition(s.Conditions, kind)
		if c == nil || c.Reason != reason || !strings.Contains(c.Message, says) || c.ObservedGeneration != 3 {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	has("Ready", "Accepted", "gives out")
	has("Overlapping", "OlderPoolHolds", "old")

	// What is over is not told any more.
	p.Status = s
	u, _ = a.Usage("lab")
	s = poolStatus(p, u, ipam.Condition{}, noon)
	if len(s.Conditions) != 1 {
		t.Errorf("conditions %+v", s.Conditions)
	}
	p.Status = s
	if _, changed := statusPatch(p, s, poolStatus(p, u, ipam.Condition{}, noon.Add(time.Hour))); changed {
		t.Error("the same is written again")
	}

	// Addresses that it does not cover any more.
	pool.Ranges = poolOf(somePool("198.51.100.0/24")).Ranges
	a.SetPools([]ipam.Pool{pool})
	u, _ = a.Usage("lab")
	s = poolStatus(p, u, a.Condition("lab"), noon)
	has("Orphans", "HeldOutsidePool", "(1)")
	if s.Usage != "0/256, 1/0" {
		t.Errorf("usage %q", s.Usage)
	}
	now := metav1.NewTime(noon)
	p.DeletionTimestamp = &now
	s = poolStatus(p, u, a.Condition("lab"), noon)
	has("Ready", "PoolDeleting", "gives out nothing new")
	has("Ready", "PoolDeleting", "annotate it with clarion.dev/release-orphans=true")

	// Nothing is left of what it lists.
	p = somePool("192.0.2.0/32")
	p.Spec.AvoidBuggyIPs = true
	a.SetPools([]ipam.Pool{poolOf(p)})
	u, _ = a.Usage("lab")
	s = poolStatus(p, u, a.Condition("lab"), noon)
	has("Ready", "Accepted", "has no address to give out")
}

func TestJudgingL2Advertisements(t *testing.T) {
	pools := []clarion.IPAddressPool{{ObjectMeta: metav1.ObjectMeta{Name: "lab", Labels: map[string]string{"net": "lan"}}}}
	nodes := []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"rack": "a"}}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}}}
	with := func(key, value string) []clarion.LabelSelector {
		return []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{key: clarion.LabelValue(value)}}}
	}
	for name, tc := range map[string]struct {
		spec clarion.L2AdvertisementSpec
		want string
	}{
		"for all pools": {clarion.L2AdvertisementSpec{}, "Ready True Accepted"},
		"for one":       {clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lab"}}, "Ready True Accepted"},
		"for one and one that is not there": {
			clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lab", "gone"}},
			"Ready True Accepted, UnknownName True PoolNotFound",
		},
		"for one that is not there": {
			clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"gone"}},
			"Ready False PoolNotFound, UnknownName True PoolNotFound",
		},
		"for one that is not there, and by labels": {
			clarion.L2AdvertisementSpec{
				IPAddressPools: []clarion.ObjectName{"gone"}, IPAddressPoolSelectors: []clarion.LabelSelector{{}},
			},
			"Ready True Accepted, UnknownName True PoolNotFound",
		},
		"with a selector that can't be read": {
			clarion.L2AdvertisementSpec{NodeSelectors: []clarion.LabelSelector{{
				MatchExpressions: []clarion.LabelSelectorRequirement{{Key: "a", Operator: "Near"}},
			}}},
			"Ready False Invalid",
		},
		"for pools and nodes by labels that some have": {
			clarion.L2AdvertisementSpec{IPAddressPoolSelectors: with("net", "lan"), NodeSelectors: with("rack", "a")}, "Ready True Accepted",
		},
		"for pools by labels that none has": {
			clarion.L2AdvertisementSpec{IPAddressPoolSelectors: with("net", "wan")}, "Ready True Accepted, SelectsNothing True NothingMatches",
		},
		"for one, and by labels that none has": {
			clarion.L2AdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lab"}, IPAddressPoolSelectors: with("net", "wan")}, "Ready True Accepted",
		},
		"for nodes with labels that none has": {
			clarion.L2AdvertisementSpec{NodeSelectors: with("rack", "z")}, "Ready True Accepted, SelectsNothing True NothingMatches",
		},
		"with preferences, and failback in its time": {
			clarion.L2AdvertisementSpec{PreferredNodeSelectors: []clarion.PreferredNodeSelector{{Weight: 1}}, Failback: &clarion.Failback{Policy: clarion.FailbackNever}},
			"Ready True Accepted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var list []metav1.Condition
			judgeL2Advertisement(conditions{list: &list, now: noon}, &tc.spec, pools, nodes)
			var got []string
			for _, c := range list {
				got = append(got, c.Type+" "+string(c.Status)+" "+c.Reason)
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestReadingAService(t *testing.T) {
	s := bare()
	s.Spec.ClusterIPs = []string{"2001:db8:1::1", "10.96.0.1"}
	s.Annotations = map[string]string{
		clarion.AnnotationAddressPool: "lab", clarion.AnnotationLoadBalancerIPs: "192.0.2.1,2001:db8::1",
	}
	r := requestOf(s, map[string]string{"net": "public"})
	if len(r.Families) != 2 || r.Families[0] != ipam.IPv6 || r.Pool != "lab" || len(r.Addresses) != 2 ||
		r.Addresses[0] != netip.MustParseAddr("192.0.2.1") || r.NamespaceLabels["net"] != "public" || r.Unreadable != nil {
		t.Errorf("%+v", r)
	}
	s.Annotations["metallb.io/address-pool"] = "other"
	if r := requestOf(s, nil); r.Unreadable == nil || r.Unreadable.Reason != clarion.ReasonConflictingRequests {
		t.Errorf("%+v", r.Unreadable)
	}
	s.Spec.ClusterIPs = []string{"None"}
	if r := requestOf(s, nil); len(r.Families) != 0 {
		t.Errorf("families of a headless Service: %v", r.Families)
	}
}

// poolServer has one pool, and an API server that notes what is written to it.
type poolServer struct {
	pool   *clarion.IPAddressPool
	writes []string
}

// serverCache and serverClient are the ways to it.
type (
	serverCache struct {
		cache.Cache
		*poolServer
	}
	serverClient struct {
		client.Client
		*poolServer
	}
)

func (p serverCache) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	p.pool.DeepCopyInto(o.(*clarion.IPAddressPool))
	return nil
}

func (p serverClient) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	p.writes = append(p.writes, "pool")
	p.pool.Finalizers = []string{clarion.FinalizerAddressesInUse}
	return nil
}

func (p serverClient) Status() client.SubResourceWriter {
	return poolStatusWriter{server: p.poolServer}
}

type poolStatusWriter struct {
	client.SubResourceWriter
	server *poolServer
}

func (w poolStatusWriter) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	w.server.writes = append(w.server.writes, "status")
	return nil
}

// The status is written under a resourceVersion, which is another one once the finalizer is written.
func TestAPoolsStatusIsWrittenAfterItsFinalizerHasCome(t *testing.T) {
	server := &poolServer{pool: somePool("192.0.2.0/29")}
	tm := termWith(&cluster{cache: serverCache{poolServer: server}, client: serverClient{poolServer: server}}, poolOf(server.pool))
	tm.poolGens["lab"] = versionOf(server.pool)
	tm.ledger.Assign(ipam.Request{Service: ipam.Key{Namespace: "default", Name: "s"}, Families: []ipam.Family{ipam.IPv4}})
	for _, want := range []string{"pool", "pool status"} {
		if err := tm.reconcilePool(t.Context(), "lab"); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(server.writes, " "); got != want {
			t.Errorf("written: %q, want %q", got, want)
		}
	}
}
