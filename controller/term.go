package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// term is one term of leadership.
type term struct {
	*cluster
	o      Options
	log    *slog.Logger
	lease  tenure
	events *eventWriter

	services workqueue.TypedRateLimitingInterface[ipam.Key]
	pools    workqueue.TypedRateLimitingInterface[string]
	objects  workqueue.TypedRateLimitingInterface[object]
	hushed   workqueue.TypedRateLimitingInterface[ipam.Key] // see hush
	poolsSet chan struct{}                                  // holds one: the pools are to be read again
	// networkSet holds one: Nodes and Speakers are to be read again.
	networkSet chan struct{}
	// routingSet holds one: the objects about BGP are to be looked at again.
	routingSet chan struct{}
	// labelsMatter: what there is to say of objects about BGP depends on Services.
	labelsMatter atomic.Bool
	// speakersSet holds one: who lives is to be judged again.
	speakersSet chan struct{}
	speakerPods *podWatch   // nil where speakers are not known to run in Pods
	speechless  atomic.Bool // no speaker lives
	speakerless atomic.Bool // no Speaker object says that there ever was one
	hushLimit   *rate.Limiter
	// restSet holds one: the next address to have rested is another.
	restSet chan struct{}

	suspects []suspect   // see barLateWrites; of the goroutine that does that
	adopted  atomic.Bool // the ledger holds what Services hold
	barred   atomic.Bool // nothing of the leader before us can come through any more

	mu       sync.Mutex
	ledger   *ipam.Allocator
	known    map[ipam.Key]*service
	unseen   map[ipam.Key]bool // listed from the API server, not yet in the cache
	poolGens map[string]poolVersion
	paces    map[string]pace        // of pools' statuses
	rested   time.Time              // when the next address will have rested, zero for none
	asked    map[ipam.Key]time.Time // since when a Service is to be looked at, for the metrics
	// unanswered are writes of which we do not know whether they came through: by Service, the version written on.
	unanswered map[ipam.Key]string
}

// service is what a term remembers of a Service of ours.
type service struct {
	uid types.UID
	// version is the resourceVersion that we know of: what the cache has before that is stale.
	version string
	// shown is the ingress as we last wrote it, or found it right.
	shown   []corev1.LoadBalancerIngress
	told    bool // shown is set
	contest contest
	// foretold is set while the Service says, by our doing, that an address is about to come.
	foretold bool
	// beside is set while the ledger keeps what another writer put in the status from being given out.
	beside  bool
	reason  clarion.Reason
	differs bool   // the status is not what was decided
	report  string // in observe mode: what was said of that
}

// longestWait bounds how long a write that failed waits for its next try.
const longestWait = 15 * time.Second

func newTerm(c *cluster, o Options, events *eventWriter, lease tenure) *term {
	t := &term{
		cluster:  c,
		o:        o,
		log:      o.Log,
		lease:    lease,
		events:   events,
		services: newQueue[ipam.Key]("services"),
		pools:    newQueue[string]("pools"),
		objects:  newQueue[object]("objects"),
		hushed:   newQueue[ipam.Key]("hushed"),
		poolsSet: make(chan struct{}, 1),

		networkSet: make(chan struct{}, 1),
		routingSet: make(chan struct{}, 1),
		restSet:    make(chan struct{}, 1),

		speakersSet: make(chan struct{}, 1),
		hushLimit:   rate.NewLimiter(speakerWrites, 1),

		ledger: ipam.New(),
		known:  map[ipam.Key]*service{},
		unseen: map[ipam.Key]bool{},
		paces:  map[string]pace{},
		asked:  map[ipam.Key]time.Time{},

		unanswered: map[ipam.Key]string{},
	}
	return t
}

func newQueue[T comparable](name string) workqueue.TypedRateLimitingInterface[T] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[T](20*time.Millisecond, longestWait),
		workqueue.TypedRateLimitingQueueConfig[T]{Name: name})
}

