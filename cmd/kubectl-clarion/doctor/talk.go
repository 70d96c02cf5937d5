package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

// hearing finds speakers that run and are not heard by others.
func hearing(f Facts) []Result {
	by := map[string][]string{}
	for _, s := range f.Speakers {
		if m := s.Status.Membership; m != nil && readyOn(f, s.Name) {
			for _, missing := range m.Missing {
				by[missing] = append(by[missing], s.Name)
			}
		}
	}
	var out []Result
	for _, s := range f.Speakers {
		if m := s.Status.Membership; m != nil && len(m.Missing) == 0 && m.Alive < m.Expected && readyOn(f, s.Name) && everyPodReady(f) {
			out = append(out, result(Warning, "Look again in half a minute: then those that are missing are named, unless they have come.",
				"the speaker of node %s hears %d of %d speakers", s.Name, m.Alive, m.Expected))
		}
	}
	for _, missing := range slices.Sorted(maps.Keys(by)) {
		if !readyOn(f, missing) {
			continue // why it does not run another check tells
		}
		slices.Sort(by[missing])
		out = append(out, result(Failure,
			"Let TCP and UDP 7956 (--gossip-port) pass between the nodes' InternalIPs, whatever filters there (a host firewall, a cloud's security group, a policy of the CNI for hosts). If it passes: the logs of both say whether their keys differ.",
			"the speaker of node %s runs and is not heard by %s", missing, view.FirstFew(by[missing])))
	}
	return out
}

// nodeAddresses finds nodes that speakers can't reach each other at: the kubelet took the address of a wrong interface, such as the one that
// all virtual machines of a kind have, or none. Of a node's InternalIPs speakers use the first of a family.
func nodeAddresses(f Facts) []Result {
	if len(f.Nodes) == 0 {
		return notSeen("nodes")
	}
	const do = "Give the kubelet the address by which the other nodes reach this one (--node-ip), and restart it: speakers meet each other at the nodes' InternalIPs."
	type users struct {
		nodes []string
		run   int // of how many it is known
	}
	at := map[netip.Addr]users{}
	var out []Result
	for _, n := range f.Nodes {
		runs := speakerOn(f, n.Name)
		if runs == never {
			continue
		}
		first := firstInternal(n)
		for _, a := range first {
			u := at[a]
			if u.nodes = append(u.nodes, n.Name); runs == surely {
				u.run++
			}
			at[a] = u
		}
		switch {
		case len(first) > 0:
		case runs == surely:
			out = append(out, result(Failure, do, "node %s has no InternalIP: its speaker hears nobody, and nobody hears it", n.Name))
		default:
			out = append(out, result(Warning, do, "node %s has no InternalIP: a speaker there would hear nobody, and nobody it", n.Name))
		}
	}
	for _, address := range slices.SortedFunc(maps.Keys(at), netip.Addr.Compare) {
		switch u := at[address]; {
		case len(u.nodes) < 2:
		case u.run > 1:
			out = append(out, result(Failure, do, "nodes %s have one InternalIP, %s: their speakers can't hear each other", view.FirstFew(u.nodes), address))
		default:
			out = append(out, result(Warning, do, "nodes %s have one InternalIP, %s: speakers there could not hear each other", view.FirstFew(u.nodes), address))
		}
	}
	return out
}

// firstInternal returns the first InternalIP of each family that a node has.
func firstInternal(n corev1.Node) (out []netip.Addr) {
	for _, a := range n.Status.Addresses {
		addr, err := netip.ParseAddr(a.Address)
		if a.Type != corev1.NodeInternalIP || err != nil {
			continue
		}
		addr = addr.Unmap()
		if !slices.ContainsFunc(out, func(o netip.Addr) bool { return o.Is4() == addr.Is4() }) {
			out = append(out, addr)
		}
	}
	return out
}

// Whether a node has a speaker, or is to have one.
type presence int

const (
	maybe presence = iota // Clarion is not installed yet, or what would tell was not seen
	never
	surely
)

