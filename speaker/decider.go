package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// decider joins plan and ownership: from what is seen it works out what this node announces, and what
// there is to say of each Service. It opens nothing and belongs to the loop; time is an argument.
//
// Its work goes with what changed: a Service or its endpoints are decided alone, and only what concerns
// all of them (nodes, links, speakers, advertisements) has everything decided anew.
type decider struct {
	self               string
	ignoreExcludeLabel bool

	*cluster
	seen      seen
	links     []layer2.Link // those seen that make sense to announce on
	view      *plan.View
	addresses map[netip.Addr]*address
	machine   *ownership.Machine
	holdDown  plan.HoldDown
	heldUntil time.Time // when held signals may count, or cease to
	courtesy  bool      // the machine's, that the view was made with

	joined     bool // a speaker has come, or come back
	announcing bool // what this node announces may be another than when it was last asked
}

// address is a decided address.
type address struct {
	sharers    []types.NamespacedName
	candidates []plan.Candidate
	names      []string       // of the best of them
	outcomes   []plan.Outcome // by sharer
	ignored    plan.Reason
}

// seen is what is seen besides the API server's objects.
type seen struct {
	// synced is true once all objects have come in.
	synced bool
	gossip gossip.Snapshot
	links  []layer2.Link
}

// decided is what a step came to.
type decided struct {
	// serving is whether this node takes what falls to it.
	serving bool
	moves   []ownership.Move
	// touched are Services whose condition may be another now.
	touched map[types.NamespacedName]bool
	// joined is whether a speaker has come, or come back.
	joined bool
	// announcing is whether announcements may be others now.
	announcing bool
	// wakeAt is when to step again in any case; zero for no need.
	wakeAt time.Time
}

func newDecider(self string, ignoreExcludeLabel bool) *decider {
	return &decider{
		self:               self,
		ignoreExcludeLabel: ignoreExcludeLabel,
		cluster:            newCluster(),
		addresses:          map[netip.Addr]*address{},
		machine:            ownership.New(ownership.Config{Self: self}),
	}
}

// look takes in what is seen besides objects.
func (d *decider) look(s seen) {
	// The host ends of pods' veth pairs come and go all the time, and concern nobody.
	links := layer2.Select(s.links, d.named)
	if !slices.EqualFunc(links, d.links, layer2.Link.Equal) || !sameSpeakers(s.gossip, d.seen.gossip) {
		d.allDirty = true
	}
	for _, m := range s.gossip.Members {
		i, heard := slices.BinarySearchFunc(d.seen.gossip.Members, m.Node, func(b gossip.Member, name string) int { return strings.Compare(b.Node, name) })
		if known := heard && d.seen.gossip.Members[i].Known; m.Known && !known && m.Node != d.self {
			d.joined = true
		}
	}
	d.seen, d.links = s, links
}

// sameSpeakers reports whether two snapshots have the same speakers saying the same.
func sameSpeakers(s, t gossip.Snapshot) bool {
	return s.Running == t.Running && s.Session == t.Session && slices.EqualFunc(s.Members, t.Members, func(a, b gossip.Member) bool {
		return a.Node == b.Node && a.Known == b.Known && a.Facts.Equal(b.Facts)
	})
}

// step decides what has changed.
func (d *decider) step(now time.Time) decided {
	if !d.heldUntil.IsZero() && !now.Before(d.heldUntil) {
		d.allDirty = true
	}
	if courtesy := d.machine.Courtesy(now); courtesy != d.courtesy {
		d.courtesy, d.allDirty = courtesy, true
	}
	rebuilt := d.view == nil || d.allDirty
	if rebuilt {
		d.rebuild(now)
	}
	wasServing := d.machine.Serving()
	in := ownership.Input{
		Whole:      d.seen.synced && d.seen.gossip.Running,
		Session:    d.seen.gossip.Session,
		Accounted:  d.seen.gossip.Accounted,
		Candidates: map[ownership.Unit][]string{},
	}
	for _, m := range d.seen.gossip.Members {
		in.Members = append(in.Members, ownership.Member{Node: m.Node, Known: m.Known, Serving: m.Facts.Serving})
	}
	// Before all objects are in, a decision would be one on half a view.
	if d.seen.synced {
		for a := range d.dirty {
			names, changed := d.decide(a)
			if changed {
				in.Candidates[unitOf(a)] = names
			}
			if rebuilt && len(names) == 0 {
				d.touch(a) // nobody owns it, so who is to say so may have changed
			}
		}
		clear(d.dirty)
	}
	out := d.machine.Step(now, in)
	for _, move := range out.Moves {
		if move.From == d.self || move.To == d.self {
			d.announcing = true
		}
		d.touch(move.Unit.Address)
	}
	if out.Serving && !wasServing {
		for key := range d.services {
			d.touched[key] = true
		}
	}
	t := decided{serving: out.Serving, moves: out.Moves, touched: d.touched, joined: d.joined, announcing: d.announcing, wakeAt: soonest(out.WakeAt, d.heldUntil)}
	d.touched, d.joined, d.announcing = map[types.NamespacedName]bool{}, false, false
	return t
}

