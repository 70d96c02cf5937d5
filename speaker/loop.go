package speaker

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// loop is the speaker's one goroutine that decides: it takes in what is seen, steps the decider, and hands on what follows.
// Nothing here waits for the API server.
type loop struct {
	*speaker
	decider *decider
	started time.Time

	keys []gossip.Key
	told gossip.Desired // what gossip was last asked for

	speech       *speech
	waiting      map[types.NamespacedName]bool // for layer 2
	statuses     map[segment]layer2.Status
	missingSince map[string]time.Time
	surroundings surroundings
	pulse        pulse
	hint         string // what was last told to be missing to gossip

	others atomic.Bool // whether another speaker serves
}

type segment struct {
	name   string
	family layer2.Family
}

const (
	// settleChanges is how long changes of objects are collected before they are acted on. What gossip
	// and the links tell is acted on at once.
	settleChanges = 5 * time.Millisecond
	// missingLong is how long a speaker must be missing to be told in the Speaker object.
	missingLong = 30 * time.Second
	// manyMoves is from how many addresses on a move is told as one event.
	manyMoves = 10
)

func newLoop(s *speaker) *loop {
	return &loop{
		speaker:      s,
		decider:      newDecider(s.NodeName, s.IgnoreExcludeLabel),
		started:      time.Now(),
		speech:       newSpeech(),
		waiting:      map[types.NamespacedName]bool{},
		statuses:     map[segment]layer2.Status{},
		missingSince: map[string]time.Time{},
	}
}

// run decides and acts until ctx ends. What is announced then stays so.
func (l *loop) run(ctx context.Context, hasSynced func() bool) {
	const unsyncedPoll = 50 * time.Millisecond
	for {
		seen, gossipChanged := l.gossip.Snapshot()
		links, linksChanged := l.announcer.Links()
		state, stateChanged := l.announcer.State()
		synced := hasSynced()
		for _, do := range l.feed.take() {
			do(l.decider.cluster)
		}
		l.decider.look(seenNow(synced, seen, links))
		now := time.Now()
		wakeAt := soonest(l.act(now, state), now.Add(beat))

		var wake <-chan time.Time
		if !synced {
			wake = time.After(unsyncedPoll)
		} else {
			wake = time.After(time.Until(wakeAt))
		}
		select {
		case <-ctx.Done():
			return
		case <-l.feed.signal:
			select {
			case <-time.After(settleChanges):
			case <-gossipChanged:
			case <-ctx.Done():
				return
			}
		case <-gossipChanged:
		case <-linksChanged:
		case <-stateChanged:
		case <-wake:
		}
	}
}

func seenNow(synced bool, s gossip.Snapshot, links []layer2.Link) seen {
	return seen{synced: synced && links != nil, gossip: s, links: links}
}

