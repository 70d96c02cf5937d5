package controller

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func granted(list ...string) ipam.Decision {
	d := ipam.Decision{Outcome: ipam.Granted, Reason: clarion.ReasonAssigned}
	for _, item := range list {
		addr, pool, _ := strings.Cut(item, "@")
		d.Grants = append(d.Grants, ipam.Grant{Address: netip.MustParseAddr(addr), Pool: pool})
		d.Message += addr + " from pool " + pool + " "
	}
	return d
}

func refused(reason clarion.Reason, keeps ...string) ipam.Decision {
	d := granted(keeps...)
	d.Outcome, d.Reason, d.Message = ipam.Refused, reason, "no: keeps "+d.Message
	return d
}

// service is as the cache has it.
func bare() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s", UID: "u", ResourceVersion: "7"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
}

// apply does what the API server does with a patch.
func apply(t *testing.T, s *corev1.Service, w *write) *corev1.Service {
	t.Helper()
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, w.body(), corev1.Service{})
	if err != nil {
		t.Fatal(err)
	}
	var out corev1.Service
	if err := json.Unmarshal(after, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

func written(t *testing.T, d ipam.Decision) *corev1.Service {
	return apply(t, bare(), writeDecision(bare(), d, noon))
}

func announced(s *corev1.Service) *corev1.Service {
	meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{
		Type: string(clarion.ConditionAnnounced), Status: metav1.ConditionTrue, Reason: string(clarion.ReasonAnnounced),
	})
	return s
}

// What a decision makes of a Service's status, in one patch, and what is said of it.
func TestWritingADecision(t *testing.T) {
	for name, tc := range map[string]struct {
		service  *corev1.Service
		decision ipam.Decision
		shows    string
		mark     string
		event    clarion.Reason // "" for none
		nothing  bool           // there is nothing to write
	}{
		"a first address": {
			bare(), granted("192.0.2.1@lab"), "192.0.2.1 True Assigned", "lab=192.0.2.1", clarion.ReasonAssigned, false,
		},
		"two from two pools": {
			bare(), granted("2001:db8::1@six", "192.0.2.1@four"), "2001:db8::1 192.0.2.1 True Assigned", "six=2001:db8::1,four=192.0.2.1",
			clarion.ReasonAssigned, false,
		},
		"what is there already": {
			written(t, granted("192.0.2.1@lab")), granted("192.0.2.1@lab"), "192.0.2.1 True Assigned", "lab=192.0.2.1", "", true,
		},
		"another address": {
			written(t, granted("192.0.2.1@lab")), granted("192.0.2.2@lab"), "192.0.2.2 True Assigned", "lab=192.0.2.2",
			clarion.ReasonAssigned, false,
		},
		"a refusal, with nothing held": {
			bare(), refused(clarion.ReasonPoolExhausted), "False PoolExhausted", "", clarion.ReasonPoolExhausted, false,
		},
		"the same refusal again": {
			written(t, refused(clarion.ReasonPoolExhausted)), refused(clarion.ReasonPoolExhausted), "False PoolExhausted", "", "", true,
		},
		"a refusal that keeps what there is": {
			written(t, granted("192.0.2.1@lab")), refused(clarion.ReasonPoolNotFound, "192.0.2.1@lab"),
			"192.0.2.1 False PoolNotFound", "lab=192.0.2.1", clarion.ReasonPoolNotFound, false,
		},
		"a status that somebody cleared": {
			func() *corev1.Service {
				s := written(t, granted("192.0.2.1@lab"))
				s.Status.LoadBalancer.Ingress = nil
				return s
			}(),
			granted("192.0.2.1@lab"), "192.0.2.1 True Assigned", "lab=192.0.2.1", clarion.ReasonAssigned, false,
		},
		"an address that was adopted without ipMode": {
			func() *corev1.Service {
				s := bare()
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
				return s
			}(),
			granted("192.0.2.1@lab"), "192.0.2.1 True Assigned", "lab=192.0.2.1", clarion.ReasonAssigned, false,
		},
		"the pool has another name by now": {
			written(t, granted("192.0.2.1@old")), granted("192.0.2.1@new"), "192.0.2.1 True Assigned", "new=192.0.2.1",
			clarion.ReasonAssigned, false,
		},
		"somebody else's addresses": {
			func() *corev1.Service {
				s := bare()
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example.com"}}
				return s
			}(),
			ipam.Decision{Reason: clarion.ReasonHeldByAnother, Foreign: true, Message: "left alone"},
			"lb.example.com False HeldByAnother", "", clarion.ReasonHeldByAnother, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := writeDecision(tc.service, tc.decision, noon)
			if w.empty() != tc.nothing {
				t.Errorf("the patch is %s", w.body())
			}
			after := apply(t, tc.service, w)
			if shows(after) != tc.shows || after.Annotations[clarion.AnnotationAssignedFromPool] != tc.mark {
				t.Errorf("it shows %q from %q, want %q from %q", shows(after), after.Annotations[clarion.AnnotationAssignedFromPool], tc.shows, tc.mark)
			}
			var event clarion.Reason
			if w.note != nil {
				event = w.note.reason
			}
			if event != tc.event {
				t.Errorf("the event is %q, want %q", event, tc.event)
			}
			if again := writeDecision(after, tc.decision, noon.Add(time.Hour)); !again.empty() || again.note != nil {
				t.Errorf("written once more: %s", again.body())
			}
		})
	}
}

