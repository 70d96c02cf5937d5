package speaker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/speaker/inspect"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
	"github.com/clarion-lb/clarion/speaker/routes"
)

// simulation works out what would become of the addresses of a node that is drained or lost, by the decisions that would be made then: the
// same view with the node as it would be. Who takes what at layer 2 follows from the deputies that all have agreed on.
type simulation struct {
	node  string
	event inspect.Event
	view  *plan.View
	table *routes.Table
	todo  []netip.Addr
}

// Simulate implements [inspect.Source].
func (s inspection) Simulate(ctx context.Context, e inspect.Event, node string) (inspect.Simulation, error) {
	out := inspect.Simulation{Node: node, Event: e, By: s.NodeName}
	var sim *simulation
	if err := s.loop.ask(ctx, func(d *decider) (err error) { sim, err = d.simulate(e, node, &out); return err }); err != nil {
		return out, err
	}
	for some := range slices.Chunk(sim.todo, addressesAtOnce) {
		if err := s.loop.ask(ctx, func(d *decider) error {
			for _, a := range some {
				if m, moves := d.simulated(sim, a); moves {
					out.Moves = append(out.Moves, m)
				}
			}
			return nil
		}); err != nil {
			return out, err
		}
	}
	return out, nil
}

// simulate prepares a simulation and counts what the node has now.
func (d *decider) simulate(e inspect.Event, node string, out *inspect.Simulation) (*simulation, error) {
	if !d.seen.synced || d.view == nil {
		return nil, fmt.Errorf("the speaker of node %s is only starting", d.self)
	}
	if d.nodes[node] == nil {
		return nil, fmt.Errorf("node %s: %w", node, inspect.ErrUnknown)
	}
	then := func(nodes []plan.Node) []plan.Node {
		nodes = slices.Clone(nodes)
		if e == inspect.Loss {
			return slices.DeleteFunc(nodes, func(n plan.Node) bool { return n.Name == node })
		}
		for i := range nodes {
			if nodes[i].Name == node {
				nodes[i].Signals |= plan.Draining
			}
		}
		return nodes
	}
	sim := &simulation{node: node, event: e}
	c := plan.Cluster{IgnoreExcludeLabel: d.ignoreExcludeLabel, Nodes: then(d.planned)}
	for _, ad := range d.ads {
		c.Advertisements = append(c.Advertisements, *ad)
	}
	sim.view = plan.New(c)
	if d.routing.active {
		cluster := d.routing.clusterOf()
		cluster.Nodes = then(cluster.Nodes)
		sim.table = routes.New()
		sim.table.Configure(cluster)
	}
	for a := range d.sharers {
		owned := d.machine.Owner(unitOf(a)) == node
		advertised := slices.Contains(d.routing.decisions[a].Nodes, node)
		if owned {
			out.Owned++
		}
		if advertised {
			out.Advertised++
		}
		if owned || advertised {
			sim.todo = append(sim.todo, a)
		}
	}
	slices.SortFunc(sim.todo, netip.Addr.Compare)
	return sim, nil
}

// simulated works out what would become of one address.
func (d *decider) simulated(sim *simulation, a netip.Addr) (inspect.Move, bool) {
	_, sharers := d.sharersOf(a)
	if len(sharers) == 0 {
		return inspect.Move{}, false // it has gone since
	}
	out := inspect.Move{Address: a}
	for i := range sharers {
		out.Services = append(out.Services, sharers[i].Service.Name)
		if _, here := sharers[i].Endpoints[sim.node]; here && sim.event == inspect.Loss {
			// What runs on the node is lost with it.
			sharers[i].Endpoints = maps.Clone(sharers[i].Endpoints)
			delete(sharers[i].Endpoints, sim.node)
		}
	}
	decision := sim.view.Decide(a, sharers)
	served := map[int]bool{}
	for i, o := range decision.Outcomes {
		served[i] = o.Served()
	}
	if sim.table != nil {
		sim.table.Set(routes.Address{Address: a, Sharers: sharers})
		routed, _ := sim.table.Decision(a)
		for _, n := range routed.Nodes {
			if n == d.self && d.routing.established() || n != d.self && d.reached(n) {
				out.Advertised = append(out.Advertised, n)
			}
		}
		for i, o := range routed.Outcomes {
			served[i] = served[i] || o.Served && len(out.Advertised) > 0
		}
	}
	if d.machine.Owner(unitOf(a)) == sim.node {
		out.To, out.Stays = d.heir(sim, a, decision)
	}
	for i, s := range sharers {
		if !served[i] {
			if out.Unserved == nil {
				out.Unserved = map[string]string{}
			}
			out.Unserved[s.Service.Name] = decision.Outcomes[i].Message
		}
	}
	return out, true
}

// heir returns who would answer for an address in the node's place, or that the node keeps it.
func (d *decider) heir(sim *simulation, a netip.Addr, decision plan.Decision) (to string, stays bool) {
	best := decision.Best()
	if slices.Contains(best, sim.node) {
		return "", true
	}
	best = slices.DeleteFunc(best, func(n string) bool { return n != d.self && !d.hears(n) })
	for _, deputy := range d.machine.Deputies(unitOf(a)) {
		if slices.Contains(best, deputy) {
			return deputy, false
		}
	}
	return ownership.Owner(unitOf(a), best), false
}
