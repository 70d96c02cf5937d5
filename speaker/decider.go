package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// decider joins plan and ownership: from what is seen it works out how this node answers for which address, what it has
// to tell the other speakers, and what there is to say of each Service. It opens nothing and belongs to the loop; time
// is an argument.
//
// Its work goes with what changed: a Service or its endpoints are decided alone, and only what concerns
// all of them (nodes, links, advertisements) has everything decided anew. That a node is lost is no such thing: who takes
// its addresses was settled before.
type decider struct {
	self               string
	life               uint64
	ignoreExcludeLabel bool

	*cluster
	seen      seen
	links     []layer2.Link // those seen that make sense to announce on
	known     map[string]known
	view      *plan.View
	planned   []plan.Node         // that the view was made of
	unrouted  map[netip.Addr]bool // addresses that changed since routing was last told
	addresses map[netip.Addr]*address
	machine   *ownership.Machine
	answers   map[ownership.Unit]ownership.Answer
	standby   map[ownership.Unit]bool // that this node takes when their owner is lost
	deputized uint64                  // what standby is of
	members   []ownership.Member      // as the machine was last told
	verdicts  map[string]detection.Verdict
	isolated  []string         // own links on which nobody answers
	deaf      map[segment]bool // own segments on which sockets fail
	placed    map[*plan.Candidate][]ownership.Candidate
	holdDown  plan.HoldDown
	heldUntil time.Time // when held signals may count, or cease to
	gains     *gains
	conflicts *conflicts
	routing   *routing

	revised   revision // what is to be told to layer 2
	standIns  int      // how many addresses this node answers for in the name of others
	decisions uint64   // how many addresses were decided, each time counted
	reasons   map[v1beta1.Reason]int
	uncounted map[netip.Addr]bool // decided, and not among reasons yet
}

// known is what matters of what a speaker says, or said last, of its node.
type known struct {
	links        []gossip.Link
	proxyFailing bool
	stale        bool
}

func (k known) equal(l known) bool {
	return k.proxyFailing == l.proxyFailing && k.stale == l.stale && slices.EqualFunc(k.links, l.links, gossip.Link.Equal)
}

// address is a decided address.
type address struct {
	sharers    []types.NamespacedName
	candidates []plan.Candidate
	placement  []ownership.Candidate
	outcomes   []plan.Outcome // by sharer
	ignored    plan.Reason
	settings   plan.Settings
	reason     v1beta1.Reason // why this node may announce it or not, as counted
	// interfaces are where this node answers, if it does. They stay when it may answer no longer: it goes on until another does.
	interfaces []string
}

// seen is what is seen besides the API server's objects.
type seen struct {
	// synced is true once all objects have come in.
	synced bool
	gossip gossip.Snapshot
	links  []layer2.Link
}

// news are what has come since the last step.
type news struct {
	verdicts []detection.Verdict
	isolated []string // whole, each time
	messages []ownership.Received
	evidence []ownership.Evidence
	// leave is whether this node is to hand over all that it has.
	leave bool
}

// decided is what a step came to.
type decided struct {
	ownership.Output
	// settled is whether this speaker had its view of the others before this step. Until then it does not know what is its own, and
	// what it learns to have been so all along is no Move; what it claims in the very step in which it first knows is one.
	settled bool
	// touched are Services whose condition may be another now.
	touched map[types.NamespacedName]bool
	// revised says which announcements may be others now.
	revised revision
	// wakeAt is when to step again in any case.
	wakeAt time.Time
}

// standIn is how addresses are answered for while the owner's speaker is silent.
type standIn struct {
	off      bool
	takeOver time.Duration
}

func newDecider(self string, life uint64, ignoreExcludeLabel bool, s standIn) *decider {
	return &decider{
		self:               self,
		life:               life,
		ignoreExcludeLabel: ignoreExcludeLabel,
		cluster:            newCluster(),
		known:              map[string]known{},
		unrouted:           map[netip.Addr]bool{},
		addresses:          map[netip.Addr]*address{},
		answers:            map[ownership.Unit]ownership.Answer{},
		verdicts:           map[string]detection.Verdict{},
		placed:             map[*plan.Candidate][]ownership.Candidate{},
		revised:            newRevision(),
		reasons:            map[v1beta1.Reason]int{},
		uncounted:          map[netip.Addr]bool{},
		machine:            ownership.New(ownership.Config{Self: self, Life: life, NoStandIn: s.off, TakeOver: s.takeOver}),
		gains:              newGains(),
		conflicts:          newConflicts(),
		routing:            newRouting(self, ignoreExcludeLabel),
	}
}

