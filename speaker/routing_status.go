package speaker

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// Bounds of what fits into a Speaker's status.
const (
	maxSessions     = 64
	maxSessionError = 256
)

// bfdNotUp is told of a session that is established while the BFD session beside it is not up.
const bfdNotUp = bgp.Reason(v1beta1.ReasonBFDNotUp)

// status is what this node is toward routers, nil where there is nothing to be. since is when the speaker started.
func (r *routing) status(s *bgp.Snapshot, watched bfd.Snapshot, since time.Time) *v1beta1.SpeakerBGP {
	out := &v1beta1.SpeakerBGP{SessionsWanted: int32(len(r.desired.Peers) + len(r.problems))}
	if out.SessionsWanted == 0 {
		return nil
	}
	for _, p := range r.desired.Peers {
		now, known := s.Session(p.Name)
		if !known {
			now = bgp.Session{Peer: p.Name, Since: since}
		}
		one := sessionStatus(p.Name, p.Address, now.Since, now.LastError, now.LastMessage)
		one.State, one.RoutesSent = stateOf(now), int32(now.RoutesSent)
		if far := now.Remote.Addr(); one.Address == "" && far.IsValid() {
			one.Address = far.String()
		}
		beside, isWatched := watched.Session(p.Name)
		isWatched = isWatched && beside.State != bfd.Up
		switch {
		case now.State != bgp.Established:
			if r.strict[p.Name] && now.LastError == bgp.Held && isWatched && beside.Reason != "" && !strings.Contains(now.LastMessage, beside.Reason) {
				one.LastError = cutText(inWords(now.LastError, now.LastMessage+": "+beside.Reason), maxSessionError)
			}
		case now.Unsendable != "":
			one.LastError = cutText("some routes are not sent: "+now.Unsendable, maxSessionError)
		case r.forgotten[p.Name] != "":
			one.LastError = cutText(inWords(bgp.NoPassword, "the session goes on with the password that it has: "+r.forgotten[p.Name]), maxSessionError)
		case isWatched:
			one.LastError = cutText(inWords(bfdNotUp, "the session goes on without: "+beside.Reason), maxSessionError)
		}
		if now.State == bgp.Established {
			out.SessionsUp++
		}
		if why := r.unwatched[p.Name]; why != "" && (now.State == bgp.Established || r.strict[p.Name]) {
			one.LastError = cutText(inWords(bgp.NotWatched, why), maxSessionError)
		}
		out.Sessions = append(out.Sessions, one)
	}
	for name, problem := range r.problems {
		out.Sessions = append(out.Sessions, sessionStatus(name, r.routers[name].peer.Address, r.problemAt[name], problem.reason, problem.message))
	}
	slices.SortFunc(out.Sessions, func(a, b v1beta1.BGPSession) int { return cmp.Compare(a.Peer, b.Peer) })
	out.Sessions = out.Sessions[:min(len(out.Sessions), maxSessions)]
	return out
}

func sessionStatus(peer string, address netip.Addr, since time.Time, reason bgp.Reason, message string) v1beta1.BGPSession {
	one := v1beta1.BGPSession{Peer: peer, State: v1beta1.BGPIdle, Since: metav1.NewTime(since.Truncate(time.Second)),
		LastError: cutText(inWords(reason, message), maxSessionError)}
	if address.IsValid() {
		one.Address = address.String()
	}
	return one
}

// stateOf is a session's state as it is shown. One that fails again and again goes through all of them every few seconds;
// it is shown as Active, or the object would be written each time.
func stateOf(s bgp.Session) v1beta1.BGPState {
	if s.State != bgp.Established && s.Failures > 0 && s.LastError != bgp.Held && s.LastError != bgp.Misconfigured {
		return v1beta1.BGPActive
	}
	return v1beta1.BGPState(s.State.String())
}

func inWords(reason bgp.Reason, message string) string {
	switch {
	case reason == "":
		return message
	case message == "":
		return string(reason)
	}
	return string(reason) + ": " + message
}

// cutText shortens a text to a number of bytes, on a rune's border.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const more = "…"
	most -= len(more)
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most] + more
}

