package controller

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

var (
	leading = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "clarion_controller_leader",
		Help: "1 while this controller leads and has adopted what Services hold, else 0.",
	})
	writes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "clarion_controller_writes_total",
		Help: "Writes to the API server by the kind of object and the result: ok, conflict, gone or error.",
	}, []string{"kind", "result"})
	decisions = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "clarion_controller_decisions_total",
		Help: "Decisions on what a Service should have. It stands still while nothing changes.",
	})
	assigning = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "clarion_controller_assignment_duration_seconds",
		Help:    "Time from when a Service that asks for an address was seen, or what it waited for came, to the address standing in its status.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
	})
	refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "clarion_controller_refusals_total",
		Help: "How often a Service was told that it gets no address, or not the one it asks for, by reason.",
	}, []string{"reason"})
	reconciling = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "clarion_controller_reconcile_duration_seconds",
		Help:    "Time that looking at one object took, writes included, by its kind.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
	}, []string{"kind"})
	eventsDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "clarion_controller_events_dropped_total",
		Help: "Events that could not be written, or for which there was no room.",
	})
	poolAddresses = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "clarion_pool_addresses",
		Help: "Addresses of a pool by family and state: capacity, available, assigned or resting. Written by the leader.",
	}, []string{"pool", "family", "state"})

	servicesDesc = prometheus.NewDesc("clarion_controller_services",
		"Services that are ours to serve, by the reason of their condition clarion.dev/AddressAssigned as decided. Written by the leader.",
		[]string{"reason"}, nil)
	unwrittenDesc = prometheus.NewDesc("clarion_controller_services_unwritten",
		"Services whose status is not yet what was decided; in observe mode, Services whose status would be changed.",
		nil, nil)
)

// Metrics returns all metrics of a controller, which are registered with controller-runtime's registry.
func Metrics() []prometheus.Collector {
	return []prometheus.Collector{leading, writes, decisions, assigning, refusals, reconciling, eventsDropped, poolAddresses, servicesCollector{}}
}

func init() { metrics.Registry.MustRegister(Metrics()...) }

// termShown is the term whose Services are counted.
var termShown atomic.Pointer[term]

// servicesCollector counts the Services of a term when somebody asks.
type servicesCollector struct{}

func (servicesCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- servicesDesc
	ch <- unwrittenDesc
}

func (servicesCollector) Collect(ch chan<- prometheus.Metric) {
	t := termShown.Load()
	if t == nil {
		return
	}
	reasons := map[clarion.Reason]int{}
	unwritten := 0
	t.mu.Lock()
	for _, s := range t.known {
		if s.reason != "" {
			reasons[s.reason]++
		}
		if s.differs {
			unwritten++
		}
	}
	t.mu.Unlock()
	for reason, n := range reasons {
		ch <- prometheus.MustNewConstMetric(servicesDesc, prometheus.GaugeValue, float64(n), string(reason))
	}
	ch <- prometheus.MustNewConstMetric(unwrittenDesc, prometheus.GaugeValue, float64(unwritten))
}

// timed observes how long each look at an object of a kind takes.
func timed[T any](kind string, look func(context.Context, T) error) func(context.Context, T) error {
	took := reconciling.WithLabelValues(kind)
	return func(ctx context.Context, of T) error {
		begin := time.Now()
		defer func() { took.Observe(time.Since(begin).Seconds()) }()
		return look(ctx, of)
	}
}

// countOutcome counts what a Service was told. asked is since when it has asked, zero where that is not known.
func countOutcome(n note, asked, now time.Time) {
	switch {
	case n.kind == corev1.EventTypeWarning:
		refusals.WithLabelValues(string(n.reason)).Inc()
	case n.reason == clarion.ReasonAssigned && !asked.IsZero():
		assigning.Observe(now.Sub(asked).Seconds())
	}
}

func countWrite(kind string, err error) {
	result := "error"
	switch {
	case err == nil:
		result = "ok"
	case apierrors.IsConflict(err):
		result = "conflict"
	case apierrors.IsNotFound(err):
		result = "gone"
	}
	writes.WithLabelValues(kind, result).Inc()
}

func setPoolMetrics(name string, u ipam.Usage) {
	for family, of := range map[ipam.Family]ipam.FamilyUsage{ipam.IPv4: u.IPv4, ipam.IPv6: u.IPv6} {
		poolAddresses.WithLabelValues(name, family.String(), "capacity").Set(of.Capacity.Float())
		poolAddresses.WithLabelValues(name, family.String(), "available").Set(of.Available.Float())
		poolAddresses.WithLabelValues(name, family.String(), "assigned").Set(float64(of.Assigned))
		poolAddresses.WithLabelValues(name, family.String(), "resting").Set(float64(of.Resting))
	}
}

func dropPoolMetrics(name string) { poolAddresses.DeletePartialMatch(prometheus.Labels{"pool": name}) }

// forgetMetrics takes back what only a leader tells.
func (t *term) forgetMetrics() {
	termShown.CompareAndSwap(t, nil)
	poolAddresses.Reset()
}
