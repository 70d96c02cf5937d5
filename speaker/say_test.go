package speaker

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// server takes what is written, and fails as it is told.
type server struct {
	client.Client
	mu      sync.Mutex
	fail    error
	written []string // object, and what
	at      []time.Time
	patches []string
}

func newServer() *server {
	s := &server{}
	s.Client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme()).Build(), interceptor.Funcs{
		SubResourcePatch: func(_ context.Context, _ client.Client, _ string, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
			data, err := p.Data(o)
			if err != nil {
				return err
			}
			if err := s.take("patch "+client.ObjectKeyFromObject(o).String(), string(data)); err != nil {
				return err
			}
			if speaker, ok := o.(*v1beta1.Speaker); ok { // what it is now comes back
				speaker.Generation = 4
				return json.Unmarshal(data, speaker)
			}
			return nil
		},
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			b, _ := json.Marshal(o)
			return s.take("create "+o.GetName(), string(b))
		},
	})
	return s
}

func (s *server) take(what, data string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.written, s.at, s.patches = append(s.written, what), append(s.at, time.Now()), append(s.patches, data)
	return nil
}

func (s *server) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *server) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.written)
}

func (s *server) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.patches[len(s.patches)-1]
}

var (
	discard  = slog.New(slog.DiscardHandler)
	webKey   = types.NamespacedName{Namespace: "default", Name: "web"}
	services = schema.GroupResource{Resource: "services"}
)

func said(message string) statement {
	return statement{uid: "u", say: metav1.Condition{Type: "clarion.dev/Announced", Status: metav1.ConditionTrue, Reason: "Announced", Message: message}}
}

func TestHerald(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(t *testing.T, h *herald, s *server)
		want []string // messages written
	}{
		{"what is to be said is written", func(_ *testing.T, h *herald, _ *server) {
			h.say(webKey, said("one"))
		}, []string{"one"}},
		{"what has been superseded is not", func(_ *testing.T, h *herald, s *server) {
			s.setFail(errors.New("away"))
			h.say(webKey, said("one"))
			time.Sleep(time.Second)
			h.say(webKey, said("two"))
			s.setFail(nil)
		}, []string{"two"}},
		{"nor what was taken back", func(_ *testing.T, h *herald, s *server) {
			s.setFail(errors.New("away"))
			h.say(webKey, said("one"))
			time.Sleep(time.Second)
			h.unsay(webKey)
			s.setFail(nil)
		}, nil},
		{"what fails is tried again", func(_ *testing.T, h *herald, s *server) {
			s.setFail(errors.New("away"))
			h.say(webKey, said("one"))
			time.Sleep(10 * time.Minute)
			s.setFail(nil)
		}, []string{"one"}},
		{"but not for a Service that is gone", func(_ *testing.T, h *herald, s *server) {
			s.setFail(apierrors.NewNotFound(services, "web"))
			h.say(webKey, said("one"))
			time.Sleep(time.Second)
			s.setFail(nil)
		}, nil},
		{"nor for another one of its name", func(_ *testing.T, h *herald, s *server) {
			s.setFail(apierrors.NewConflict(services, "web", errors.New("uid")))
			h.say(webKey, said("one"))
			time.Sleep(time.Second)
			s.setFail(nil)
		}, nil},
		{"which the API server calls invalid", func(_ *testing.T, h *herald, s *server) {
			s.setFail(apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "web", nil))
			h.say(webKey, said("one"))
			time.Sleep(time.Second)
			s.setFail(nil)
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				h := newHerald(s, discard, func(string) {})
				var reports atomic.Int32
				h.done = func(key types.NamespacedName, _ statement) { reports.Add(1) }
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { h.run(ctx); close(done) }()
				row.do(t, h, s)
				time.Sleep(2 * heraldPause)
				stop()
				<-done
				time.Sleep(2 * heraldPause) // the queue's own timers

				// The loop is told of each statement that the herald ended with, and only of those.
				if got, want := reports.Load() == 1, row.name != "nor what was taken back"; got != want {
					t.Errorf("%d reports", reports.Load())
				}
				var got []string
				for _, p := range s.patches {
					var patch struct{ Status corev1.ServiceStatus }
					if err := json.Unmarshal([]byte(p), &patch); err != nil {
						t.Fatal(err)
					}
					got = append(got, patch.Status.Conditions[0].Message)
				}
				if !slices.Equal(got, row.want) {
					t.Errorf("wrote %q, want %q", got, row.want)
				}
			})
		})
	}
}

