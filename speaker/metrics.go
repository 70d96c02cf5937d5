package speaker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

// meters are the speaker's metrics.
type meters struct {
	owned    prometheus.Gauge
	members  prometheus.Gauge
	expected prometheus.Gauge
	moves    *prometheus.CounterVec
	deciding prometheus.Histogram
	writes   *prometheus.CounterVec
	// undecodable and overrun count messages of other speakers that were not taken in.
	undecodable, overrun prometheus.Counter
}

func newMeters(r prometheus.Registerer, counters func() layer2.Counters, gossiped func() gossip.Counters) *meters {
	m := &meters{
		owned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_layer2_addresses", Help: "Addresses that this node answers for by ARP or NDP."}),
		members: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_members", Help: "Speakers that this one hears, itself included."}),
		expected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_members_expected", Help: "Speakers that there should be, one for each Node."}),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_speaker_layer2_moves_total", Help: "Addresses that this node has taken or given up."}, []string{"direction"}),
		deciding: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "clarion_speaker_decision_duration_seconds", Help: "Time from looking at what has changed to having applied what follows.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8)}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_speaker_api_writes_total", Help: "Writes to the API server, by object and result."}, []string{"object", "result"}),
		undecodable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "clarion_speaker_messages_undecodable_total", Help: "Messages of other speakers that could not be read."}),
		overrun: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "clarion_speaker_messages_overrun_total", Help: "Messages of other speakers that were dropped because too many came at once."}),
	}
	for _, direction := range []string{taken, givenUp} {
		m.moves.WithLabelValues(direction)
	}
	r.MustRegister(m.owned, m.members, m.expected, m.moves, m.deciding, m.writes, m.undecodable, m.overrun, &totals{counters, gossiped})
	return m
}

// Values of the label direction.
const (
	taken   = "taken"
	givenUp = "given_up"
)

// totals are the counters that layer2 and gossip keep themselves.
type totals struct {
	layer2 func() layer2.Counters
	gossip func() gossip.Counters
}

var (
	answered = prometheus.NewDesc("clarion_speaker_layer2_answers_total",
		"ARP and NDP requests answered.", []string{"family"}, nil)
	dropped = prometheus.NewDesc("clarion_speaker_layer2_drops_total",
		"ARP and NDP frames that reached the speaker and were not answered.", []string{"family", "reason"}, nil)
	gratuitous = prometheus.NewDesc("clarion_speaker_layer2_gratuitous_total",
		"Gratuitous ARP and unsolicited NDP frames sent.", []string{"family"}, nil)
	gossipDropped = prometheus.NewDesc("clarion_speaker_gossip_drops_total",
		"Gossip that was not taken in.", []string{"reason"}, nil)
)

// Describe implements prometheus.Collector.
func (t *totals) Describe(ch chan<- *prometheus.Desc) {
	ch <- answered
	ch <- dropped
	ch <- gratuitous
	ch <- gossipDropped
}

// Collect implements prometheus.Collector.
func (t *totals) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	c := t.layer2()
	for family, n := range c.Answered {
		counter(answered, n, family.String())
	}
	for family, reasons := range c.Dropped {
		for reason, n := range reasons {
			counter(dropped, n, family.String(), string(reason))
		}
	}
	for family, n := range c.Gratuitous {
		counter(gratuitous, n, family.String())
	}
	g := t.gossip()
	counter(gossipDropped, g.Refused, "foreign")
	counter(gossipDropped, g.Undecodable, "undecodable")
	counter(gossipDropped, g.Overrun, "overrun")
	counter(gossipDropped, g.Undelivered, "undelivered")
}
