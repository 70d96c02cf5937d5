package plan

import (
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A Decision says who may announce an address.
type Decision struct {
	// Candidates in order of their names. Decisions share these lists.
	Candidates []Candidate
	// Outcomes say what became of each sharer, in the order they were given.
	Outcomes []Outcome
	// Ignored is the soft signal that held for every candidate, and so was ignored; "" for none.
	Ignored Reason
	// Settings that hold for the address.
	Settings Settings
}

// A Candidate is a node that may announce the address, and the interfaces to answer on.
type Candidate struct {
	Node       string
	Interfaces []string
	// Rank is what speaks against the node: the lower the better.
	Rank Signals
	// Weight is how much the advertisements prefer the node. It comes after Rank.
	Weight int32
}

// An Outcome says whether the candidates serve a Service.
type Outcome struct {
	// Reason is Announced, NoAdvertisement, NoEligibleNode, NoInterface or NoEndpoint.
	Reason Reason
	// Message says what is missing and what to do about it, and names no other Service. Empty when
	// the reason is Announced.
	Message string
}

// Served reports whether the candidates serve the Service.
func (o Outcome) Served() bool { return o.Reason == v1beta1.ReasonAnnounced }

// Decide returns who may announce an address that the sharers have.
func (v *View) Decide(address netip.Addr, sharers []Sharer) Decision {
	if len(sharers) == 1 {
		if d := v.decideSingle(address, sharers[0]); len(d.Candidates) > 0 {
			return d
		}
	}
	return v.decideShared(address, sharers)
}

// decideSingle is Decide for the usual case, one Service that can be served: all that depends on the
// Service is where it is announced, and with externalTrafficPolicy Local where it has endpoints.
func (v *View) decideSingle(address netip.Addr, s Sharer) Decision {
	ads := v.covering(s)
	if len(ads) == 0 {
		return Decision{}
	}
	p := v.place(address, ads)
	if !s.Service.Local {
		if !s.Endpoints.anywhere() {
			return Decision{}
		}
		return Decision{Candidates: p.candidates, Ignored: p.ignored, Settings: p.settings, Outcomes: announced}
	}
	candidates, ignored := v.candidates(ads, func(node int) ([]string, Signals) {
		name := v.nodes[node].Name
		if !s.Endpoints[name].CanServe() {
			return nil, 0
		}
		return p.nodes[node].interfaces, terminating(s, name)
	})
	return Decision{Candidates: candidates, Ignored: ignored, Settings: p.settings, Outcomes: announced}
}

var announced = []Outcome{{Reason: v1beta1.ReasonAnnounced}}

// decideShared is Decide for any number of sharers.
func (v *View) decideShared(address netip.Addr, sharers []Sharer) Decision {
	where := make([]*place, len(sharers)) // nil for sharers that no advertisement covers
	for i, s := range sharers {
		if ads := v.covering(s); len(ads) > 0 {
			where[i] = v.place(address, ads)
		}
	}
	served, nodes := ServeMost(sharers, len(v.nodes), func(i, node int) bool {
		return where[i] != nil && refusal(where[i], node, sharers[i], v.nodes[node].Name) == ""
	})

	d := Decision{Outcomes: make([]Outcome, len(sharers))}
	var ads []int // that cover those served
	for i, p := range where {
		if served[i] {
			ads = append(ads, p.ads...)
		}
	}
	slices.Sort(ads)
	ads = slices.Compact(ads)
	if len(ads) > 0 {
		d.Settings = v.settings(ads)
	}
	d.Candidates, d.Ignored = v.candidates(ads, func(node int) ([]string, Signals) {
		if !nodes[node] {
			return nil, 0
		}
		var interfaces []string
		var signals Signals
		for i, p := range where {
			if served[i] {
				interfaces = append(interfaces, p.nodes[node].interfaces...)
				signals |= terminating(sharers[i], v.nodes[node].Name)
			}
		}
		slices.Sort(interfaces)
		return slices.Compact(interfaces), signals
	})
	for i, s := range sharers {
		switch {
		case served[i]:
			d.Outcomes[i] = Outcome{Reason: v1beta1.ReasonAnnounced}
		case where[i] == nil:
			d.Outcomes[i] = v.notCovered(address, s)
		default:
			d.Outcomes[i] = v.notServed(address, where[i], s)
		}
	}
	return d
}

// candidates returns the nodes for which use returns any interfaces, and the heaviest signal that all of them have: it
// is ignored. use also returns what speaks against the node for the sake of the Services concerned. ads are the numbers
// of the advertisements that cover the address.
func (v *View) candidates(ads []int, use func(node int) ([]string, Signals)) ([]Candidate, Reason) {
	var all []Candidate
	common := ^Signals(0)
	for i, n := range v.nodes {
		interfaces, signals := use(i)
		if len(interfaces) == 0 {
			continue
		}
		c := Candidate{Node: n.Name, Interfaces: interfaces, Rank: n.Signals | signals}
		for _, ad := range ads {
			c.Weight += v.weights[ad][i]
		}
		common &= c.Rank
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, ""
	}
	return all, common.Reason()
}

// Best returns the names of the candidates that come first, by rank and then by weight, in order.
func (d Decision) Best() []string {
	var names []string
	var best Candidate
	for _, c := range d.Candidates {
		switch {
		case len(names) == 0 || c.better(best):
			best, names = c, []string{c.Node}
		case !best.better(c):
			names = append(names, c.Node)
		}
	}
	return names
}

// better reports whether c comes before d.
func (c Candidate) better(d Candidate) bool {
	return c.Rank < d.Rank || c.Rank == d.Rank && c.Weight > d.Weight
}
