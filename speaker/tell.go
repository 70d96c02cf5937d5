package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// tellObserved tells how many addresses this node would announce, those included that there were when it started.
func (l *loop) tellObserved() {
	if n := l.decider.machine.OwnedCount(); l.Observe && n != l.observed {
		l.observed = n
		l.Log.Info("would announce, if it did more than observe", "node", l.NodeName, "addresses", n)
	}
}

// untold are the addresses that this node has taken and of which that is yet to be told by an event: before a first claim it is looked
// whether another host has the address, and until that is over nobody announces it. It belongs to the loop.
type untold struct {
	taken map[ownership.Unit]taking
	// late are those that nothing waits for any more: not answered in time, or held by a foreign host. There may be many for long, so
	// they are looked at only now and then, next at lookAt.
	late   map[ownership.Unit]taking
	lookAt time.Time
}

type taking struct {
	move  ownership.Move
	since time.Time
}

func newUntold() untold {
	return untold{taken: map[ownership.Unit]taking{}, late: map[ownership.Unit]taking{}}
}

// tellWithin is for how long an event waits for other addresses, which were taken with the one that it is on or since, to be answered
// too.
const tellWithin = 2 * time.Second

// add takes in what has moved. What this node has lost again it need not tell.
func (u *untold) add(now time.Time, moves []ownership.Move, self string) {
	for _, m := range moves {
		delete(u.taken, m.Unit)
		delete(u.late, m.Unit)
		if m.To == self {
			u.taken[m.Unit] = taking{m, now}
		}
	}
}

// take returns the moves that are to be told now: what is answered is told together, as soon as that is not waited for any more of
// others, or one of them was taken long enough ago. Addresses that a foreign host holds are not waited for. wakeAt is when to look
// again in any case, zero for no need.
func (u *untold) take(now time.Time, answered, held func(netip.Addr) bool) (told []ownership.Move, wakeAt time.Time) {
	if len(u.late) > 0 && !now.Before(u.lookAt) {
		u.lookAt = now.Add(tellWithin)
		for unit, t := range u.late {
			if answered(unit.Address) {
				u.taken[unit] = t
				delete(u.late, unit)
			}
		}
	}
	var tellAt time.Time
	for unit, t := range u.taken {
		switch by := t.since.Add(tellWithin); {
		case answered(unit.Address):
			told = append(told, t.move)
			tellAt = soonest(tellAt, by)
		case held(unit.Address) || !now.Before(by):
			u.late[unit] = t
			delete(u.taken, unit)
		default:
			wakeAt = soonest(wakeAt, by)
		}
	}
	if !wakeAt.IsZero() && (len(told) == 0 || now.Before(tellAt)) {
		return nil, soonest(wakeAt, tellAt)
	}
	for _, m := range told {
		delete(u.taken, m.Unit)
	}
	slices.SortFunc(told, func(a, b ownership.Move) int { return a.Unit.Compare(b.Unit) })
	return told, wakeAt
}

// tellMoves tells what this node has taken, as events and in the metrics, and says when to do so again in any case.
func (l *loop) tellMoves(now time.Time, moves []ownership.Move, state layer2.State) (wakeAt time.Time) {
	var mine []ownership.Move
	for _, m := range moves {
		l.meters.moved(m, l.NodeName, l.decider.verdicts[m.From], now)
		if m.To == l.NodeName {
			mine = append(mine, m)
		}
	}
	if l.Observe {
		return time.Time{} // see tellObserved
	}
	if len(mine) > 0 {
		l.Log.Info("took addresses", "node", l.NodeName, "addresses", len(mine), "reason", movesInWords(mine))
	}
	l.untold.add(now, moves, l.NodeName)
	answered := func(a netip.Addr) bool { return len(state.Answering(a)) > 0 }
	told, wakeAt := l.untold.take(now, answered, l.decider.held)
	if len(told) >= manyMoves {
		own := corev1.ObjectReference{APIVersion: v1beta1.GroupVersion.String(), Kind: "Speaker", Name: l.NodeName}
		l.crier.cry(corev1.EventTypeNormal, own, v1beta1.ReasonMoved, manyInWords(told, l.NodeName))
		return wakeAt
	}
	for _, m := range told {
		for _, on := range l.references(m.Unit.Address) {
			reason, note := v1beta1.ReasonAnnounced, fmt.Sprintf("%s is announced from node %s", m.Unit.Address, l.NodeName)
			if m.From != "" {
				reason, note = v1beta1.ReasonMoved, fmt.Sprintf("%s, before from %s: %s", note, m.From, l.decider.whyMoved(m))
			}
			l.crier.cry(corev1.EventTypeNormal, on, reason, note)
		}
	}
	return wakeAt
}

