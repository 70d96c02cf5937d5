package layer2

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// What there is to do for many addresses is done a batch at a time, of joinBatch where multicast groups are to be joined, which
// takes the kernel about 20 µs each, else of listenBatch. In between what is ready is announced, and requests are answered at
// any time.
const (
	joinBatch   = 128
	listenBatch = 1024
)

// work is what the run goroutine of a responder has done and has yet to do.
type work struct {
	*responder
	port     port
	seen     *table // the last table looked at
	schedule *schedule
	contests *contests
	canaries uint64 // the version of those that are listened for
	told     time.Time
	// rivalTold is when another node was told of last.
	rivalTold time.Time
	groups    map[netip.Addr]int     // addresses listened for, by joined group
	pending   []netip.Addr           // to be listened for
	listened  map[netip.Addr]binding // listened for, with what was done about it
	refused   refusals               // wanted, and for now not listened for
	frame     []byte
	// reannounced is the value of reannounce that was heeded last, and again how much of what was asked for.
	reannounced, again uint64
}

func newWork(r *responder, p port) *work {
	w := &work{
		responder: r, port: p, seen: noAnswers,
		schedule: newSchedule(len(r.protocol.announce), r.pace, r.announcer.born, r.refresh, rand.Float64),
		groups:   make(map[netip.Addr]int),
		listened: make(map[netip.Addr]binding),
		refused:  refusals{errs: make(map[netip.Addr]error)},
		// What there is to announce is announced from the start anyway.
		reannounced: r.reannounce.Load(),
	}
	_, _, w.again = w.announcer.again.since(0)
	w.contests = newContests(r.segment.family, r.pace, func() []netip.Prefix { return r.network.Load().Prefixes }, rand.Float64,
		r.announcer.isNode, func(a netip.Addr) bool { return w.seen.bindings.has(a) })
	return w
}

// step does what can be done now and returns when to be called again at the
// latest; zero if only for a change.
func (w *work) step(now time.Time) (wake time.Time, err error) {
	if err := w.follow(); err != nil {
		return time.Time{}, err
	}
	w.pending = append(w.pending, w.refused.due(now)...)
	more, err := w.listen(now)
	if err != nil {
		return time.Time{}, err
	}
	contested, err := w.contend(now)
	if err != nil {
		return time.Time{}, err
	}
	w.repeat(now)
	wake = earliest(w.announce(now), contested, w.refused.retryAt)
	if more {
		wake = now
	}
	return wake, nil
}

// earliest returns the first of times that are not zero.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// follow takes over what is new in the table: what is no longer wanted is
// forgotten, what is new becomes pending.
func (w *work) follow() error {
	t := w.table()
	if t == w.seen {
		return nil
	}
	changed, gone := w.seen.changed(t)
	w.seen = t
	for _, a := range gone {
		w.schedule.remove(a)
		w.contests.drop(a)
		w.refused.forget(a)
		if _, listening := w.listened[a]; !listening {
			continue
		}
		delete(w.listened, a)
		if err := w.leave(a); err != nil {
			return err
		}
	}
	if err := w.filter(); err != nil {
		return err
	}
	w.pending = slices.DeleteFunc(w.pending, func(a netip.Addr) bool { return !t.bindings.has(a) })
	w.askers.askedFirst(changed)
	w.pending = append(w.pending, changed...)
	if len(changed) == 0 {
		w.publish()
	}
	return nil
}

// filter has the kernel pass requests for the addresses of the table, and what others say of those that are answered here, and of
// canaries: what an owner says is not for those who only stand by. It opens for everything at once; it is one program.
func (w *work) filter() error {
	claimed := w.seen.announced
	if canaries := *w.responder.canaries.Load(); len(canaries) > 0 {
		claimed = slices.Concat(claimed, canaries)
	}
	if err := w.port.Listen(w.seen.addresses, claimed); err != nil {
		return fmt.Errorf("filtering %s on %s: %w", w.segment.family, w.segment.iface, err)
	}
	return nil
}

