package controller

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// write is one patch of a Service's status: what it changes, and what is to be said of it.
type write struct {
	patch patch
	note  *note
	// foretells says that the write only tells what is about to come: what was decided is not in it.
	foretells bool
}

// note is an event.
type note struct {
	kind   string // corev1.EventTypeNormal or corev1.EventTypeWarning
	reason clarion.Reason
	text   string
}

// patch is a strategic merge patch of a Service's status. Null fields are removed.
type patch struct {
	Metadata patchMeta    `json:"metadata"`
	Status   *patchStatus `json:"status,omitempty"`
}

type patchMeta struct {
	// UID and ResourceVersion make the API server refuse the patch when the Service is not the one any more that was
	// decided on.
	UID             string             `json:"uid"`
	ResourceVersion string             `json:"resourceVersion"`
	Annotations     map[string]*string `json:"annotations,omitempty"`
}

type patchStatus struct {
	LoadBalancer *patchLoadBalancer `json:"loadBalancer,omitempty"`
	Conditions   []any              `json:"conditions,omitempty"`
}

type patchLoadBalancer struct {
	Ingress []corev1.LoadBalancerIngress `json:"ingress"`
}

type deleteCondition struct {
	Patch string `json:"$patch"`
	Type  string `json:"type"`
}

func newWrite(s *corev1.Service) *write {
	return &write{patch: patch{Metadata: patchMeta{UID: string(s.UID), ResourceVersion: s.ResourceVersion}}}
}

// empty reports whether there is nothing to write.
func (w *write) empty() bool { return w.patch.Status == nil && w.patch.Metadata.Annotations == nil }

func (w *write) body() []byte {
	b, err := json.Marshal(w.patch)
	if err != nil {
		panic(err) // strings and times
	}
	return b
}

func (w *write) status() *patchStatus {
	if w.patch.Status == nil {
		w.patch.Status = &patchStatus{}
	}
	return w.patch.Status
}

func (w *write) ingress(list []corev1.LoadBalancerIngress) {
	w.status().LoadBalancer = &patchLoadBalancer{Ingress: list}
}

// annotate sets or removes our mark on the addresses, if it is not so already.
func (w *write) annotate(s *corev1.Service, mark string) {
	switch had, ok := s.Annotations[clarion.AnnotationAssignedFromPool]; {
	case ok && mark == "":
		w.patch.Metadata.Annotations = map[string]*string{clarion.AnnotationAssignedFromPool: nil}
	case had != mark:
		w.patch.Metadata.Annotations = map[string]*string{clarion.AnnotationAssignedFromPool: &mark}
	}
}

// condition sets a condition, if it is not so already, and reports whether it was not.
func (w *write) condition(s *corev1.Service, want metav1.Condition, now time.Time) bool {
	had := meta.FindStatusCondition(s.Status.Conditions, want.Type)
	if had != nil && had.Status == want.Status && had.Reason == want.Reason && had.Message == want.Message {
		return false
	}
	want.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	if had != nil && had.Status == want.Status {
		want.LastTransitionTime = had.LastTransitionTime
	}
	w.status().Conditions = append(w.status().Conditions, want)
	return true
}

// removeConditions removes those of our conditions that the Service has.
func (w *write) removeConditions(s *corev1.Service) {
	for _, kind := range ourConditions {
		if meta.FindStatusCondition(s.Status.Conditions, string(kind)) != nil {
			w.status().Conditions = append(w.status().Conditions, deleteCondition{"delete", string(kind)})
		}
	}
}

// writeDecision is what brings a Service's status to what was decided.
func writeDecision(s *corev1.Service, d ipam.Decision, now time.Time) *write {
	w := newWrite(s)
	does := meaningless(s)
	if do := advice[d.Reason]; do != "" && d.Outcome != ipam.Granted {
		does += ". " + do
	}
	message, told := d.Message+does, d.Told()+does
	condition := metav1.Condition{
		Type:    string(clarion.ConditionAddressAssigned),
		Status:  metav1.ConditionFalse,
		Reason:  string(d.Reason),
		Message: cut(message, maxConditionMessage),
	}
	if d.Outcome == ipam.Granted {
		condition.Status = metav1.ConditionTrue
	}

	moved := false
	if !d.Foreign {
		var ours []clarion.Assigned
		var ingress []corev1.LoadBalancerIngress
		for _, g := range d.Grants {
			ours = append(ours, clarion.Assigned{Address: g.Address, Pool: g.Pool})
			vip := corev1.LoadBalancerIPModeVIP
			ingress = append(ingress, corev1.LoadBalancerIngress{IP: g.Address.String(), IPMode: &vip})
		}
		moved = !slices.Equal(statusOf(s).Addresses, addressesOf(d)) || statusOf(s).Unreadable
		if !sameIngress(s.Status.LoadBalancer.Ingress, ingress) {
			w.ingress(ingress)
		}
		w.annotate(s, clarion.FormatAssigned(ours))
	}
	changed := w.condition(s, condition, now)

	if moved {
		// What was true of the announcement was true of other addresses.
		if a := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAnnounced)); a != nil && a.Status == metav1.ConditionTrue {
			w.condition(s, metav1.Condition{
				Type:    string(clarion.ConditionAnnounced),
				Status:  metav1.ConditionUnknown,
				Reason:  string(clarion.ReasonPending),
				Message: "the addresses have changed, and no speaker has told of the new ones yet",
			}, now)
		}
	}
	switch {
	case changed && condition.Status == metav1.ConditionFalse:
		w.note = &note{corev1.EventTypeWarning, d.Reason, told}
	case moved || changed:
		w.note = &note{corev1.EventTypeNormal, d.Reason, told}
	}
	return w
}

