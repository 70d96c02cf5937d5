package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func lifeNode(name string, ready corev1.ConditionStatus) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	return n
}

// lifeSpeaker is a speaker that says that it works and misses some others.
func lifeSpeaker(name string, missing ...string) clarion.Speaker {
	s := clarion.Speaker{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Status.Membership = &clarion.SpeakerMembership{Missing: missing}
	s.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "Running"}}
	return s
}

func saidLost(s clarion.Speaker) clarion.Speaker {
	s.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionUnknown, Reason: "NodeLost"}}
	return s
}

func TestWhichSpeakersAreLost(t *testing.T) {
	const up, gone = corev1.ConditionTrue, corev1.ConditionUnknown
	many := make([]string, fullList)
	for i := range many {
		many[i] = fmt.Sprint("x", i)
	}
	for _, row := range []struct {
		name string
		in   speakersSeen
		lost string
		none bool
	}{
		{"all live", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", up)}, speakers: []clarion.Speaker{lifeSpeaker("a"), lifeSpeaker("b")}}, "", false},
		{"the others miss one", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", up), lifeNode("c", up)},
			speakers: []clarion.Speaker{lifeSpeaker("a", "c"), lifeSpeaker("b", "c"), lifeSpeaker("c")}}, "c", false},
		{"one of two others misses it", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", up), lifeNode("c", up)},
			speakers: []clarion.Speaker{lifeSpeaker("a", "c"), lifeSpeaker("b"), lifeSpeaker("c")}}, "", false},
		{"a kubelet is silent, and the other speakers hear the node's", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", gone)},
			speakers: []clarion.Speaker{lifeSpeaker("a"), lifeSpeaker("b")}}, "", false},
		{"a kubelet is silent, and there is no other", speakersSeen{nodes: []corev1.Node{lifeNode("a", gone)}, speakers: []clarion.Speaker{lifeSpeaker("a")}}, "a", true},
		{"all kubelets are silent", speakersSeen{nodes: []corev1.Node{lifeNode("a", gone), lifeNode("b", gone)}, speakers: []clarion.Speaker{lifeSpeaker("a"), lifeSpeaker("b")}}, "a b", true},
		{"the Pods are gone", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", up)}, speakers: []clarion.Speaker{lifeSpeaker("a"), lifeSpeaker("b")},
			pods: map[string]bool{}}, "a b", true},
		{"one Pod is gone, and nobody misses the speaker", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", up)},
			speakers: []clarion.Speaker{lifeSpeaker("a"), lifeSpeaker("b")}, pods: map[string]bool{"a": true}}, "", false},
		{"what a lost one says of others is old", speakersSeen{nodes: []corev1.Node{lifeNode("a", gone), lifeNode("b", up)},
			speakers: []clarion.Speaker{lifeSpeaker("a", "b"), lifeSpeaker("b", "a")}}, "a", false},
		{"one that is said to be lost already", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", gone)},
			speakers: []clarion.Speaker{lifeSpeaker("a", "b"), saidLost(lifeSpeaker("b"))}}, "", false},
		{"all are said to be", speakersSeen{nodes: []corev1.Node{lifeNode("a", gone)}, speakers: []clarion.Speaker{saidLost(lifeSpeaker("a"))}}, "", true},
		{"a list that is full says nothing of those not on it", speakersSeen{nodes: []corev1.Node{lifeNode("a", up), lifeNode("b", gone)},
			speakers: []clarion.Speaker{lifeSpeaker("a", many...), lifeSpeaker("b")}}, "b", false},
		{"a Speaker without its Node goes by itself", speakersSeen{nodes: []corev1.Node{lifeNode("a", up)}, speakers: []clarion.Speaker{lifeSpeaker("a"), lifeSpeaker("b")}}, "", false},
		{"there never was one", speakersSeen{nodes: []corev1.Node{lifeNode("a", up)}}, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			now := time.Unix(1_700_000_000, 0)
			l := newLiveness(now)
			alreadyNone := row.none && strings.Contains(row.name, "said")
			if got := l.judge(now, row.in); len(got.lost) > 0 || got.none != alreadyNone {
				t.Errorf("at once: %+v", got)
			}
			if got := l.judge(now.Add(lostAfter-time.Second), row.in); len(got.lost) > 0 || got.none != alreadyNone ||
				(row.lost != "") != got.wakeAt.Equal(now.Add(lostAfter)) && row.lost != "" {
				t.Errorf("before its time: %+v", got)
			}
			got := l.judge(now.Add(lostAfter), row.in)
			var names []string
			for _, s := range got.lost {
				names = append(names, s.name)
				if s.why == "" {
					t.Error("without a reason")
				}
			}
			if strings.Join(names, " ") != row.lost || got.none != row.none {
				t.Errorf("%q, none %v; want %q, %v", names, got.none, row.lost, row.none)
			}
		})
	}
}