// run is the term: adopt, then look at everything, then follow changes until ctx ends. Changes that come before
// everything is adopted wait in the queues.
func (t *term) run(ctx context.Context) {
	defer t.services.ShutDown()
	defer t.pools.ShutDown()
	defer t.objects.ShutDown()
	defer t.hushed.ShutDown()
	start := t.o.Now()
	if err := t.readNetwork(ctx); err != nil {
		t.log.Error("can't read Nodes and Speakers", "error", err)
		return
	}
	if err := t.readPools(ctx); err != nil {
		t.log.Error("can't read the pools", "error", err)
		return
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, longestWait) {
		err := t.adopt(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		t.log.Warn("can't list Services, nothing is assigned before that", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
	if t.hasPools() {
		t.barLateWrites(ctx) // else when one appears, for nothing is written before that
	}
	if ctx.Err() != nil {
		return
	}
	t.log.Info("leading", "services", len(t.known), "took", t.o.Now().Sub(start).Round(time.Millisecond).String())
	leading.Set(1)
	defer leading.Set(0)
	defer t.forgetMetrics()

	var parts sync.WaitGroup
	for range t.o.Workers {
		parts.Go(func() { work(ctx, t.services, timed("service", t.reconcile)) })
	}
	parts.Go(func() { work(ctx, t.pools, timed("pool", t.reconcilePool)) })
	parts.Go(func() { work(ctx, t.objects, timed("object", t.reconcileObject)) })
	parts.Go(func() { t.followPools(ctx) })
	parts.Go(func() { t.followNetwork(ctx) })
	parts.Go(func() { t.followRouting(ctx) })
	parts.Go(func() { t.followRests(ctx) })
	if t.o.Mode == Active {
		parts.Go(func() { t.keepGossipKeys(ctx) })
		parts.Go(func() { t.followSpeakers(ctx) })
		parts.Go(func() { work(ctx, t.hushed, t.hush) })
	}
	t.enqueueAll(ctx)
	<-ctx.Done()
	t.services.ShutDown()
	t.pools.ShutDown()
	t.objects.ShutDown()
	t.hushed.ShutDown()
	parts.Wait()
	if t.o.Mode == Active {
		t.writeRests()
	}
}

// work handles a queue until it is shut down.
func work[T comparable](ctx context.Context, q workqueue.TypedRateLimitingInterface[T], handle func(context.Context, T) error) {
	for {
		key, down := q.Get()
		if down {
			return
		}
		if ctx.Err() == nil && handle(ctx, key) != nil {
			q.AddRateLimited(key)
		} else {
			q.Forget(key)
		}
		q.Done(key)
	}
}

// adopt makes the ledger hold what Services hold. It lists them from the API server: the cache may be behind what the
// last leader wrote.
func (t *term) adopt(ctx context.Context) error {
	var all []*corev1.Service
	for page := (corev1.ServiceList{}); ; {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		err := t.client.List(ctx, &page, client.Limit(1000), client.Continue(page.Continue))
		cancel()
		if err != nil {
			return fmt.Errorf("listing Services: %w", err)
		}
		for i := range page.Items {
			trimmed, err := trimService(&page.Items[i])
			if err != nil {
				return err
			}
			all = append(all, trimmed.(*corev1.Service))
		}
		if page.Continue == "" {
			break
		}
		page = corev1.ServiceList{ListMeta: page.ListMeta}
	}
	slices.SortFunc(all, olderFirst)
	resting, err := t.listResting(ctx)
	if err != nil {
		return err
	}

	t.mu.Lock()
	t.ledger.Advance(t.o.Now())
	t.ledger.RestoreResting(resting)
	t.ledger.Adopt(t.adoptions(all))
	led := false
	for _, s := range all {
		k := keyOf(s)
		side := sideOf(s, t.o.Classes)
		led = led || marked(s)
		if side == ours || marked(s) {
			t.known[k] = &service{uid: s.UID, version: s.ResourceVersion}
		}
		if side != nobodys || marked(s) {
			t.unseen[k] = true
		}
	}
	t.mu.Unlock()
	if t.o.Mode == Active && (t.lease.predecessor == vanished || t.lease.predecessor == unknown && led) {
		t.suspects = t.suspectsAmong(all)
	}
	t.barred.Store(len(t.suspects) == 0)
	t.adopted.Store(true)
	return nil
}

// hasPools reports whether there is a pool.
func (t *term) hasPools() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.poolGens) > 0
}

// olderFirst orders Services by who keeps an address that two of them have.
func olderFirst(a, b *corev1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), keyOf(a).Compare(keyOf(b)))
}

