package routes

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// slow does it all from the beginning, peer by peer and address by address, as one would with pencil and paper.
func slow(c Cluster, addresses map[netip.Addr]Address) map[string]map[netip.Prefix]bgp.Route {
	out := map[string]map[netip.Prefix]bgp.Route{}
	var self *plan.Node
	for i := range c.Nodes {
		if c.Nodes[i].Name == c.Self {
			self = &c.Nodes[i]
		}
	}
	ads := slices.Clone(c.Advertisements)
	slices.SortFunc(ads, func(a, b Advertisement) int {
		if a.Created.Equal(b.Created) {
			return strings.Compare(a.Name, b.Name)
		}
		return a.Created.Compare(b.Created)
	})
	for _, p := range c.Peers {
		if self == nil || p.Nodes != nil && !p.Nodes(self.Labels) {
			continue
		}
		out[p.Name] = map[netip.Prefix]bgp.Route{}
		// Advertisements by the prefix that they meet on.
		meet := map[netip.Prefix]map[string]bool{}
		for _, a := range addresses {
			for _, s := range slowServed(c, a) {
				for _, ad := range ads {
					if !slowCovers(ad, s) || ad.Nodes != nil && !ad.Nodes(self.Labels) || !(len(ad.Peers) == 0 || slices.Contains(ad.Peers, p.Name)) {
						continue
					}
					length := ad.AggregationLength
					if a.Address.Is6() {
						length = ad.AggregationLengthV6
					}
					prefix := netip.PrefixFrom(a.Address, a.Address.BitLen())
					if length > 0 {
						if wide, _ := a.Address.Prefix(length); c.Within(s.Pool, wide) {
							prefix = wide
						}
					}
					if meet[prefix] == nil {
						meet[prefix] = map[string]bool{}
					}
					meet[prefix][ad.Name] = true
				}
			}
		}
		for prefix, names := range meet {
			if len(p.Families) > 0 && !slices.Contains(p.Families, bgp.FamilyOf(prefix.Addr())) {
				continue
			}
			r := bgp.Route{Prefix: prefix}
			for _, ad := range ads {
				if !names[ad.Name] {
					continue
				}
				for _, text := range ad.Communities {
					c, err := v1beta1.ParseCommunity(text, nil)
					if err != nil {
						panic(err)
					}
					r.Communities = append(r.Communities, c.Parts[0]<<16|c.Parts[1])
				}
				if r.MED == nil {
					r.MED = ad.MED
				}
				if p.Internal && r.LocalPref == nil {
					r.LocalPref = ad.LocalPref
				}
				if !p.Internal && r.Prepend == 0 {
					r.Prepend = ad.Prepend
				}
			}
			r.Communities = slices.Compact(slices.Sorted(slices.Values(r.Communities)))
			out[p.Name][prefix] = r
		}
	}
	return out
}

func slowCovers(ad Advertisement, s plan.Sharer) bool {
	return (ad.Pools == nil || ad.Pools(s.Pool)) && (ad.Services == nil || ad.Services(s.Service.Labels))
}

