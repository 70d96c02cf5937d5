package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// judged are conditions in words: type, status and reason.
func judged(judge func(conditions)) string {
	var list []metav1.Condition
	judge(conditions{list: &list, generation: 1, now: time.Unix(1_700_000_000, 0)})
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s %s %s", c.Type, c.Status, c.Reason))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func messageOf(kind clarion.ConditionType, judge func(conditions)) string {
	var list []metav1.Condition
	judge(conditions{list: &list, generation: 1, now: time.Unix(1_700_000_000, 0)})
	for _, c := range list {
		if c.Type == string(kind) {
			return c.Message
		}
	}
	return ""
}

// born is an object's beginning: the higher, the younger.
func born(name string, at int64) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000+at, 0))}
}

func speaks(node string, sessions ...clarion.BGPSession) clarion.Speaker {
	return clarion.Speaker{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: clarion.SpeakerStatus{BGP: &clarion.SpeakerBGP{Sessions: sessions}}}
}

func TestJudgePeer(t *testing.T) {
	up := clarion.BGPSession{Peer: "tor", State: clarion.BGPEstablished}
	down := clarion.BGPSession{Peer: "tor", State: clarion.BGPActive, LastError: "WrongPeerASN: the router is 65009"}
	without := clarion.BGPSession{Peer: "tor", State: clarion.BGPEstablished, LastError: "BFDNotUp: the session goes on without: nothing came"}
	unwatched := clarion.BGPSession{Peer: "tor", State: clarion.BGPEstablished, LastError: "NotWatched: there is no Secret key"}
	forgotten := clarion.BGPSession{Peer: "tor", State: clarion.BGPEstablished, LastError: "NoPassword: there is no Secret tor"}
	missing := clarion.BGPSession{Peer: "tor", State: clarion.BGPIdle, LastError: "NoPassword: there is no Secret tor"}
	other := clarion.BGPSession{Peer: "other", State: clarion.BGPIdle}
	rack := func(name string) []clarion.LabelSelector {
		return []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{"rack": clarion.LabelValue(name)}}}
	}
	nodes := []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"rack": "a"}}}}
	for _, row := range []struct {
		name     string
		spec     clarion.BGPPeerSpec
		speakers []clarion.Speaker
		counts   string
		want     string
	}{
		{"all sessions are up", clarion.BGPPeerSpec{}, []clarion.Speaker{speaks("a", up, other), speaks("b", up)}, "2/2", "Ready True Accepted"},
		{"speakers without BGP count for nothing", clarion.BGPPeerSpec{}, []clarion.Speaker{{}, speaks("b", up)}, "1/1", "Ready True Accepted"},
		{"one is down", clarion.BGPPeerSpec{}, []clarion.Speaker{speaks("a", up), speaks("b", down)}, "1/2", "Ready True Accepted, SessionsDown True NotEstablished"},
		{"one is up without BFD", clarion.BGPPeerSpec{BFDProfile: "fast"}, []clarion.Speaker{speaks("a", up), speaks("b", without)}, "2/2", "BFDDown True BFDNotUp, Ready True Accepted"},
		{"one is up, and its BFD can't be made", clarion.BGPPeerSpec{BFDProfile: "fast"}, []clarion.Speaker{speaks("a", unwatched)}, "1/1", "BFDDown True BFDNotUp, Ready True Accepted"},
		{"one has a password whose Secret is gone", clarion.BGPPeerSpec{}, []clarion.Speaker{speaks("a", forgotten)}, "1/1", "Ready True Accepted, UnknownName True NameNotFound"},
		{"one is down for want of its password", clarion.BGPPeerSpec{}, []clarion.Speaker{speaks("a", missing)}, "0/1", "Ready True Accepted, SessionsDown True NotEstablished"},
		{"an unknown profile", clarion.BGPPeerSpec{BFDProfile: "nope"}, nil, "0/0", "Ready True Accepted, UnknownName True NameNotFound"},
		{"a known profile", clarion.BGPPeerSpec{BFDProfile: "fast", EnableGracefulRestart: true}, nil, "0/0", "Ready True Accepted"},
		{"nodes that have the label", clarion.BGPPeerSpec{NodeSelectors: rack("a")}, nil, "0/0", "Ready True Accepted"},
		{"a label that no node has", clarion.BGPPeerSpec{NodeSelectors: rack("z")}, nil, "0/0", "Ready True Accepted, SelectsNothing True NothingMatches"},
		{"graceful restart without BFD", clarion.BGPPeerSpec{EnableGracefulRestart: true}, nil, "0/0", "KeepsLostNodes True NoBFD, Ready True Accepted"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &routingWorld{profiles: map[string]bool{"fast": true}, speakers: row.speakers, nodes: nodes}
			p := &clarion.BGPPeer{ObjectMeta: born("tor", 0), Spec: row.spec}
			var status clarion.BGPPeerStatus
			if got := judged(func(c conditions) { w.judgePeer(c, p, &status) }); got != row.want {
				t.Errorf("tells %q, not %q", got, row.want)
			}
			if got := fmt.Sprintf("%d/%d", *status.SessionsUp, *status.SessionsWanted); got != row.counts {
				t.Errorf("counts %s, not %s", got, row.counts)
			}
		})
	}
	w := &routingWorld{speakers: []clarion.Speaker{speaks("a", up), speaks("b", down)}}
	if got, want := messageOf(clarion.ConditionSessionsDown, func(c conditions) {
		w.judgePeer(c, &clarion.BGPPeer{ObjectMeta: born("tor", 0)}, &clarion.BGPPeerStatus{})
	}),
		"1 of 2 sessions are up; not up: b: WrongPeerASN: the router is 65009"; got != want {
		t.Errorf("tells %q, not %q", got, want)
	}
}