// adoptions are the requests of the Services that hold something by our doing, or are ours to serve. What others hold
// is reserved on the way.
func (t *term) adoptions(all []*corev1.Service) (out []ipam.Request) {
	for _, s := range all {
		r := requestOf(s, nil)
		switch sideOf(s, t.o.Classes) {
		case ours:
			out = append(out, r)
		case others:
			if r.Status.Pools != nil {
				out = append(out, r) // ours until its marks are cleared
			} else {
				t.ledger.Reserve(r.Service, r.Status.Addresses)
			}
		}
	}
	return out
}

// enqueueAll has everything looked at.
func (t *term) enqueueAll(ctx context.Context) {
	t.enqueueServices(ctx)
	var pools clarion.IPAddressPoolList
	if err := t.cache.List(ctx, &pools); err != nil {
		t.log.Error("can't read pools from the cache", "error", err)
	}
	t.mu.Lock()
	for k := range t.unseen {
		t.services.Add(k)
	}
	t.mu.Unlock()
	for i := range pools.Items {
		t.pools.Add(pools.Items[i].Name)
	}
	for _, o := range t.allObjects(ctx) {
		t.objects.Add(o)
	}
}

// enqueueServices has every Service looked at, the oldest first.
func (t *term) enqueueServices(ctx context.Context) {
	var services corev1.ServiceList
	if err := t.cache.List(ctx, &services); err != nil {
		t.log.Error("can't read Services from the cache", "error", err)
	}
	all := make([]*corev1.Service, len(services.Items))
	for i := range services.Items {
		all[i] = &services.Items[i]
	}
	slices.SortFunc(all, olderFirst)
	for _, s := range all {
		t.services.Add(keyOf(s))
	}
}

// wakeLocked brings back the Services for which something changed, and has the pools written whose numbers did.
func (t *term) wakeLocked() {
	for _, k := range t.ledger.TakeWoken() {
		t.askedLocked(k)
		t.services.Add(k)
	}
	for _, name := range t.ledger.TakeTouched() {
		p := t.paces[name]
		p.changes++
		t.paces[name] = p
		t.pools.Add(name)
	}
	if next := t.ledger.Advance(t.o.Now()); !next.Equal(t.rested) {
		t.rested = next
		select {
		case t.restSet <- struct{}{}:
		default:
		}
	}
}

// serviceChanged, poolChanged, … are called by the caches' handlers.

func (t *term) serviceChanged(s *corev1.Service) {
	k := keyOf(s)
	t.mu.Lock()
	t.askedLocked(k)
	if known := t.known[k]; known != nil && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		// The API server has cleared what it showed. By the time that we look it may be a load balancer again, and that it
		// shows nothing is no other writer's doing.
		known.told = false
	}
	t.mu.Unlock()
	t.services.Add(k)
	if t.speechless.Load() {
		t.hushed.Add(k)
	}
}

// askedLocked notes since when a Service is to be looked at.
func (t *term) askedLocked(k ipam.Key) {
	if _, waits := t.asked[k]; !waits {
		t.asked[k] = t.o.Now()
	}
}

func (t *term) poolChanged(name string) {
	t.pools.Add(name)
	t.routingChanged()
	select {
	case t.poolsSet <- struct{}{}:
	default:
	}
}

func (t *term) namespaceChanged(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ledger.NamespaceChanged(name)
	t.wakeLocked()
}

func (t *term) objectChanged(o object) {
	t.objects.Add(o)
	if slices.Contains(routingKinds, o.kind) {
		t.routingChanged()
	}
}

