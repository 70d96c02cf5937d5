package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A small universe: a few nodes, links, advertisements and Services, in which everything that can
// happen happens often.
type universe struct {
	cluster Cluster
	address netip.Addr
	sharers []Sharer
}

var labelKeys = []string{"edge", "core", v1beta1.LabelExcludeNode}

func genLabels(t *rapid.T) map[string]string {
	labels := map[string]string{}
	for _, k := range labelKeys {
		if rapid.IntRange(0, 2).Draw(t, k) == 0 {
			labels[k] = ""
		}
	}
	return labels
}

func genSignals(t *rapid.T) (s Signals) {
	for _, soft := range softSignals {
		if soft.bit != Terminating && !mostly(t, string(soft.reason)) {
			s |= soft.bit
		}
	}
	return s
}

func mostly(t *rapid.T, what string) bool { return rapid.IntRange(0, 4).Draw(t, what) > 0 }

func genSelector(t *rapid.T, what string) Selector {
	if mostly(t, what+" selects all") {
		return nil
	}
	return having(rapid.SampledFrom(labelKeys).Draw(t, what))
}

var genUniverse = rapid.Custom(func(t *rapid.T) universe {
	var u universe
	prefixes := []string{"192.0.2.0/24", "192.0.0.0/16", "198.51.100.0/24"}
	for i := range rapid.IntRange(0, 4).Draw(t, "nodes") {
		n := Node{Name: fmt.Sprint("node-", i), Labels: genLabels(t), Signals: genSignals(t),
			NetworkUnavailable: !mostly(t, "network"),
			Speaker:            Speaker{Known: mostly(t, "known")}}
		for j := range rapid.IntRange(0, 3).Draw(t, "links") {
			l := link(fmt.Sprint("eth", j), rapid.SampledFrom(prefixes).Draw(t, "prefix"))
			l.Up = mostly(t, "up")
			l.DeafIPv4 = !mostly(t, "hears")
			n.Speaker.Links = append(n.Speaker.Links, l)
		}
		u.cluster.Nodes = append(u.cluster.Nodes, n)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "advertisements") {
		ad := Advertisement{Name: fmt.Sprint("ad-", i), Services: genSelector(t, "services"), Nodes: genSelector(t, "nodes")}
		if !mostly(t, "all pools") {
			ad.Pools = named(rapid.SampledFrom([]string{"lan", "dmz"}).Draw(t, "pool"))
		}
		if rapid.Bool().Draw(t, "prefers") {
			ad.Preference = preferring(rapid.SampledFrom(labelKeys).Draw(t, "preferred"), int32(i+1))
		}
		ad.Created = time.Unix(rapid.Int64Range(0, 2).Draw(t, "advertised since"), 0)
		ad.Settings.After = time.Duration(i)
		if !mostly(t, "on-link") {
			ad.Interfaces = named(fmt.Sprint("eth", rapid.IntRange(0, 3).Draw(t, "interface")))
		}
		u.cluster.Advertisements = append(u.cluster.Advertisements, ad)
	}
	u.cluster.IgnoreExcludeLabel = rapid.Bool().Draw(t, "ignore label")
	u.address = netip.MustParseAddr(rapid.SampledFrom([]string{"192.0.2.1", "192.0.3.1", "203.0.113.1"}).Draw(t, "address"))
	for i := range rapid.IntRange(1, 4).Draw(t, "sharers") {
		s := Sharer{Pool: rapid.SampledFrom([]string{"lan", "dmz"}).Draw(t, "from pool"), Endpoints: Endpoints{},
			Service: &Service{Name: fmt.Sprint("service-", i), Local: rapid.Bool().Draw(t, "local"), Labels: genLabels(t),
				Created: time.Unix(rapid.Int64Range(0, 2).Draw(t, "created"), 0)}}
		for j := range 4 {
			s.Endpoints[fmt.Sprint("node-", j)] = EndpointFacts{Ready: rapid.Bool().Draw(t, "endpoint"), ServingTerminating: !mostly(t, "terminating")}
		}
		u.sharers = append(u.sharers, s)
	}
	return u
})

