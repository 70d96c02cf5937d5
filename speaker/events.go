package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// crier records events. They are the least of what is written: few at a time, in order, and those that come
// when too many wait are left out. (client-go's broadcaster keeps every one that waits, in goroutines.)
type crier struct {
	client   client.Client
	log      *slog.Logger
	limit    *rate.Limiter
	wrote    func(result string)
	queue    chan *eventsv1.Event
	instance string
}

const (
	crierRate  = 5
	crierBurst = 25
	crierQueue = 256
	// crierController is who the events are reported by.
	crierController = "clarion.dev/speaker"
)

func newCrier(c client.Client, log *slog.Logger, node string, wrote func(result string)) *crier {
	return &crier{
		client:   c,
		log:      log,
		limit:    rate.NewLimiter(crierRate, crierBurst),
		wrote:    wrote,
		queue:    make(chan *eventsv1.Event, crierQueue),
		instance: node,
	}
}

// cry has an event recorded on an object. It belongs to the loop and does not wait.
func (c *crier) cry(kind string, on corev1.ObjectReference, reason v1beta1.Reason, note string) {
	namespace := on.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	name := fmt.Sprintf("%s.%016x", on.Name[:min(len(on.Name), 200)], rand.Uint64())
	select {
	case c.queue <- &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: namespace, Name: name},
		EventTime:           metav1.NewMicroTime(time.Now()),
		ReportingController: crierController,
		ReportingInstance:   c.instance,
		Action:              "Announce",
		Reason:              string(reason),
		Regarding:           on,
		Note:                note,
		Type:                kind,
	}:
	default:
		c.wrote("dropped")
	}
}

// run writes events until ctx ends.
func (c *crier) run(ctx context.Context) {
	for {
		var e *eventsv1.Event
		select {
		case <-ctx.Done():
			return
		case e = <-c.queue:
		}
		if c.limit.Wait(ctx) != nil {
			return
		}
		if err := c.write(ctx, e); err != nil && ctx.Err() == nil {
			c.wrote("error")
			c.log.Warn("can't record an event", "error", err)
		} else {
			c.wrote("ok")
		}
	}
}

func (c *crier) write(ctx context.Context, e *eventsv1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := c.client.Create(ctx, e); err != nil {
		return fmt.Errorf("%s on %s: %w", e.Reason, e.Regarding.Name, err)
	}
	return nil
}
