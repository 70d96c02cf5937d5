package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func TestObserveModeTellsWhatWouldBeDoneAndWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/31")
	w.service("old")
	w.changeStatus("old", func(s *corev1.ServiceStatus) {
		s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.0"}}
	})
	w.service("foreign")
	w.changeStatus("foreign", func(s *corev1.ServiceStatus) {
		s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
	})
	w.service("asks", annotated(clarion.AnnotationAddressPool, "nowhere"))
	w.service("theirs", class("example.com/theirs"))
	names := []string{"old", "foreign", "asks", "theirs"}
	versions := map[string]string{}
	for _, name := range names {
		versions[name] = w.get(name).ResourceVersion
	}
	var logs lockedBuffer
	w.start(func(o *Options) {
		o.Mode = Observe
		o.Log = slog.New(slog.NewTextHandler(&logs, nil))
		o.Config = rest.CopyConfig(o.Config)
		o.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodGet {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				return next.RoundTrip(r)
			})
		})
	})
	tells := func(name, reason, message string) {
		t.Helper()
		w.eventually(func() (string, bool) {
			for line := range strings.Lines(logs.String()) {
				if strings.Contains(line, `msg="would write a Service's status"`) && strings.Contains(line, "service="+w.namespace+"/"+name+" ") &&
					strings.Contains(line, "reason="+reason+" ") && strings.Contains(line, message) {
					return "", true
				}
			}
			return fmt.Sprintf("nothing is told of %s, %s, %q:\n%s", name, reason, message, logs.String()), false
		})
	}
	tells("old", "Assigned", "192.0.2.0 from pool lab") // adopted
	tells("foreign", "HeldByAnother", "203.0.113.9")
	tells("asks", "PoolNotFound", "pool nowhere is asked for")
	w.service("new")
	tells("new", "Assigned", "192.0.2.1 from pool lab")
	w.service("late")
	tells("late", "PoolExhausted", "lab: full (v4 2/2)")
	told := strings.Count(logs.String(), "would write")
	change(w, w.get("late"), func(s *corev1.Service) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, "example.com/a", "b") })
	time.Sleep(300 * time.Millisecond) // for a line that should not come
	if n := strings.Count(logs.String(), "would write"); n != told || n != 5 {
		t.Errorf("%d things are told, then %d:\n%s", told, n, logs.String())
	}
	for _, name := range names {
		if s := w.get(name); s.ResourceVersion != versions[name] {
			t.Errorf("%s was written", name)
		}
	}
	if w.leader() != "" {
		t.Error("it took the lease")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// cable is a controller's connection to the API server, which can be cut.
type cable struct{ cut atomic.Bool }

func (c *cable) plug(o *Options) {
	o.Config = rest.CopyConfig(o.Config)
	o.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if c.cut.Load() {
				return nil, errors.New("the cable is cut")
			}
			return next.RoundTrip(r)
		})
	})
}

func TestAnotherReplicaTakesOver(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24")
	var first cable
	stop := w.start(first.plug, func(o *Options) { o.Identity = "first" })
	w.eventually(func() (string, bool) { return "leader " + w.leader(), w.leader() == "first" })
	w.service("s0")
	w.sees("s0", "192.0.2.0 True Assigned")
	w.start(func(o *Options) { o.Identity = "second" })

	// The first one loses the API server: the second one takes over when the lease has run out.
	first.cut.Store(true)
	w.eventually(func() (string, bool) { return "leader " + w.leader(), w.leader() == "second" })
	w.service("s1")
	w.sees("s1", "192.0.2.1 True Assigned")
	w.sees("s0", "192.0.2.0 True Assigned")

	// It comes back and waits for its turn; told to stop, it stops.
	first.cut.Store(false)
	stop()
	w.service("s2")
	w.sees("s2", "192.0.2.2 True Assigned")
}

func TestALeaderThatStopsHandsOverAtOnce(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24")
	long := func(o *Options) { o.LeaseDuration, o.RenewDeadline = 60*time.Second, 50*time.Second }
	stop := w.start(long, func(o *Options) { o.Identity = "first" })
	w.eventually(func() (string, bool) { return "leader " + w.leader(), w.leader() == "first" })
	w.start(long, func(o *Options) { o.Identity = "second" })
	stop()
	w.service("s")
	w.sees("s", "192.0.2.0 True Assigned")
	if w.leader() != "second" {
		t.Errorf("the leader is %q", w.leader())
	}
}

func TestAnAPIServerThatIsAwayIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/24")
	var c cable
	c.cut.Store(true) // from the start
	w.start(c.plug)
	time.Sleep(500 * time.Millisecond)
	c.cut.Store(false)
	w.service("s0")
	w.sees("s0", "192.0.2.0 True Assigned")

	c.cut.Store(true) // in mid-run, for longer than a lease lasts
	w.service("s1")
	time.Sleep(w.options.LeaseDuration + time.Second)
	c.cut.Store(false)
	w.sees("s1", "192.0.2.1 True Assigned")
	w.sees("s0", "192.0.2.0 True Assigned")
}

// What happens to Services while nobody leads is found at the start of the next term.
func TestAStartFindsWhatHappenedInBetween(t *testing.T) {
	w := newWorld(t)
	w.pool("lab", "192.0.2.0/30")
	stop := w.start()
	for _, name := range []string{"a", "b", "c", "d"} {
		w.service(name)
		w.eventually(func() (string, bool) {
			return shows(w.get(name)), strings.HasSuffix(shows(w.get(name)), "True Assigned")
		})
	}
	stop()
	w.must(w.Delete(w.ctx, w.get("b")))
	w.service("e")
	w.start()
	w.sees("e", "192.0.2.1 True Assigned")
}
