package controller

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// fence says whether we may write: while the Lease that we last renewed has not run out by our own clocks. The elector
// ends a term before that; the fence is for a process that was stopped in the middle, and goes on writing when it
// wakes up, before the elector has had its say.
type fence struct {
	resourcelock.Interface
	duration time.Duration
	now      func() time.Time

	mu    sync.Mutex
	until time.Time // with the monotonic clock and the wall clock; zero when the Lease is not ours
}

// Create makes the Lease.
func (f *fence) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	asked := f.now()
	err := f.Interface.Create(ctx, r)
	f.renewed(asked, r, err)
	return err
}

// Update renews the Lease, or gives it up.
func (f *fence) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity != f.Identity() {
		f.set(time.Time{}) // before anybody else can have it
	}
	asked := f.now()
	err := f.Interface.Update(ctx, r)
	f.renewed(asked, r, err)
	return err
}

// renewed counts the Lease from when the renewal was asked for, which is before the API server noted it.
func (f *fence) renewed(asked time.Time, r resourcelock.LeaderElectionRecord, err error) {
	if err == nil && r.HolderIdentity == f.Identity() {
		f.set(asked.Add(f.duration))
	}
}

func (f *fence) set(until time.Time) {
	f.mu.Lock()
	f.until = until
	f.mu.Unlock()
}

// open reports whether we may write. The monotonic clock does not tell of a machine that was suspended, the wall clock
// does; the wall clock may be set back, the monotonic clock not. Both must agree.
func (f *fence) open() bool {
	f.mu.Lock()
	until := f.until
	f.mu.Unlock()
	now := f.now()
	return now.Before(until) && now.Round(0).Before(until.Round(0))
}

// lead stands for election until ctx ends, and runs a term for each time that the Lease is won. A Lease that is lost,
// because the API server was away for too long, is stood for again.
func lead(ctx context.Context, c *cluster, o Options, term func(ctx context.Context, mayWrite func() bool)) error {
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
func campaign(ctx context.Context, f *fence, o Options, term func(ctx context.Context, mayWrite func() bool)) (led bool, err error) {
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

	done := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            f,
		LeaseDuration:   o.LeaseDuration,
		RenewDeadline:   o.RenewDeadline,
		RetryPeriod:     o.RetryPeriod,
		ReleaseOnCancel: true,
		Name:            LeaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(holding context.Context) {
				defer close(done)
				defer stop()
				leading.Store(true)
				if holding.Err() != nil {
					return // won and lost
				}
				inTerm, end := context.WithCancel(holding)
				defer end()
				defer context.AfterFunc(ctx, end)()
				term(inTerm, f.open)
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
		<-done
	}
	return leading.Load(), nil
}

// randomSuffix keeps two processes on one host apart.
func randomSuffix() string {
	b := make([]byte, 4)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