// whyMoved says why an address has moved, and if it has because of what its owner is, what that is.
func (d *decider) whyMoved(m ownership.Move) string {
	if m.Cause != ownership.CauseLeave && m.Cause != ownership.CauseRank {
		return m.Cause.String()
	}
	if why := d.against(m.Unit.Address, m.From); why != "" {
		return fmt.Sprintf("%s (%s)", m.Cause, why)
	}
	return m.Cause.String()
}

// against says what speaks against a node as the owner of an address, "" if nothing does that is known here.
func (d *decider) against(a netip.Addr, node string) string {
	_, sharers := d.sharersOf(a)
	if d.view == nil || len(sharers) == 0 {
		return ""
	}
	if v, known := d.view.ExplainNode(a, sharers, 0, node); known && v.Reason != v1beta1.ReasonEligible {
		if words := plan.InWords(v.Reason); words != "" {
			return words
		}
		switch v.Reason {
		case v1beta1.ReasonLinkDown, v1beta1.ReasonLinkFailed, v1beta1.ReasonNodeNetworkUnavailable:
			return v.Message
		}
		words, _, _ := strings.Cut(v.Message, ": ") // what can be done about it does not belong here
		return words
	}
	if i := slices.IndexFunc(d.seen.gossip.Members, func(m gossip.Member) bool { return m.Node == node }); i >= 0 && d.seen.gossip.Members[i].Facts.Leaving {
		return "its speaker leaves the node"
	}
	return ""
}

// manyInWords tells of many moves at once.
func manyInWords(moves []ownership.Move, node string) string {
	return fmt.Sprintf("%d addresses are announced from node %s now (%s)", len(moves), node, movesInWords(moves))
}

// movesInWords says how many moved from where, and why.
func movesInWords(moves []ownership.Move) string {
	why := map[string]int{}
	for _, m := range moves {
		from := m.From
		if from == "" {
			from = "nowhere"
		}
		why[fmt.Sprintf("from %s: %s", from, m.Cause)]++
	}
	var words []string
	for _, w := range slices.Sorted(maps.Keys(why)) {
		words = append(words, fmt.Sprintf("%d %s", why[w], w))
	}
	const most = 5
	if len(words) > most {
		words = append(words[:most], "…")
	}
	return strings.Join(words, "; ")
}

// tellConflicts tells by events who else has addresses of this node.
func (l *loop) tellConflicts(state layer2.State) {
	for _, seg := range state.Segments {
		for _, c := range seg.Conflicts {
			if before, told := l.conflicting[c.Address]; told && before.MAC == c.MAC && before.Kind == c.Kind {
				continue
			}
			l.conflicting[c.Address] = c
			maps.Copy(l.waiting, l.decider.sharers[c.Address])
			reason, note := conflictInWords(c)
			if c.Withheld {
				note = fmt.Sprintf("%s is in use by a host that is no node of the cluster, with the MAC %s, and so is not announced", c.Address, c.MAC)
			}
			for _, on := range l.references(c.Address) {
				l.crier.cry(corev1.EventTypeWarning, on, v1beta1.Reason(reason), note)
			}
		}
	}
	for a := range l.conflicting {
		if !l.decider.held(a) && len(state.Conflicts(a)) == 0 {
			delete(l.conflicting, a)
			maps.Copy(l.waiting, l.decider.sharers[a])
		}
	}
}

// references returns the Services that have an address, for events.
func (l *loop) references(a netip.Addr) (on []corev1.ObjectReference) {
	for key := range l.decider.sharers[a] {
		on = append(on, corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: key.Namespace, Name: key.Name,
			UID: l.decider.services[key].uid})
	}
	return on
}