// look takes in what is seen besides objects.
func (d *decider) look(s seen) {
	// The host ends of pods' veth pairs come and go all the time, and concern nobody.
	links := layer2.Select(s.links, d.named)
	if !slices.EqualFunc(links, d.links, layer2.Link.Equal) {
		d.allDirty, d.revised.all = true, true
	}
	now := knownOf(s.gossip)
	self := now[d.self]
	self.links = d.ownLinks(links)
	now[d.self] = self // which it need not hear from others
	if !maps.EqualFunc(now, d.known, known.equal) {
		d.allDirty = true
		d.revised.all = true // of whom this node stands in for, the MAC may be another
	}
	d.seen, d.links, d.known = s, links, now
}

// ownLinks returns this node's links, as it tells the others.
func (d *decider) ownLinks(links []layer2.Link) []gossip.Link {
	own := gossipLinks(links)
	for i := range own {
		own[i].DeafIPv4 = d.deaf[segment{own[i].Name, layer2.IPv4}]
		own[i].DeafIPv6 = d.deaf[segment{own[i].Name, layer2.IPv6}]
	}
	return own
}

// knownOf returns what is known of each node whose speaker was ever heard.
func knownOf(s gossip.Snapshot) map[string]known {
	all := make(map[string]known, len(s.Members)+len(s.Lost))
	for _, list := range [][]gossip.Member{s.Members, s.Lost} {
		for _, m := range list {
			if m.Known || m.Facts.Life != 0 {
				all[m.Node] = known{links: m.Facts.Links, proxyFailing: m.Facts.ProxyFailing, stale: m.Known && m.Facts.Stale}
			}
		}
	}
	return all
}

// step decides what has changed.
func (d *decider) step(now time.Time, n news) decided {
	d.hear(n)
	if !d.heldUntil.IsZero() && !now.Before(d.heldUntil) {
		d.allDirty = true
	}
	for _, a := range d.gains.due(now) {
		d.dirty[a] = true
	}
	in := ownership.Input{
		Whole:     d.seen.synced && d.seen.gossip.Running && (d.machine.Settled() || !d.seen.gossip.Unintelligible),
		Session:   d.seen.gossip.Session,
		Accounted: d.seen.gossip.Accounted,
		Members:   d.membersNow(),
		Verdicts:  verdictsOf(n.verdicts),
		Isolated:  d.allIsolated(),
		Units:     map[ownership.Unit]ownership.Placement{},
		Messages:  n.messages,
		Evidence:  n.evidence,
		Leave:     n.leave,
	}
	if in.Members != nil {
		// Who is to say that a Service is announced nowhere may be another.
		for a, decided := range d.addresses {
			if len(decided.placement) == 0 {
				d.touch(a)
			}
		}
	}
	// A verdict is acted on before anything else is worked out anew.
	if len(n.verdicts) == 0 {
		d.decideDirty(now, in.Units)
		in.Orders = d.orders()
	}
	t := decided{settled: d.machine.Settled()}
	wasServing := d.machine.Serving()
	t.Output = d.machine.Step(now, in)
	for _, change := range t.Answers {
		d.answer(change)
		d.conflicts.answer(change.Unit, change.Answer)
		d.touch(change.Unit.Address)
	}
	for _, move := range t.Moves {
		d.touch(move.Unit.Address)
		if move.From == d.self {
			delete(d.conflicts.held, move.Unit.Address) // who has the address finds out for itself
		}
	}
	d.standBy()
	if t.Serving != wasServing {
		for key := range d.services {
			d.touched[key] = true
		}
	}
	t.touched, t.revised = d.touched, d.revised
	t.wakeAt = soonest(soonest(t.WakeAt, d.heldUntil), d.gains.wakeAt())
	if d.seen.synced && (d.allDirty || len(d.dirty) > 0) {
		t.wakeAt = now
	}
	d.touched, d.revised = map[types.NamespacedName]bool{}, newRevision()
	return t
}

// hear takes in what detection has found.
func (d *decider) hear(n news) {
	for _, v := range n.verdicts {
		before := d.verdicts[v.Node]
		d.verdicts[v.Node] = v
		// Dead links are the candidates' business, dead nodes are not; what was dead with its node may stay so alone.
		if v.State != detection.Dead && (before.State == detection.Dead || !slices.Equal(before.DeadLinks, v.DeadLinks)) {
			d.allDirty = true
		}
	}
	if !slices.Equal(n.isolated, d.isolated) {
		d.isolated = n.isolated
		d.allDirty = true
	}
}