// meaningless tells of annotations that look like ours and are none, for a condition's message: a Service that asks for an address by a
// name that nobody reads is given any, and its owner is to see why.
func meaningless(s *corev1.Service) string {
	var out []string
	for name := range s.Annotations {
		if meant := clarion.Misspelt(name); meant != "" {
			out = append(out, "; the annotation "+name+" means nothing: write "+meant)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// mayGain reports whether an address may be written to a Service that is as in this version: to one that says by its
// condition that something may be about to come. The leader that comes after one that vanished writes to just these
// before it gives anybody anything, so that no write which adds an address can come through afterwards
// (predecessor.go). What looks like another provider's it leaves alone.
func mayGain(s *corev1.Service) bool {
	c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAddressAssigned))
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return c == nil || c.Status != metav1.ConditionTrue
	}
	return c != nil && c.Status != metav1.ConditionTrue && c.Reason != string(clarion.ReasonHeldByAnother)
}

// gains lists what a decision adds to what a Service's status shows.
func gains(s *corev1.Service, d ipam.Decision) []ipam.Grant {
	if d.Foreign {
		return nil
	}
	has := statusOf(s)
	return slices.DeleteFunc(slices.Clone(d.Grants), func(g ipam.Grant) bool { return slices.Contains(has.Addresses, g.Address) })
}

// writeAhead is what is written to a Service that may not gain an address as it is, before it does: that it is about to.
func writeAhead(s *corev1.Service, d ipam.Decision, now time.Time) *write {
	w := newWrite(s)
	w.foretells = true
	var coming []string
	for _, g := range gains(s, d) {
		coming = append(coming, g.Address.String()+" from pool "+g.Pool)
	}
	w.pending(s, "about to be assigned "+strings.Join(coming, " and "), now)
	return w
}

// pending has a Service say that something is about to come, and what it keeps until then.
func (w *write) pending(s *corev1.Service, text string, now time.Time) {
	if has := statusOf(s).Addresses; len(has) > 0 {
		text += "; keeps " + list(has) + " until then"
	}
	w.condition(s, metav1.Condition{
		Type:    string(clarion.ConditionAddressAssigned),
		Status:  metav1.ConditionUnknown,
		Reason:  string(clarion.ReasonPending),
		Message: cut(text, maxConditionMessage),
	}, now)
}

// writeClear is what takes our marks from a Service that is not ours to serve any more, and what we assigned, if its
// status still has just that.
func writeClear(s *corev1.Service, held []netip.Addr) *write {
	w := newWrite(s)
	w.annotate(s, "")
	w.removeConditions(s)
	has := statusOf(s)
	if len(has.Addresses) > 0 && !has.Unreadable &&
		!slices.ContainsFunc(has.Addresses, func(a netip.Addr) bool { return !slices.Contains(held, a) }) {
		w.ingress(nil)
	}
	if len(held) > 0 && !w.empty() {
		w.note = &note{corev1.EventTypeNormal, clarion.ReasonReleased, list(held)}
	}
	return w
}

// writeContested is what says that we have stopped writing. The ingress stays as the other writer has it, and our mark
// goes, so that what it wrote is not taken for ours.
func writeContested(s *corev1.Service, d ipam.Decision, now time.Time) *write {
	w := newWrite(s)
	w.annotate(s, "")
	text := "something else keeps changing status.loadBalancer.ingress, to " + ingressText(s.Status.LoadBalancer.Ingress) +
		" now, where Clarion had put " + list(addressesOf(d)) + ": Clarion has stopped writing it. " +
		"Stop the other writer and change the Service, or put back what Clarion had put"
	if w.condition(s, metav1.Condition{
		Type:    string(clarion.ConditionAddressAssigned),
		Status:  metav1.ConditionFalse,
		Reason:  string(clarion.ReasonAnotherWriter),
		Message: cut(text, maxConditionMessage),
	}, now) {
		w.note = &note{corev1.EventTypeWarning, clarion.ReasonAnotherWriter, text}
	}
	return w
}

func addressesOf(d ipam.Decision) (out []netip.Addr) {
	for _, g := range d.Grants {
		out = append(out, g.Address)
	}
	return out
}

func sameIngress(a, b []corev1.LoadBalancerIngress) bool {
	return slices.EqualFunc(a, b, func(x, y corev1.LoadBalancerIngress) bool {
		return x.IP == y.IP && x.Hostname == y.Hostname && len(x.Ports) == len(y.Ports) &&
			(x.IPMode == nil) == (y.IPMode == nil) && (x.IPMode == nil || *x.IPMode == *y.IPMode)
	})
}

func ingressText(in []corev1.LoadBalancerIngress) string {
	var out []string
	for _, i := range in {
		out = append(out, strings.TrimSpace(i.IP+" "+i.Hostname))
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

func list(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// Bounds of the API server.
const (
	maxConditionMessage = 32768
	maxEventNote        = 1024
)

// cut shortens a text to a number of bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const dots = "…"
	return strings.ToValidUTF8(text[:most-len(dots)], "") + dots
}