// listen joins the groups of a batch of pending addresses and begins to
// announce them, those that were asked for lately first. more is true when some are left.
func (w *work) listen(now time.Time) (more bool, err error) {
	if len(w.pending) == 0 {
		return false, nil
	}
	size := listenBatch
	if w.protocol.group != nil {
		size = joinBatch
	}
	batch := w.pending[:min(len(w.pending), size)]
	for _, a := range batch {
		if _, listening := w.listened[a]; !listening {
			if err := w.join(a); err != nil {
				if judge(err) != tryAgain {
					return false, err
				}
				w.refused.add(now, a, err)
				continue
			}
			w.refused.forget(a)
		}
		b, _ := w.seen.bindings.get(a)
		w.bind(now, a, b)
	}
	w.pending = w.pending[len(batch):]
	more = len(w.pending) > 0
	if !more || now.Sub(w.told) >= tellInterval {
		w.told = now
		w.publish()
	}
	return more, nil
}

// bind takes over what is said of an address that is listened for.
func (w *work) bind(now time.Time, a netip.Addr, b binding) {
	was, had := w.listened[a]
	w.listened[a] = b
	if !b.own() || b.mode == ConflictOff {
		w.contests.drop(a)
	}
	if !b.own() {
		w.schedule.remove(a)
		return
	}
	shut := b.gate.shut(w.responder)
	taken := !had || !was.own() || was.gate != nil && was.gate.shut(w.responder)
	if taken && b.claim && (shut || b.mode != ConflictEnforce) && (!had || was != b) {
		w.contests.claim(now, a, b.mode)
	}
	if taken && !shut {
		w.schedule.add(now, a, w.askers.last(a))
	}
}

// answering reports whether requests for an address that is listened for are answered.
func (w *work) answering(a netip.Addr) bool {
	b, listening := w.listened[a]
	return listening && !b.standby && !b.gate.shut(w.responder)
}

func (w *work) join(a netip.Addr) error {
	if w.protocol.group == nil {
		return nil
	}
	g := w.protocol.group(a)
	if w.groups[g] == 0 {
		if err := w.port.Join(g); err != nil {
			return fmt.Errorf("joining %v on %s: %w", g, w.segment.iface, err)
		}
	}
	w.groups[g]++
	return nil
}

func (w *work) leave(a netip.Addr) error {
	if w.protocol.group == nil {
		return nil
	}
	g := w.protocol.group(a)
	if w.groups[g]--; w.groups[g] > 0 {
		return nil
	}
	delete(w.groups, g)
	if err := w.port.Leave(g); err != nil {
		return fmt.Errorf("leaving %v on %s: %w", g, w.segment.iface, err)
	}
	return nil
}

// publish makes known what is listened for, and why the rest is not.
func (w *work) publish() {
	s := &served{answered: w.seen.announced, failures: w.refused.list()}
	if slices.ContainsFunc(s.answered, func(a netip.Addr) bool { return !w.answering(a) }) {
		s.answered = slices.DeleteFunc(slices.Clone(s.answered), func(a netip.Addr) bool { return !w.answering(a) })
	}
	s.claiming = w.contests.claiming()
	s.conflicts, s.proxies = w.contests.list(time.Now())
	w.served.Store(s)
	w.report()
}

// repeat has what is listened for announced again, as far as that was asked for.
func (w *work) repeat(now time.Time) {
	count := w.reannounce.Load()
	if count == w.reannounced {
		return
	}
	w.reannounced = count
	addresses, all, read := w.announcer.again.since(w.again)
	w.again = read
	if all {
		addresses = w.seen.addresses
	}
	for _, a := range addresses {
		if w.listened[a].own() && w.answering(a) {
			w.schedule.repeat(now, a)
		}
	}
}

// hear takes in what another host has said. Another node that says to have an address of this one is
// told of, at most once a second.
func (w *work) hear(now time.Time, m remark) {
	if !w.contests.heard(now, m) || w.announcer.rival == nil || now.Sub(w.rivalTold) < time.Second {
		return
	}
	w.rivalTold = now
	w.announcer.rival(w.segment.iface, m.address, m.mac)
}

