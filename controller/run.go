package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Run runs the controller until ctx ends, then gives the Lease back and returns nil. It survives an API server that is
// away, when it starts as well as later.
func Run(ctx context.Context, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	c, err := newCluster(o)
	if err != nil {
		return err
	}
	p := &process{cluster: c, o: o}
	p.events = newEventWriter(c.client, o)

	health, err := listen(o.HealthBindAddress)
	if err != nil {
		return fmt.Errorf("listening for health probes on %s: %w", o.HealthBindAddress, err)
	}
	metrics, err := p.metricsServer()
	if err != nil {
		return err
	}
	if err := p.follow(ctx); err != nil {
		return err
	}

	parts, ctx := errgroup.WithContext(ctx)
	if o.SpeakerPods {
		var pods cache.Cache
		if p.pods, pods, err = newPodWatch(ctx, c, o, func() {
			if t := p.term.Load(); t != nil {
				t.speakersChanged()
			}
		}); err != nil {
			return err
		}
		parts.Go(func() error { return pods.Start(ctx) })
	}
	if health != nil {
		parts.Go(func() error { return answer(ctx, health, p.healthHandler()) })
	}
	if metrics != nil {
		parts.Go(func() error { return metrics.Start(logr.NewContext(ctx, logr.FromSlogHandler(o.Log.Handler()))) })
	}
	parts.Go(func() error { return c.cache.Start(ctx) })
	if o.Mode == Active {
		parts.Go(func() error { p.events.run(ctx); return nil })
	}
	parts.Go(func() error {
		if !c.cache.WaitForCacheSync(ctx) {
			return nil
		}
		p.synced.Store(true)
		if o.Mode == Observe || !o.LeaderElect {
			p.serve(ctx, tenure{left: func() time.Duration { return requestTimeout }, predecessor: unknown})
			return nil
		}
		return lead(ctx, c, o, p.serve)
	})
	if err := parts.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// process is a running controller, leading or not.
type process struct {
	*cluster
	o      Options
	events *eventWriter
	pods   *podWatch // nil where speakers are not known to run in Pods
	synced atomic.Bool
	term   atomic.Pointer[term] // nil while we do not lead
}

// serve is a term, until ctx ends. It reports whether the next leader need not fear a write of this one.
func (p *process) serve(ctx context.Context, lease tenure) (resigns bool) {
	t := newTerm(p.cluster, p.o, p.events, lease)
	t.speakerPods = p.pods
	p.term.Store(t)
	termShown.Store(t)
	defer p.term.Store(nil)
	var ran *metav1.PartialObjectMetadata
	if d, err := p.deployment(ctx); err == nil && p.o.Mode == Active {
		ran = d
	}
	t.run(ctx)
	p.lastWords(ctx, t, ran)
	return t.resigns()
}

// follow has changes in the cluster go to the term, if there is one. A term begins by looking at everything, so what
// changes while there is none needs no remembering.
func (p *process) follow(ctx context.Context) error {
	on := func(tell func(*term, client.Object)) toolscache.ResourceEventHandlerFuncs {
		changed := func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if t := p.term.Load(); t != nil {
				if o, ok := o.(client.Object); ok {
					tell(t, o)
				}
			}
		}
		return toolscache.ResourceEventHandlerFuncs{
			AddFunc: changed,
			UpdateFunc: func(before, after any) {
				b, err1 := meta.Accessor(before)
				a, err2 := meta.Accessor(after)
				if err1 == nil && err2 == nil && b.GetResourceVersion() == a.GetResourceVersion() {
					return // a resync tells nothing
				}
				changed(after)
			},
			DeleteFunc: changed,
		}
	}
	handlers := map[client.Object]toolscache.ResourceEventHandler{
		&corev1.Service{}: on(func(t *term, o client.Object) {
			if s, ok := o.(*corev1.Service); ok {
				t.serviceChanged(s)
			}
			if t.labelsMatter.Load() {
				t.routingChanged()
			}
		}),
		&corev1.Namespace{}: on(func(t *term, o client.Object) { t.namespaceChanged(o.GetName()) }),
	}
	pools := on(func(t *term, o client.Object) { t.poolChanged(o.GetName()) })
	changed := pools.UpdateFunc
	pools.UpdateFunc = func(before, after any) {
		if t := p.term.Load(); t != nil && poolsAlike(before, after) {
			t.pools.Add(after.(*clarion.IPAddressPool).Name) // its status or its finalizers, mostly by our own doing
			return
		}
		changed(before, after)
	}
	handlers[&clarion.IPAddressPool{}] = pools
	for _, o := range []client.Object{&corev1.Node{}, &clarion.Speaker{}} {
		_, speaks := o.(*clarion.Speaker)
		h := on(func(t *term, _ client.Object) {
			t.networkChanged()
			t.speakersChanged()
			t.routingChanged()
		})
		update := h.UpdateFunc
		h.UpdateFunc = func(before, after any) {
			switch {
			case !networkAlike(before, after), speaks && !sessionsAlike(before, after), !speaks && !selectedAlike(before, after):
				update(before, after)
			case !lifeAlike(before, after):
				if t := p.term.Load(); t != nil {
					t.speakersChanged()
				}
			}
		}
		handlers[o] = h
	}
	for kind, k := range kinds {
		handlers[k.one()] = on(func(t *term, o client.Object) { t.objectChanged(object{kind, o.GetName()}) })
	}
	for o, h := range handlers {
		informer, err := p.cache.GetInformer(ctx, o, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("following %T: %w", o, err)
		}
		if _, err := informer.AddEventHandler(h); err != nil {
			return fmt.Errorf("following %T: %w", o, err)
		}
	}
	return nil
}

// healthHandler answers probes: alive is whoever answers, ready is who has its view of the cluster, leader or not.
func (p *process) healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !p.synced.Load() {
			http.Error(w, "waiting for the API server's objects", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// metricsServer is nil when metrics are not wanted.
func (p *process) metricsServer() (metricsserver.Server, error) {
	if off(p.o.MetricsBindAddress) {
		return nil, nil
	}
	options := metricsserver.Options{BindAddress: p.o.MetricsBindAddress}
	if p.o.MetricsFilter != nil {
		options.SecureServing, options.FilterProvider = true, p.o.MetricsFilter
	}
	s, err := metricsserver.NewServer(options, p.config, p.http)
	if err != nil {
		return nil, fmt.Errorf("setting up metrics on %s: %w", p.o.MetricsBindAddress, err)
	}
	return s, nil
}

func off(address string) bool { return address == "" || address == "0" }

func listen(address string) (net.Listener, error) {
	if off(address) {
		return nil, nil
	}
	return net.Listen("tcp", address)
}

// answer answers requests until ctx ends.
func answer(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.Shutdown(within) // what is not answered by then is cut off
	})()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
