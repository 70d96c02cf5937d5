package speaker

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// loop is the speaker's one goroutine that decides: it takes in what is seen, steps the decider, and hands on what follows.
// Nothing here waits for the API server, nor for any other host.
type loop struct {
	*speaker
	decider *decider
	started time.Time

	keys []gossip.Key
	// keysError is why the Secret's keys can't be read, nil where they can.
	keysError error
	told      gossip.Desired // what gossip was last asked for
	stops     chan *stopping
	stop      *stopping // nil until this speaker is to stop
	gained    *inbox[netip.Addr]
	looked    *inbox[ownership.Evidence]
	// questions are answered between two steps, by the loop, and change nothing.
	questions chan func()

	seen    gossip.Snapshot // what detection was last told
	links   []layer2.Link
	worldAt time.Time
	deaf    deafness

	speech       *speech
	untold       untold
	waiting      map[types.NamespacedName]bool // for layer 2
	statuses     map[segment]layer2.Status
	missingSince map[string]time.Time
	conflicting  map[netip.Addr]layer2.Conflict // told by events
	sessionsTold map[string]toldSession         // by events, too
	// routingSynced is whether the objects about BGP are in; nil before anybody follows them.
	routingSynced func() bool
	// followSecrets has the Secrets of these names followed, and no others.
	followSecrets func(names map[string]bool)
	heralds       int    // how many speakers write conditions
	observed      int    // how many addresses it has said it would announce, where it does no more than observe
	hint          string // what was last told to be missing to gossip
	// counted and countedRoutes are what was decided when addresses were last counted by reason.
	counted, countedRoutes uint64
	countedAt              time.Time

	others atomic.Bool // whether another speaker serves
	owned  atomic.Int64
	facts  atomic.Pointer[plan.StopFacts]
}

type segment struct {
	name   string
	family layer2.Family
}

const (
	// beat is how often the loop looks in any case.
	beat = time.Second
	// settleChanges is how long changes of objects are collected before they are acted on. What other speakers, the
	// wire and the links tell is acted on at once.
	settleChanges = 5 * time.Millisecond
	// missingLong is how long a speaker must be missing to be told in the Speaker object.
	missingLong = 30 * time.Second
	// manyMoves is from how many addresses on a move is told as one event.
	manyMoves = 10
)

func newLoop(s *speaker) *loop {
	return &loop{
		speaker:      s,
		decider:      newDecider(s.NodeName, s.gossip.Life(), s.IgnoreExcludeLabel, standIn{off: s.NoStandIn, takeOver: s.TakeOver}),
		started:      time.Now(),
		stops:        make(chan *stopping, 1),
		gained:       newInbox[netip.Addr](0, nil),
		looked:       newInbox[ownership.Evidence](0, nil),
		questions:    make(chan func()),
		speech:       newSpeech(),
		untold:       newUntold(),
		waiting:      map[types.NamespacedName]bool{},
		statuses:     map[segment]layer2.Status{},
		missingSince: map[string]time.Time{},
		conflicting:  map[netip.Addr]layer2.Conflict{},
		sessionsTold: map[string]toldSession{},
		deaf:         newDeafness(),
	}
}

// run decides and acts until ctx ends. What is announced then stays so.
func (l *loop) run(ctx context.Context, hasSynced func() bool) {
	const unsyncedPoll = 50 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		seen, gossipChanged := l.gossip.Snapshot()
		links, linksChanged := l.announcer.Links()
		state, stateChanged := l.announcer.State()
		synced := hasSynced()
		for _, do := range l.feed.take() {
			do(l.decider.cluster)
		}
		now := clock()
		l.decider.deaf = l.deaf.step(now, state)
		l.decider.look(seenNow(synced, seen, links))
		for _, a := range l.gained.take() {
			if l.decider.gains.serves(a) {
				l.decider.dirty[a] = true
			}
			if l.decider.routing.gains.serves(a) {
				l.decider.unrouted[a] = true
			}
		}
		n := news{
			verdicts: l.detector.found.take(),
			isolated: l.detector.isolation(),
			messages: l.messages.take(),
			evidence: append(l.looked.take(), l.decider.conflicts.see(state, l.decider.answers)...),
			leave:    l.stop != nil && l.stop.how == plan.Leave,
		}
		wakeAt := soonest(soonest(l.act(ctx, now, state, n), l.deaf.wakeAt()), now.Add(beat))
		wait := max(wakeAt.Sub(clock()), 0)
		if !synced {
			wait = min(wait, unsyncedPoll)
		}
		timer.Reset(wait)

		feed := l.feed.signal
		for {
			select {
			case <-ctx.Done():
				return
			case <-feed:
				// What comes with it is taken in with it.
				feed = nil
				timer.Reset(min(wait, settleChanges))
				continue
			case answer := <-l.questions:
				answer()
				continue
			case l.stop = <-l.stops:
			case <-l.messages.signal:
			case <-l.detector.found.signal:
			case <-l.gained.signal:
			case <-l.looked.signal:
			case <-gossipChanged:
			case <-linksChanged:
			case <-stateChanged:
			case <-timer.C:
			}
			break
		}
	}
}

