package speaker

import (
	"maps"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// meters are the speaker's metrics.
type meters struct {
	owned    prometheus.Gauge
	standIns prometheus.Gauge
	members  prometheus.Gauge
	expected prometheus.Gauge
	moves    *prometheus.CounterVec
	unowned  prometheus.Histogram
	verdicts *prometheus.CounterVec
	deciding prometheus.Histogram
	writes   *prometheus.CounterVec
	// undecodable and overrun count messages of other speakers that were not taken in.
	undecodable, overrun prometheus.Counter
	// established and ended count the comings and goings of BGP sessions.
	established, ended *prometheus.CounterVec
	// eligible and routable are the addresses by this node's reason, as last counted: at layer 2, and by BGP.
	eligible, routable atomic.Pointer[map[v1beta1.Reason]int]
}

// sources are the parts of a speaker that count for themselves.
type sources struct {
	layer2     func() layer2.Counters
	state      func() layer2.State
	gossip     func() gossip.Counters
	suspicions func() uint64
}

func newMeters(r prometheus.Registerer, from sources) *meters {
	m := &meters{
		owned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_layer2_addresses", Help: "Addresses that this node answers for by ARP or NDP."}),
		standIns: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_layer2_stand_ins", Help: "Addresses of other nodes, whose speakers are silent, that this node answers for with those nodes' MACs."}),
		members: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_members", Help: "Speakers that this one hears, itself included."}),
		expected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clarion_speaker_members_expected", Help: "Speakers that there should be, one for each Node."}),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_speaker_layer2_moves_total", Help: "Addresses that this node has taken or given up, by cause."}, []string{"direction", "cause"}),
		unowned: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "clarion_speaker_layer2_unowned_seconds", Help: "Time from a lost node's last heartbeat to this node's answering for an address of its.",
			Buckets: []float64{.1, .2, .3, .4, .5, .75, 1, 1.5, 2, 3, 5, 10, 30, 60}}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_speaker_verdicts_total", Help: "Other nodes that were found to be alive again, silent or dead."}, []string{"state"}),
		deciding: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "clarion_speaker_decision_duration_seconds", Help: "Time from looking at what has changed to having applied what follows.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8)}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_speaker_api_writes_total", Help: "Writes to the API server, by object and result."}, []string{"object", "result"}),
		undecodable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "clarion_speaker_messages_undecodable_total", Help: "Messages of other speakers that could not be read."}),
		overrun: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "clarion_speaker_messages_overrun_total", Help: "Messages of other speakers that were dropped because too many came at once."}),
		established: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_bgp_session_established_total", Help: "How often the BGP session with a peer was established."}, []string{"peer"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clarion_bgp_session_ended_total", Help: "How often the BGP session with a peer ended, by reason."}, []string{"peer", "reason"}),
	}
	for _, direction := range []string{taken, givenUp} {
		for _, cause := range causes {
			m.moves.WithLabelValues(direction, cause)
		}
	}
	for _, s := range []detection.State{detection.Alive, detection.Silent, detection.Dead} {
		m.verdicts.WithLabelValues(s.String())
	}
	r.MustRegister(m.owned, m.standIns, m.members, m.expected, m.moves, m.unowned, m.verdicts, m.deciding, m.writes, m.undecodable, m.overrun,
		m.established, m.ended, &totals{from, m})
	return m
}

// Metrics returns all metrics of a speaker, for those who document and check them. They count nothing.
func Metrics() []prometheus.Collector {
	var all collection
	newMeters(&all, sources{})
	return append(all, &uplinkTotals{})
}

// collection is a Registerer that keeps what is registered.
type collection []prometheus.Collector

func (c *collection) Register(one prometheus.Collector) error  { *c = append(*c, one); return nil }
func (c *collection) MustRegister(all ...prometheus.Collector) { *c = append(*c, all...) }
func (c *collection) Unregister(prometheus.Collector) bool     { return false }

// Values of the label direction.
const (
	taken   = "taken"
	givenUp = "given_up"
)

// causes are the values of the label cause.
var causes = map[ownership.Cause]string{
	ownership.CauseNone:       "NobodyMay",
	ownership.CauseFirstClaim: "FirstClaim",
	ownership.CauseLoss:       "OwnerLost",
	ownership.CauseSilent:     "OwnerSilent",
	ownership.CauseLeave:      "OwnerLeft",
	ownership.CauseRank:       "BetterPlaced",
	ownership.CauseFailback:   "Failback",
	ownership.CauseOrder:      "Ordered",
	ownership.CauseConflict:   "Conflict",
	ownership.CauseGone:       "GivenUp",
}

func causeOf(c ownership.Cause) string {
	if name, known := causes[c]; known {
		return name
	}
	return "Unknown" // of a later version's speaker
}

// moved counts a move of an address to or from this node. lost is the verdict on the node that had it.
func (m *meters) moved(move ownership.Move, self string, lost detection.Verdict, now time.Time) {
	switch self {
	case move.To:
		m.moves.WithLabelValues(taken, causeOf(move.Cause)).Inc()
		if move.Cause == ownership.CauseLoss && lost.State == detection.Dead && lost.Quiet > 0 {
			m.unowned.Observe((lost.Quiet + now.Sub(lost.Since)).Seconds())
		}
	case move.From:
		m.moves.WithLabelValues(givenUp, causeOf(move.Cause)).Inc()
	}
}

