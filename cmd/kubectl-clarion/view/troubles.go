package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/remedy"
)

// A Trouble is a condition by which an object of Clarion's tells of something amiss.
type Trouble struct {
	Kind, Name string
	Condition  metav1.Condition
	// Serious is whether the object is not in force.
	Serious bool
}

// Do is what to do about it.
func (t Trouble) Do() string {
	if t.Condition.Type == conditionReady {
		return remedy.Of(t.Condition.Reason)
	}
	return remedy.Of(t.Condition.Type)
}

// Troubles returns what the conditions of pools, advertisements, peers, BFD profiles and communities tell. What sums up sessions is left
// out: [SessionTroubles] has each.
func Troubles(c Cluster) (out []Trouble) {
	look := func(kind, name string, conditions []metav1.Condition) {
		for _, one := range conditions {
			switch v1beta1.ConditionType(one.Type) {
			case v1beta1.ConditionSessionsDown, v1beta1.ConditionBFDDown:
				if c.Speakers != nil {
					continue
				}
			}
			if amiss, serious := isAmiss(one); amiss {
				out = append(out, Trouble{kind, name, one, serious})
			}
		}
	}
	for _, o := range c.Pools {
		look("IPAddressPool", o.Name, o.Status.Conditions)
	}
	for _, o := range c.L2Advertisements {
		look("L2Advertisement", o.Name, o.Status.Conditions)
	}
	for _, o := range c.BGPAdvertisements {
		look("BGPAdvertisement", o.Name, o.Status.Conditions)
	}
	for _, o := range c.Peers {
		look("BGPPeer", o.Name, o.Status.Conditions)
	}
	for _, o := range c.BFDProfiles {
		look("BFDProfile", o.Name, o.Status.Conditions)
	}
	for _, o := range c.Communities {
		look("Community", o.Name, o.Status.Conditions)
	}
	return out
}

// isAmiss is whether a condition of an object of Clarion's tells of something amiss: Ready that is not True, and any other that is.
func isAmiss(c metav1.Condition) (amiss, serious bool) {
	if c.Type == conditionReady {
		return c.Status != metav1.ConditionTrue, c.Status == metav1.ConditionFalse
	}
	return c.Status == metav1.ConditionTrue, false
}

// A SessionTrouble is why some nodes have no session with a router, or have one that goes on without BFD or without the Secret that its
// password is from.
type SessionTrouble struct {
	Peer string
	// Why begins with the reason (docs/reference/bgp-reasons.md).
	Why string
	// Nodes are in order.
	Nodes []string
	// Up is whether the session is established, and something beside it is not as it should be.
	Up bool
}

// Do is what to do about it.
func (t SessionTrouble) Do() string {
	reason, _, _ := strings.Cut(t.Why, ":")
	return cmp.Or(remedy.Of(reason), "kubectl describe bgppeer "+t.Peer)
}

// String says it in one line.
func (t SessionTrouble) String() string {
	if t.Up {
		return fmt.Sprintf("session with %s: %s", FirstFew(t.Nodes), t.Why)
	}
	return fmt.Sprintf("no session with %s: %s", FirstFew(t.Nodes), t.Why)
}

// SessionTroubles returns those of all speakers, one for each router, cause, and whether the session is up: a peer that is strict about BFD
// has the same cause, and no session.
func SessionTroubles(speakers []v1beta1.Speaker) []SessionTrouble {
	type cause struct {
		peer, why string
		up        bool
	}
	nodes := map[cause][]string{}
	for _, s := range speakers {
		if s.Status.BGP == nil {
			continue
		}
		for _, session := range s.Status.BGP.Sessions {
			up := session.State == v1beta1.BGPEstablished
			if up && !GoesOnWithout(session.LastError) {
				continue
			}
			at := cause{session.Peer, cmp.Or(session.LastError, string(session.State)+", and no error was seen yet"), up}
			nodes[at] = append(nodes[at], s.Name)
		}
	}
	var out []SessionTrouble
	for c, on := range nodes {
		slices.Sort(on)
		out = append(out, SessionTrouble{Peer: c.peer, Why: c.why, Nodes: on, Up: c.up})
	}
	slices.SortFunc(out, func(a, b SessionTrouble) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Why, b.Why), cmp.Compare(a.Nodes[0], b.Nodes[0]))
	})
	return out
}

// FirstFew lists the first few names of many.
func FirstFew(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
