package speaker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/inspect"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/plan"
	"github.com/clarion-lb/clarion/speaker/routes"
)

// inspection answers who asks what this speaker sees and has decided. What it asks of the decider is asked in the loop, in pieces that
// take no longer than a decision does, and changes nothing.
type inspection struct{ *speaker }

var _ inspect.Source = inspection{}

// ask has f done by the loop between two steps.
func (l *loop) ask(ctx context.Context, f func(*decider) error) error {
	answered := make(chan error, 1)
	question := func() {
		defer func() {
			// What goes wrong in answering must not end the speaker.
			if r := recover(); r != nil {
				answered <- fmt.Errorf("answering: %v", r)
			}
		}()
		answered <- f(l.decider)
	}
	select {
	case l.questions <- question:
		return <-answered
	case <-ctx.Done():
		return fmt.Errorf("the speaker does not answer: %w", ctx.Err())
	}
}

const (
	// nodesAtOnce and addressesAtOnce are how much is worked out between two steps of the loop.
	nodesAtOnce     = 16
	addressesAtOnce = 128
)

// Inspect implements [inspect.Source].
func (s inspection) Inspect(ctx context.Context, q inspect.Question) (inspect.Report, error) {
	out := inspect.Report{Node: s.NodeName, Version: s.Version, Started: s.loop.started, Now: time.Now(), Observe: s.Observe, WaitsFor: s.ready.get()}
	var links []inspect.Link
	var asked []netip.Addr
	passworded := 0
	err := s.loop.ask(ctx, func(d *decider) error {
		out.Members = d.inspectMembers()
		for _, l := range d.links {
			links = append(links, inspect.Link{Name: l.Name, Up: l.Up, Prefixes: l.Prefixes})
		}
		for _, p := range d.routing.desired.Peers {
			if p.Password != "" {
				passworded++
			}
		}
		var err error
		asked, err = d.asked(q)
		return err
	})
	if err != nil {
		return out, err
	}
	out.Host = inspect.ReadHost(os.DirFS("/proc"), links)
	out.Host.PasswordedPeers, out.Host.ProxyFailing = passworded, s.proxy.failing.Load()
	if s.proxy.url != "" && !s.proxy.seen.Load() {
		out.Host.ProxyUnseen = s.ProxyHealth
	}
	state, _ := s.announcer.State()
	for _, a := range asked {
		one := inspect.Address{Address: a, Answering: state.Answering(a), Wire: wireInWords(state, a)}
		var nodes []string
		if err := s.loop.ask(ctx, func(d *decider) error { nodes = d.inspectAddress(&one, q.Service); return nil }); err != nil {
			return out, err
		}
		reasons := map[string]v1beta1.Reason{}
		for some := range slices.Chunk(nodes, nodesAtOnce) {
			if err := s.loop.ask(ctx, func(d *decider) error { d.inspectRoutes(a, q.Service, some, reasons); return nil }); err != nil {
				return out, err
			}
		}
		for i := range one.Nodes {
			one.Nodes[i].BGP = reasons[one.Nodes[i].Node]
		}
		out.Addresses = append(out.Addresses, one)
	}
	return out, nil
}

// asked returns the addresses that a question is about.
func (d *decider) asked(q inspect.Question) ([]netip.Addr, error) {
	switch {
	case !d.seen.synced || d.view == nil:
		return nil, nil
	case q.Service != "":
		namespace, name, _ := strings.Cut(q.Service, "/")
		service := d.services[types.NamespacedName{Namespace: namespace, Name: name}]
		if service == nil {
			return nil, fmt.Errorf("service %s with addresses of Clarion's: %w", q.Service, inspect.ErrUnknown)
		}
		var out []netip.Addr
		for _, a := range service.addresses {
			out = append(out, a.address)
		}
		return out, nil
	case q.Address.IsValid():
		if len(d.sharers[q.Address]) == 0 {
			return nil, fmt.Errorf("%s, as an address of Clarion's: %w", q.Address, inspect.ErrUnknown)
		}
		return []netip.Addr{q.Address}, nil
	}
	return nil, nil
}

