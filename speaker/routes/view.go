package routes

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// A view is a cluster made ready for decisions. It remembers parts of them.
type view struct {
	nodes []plan.Node // by name
	names []string    // of nodes
	// numbers are the nodes' places in nodes.
	numbers map[string]int
	self    int // this node, −1 if it is not among them
	ads     []advertisement
	peers   []peer
	groups  []group
	within  func(pool string, prefix netip.Prefix) bool
	ignore  bool

	places map[string]*place
	merged map[mergeKey]attributes
}

// An advertisement is made ready: the numbers in lists of numbers are places in view.ads, the oldest first.
type advertisement struct {
	Advertisement
	standard []uint32
	large    []bgp.LargeCommunity
	selects  []bool // by node
	// reaches says by family and node which ones should have a session with one of the peers that carries such routes, and heard
	// which ones have.
	reaches, heard [bgp.IPv6 + 1][]bool
}

type peer struct {
	name   string
	wanted bool
	group  int // of those wanted
}

// A group is peers that get the same routes.
type group struct {
	ads      []bool // that go to them
	internal bool
	families [bgp.IPv6 + 1]bool
}

func newView(c Cluster) *view {
	v := &view{
		nodes:  slices.SortedFunc(slices.Values(c.Nodes), func(a, b plan.Node) int { return strings.Compare(a.Name, b.Name) }),
		within: c.Within, ignore: c.IgnoreExcludeLabel,
		numbers: map[string]int{}, places: map[string]*place{}, merged: map[mergeKey]attributes{},
	}
	for i, n := range v.nodes {
		v.names = append(v.names, n.Name)
		v.numbers[n.Name] = i
	}
	v.self = slices.Index(v.names, c.Self)
	aliases := meanings(c.Communities)

	peers := slices.SortedFunc(slices.Values(c.Peers), func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	sessions := v.sessions(c, peers)
	ads := slices.SortedFunc(slices.Values(c.Advertisements), func(a, b Advertisement) int {
		if a.older(b) {
			return -1
		}
		return 1
	})
	for _, a := range ads {
		v.ads = append(v.ads, v.compile(a, peers, sessions, aliases))
	}
	for _, p := range peers {
		v.peers = append(v.peers, v.place(p))
	}
	return v
}

// families are those whose routes sessions carry.
var families = []bgp.Family{bgp.IPv4, bgp.IPv6}

// between is the sessions with a peer that carry routes of a family, by node: those that are wanted and those that there are. This
// node's is taken to be there, for it goes on whatever becomes of its sessions.
type between struct{ wanted, up []bool }

// sessions returns the sessions with each of the peers, by family.
func (v *view) sessions(c Cluster, peers []Peer) [][bgp.IPv6 + 1]between {
	out := make([][bgp.IPv6 + 1]between, len(peers))
	for k, p := range peers {
		for _, f := range families {
			if !p.carries(f) {
				continue
			}
			b := between{make([]bool, len(v.nodes)), make([]bool, len(v.nodes))}
			for i, n := range v.nodes {
				b.wanted[i] = selects(p.Nodes, n.Labels)
				b.up[i] = b.wanted[i] && (i == v.self || n.Speaker.Alive && (c.Sessions == nil || c.Sessions(n.Name, p.Name, f)))
			}
			out[k][f] = b
		}
	}
	return out
}

func (v *view) compile(a Advertisement, peers []Peer, sessions [][bgp.IPv6 + 1]between, aliases map[string]v1beta1.CommunityValue) advertisement {
	ad := advertisement{Advertisement: a, selects: make([]bool, len(v.nodes))}
	for i, n := range v.nodes {
		ad.selects[i] = selects(a.Nodes, n.Labels)
	}
	for _, f := range families {
		ad.reaches[f], ad.heard[f] = make([]bool, len(v.nodes)), make([]bool, len(v.nodes))
		for k, p := range peers {
			if !ad.advertisesTo(p.Name) || !p.carries(f) {
				continue
			}
			for i := range v.nodes {
				ad.reaches[f][i] = ad.reaches[f][i] || sessions[k][f].wanted[i]
				ad.heard[f][i] = ad.heard[f][i] || sessions[k][f].up[i]
			}
		}
	}
	for _, text := range a.Communities {
		c, err := v1beta1.ParseCommunity(text, aliases)
		switch {
		case err != nil: // the schema leaves only names that nobody gives, which the controller tells
		case c.Large:
			ad.large = append(ad.large, bgp.LargeCommunity(c.Parts))
		default:
			ad.standard = append(ad.standard, c.Parts[0]<<16|c.Parts[1])
		}
	}
	return ad
}

// meanings gives each name the meaning that the oldest Community gives it.
func meanings(all []Community) map[string]v1beta1.CommunityValue {
	all = slices.SortedFunc(slices.Values(all), func(a, b Community) int {
		if olderThan(a.Created, a.Name, b.Created, b.Name) {
			return -1
		}
		return 1
	})
	meaning := map[string]v1beta1.CommunityValue{}
	for _, c := range all {
		for _, a := range c.Aliases {
			value, err := v1beta1.ParseCommunityValue(a.Value)
			if err != nil {
				continue // the schema refuses it; an alias without meaning is an unknown name
			}
			if _, taken := meaning[a.Name]; !taken {
				meaning[a.Name] = value
			}
		}
	}
	return meaning
}

// place finds a peer's group, and makes it where it is the first.
func (v *view) place(p Peer) peer {
	out := peer{name: p.Name, wanted: v.self >= 0 && selects(p.Nodes, v.nodes[v.self].Labels)}
	if !out.wanted {
		return out
	}
	g := group{ads: make([]bool, len(v.ads)), internal: p.Internal}
	for i, a := range v.ads {
		g.ads[i] = a.advertisesTo(p.Name)
	}
	for _, f := range families {
		g.families[f] = p.carries(f)
	}
	out.group = slices.IndexFunc(v.groups, func(o group) bool {
		return slices.Equal(g.ads, o.ads) && g.internal == o.internal && g.families == o.families
	})
	if out.group < 0 {
		out.group = len(v.groups)
		v.groups = append(v.groups, g)
	}
	return out
}

func (p Peer) carries(f bgp.Family) bool {
	return len(p.Families) == 0 || slices.Contains(p.Families, f)
}

func (a Advertisement) advertisesTo(peer string) bool {
	return len(a.Peers) == 0 || slices.Contains(a.Peers, peer)
}

func (a Advertisement) covers(s plan.Sharer) bool {
	return (a.Pools == nil || a.Pools(s.Pool)) && selects(a.Services, s.Service.Labels)
}

func selects(s plan.Selector, labels map[string]string) bool { return s == nil || s(labels) }

// aggregate is the prefix that an advertisement has of an address of a pool: the address' own where the aggregate would
// reach beyond the pool.
func (v *view) aggregate(ad int, a netip.Addr, pool string) netip.Prefix {
	host := netip.PrefixFrom(a, a.BitLen())
	length := v.ads[ad].AggregationLength
	if a.Is6() {
		length = v.ads[ad].AggregationLengthV6
	}
	if length <= 0 || length >= a.BitLen() {
		return host
	}
	prefix := netip.PrefixFrom(a, length).Masked()
	if v.within == nil || !v.within(pool, prefix) {
		return host
	}
	return prefix
}

// key is a list of numbers as a map's key.
func key(numbers []int) string {
	var buf [64]byte
	b := buf[:0]
	for _, n := range numbers {
		b = append(b, byte(n>>16), byte(n>>8), byte(n))
	}
	return string(b)
}
