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
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// tellObserved tells how many addresses this node would announce, those included that there were when it started.
func (l *loop) tellObserved() {
	if n := l.decider.machine.OwnedCount(); l.Observe && n != l.observed {
		l.observed = n
		l.Log.Info("would announce, if it did more than observe", "node", l.NodeName, "addresses", n)
	}
}

// tellMoves tells what this node has taken, as events and in the metrics.
func (l *loop) tellMoves(now time.Time, moves []ownership.Move) {
	var mine []ownership.Move
	for _, m := range moves {
		l.meters.moved(m, l.NodeName, l.decider.verdicts[m.From], now)
		if m.To == l.NodeName {
			mine = append(mine, m)
		}
	}
	if len(mine) == 0 {
		return
	}
	if l.Observe {
		return // see tellObserved
	}
	l.Log.Info("took addresses", "node", l.NodeName, "addresses", len(mine), "reason", movesInWords(mine))
	if len(mine) >= manyMoves {
		own := corev1.ObjectReference{APIVersion: v1beta1.GroupVersion.String(), Kind: "Speaker", Name: l.NodeName}
		l.crier.cry(corev1.EventTypeNormal, own, v1beta1.ReasonMoved, manyInWords(mine, l.NodeName))
		return
	}
	for _, m := range mine {
		for _, on := range l.references(m.Unit.Address) {
			reason, note := v1beta1.ReasonAnnounced, fmt.Sprintf("%s is announced from node %s", m.Unit.Address, l.NodeName)
			if m.From != "" {
				reason, note = v1beta1.ReasonMoved, fmt.Sprintf("%s, before from %s: %s", note, m.From, m.Cause)
			}
			l.crier.cry(corev1.EventTypeNormal, on, reason, note)
		}
	}
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
