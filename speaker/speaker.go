package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/inspect"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
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
	// Stop says how the speaker stops when it is told to; none means StopAuto.
	Stop StopMode
	// DaemonSet is the name of the one that runs the speakers, in Namespace.
	DaemonSet string
	// ProxyHealth is the address and port of kube-proxy's health check on this node; empty for none.
	ProxyHealth string
	// HeartbeatInterval is the time between two heartbeats; 0 means detection's default.
	HeartbeatInterval time.Duration
	// NoStandIn keeps this speaker from answering in the name of nodes whose speakers are silent.
	NoStandIn bool
	// TakeOver is after how long such a node's addresses are moved; 0 means ownership's default.
	TakeOver time.Duration

	// GossipAddress to listen on; invalid means the Node's InternalIP.
	GossipAddress netip.Addr
	// GossipPort, TCP and UDP, the same on all nodes.
	GossipPort uint16
	// MetricsAddress serves /metrics; "0" serves none.
	MetricsAddress string
	// MetricsFilter lets through who may read the metrics, which are served by HTTPS then; nil is HTTP for everybody.
	MetricsFilter func(*rest.Config, *http.Client) (metricsserver.Filter, error)
	// HealthAddress serves /healthz and /readyz.
	HealthAddress string

	// Version of the program.
	Version string
	Log     *slog.Logger
	// Registry that the metrics are registered with.
	Registry prometheus.Registerer

	// announcer, bgp and bfd are for tests, which have no links to announce on and no routers.
	announcer announcer
	bgp       bgpSessions
	bfd       bfdSessions
}

// announcer is what a speaker needs of layer2.
type announcer interface {
	Run(ctx context.Context) error
	Apply(desired []layer2.Announcement) layer2.Changes
	Change(addresses []netip.Addr, desired []layer2.Announcement) layer2.Changes
	Reannounce(addresses ...netip.Addr)
	SetKnown(macs []layer2.MAC)
	Hold()
	Awake()
	Held() bool
	Turning(within time.Duration) bool
	Hosts(iface string, family layer2.Family, limit int) []layer2.Asker
	Links() ([]layer2.Link, <-chan struct{})
	State() (layer2.State, <-chan struct{})
	Counters() layer2.Counters
}

var _ announcer = (*layer2.Announcer)(nil)

// Kinds of messages between speakers. They are part of the protocol.
const (
	kindDetection gossip.Kind = 1
	kindOwnership gossip.Kind = 2
)

// maxMessages is how many messages of ownership may wait for the loop. Lost ones are asked for again.
const maxMessages = 4096