// slowServed returns the sharers for whose sake this node advertises an address.
func slowServed(c Cluster, a Address) []plan.Sharer {
	can := func(n plan.Node, s plan.Sharer) bool {
		good, heard := false, false
		for _, ad := range c.Advertisements {
			for _, p := range c.Peers {
				f := bgp.FamilyOf(a.Address)
				if slowCovers(ad, s) && (ad.Nodes == nil || ad.Nodes(n.Labels)) && (len(ad.Peers) == 0 || slices.Contains(ad.Peers, p.Name)) &&
					(p.Nodes == nil || p.Nodes(n.Labels)) && (len(p.Families) == 0 || slices.Contains(p.Families, f)) {
					good, heard = true, heard || n.Name == c.Self || n.Speaker.Alive && (c.Sessions == nil || c.Sessions(n.Name, p.Name, f))
				}
			}
		}
		_, excluded := n.Labels[v1beta1.LabelExcludeNode]
		if !good || excluded || n.NetworkUnavailable || !heard {
			return false
		}
		for where, e := range s.Endpoints {
			if (where == n.Name || !s.Service.Local) && (e.Ready || e.ServingTerminating) {
				return true
			}
		}
		return false
	}
	sharers := slices.SortedFunc(slices.Values(a.Sharers), func(a, b plan.Sharer) int { return strings.Compare(a.Service.Name, b.Service.Name) }) // in these tests age goes by name
	score := func(n plan.Node) string {
		count, row := 0, ""
		for _, s := range sharers {
			if can(n, s) {
				count++
				row += "1"
			} else {
				row += "0"
			}
		}
		return fmt.Sprintf("%03d %s", count, row)
	}
	rank := func(n plan.Node) (r plan.Signals) {
		r = n.Signals &^ plan.Cordoned
		for _, s := range sharers {
			if e := s.Endpoints[n.Name]; can(n, s) && s.Service.Local && !e.Ready {
				r |= plan.Terminating
			}
		}
		return r
	}
	best, least := "", plan.Signals(255)
	for _, n := range c.Nodes {
		best = max(best, score(n))
	}
	for _, n := range c.Nodes {
		if score(n) == best {
			least = min(least, rank(n))
		}
	}
	for _, n := range c.Nodes {
		if n.Name == c.Self && score(n) == best && rank(n) == least {
			return slices.DeleteFunc(sharers, func(s plan.Sharer) bool { return !can(n, s) })
		}
	}
	return nil
}

func drawCluster(t *rapid.T) Cluster {
	labels := []string{"", "a", "b", "x"}
	selector := func(name string) plan.Selector {
		if l := rapid.SampledFrom(labels).Draw(t, name); l != "" {
			return label(l)
		}
		return nil
	}
	c := three()
	c.Advertisements, c.Peers = nil, nil
	for i := range c.Nodes {
		c.Nodes[i].Signals = rapid.SampledFrom([]plan.Signals{0, 0, plan.Cordoned, plan.NotReady, plan.Draining}).Draw(t, "signals")
		c.Nodes[i].Speaker.Alive = rapid.IntRange(0, 9).Draw(t, "alive") > 0
		c.Nodes[i].NetworkUnavailable = rapid.IntRange(0, 9).Draw(t, "network") == 0
		if rapid.IntRange(0, 9).Draw(t, "excluded") == 0 {
			c.Nodes[i].Labels[v1beta1.LabelExcludeNode] = ""
		}
		if rapid.Bool().Draw(t, "x") {
			c.Nodes[i].Labels["x"] = ""
		}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "peers") {
		c.Peers = append(c.Peers, Peer{Name: fmt.Sprint("p", i), Nodes: selector("peer's nodes"), Internal: rapid.Bool().Draw(t, "internal"),
			Families: rapid.SampledFrom([][]bgp.Family{nil, {bgp.IPv4}, {bgp.IPv6}, {bgp.IPv4, bgp.IPv6}}).Draw(t, "families")})
	}
	if rapid.Bool().Draw(t, "sessions are told") {
		down := map[string]bool{}
		for _, n := range c.Nodes {
			for _, p := range c.Peers {
				for _, f := range families {
					down[fmt.Sprint(n.Name, p.Name, f)] = rapid.IntRange(0, 3).Draw(t, "session") == 0
				}
			}
		}
		c.Sessions = func(node, peer string, f bgp.Family) bool { return !down[fmt.Sprint(node, peer, f)] }
	}
	value := func(name string) *uint32 {
		return rapid.SampledFrom([]*uint32{nil, number(0), number(1), number(2)}).Draw(t, name)
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "ads") {
		c.Advertisements = append(c.Advertisements, Advertisement{
			Name: fmt.Sprint("ad", i), Created: early.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Hour),
			Services: selector("services"), Nodes: selector("nodes"),
			Peers:               rapid.SampledFrom([][]string{nil, nil, {"p0"}, {"p1", "p2"}}).Draw(t, "to"),
			AggregationLength:   rapid.SampledFrom([]int{0, 16, 30, 31, 32}).Draw(t, "aggregation"),
			AggregationLengthV6: rapid.SampledFrom([]int{0, 64, 127, 128}).Draw(t, "aggregation6"),
			LocalPref:           value("localPref"), MED: value("med"), Prepend: rapid.IntRange(0, 2).Draw(t, "prepend"),
			Communities: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"1:1", "1:2", "no-export"}), 0, 2, rapid.ID).Draw(t, "communities"),
		})
	}
	return c
}