// membersNow returns who is heard, nil if that is as before.
func (d *decider) membersNow() []ownership.Member {
	now := make([]ownership.Member, 0, len(d.seen.gossip.Members))
	for _, m := range d.seen.gossip.Members {
		now = append(now, ownership.Member{Node: m.Node, Life: m.Facts.Life, Known: m.Known, Serving: m.Known && m.Facts.Serving,
			Restarting: m.Known && m.Facts.Restarting, Leaving: m.Known && m.Facts.Leaving})
	}
	if slices.Equal(now, d.members) {
		return nil
	}
	d.members = now
	return now
}

// allIsolated reports whether this node suspects itself on all the links on which it could meet another.
func (d *decider) allIsolated() bool {
	found := false
	if len(d.isolated) == 0 {
		return false
	}
	for _, l := range d.links {
		switch {
		case !l.Up:
		case slices.Contains(d.isolated, l.Name):
			found = true
		case d.meets(l):
			return false
		}
	}
	return found
}

// meets reports whether another node could be asked for on a link. Bridges of containers are links too, and nobody is there who
// could be missed.
func (d *decider) meets(l layer2.Link) bool {
	for name, k := range d.known {
		if name == d.self {
			continue
		}
		for _, other := range k.links {
			for _, p := range other.Prefixes {
				if slices.Contains(l.Prefixes, p) && (l.LinkLocal.IsValid() && other.LinkLocal.IsValid() ||
					slices.ContainsFunc(other.Addresses, p.Contains) || d.nodes[name] != nil && slices.ContainsFunc(d.nodes[name].addresses, p.Contains)) {
					return true
				}
			}
		}
	}
	return false
}

// decideDirty decides the addresses that need it, and notes those whose placement is another than before.
func (d *decider) decideDirty(now time.Time, units map[ownership.Unit]ownership.Placement) {
	maps.Copy(d.unrouted, d.dirty) // a new view changes no address for itself
	if d.view == nil || d.allDirty {
		d.rebuild(now)
	}
	// Before all objects are in, a decision would be one on half a view.
	if !d.seen.synced {
		return
	}
	for a := range d.dirty {
		if d.decide(now, a) {
			p := ownership.Placement{}
			if decided := d.addresses[a]; decided != nil {
				p = ownership.Placement{Candidates: decided.placement, Failback: failbackOf(decided.settings)}
			}
			units[unitOf(a)] = p
		}
	}
	clear(d.dirty)
}

// unitOf returns what is owned of an address.
func unitOf(a netip.Addr) ownership.Unit {
	return ownership.Unit{Address: a, Segment: ownership.WholeLAN}
}

// rebuild makes a new view.
func (d *decider) rebuild(now time.Time) {
	d.heldUntil = time.Time{}
	d.links = layer2.Select(d.seen.links, d.named)
	clear(d.placed)
	c := plan.Cluster{IgnoreExcludeLabel: d.ignoreExcludeLabel}
	all, some := ^plan.Signals(0), plan.Signals(0)
	for name, n := range d.nodes {
		p := n.plan
		said, heard := d.known[name]
		p.Speaker = plan.Speaker{Known: heard, Alive: d.hears(name), Links: planLinks(said.links)}
		seen := p.Signals
		if said.proxyFailing {
			seen |= plan.ProxyUnhealthy
		}
		if said.stale && d.someFresh() {
			seen |= plan.ViewStale
		}
		if heard {
			all, some = all&seen, some|seen
		}
		var until time.Time
		p.Signals, until = d.holdDown.See(now, name, seen)
		d.heldUntil = soonest(d.heldUntil, until)
		c.Nodes = append(c.Nodes, p)
	}
	// What all have, or none, makes nobody worse or better: it is not waited for, for else it would count, or cease to, of one node
	// before it does of the others.
	for i := range c.Nodes {
		if n := &c.Nodes[i]; n.Speaker.Known {
			n.Signals = n.Signals&some | all
		}
	}
	for _, ad := range d.ads {
		c.Advertisements = append(c.Advertisements, *ad)
	}
	d.holdDown.Keep(func(name string) bool { return d.nodes[name] != nil })
	maps.DeleteFunc(d.verdicts, func(name string, _ detection.Verdict) bool {
		_, heard := d.known[name]
		return !heard && d.nodes[name] == nil
	})
	d.view, d.planned = plan.New(c), c.Nodes
	for a := range d.sharers {
		d.dirty[a] = true
	}
	d.allDirty = false
}

// hears reports whether a node's speaker is heard.
func (d *decider) hears(node string) bool { return d.member(node) != nil }

// member returns what gossip says of a node's speaker, nil if it is not heard.
func (d *decider) member(node string) *gossip.Member {
	members := d.seen.gossip.Members
	i, heard := slices.BinarySearchFunc(members, node, func(m gossip.Member, name string) int { return strings.Compare(m.Node, name) })
	if !heard {
		return nil
	}
	return &members[i]
}