// A speaker writes its one condition, on the very Service that it means, and nothing else.
func TestWhatTheHeraldWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		h := newHerald(s, discard, func(string) {})
		since := metav1.NewTime(time.Unix(1_600_000_000, 0).UTC())
		for _, row := range []struct {
			name   string
			before *metav1.Condition
			since  string
		}{
			{"said for the first time, it is so since now", nil, time.Now().UTC().Format(time.RFC3339)},
			{"turned, it is so since now", &metav1.Condition{Status: metav1.ConditionFalse, LastTransitionTime: since}, time.Now().UTC().Format(time.RFC3339)},
			{"for another reason, it is so since before", &metav1.Condition{Status: metav1.ConditionTrue, LastTransitionTime: since}, "2020-09-13T12:26:40Z"},
		} {
			say := said("words")
			say.before = row.before
			h.say(webKey, say)
			h.write(t.Context(), webKey)
			want := `{"metadata":{"uid":"u"},"status":{"conditions":[{"type":"clarion.dev/Announced","status":"True","lastTransitionTime":"` +
				row.since + `","reason":"Announced","message":"words"}]}}`
			if got := s.last(); got != want {
				t.Errorf("%s: wrote\n%s, want\n%s", row.name, got, want)
			}
		}
		h.queue.ShutDown()
		time.Sleep(time.Second)
	})
}

func TestHeraldIsNotGreedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		h := newHerald(s, discard, func(string) {})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.run(ctx); close(done) }()
		for i := range 5000 {
			h.say(types.NamespacedName{Name: string(rune('a'+i%26)) + time.Duration(i).String()}, said("x"))
		}
		time.Sleep(time.Minute)
		stop()
		<-done
		if got, most := len(s.got()), heraldBurst+60*heraldRate; got > most || got < most-heraldRate {
			t.Errorf("%d writes in a minute, want about %d", got, most)
		}
		time.Sleep(2 * heraldPause)
	})
}

// All heralds together keep to fifty a second, from the first second on.
func TestHeraldsShareTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const heralds = 4
		s := newServer()
		ctx, stop := context.WithCancel(t.Context())
		var done sync.WaitGroup
		for n := range heralds {
			h := newHerald(s, discard, func(string) {})
			h.share(heralds)
			for i := range 1000 {
				h.say(types.NamespacedName{Namespace: string(rune('a' + n)), Name: time.Duration(i).String()}, said("x"))
			}
			done.Go(func() { h.run(ctx) })
		}
		before := 0
		for range 10 {
			time.Sleep(time.Second)
			if now := len(s.got()); now-before > 50 || now-before < heraldRate-heralds {
				t.Errorf("%d writes in a second", now-before)
			}
			before = len(s.got())
		}
		stop()
		done.Wait()
		time.Sleep(2 * heraldPause)
	})
}