func drawAddress(t *rapid.T) Address {
	a := Address{Address: rapid.SampledFrom([]netip.Addr{web, api, web.Prev(), web6, web6.Next()}).Draw(t, "address")}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "x"}), 1, 3, rapid.ID).Draw(t, "sharers") {
		s := sharer(name)
		s.Service.Local = rapid.Bool().Draw(t, "local")
		s.Endpoints = plan.Endpoints{}
		for _, n := range []string{"", "a", "b", "c"} {
			if facts := rapid.SampledFrom([]plan.EndpointFacts{{}, {Ready: true}, {ServingTerminating: true}}).Draw(t, "endpoints"); facts != (plan.EndpointFacts{}) {
				s.Endpoints[n] = facts
			}
		}
		a.Sharers = append(a.Sharers, s)
	}
	return a
}

func TestTableIsItsSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, cluster, addresses := New(), Cluster{}, map[netip.Addr]Address{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				cluster = drawCluster(t)
				table.Configure(cluster)
			case 1:
				a := rapid.SampledFrom([]netip.Addr{web, api, web6}).Draw(t, "remove")
				delete(addresses, a)
				table.Remove(a)
			default:
				a := drawAddress(t)
				addresses[a.Address] = a
				table.Set(a)
			}
			want := slow(cluster, addresses)
			for _, p := range table.Peers() {
				if _, wanted := want[p.Peer]; wanted != p.Wanted {
					t.Fatalf("%s is wanted: %v", p.Peer, p.Wanted)
				}
				got := map[netip.Prefix]bgp.Route{}
				for _, r := range p.Routes.All() {
					got[r.Prefix] = r
				}
				if !maps.EqualFunc(got, want[p.Peer], bgp.Route.Equal) {
					t.Fatalf("%s is sent\n%+v\nwant\n%+v", p.Peer, got, want[p.Peer])
				}
			}
		}
		// Whatever came before, it is as if it had been so from the beginning.
		fresh := New()
		for _, a := range addresses {
			fresh.Set(a)
		}
		fresh.Configure(cluster)
		if describe(fresh) != describe(table) {
			t.Fatalf("another history comes to something else:\n%s\n%s", describe(fresh), describe(table))
		}
	})
}

// What a change of one Service costs where there are 10,000, toward four peers.
func BenchmarkOneOfTenThousand(b *testing.B) {
	for _, alike := range []bool{true, false} {
		b.Run(map[bool]string{true: "peers alike", false: "each peer another"}[alike], func(b *testing.B) {
			c := Cluster{Self: "n0", Within: func(string, netip.Prefix) bool { return false }}
			for i := range 100 {
				c.Nodes = append(c.Nodes, node(fmt.Sprint("n", i)))
			}
			c.Advertisements = []Advertisement{{Name: "all", Communities: []string{"1:1", "no-export"}}}
			for i := range 4 {
				name := fmt.Sprint("p", i)
				c.Peers = append(c.Peers, Peer{Name: name})
				if !alike {
					c.Advertisements = append(c.Advertisements, Advertisement{Name: name, Peers: []string{name}, Communities: []string{fmt.Sprint("2:", i)}})
				}
			}
			t := New()
			t.Configure(c)
			a := netip.MustParseAddr("10.0.0.0")
			for range 10000 {
				t.Set(has(a, sharer("s", local("n0"))))
				a = a.Next()
			}
			t.Peers()
			on, off := has(netip.MustParseAddr("10.0.19.136"), sharer("s", local("n0"))), has(netip.MustParseAddr("10.0.19.136"), sharer("s", local("n1")))
			b.Run("a change", func(b *testing.B) {
				for b.Loop() {
					t.Set(off)
					t.Peers()
					t.Set(on)
					t.Peers()
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/2, "µs/change")
			})
			b.Run("no change", func(b *testing.B) {
				for b.Loop() {
					t.Set(on)
					t.Peers()
				}
			})
			b.Run("everything", func(b *testing.B) {
				for b.Loop() {
					t.Configure(c)
				}
			})
		})
	}
}