func TestASpeakerThatSaysOtherwiseIsBelieved(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := newLiveness(now)
	in := func(s clarion.Speaker) speakersSeen {
		return speakersSeen{nodes: []corev1.Node{lifeNode("a", corev1.ConditionUnknown)}, speakers: []clarion.Speaker{s}}
	}
	l.judge(now, in(lifeSpeaker("a")))
	now = now.Add(lostAfter)
	if got := l.judge(now, in(lifeSpeaker("a"))); len(got.lost) != 1 || !got.none {
		t.Fatalf("%+v", got)
	}
	l.judge(now, in(saidLost(lifeSpeaker("a"))))
	for range 5 {
		if got := l.judge(now, in(lifeSpeaker("a"))); len(got.lost) > 0 || got.none {
			t.Fatalf("after it said that it lives: %+v", got)
		}
		now = now.Add(time.Minute)
	}
	now = now.Add(believed)
	l.judge(now, in(lifeSpeaker("a")))
	if got := l.judge(now.Add(lostAfter), in(lifeSpeaker("a"))); len(got.lost) != 1 {
		t.Errorf("long after: %+v", got)
	}
}

// speakerWorld has the clock of the controller go ahead, so that a speaker has been away for long at once.
type speakerWorld struct {
	*world
	ahead *lockedDuration
}

type lockedDuration struct{ ns chan time.Duration }

// newSpeakerWorld has a Node and a controller that is to be started, whose clock wait puts ahead.
func newSpeakerWorld(t *testing.T) *speakerWorld {
	w := &speakerWorld{world: newWorld(t), ahead: &lockedDuration{make(chan time.Duration, 1)}}
	w.ahead.ns <- 0
	w.options.LeaderElect = false
	w.options.Now = func() time.Time {
		d := <-w.ahead.ns
		w.ahead.ns <- d
		return time.Now().Add(d)
	}
	w.must(w.Create(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "only"}}))
	return w
}

func (w *speakerWorld) wait(d time.Duration) {
	w.ahead.ns <- <-w.ahead.ns + d
}

func (w *speakerWorld) setNode(name string, ready corev1.ConditionStatus) {
	var n corev1.Node
	w.must(w.Get(w.ctx, types.NamespacedName{Name: name}, &n))
	n.Status.Conditions = lifeNode(name, ready).Status.Conditions
	w.must(w.Status().Update(w.ctx, &n))
}

func (w *speakerWorld) setSpeaker(name string, alive int32) {
	w.must(retry.RetryOnConflict(retry.DefaultRetry, func() error { // the controller writes it too
		var s clarion.Speaker
		if err := w.Get(w.ctx, types.NamespacedName{Name: name}, &s); err != nil {
			return err
		}
		s.Status = lifeSpeaker(name).Status
		s.Status.Membership.Alive = alive
		s.Status.Conditions[0].LastTransitionTime = metav1.Now()
		return w.Status().Update(w.ctx, &s)
	}))
}

func (w *speakerWorld) announced(name string) string {
	for _, c := range w.get(name).Status.Conditions {
		if c.Type == string(clarion.ConditionAnnounced) {
			return string(c.Status) + " " + c.Reason
		}
	}
	return ""
}

