package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tenure is what a term knows of its Lease.
type tenure struct {
	left        func() time.Duration // for how long we may write yet; zero or less for not at all
	predecessor predecessor
}

// predecessor is how the leader before us ended, which says whether a write of its may still be on its way: one that
// was stopped between its decision and its write may wake up long after, with no time to look at its clocks.
type predecessor uint8

const (
	resigned predecessor = iota // it gave the Lease up when its last write was answered
	unknown                     // there was no Lease; what Services bear tells whether there was a leader
	vanished                    // its Lease ran out: a write of its may be on its way
)

// suspect is a Service that a write of the last leader may be on its way to, as it was when this term listed it.
type suspect struct{ *corev1.Service }

// barLateWrites shuts the door behind a predecessor that vanished. A write of its carries the resourceVersion that was
// decided on, so it can come through only to a Service that nobody has written since: each to which it can have wanted to
// write an address is written now, and says that it is about to be decided on. Nothing may be granted before that. A
// Service that was written in the meantime is read again, for it may be the late write that came through; what it shows
// is adopted.
//
// Left alone are Services that may not gain an address as they are (mayGain): whatever the last leader knew of pools and
// of other Services, it had to write to such a one first that it was about to, and what it meant to write after that
// meets a conflict. A write that adds no address may come through late; it is put right like any other.
//
// It blocks until all is done, or ctx ends.
func (t *term) barLateWrites(ctx context.Context) {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, longestWait) {
		if t.tryToBar(ctx); len(t.suspects) == 0 {
			t.barred.Store(true)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// tryToBar writes to the suspects, and leaves those that could not be written.
func (t *term) tryToBar(ctx context.Context) {
	var group sync.WaitGroup
	next := make(chan suspect)
	var mu sync.Mutex
	var left []suspect
	for range t.o.Workers {
		group.Go(func() {
			for s := range next {
				if err := t.bar(ctx, s); err != nil {
					if ctx.Err() == nil {
						t.log.Warn("can't write a Service that the last leader may still write to; nothing is assigned before that",
							"service", keyOf(s.Service).String(), "error", err)
					}
					mu.Lock()
					left = append(left, s)
					mu.Unlock()
				}
			}
		})
	}
	for _, s := range t.suspects {
		next <- s
	}
	close(next)
	group.Wait()
	t.suspects = left
}

// suspectsAmong are the Services of ours to which the last leader may have meant to write an address.
func (t *term) suspectsAmong(all []*corev1.Service) (out []suspect) {
	for _, s := range all {
		if sideOf(s, t.o.Classes) == ours && s.DeletionTimestamp == nil && mayGain(s) {
			out = append(out, suspect{s})
		}
	}
	return out
}

// bar writes one suspect, or finds that somebody else has.
func (t *term) bar(ctx context.Context, s suspect) error {
	w := newWrite(s.Service)
	w.pending(s.Service, "clarion-controller "+t.o.Identity+" has taken over and is about to decide", t.o.Now())

	writing, cancel, err := t.toWrite(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	now := &corev1.Service{}
	now.Namespace, now.Name = s.Namespace, s.Name
	err = t.client.Status().Patch(writing, now, client.RawPatch(types.StrategicMergePatchType, w.body()))
	countWrite("service", err)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		err = t.client.Get(writing, client.ObjectKeyFromObject(s.Service), now)
		if apierrors.IsNotFound(err) {
			return nil
		}
	}
	if err != nil {
		return err
	}

	trimmed, err := trimService(now)
	if err != nil {
		return err
	}
	now = trimmed.(*corev1.Service)
	k := keyOf(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.UID != s.UID {
		t.ledger.Release(k) // made again: what the one before had is not this one's
	}
	t.ledger.Adopt(t.adoptions([]*corev1.Service{now}))
	if side := sideOf(now, t.o.Classes); side == ours || marked(now) {
		t.known[k] = &service{uid: now.UID, version: now.ResourceVersion}
	}
	t.unseen[k] = true
	return nil
}

// resigns reports whether the next leader need not fear a write of this term: all have been answered, and those of the
// leader before are barred.
func (t *term) resigns() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	harmless := t.lease.predecessor != vanished && !t.adopted.Load() // it ended before it had begun
	return (t.barred.Load() || t.lease.predecessor == resigned || harmless) && len(t.unanswered) == 0
}

// answered notes how a write to a Service ended. Without an answer from the API server it may yet be carried out, for
// as long as the Service is not written otherwise.
func (t *term) answered(s *corev1.Service, err error) {
	k := keyOf(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown && !slices.Contains(unsure, apierrors.ReasonForError(err)) {
		delete(t.unanswered, k)
	} else {
		t.unanswered[k] = s.ResourceVersion
	}
}

// unsure are the reasons of answers that don't tell whether the write was carried out.
var unsure = []metav1.StatusReason{metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout,
	metav1.StatusReasonServiceUnavailable, metav1.StatusReasonInternalError}