// session counts what has become of a BGP session since it was last looked at.
func (m *meters) session(before toldSession, now toldSession, s bgp.Session) {
	ups := s.Ups - before.ups
	if ups < 0 {
		ups = s.Ups // of another child
	}
	m.established.WithLabelValues(s.Peer).Add(float64(ups))
	downs := ups - 1
	if before.up {
		downs++
	}
	if !now.up {
		downs++
	}
	if downs > 0 {
		m.ended.WithLabelValues(s.Peer, string(s.LastError)).Add(float64(downs))
	}
}

// sessionGone forgets a peer.
func (m *meters) sessionGone(peer string) {
	m.established.DeletePartialMatch(prometheus.Labels{"peer": peer})
	m.ended.DeletePartialMatch(prometheus.Labels{"peer": peer})
}

// countEvery is how often addresses are counted by their reasons at most, and only if anything has changed.
const countEvery = 5 * time.Second

// countReasons counts addresses by the reason why this node may, or may not, announce them, once all that has changed is decided.
func (l *loop) countReasons(now time.Time) {
	d := l.decider
	if d.view == nil || d.allDirty || len(d.dirty) > 0 || now.Sub(l.countedAt) < countEvery ||
		d.decisions == l.counted && d.routing.revised == l.countedRoutes {
		return
	}
	l.counted, l.countedRoutes, l.countedAt = d.decisions, d.routing.revised, now
	reasons, routable := d.countReasons(), d.routing.reasons()
	l.meters.eligible.Store(&reasons)
	l.meters.routable.Store(&routable)
}

// countReasons counts addresses by the reason why this node may, or may not, answer for them, once all that has changed is decided.
// It looks at those alone that were decided since it last did.
func (d *decider) countReasons() map[v1beta1.Reason]int {
	for a := range d.uncounted {
		decided := d.addresses[a]
		if decided.reason = d.reasonOf(a, decided); decided.reason != "" {
			d.reasons[decided.reason]++
		}
	}
	clear(d.uncounted)
	return maps.Clone(d.reasons)
}

// uncount takes an address out of the count.
func (d *decider) uncount(a netip.Addr, before *address) {
	delete(d.uncounted, a)
	if before == nil || before.reason == "" {
		return
	}
	if d.reasons[before.reason]--; d.reasons[before.reason] == 0 {
		delete(d.reasons, before.reason)
	}
}

func (d *decider) reasonOf(a netip.Addr, decided *address) v1beta1.Reason {
	_, sharers := d.sharersOf(a)
	if len(sharers) == 0 || len(sharers) != len(decided.outcomes) {
		return ""
	}
	return d.view.Reason(a, sharers, 0, d.self, plan.Decision{Candidates: decided.candidates, Outcomes: decided.outcomes})
}

// totals are the counters that parts of the speaker keep themselves.
type totals struct {
	sources
	meters *meters
}

var (
	answered = prometheus.NewDesc("clarion_speaker_layer2_answers_total",
		"ARP and NDP requests answered.", []string{"family"}, nil)
	dropped = prometheus.NewDesc("clarion_speaker_layer2_drops_total",
		"ARP and NDP frames that reached the speaker and were not answered.", []string{"family", "reason"}, nil)
	gratuitous = prometheus.NewDesc("clarion_speaker_layer2_gratuitous_total",
		"Gratuitous ARP and unsolicited NDP frames sent.", []string{"family"}, nil)
	conflicting = prometheus.NewDesc("clarion_speaker_layer2_conflicts",
		"Addresses of this node that somebody else answers for, too.", []string{"kind"}, nil)
	eligible = prometheus.NewDesc("clarion_speaker_layer2_eligibility",
		"Addresses by the reason why this node may answer for them (Eligible), or may not.", []string{"reason"}, nil)
	routable = prometheus.NewDesc("clarion_speaker_bgp_eligibility",
		"Addresses that a BGPAdvertisement covers, by the reason why this node advertises them (Eligible), or does not.", []string{"reason"}, nil)
	suspicions = prometheus.NewDesc("clarion_speaker_suspicions_total",
		"How often another node was suspected because its speaker was not heard.", nil, nil)
	gossipDropped = prometheus.NewDesc("clarion_speaker_gossip_drops_total",
		"Gossip that was not taken in.", []string{"reason"}, nil)
)

// Describe implements prometheus.Collector.
func (t *totals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{answered, dropped, gratuitous, conflicting, eligible, routable, suspicions, gossipDropped} {
		ch <- d
	}
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
	kinds := map[layer2.ConflictKind]int{layer2.ForeignHost: 0, layer2.KubeProxyAnswersARP: 0}
	for _, seg := range t.state().Segments {
		for _, conflict := range seg.Conflicts {
			kinds[conflict.Kind]++
		}
	}
	for kind, n := range kinds {
		ch <- prometheus.MustNewConstMetric(conflicting, prometheus.GaugeValue, float64(n), string(kind))
	}
	for d, counted := range map[*prometheus.Desc]*atomic.Pointer[map[v1beta1.Reason]int]{eligible: &t.meters.eligible, routable: &t.meters.routable} {
		if reasons := counted.Load(); reasons != nil {
			for reason, n := range *reasons {
				ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), string(reason))
			}
		}
	}
	counter(suspicions, t.suspicions())
	g := t.gossip()
	counter(gossipDropped, g.Refused, "foreign")
	counter(gossipDropped, g.Undecodable, "undecodable")
	counter(gossipDropped, g.Overrun, "overrun")
	counter(gossipDropped, g.Undelivered, "undelivered")
}
