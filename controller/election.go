package controller

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// fence says whether we may write: while the Lease that we last renewed has not run out by our own clocks. The elector
// ends a term before that; the fence is for a process that was stopped in the middle, and goes on writing when it
// wakes up, before the elector has had its say.
//
// It also keeps the elector from what must not be done to a Lease. A leader that comes back after its Lease ran out
// finds the one of its successor: the elector, which goes by what it saw last, would give that one up, or take it once
// more in the middle of a term. The elector calls it from one goroutine.
type fence struct {
	resourcelock.Interface
	duration time.Duration
	now      func() time.Time

	// Of one campaign; see begin.
	end    context.CancelFunc // ends the term
	ended  <-chan struct{}    // closed when the term has ended
	won    bool
	before predecessor // how the leader before ended, once won
	clean  bool        // no write of the term can come through any more; of the term until ended is closed
	there  bool        // the last Get found a Lease
	lost   bool        // the Lease was seen to be no more ours after it was won
	holder string      // whom the last Get showed

	mu    sync.Mutex
	until time.Time // with the monotonic clock and the wall clock; zero when the Lease is not ours
}

var (
	errLost   = errors.New("the lease is no more ours: a new term must begin before it is taken again")
	errOthers = errors.New("the lease is not ours to give up")
	errUnsure = errors.New("a write was not answered, so the lease is left to run out")
)

// begin forgets the campaign before. There is no term yet; end ends the one that may come, and ended is closed then.
func (f *fence) begin(end context.CancelFunc, ended <-chan struct{}) {
	f.end, f.ended = end, ended
	f.won, f.lost, f.holder, f.there, f.clean = false, false, "", false, false
	f.set(time.Time{})
}

// Get reads the Lease. Once it is somebody else's, nobody's or gone, the term that it was won for is over.
func (f *fence) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	f.holder, f.there = "", false
	r, raw, err := f.Interface.Get(ctx)
	if err == nil {
		f.holder, f.there = r.HolderIdentity, true
	} else if !apierrors.IsNotFound(err) {
		return r, raw, err
	}
	if f.won && f.holder != f.Identity() {
		f.lost = true
		f.set(time.Time{})
		f.end()
	}
	return r, raw, err
}

// Create makes the Lease.
func (f *fence) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if f.lost {
		return errLost
	}
	asked := f.now()
	err := f.Interface.Create(ctx, r)
	f.renewed(asked, err)
	return err
}

// Update renews the Lease, or gives it up, which it does after the term's last write.
func (f *fence) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity != f.Identity() {
		return f.giveUp(ctx, r)
	}
	if f.lost {
		return errLost
	}
	asked := f.now()
	err := f.Interface.Update(ctx, r)
	f.renewed(asked, err)
	return err
}

func (f *fence) giveUp(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	f.set(time.Time{}) // before anybody else can have it
	if f.holder != f.Identity() {
		return errOthers
	}
	f.end()
	select {
	case <-f.ended:
	case <-ctx.Done():
		return fmt.Errorf("the term does not end, the lease is left to run out: %w", ctx.Err())
	}
	if !f.clean {
		return errUnsure
	}
	return f.Interface.Update(ctx, r)
}

// renewed counts the Lease from when the renewal was asked for, which is before the API server noted it.
func (f *fence) renewed(asked time.Time, err error) {
	if err == nil {
		if !f.won {
			switch {
			case !f.there:
				f.before = unknown
			case f.holder == "":
				f.before = resigned
			default:
				f.before = vanished
			}
		}
		f.won = true
		f.set(asked.Add(f.duration))
	}
}

func (f *fence) set(until time.Time) {
	f.mu.Lock()
	f.until = until
	f.mu.Unlock()
}

// left is for how long we may write yet, zero or less for not at all. The monotonic clock does not tell of a machine
// that was suspended, the wall clock does; the wall clock may be set back, the monotonic clock not. The shorter counts.
func (f *fence) left() time.Duration {
	f.mu.Lock()
	until := f.until
	f.mu.Unlock()
	now := f.now()
	return min(until.Sub(now), until.Round(0).Sub(now.Round(0)))
}

// lead stands for election until ctx ends, and runs a term for each time that the Lease is won. A Lease that is lost,
// because the API server was away for too long, is stood for again.
func lead(ctx context.Context, c *cluster, o Options, term func(context.Context, tenure) (resigns bool)) error {
	client, err := coordinationclient.NewForConfigAndClient(c.config, c.http)
	if err != nil {
		return fmt.Errorf("making a client for the lease: %w", err)
	}
	f := &fence{
		Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.Namespace, Name: LeaseName},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: o.Identity},
		},
		duration: o.LeaseDuration,
		now:      o.Now,
	}
	for ctx.Err() == nil {
		led, err := campaign(ctx, f, o, term)
		if err != nil {
			return err
		}
		if led && ctx.Err() == nil {
			o.Log.Warn("lost the lease, standing for election again", "lease", o.Namespace+"/"+LeaseName)
		}
	}
	return nil
}

// campaign runs one election, and the term if it is won.
func campaign(ctx context.Context, f *fence, o Options, term func(context.Context, tenure) (resigns bool)) (led bool, err error) {
	// The elector gives the Lease back when its context ends; that must be after the term's last write, so the context
	// is not ctx.
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var leading atomic.Bool
	defer context.AfterFunc(ctx, func() {
		if !leading.Load() {
			stop()
		}
	})()

	inTerm, end := context.WithCancel(electing)
	defer end()
	defer context.AfterFunc(ctx, end)()
	ended := make(chan struct{})
	f.begin(end, ended)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            f,
		LeaseDuration:   o.LeaseDuration,
		RenewDeadline:   o.RenewDeadline,
		RetryPeriod:     o.RetryPeriod,
		ReleaseOnCancel: true,
		Name:            LeaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(holding context.Context) {
				defer close(ended)
				defer stop()
				leading.Store(true)
				defer context.AfterFunc(holding, end)()
				f.clean = f.before != vanished
				if inTerm.Err() == nil && holding.Err() == nil {
					f.clean = term(inTerm, tenure{f.left, f.before})
				}
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return false, fmt.Errorf("setting up the election: %w", err)
	}
	elector.Run(electing)
	f.set(time.Time{})
	if leading.Load() {
		<-ended
	}
	return leading.Load(), nil
}

// randomSuffix keeps two processes on one host apart.
func randomSuffix() string {
	b := make([]byte, 4)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
