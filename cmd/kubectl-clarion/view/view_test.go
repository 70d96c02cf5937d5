package view

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}
}

func isReady(status metav1.ConditionStatus, reason, message string) []metav1.Condition {
	return []metav1.Condition{condition(conditionReady, status, reason, message)}
}

func pool(name, capacity, available string, assigned int64) v1beta1.IPAddressPool {
	p := v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.0/24"}
	p.Status.IPv4 = &v1beta1.FamilyUsage{Capacity: capacity, Available: available, Assigned: assigned}
	p.Status.Usage = "used"
	p.Status.Conditions = isReady(metav1.ConditionTrue, "Ready", "")
	return p
}

func text(t *testing.T, table Table, s Style) string {
	t.Helper()
	var b strings.Builder
	if err := table.Print(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPoolsShowHowFullTheyAre(t *testing.T) {
	huge := pool("huge", "256", "256", 0)
	huge.Status.IPv6 = &v1beta1.FamilyUsage{Capacity: "18446744073709551616", Available: "18446744073709551615", Assigned: 1}
	unused := v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "new"}}
	got := text(t, Pools([]v1beta1.IPAddressPool{pool("half", "256", "128", 128), pool("full", "4", "0", 3), huge, unused}), Style{})
	want := `POOL   IPV4                                IPV6                               ASSIGNED   READY     MESSAGE
full   [####################]   100% of 4     -                                  3          True      
half   [##########..........]   50% of 256    -                                  128        True      
huge   [....................]   0% of 256     [#...................]   0% of 2^64   1          True      
new    -                                      -                                  0          Unknown   
`
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if wide := text(t, Pools([]v1beta1.IPAddressPool{huge}), Style{Wide: true}); !strings.Contains(wide, "192.0.2.0/24") {
		t.Errorf("wide:\n%s", wide)
	}
}

