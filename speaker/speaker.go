package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

// Options are what a speaker runs with.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// Namespace that Clarion is installed in; the gossip keys are there.
	Namespace string
	// NodeName is the name of the Node that the speaker runs on.
	NodeName string
	// Classes of Services that are served.
	Classes v1beta1.ServiceClasses
	// IgnoreExcludeLabel lets nodes announce in spite of the label that excludes them.
	IgnoreExcludeLabel bool
	// Observe makes the speaker look only: it announces and writes nothing.
	Observe bool

	// GossipAddress to listen on; invalid means the Node's InternalIP.
	GossipAddress netip.Addr
	// GossipPort, TCP and UDP, the same on all nodes.
	GossipPort uint16
	// MetricsAddress serves /metrics; "0" serves none.
	MetricsAddress string
	// MetricsAuth is whether readers of the metrics need a token that the API server allows to read them;
	// they are served by HTTPS then.
	MetricsAuth bool
	// HealthAddress serves /healthz and /readyz.
	HealthAddress string

	// Version of the program.
	Version string
	Log     *slog.Logger
	// Registry that the metrics are registered with.
	Registry prometheus.Registerer

	// announcer is for tests, which have no links to announce on.
	announcer announcer
}

// announcer is what a speaker needs of layer2.
type announcer interface {
	Run(ctx context.Context) error
	Apply(desired []layer2.Announcement) layer2.Changes
	Reannounce()
	Links() ([]layer2.Link, <-chan struct{})
	State() (layer2.State, <-chan struct{})
	Counters() layer2.Counters
}

var _ announcer = (*layer2.Announcer)(nil)

// handOver is how long a speaker that stops goes on answering after the others were told: by then they
// have taken over.
const handOver = 300 * time.Millisecond

// Run runs a speaker until ctx ends, and leaves in good order: the others are told first and take over while
// it still answers. It returns an error when going on makes no sense.
func Run(ctx context.Context, o Options) error {
	s, err := newSpeaker(o)
	if err != nil {
		return err
	}
	// What keeps the node answering outlives ctx by the time of a leave.
	alive, die := context.WithCancelCause(context.WithoutCancel(ctx))
	defer die(nil)
	stopping, stopped := context.WithCancel(alive)
	defer stopped()
	defer context.AfterFunc(ctx, stopped)()

	var parts sync.WaitGroup
	start := func(ctx context.Context, what string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				die(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	start(alive, "health checks", func(ctx context.Context) error { return serveHealth(ctx, o.HealthAddress, s.ready) })
	start(alive, "metrics", s.serveMetrics)
	start(alive, "layer 2", s.announcer.Run)
	start(alive, "gossip", s.gossip.Run)
	start(stopping, "speaker", s.run)

	<-stopping.Done()
	if alive.Err() == nil {
		s.leave()
	}
	die(nil)
	parts.Wait()
	if err := context.Cause(alive); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// speaker is a speaker that runs.
type speaker struct {
	Options
	announcer announcer
	gossip    *gossip.Gossip
	ready     *readiness
	meters    *meters
	feed      *feed
	herald    *herald
	portrait  *portrait
	crier     *crier
	loop      *loop
}

func newSpeaker(o Options) (*speaker, error) {
	s := &speaker{Options: o, announcer: o.announcer, ready: &readiness{waits: []string{"the API server"}}, feed: newFeed()}
	if s.announcer == nil {
		if !o.Observe {
			if err := raiseNetRaw(); err != nil {
				return nil, err
			}
		}
		s.announcer = layer2.New(layer2.Options{Logger: o.Log})
	}
	s.gossip = gossip.New(gossip.Options{Node: o.NodeName, Log: o.Log})
	s.meters = newMeters(o.Registry, s.announcer.Counters, s.gossip.Counters)

	config := rest.CopyConfig(o.Config)
	config.QPS = -1 // those who write limit themselves
	c, err := client.New(config, client.Options{Scheme: scheme(), Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	wrote := func(object string) func(string) {
		return func(result string) { s.meters.writes.WithLabelValues(object, result).Inc() }
	}
	s.herald = newHerald(c, o.Log, wrote("service"))
	s.portrait = newPortrait(c, o.Log, o.NodeName, wrote("speaker"))

	s.crier = newCrier(c, o.Log, o.NodeName, wrote("event"))
	s.loop = newLoop(s)
	s.herald.done = s.loop.heraldDone
	return s, nil
}

// run follows the API server and acts on what is seen, until ctx ends.
func (s *speaker) run(ctx context.Context) error {
	s.Log.Info("speaker starting", "node", s.NodeName, "version", s.Version, "mode", mode(s.Observe))
	if err := awaitCRDs(ctx, s.Config, s.Log); err != nil {
		return err
	}
	w, err := newWatcher(s.Config, s.Options)
	if err != nil {
		return err
	}
	if err := w.followAll(ctx, s.Options, s.feed, s.loop.setKeys, s.portrait.seen); err != nil {
		return err
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts.Go(func() {
		if err := w.cache.Start(ctx); err != nil {
			s.Log.Error("the cache has ended", "error", err)
		}
	})
	if !s.Observe {
		parts.Go(func() { s.herald.run(ctx) })
		parts.Go(func() { s.portrait.run(ctx) })
		parts.Go(func() { s.crier.run(ctx) })
	}
	s.loop.run(ctx, w.hasSynced)
	return nil
}

func mode(observe bool) string {
	if observe {
		return "observe"
	}
	return "active"
}

// leave tells the others, and goes on answering for the moment that they need to take over.
func (s *speaker) leave() {
	if s.Observe || !s.loop.othersServe() {
		return
	}
	s.Log.Info("leaving: the other speakers take over", "node", s.NodeName)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.gossip.Leave(ctx)
	time.Sleep(handOver)
}

func (s *speaker) serveMetrics(ctx context.Context) error {
	o := metricsserver.Options{BindAddress: s.MetricsAddress, SecureServing: s.MetricsAuth}
	if s.MetricsAuth {
		o.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	httpClient, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	server, err := metricsserver.NewServer(o, s.Config, httpClient)
	if err != nil || server == nil {
		return err
	}
	return server.Start(ctx)
}