func TestJudgeBGPAdvertisement(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	length := func(n int32) *int32 { return &n }
	older := clarion.BGPAdvertisement{ObjectMeta: born("older", 0), Spec: clarion.BGPAdvertisementSpec{LocalPref: number(200)}}
	web := []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{"app": "web"}}}
	for _, row := range []struct {
		name string
		spec clarion.BGPAdvertisementSpec
		want string
	}{
		{"all is known", clarion.BGPAdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lan"}, Peers: []clarion.ObjectName{"tor"}, Communities: []clarion.CommunityRef{"to-transit", "no-export", "65000:1"}}, "Ready True Accepted"},
		{"one pool is not", clarion.BGPAdvertisementSpec{IPAddressPools: []clarion.ObjectName{"lan", "nope"}}, "Ready True Accepted, UnknownName True NameNotFound"},
		{"no pool is", clarion.BGPAdvertisementSpec{IPAddressPools: []clarion.ObjectName{"nope"}}, "Ready False PoolNotFound, UnknownName True NameNotFound"},
		{"no peer is", clarion.BGPAdvertisementSpec{Peers: []clarion.ObjectName{"nope"}}, "Ready False NoPeers, UnknownName True NameNotFound"},
		{"a community is not", clarion.BGPAdvertisementSpec{Communities: []clarion.CommunityRef{"to-nowhere"}}, "Ready True Accepted, UnknownName True NameNotFound"},
		{"an older one says otherwise", clarion.BGPAdvertisementSpec{LocalPref: number(100)}, "Overruled True OlderObjectHolds, Ready True Accepted"},
		{"an older one says the same", clarion.BGPAdvertisementSpec{LocalPref: number(200)}, "Ready True Accepted"},
		{"an older one says otherwise of another pool", clarion.BGPAdvertisementSpec{LocalPref: number(100), IPAddressPools: []clarion.ObjectName{"nope"}}, "Ready False PoolNotFound, UnknownName True NameNotFound"},
		{"an older one is of all Services", clarion.BGPAdvertisementSpec{LocalPref: number(100), ServiceSelectors: web}, "Overruled True OlderObjectHolds, Ready True Accepted"},
		{"an aggregate within the pool", clarion.BGPAdvertisementSpec{AggregationLength: length(26)}, "Ready True Accepted"},
		{"an aggregate beyond the pool", clarion.BGPAdvertisementSpec{AggregationLength: length(16)}, "AggregateRefused True BeyondPool, Ready True Accepted"},
	} {
		t.Run(row.name, func(t *testing.T) {
			younger := clarion.BGPAdvertisement{ObjectMeta: born("younger", 1), Spec: row.spec}
			w := &routingWorld{
				services:    func() []corev1.Service { return nil },
				pools:       []clarion.IPAddressPool{{ObjectMeta: born("lan", 0), Spec: clarion.IPAddressPoolSpec{Addresses: []clarion.AddressRange{"198.51.100.0/24"}}}},
				peers:       []clarion.BGPPeer{{ObjectMeta: born("tor", 0), Spec: clarion.BGPPeerSpec{DynamicASN: clarion.DynamicASNInternal}}},
				ads:         []clarion.BGPAdvertisement{older, younger},
				communities: []clarion.Community{{ObjectMeta: born("names", 0), Spec: clarion.CommunitySpec{Communities: []clarion.CommunityAlias{{Name: "to-transit", Value: "65000:100"}}}}},
			}
			if got := judged(func(c conditions) { w.judgeAdvertisement(c, &younger) }); got != row.want {
				t.Errorf("tells %q, not %q", got, row.want)
			}
			if got := judged(func(c conditions) { w.judgeAdvertisement(c, &older) }); got != "Ready True Accepted" {
				t.Errorf("the older one tells %q", got)
			}
		})
	}
}