func TestAnEmptyTableSaysWhatThatMeans(t *testing.T) {
	for what, table := range map[string]Table{"IPAddressPool": Pools(nil), "Speaker": Speakers(now, nil), "BGPPeer": Peers(now, nil, nil)} {
		if got := text(t, table, Style{}); !strings.Contains(got, what) {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestColumnsStayInLineWithColors(t *testing.T) {
	table := Table{Columns: []Column{{Name: "A"}, {Name: "B"}}, Rows: [][]Cell{{Good.cell("yes"), cell("x")}, {Bad.cell("no"), cell("y")}}}
	got := text(t, table, Style{Color: true})
	plain := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[0m", "").Replace(got)
	if plain != text(t, table, Style{}) || plain == got {
		t.Errorf("got %q", got)
	}
}

func speaker(name string, up, wanted int32, sessions ...v1beta1.BGPSession) v1beta1.Speaker {
	s := v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Status.Conditions = isReady(metav1.ConditionTrue, "Ready", "")
	s.Status.Layer2 = &v1beta1.SpeakerLayer2{AddressesOwned: 3}
	s.Status.Membership = &v1beta1.SpeakerMembership{Alive: 2, Expected: 3}
	s.Status.BGP = &v1beta1.SpeakerBGP{SessionsUp: up, SessionsWanted: wanted, Sessions: sessions}
	return s
}

func TestPeersShowEverySessionAndThoseWithoutOne(t *testing.T) {
	down := v1beta1.BGPSession{Peer: "tor1", Address: "10.0.0.1", State: v1beta1.BGPActive, Since: metav1.NewTime(now.Add(-3 * time.Minute)), LastError: "connection refused"}
	up := v1beta1.BGPSession{Peer: "tor1", Address: "10.0.0.1", State: v1beta1.BGPEstablished, Since: metav1.NewTime(now.Add(-26 * time.Hour)), RoutesSent: 7}
	peers := []v1beta1.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor1"}}, {ObjectMeta: metav1.ObjectMeta{Name: "nobody"}, Spec: v1beta1.BGPPeerSpec{Interface: "eth1"}}}
	got := text(t, Peers(now, peers, []v1beta1.Speaker{speaker("b", 1, 1, up), speaker("a", 0, 1, down)}), Style{})
	for _, row := range []string{"tor1 a 10.0.0.1 Active 3m 0 connection refused", "tor1 b 10.0.0.1 Established 26h 7", "nobody - on eth1 - - - no node has a session"} {
		if !strings.Contains(strings.Join(strings.Fields(got), " "), row) {
			t.Errorf("no %q in\n%s", row, got)
		}
	}
}

func service(name string, conditions ...metav1.Condition) corev1.Service {
	s := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Status.Conditions = conditions
	return s
}

func TestASummaryTellsWhatNeedsLookingAt(t *testing.T) {
	replicas, duration := int32(2), int32(8)
	holder := "controller-1"
	good := Cluster{
		Controller: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas}, Status: appsv1.DeploymentStatus{ReadyReplicas: 2}},
		Lease: &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &duration,
			RenewTime: &metav1.MicroTime{Time: now.Add(-time.Second)}, AcquireTime: &metav1.MicroTime{Time: now.Add(-time.Hour)}}},
		Services: []corev1.Service{service("web", condition(string(v1beta1.ConditionAddressAssigned), metav1.ConditionTrue, "Assigned", ""),
			condition(string(v1beta1.ConditionAnnounced), metav1.ConditionTrue, "Announced", "")), service("anothers")},
		Pools:            []v1beta1.IPAddressPool{pool("lan", "256", "255", 1)},
		L2Advertisements: []v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Status: v1beta1.L2AdvertisementStatus{Conditions: isReady(metav1.ConditionTrue, "Ready", "")}}},
		Speakers:         []v1beta1.Speaker{speaker("a", 0, 0)},
		DaemonSet: &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "clarion-system", Name: "clarion-speaker"},
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 1, NumberReady: 1}},
	}
	s := Summarize(now, good)
	if !s.Healthy() || len(s.Findings) != 0 {
		t.Errorf("a cluster that is well: %+v", s.Findings)
	}
	var b strings.Builder
	if err := s.Print(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"2/2 replicas ready, controller-1 leads for 60m", "1 of 1 ready", "1: lan used", "1 served, 1 with their addresses, 1 announced"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}

	for name, test := range map[string]struct {
		breaks  func(*Cluster)
		finds   string
		serious bool
	}{
		"a Service waits": {func(c *Cluster) {
			c.Services = []corev1.Service{service("web", condition(string(v1beta1.ConditionAddressAssigned), metav1.ConditionFalse, "PoolExhausted", "lan is full"))}
		}, "Service/shop/web PoolExhausted: lan is full", true},
		"the leader is gone": {func(c *Cluster) {
			lease := *c.Lease
			lease.Spec.RenewTime = &metav1.MicroTime{Time: now.Add(-time.Minute)}
			c.Lease = &lease
		}, "controller-1 has not renewed it", true},
		"no controller runs": {func(c *Cluster) {
			c.Controller = &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas}}
		}, "no replica is ready", true},
		"a session is down": {func(c *Cluster) {
			c.Speakers = []v1beta1.Speaker{speaker("a", 0, 1, v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPActive, LastError: "wrong password"})}
		}, "BGPPeer/tor no session with a: wrong password → kubectl describe bgppeer tor", true},
		"sessions are down for one cause": {func(c *Cluster) {
			for _, node := range []string{"e", "d", "c", "b"} {
				c.Speakers = append(c.Speakers, speaker(node, 0, 1, v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPActive, LastError: "WrongPeerASN: the router is 65009"}))
			}
			c.Peers = []v1beta1.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Status: v1beta1.BGPPeerStatus{Conditions: []metav1.Condition{
				condition(string(v1beta1.ConditionSessionsDown), metav1.ConditionTrue, "NotEstablished", "said twice")}}}}
		}, "BGPPeer/tor no session with b, c, d and 1 more: WrongPeerASN: the router is 65009 → Correct peerASN, or the router.", true},
		"BFD is not up": {func(c *Cluster) {
			c.Speakers = []v1beta1.Speaker{speaker("a", 1, 1, v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPEstablished, LastError: "BFDNotUp: no packet came"})}
		}, "BGPPeer/tor session with a: BFDNotUp: no packet came → Have the router run BFD", false},
		"a session is held because BFD is not up": {func(c *Cluster) {
			why := "NotWatched: in Clarion's namespace there is no Secret keys"
			c.Speakers = []v1beta1.Speaker{speaker("a", 0, 1, v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPIdle, LastError: why}),
				speaker("b", 1, 1, v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPEstablished, LastError: why})}
		}, "BGPPeer/tor no session with a: NotWatched: in Clarion's namespace there is no Secret keys → Create the BFDProfile or the Secret", true},
		"a session has a password whose Secret is gone": {func(c *Cluster) {
			c.Speakers = []v1beta1.Speaker{speaker("a", 1, 1, v1beta1.BGPSession{Peer: "tor", State: v1beta1.BGPEstablished, LastError: "NoPassword: there is no Secret tor"})}
		}, "BGPPeer/tor session with a: NoPassword: there is no Secret tor → Create the Secret", false},
		"a name has two meanings": {func(c *Cluster) {
			c.Communities = []v1beta1.Community{{ObjectMeta: metav1.ObjectMeta{Name: "young"}, Status: v1beta1.CommunityStatus{Conditions: []metav1.Condition{
				condition("Overruled", metav1.ConditionTrue, "OlderObjectHolds", "older objects hold")}}}}
		}, "Community/young OlderObjectHolds: older objects hold", false},
		"a pool is nearly full": {func(c *Cluster) {
			p := pool("lan", "10", "1", 9)
			p.Status.Conditions = append(p.Status.Conditions, condition("NearlyFull", metav1.ConditionTrue, "NearlyFull", "9 of 10"))
			c.Pools = []v1beta1.IPAddressPool{p}
		}, "IPAddressPool/lan NearlyFull: 9 of 10", false},
		"a node's speaker never ran": {func(c *Cluster) {
			d := *c.DaemonSet
			d.Status.NumberReady = 0
			c.DaemonSet = &d
		}, "DaemonSet/clarion-system/clarion-speaker 0 of 1 Pods are ready; why, tells: kubectl clarion doctor", true},
		"speakers select no node": {func(c *Cluster) {
			d := *c.DaemonSet
			d.Status = appsv1.DaemonSetStatus{}
			c.DaemonSet = &d
		}, "it selects no node", true},
		"a Service is passed over": {func(c *Cluster) { c.Classes = v1beta1.ServiceClasses{Unclassed: true} }, "Service/shop/anothers the controller has not looked at it", true},
		"a Service waits for a first pool": {func(c *Cluster) {
			c.Classes, c.Pools = v1beta1.ServiceClasses{Unclassed: true}, []v1beta1.IPAddressPool{}
		}, "there is none, and 1 Services wait for one", true},
		"another host answers, too": {func(c *Cluster) {
			c.Services = []corev1.Service{service("web", condition(string(v1beta1.ConditionAnnounced), metav1.ConditionTrue, "AddressConflict", "MAC 02:…"))}
		}, "Service/shop/web AddressConflict: MAC 02", true},
		"speakers that run don't hear each other": {func(c *Cluster) {
			one, other := speaker("a", 0, 0), speaker("b", 0, 0)
			one.Status.Membership.Missing = []string{"b", "lost"}
			c.Speakers = []v1beta1.Speaker{one, other}
		}, "Speaker/a has not heard for long those of b, which run", true},
		"a speaker that is lost is not heard": {func(c *Cluster) {
			one := speaker("a", 0, 0)
			one.Status.Membership.Missing = []string{"lost"}
			one.Status.Conditions = append(one.Status.Conditions, condition("Odd", metav1.ConditionTrue, "Odd", "something"))
			c.Speakers = []v1beta1.Speaker{one}
		}, "Speaker/a Odd: something", false},
		"a part is not installed": {func(c *Cluster) { c.Missing = []string{"there is no DaemonSet"} }, "Clarion there is no DaemonSet", true},
		"nothing announces":       {func(c *Cluster) { c.L2Advertisements = []v1beta1.L2Advertisement{} }, "no advertisement covers any pool", true},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			test.breaks(&c)
			s := Summarize(now, c)
			if s.Healthy() == test.serious {
				t.Errorf("healthy: %v", s.Healthy())
			}
			var found []string
			for _, f := range s.Findings {
				found = append(found, f.Object+" "+f.Text)
			}
			if all := strings.Join(found, "\n"); !strings.Contains(all, test.finds) || strings.Contains(all, "said twice") {
				t.Errorf("no %q in %q", test.finds, found)
			}
		})
	}
}