func seenNow(synced bool, s gossip.Snapshot, links []layer2.Link) seen {
	return seen{synced: synced && links != nil, gossip: s, links: links}
}

// act decides and hands on what follows; the result is when to do so again in any case.
func (l *loop) act(ctx context.Context, now time.Time, state layer2.State, n news) (wakeAt time.Time) {
	begin := time.Now()
	d := l.decider
	var before map[string]detection.Verdict
	if len(n.verdicts) > 0 {
		before = maps.Clone(d.verdicts)
	}
	decided := d.step(now, n)
	if !l.Observe {
		l.answer(decided)
	}
	// Only now are the others told: they stop answering for what this node has taken.
	l.tellGossip(decided.Serving)
	if !l.Observe {
		for _, s := range decided.Send {
			l.sendOwnership(s)
		}
	}
	l.tellDetector(now, decided.Serving)
	l.meters.deciding.Observe(time.Since(begin).Seconds())

	var rerouted map[types.NamespacedName]bool
	routeAt := now
	if len(n.verdicts) == 0 { // else what they lead to comes first, and routes in the next step
		rerouted, routeAt = l.route(now)
	}

	l.logVerdicts(before, n.verdicts)
	l.askFor(ctx, decided)
	if l.stop != nil {
		l.stop.progress(decided.Left)
	}
	l.stateChanged(state)
	if !l.Observe {
		l.tellConflicts(state)
		touched := decided.touched
		maps.Copy(touched, rerouted)
		maps.Copy(touched, l.waiting)
		for key := range touched {
			l.speak(now, key, state)
		}
		for _, key := range l.speech.take(now) {
			l.speak(now, key, state)
		}
	}
	tellAt := l.tellMoves(now, decided.Moves, state)
	if decided.settled {
		l.tellObserved()
	}
	wakeAt = soonest(soonest(l.show(now, decided), routeAt), tellAt)
	return soonest(soonest(wakeAt, l.speech.waiting()), decided.wakeAt)
}

// answer has this node answer as was decided.
func (l *loop) answer(decided decided) {
	switch revised := decided.revised; {
	case revised.all:
		l.announcer.SetKnown(l.decider.knownMACs())
		l.announcer.Apply(l.decider.announcements())
	case len(revised.addresses) > 0:
		addresses := slices.Collect(maps.Keys(revised.addresses))
		l.announcer.Change(addresses, l.decider.announcementsOf(addresses))
	}
	switch {
	case decided.Mute:
		l.announcer.Hold()
	case l.announcer.Held():
		l.announcer.Awake()
	}
	if len(decided.Reannounce) > 0 {
		addresses := make([]netip.Addr, len(decided.Reannounce))
		for i, u := range decided.Reannounce {
			addresses[i] = u.Address
		}
		l.announcer.Reannounce(addresses...)
	}
}

// sendOwnership sends what ownership has to tell.
func (l *loop) sendOwnership(s ownership.Send) {
	to := s.To
	if to == nil {
		for _, m := range l.decider.seen.gossip.Members {
			if m.Node != l.NodeName {
				to = append(to, m.Node)
			}
		}
	}
	l.gossip.Send(to, kindOwnership, s.Message.Append(nil), s.Reliable)
}

// tellDetector tells detection what this speaker is, and what is known of the others when that may have changed.
func (l *loop) tellDetector(now time.Time, serving bool) {
	var flags detection.Flags
	if serving && !l.Observe {
		flags |= detection.Serving
	}
	if l.stop != nil {
		flags |= detection.Restarting
		if l.stop.how == plan.Leave {
			flags ^= detection.Restarting | detection.Leaving
		}
	}
	var world *detection.World
	d := l.decider
	if changed := !sameMembers(l.seen, d.seen.gossip) || !slices.EqualFunc(l.links, d.links, layer2.Link.Equal); changed || now.Sub(l.worldAt) >= 5*beat {
		l.seen, l.links, l.worldAt = d.seen.gossip, d.links, now
		world = worldOf(l.NodeName, d.seen.gossip, d.links, l.GossipPort, hostsOf(d.links, d.seen.gossip, l.announcer.Hosts, layer2.Neighbors))
	}
	l.detector.tell(flags, world)
}

// sameMembers reports whether two snapshots have the same speakers with the same links.
func sameMembers(s, t gossip.Snapshot) bool {
	same := func(a, b gossip.Member) bool {
		return a.Node == b.Node && a.Addr == b.Addr && a.Facts.Life == b.Facts.Life && slices.EqualFunc(a.Facts.Links, b.Facts.Links, gossip.Link.Equal)
	}
	return slices.EqualFunc(s.Members, t.Members, same) && slices.EqualFunc(s.Lost, t.Lost, same)
}