// someFresh reports whether any speaker that serves sees the API server. When none does, nobody's view is worse than
// the others'.
func (d *decider) someFresh() bool {
	return slices.ContainsFunc(d.seen.gossip.Members, func(m gossip.Member) bool { return m.Known && m.Facts.Serving && !m.Facts.Stale })
}

// decide decides one address, and reports whether its placement is another than before.
func (d *decider) decide(now time.Time, a netip.Addr) (changed bool) {
	d.decisions++
	d.revised.addresses[a] = true
	before := d.addresses[a]
	d.uncount(a, before)
	services, sharers := d.sharersOf(a)
	if len(sharers) == 0 {
		delete(d.addresses, a)
		d.gains.forget(a)
		d.conflicts.forget(a)
		return before != nil && len(before.placement) > 0
	}
	decision := d.view.Decide(a, sharers)
	decided := &address{candidates: decision.Candidates, outcomes: decision.Outcomes, ignored: decision.Ignored, settings: decision.Settings}
	for _, s := range services {
		decided.sharers = append(decided.sharers, s.key)
	}
	if i := indexOf(decision.Candidates, d.self); i >= 0 {
		decided.interfaces = decision.Candidates[i].Interfaces
	} else if before != nil {
		decided.interfaces = before.interfaces
	}
	d.addresses[a] = decided
	d.uncounted[a] = true
	decided.placement = preferring(d.placementOf(decision.Candidates), fromOf(services))
	if d.gains.waits(now, a, services, before != nil && indexOf(before.candidates, d.self) >= 0, indexOf(decision.Candidates, d.self) >= 0, before == nil) {
		decided.placement = slices.DeleteFunc(slices.Clone(decided.placement), func(c ownership.Candidate) bool { return c.Node == d.self })
	}
	if before == nil || !slices.Equal(before.sharers, decided.sharers) || !slices.Equal(before.outcomes, decided.outcomes) || before.ignored != decided.ignored ||
		len(before.placement) == 0 != (len(decided.placement) == 0) {
		d.touch(a)
	}
	if before == nil {
		return len(decided.placement) > 0
	}
	return before.settings != decided.settings || !slices.Equal(before.placement, decided.placement)
}

func indexOf(candidates []plan.Candidate, node string) int {
	i, found := slices.BinarySearchFunc(candidates, node, func(c plan.Candidate, name string) int { return strings.Compare(c.Node, name) })
	if !found {
		return -1
	}
	return i
}

// maxPlaced bounds how many lists of candidates are kept in the form that ownership needs.
const maxPlaced = 512

// placementOf returns the candidates as ownership needs them. Many addresses have the same list.
func (d *decider) placementOf(candidates []plan.Candidate) []ownership.Candidate {
	if len(candidates) == 0 {
		return nil
	}
	key := &candidates[0]
	if p, known := d.placed[key]; known && len(p) == len(candidates) {
		return p
	}
	p := make([]ownership.Candidate, len(candidates))
	for i, c := range candidates {
		p[i] = ownership.Candidate{Node: c.Node, Rank: uint8(c.Rank), Weight: c.Weight, Dead: d.deadOn(c)}
	}
	if len(d.placed) >= maxPlaced {
		clear(d.placed)
	}
	d.placed[key] = p
	return p
}

// deadOn reports whether nothing can reach a candidate on the links on which it would answer.
func (d *decider) deadOn(c plan.Candidate) bool {
	dead := d.isolated
	if c.Node != d.self {
		dead = d.verdicts[c.Node].DeadLinks
	}
	return len(dead) > 0 && !slices.ContainsFunc(c.Interfaces, func(name string) bool { return !slices.Contains(dead, name) })
}

func failbackOf(s plan.Settings) ownership.Failback {
	switch s.Failback {
	case v1beta1.FailbackImmediate:
		return ownership.Failback{Policy: ownership.Immediate}
	case v1beta1.FailbackNever:
		return ownership.Failback{Policy: ownership.Never}
	}
	return ownership.Failback{Policy: ownership.Delayed, After: s.After}
}

func verdictsOf(verdicts []detection.Verdict) []ownership.Verdict {
	var out []ownership.Verdict
	for _, v := range verdicts {
		o := ownership.Verdict{Node: v.Node, Life: v.Life}
		switch v.State {
		case detection.Alive:
			o.State = ownership.Alive
		case detection.Silent:
			o.State = ownership.Silent
		case detection.Dead:
			o.State = ownership.Dead
		}
		out = append(out, o)
	}
	return out
}

// touch notes that the conditions of the Services that have an address may be others.
func (d *decider) touch(a netip.Addr) {
	for key := range d.sharers[a] {
		d.touched[key] = true
	}
}