func TestAnAddressThatMovedIsNotAnnouncedYet(t *testing.T) {
	s := announced(written(t, granted("192.0.2.1@lab")))
	status := func(d ipam.Decision) metav1.ConditionStatus {
		after := apply(t, s, writeDecision(s, d, noon))
		return meta.FindStatusCondition(after.Status.Conditions, string(clarion.ConditionAnnounced)).Status
	}
	if got := status(granted("192.0.2.2@lab")); got != metav1.ConditionUnknown {
		t.Errorf("with another address Announced is %s", got)
	}
	if got := status(refused(clarion.ReasonPoolNotFound, "192.0.2.1@lab")); got != metav1.ConditionTrue {
		t.Errorf("with the same address Announced is %s", got)
	}
}

func TestATransitionTimeIsThatOfTheStatus(t *testing.T) {
	s := written(t, granted("192.0.2.1@lab"))
	since := func(s *corev1.Service) time.Time {
		return meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned)).LastTransitionTime.UTC()
	}
	later := noon.Add(time.Hour)
	if got := since(apply(t, s, writeDecision(s, granted("192.0.2.1@renamed"), later))); !got.Equal(noon) {
		t.Errorf("still True, since %v", got)
	}
	if got := since(apply(t, s, writeDecision(s, refused(clarion.ReasonPoolNotFound), later))); !got.Equal(later) {
		t.Errorf("False by now, since %v", got)
	}
}

func TestClearing(t *testing.T) {
	mine := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	s := announced(written(t, granted("192.0.2.1@lab")))
	after := apply(t, s, writeClear(s, mine))
	if shows(after) != "" || len(after.Status.Conditions) != 0 || len(after.Annotations) != 0 {
		t.Errorf("left: %+v %+v", after.Status, after.Annotations)
	}
	if w := writeClear(after, nil); !w.empty() {
		t.Errorf("cleared again: %s", w.body())
	}

	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.5"}}
	if after := apply(t, s, writeClear(s, mine)); shows(after) != "203.0.113.5" {
		t.Errorf("what somebody else wrote since is gone: %+v", after.Status)
	}
}

// Our marks count only for the addresses that were written with them.
func TestOurMark(t *testing.T) {
	marks := func(s *corev1.Service) bool { return statusOf(s).Pools != nil }
	s := written(t, granted("192.0.2.1@lab"))
	if !marks(s) {
		t.Error("what we wrote is not recognized")
	}
	if s := written(t, refused(clarion.ReasonPoolNotFound, "192.0.2.1@lab", "2001:db8::1@lab")); !marks(s) {
		t.Error("what we left in place is not recognized")
	}
	also := s.DeepCopy()
	also.Status.LoadBalancer.Ingress = append(also.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "lb.example.com"})
	if got := statusOf(also); !slices.Equal(got.Pools, []string{"lab"}) || !got.Unreadable {
		t.Errorf("beside a name that somebody else wrote it is not recognized: %+v", got)
	}
	s.Status.LoadBalancer.Ingress[0].IP = "192.0.2.10"
	if marks(s) {
		t.Error("what somebody else wrote into it is taken for ours")
	}
	s.Status.LoadBalancer.Ingress[0].IP = "192.0.2.1"
	s.Status.Conditions = nil
	if marks(s) {
		t.Error("an annotation without our condition is believed")
	}
}