// Run runs a speaker until ctx ends, and stops in good order: the others are told first and stand in, or take over, while
// it still answers. It returns an error when going on makes no sense.
func Run(ctx context.Context, o Options) error {
	s, err := newSpeaker(o)
	if err != nil {
		return err
	}
	// Everything outlives ctx by the time that the others need.
	alive, die := context.WithCancelCause(context.WithoutCancel(ctx))
	defer die(nil)

	var parts sync.WaitGroup
	start := func(ctx context.Context, what string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				die(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	start(alive, "health checks", func(ctx context.Context) error {
		return serveHealth(ctx, o.HealthAddress, s.ready, inspect.Handler(inspection{s}))
	})
	start(alive, "metrics", s.serveMetrics)
	start(alive, "layer 2", s.announcer.Run)
	start(alive, "gossip", s.gossip.Run)
	start(alive, "probes", s.prober.Run)
	start(alive, "detection", s.detector.run)
	start(alive, "kube-proxy's health", s.proxy.run)
	start(alive, "BGP", s.uplink.bgp.Run)
	start(alive, "BFD", s.uplink.bfd.Run)
	start(alive, "BGP by BFD", s.uplink.run)
	start(alive, "speaker", s.run)

	select {
	case <-alive.Done():
	case <-ctx.Done():
		s.leaveOrRestart()
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
	messages  *inbox[ownership.Received]
	prober    *layer2.Prober
	detector  *detector
	looker    *looker
	proxy     *proxyWatch
	staleness staleness
	workload  workload
	ready     *readiness
	meters    *meters
	feed      *feed
	herald    *herald
	portrait  *portrait
	crier     *crier
	uplink    *uplink
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
		s.announcer = layer2.New(layer2.Options{Logger: o.Log, HoldAfterGap: true, Rival: func(string, netip.Addr, layer2.MAC) {
			s.gossip.Redial() // the two may have been apart until now
		}})
	}
	s.gossip = gossip.New(gossip.Options{Node: o.NodeName, Log: o.Log, Receive: s.receive})
	s.messages = newInbox[ownership.Received](maxMessages, s.overrun)
	s.detector = newDetector(o.NodeName, s.gossip.Life(), o.HeartbeatInterval, s.overrun)
	s.prober = layer2.NewProber(s.announcer.Links, s.probed)
	s.detector.send = func(to []string, payload []byte) { s.gossip.Send(to, kindDetection, payload, false) }
	s.detector.probe = s.prober.Probe
	s.detector.turning = s.announcer.Turning
	s.proxy = &proxyWatch{url: proxyURL(o.ProxyHealth), changed: s.feed.poke, poll: proxyPoll}
	s.meters = newMeters(o.Registry, sources{layer2: s.announcer.Counters, gossip: s.gossip.Counters, suspicions: s.detector.suspicions.Load,
		state: func() layer2.State { state, _ := s.announcer.State(); return state }})

	s.uplink = &uplink{bgp: o.bgp, bfd: o.bfd, log: o.Log, poke: s.feed.poke, strictSet: make(chan struct{}, 1)}
	if s.uplink.bgp == nil {
		s.uplink.bgp = bgp.New(bgp.Options{Log: o.Log})
	}
	if s.uplink.bfd == nil {
		s.uplink.bfd = bfd.New(bfd.Options{Logger: o.Log})
	}
	o.Registry.MustRegister(&uplinkTotals{s.uplink.bgp, s.uplink.bfd})

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
	s.workload = workload{reader: c, key: types.NamespacedName{Namespace: o.Namespace, Name: o.DaemonSet}}
	s.loop = newLoop(s)
	s.looker = newLooker(s.loop.looked.put)
	s.looker.probe = s.prober.Probe
	s.herald.done = s.loop.heraldDone
	return s, nil
}

// run follows the API server and acts on what is seen, until ctx ends.
func (s *speaker) run(ctx context.Context) error {
	s.Log.Info("speaker starting", "node", s.NodeName, "version", s.Version, "mode", mode(s.Observe))
	if err := awaitCRDs(ctx, s.Config, s.Log); err != nil {
		return err
	}
	s.workload.remember(ctx)
	config := rest.CopyConfig(s.Config)
	config.Wrap(s.staleness.watch)
	w, err := newWatcher(config, s.Options)
	if err != nil {
		return err
	}
	if err := w.followAll(ctx, s.Options, s.feed, s.loop.setKeys, s.portrait.seen); err != nil {
		return err
	}
	routing, err := newRoutingWatcher(s.Config, s.Log)
	if err != nil {
		return err
	}
	if err := followRouting(ctx, routing, w, s.Log, s.feed, s.loop.decider.routing); err != nil {
		return err
	}
	s.loop.routingSynced = routing.hasSynced
	var parts sync.WaitGroup
	defer parts.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	secrets := &secretsWatch{config: s.Config, namespace: s.Namespace, log: s.Log, feed: s.feed, routing: s.loop.decider.routing,
		following: map[string]context.CancelFunc{}}
	s.loop.followSecrets = func(names map[string]bool) { secrets.follow(ctx, names) }
	defer secrets.parts.Wait()
	defer cancel()
	for _, followed := range []*watcher{w, routing} {
		parts.Go(func() {
			if err := followed.cache.Start(ctx); err != nil {
				s.Log.Error("the cache has ended", "error", err)
			}
		})
	}
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

// receive takes in what other speakers send. It is called from where it was read, and does not wait.
func (s *speaker) receive(m gossip.Message) {
	switch m.Kind {
	case kindDetection:
		s.detector.hear(detection.Message{From: m.From, Life: m.Life, Payload: m.Payload, At: clock()})
	case kindOwnership:
		message, err := ownership.Decode(m.Payload)
		switch {
		case errors.Is(err, ownership.ErrUnknown):
		case err != nil:
			s.meters.undecodable.Inc()
			s.Log.Warn("can't read a message about ownership", "peer", m.From, "error", err)
		default:
			s.messages.put(ownership.Received{From: m.From, Life: m.Life, Message: message})
		}
	}
}

// probed takes in what became of a probe.
func (s *speaker) probed(r layer2.ProbeResult) {
	if r.ID&lookBit != 0 {
		s.looker.result(r)
		return
	}
	s.detector.probed(r)
}

func (s *speaker) overrun() { s.meters.overrun.Inc() }

func (s *speaker) serveMetrics(ctx context.Context) error {
	o := metricsserver.Options{BindAddress: s.MetricsAddress, SecureServing: s.MetricsFilter != nil, FilterProvider: s.MetricsFilter}
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
