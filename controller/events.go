package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// eventWriter writes events, on a path of its own: whoever has something to say leaves it here and goes on. Events are
// written one at a time and slowly while addresses are being written, so that they take next to nothing of what the
// API server can do.
type eventWriter struct {
	client   creator
	log      *slog.Logger
	identity string
	now      func() time.Time

	written atomic.Int64 // when an address was last written, in nanoseconds since 1970

	mu      sync.Mutex
	waiting []*eventsv1.Event
	more    chan struct{} // holds one: something is waiting
	count   uint64
}

// creator is what of a client is needed.
type creator interface {
	Create(ctx context.Context, o client.Object, options ...client.CreateOption) error
}

var _ creator = client.Client(nil)

const (
	// eventsWaiting bounds what is remembered. Events beyond that are dropped, and counted.
	eventsWaiting = 20_000

	// eventPause and busyEventPause lie between one event and the next; the latter for busyFor after an address was
	// written.
	eventPause     = 20 * time.Millisecond
	busyEventPause = 500 * time.Millisecond
	busyFor        = time.Second
)

// reportingController is who our events are from.
const reportingController = "clarion.dev/controller"

func newEventWriter(c creator, o Options) *eventWriter {
	return &eventWriter{
		client: c, log: o.Log, identity: cut(o.Identity, 128), now: o.Now,
		more: make(chan struct{}, 1),
	}
}

// addressWritten tells that an address has been written, so that events make room.
func (w *eventWriter) addressWritten() { w.written.Store(w.now().UnixNano()) }

func (w *eventWriter) pause() time.Duration {
	if w.busy() {
		return busyEventPause
	}
	return eventPause
}

// busy reports whether addresses are being written.
func (w *eventWriter) busy() bool { return w.now().Sub(time.Unix(0, w.written.Load())) < busyFor }

// makeRoom has another write that may be late wait for a moment while addresses are being written.
func (w *eventWriter) makeRoom(ctx context.Context, moment time.Duration) error {
	if !w.busy() {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(moment):
		return nil
	}
}

// say leaves an event about a Service to be written.
func (w *eventWriter) say(s *corev1.Service, n note) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= eventsWaiting {
		eventsDropped.Inc()
		return
	}
	now := w.now()
	w.count++
	w.waiting = append(w.waiting, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace,
			Name:      fmt.Sprintf("%s.%x.%x", cut(s.Name, 200), now.UnixNano(), w.count),
		},
		EventTime:           metav1.NewMicroTime(now),
		ReportingController: reportingController,
		ReportingInstance:   w.identity,
		Action:              "Assign",
		Reason:              string(n.reason),
		Type:                n.kind,
		Note:                cut(n.text, maxEventNote),
		Regarding: corev1.ObjectReference{
			APIVersion:      "v1",
			Kind:            "Service",
			Namespace:       s.Namespace,
			Name:            s.Name,
			UID:             s.UID,
			ResourceVersion: s.ResourceVersion,
		},
	})
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// run writes events until ctx ends. What is waiting then is not written any more.
func (w *eventWriter) run(ctx context.Context) {
	for {
		e := w.next()
		if e == nil {
			select {
			case <-ctx.Done():
				return
			case <-w.more:
			}
			continue
		}
		if err := w.write(ctx, e); err != nil && ctx.Err() == nil {
			eventsDropped.Inc()
			w.log.Warn("can't write an event", "service", e.Regarding.Namespace+"/"+e.Regarding.Name, "reason", e.Reason, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(w.pause()):
		}
	}
}

func (w *eventWriter) next() *eventsv1.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.waiting = nil
		return nil
	}
	e := w.waiting[0]
	w.waiting = w.waiting[1:]
	return e
}

func (w *eventWriter) write(ctx context.Context, e *eventsv1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return w.client.Create(ctx, e)
}
