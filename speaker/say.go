package speaker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/time/rate"
)

// herald writes the condition Announced to Services. The loop tells it what is to be said and does not wait;
// what fails is tried again until it is said, or until something else is to be said.
type herald struct {
	client client.Client
	log    *slog.Logger
	limit  *rate.Limiter
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]
	now    func() time.Time
	wrote  func(result string)
	// done is told, if it is set, when a statement that still holds was written, or can't be.
	done func(types.NamespacedName, statement)

	mu   sync.Mutex
	want map[types.NamespacedName]statement
}

// statement is what is to be said of a Service, and what it is said in place of.
type statement struct {
	uid    types.UID
	say    metav1.Condition
	before *metav1.Condition
}

// How much the heralds of all speakers together ask of the API server: one write in 25 ms, after ten at once; failures again
// after 100 ms and up to a minute.
const (
	heraldRate    = 40
	heraldBurst   = 10
	heraldWorkers = 4
	heraldBackoff = 100 * time.Millisecond
	heraldPause   = time.Minute
	writeTimeout  = 10 * time.Second
)

func newHerald(c client.Client, log *slog.Logger, wrote func(result string)) *herald {
	return &herald{
		client: c,
		log:    log,
		limit:  rate.NewLimiter(heraldRate, heraldBurst),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](heraldBackoff, heraldPause)),
		now:   time.Now,
		wrote: wrote,
		want:  map[types.NamespacedName]statement{},
	}
}

// share has this herald take its part of what all of that many may ask for together.
func (h *herald) share(heralds int) {
	h.limit.SetLimit(rate.Limit(heraldRate) / rate.Limit(heralds))
	h.limit.SetBurst(max(1, heraldBurst/heralds))
}

// say has a condition written to a Service, in place of what was to be written before.
func (h *herald) say(key types.NamespacedName, s statement) {
	h.mu.Lock()
	h.want[key] = s
	h.mu.Unlock()
	h.queue.Forget(key)
	h.queue.Add(key)
}

// unsay takes back what has not been written yet.
func (h *herald) unsay(key types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.want, key)
}

// run writes until ctx ends.
func (h *herald) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range heraldWorkers {
		workers.Go(func() {
			for {
				key, shutdown := h.queue.Get()
				if shutdown {
					return
				}
				h.write(ctx, key)
				h.queue.Done(key)
			}
		})
	}
	<-ctx.Done()
	h.queue.ShutDown()
	workers.Wait()
}

func (h *herald) write(ctx context.Context, key types.NamespacedName) {
	if h.limit.Wait(ctx) != nil {
		return
	}
	h.mu.Lock()
	s, wanted := h.want[key]
	h.mu.Unlock()
	if !wanted {
		return
	}
	err := h.patch(ctx, key, s)
	switch {
	case err == nil:
		h.wrote("ok")
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsInvalid(err):
		// Deleted, or another Service under this name (a patch that would change the uid is
		// invalid): the informer will tell.
		h.wrote("gone")
	case ctx.Err() != nil:
		return
	default:
		h.wrote("error")
		h.log.Warn("can't write a Service's condition, trying again", "service", key.String(), "error", err)
		h.queue.AddRateLimited(key)
		return
	}
	h.queue.Forget(key)
	h.mu.Lock()
	holds := h.want[key] == s
	if holds {
		delete(h.want, key)
	}
	h.mu.Unlock()
	if holds && h.done != nil {
		h.done(key, s)
	}
}

func (h *herald) patch(ctx context.Context, key types.NamespacedName, s statement) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	c := s.say
	c.LastTransitionTime = metav1.NewTime(h.now())
	if s.before != nil && s.before.Status == c.Status {
		c.LastTransitionTime = s.before.LastTransitionTime
	}
	patch, err := conditionPatch(s.uid, c)
	if err != nil {
		return err
	}
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	return h.client.Status().Patch(ctx, o, client.RawPatch(types.StrategicMergePatchType, patch))
}

// conditionPatch changes one condition and nothing else, and only of the very Service that is meant.
func conditionPatch(uid types.UID, c metav1.Condition) ([]byte, error) {
	b, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid},
		"status":   map[string]any{"conditions": []metav1.Condition{c}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a condition: %w", err)
	}
	return b, nil
}

// sayTheSame reports whether two conditions do, apart from when.
func sayTheSame(a *metav1.Condition, b metav1.Condition) bool {
	return a != nil && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message
}