// inspectMembers tells of all nodes.
func (d *decider) inspectMembers() []inspect.Member {
	heard := map[string]gossip.Member{}
	for _, m := range d.seen.gossip.Members {
		heard[m.Node] = m
	}
	var out []inspect.Member
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		m, there := heard[name]
		one := inspect.Member{Node: name, Heard: there || name == d.self}
		if v, judged := d.verdicts[name]; judged {
			one.Verdict = v.State.String()
		}
		if there && m.Known {
			one.Serving, one.Restarting, one.Leaving, one.Stale, one.Routed, one.Build =
				m.Facts.Serving, m.Facts.Restarting, m.Facts.Leaving, m.Facts.Stale, m.Facts.Routed, m.Facts.Build
		}
		if name == d.self {
			one.Serving, one.Routed = d.machine.Serving(), d.routing.established()
		}
		out = append(out, one)
	}
	return out
}

// sharerAsked returns the sharers of an address, and the number of the one that a question is about.
func (d *decider) sharerAsked(a netip.Addr, service string) ([]plan.Sharer, int) {
	_, sharers := d.sharersOf(a)
	return sharers, max(0, slices.IndexFunc(sharers, func(s plan.Sharer) bool { return s.Service.Name == service }))
}

// inspectAddress tells of layer 2, and returns the nodes of which there is something to tell about BGP.
func (d *decider) inspectAddress(out *inspect.Address, service string) (routed []string) {
	a := out.Address
	sharers, asked := d.sharerAsked(a, service)
	if len(sharers) == 0 {
		return nil // it has gone since
	}
	for _, s := range sharers {
		out.Services = append(out.Services, s.Service.Name)
	}
	unit := unitOf(a)
	out.Owner, out.Ownership, out.Deputies = d.machine.Owner(unit), d.machine.Explain(unit), d.machine.Deputies(unit)
	if decided := d.addresses[a]; decided != nil {
		out.Ignored = decided.ignored
	}
	for _, v := range d.view.Explain(a, sharers, asked) {
		out.Nodes = append(out.Nodes, inspect.Node{Node: v.Node, Layer2: v.Reason, Message: v.Message, Interfaces: v.Interfaces,
			Endpoints: sharers[asked].Endpoints[v.Node].CanServe()})
	}
	if decision, known := d.routing.decisions[a]; known {
		for _, n := range decision.Nodes {
			if d.sends(n, a) {
				out.AdvertisedBy = append(out.AdvertisedBy, n)
			}
		}
		for _, n := range d.planned {
			routed = append(routed, n.Name)
		}
	}
	return routed
}

// inspectRoutes works out why nodes do, or do not, advertise an address by BGP, as each of them does for itself.
func (d *decider) inspectRoutes(a netip.Addr, service string, nodes []string, into map[string]v1beta1.Reason) {
	sharers, asked := d.sharerAsked(a, service)
	if len(sharers) == 0 {
		return
	}
	cluster := d.routing.clusterOf()
	for _, name := range nodes {
		if name != d.self && !d.hears(name) {
			into[name] = v1beta1.ReasonNoSpeaker
			continue
		}
		cluster.Self = name
		table := routes.New()
		table.Configure(cluster)
		table.Set(routes.Address{Address: a, Sharers: sharers})
		decision, _ := table.Decision(a)
		reason := decision.Outcomes[asked].Reason
		if reason == v1beta1.ReasonAnnounced && !d.sends(name, a) {
			reason = v1beta1.ReasonNoSession
		}
		into[name] = reason
	}
}

// wireInWords tells what keeps this speaker from answering for an address, and who else does.
func wireInWords(state layer2.State, a netip.Addr) (out []string) {
	if text := failure(state, a); text != "" {
		out = append(out, text)
	}
	for _, c := range state.Conflicts(a) {
		text := fmt.Sprintf("a host with the MAC %s, which is no node of the cluster, answers for it, too", c.MAC)
		switch {
		case c.Kind == layer2.KubeProxyAnswersARP:
			text = fmt.Sprintf("the kernel of the node with the MAC %s answers for it, too: set strictARP in kube-proxy's configuration", c.MAC)
		case c.Withheld:
			text = fmt.Sprintf("a host with the MAC %s, which is no node of the cluster, has it: it is not answered while that host is there", c.MAC)
		}
		out = append(out, text)
	}
	return out
}