// slowDecide is Decide written down plainly: no places, no numbers, a set of sharers at a time.
func slowDecide(u universe) Decision {
	interfaces := func(n Node, s Sharer) []string {
		if s.Endpoints == nil || n.NetworkUnavailable || !n.Speaker.Known {
			return nil
		}
		if _, excluded := n.Labels[v1beta1.LabelExcludeNode]; excluded && !u.cluster.IgnoreExcludeLabel {
			return nil
		}
		serve := s.Endpoints[n.Name].CanServe()
		for _, f := range s.Endpoints {
			serve = serve || !s.Service.Local && f.CanServe()
		}
		if !serve {
			return nil
		}
		var names []string
		for _, l := range n.Speaker.Links {
			answer := false
			for _, ad := range u.cluster.Advertisements {
				if !ad.covers(s) || !ad.Nodes.selects(n.Labels) {
					continue
				}
				if ad.Interfaces == nil {
					answer = answer || slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(u.address) })
				} else {
					answer = answer || ad.Interfaces(l.Name)
				}
			}
			if answer && l.Up && !l.DeafIPv4 {
				names = append(names, l.Name)
			}
		}
		return names
	}

	// Try every set of sharers that one node can serve; keep the best.
	byAge := slices.Clone(u.sharers)
	slices.SortFunc(byAge, func(a, b Sharer) int {
		if a.older(b) {
			return -1
		}
		return 1
	})
	best := make([]bool, len(byAge))
	for _, n := range u.cluster.Nodes {
		var row []bool
		for _, s := range byAge {
			row = append(row, len(interfaces(n, s)) > 0)
		}
		if count(row) > count(best) {
			best = row
		} else if count(row) == count(best) {
			for i := range row {
				if row[i] != best[i] {
					if row[i] {
						best = row
					}
					break
				}
			}
		}
	}
	var d Decision
	if count(best) == 0 {
		return d
	}
	var oldest *Advertisement
	for _, n := range u.cluster.Nodes {
		c := Candidate{Node: n.Name, Rank: n.Signals}
		for i, s := range byAge {
			if got := interfaces(n, s); best[i] && len(got) == 0 {
				c.Interfaces = nil
				break
			} else if best[i] {
				c.Interfaces = append(c.Interfaces, got...)
				if f := s.Endpoints[n.Name]; s.Service.Local && !f.Ready {
					c.Rank |= Terminating
				}
			}
		}
		for _, ad := range u.cluster.Advertisements {
			covers := false
			for i, s := range byAge {
				covers = covers || best[i] && ad.covers(s)
			}
			if covers && ad.Nodes.selects(n.Labels) && ad.Preference != nil {
				c.Weight += ad.Preference(n.Labels)
			}
			if covers && (oldest == nil || ad.older(*oldest)) {
				oldest = &ad
			}
		}
		slices.Sort(c.Interfaces)
		c.Interfaces = slices.Compact(c.Interfaces)
		if len(c.Interfaces) > 0 {
			d.Candidates = append(d.Candidates, c)
		}
	}
	d.Settings = oldest.Settings
	for _, soft := range softSignals {
		if !slices.ContainsFunc(d.Candidates, func(c Candidate) bool { return c.Rank&soft.bit == 0 }) {
			d.Ignored = soft.reason
			break
		}
	}
	return d
}

func count(row []bool) int {
	n := 0
	for _, b := range row {
		if b {
			n++
		}
	}
	return n
}

func TestDecideAgreesWithItsSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := genUniverse.Draw(t, "universe")
		v, want := New(u.cluster), slowDecide(u)
		got := v.Decide(u.address, u.sharers)
		if general := v.decideShared(u.address, u.sharers); !reflect.DeepEqual(got, general) {
			t.Fatalf("decided %s\nthe general way %s", say(got), say(general))
		}
		if !reflect.DeepEqual(got.Candidates, want.Candidates) || got.Ignored != want.Ignored || got.Settings != want.Settings {
			t.Fatalf("decided %s\nthe twin %s", say(got), say(want))
		}
	})
}

// Every speaker comes to the same decision, in whatever order its caches give things to it, and
// whatever it decided before.
func TestOrderAndHistoryDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := genUniverse.Draw(t, "universe")
		want := New(u.cluster).Decide(u.address, u.sharers)

		c := u.cluster
		c.Nodes = rapid.Permutation(c.Nodes).Draw(t, "nodes")
		c.Advertisements = rapid.Permutation(c.Advertisements).Draw(t, "advertisements")
		v := New(c)
		for i := range u.sharers {
			v.Decide(u.address.Next(), u.sharers[i:])
			v.Decide(u.address, u.sharers[i:i+1])
		}
		got := v.Decide(u.address, rapid.Permutation(u.sharers).Draw(t, "sharers"))
		if !reflect.DeepEqual(got.Candidates, want.Candidates) || got.Ignored != want.Ignored {
			t.Fatalf("decided %s\nand before %s", say(got), say(want))
		}
	})
}

// Explain gives the reasons of what Decide decides: the candidates are those that it calls eligible, for
// each Service that is served, and for one that is not served no node is.
func TestExplainExplainsTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := genUniverse.Draw(t, "universe")
		v := New(u.cluster)
		d := v.Decide(u.address, u.sharers)
		for i, o := range d.Outcomes {
			var eligible, first []Candidate
			for _, c := range d.Candidates {
				if c.Rank == d.bestRank() {
					first = append(first, Candidate{Node: c.Node, Interfaces: c.Interfaces})
				}
			}
			for _, verdict := range v.Explain(u.address, u.sharers, i) {
				if r := v.Reason(u.address, u.sharers, i, verdict.Node, v.Decide(u.address, u.sharers)); r != verdict.Reason {
					t.Fatalf("%s: %s by itself, %s among all", verdict.Node, r, verdict.Reason)
				}
				if verdict.Message == "" {
					t.Fatalf("%s: %s without a word", verdict.Node, verdict.Reason)
				}
				if verdict.Reason == v1beta1.ReasonEligible {
					eligible = append(eligible, Candidate{Node: verdict.Node, Interfaces: verdict.Interfaces})
				}
			}
			if o.Served() != (o.Message == "") {
				t.Fatalf("outcome %+v", o)
			}
			if o.Served() && !reflect.DeepEqual(eligible, first) || !o.Served() && len(eligible) > 0 {
				t.Fatalf("sharer %d (%s): eligible %v, decided %s", i, o.Reason, eligible, say(d))
			}
		}
	})
}

// A cluster of 200 nodes and 5,000 addresses, seen for the first time.
func BenchmarkDecideAll(b *testing.B) {
	c := Cluster{Advertisements: []Advertisement{everything}}
	for i := range 200 {
		c.Nodes = append(c.Nodes, node(fmt.Sprintf("node-%03d", i)))
	}
	for _, kind := range []string{"Cluster", "Local"} {
		sharers := make([][]Sharer, 5000)
		for i := range sharers {
			sharers[i] = []Sharer{service(fmt.Sprint("default/web-", i), fmt.Sprintf("node-%03d", i%200))}
			sharers[i][0].Service.Local = kind == "Local"
		}
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v := New(c)
				a := netip.MustParseAddr("192.0.2.0")
				for _, s := range sharers {
					v.Decide(a, s)
				}
			}
		})
	}
}