// contend does what contests want done, and returns when to look again; zero for not before something is
// heard.
func (w *work) contend(now time.Time) (wake time.Time, err error) {
	for len(w.remarks) > 0 {
		w.hear(now, <-w.remarks)
	}
	if w.announcer.silent(now) {
		return time.Time{}, nil // Awake wakes up
	}
	w.contests.tidy(now)
	for ok := true; ok; {
		var d deed
		if d, ok, wake = w.contests.next(now); ok {
			w.do(now, d)
		}
		if version := w.contests.version; version != w.canaries {
			w.canaries = version
			canaries := w.contests.asked()
			w.responder.canaries.Store(&canaries)
			if err := w.filter(); err != nil {
				return time.Time{}, err
			}
		}
	}
	if w.contests.news {
		if due := w.told.Add(tellInterval); now.Before(due) {
			return earliest(wake, due), nil
		}
		w.told = now
		w.publish()
	}
	return wake, nil
}

// tellInterval is how often State tells of claims and conflicts, at most: thousands may change one by one.
const tellInterval = 20 * time.Millisecond

// do does a deed.
func (w *work) do(now time.Time, d deed) {
	own, source := w.link.HardwareAddr, w.network.Load().LinkLocal
	b, _ := w.table().bindings.get(d.address)
	switch d.kind {
	case deedProbe:
		w.send(w.protocol.claim(w.frame[:0], own, d.address))
	case deedLook, deedProbeOne:
		w.send(w.protocol.look(w.frame[:0], own, d.to, source, d.address))
	case deedAskOne:
		if from := w.network.Load().source(d.address); !from.IsUnspecified() {
			w.send(w.protocol.direct(w.frame[:0], own, d.to, from, d.address))
		}
	case deedDefend:
		if b.own() {
			w.send(w.protocol.announce[0](w.frame[:0], own, source, d.address))
		}
	case deedClear:
		if g := w.listened[d.address].gate; g.shut(w.responder) {
			g.opened.Store(w.responder)
			w.schedule.add(now, d.address, w.askers.last(d.address))
		}
	case deedWithhold: // State tells
	}
}

// send sends a frame; w.frame is there to be used again.
func (w *work) send(frame []byte) {
	w.frame = frame
	if err := w.port.Send(frame); err != nil {
		// The next round is the remedy; if the link is down, serve says so.
		w.counters[w.segment.family].drop(DropSendFailed)
		return
	}
	w.counters[w.segment.family].gratuitous.Add(1)
}

// announce sends the gratuitous frames that are due and returns when to look
// again; zero if there will be none.
func (w *work) announce(now time.Time) (wake time.Time) {
	if w.announcer.silent(now) {
		return time.Time{} // Awake wakes up
	}
	for {
		f, ok, wake := w.schedule.next(now)
		if !ok {
			return wake
		}
		// Silence is in force as soon as Apply returns, before follow sees it.
		// So is standing in for another node.
		b, wanted := w.table().bindings.get(f.address)
		if !wanted || !b.own() {
			continue
		}
		own, source := w.link.HardwareAddr, w.network.Load().LinkLocal
		w.send(w.protocol.announce[f.form](w.frame[:0], own, source, f.address))
		if f.direct {
			w.direct(now, f.address)
		}
		if f.look && b.mode != ConflictOff {
			w.pace.ReserveN(now, 1)
			w.send(w.protocol.look(w.frame[:0], own, MAC{}, source, f.address))
		}
	}
}

// direct tells those who need an address most where it is, in a way that they must heed: the routers,
// and the hosts that asked for it lately.
func (w *work) direct(now time.Time, address netip.Addr) {
	own := w.link.HardwareAddr
	for _, router := range w.network.Load().Routers {
		if FamilyOf(router) == w.segment.family && router != address {
			w.pace.ReserveN(now, 1)
			w.send(w.protocol.direct(w.frame[:0], own, MAC{}, address, router))
		}
	}
	for _, k := range w.askers.of(now, address) {
		if k.Address != address {
			w.pace.ReserveN(now, 1)
			w.send(w.protocol.direct(w.frame[:0], own, k.MAC, address, k.Address))
		}
	}
}