// When the last speaker is lost every Service says so, by one write each, and nothing more is written; the word is the
// speakers' again as soon as one lives.
func TestWithoutASpeakerEachServiceSaysSo(t *testing.T) {
	w := newSpeakerWorld(t)
	w.must(w.Create(w.ctx, &clarion.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "only"}}))
	w.setNode("only", corev1.ConditionTrue)
	w.setSpeaker("only", 1)
	w.pool("lab", "192.0.2.0/24")
	w.start()
	const services = 20
	names := make([]string, services)
	for i := range names {
		names[i] = fmt.Sprint("s", i)
		w.service(names[i])
	}
	versions := map[string]string{}
	for _, name := range names {
		w.eventually(func() (string, bool) {
			s := w.get(name)
			versions[name] = s.ResourceVersion
			return name + " has no address", len(s.Status.LoadBalancer.Ingress) == 1
		})
	}

	w.setNode("only", corev1.ConditionUnknown)
	w.wait(lostAfter + time.Minute)
	w.setSpeaker("only", 1) // which looks at it twice
	w.eventually(func() (string, bool) {
		w.wait(lostAfter)
		w.setNode("only", corev1.ConditionUnknown)
		var s clarion.Speaker
		w.must(w.Get(w.ctx, types.NamespacedName{Name: "only"}, &s))
		if !saysLost(&s) {
			w.setSpeaker("only", s.Status.Membership.Alive+1)
		}
		return fmt.Sprintf("the Speaker says %+v", s.Status.Conditions), saysLost(&s)
	})
	for _, name := range names {
		w.eventually(func() (string, bool) {
			said := w.announced(name)
			return name + " says " + said, said == "Unknown NoLiveSpeaker"
		})
	}
	after := map[string]string{}
	for _, name := range names {
		if after[name] = w.get(name).ResourceVersion; after[name] == versions[name] {
			t.Errorf("%s was not written", name)
		}
	}
	w.service("late")
	w.eventually(func() (string, bool) { said := w.announced("late"); return said, said == "Unknown NoLiveSpeaker" })
	for _, name := range names {
		if got := w.get(name).ResourceVersion; got != after[name] {
			t.Errorf("%s was written again", name)
		}
	}

	// One that lives is the writer again.
	w.setNode("only", corev1.ConditionTrue)
	w.setSpeaker("only", 1)
	w.eventually(func() (string, bool) {
		// The controller has seen it when it leaves a new Service to the speaker.
		w.setSpeaker("only", 2)
		name := fmt.Sprint("new-", time.Now().UnixNano())
		w.service(name)
		w.eventually(func() (string, bool) { return "no address", len(w.get(name).Status.LoadBalancer.Ingress) > 0 })
		time.Sleep(300 * time.Millisecond)
		said := w.announced(name)
		return "a new Service says " + said, said == ""
	})
}

// Where there is no sign that there ever was a speaker, Services are not written to only to say so; those that somebody has said to
// be announced are.
func TestWhereThereNeverWasASpeakerNothingIsSaid(t *testing.T) {
	w := newSpeakerWorld(t)
	w.pool("lab", "192.0.2.0/24")
	w.start()
	w.service("quiet")
	w.service("said")
	for _, name := range []string{"quiet", "said"} {
		w.eventually(func() (string, bool) {
			return name + " has no address", len(w.get(name).Status.LoadBalancer.Ingress) == 1
		})
	}
	quiet := w.get("quiet").ResourceVersion
	said := w.get("said")
	said.Status.Conditions = append(said.Status.Conditions, metav1.Condition{Type: string(clarion.ConditionAnnounced), Status: metav1.ConditionTrue,
		Reason: string(clarion.ReasonAnnounced), LastTransitionTime: metav1.Now()})
	w.must(w.Status().Update(w.ctx, said))
	w.wait(2 * lostAfter)
	w.setNode("only", corev1.ConditionTrue)
	w.eventually(func() (string, bool) {
		got := w.announced("said")
		return "it says " + got, got == "Unknown NoLiveSpeaker"
	})
	if got := w.get("quiet").ResourceVersion; got != quiet {
		t.Errorf("a Service that nobody has said to be announced was written to: %+v", w.get("quiet").Status.Conditions)
	}
}
