package controller

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// board is where events are written.
type board struct {
	events []*eventsv1.Event
	at     []time.Time
	fails  error
}

func (b *board) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	b.events = append(b.events, o.(*eventsv1.Event))
	b.at = append(b.at, time.Now())
	return b.fails
}

func TestEventsAreWrittenApartFromAddresses(t *testing.T) {
	for name, tc := range map[string]struct {
		busy bool
		want time.Duration
	}{
		"one after the other":                       {false, 99 * eventPause},
		"slowly, while addresses are being written": {true, 99 * busyEventPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b board
				w := newEventWriter(&b, Options{Log: slog.New(slog.DiscardHandler), Identity: "me", Now: time.Now})
				ctx, cancel := context.WithCancel(t.Context())
				if tc.busy {
					w.addressWritten() // before the first event, whoever of the two runs first
					go func() {
						for ctx.Err() == nil {
							w.addressWritten()
							select {
							case <-ctx.Done():
							case <-time.After(busyFor / 2):
							}
						}
					}()
				}
				done := make(chan struct{})
				go func() { defer close(done); w.run(ctx) }()
				s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
				start := time.Now()
				for range 100 {
					w.say(s, note{corev1.EventTypeNormal, clarion.ReasonAssigned, "192.0.2.1 from pool lab"})
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("whoever had something to say waited %v", took)
				}
				time.Sleep(2 * 100 * busyEventPause)
				synctest.Wait()
				if len(b.events) != 100 {
					t.Fatalf("%d events", len(b.events))
				}
				if took := b.at[99].Sub(start); took != tc.want {
					t.Errorf("they took %v, want %v", took, tc.want)
				}
				names := map[string]bool{}
				for _, e := range b.events {
					names[e.Name] = true
				}
				if len(names) != 100 {
					t.Errorf("%d names for 100 events", len(names))
				}
				e := b.events[0]
				if e.Regarding.Name != "web" || e.Reason != "Assigned" || e.Type != "Normal" || e.Note != "192.0.2.1 from pool lab" {
					t.Errorf("event %+v", e)
				}
				cancel()
				<-done
			})
		})
	}
}

func TestEventsNeverPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := board{fails: errors.New("no")}
		w := newEventWriter(&b, Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
		for range 2 * eventsWaiting {
			w.say(bare(), note{reason: clarion.ReasonAssigned})
		}
		if n := len(w.waiting); n != eventsWaiting {
			t.Errorf("%d are remembered", n)
		}
		// One that can't be written does not hold up the next.
		ctx, cancel := context.WithTimeout(t.Context(), 10*eventPause)
		defer cancel()
		w.run(ctx)
		if len(b.events) < 10 {
			t.Errorf("%d tries", len(b.events))
		}
	})
}

func TestOtherWritesMakeRoomForAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEventWriter(&board{}, Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
		took := func(ctx context.Context) time.Duration {
			start := time.Now()
			if err := w.makeRoom(ctx, busyHushPause); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		if d := took(t.Context()); d != 0 {
			t.Errorf("in peace it waited %v", d)
		}
		w.addressWritten()
		if d := took(t.Context()); d != busyHushPause {
			t.Errorf("while addresses are being written it waited %v", d)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if d := took(ended); d != 0 {
			t.Errorf("at the end of a term it waited %v", d)
		}
		time.Sleep(busyFor)
		if d := took(t.Context()); d != 0 {
			t.Errorf("afterwards it waited %v", d)
		}
	})
}
