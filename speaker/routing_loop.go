package speaker

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bgp"
)

// route decides what this node is to be toward routers, and has it so. The result are Services of which there may be
// something else to say, and when to do so again.
func (l *loop) route(now time.Time) (touched map[types.NamespacedName]bool, wakeAt time.Time) {
	touched = map[types.NamespacedName]bool{}
	d := l.decider
	if l.routingSynced == nil || !d.seen.synced || !l.routingSynced() {
		return touched, time.Time{} // half a view: routers would drop what is not told them
	}
	snapshot, _ := l.uplink.bgp.Snapshot()
	watched, _ := l.uplink.bfd.Snapshot()
	out := d.routing.step(now, routingView{
		cluster: d.cluster, dirty: d.unrouted, nodes: d.planned, hearing: d.hearing, links: d.seen.links, bgp: snapshot, watched: watched,
	})
	l.followSecrets(out.secrets)
	if !l.Observe {
		l.uplink.apply(d.routing, out)
		l.tellSessions(snapshot)
	}
	for a := range out.touched {
		for key := range d.sharers[a] {
			touched[key] = true
		}
	}
	return touched, out.wakeAt
}

// toldSession is what was last told of a session by an event.
type toldSession struct {
	up     bool
	reason bgp.Reason
	ups    int
}

// tellSessions tells by events what has become of sessions.
func (l *loop) tellSessions(s *bgp.Snapshot) {
	seen := map[string]bool{}
	for _, session := range s.Sessions {
		seen[session.Peer] = true
		if why := l.decider.routing.unwatched[session.Peer]; why != "" && session.LastError == bgp.Held && session.State != bgp.Established {
			session.LastError, session.LastMessage = bgp.NotWatched, why
		}
		now := toldSession{session.State == bgp.Established, session.LastError, session.Ups}
		before := l.sessionsTold[session.Peer]
		l.sessionsTold[session.Peer] = now
		l.meters.session(before, now, session)
		on := corev1.ObjectReference{APIVersion: v1beta1.GroupVersion.String(), Kind: "BGPPeer", Name: session.Peer}
		switch {
		case now.up && !before.up:
			l.crier.cry(corev1.EventTypeNormal, on, v1beta1.ReasonSessionEstablished,
				fmt.Sprintf("node %s has a BGP session with %s", l.NodeName, session.Remote.Addr()))
		case !now.up && now.reason != "" && (before.up || now.reason != before.reason):
			l.crier.cry(corev1.EventTypeWarning, on, v1beta1.ReasonSessionDown,
				fmt.Sprintf("node %s has no BGP session: %s", l.NodeName, inWords(session.LastError, session.LastMessage)))
		}
	}
	for name := range l.sessionsTold {
		if !seen[name] {
			delete(l.sessionsTold, name)
			l.meters.sessionGone(name)
		}
	}
}