// unitOf returns what is owned of an address.
func unitOf(a netip.Addr) ownership.Unit {
	return ownership.Unit{Address: a, Segment: ownership.WholeLAN}
}

// rebuild makes a new view.
func (d *decider) rebuild(now time.Time) {
	d.heldUntil = time.Time{}
	d.links = layer2.Select(d.seen.links, d.named)
	speakers := map[string]plan.Speaker{}
	for _, m := range d.seen.gossip.Members {
		s := speakerOf(m)
		s.Serving = s.Serving || d.courtesy && m.Known
		speakers[m.Node] = s
	}
	if _, heard := speakers[d.self]; heard {
		// What it knows of itself it need not hear from others; whether it serves is for ownership to say.
		speakers[d.self] = plan.Speaker{Alive: true, Serving: true, Links: planLinks(d.links)}
	}
	c := plan.Cluster{IgnoreExcludeLabel: d.ignoreExcludeLabel}
	for name, n := range d.nodes {
		p := n.plan
		p.Speaker = speakers[name]
		seen := p.Signals
		if i, heard := slices.BinarySearchFunc(d.seen.gossip.Members, name, func(m gossip.Member, name string) int { return strings.Compare(m.Node, name) }); heard &&
			d.seen.gossip.Members[i].Facts.ProxyFailing {
			seen |= plan.ProxyUnhealthy
		}
		var until time.Time
		p.Signals, until = d.holdDown.See(now, name, seen)
		d.heldUntil = soonest(d.heldUntil, until)
		c.Nodes = append(c.Nodes, p)
	}
	for _, ad := range d.ads {
		c.Advertisements = append(c.Advertisements, *ad)
	}
	d.holdDown.Keep(func(name string) bool { return d.nodes[name] != nil })
	d.view = plan.New(c)
	for a := range d.sharers {
		d.dirty[a] = true
	}
	d.allDirty = false
}

// decide decides one address, and reports whether its candidates are others than before.
func (d *decider) decide(a netip.Addr) (names []string, changed bool) {
	before := d.addresses[a]
	services, sharers := d.sharersOf(a)
	if len(sharers) == 0 {
		delete(d.addresses, a)
		return nil, before != nil && len(before.names) > 0
	}
	decision := d.view.Decide(a, sharers)
	now := &address{candidates: decision.Candidates, names: decision.Best(), outcomes: decision.Outcomes, ignored: decision.Ignored}
	for _, s := range services {
		now.sharers = append(now.sharers, s.key)
	}
	d.addresses[a] = now
	if before == nil || !slices.Equal(before.sharers, now.sharers) || !slices.Equal(before.outcomes, now.outcomes) || before.ignored != now.ignored {
		d.touch(a)
	}
	if before == nil || !slices.Equal(d.interfaces(before), d.interfaces(now)) {
		d.announcing = true
	}
	return now.names, before == nil && len(now.names) > 0 || before != nil && !slices.Equal(before.names, now.names)
}