func TestPortrait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		p := newPortrait(s, discard, "node-a", func(string) {})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		status := func(owned int, missing ...string) v1beta1.SpeakerStatus {
			return statusOf("v1", owned, 2, 3, missing, true, "")
		}
		have := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "node-a", Generation: 4}}
		seen := func() { // what the informer brings after a write
			patch := v1beta1.Speaker{ObjectMeta: have.ObjectMeta}
			if err := json.Unmarshal([]byte(s.last()), &patch); err != nil {
				t.Fatal(err)
			}
			p.seen(&patch)
		}

		// It is created, owned by the Node, and does not hold up the Node's deletion.
		p.show("", status(0))
		synctest.Wait()
		if got := s.got(); len(got) > 0 {
			t.Fatalf("without the Node it does %q", got)
		}
		p.show("node-uid", status(0))
		synctest.Wait()
		var created v1beta1.Speaker
		if err := json.Unmarshal([]byte(s.last()), &created); err != nil {
			t.Fatal(err)
		}
		if o := created.OwnerReferences; created.Name != "node-a" || len(o) != 1 || o[0].Kind != "Node" || o[0].UID != "node-uid" || o[0].BlockOwnerDeletion != nil {
			t.Errorf("created %+v", created.ObjectMeta)
		}

		// Its status follows, at most once a second.
		p.seen(have)
		for i := range 100 {
			p.show("node-uid", status(i, "node-b"))
			time.Sleep(100 * time.Millisecond)
			if len(s.got()) > 1 {
				seen()
			}
		}
		time.Sleep(2 * time.Second)
		seen()
		if got := len(s.got()); got < 8 || got > 14 {
			t.Errorf("%d writes in 12 seconds", got)
		}
		for i := 2; i < len(s.at); i++ {
			if gap := s.at[i].Sub(s.at[i-1]); gap < portraitInterval {
				t.Errorf("two writes within %v", gap)
			}
		}
		if last := s.last(); !strings.Contains(last, `"addressesOwned":99`) || !strings.Contains(last, `"missing":["node-b"]`) || !strings.Contains(last, `"observedGeneration":4`) {
			t.Errorf("wrote %s", last)
		}

		// What is the same is not written; that nobody is missing any more is.
		before := len(s.got())
		p.show("node-uid", status(99, "node-b"))
		time.Sleep(5 * time.Second)
		if got := s.got()[before:]; len(got) > 0 {
			t.Errorf("wrote the same again: %q", got)
		}
		p.show("node-uid", status(99))
		time.Sleep(5 * time.Second)
		if last := s.last(); !strings.Contains(last, `"missing":null`) {
			t.Errorf("wrote %s", last)
		}
		seen()

		// Somebody else's word on this speaker is corrected, and a deleted object made again.
		lost := have.DeepCopy()
		lost.Status = status(99)
		lost.Status.Conditions[0].Status, lost.Status.Conditions[0].Reason = metav1.ConditionUnknown, "NodeLost"
		p.seen(lost)
		time.Sleep(5 * time.Second)
		if last := s.last(); !strings.Contains(last, `"reason":"Running"`) {
			t.Errorf("wrote %s", last)
		}
		p.seen(nil)
		time.Sleep(5 * time.Second)
		if got := s.got(); got[len(got)-1] != "create node-a" {
			t.Errorf("did %q last", got[len(got)-1])
		}

		stop()
		<-done
	})
}

func TestEventsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		results := map[string]int{}
		var mu sync.Mutex
		c := newCrier(s, discard, "node-a", func(result string) { mu.Lock(); results[result]++; mu.Unlock() })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.run(ctx); close(done) }()
		c.cry(corev1.EventTypeNormal, corev1.ObjectReference{Kind: "Service", Namespace: "team", Name: "web"}, v1beta1.ReasonAnnounced, "words")
		synctest.Wait()
		var e eventsv1.Event
		if err := json.Unmarshal([]byte(s.last()), &e); err != nil {
			t.Fatal(err)
		}
		if e.Namespace != "team" || e.Reason != "Announced" || e.Note != "words" || e.ReportingInstance != "node-a" || e.Regarding.Name != "web" {
			t.Errorf("recorded %+v", e)
		}
		for range 1000 {
			c.cry(corev1.EventTypeNormal, corev1.ObjectReference{Kind: "Speaker", Name: "node-a"}, v1beta1.ReasonMoved, "words")
		}
		time.Sleep(10 * time.Second)
		stop()
		<-done
		if got := len(s.got()); got > crierBurst+11*crierRate {
			t.Errorf("%d events in ten seconds", got)
		}
		if results["dropped"] < 600 {
			t.Errorf("results %v", results)
		}
		names := map[string]bool{}
		for _, w := range s.got() {
			names[w] = true
		}
		if len(names) != len(s.got()) {
			t.Error("two events of one name")
		}
	})
}