// What is contradicted where, of an older advertisement that has its own selectors too.
func TestOverruled(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	length := func(n int32) *int32 { return &n }
	asn := func(n clarion.ASN) *clarion.ASN { return &n }
	label := func(key string) []clarion.LabelSelector {
		return []clarion.LabelSelector{{MatchLabels: map[string]clarion.LabelValue{key: "yes"}}}
	}
	older := clarion.BGPAdvertisementSpec{LocalPref: number(200), MED: number(1), ASPathPrepend: 1}
	everything := clarion.BGPAdvertisementSpec{LocalPref: number(100), MED: number(2), ASPathPrepend: 2}
	with := func(s clarion.BGPAdvertisementSpec, change func(*clarion.BGPAdvertisementSpec)) clarion.BGPAdvertisementSpec {
		change(&s)
		return s
	}
	services := func(key string) func(*clarion.BGPAdvertisementSpec) {
		return func(s *clarion.BGPAdvertisementSpec) { s.ServiceSelectors = label(key) }
	}
	nodes := func(key string) func(*clarion.BGPAdvertisementSpec) {
		return func(s *clarion.BGPAdvertisementSpec) { s.NodeSelectors = label(key) }
	}
	aggregate := func(n int32) func(*clarion.BGPAdvertisementSpec) {
		return func(s *clarion.BGPAdvertisementSpec) { s.AggregationLength = length(n) }
	}
	to := func(peer clarion.ObjectName) func(*clarion.BGPAdvertisementSpec) {
		return func(s *clarion.BGPAdvertisementSpec) { s.Peers = []clarion.ObjectName{peer} }
	}
	for _, row := range []struct {
		name           string
		older, younger clarion.BGPAdvertisementSpec
		labels         []string // of the only Service, and of the only node
		pool           string   // of the Service's address
		want           string
	}{
		{"all, toward peers of both kinds", older, everything, nil, "", "localPref med asPathPrepend"},
		{"localPref is nothing to an external peer", older, with(everything, to("external")), nil, "", "med asPathPrepend"},
		{"prepending is nothing to an internal one", with(older, to("internal")), everything, nil, "", "localPref med"},
		{"no common peer", with(older, to("internal")), with(everything, to("external")), nil, "", ""},
		{"the same selectors", with(older, services("a")), with(everything, services("a")), nil, "", "localPref med asPathPrepend"},
		{"others, and a Service that both select", with(older, services("a")), with(everything, services("b")), []string{"a", "b"}, "lan", "localPref med asPathPrepend"},
		{"others, and a Service that one selects", with(older, services("a")), with(everything, services("b")), []string{"a"}, "lan", ""},
		{"others, and a Service of another pool", with(older, services("a")), with(everything, services("b")), []string{"a", "b"}, "elsewhere", ""},
		{"a node that both select", with(older, nodes("a")), with(everything, nodes("b")), []string{"a", "b"}, "", "localPref med asPathPrepend"},
		{"no such node", with(older, nodes("a")), with(everything, nodes("b")), []string{"b"}, "", ""},
		{"prefixes of different lengths do not meet", with(older, aggregate(26)), everything, nil, "", ""},
		{"unless the aggregate is refused", with(older, aggregate(16)), everything, nil, "", "localPref med asPathPrepend"},
	} {
		t.Run(row.name, func(t *testing.T) {
			labels := map[string]string{}
			for _, key := range row.labels {
				labels[key] = "yes"
			}
			service := corev1.Service{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
				clarion.AnnotationAssignedFromPool: clarion.FormatAssigned([]clarion.Assigned{{Pool: cmp.Or(row.pool, "lan"), Address: netip.MustParseAddr("198.51.100.1")}})}}}
			service.Status.Conditions = []metav1.Condition{{Type: string(clarion.ConditionAddressAssigned)}}
			service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "198.51.100.1"}}
			younger := clarion.BGPAdvertisement{ObjectMeta: born("younger", 1), Spec: row.younger}
			w := &routingWorld{
				pools: []clarion.IPAddressPool{{ObjectMeta: born("lan", 0), Spec: clarion.IPAddressPoolSpec{Addresses: []clarion.AddressRange{"198.51.100.0/24"}}}},
				peers: []clarion.BGPPeer{{ObjectMeta: born("external", 0), Spec: clarion.BGPPeerSpec{MyASN: 65001, PeerASN: asn(65000)}},
					{ObjectMeta: born("internal", 0), Spec: clarion.BGPPeerSpec{MyASN: 65001, DynamicASN: clarion.DynamicASNInternal}}},
				ads:      []clarion.BGPAdvertisement{{ObjectMeta: born("older", 0), Spec: row.older}, younger},
				services: func() []corev1.Service { return []corev1.Service{service} },
				nodes:    []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Labels: labels}}},
			}
			var got []string
			for _, text := range w.overruled(&younger) {
				value, _, _ := strings.Cut(text, " ")
				got = append(got, value)
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("tells of %q, not of %q", got, row.want)
			}
		})
	}
}