// askFor has others asked what was decided to be: kube-proxy whether it can serve, the wire who answers.
func (l *loop) askFor(ctx context.Context, decided decided) {
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if self := l.decider.nodes[l.NodeName]; self != nil && len(self.addresses) > 0 {
		host = self.addresses[0]
	}
	for _, g := range append(l.decider.gains.take(), l.decider.routing.gains.take()...) {
		go func() {
			if awaitGain(ctx, host, g.port) {
				l.gained.put(g.address)
			}
		}()
	}
	for _, u := range decided.Look {
		l.looker.look(u, l.decider.whereToLook(u))
	}
}

// logVerdicts tells what has become of other nodes, and who says so.
func (l *loop) logVerdicts(before map[string]detection.Verdict, now []detection.Verdict) {
	for _, v := range now {
		if was := before[v.Node]; was.State != v.State || !slices.Equal(was.DeadLinks, v.DeadLinks) {
			if was.State != v.State {
				l.meters.verdicts.WithLabelValues(v.State.String()).Inc()
			}
			l.Log.Info("verdict on a node", "peer", v.Node, "state", v.State.String(), "interface", strings.Join(v.DeadLinks, ","), "reason", v.Witnesses)
		}
	}
}

func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// setKeys takes in the keys of the gossip Secret. Those that can't be read leave the ones before in force.
func (l *loop) setKeys(keys []gossip.Key, err error) {
	if l.keysError = err; err == nil {
		l.keys = keys
	}
}

// tellGossip asks gossip for what follows from what is known.
func (l *loop) tellGossip(serving bool) {
	d := l.decider
	want := gossip.Desired{Keys: l.keys, Session: d.seen.gossip.Session, Facts: gossip.Facts{
		Build:        l.Version,
		Started:      l.started,
		Serving:      serving && !l.Observe,
		Restarting:   l.stop != nil && l.stop.how == plan.Restart,
		Leaving:      l.stop != nil && l.stop.how == plan.Leave,
		Stale:        l.staleness.stale(time.Now()),
		ProxyFailing: l.proxy.failing.Load(),
		Routed:       d.routing.established() && !l.Observe,
		Sessions:     d.routing.sessionNumbers(),
		Links:        d.ownLinks(d.links),
	}}
	bind, advertise := d.gossipAt(l.GossipAddress, l.told)
	if bind.IsValid() && (!bind.IsUnspecified() || advertise.IsValid()) {
		want.Listen, want.Advertise = netip.AddrPortFrom(bind, l.GossipPort), advertise
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
	case len(want.Keys) == 0 && l.keysError != nil:
		hint = "Secret " + l.Namespace + "/" + GossipSecret + " can't be read: " + l.keysError.Error() + "; correct it, or delete the Secret, which the controller's leader makes anew"
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
		l.speech.finished(clock(), key, s)
		c.touched[key] = true
	})
}

// show brings readiness, metrics and the Speaker object up to date, and says when they need it again.
func (l *loop) show(now time.Time, decided decided) (wakeAt time.Time) {
	d := l.decider
	snapshot := d.seen.gossip
	others := 0
	for _, m := range snapshot.Members {
		if m.Node != l.NodeName && m.Facts.Serving {
			others++
		}
	}
	l.others.Store(others > 0)
	if l.heralds != others+1 {
		l.heralds = others + 1
		l.herald.share(l.heralds)
	}
	l.owned.Store(int64(d.machine.OwnedCount()))
	l.facts.Store(d.stopFacts())

	var waits []string
	switch {
	case !d.seen.synced:
		waits = append(waits, "the API server's objects")
	case l.Observe:
		// It announces nothing, and on a new cluster nobody makes the keys that gossip needs while all observe.
	case !snapshot.Running && l.hint != "":
		waits = append(waits, "gossip: "+l.hint)
	case !snapshot.Running:
		waits = append(waits, "gossip")
	case !decided.Serving:
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

	l.meters.standIns.Set(float64(d.standIns))
	l.meters.owned.Set(float64(d.machine.OwnedCount()))
	l.countReasons(now)
	l.meters.members.Set(float64(len(snapshot.Members)))
	l.meters.expected.Set(float64(len(d.nodes)))
	if self := d.nodes[l.NodeName]; self != nil && d.seen.synced && !l.Observe {
		waitsFor := ""
		if len(waits) > 0 {
			waitsFor = waits[0]
		}
		status := statusOf(l.Version, d.machine.OwnedCount(), len(snapshot.Members), len(d.nodes),
			missing, len(waits) == 0, waitsFor)
		status.Network = surroundings(d.seen.links)
		sessions, _ := l.uplink.bgp.Snapshot()
		watched, _ := l.uplink.bfd.Snapshot()
		status.BGP = d.routing.status(sessions, watched, l.started)
		l.portrait.show(self.uid, status)
	}
	return wakeAt
}

// othersServe reports, from any goroutine, whether there is somebody to take over.
func (l *loop) othersServe() bool { return l.others.Load() }

// ownedCount returns, from any goroutine, how many addresses this node has.
func (l *loop) ownedCount() int64 { return l.owned.Load() }

// stopFacts returns, from any goroutine, what speaks for leaving the node.
func (l *loop) stopFacts() plan.StopFacts {
	if f := l.facts.Load(); f != nil {
		return *f
	}
	return plan.StopFacts{}
}
