package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/remedy"
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
			"the speaker of node %s runs and is not heard by %s", missing, firstFew(by[missing])))
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
	type trouble struct{ peer, why string }
	nodes := map[trouble][]string{}
	for _, s := range f.Speakers {
		if s.Status.BGP == nil {
			continue
		}
		for _, session := range s.Status.BGP.Sessions {
			if session.State == v1beta1.BGPEstablished && !view.Unwatched(session.LastError) {
				continue
			}
			why := session.LastError
			if why == "" {
				why = string(session.State) + ", and no error was seen yet"
			}
			nodes[trouble{session.Peer, why}] = append(nodes[trouble{session.Peer, why}], s.Name)
		}
	}
	var out []Result
	for t, on := range nodes {
		reason, _, _ := strings.Cut(t.why, ":")
		do := remedy.Of(reason)
		if do == "" {
			do = "kubectl describe bgppeer " + t.peer
		}
		slices.Sort(on)
		if view.Unwatched(t.why) {
			out = append(out, result(Warning, do, "BGPPeer %s, session with %s: %s", t.peer, firstFew(on), t.why))
			continue
		}
		out = append(out, result(Failure, do, "BGPPeer %s has no session with %s: %s", t.peer, firstFew(on), t.why))
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Found, b.Found) })
	return out
}

// ownObjects tells what the conditions of Clarion's objects say is amiss.
func ownObjects(f Facts) []Result {
	var out []Result
	look := func(kind, name string, conditions []metav1.Condition) {
		for _, c := range conditions {
			grade, about := Warning, c.Type
			switch {
			case c.Type == string(v1beta1.ConditionReady) && c.Status == metav1.ConditionFalse:
				grade, about = Failure, c.Reason
			case c.Type == string(v1beta1.ConditionReady), c.Status != metav1.ConditionTrue:
				continue
			case c.Type == string(v1beta1.ConditionSessionsDown), c.Type == string(v1beta1.ConditionBFDDown), c.Type == string(v1beta1.ConditionAddressesSkipped):
				continue // told by another check; as it should be
			}
			out = append(out, result(grade, remedy.Of(about), "%s %s: %s: %s", kind, name, c.Type, c.Message))
		}
	}
	for _, o := range f.Pools {
		if c := meta.FindStatusCondition(o.Status.Conditions, string(v1beta1.ConditionReady)); c != nil && c.Reason == string(v1beta1.ReasonInvalid) {
			continue // which is told where pools are read
		}
		look("IPAddressPool", o.Name, o.Status.Conditions)
	}
	for _, o := range f.L2Advertisements {
		look("L2Advertisement", o.Name, o.Status.Conditions)
	}
	for _, o := range f.BGPAdvertisements {
		look("BGPAdvertisement", o.Name, o.Status.Conditions)
	}
	for _, o := range f.Peers {
		look("BGPPeer", o.Name, o.Status.Conditions)
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

func firstFew(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
