package controller

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// theLease is a Lease as the API server keeps it: who writes must have seen its last version.
type theLease struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
}

func (l *theLease) put(x *coordinationv1.Lease) *coordinationv1.Lease {
	l.version++
	x = x.DeepCopy()
	x.ResourceVersion = strconv.Itoa(l.version)
	l.lease = x
	return x.DeepCopy()
}

func (l *theLease) holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lease == nil || l.lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.lease.Spec.HolderIdentity
}

func (l *theLease) remove() {
	l.mu.Lock()
	l.lease = nil
	l.mu.Unlock()
}

// wire is one process's way to the Lease, which can be cut.
type wire struct {
	coordinationclient.LeaseInterface
	to *theLease

	mu   sync.Mutex
	down chan struct{} // closed when it is mended; nil when it is whole
}

var leaseResource = coordinationv1.Resource("leases")

func (w *wire) cut() {
	w.mu.Lock()
	w.down = make(chan struct{})
	w.mu.Unlock()
}

func (w *wire) mend() {
	w.mu.Lock()
	close(w.down)
	w.down = nil
	w.mu.Unlock()
}

// pass waits while the wire is cut, then has f work on the Lease.
func (w *wire) pass(ctx context.Context, f func() (*coordinationv1.Lease, error)) (*coordinationv1.Lease, error) {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	if down != nil {
		select {
		case <-down:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	return f()
}

func (w *wire) Leases(string) coordinationclient.LeaseInterface { return w }

func (w *wire) Get(ctx context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return w.pass(ctx, func() (*coordinationv1.Lease, error) {
		if w.to.lease == nil {
			return nil, apierrors.NewNotFound(leaseResource, name)
		}
		return w.to.lease.DeepCopy(), nil
	})
}

func (w *wire) Create(ctx context.Context, x *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return w.pass(ctx, func() (*coordinationv1.Lease, error) {
		if w.to.lease != nil {
			return nil, apierrors.NewAlreadyExists(leaseResource, x.Name)
		}
		return w.to.put(x), nil
	})
}

func (w *wire) Update(ctx context.Context, x *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return w.pass(ctx, func() (*coordinationv1.Lease, error) {
		if w.to.lease == nil {
			return nil, apierrors.NewNotFound(leaseResource, x.Name)
		}
		if w.to.lease.ResourceVersion != x.ResourceVersion {
			return nil, apierrors.NewConflict(leaseResource, x.Name, nil)
		}
		return w.to.put(x), nil
	})
}

// candidate is a process that stands for election.
type candidate struct {
	wire  *wire
	fence *fence

	mu    sync.Mutex
	terms int // that began
	in    bool
}

func (c *candidate) is() (terms int, in bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.terms, c.in
}

// stand has a candidate stand for election until ctx ends; each of its terms takes a while to end.
func stand(ctx context.Context, l *theLease, name string, windDown time.Duration, ended func()) *candidate {
	o := Options{
		LeaseDuration: DefaultLeaseDuration, RenewDeadline: DefaultRenewDeadline, RetryPeriod: DefaultRetryPeriod,
		Log: slog.New(slog.DiscardHandler),
	}
	c := &candidate{wire: &wire{to: l}}
	c.fence = &fence{
		Interface: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: "n", Name: LeaseName}, Client: c.wire,
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		},
		duration: o.LeaseDuration,
		now:      time.Now,
	}
	go func() {
		for ctx.Err() == nil {
			_, err := campaign(klog.NewContext(ctx, logr.Discard()), c.fence, o, func(ctx context.Context, _ tenure) bool {
				c.mu.Lock()
				c.terms, c.in = c.terms+1, true
				c.mu.Unlock()
				<-ctx.Done()
				time.Sleep(windDown)
				ended()
				c.mu.Lock()
				c.in = false
				c.mu.Unlock()
				return true
			})
			if err != nil {
				panic(err)
			}
		}
	}()
	return c
}

// However long a leader is cut off, it leaves alone what its successor has got, and never do both write.
func TestALeaderThatComesBackLeavesItsSuccessorAlone(t *testing.T) {
	for away := 5 * time.Second; away <= 16*time.Second; away += 500 * time.Millisecond {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := &theLease{}
				one := stand(ctx, l, "one", 0, func() {})
				time.Sleep(500 * time.Millisecond)
				two := stand(ctx, l, "two", 0, func() {})
				time.Sleep(5 * time.Second)
				if l.holder() != "one" || one.fence.left() <= 0 {
					t.Fatalf("%q has the lease", l.holder())
				}
				one.wire.cut()
				time.AfterFunc(away, one.wire.mend)
				for range 3000 {
					time.Sleep(10 * time.Millisecond)
					if one.fence.left() > 0 && two.fence.left() > 0 {
						t.Fatal("both may write")
					}
					if terms, in := two.is(); terms > 1 || terms == 1 && !in {
						t.Fatal("the successor's term was ended")
					}
				}
				if l.holder() == "" {
					t.Error("nobody has the lease")
				}
				cancel()
				time.Sleep(time.Minute)
			})
		})
	}
}

// Who can't renew the Lease in time, and reaches the API server again a moment later, gives it up after its last write.
func TestTheLeaseIsGivenUpAfterTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &theLease{}
		var ended atomic.Int32
		one := stand(ctx, l, "one", 500*time.Millisecond, func() {
			if ended.Add(1); l.holder() != "one" {
				t.Errorf("the lease was %q's before the term had ended", l.holder())
			}
		})
		time.Sleep(5 * time.Second)
		one.wire.cut()
		time.Sleep(7200 * time.Millisecond) // beyond the deadline, in the middle of giving up
		one.wire.mend()
		time.Sleep(400 * time.Millisecond)
		if l.holder() != "one" {
			t.Error("given up in the middle of the term")
		}
		cancel()
		time.Sleep(time.Minute)
		if ended.Load() == 0 || l.holder() != "" {
			t.Errorf("%d terms ended, and %q has the lease", ended.Load(), l.holder())
		}
	})
}

// A Lease that was taken away by hand ends the term: somebody else can have had it since.
func TestALeaseThatIsGoneEndsTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &theLease{}
		one := stand(ctx, l, "one", 3*time.Second, func() {})
		time.Sleep(5 * time.Second)
		l.remove()
		time.Sleep(2 * time.Second)
		if one.fence.left() > 0 || l.holder() != "" {
			t.Errorf("it goes on: %v left, %q has the lease", one.fence.left(), l.holder())
		}
		time.Sleep(10 * time.Second)
		if terms, _ := one.is(); terms != 2 || one.fence.left() <= 0 {
			t.Errorf("%d terms, %v left", terms, one.fence.left())
		}
		cancel()
		time.Sleep(time.Minute)
	})
}