func TestContests(t *testing.T) {
	var c contest
	for i := range contestPatience {
		if c.lost(noon.Add(time.Duration(i)*time.Second), 1) {
			t.Errorf("stopped after %d", i+1)
		}
	}
	if !c.lost(noon.Add(time.Minute), 1) {
		t.Error("goes on and on")
	}
	c.over()
	for i := range 100 { // now and then is no contest
		if c.lost(noon.Add(time.Duration(i)*contestWindow), 1) {
			t.Fatalf("stopped after %d, far apart", i+1)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"8 bytes.", "8 bytes."},
		{"9 bytes..", "9 byt…"},
		{"ééééé", "éé…"}, // not in the middle of a character
	} {
		if got := cut(tc.text, 8); got != tc.want {
			t.Errorf("%q is cut to %q, want %q", tc.text, got, tc.want)
		}
	}
}

func TestAMisspeltAnnotationIsToldInTheConditionAndTheEvent(t *testing.T) {
	s := bare()
	s.Annotations = map[string]string{"clarion.dev/adress-pool": "lab", "clarion.dev/allow-shared-ip": "key", "metallb.io/loadBalancerIP": "192.0.2.7", "example.com/x": ""}
	w := writeDecision(s, granted("192.0.2.1@lab"), noon)
	after := apply(t, s, w)
	c := meta.FindStatusCondition(after.Status.Conditions, string(clarion.ConditionAddressAssigned))
	want := "; the annotation clarion.dev/adress-pool means nothing: write clarion.dev/address-pool" +
		"; the annotation metallb.io/loadBalancerIP means nothing: write clarion.dev/loadBalancerIPs"
	if c == nil || c.Status != metav1.ConditionTrue || !strings.HasPrefix(c.Message, "192.0.2.1 from pool lab") || !strings.HasSuffix(c.Message, want) || !strings.HasSuffix(w.note.text, want) {
		t.Errorf("the condition is %+v, the event %+v", c, w.note)
	}
	if again := writeDecision(after, granted("192.0.2.1@lab"), noon.Add(time.Hour)); !again.empty() {
		t.Errorf("written again: %s", again.body())
	}
}

// Who may read nothing but the Service is told what to do, of each reason for which it is refused.
func TestARefusalSaysWhatToDo(t *testing.T) {
	inTheMessage := map[clarion.Reason]bool{ // which names the value, and what to write
		clarion.ReasonInvalidRequest: true, clarion.ReasonConflictingRequests: true, clarion.ReasonHeldByAnother: true,
	}
	for _, reason := range []clarion.Reason{
		clarion.ReasonNoPool, clarion.ReasonPoolNotFound, clarion.ReasonPoolExhausted, clarion.ReasonQuotaReached, clarion.ReasonPoolNotReady, clarion.ReasonPoolDeleting,
		clarion.ReasonAddressNotInPool, clarion.ReasonAddressInUse, clarion.ReasonAddressResting, clarion.ReasonAddressExcluded, clarion.ReasonFamilyMismatch,
		clarion.ReasonInvalidRequest, clarion.ReasonConflictingRequests, clarion.ReasonNoClusterIP, clarion.ReasonHeldByAnother,
	} {
		w := writeDecision(bare(), refused(reason), noon)
		if says := strings.Contains(w.note.text, ". "); says == inTheMessage[reason] {
			t.Errorf("%s: the event says %q", reason, w.note.text)
		}
		if again := writeDecision(apply(t, bare(), w), refused(reason), noon.Add(time.Hour)); !again.empty() {
			t.Errorf("%s is written again: %s", reason, again.body())
		}
	}
	if w := writeDecision(bare(), granted("192.0.2.1@lab"), noon); strings.Contains(w.note.text, ". ") {
		t.Errorf("a Service that is served is given advice: %q", w.note.text)
	}
}
