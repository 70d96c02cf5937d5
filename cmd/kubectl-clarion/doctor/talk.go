package doctor

import (
	"fmt"
	"maps"
	"slices"

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
// all virtual machines of a kind have, or none.
func nodeAddresses(f Facts) []Result {
	if len(f.Nodes) == 0 {
		return notSeen("nodes")
	}
	const do = "Give the kubelet the address by which the other nodes reach this one (--node-ip), and restart it: speakers meet each other at the nodes' InternalIPs."
	at := map[string][]string{}
	var out []Result
	for _, n := range f.Nodes {
		has := false
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				has = true
				at[a.Address] = append(at[a.Address], n.Name)
			}
		}
		if !has {
			out = append(out, result(Failure, do, "node %s has no InternalIP: its speaker hears nobody, and nobody hears it", n.Name))
		}
	}
	for _, address := range slices.Sorted(maps.Keys(at)) {
		if nodes := at[address]; len(nodes) > 1 {
			out = append(out, result(Failure, do, "nodes %s have one InternalIP, %s: their speakers can't hear each other", view.FirstFew(nodes), address))
		}
	}
	return out
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