// hearing tells of the sessions with routers that another node has: those of a speaker that is heard and stays.
func (d *decider) hearing(node string) hearing {
	m := d.member(node)
	if m == nil || d.verdicts[node].State == detection.Dead || !m.Known || !m.Facts.Routed || m.Facts.Leaving {
		return hearing{}
	}
	return hearing{true, m.Facts.Sessions}
}

// reached reports whether routers send traffic to another node: it has a session.
func (d *decider) reached(node string) bool { return d.hearing(node).any }

// sends reports whether routers hear of an address by way of a node.
func (d *decider) sends(node string, a netip.Addr) bool {
	if node == d.self {
		return d.routing.sent(a)
	}
	return d.reached(node) && slices.Contains(d.routing.decisions[a].Nodes, node)
}

// routed returns the nodes that advertise an address by BGP for a Service and have sessions, as this node sees it; and this
// node's reason for what it does.
func (d *decider) routed(a netip.Addr, key types.NamespacedName) (nodes []string, why v1beta1.Reason) {
	why = v1beta1.ReasonNoAdvertisement
	decision, known := d.routing.decisions[a]
	if !known {
		return nil, why
	}
	_, sharers := d.sharersOf(a)
	i := slices.IndexFunc(sharers, func(s plan.Sharer) bool { return s.Service.Name == key.String() })
	if i < 0 || i >= len(decision.Outcomes) {
		return nil, why
	}
	if why = decision.Outcomes[i].Reason; !decision.Outcomes[i].Served {
		return nil, why
	}
	for _, n := range decision.Nodes {
		if d.sends(n, a) {
			nodes = append(nodes, n)
		}
	}
	return nodes, why
}

// barred returns the reasons why no node would advertise an address by BGP for a Service, whatever sessions it had.
func (d *decider) barred(a netip.Addr, key types.NamespacedName) []v1beta1.Reason {
	_, sharers := d.sharersOf(a)
	i := slices.IndexFunc(sharers, func(s plan.Sharer) bool { return s.Service.Name == key.String() })
	if i < 0 {
		return nil
	}
	return d.routing.table.Barred(a, i)
}

// bars are the reasons that bar nodes from advertising, in words.
var bars = map[v1beta1.Reason]string{
	v1beta1.ReasonNoLocalEndpoint:        "externalTrafficPolicy is Local and the node runs no endpoint that is ready: have one run there, or say Cluster",
	v1beta1.ReasonNoPeer:                 "no BGPPeer that its BGPAdvertisement goes to selects the node and carries its family: see the nodeSelectors and families of the BGPPeers",
	v1beta1.ReasonNodeNetworkUnavailable: "the Node's condition NetworkUnavailable is True: the node's network plug-in has not set it up",
	v1beta1.ReasonNodeExcluded:           "the node has the label " + v1beta1.LabelExcludeNode + ": remove it, or let the speakers run with --ignore-exclude-label",
	v1beta1.ReasonNotSelected:            "the nodeSelectors of its BGPAdvertisements do not select the node: correct them, or label the node",
}

// notRouted says why an address is not advertised by BGP, by a node's reason and by those that bar all nodes; "" where it is not to be.
func notRouted(a netip.Addr, why v1beta1.Reason, barred []v1beta1.Reason) (v1beta1.Reason, string) {
	switch {
	case why == v1beta1.ReasonNoAdvertisement:
		return "", ""
	case why == v1beta1.ReasonNoEndpoint:
		return why, "the Service has no endpoint that is ready: see that it has a selector that matches Pods, and that these are ready"
	case len(barred) > 0:
		said := make([]string, len(barred))
		for i, r := range barred {
			said[i] = fmt.Sprintf("%s (%s)", r, bars[r])
		}
		reason := v1beta1.ReasonNoEligibleNode
		if barred[0] == v1beta1.ReasonNoLocalEndpoint {
			reason = v1beta1.ReasonNoEndpoint
		}
		return reason, fmt.Sprintf("no node can advertise %s by BGP: %s", a, strings.Join(said, "; "))
	}
	return v1beta1.ReasonNoSession, fmt.Sprintf("no node that may advertise %s by BGP has a session with a router: see kubectl get bgppeers", a)
}
