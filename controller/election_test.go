package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lock is a Lease that lets everything through, or nothing.
type lock struct {
	resourcelock.Interface
	shows string // whom it shows as its holder
	fails error
	slow  func()
}

func (l *lock) Identity() string { return "me" }
func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &resourcelock.LeaderElectionRecord{HolderIdentity: l.shows}, nil, l.fails
}
func (l *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	return l.fails
}
func (l *lock) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	if l.slow != nil {
		l.slow()
	}
	return l.fails
}

func TestTheFence(t *testing.T) {
	now := time.Now()
	l := &lock{}
	f := &fence{Interface: l, duration: 8 * time.Second, now: func() time.Time { return now }}
	ended := make(chan struct{})
	close(ended)
	end := func() {}
	f.begin(end, ended)
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
	is := func(want bool, when string) {
		t.Helper()
		if open := f.left() > 0; open != want {
			t.Errorf("%s it is open: %t", when, !want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}

	is(false, "before the lease is won")
	must(f.Create(t.Context(), mine))
	is(true, "with the lease")
	now = now.Add(7 * time.Second)
	is(true, "just before it runs out")
	must(f.Update(t.Context(), mine))
	now = now.Add(7 * time.Second)
	is(true, "renewed")
	l.fails = errors.New("no")
	if f.Update(t.Context(), mine) == nil {
		t.Error("a failure is hidden")
	}
	is(true, "not renewed, not yet out")
	now = now.Add(time.Second)
	is(false, "run out")

	l.fails = nil
	l.slow = func() { now = now.Add(5 * time.Second) } // the answer is slow, the lease counts from the request
	must(f.Update(t.Context(), mine))
	now = now.Add(3 * time.Second)
	is(false, "run out since it was asked for")

	l.slow = nil
	must(f.Update(t.Context(), mine))
	is(true, "won again")
	l.shows = "me"
	_, _, err := f.Get(t.Context())
	must(err)
	is(true, "looked at")
	if f.Update(t.Context(), resourcelock.LeaderElectionRecord{}) == nil {
		t.Error("given up though a write was not answered")
	}
	f.clean = true
	must(f.Update(t.Context(), resourcelock.LeaderElectionRecord{}))
	is(false, "given up")
	f.begin(end, ended)
	must(f.Update(t.Context(), mine))
	l.shows = "another"
	_, _, err = f.Get(t.Context())
	must(err)
	is(false, "seen to be somebody else's")
	if f.Update(t.Context(), resourcelock.LeaderElectionRecord{}) == nil {
		t.Error("somebody else's lease was given up")
	}
	if f.Update(t.Context(), mine) == nil {
		t.Error("the lease was taken again in the same term")
	}
}

// How the last leader ended says whether writes of its may still come.
func TestHowTheLastLeaderEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		fails error
		shows string
		want  predecessor
	}{
		"there was none":                 {apierrors.NewNotFound(leaseResource, LeaseName), "", unknown},
		"it gave the lease up":           {nil, "", resigned},
		"its lease ran out":              {nil, "another", vanished},
		"it had our name and is no more": {nil, "me", vanished},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lock{fails: tc.fails, shows: tc.shows}
			f := &fence{Interface: l, duration: 8 * time.Second, now: time.Now}
			f.begin(func() {}, nil)
			_, _, _ = f.Get(t.Context())
			l.fails = nil
			if err := f.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "me"}); err != nil || f.before != tc.want {
				t.Errorf("%v, %d", err, f.before)
			}
		})
	}
}

// A machine that sleeps stops the monotonic clock, not the wall clock.
func TestTheFenceClosesOverASuspension(t *testing.T) {
	now := time.Now()
	f := &fence{Interface: &lock{}, duration: 8 * time.Second, now: func() time.Time { return now }}
	if err := f.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "me"}); err != nil {
		t.Fatal(err)
	}
	now = now.Round(0).Add(time.Hour) // only a wall clock
	if f.left() > 0 {
		t.Error("open after an hour's sleep")
	}
}

// A write in flight ends with the Lease.
func TestNoWriteOutlivesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for left, want := range map[time.Duration]time.Duration{time.Hour: requestTimeout, 2 * time.Second: 2 * time.Second} {
			tm := &term{lease: tenure{left: func() time.Duration { return left }}}
			ctx, cancel, err := tm.toWrite(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			<-ctx.Done()
			cancel()
			if took := time.Since(start); took != want {
				t.Errorf("with %v left a write may take %v, want %v", left, took, want)
			}
		}
		tm := &term{lease: tenure{left: func() time.Duration { return 0 }}}
		if _, _, err := tm.toWrite(t.Context()); !errors.Is(err, errNotLeading) {
			t.Errorf("with nothing left: %v", err)
		}
	})
}