// reconcile looks at one Service, and writes what is to be written.
func (t *term) reconcile(ctx context.Context, k ipam.Key) (err error) {
	t.mu.Lock()
	asked, waits := t.asked[k]
	delete(t.asked, k)
	t.mu.Unlock()
	defer func() {
		if err != nil && waits {
			t.mu.Lock()
			t.asked[k] = asked
			t.mu.Unlock()
		}
	}()
	var s corev1.Service
	err = t.cache.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, &s)
	if apierrors.IsNotFound(err) {
		return t.gone(ctx, k)
	}
	if err != nil {
		return err
	}
	var namespace corev1.Namespace
	if err := t.cache.Get(ctx, types.NamespacedName{Name: k.Namespace}, &namespace); err != nil {
		return err // without its labels we could not tell the pools that are for it; a new one is there in a moment
	}
	w, d := t.decide(&s, namespace.Labels)
	if w == nil {
		return nil
	}
	if t.o.Mode == Observe {
		t.reportWrite(k, w)
		return nil
	}
	if err := t.write(ctx, &s, w, d); err != nil {
		return err
	}
	if w.note != nil {
		countOutcome(*w.note, asked, t.o.Now())
	}
	return nil
}

// gone forgets a Service that is not there any more.
func (t *term) gone(ctx context.Context, k ipam.Key) error {
	t.mu.Lock()
	unseen := t.unseen[k]
	t.mu.Unlock()
	if unseen {
		// It was listed, and the cache has never had it: the cache is behind, or it was deleted in between.
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		var s corev1.Service
		if err := t.client.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, &s); !apierrors.IsNotFound(err) {
			if err == nil {
				err = fmt.Errorf("the cache does not have Service %s yet", k)
			}
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unseen, k)
	delete(t.unanswered, k)
	t.ledger.Advance(t.o.Now())
	t.ledger.Release(k)
	t.keepFromOthersLocked(k, nil)
	delete(t.known, k)
	t.wakeLocked()
	return nil
}

// requestTimeout bounds one request.
const requestTimeout = 10 * time.Second

// toWrite returns the context for one write, which does not outlive the Lease. It outlives the term, for a write that
// is broken off may or may not come through.
func (t *term) toWrite(ctx context.Context) (context.Context, context.CancelFunc, error) {
	left := t.lease.left()
	if left <= 0 {
		return nil, nil, errNotLeading
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(requestTimeout, left))
	return ctx, cancel, nil
}

// send patches a Service's status, and returns what it is then.
func (t *term) send(ctx context.Context, s *corev1.Service, w *write) (written *corev1.Service, err error) {
	written = &corev1.Service{}
	written.Namespace, written.Name = s.Namespace, s.Name
	err = t.client.Status().Patch(ctx, written, client.RawPatch(types.StrategicMergePatchType, w.body()))
	countWrite("service", err)
	return written, err
}

// write sends a patch, and tells the ledger.
func (t *term) write(ctx context.Context, s *corev1.Service, w *write, d *ipam.Decision) error {
	ctx, cancel, err := t.toWrite(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	written, err := t.send(ctx, s, w)
	t.answered(s, err)
	switch {
	case err == nil:
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return err // the Service is another by now, and its change comes by the cache
	default:
		if ctx.Err() == nil {
			t.log.Warn("can't write a Service's status", "service", keyOf(s).String(), "error", err)
		}
		return err
	}

	if w.foretells {
		t.mu.Lock()
		t.foretoldLocked(s, written)
		t.mu.Unlock()
		return nil // the Service comes again by the cache
	}
	t.mu.Lock()
	t.settleLocked(s, written, d)
	t.mu.Unlock()
	t.events.addressWritten()
	if w.note != nil {
		t.events.say(s, *w.note)
		what := "assigned"
		if w.note.kind == corev1.EventTypeWarning {
			what = "not assigned"
		} else if w.note.reason == clarion.ReasonReleased {
			what = "released"
		}
		t.log.Info(what, "service", keyOf(s).String(), "reason", w.note.reason, "message", w.note.text)
	}
	return nil
}

// reportWrite is what observe mode does instead of a write: it tells once what would be written.
func (t *term) reportWrite(k ipam.Key, w *write) {
	var reason clarion.Reason
	says := "nothing but Clarion's marks would change"
	if w.note != nil {
		reason, says = w.note.reason, w.note.text
	}
	t.mu.Lock()
	known := t.known[k]
	if known == nil {
		known = &service{}
		t.known[k] = known
	}
	same := known.differs && known.report == says
	known.report, known.differs = says, true
	t.mu.Unlock()
	if !same {
		t.log.Info("would write a Service's status", "service", k.String(), "reason", reason, "message", says)
	}
}