// interfaces returns where this node answers for an address, if it does.
func (d *decider) interfaces(a *address) []string {
	i, found := slices.BinarySearchFunc(a.candidates, d.self, func(c plan.Candidate, name string) int {
		switch {
		case c.Node < name:
			return -1
		case c.Node > name:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return a.candidates[i].Interfaces
}

// touch notes that the conditions of the Services that have an address may be others.
func (d *decider) touch(a netip.Addr) {
	for key := range d.sharers[a] {
		d.touched[key] = true
	}
}

// announcements returns what this node answers for.
func (d *decider) announcements() []layer2.Announcement {
	out := make([]layer2.Announcement, 0, d.machine.OwnedCount())
	for u := range d.machine.Owned() {
		if a := d.addresses[u.Address]; a != nil {
			out = append(out, layer2.Announcement{Address: u.Address, Interfaces: d.interfaces(a)})
		}
	}
	return out
}

// verdict is what is to be said on a Service.
type verdict struct {
	// writer is whether this speaker is to say it.
	writer bool
	// owned is whether any address of the Service has an owner, as this node sees it.
	owned bool
	// settled is false while it is not known yet, because this node has only just taken an address.
	settled   bool
	condition metav1.Condition
}

// verdictOn returns what is to be said on a Service now. state is what came of the announcements.
func (d *decider) verdictOn(key types.NamespacedName, state layer2.State) verdict {
	s := d.services[key]
	if s == nil || !d.machine.Serving() {
		return verdict{}
	}
	writer, owned := d.writer(s)
	v := verdict{writer: writer == d.self, owned: owned, settled: true, condition: metav1.Condition{
		Type:    string(v1beta1.ConditionAnnounced),
		Status:  metav1.ConditionTrue,
		Reason:  string(v1beta1.ReasonAnnounced),
		Message: "every address is answered at layer 2",
	}}
	for _, assigned := range s.addresses {
		a := d.addresses[assigned.address]
		if a == nil {
			v.settled = false
			continue
		}
		i := slices.Index(a.sharers, key)
		if i < 0 {
			v.settled = false
			continue
		}
		outcome := a.outcomes[i]
		owner := d.machine.Owner(unitOf(assigned.address))
		switch {
		case !outcome.Served():
			v.condition.Status, v.condition.Reason = metav1.ConditionFalse, string(outcome.Reason)
			v.condition.Message = outcome.Message
			return v
		case owner == "":
			v.settled = false
		case owner == d.self && len(state.Answering(assigned.address)) == 0:
			if problem := failure(state, assigned.address); problem != "" {
				v.condition.Status, v.condition.Reason = metav1.ConditionFalse, string(v1beta1.ReasonNoInterface)
				v.condition.Message = problem
				return v
			}
			v.settled = false
		}
		if a.ignored != "" {
			v.condition.Message = "every address is answered at layer 2, although of each node that can do it holds: " + plan.InWords(a.ignored)
		}
	}
	return v
}

// writer returns who says what there is to say on a Service: the owner of its first address that has one; if
// there is none, which owned tells, the speaker that would own the first address if all might.
func (d *decider) writer(s *service) (node string, owned bool) {
	for _, a := range s.addresses {
		if owner := d.machine.Owner(unitOf(a.address)); owner != "" {
			return owner, true
		}
	}
	var serving []string
	for _, m := range d.seen.gossip.Members {
		if m.Node == d.self && d.machine.Serving() || m.Node != d.self && m.Known && m.Facts.Serving {
			serving = append(serving, m.Node)
		}
	}
	return ownership.Owner(unitOf(s.addresses[0].address), serving), false
}

// failure returns in words why an address that this node should answer for can't be answered, "" if that is
// not so or only a matter of a moment.
func failure(state layer2.State, a netip.Addr) string {
	var failed string
	for _, seg := range state.Segments {
		if seg.Family != layer2.FamilyOf(a) {
			continue
		}
		if _, found := slices.BinarySearchFunc(seg.Addresses, a, netip.Addr.Compare); !found {
			continue
		}
		why := seg.Error
		if seg.Status != layer2.Failed {
			i, alone := slices.BinarySearchFunc(seg.Failures, a, func(f layer2.Failure, a netip.Addr) int { return f.Address.Compare(a) })
			if !alone {
				return ""
			}
			why = seg.Failures[i].Error
		}
		failed = "the node that should answer for " + a.String() + " can't: " + seg.Interface + ": " + why
	}
	return failed
}

// ownedServices returns the Services that have an address which this node owns.
func (d *decider) ownedServices() map[types.NamespacedName]bool {
	out := map[types.NamespacedName]bool{}
	for u := range d.machine.Owned() {
		maps.Copy(out, d.sharers[u.Address])
	}
	return out
}
