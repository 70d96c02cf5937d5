package controller

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Which speakers live is judged from what is written anyway: no speaker writes only to say that it lives. Best are the
// other speakers, who hear each other all the time and tell in their Speaker objects whom they have missed for long. Where there is no other who could
// tell, it is the Node (its kubelet has not been heard) and the Pod (there is none that is ready).

const (
	// lostAfter is for how long a speaker must look lost. A Pod that is replaced is away for less.
	lostAfter = 30 * time.Second
	// believed is how long a speaker that was taken for lost and has written since is not taken for lost again for the same signs.
	believed = 10 * time.Minute
	// fullList is how many names of missing speakers a Speaker has room for; those beyond are not told.
	fullList = 64
)

// liveness is what is seen of the speakers, and remembered. It belongs to one goroutine; time is an argument.
type liveness struct {
	since        map[string]time.Time // when a speaker began to look lost
	contradicted map[string]time.Time // when one that was said to be lost said otherwise
	said         map[string]bool      // of whom NodeLost was written
	begin        time.Time            // of the term
}

func newLiveness(now time.Time) *liveness {
	return &liveness{since: map[string]time.Time{}, contradicted: map[string]time.Time{}, said: map[string]bool{}, begin: now}
}

// speakersSeen is what there is to see. pods has for each node whether there is a ready Pod of the speaker on it; nil where speakers
// are not known to run in Pods.
type speakersSeen struct {
	nodes    []corev1.Node
	speakers []clarion.Speaker
	pods     map[string]bool
}

// livenessVerdict is what follows.
type livenessVerdict struct {
	// lost are the speakers to be said to be lost, in order, with why.
	lost []lostSpeaker
	// none is whether no speaker lives, and never whether there is no sign that there ever was one.
	none, never bool
	// wakeAt is when to judge again although nothing has changed; zero for never.
	wakeAt time.Time
}

type lostSpeaker struct{ name, why string }

// judge says which speakers are lost.
func (l *liveness) judge(now time.Time, in speakersSeen) (out livenessVerdict) {
	nodes := map[string]*corev1.Node{}
	for i := range in.nodes {
		nodes[in.nodes[i].Name] = &in.nodes[i]
	}
	var there []*clarion.Speaker // whose Nodes exist; the others go with theirs
	witnesses := map[string]*clarion.Speaker{}
	for i := range in.speakers {
		s := &in.speakers[i]
		if nodes[s.Name] == nil {
			continue
		}
		there = append(there, s)
		ready := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionReady))
		if ready != nil && ready.Status == metav1.ConditionTrue && s.Status.Membership != nil && sign(nodes[s.Name], in.pods) == "" {
			witnesses[s.Name] = s
		}
	}
	slices.SortFunc(there, func(a, b *clarion.Speaker) int { return cmp.Compare(a.Name, b.Name) })
	alive := 0
	looksLost := map[string]bool{}
	for _, s := range there {
		why := missedBy(s.Name, witnesses)
		if why == unheard {
			why = sign(nodes[s.Name], in.pods)
		}
		isSaid := saysLost(s)
		switch {
		case !isSaid && l.said[s.Name]:
			// It has written since: it lives, whatever it looks like.
			delete(l.said, s.Name)
			l.contradicted[s.Name] = now
		case isSaid:
			l.said[s.Name] = true
		}
		if at, ok := l.contradicted[s.Name]; ok && now.Sub(at) < believed && why != "" {
			out.wakeAt = sooner(out.wakeAt, at.Add(believed))
			why = ""
		}
		if why == "" {
			delete(l.since, s.Name)
			if !isSaid {
				alive++
			}
			continue
		}
		looksLost[s.Name] = true
		since, known := l.since[s.Name]
		if !known {
			since = now
			l.since[s.Name] = since
		}
		switch due := since.Add(lostAfter); {
		case isSaid:
		case now.Before(due):
			alive++ // for the time being
			out.wakeAt = sooner(out.wakeAt, due)
		default:
			out.lost = append(out.lost, lostSpeaker{s.Name, why})
		}
	}
	maps.DeleteFunc(l.since, func(name string, _ time.Time) bool { return !looksLost[name] })
	for _, remembered := range []func(func(string) bool){
		func(gone func(string) bool) { maps.DeleteFunc(l.said, func(n string, _ bool) bool { return gone(n) }) },
		func(gone func(string) bool) {
			maps.DeleteFunc(l.contradicted, func(n string, at time.Time) bool { return gone(n) || now.Sub(at) >= believed })
		},
	} {
		remembered(func(name string) bool {
			return !slices.ContainsFunc(there, func(s *clarion.Speaker) bool { return s.Name == name })
		})
	}
	out.none, out.never = alive == 0, len(there) == 0
	if due := l.begin.Add(lostAfter); out.none && len(there) == 0 && now.Before(due) {
		// They may only be about to start.
		out.none, out.wakeAt = false, sooner(out.wakeAt, due)
	}
	return out
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// saysLost reports whether the object says that its speaker is lost.
func saysLost(s *clarion.Speaker) bool {
	c := meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionReady))
	return c != nil && c.Status == metav1.ConditionUnknown && c.Reason == string(clarion.ReasonNodeLost)
}

// unheard is that nobody could tell.
const unheard = "?"

// missedBy returns why the other speakers take one for lost, "" if they do not, unheard if there are none.
func missedBy(name string, witnesses map[string]*clarion.Speaker) string {
	var by []string
	against := 0
	for _, other := range slices.Sorted(maps.Keys(witnesses)) {
		m := witnesses[other].Status.Membership
		switch {
		case other == name:
		case slices.Contains(m.Missing, name):
			by = append(by, other)
		case len(m.Missing) < fullList:
			against++
		}
	}
	switch {
	case len(by)+against == 0:
		return unheard
	case len(by) > against:
		const most = 3
		return "the speaker has not been heard for long by " + strings.Join(by[:min(len(by), most)], ", ")
	}
	return ""
}

// sign is what speaks against a speaker where no other can tell, "" for nothing.
func sign(n *corev1.Node, pods map[string]bool) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown {
			return "the node's kubelet has not been heard for long"
		}
	}
	if pods != nil && !pods[n.Name] {
		return "there is no Pod of clarion-speaker on the node that is ready"
	}
	return ""
}