// act decides and hands on what follows; the result is when to do so again in any case.
func (l *loop) act(now time.Time, state layer2.State) (wakeAt time.Time) {
	begin := time.Now()
	d := l.decider
	decided := d.step(now)
	if decided.announcing && !l.Observe {
		l.announcer.Apply(d.announcements())
	}
	// Others may have announced meanwhile what this node answers for: those that come back, or while this
	// node stood still.
	if stalled := l.pulse.feel(now); (stalled || decided.joined) && decided.serving && !l.Observe {
		l.announcer.Reannounce()
	}
	// Only now are the others told that this node serves: they stop answering for what it has taken.
	l.tellGossip(decided.serving)
	l.meters.deciding.Observe(time.Since(begin).Seconds())

	l.stateChanged(state)
	if !l.Observe {
		touched := decided.touched
		maps.Copy(touched, l.waiting)
		for key := range touched {
			l.speak(now, key, state)
		}
		for _, key := range l.speech.take(now) {
			l.speak(now, key, state)
		}
	}
	l.tellMoves(now, decided.moves)
	wakeAt = l.show(now, decided)
	return soonest(soonest(wakeAt, l.speech.waiting()), decided.wakeAt)
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// setKeys takes in the keys of the gossip Secret.
func (l *loop) setKeys(keys []gossip.Key) { l.keys = keys }

// tellGossip asks gossip for what follows from what is known.
func (l *loop) tellGossip(serving bool) {
	d := l.decider
	want := gossip.Desired{Keys: l.keys, Session: d.seen.gossip.Session, Facts: gossip.Facts{
		Build:   l.Version,
		Started: l.started,
		Serving: serving && !l.Observe,
		Links:   gossipLinks(d.links),
	}}
	bind := l.GossipAddress
	if self := d.nodes[l.NodeName]; self != nil && len(self.addresses) > 0 {
		if !bind.IsValid() {
			bind = self.addresses[0]
		} else if bind.IsUnspecified() {
			want.Advertise = self.reachedAt(bind)
		}
	}
	if bind.IsValid() && (!bind.IsUnspecified() || want.Advertise.IsValid()) {
		want.Listen = netip.AddrPortFrom(bind, l.GossipPort)
		for name, n := range d.nodes {
			want.Peers = append(want.Peers, gossip.Peer{Node: name, Addr: n.reachedAt(bind)})
		}
		slices.SortFunc(want.Peers, func(a, b gossip.Peer) int {
			if a.Node < b.Node {
				return -1
			}
			return 1
		})
	}
	l.hintAtGossip(want)
	if want.Listen == l.told.Listen && want.Advertise == l.told.Advertise && want.Session == l.told.Session && slices.Equal(want.Keys, l.told.Keys) &&
		slices.Equal(want.Peers, l.told.Peers) && want.Facts.Equal(l.told.Facts) {
		return
	}
	l.told = want
	l.gossip.Apply(want)
}

// hintAtGossip says once what gossip waits for.
func (l *loop) hintAtGossip(want gossip.Desired) {
	hint := ""
	switch {
	case !l.decider.seen.synced:
		return
	case !want.Listen.IsValid():
		hint = "this node's Node has no InternalIP that gossip could listen on"
	case len(want.Keys) == 0:
		hint = "Secret " + l.Namespace + "/" + GossipSecret + " has no keys; the controller's leader puts one there"
	}
	if hint != l.hint && hint != "" {
		l.Log.Warn("waiting to talk with the other speakers", "node", l.NodeName, "reason", hint)
	}
	l.hint = hint
}

// stateChanged has the Services spoken of anew that a change at layer 2 concerns: those that wait for it
// are looked at in any case, all others of this node only if an interface begins or ceases to answer.
func (l *loop) stateChanged(state layer2.State) {
	now := map[segment]layer2.Status{}
	for _, seg := range state.Segments {
		now[segment{seg.Interface, seg.Family}] = seg.Status
	}
	if !maps.Equal(now, l.statuses) {
		l.statuses = now
		maps.Copy(l.waiting, l.decider.ownedServices())
	}
}

// speak has said what there is to say of a Service, if this speaker is to say it.
func (l *loop) speak(now time.Time, key types.NamespacedName, state layer2.State) {
	delete(l.waiting, key)
	s := l.decider.services[key]
	var v verdict
	if s != nil {
		v = l.decider.verdictOn(key, state)
	}
	switch {
	case !v.writer:
		if l.speech.forget(key) {
			l.herald.unsay(key)
		}
	case !v.settled:
		l.waiting[key] = true
	case l.speech.holds(now, key, v, len(l.decider.seen.gossip.Missing) > 0):
		l.herald.unsay(key)
	case l.speech.utter(now, key, s.uid, s.announced, v.condition):
		l.herald.say(key, statement{uid: s.uid, say: v.condition, before: s.announced})
	case sayTheSame(s.announced, v.condition):
		l.herald.unsay(key)
	}
}

// heraldDone has a Service looked at again that the herald is done with. It is called by the herald.
func (l *loop) heraldDone(key types.NamespacedName, s statement) {
	l.feed.put(func(c *cluster) {
		l.speech.finished(time.Now(), key, s)
		c.touched[key] = true
	})
}

// tellMoves tells what this node has taken, as events and in the metrics.
func (l *loop) tellMoves(now time.Time, moves []ownership.Move) {
	var mine []ownership.Move
	for _, m := range moves {
		switch l.NodeName {
		case m.To:
			l.meters.moves.WithLabelValues(taken).Inc()
			mine = append(mine, m)
		case m.From:
			l.meters.moves.WithLabelValues(givenUp).Inc()
		}
	}
	if len(mine) == 0 {
		return
	}
	if l.Observe {
		l.Log.Info("would announce, if it did more than observe", "node", l.NodeName, "addresses", len(mine))
		return
	}
	if len(mine) >= manyMoves {
		own := corev1.ObjectReference{APIVersion: v1beta1.GroupVersion.String(), Kind: "Speaker", Name: l.NodeName}
		l.crier.cry(now, own, v1beta1.ReasonMoved, fmt.Sprintf("%d addresses are announced from node %s now", len(mine), l.NodeName))
		return
	}
	for _, m := range mine {
		for key := range l.decider.sharers[m.Unit.Address] {
			on := corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: key.Namespace, Name: key.Name,
				UID: l.decider.services[key].uid}
			reason, note := v1beta1.ReasonAnnounced, fmt.Sprintf("%s is announced from node %s", m.Unit.Address, l.NodeName)
			if m.From != "" {
				reason, note = v1beta1.ReasonMoved, note+", before from "+m.From
			}
			l.crier.cry(now, on, reason, note)
		}
	}
}

// show brings readiness, metrics and the Speaker object up to date, and says when they need it again.
func (l *loop) show(now time.Time, decided decided) (wakeAt time.Time) {
	d := l.decider
	snapshot := d.seen.gossip
	others := false
	for _, m := range snapshot.Members {
		others = others || m.Node != l.NodeName && m.Facts.Serving
	}
	l.others.Store(others)

	var waits []string
	switch {
	case !d.seen.synced:
		waits = append(waits, "the API server's objects")
	case !snapshot.Running && l.hint != "":
		waits = append(waits, "gossip: "+l.hint)
	case !snapshot.Running:
		waits = append(waits, "gossip")
	case !decided.serving:
		waits = append(waits, "the other speakers")
	}
	l.ready.set(waits)

	var missing []string
	gone := l.missingSince
	l.missingSince = map[string]time.Time{}
	for _, name := range snapshot.Missing {
		since, known := gone[name]
		if !known {
			since = now
		}
		l.missingSince[name] = since
		if due := since.Add(missingLong); now.Before(due) {
			wakeAt = soonest(wakeAt, due)
		} else {
			missing = append(missing, name)
		}
	}

	l.meters.owned.Set(float64(d.machine.OwnedCount()))
	l.meters.members.Set(float64(len(snapshot.Members)))
	l.meters.expected.Set(float64(len(d.nodes)))
	if self := d.nodes[l.NodeName]; self != nil && d.seen.synced && !l.Observe {
		waitsFor := ""
		if len(waits) > 0 {
			waitsFor = waits[0]
		}
		status := statusOf(l.Version, d.machine.OwnedCount(), len(snapshot.Members), len(d.nodes),
			missing, len(waits) == 0, waitsFor)
		status.Network = l.surroundings.of(now, d.seen.links)
		l.portrait.show(self.uid, status)
	}
	return wakeAt
}

// othersServe reports, from any goroutine, whether there is somebody to take over.
func (l *loop) othersServe() bool { return l.others.Load() }