func TestWhatAnAggregateWouldReachBeyond(t *testing.T) {
	four, six := int32(24), int32(64)
	for _, row := range []struct {
		name   string
		ranges []clarion.AddressRange
		want   string
	}{
		{"ranges that make up the aggregate together", []clarion.AddressRange{"198.51.100.0/25", "198.51.100.128/25"}, ""},
		{"half of it", []clarion.AddressRange{"198.51.100.0/25"}, "198.51.100.0/25 of IPAddressPool lan"},
		{"one and a half", []clarion.AddressRange{"198.51.100.0-198.51.101.127"}, "198.51.101.0/25 of IPAddressPool lan"},
		{"each family by its own length", []clarion.AddressRange{"198.51.100.0/24", "2001:db8::/112"}, "2001:db8::/112 of IPAddressPool lan"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &routingWorld{pools: []clarion.IPAddressPool{{ObjectMeta: born("lan", 0), Spec: clarion.IPAddressPoolSpec{Addresses: row.ranges}}}}
			ad := &clarion.BGPAdvertisement{Spec: clarion.BGPAdvertisementSpec{AggregationLength: &four, AggregationLengthV6: &six}}
			if got := strings.Join(w.beyond(ad), ", "); got != row.want {
				t.Errorf("got %q, not %q", got, row.want)
			}
		})
	}
}

func TestJudgeCommunity(t *testing.T) {
	names := func(name string, at int64, value string) clarion.Community {
		return clarion.Community{ObjectMeta: born(name, at), Spec: clarion.CommunitySpec{Communities: []clarion.CommunityAlias{{Name: "to-transit", Value: value}}}}
	}
	w := &routingWorld{communities: []clarion.Community{names("first", 0, "65000:1"), names("same", 1, "65000:1"), names("other", 2, "65000:2")}}
	for i, want := range []string{"Ready True Accepted", "Ready True Accepted", "Overruled True OlderObjectHolds, Ready True Accepted"} {
		if got := judged(func(c conditions) { w.judgeCommunity(c, &w.communities[i]) }); got != want {
			t.Errorf("%s tells %q, not %q", w.communities[i].Name, got, want)
		}
	}
}
