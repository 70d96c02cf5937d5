package routes

import (
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// A contribution is what an advertisement has to say for an address: one that is
// advertised has at least one.
type contribution struct {
	ad     int
	prefix netip.Prefix
}

// A verdict is a decision, and what comes of it.
type verdict struct {
	Decision
	contributions []contribution
}

// A place is what the checks that know no endpoints say of every node, for all
// addresses of a family that the same advertisements cover.
type place struct {
	ads      []int
	refusals []Reason // by node, "" where none refuses
	bars     []Reason // by node, those of refusals that no session would lift
	// nodes advertise what an endpoint anywhere is enough for.
	nodes []string
	here  Reason // this node's reason then
}

// placeFor returns the place of the advertisements with the given numbers, for addresses of a family.
func (v *view) placeFor(ads []int, f bgp.Family) *place {
	k := string(rune(f)) + key(ads)
	if p := v.places[k]; p != nil {
		return p
	}
	p := &place{ads: slices.Clone(ads), refusals: make([]Reason, len(v.nodes)), bars: make([]Reason, len(v.nodes))}
	for i := range v.nodes {
		p.bars[i] = v.check(ads, f, i)
		if p.refusals[i] = p.bars[i]; p.bars[i] == "" && i != v.self && !v.heard(ads, f, i) {
			p.refusals[i] = v1beta1.ReasonNoSpeaker
		}
	}
	advertise := v.best(func(node int) (bool, plan.Signals) { return p.refusals[node] == "", 0 })
	p.nodes = v.namesOf(advertise)
	p.here = v.reasonHere(v.self >= 0 && advertise[v.self], func(node int) Reason { return p.refusals[node] }, 0)
	v.places[k] = p
	return p
}

// check asks the checks that need neither endpoints nor sessions.
func (v *view) check(ads []int, f bgp.Family, node int) Reason {
	n, selected, reached := v.nodes[node], false, false
	for _, i := range ads {
		ad := v.ads[i]
		selected = selected || ad.selects[node]
		reached = reached || ad.selects[node] && ad.reaches[f][node]
	}
	_, excluded := n.Labels[v1beta1.LabelExcludeNode]
	switch {
	case !selected:
		return v1beta1.ReasonNotSelected
	case excluded && !v.ignore:
		return v1beta1.ReasonNodeExcluded
	case n.NetworkUnavailable:
		return v1beta1.ReasonNodeNetworkUnavailable
	case !reached:
		return v1beta1.ReasonNoPeer
	}
	return ""
}

// heard reports whether routers that an address goes to hear of it from a node.
func (v *view) heard(ads []int, f bgp.Family, node int) bool {
	return slices.ContainsFunc(ads, func(i int) bool { return v.ads[i].selects[node] && v.ads[i].heard[f][node] })
}

// best returns the nodes that advertise among those that may: the ones that least speaks against. A cordon does not
// count.
func (v *view) best(may func(node int) (bool, plan.Signals)) []bool {
	least, any := plan.Signals(0), false
	ranks := make([]plan.Signals, len(v.nodes))
	out := make([]bool, len(v.nodes))
	for i, n := range v.nodes {
		ok, signals := may(i)
		if !ok {
			continue
		}
		out[i], ranks[i] = true, (n.Signals|signals)&^plan.Cordoned
		if !any || ranks[i] < least {
			least, any = ranks[i], true
		}
	}
	for i := range out {
		out[i] = out[i] && ranks[i] == least
	}
	return out
}

func (v *view) namesOf(nodes []bool) []string {
	var names []string
	for i, yes := range nodes {
		if yes {
			names = append(names, v.names[i])
		}
	}
	return names
}

// reasonHere is this node's reason.
func (v *view) reasonHere(advertises bool, refusal func(node int) Reason, signals plan.Signals) Reason {
	switch {
	case v.self < 0:
		return v1beta1.ReasonNotSelected
	case advertises:
		return v1beta1.ReasonAnnounced
	}
	if r := refusal(v.self); r != "" {
		return r
	}
	if r := ((v.nodes[v.self].Signals | signals) &^ plan.Cordoned).Reason(); r != "" {
		return r
	}
	return v1beta1.ReasonNoEligibleNode
}

func (v *view) decide(a Address) verdict {
	if len(a.Sharers) == 1 {
		if d, ok := v.decideSingle(a); ok {
			return d
		}
	}
	return v.decideShared(a)
}

// decideSingle is decide for the usual case: one Service, which can be served somewhere. All that depends on the Service
// is where it is advertised, and with externalTrafficPolicy Local where it has endpoints.
func (v *view) decideSingle(a Address) (verdict, bool) {
	s := a.Sharers[0]
	ads := v.covering(s)
	if len(ads) == 0 || !anywhere(s.Endpoints) {
		return verdict{}, false
	}
	p := v.placeFor(ads, bgp.FamilyOf(a.Address))
	d := verdict{Decision: Decision{Nodes: p.nodes, Outcomes: []Outcome{{Reason: p.here}}}}
	if s.Service.Local {
		d.Nodes = v.bestOf(p, s)
		d.Outcomes[0].Reason = v.reasonHere(v.self >= 0 && slices.Contains(d.Nodes, v.names[v.self]),
			func(node int) Reason { return v.refusal(p, node, s) }, v.terminatingHere(s))
	}
	if len(d.Nodes) == 0 {
		return verdict{}, false
	}
	d.Outcomes[0].Served = true
	d.Advertised = d.Outcomes[0].Reason == v1beta1.ReasonAnnounced
	if d.Advertised {
		v.contribute(&d, a.Address, p, s)
	}
	return d, true
}

// bestOf returns the nodes that advertise a Service that only nodes with endpoints can serve: there are few of them.
func (v *view) bestOf(p *place, s plan.Sharer) []string {
	var names []string
	var least plan.Signals
	for name, facts := range s.Endpoints {
		node, exists := v.numbers[name]
		if !exists || !facts.CanServe() || p.refusals[node] != "" {
			continue
		}
		rank := (v.nodes[node].Signals | terminating(s, name)) &^ plan.Cordoned
		if len(names) == 0 || rank < least {
			names, least = names[:0], rank
		}
		if rank == least {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (v *view) terminatingHere(s plan.Sharer) plan.Signals {
	if v.self < 0 {
		return 0
	}
	return terminating(s, v.names[v.self])
}

// decideShared is decide for any number of sharers.
func (v *view) decideShared(a Address) verdict {
	where := make([]*place, len(a.Sharers)) // nil for sharers that no advertisement covers
	for i, s := range a.Sharers {
		if ads := v.covering(s); len(ads) > 0 {
			where[i] = v.placeFor(ads, bgp.FamilyOf(a.Address))
		}
	}
	served, nodes := plan.ServeMost(a.Sharers, len(v.nodes), func(i, node int) bool {
		return where[i] != nil && v.refusal(where[i], node, a.Sharers[i]) == ""
	})
	signals := func(node int) (all plan.Signals) {
		for i, s := range a.Sharers {
			if served[i] {
				all |= terminating(s, v.names[node])
			}
		}
		return all
	}
	advertise := v.best(func(node int) (bool, plan.Signals) { return nodes[node], signals(node) })

	d := verdict{Decision: Decision{Outcomes: make([]Outcome, len(a.Sharers)), Nodes: v.namesOf(advertise)}}
	d.Advertised = v.self >= 0 && advertise[v.self]
	for i, s := range a.Sharers {
		d.Outcomes[i] = Outcome{Served: served[i] && len(d.Nodes) > 0}
		if where[i] == nil {
			d.Outcomes[i].Reason = v1beta1.ReasonNoAdvertisement
			continue
		}
		var all plan.Signals
		if v.self >= 0 {
			all = signals(v.self)
		}
		reason := v.reasonHere(d.Advertised, func(node int) Reason { return v.refusal(where[i], node, s) }, all)
		if reason == v1beta1.ReasonAnnounced && !served[i] {
			reason = v.refusalOr(where[i], s, v1beta1.ReasonNoEligibleNode)
		}
		d.Outcomes[i].Reason = reason
		if d.Advertised && served[i] {
			v.contribute(&d, a.Address, where[i], s)
		}
	}
	return d
}

// refusal asks all checks that exclude.
func (v *view) refusal(p *place, node int, s plan.Sharer) Reason {
	if r := p.refusals[node]; r != "" {
		return r
	}
	switch {
	case s.Service.Local && s.Endpoints[v.names[node]].CanServe():
		return ""
	case !anywhere(s.Endpoints):
		return v1beta1.ReasonNoEndpoint
	case s.Service.Local:
		return v1beta1.ReasonNoLocalEndpoint
	}
	return ""
}

func (v *view) refusalOr(p *place, s plan.Sharer, other Reason) Reason {
	if r := v.refusal(p, v.self, s); r != "" {
		return r
	}
	return other
}

// contribute adds what the advertisements that select this node have to say of an address for a sharer.
func (v *view) contribute(d *verdict, a netip.Addr, p *place, s plan.Sharer) {
	for _, i := range p.ads {
		if !v.ads[i].selects[v.self] {
			continue
		}
		c := contribution{i, v.aggregate(i, a, s.Pool)}
		if !slices.Contains(d.contributions, c) {
			d.contributions = append(d.contributions, c)
		}
	}
}

// covering returns the numbers of the advertisements that cover an address of s.
func (v *view) covering(s plan.Sharer) []int {
	var ads []int
	for i := range v.ads {
		if v.ads[i].covers(s) {
			ads = append(ads, i)
		}
	}
	return ads
}

func anywhere(e plan.Endpoints) bool {
	for _, f := range e {
		if f.CanServe() {
			return true
		}
	}
	return false
}

// terminating says whether all that the node has for a Service is about to go.
func terminating(s plan.Sharer, node string) plan.Signals {
	if f := s.Endpoints[node]; s.Service.Local && !f.Ready && f.ServingTerminating {
		return plan.Terminating
	}
	return 0
}

// furthest are the reasons that bar nodes, those of the nodes that came furthest first.
var furthest = []Reason{v1beta1.ReasonNoLocalEndpoint, v1beta1.ReasonNoPeer, v1beta1.ReasonNodeNetworkUnavailable, v1beta1.ReasonNodeExcluded, v1beta1.ReasonNotSelected}

// barred returns the reasons why no node would advertise an address of a family for the sake of s whatever sessions it had; nil where
// one would.
func (v *view) barred(s plan.Sharer, f bgp.Family) []Reason {
	ads := v.covering(s)
	if len(ads) == 0 || !anywhere(s.Endpoints) {
		return nil // which are reasons of their own
	}
	p, found := v.placeFor(ads, f), map[Reason]bool{}
	for i, r := range p.bars {
		if r == "" && s.Service.Local && !s.Endpoints[v.names[i]].CanServe() {
			r = v1beta1.ReasonNoLocalEndpoint
		}
		if r == "" {
			return nil
		}
		found[r] = true
	}
	return slices.DeleteFunc(slices.Clone(furthest), func(r Reason) bool { return !found[r] })
}
