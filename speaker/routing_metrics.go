package speaker

import (
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/routes"
)

// uplinkTotals are what bgp and bfd know themselves.
type uplinkTotals struct {
	bgp bgpSessions
	bfd bfdSessions
}

var (
	bgpUp = prometheus.NewDesc("clarion_bgp_session_up",
		"Whether the BGP session with a peer is established.", []string{"peer"}, nil)
	bgpState = prometheus.NewDesc("clarion_bgp_session_state",
		"1 for the state that the BGP session with a peer is in (RFC 4271), 0 for the others.", []string{"peer", "state"}, nil)
	bgpRoutes = prometheus.NewDesc("clarion_bgp_routes_sent",
		"Routes that the peer was sent and not withdrawn.", []string{"peer"}, nil)
	bgpWanted = prometheus.NewDesc("clarion_bgp_routes_wanted",
		"Routes that the peer should have.", []string{"peer"}, nil)
	bgpUpdates = prometheus.NewDesc("clarion_bgp_updates_sent",
		"UPDATE messages sent in the present session.", []string{"peer"}, nil)
	bgpFailures = prometheus.NewDesc("clarion_bgp_failed_attempts",
		"Attempts in a row to make the session that failed.", []string{"peer"}, nil)
	bgpRestarts = prometheus.NewDesc("clarion_bgp_process_restarts_total",
		"How often the process that BGP sessions live in was started again.", nil, nil)
	bfdUp = prometheus.NewDesc("clarion_bfd_session_up",
		"Whether the BFD session with a peer is up.", []string{"peer"}, nil)
	bfdState = prometheus.NewDesc("clarion_bfd_session_state",
		"1 for the state that the BFD session with a peer is in (RFC 5880), 0 for the others.", []string{"peer", "state"}, nil)
	bfdFailures = prometheus.NewDesc("clarion_bfd_failures_total",
		"How often the path to the peer was found to have failed.", []string{"peer"}, nil)
	bfdPackets = prometheus.NewDesc("clarion_bfd_packets_total",
		"BFD control packets of the session.", []string{"peer", "direction"}, nil)
	bfdRefused = prometheus.NewDesc("clarion_bfd_packets_refused_total",
		"BFD control packets that came and were not taken.", []string{"peer"}, nil)
)

// Describe implements prometheus.Collector.
func (t *uplinkTotals) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{bgpUp, bgpState, bgpRoutes, bgpWanted, bgpUpdates, bgpFailures, bgpRestarts, bfdUp, bfdState, bfdFailures, bfdPackets, bfdRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (t *uplinkTotals) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	one := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	sessions, _ := t.bgp.Snapshot()
	counter(bgpRestarts, uint64(sessions.Child.Restarts))
	for _, s := range sessions.Sessions {
		gauge(bgpUp, one(s.State == bgp.Established), s.Peer)
		for state := bgp.Idle; state <= bgp.Established; state++ {
			gauge(bgpState, one(s.State == state), s.Peer, state.String())
		}
		gauge(bgpRoutes, float64(s.RoutesSent), s.Peer)
		gauge(bgpWanted, float64(s.RoutesWanted), s.Peer)
		gauge(bgpUpdates, float64(s.UpdatesSent), s.Peer)
		gauge(bgpFailures, float64(s.Failures), s.Peer)
	}
	watched, _ := t.bfd.Snapshot()
	for _, s := range watched.Sessions {
		gauge(bfdUp, one(s.State == bfd.Up), s.Name)
		for _, state := range []bfd.State{bfd.AdminDown, bfd.Down, bfd.Init, bfd.Up} {
			gauge(bfdState, one(s.State == state), s.Name, state.String())
		}
		counter(bfdFailures, s.Failures, s.Name)
		counter(bfdPackets, s.Counters.Sent, s.Name, "sent")
		counter(bfdPackets, s.Counters.Received, s.Name, "received")
		counter(bfdRefused, s.Counters.Refused, s.Name)
	}
}

// reasons counts the addresses that a BGPAdvertisement covers by this node's reason: Eligible for those that it advertises, NoSession
// where it would and no router that is to know hears it.
func (r *routing) reasons() map[v1beta1.Reason]int {
	audible := r.audible()
	out := map[v1beta1.Reason]int{}
	for a, d := range r.decisions {
		switch {
		case !d.Advertised:
			// Sharers that no BGPAdvertisement covers are layer 2's.
			if i := slices.IndexFunc(d.Outcomes, func(o routes.Outcome) bool { return o.Reason != v1beta1.ReasonNoAdvertisement }); i >= 0 {
				out[d.Outcomes[i].Reason]++
			}
		case audible(a):
			out[v1beta1.ReasonEligible]++
		default:
			out[v1beta1.ReasonNoSession]++
		}
	}
	return out
}

// audible returns what [routing.sent] says of an address that is advertised, for asking of many: it looks only for networks of those lengths
// that there are.
func (r *routing) audible() func(netip.Addr) bool {
	type list struct {
		routes *bgp.Routes
		family bgp.Family
	}
	lengths := map[list]map[int]bool{}
	for _, p := range r.desired.Peers {
		for _, f := range []bgp.Family{bgp.IPv4, bgp.IPv6} {
			at := list{p.Routes, f}
			if !r.states[p.Name].has(f) || lengths[at] != nil {
				continue
			}
			lengths[at] = map[int]bool{}
			for _, route := range p.Routes.All() {
				if bgp.FamilyOf(route.Prefix.Addr()) == f {
					lengths[at][route.Prefix.Bits()] = true
				}
			}
		}
	}
	return func(a netip.Addr) bool {
		for at, lengths := range lengths {
			if at.family != bgp.FamilyOf(a) {
				continue
			}
			for bits := range lengths {
				if p, err := a.Prefix(bits); err == nil && has(at.routes, p) {
					return true
				}
			}
		}
		return false
	}
}