// speakerOn tells whether a node has a speaker, or is to have one.
func speakerOn(f Facts, node string) presence {
	ds := find(f.DaemonSets, func(d *appsv1.DaemonSet) bool { return d.Namespace == f.Namespace && d.Name == "clarion-speaker" })
	switch {
	case slices.ContainsFunc(f.Pods, func(p corev1.Pod) bool {
		return p.Spec.NodeName == node && p.Labels["app.kubernetes.io/component"] == "speaker"
	}):
		return surely
	case ds != nil && int(ds.Status.DesiredNumberScheduled) >= len(f.Nodes):
		return surely
	case ds != nil && f.Pods != nil && ds.Status.CurrentNumberScheduled >= ds.Status.DesiredNumberScheduled:
		return never // all that are to be are elsewhere
	case f.Pods == nil && slices.ContainsFunc(f.Speakers, func(s v1beta1.Speaker) bool { return s.Name == node }):
		return surely
	}
	return maybe
}

// everyPodReady reports whether each node has a speaker that is ready, so that others must be heard.
func everyPodReady(f Facts) bool {
	return !slices.ContainsFunc(f.Nodes, func(n corev1.Node) bool { return !readyOn(f, n.Name) })
}

// readyOn reports whether a node's speaker has a Pod that is ready; without knowing of Pods, that it may.
func readyOn(f Facts, node string) bool {
	if f.Pods == nil {
		return true
	}
	return slices.ContainsFunc(f.Pods, func(p corev1.Pod) bool {
		return p.Spec.NodeName == node && p.Labels["app.kubernetes.io/component"] == "speaker" && p.DeletionTimestamp == nil &&
			slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
	})
}

// sessions finds sessions with routers that are not up: one line for each peer and reason.
func sessions(f Facts) []Result {
	var out []Result
	for _, t := range view.SessionTroubles(f.Speakers) {
		grade := Failure
		if t.Up {
			grade = Warning
		}
		out = append(out, result(grade, t.Do(), "BGPPeer %s, %s%s", t.Peer, t, ownAddress(f, t.Peer)))
	}
	return out
}

// ownAddress says of a peer that its address is a node's own, which may be meant, and seldom is.
func ownAddress(f Facts, peer string) string {
	p := find(f.Peers, func(p *v1beta1.BGPPeer) bool { return p.Name == peer })
	if p == nil {
		return ""
	}
	for _, n := range f.Nodes {
		if slices.ContainsFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Address == p.Spec.PeerAddress }) {
			return fmt.Sprintf(" (%s is the address of node %s itself)", p.Spec.PeerAddress, n.Name)
		}
	}
	return ""
}

// ownObjects tells what the conditions of Clarion's objects say is amiss.
func ownObjects(f Facts) []Result {
	var out []Result
	for _, t := range view.Troubles(view.Cluster{Pools: f.Pools, L2Advertisements: f.L2Advertisements, BGPAdvertisements: f.BGPAdvertisements,
		Peers: f.Peers, BFDProfiles: f.BFDProfiles, Communities: f.Communities, Speakers: f.Speakers}) {
		grade := Warning
		switch {
		case t.Kind == "IPAddressPool" && t.Condition.Reason == string(v1beta1.ReasonInvalid):
			continue // which is told where pools are read
		case t.Condition.Type == string(v1beta1.ConditionAddressesSkipped):
			grade = OK // as it should be
		case t.Serious:
			grade = Failure
		}
		do := t.Do()
		if grade == OK {
			do = ""
		}
		out = append(out, result(grade, do, "%s %s: %s: %s", t.Kind, t.Name, t.Condition.Type, t.Condition.Message))
	}
	return out
}

// policies finds out whether what holds speakers to their part is there.
func policies(f Facts) []Result {
	if f.InstalledIn == nil || len(f.Resources) == 0 {
		return nil // not installed yet, or not known
	}
	if f.MissingPolicies == nil {
		return notSeen("admission policies")
	}
	var out []Result
	for _, missing := range f.MissingPolicies {
		out = append(out, result(Warning, "Apply the manifest or chart of the version that runs.",
			"%s is not there: whoever gets hold of a speaker's token may write more than the speaker does (docs/security.md)", missing))
	}
	return out
}
