package speaker

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// verdict is what is to be said on a Service.
type verdict struct {
	// writer is whether this speaker is to say it.
	writer bool
	// owned is whether any address of the Service has an owner, as this node sees it.
	owned bool
	// settled is false while it is not known yet, because this node has only just taken an address.
	settled   bool
	condition metav1.Condition
}

// verdictOn returns what is to be said on a Service now. state is what came of the announcements.
func (d *decider) verdictOn(key types.NamespacedName, state layer2.State) verdict {
	s := d.services[key]
	if s == nil || !d.machine.Serving() {
		return verdict{}
	}
	writer, owned := d.writer(s)
	v := verdict{writer: writer == d.self, owned: owned, settled: true, condition: metav1.Condition{
		Type:    string(v1beta1.ConditionAnnounced),
		Status:  metav1.ConditionTrue,
		Reason:  string(v1beta1.ReasonAnnounced),
		Message: "every address is answered at layer 2",
	}}
	advertised := 0
	for _, assigned := range s.addresses {
		a := d.addresses[assigned.address]
		if a == nil {
			v.settled = false
			continue
		}
		i := slices.Index(a.sharers, key)
		if i < 0 {
			v.settled = false
			continue
		}
		outcome := a.outcomes[i]
		owner := d.machine.Owner(unitOf(assigned.address))
		routers, why := d.routed(assigned.address, key)
		if len(routers) > 0 {
			advertised++
			if owner != d.self || len(state.Answering(assigned.address)) == 0 {
				continue // whatever becomes of it at layer 2
			}
		}
		switch {
		case !outcome.Served():
			reason, message := outcome.Reason, outcome.Message
			if r, more := notRouted(assigned.address, why, d.barred(assigned.address, key)); r != "" && reason == v1beta1.ReasonNoAdvertisement {
				reason, message = r, more
			} else if r != "" && r != reason {
				message += "; " + more
			}
			v.condition.Status, v.condition.Reason, v.condition.Message = metav1.ConditionFalse, string(reason), message
			return v
		case owner == "":
			v.settled = false
		case owner == d.self && d.held(assigned.address):
			v.condition.Status, v.condition.Reason = metav1.ConditionFalse, string(v1beta1.ReasonAddressConflict)
			v.condition.Message = fmt.Sprintf("%s is in use by a host that is no node of the cluster, with the MAC %s: it is announced once that host is gone",
				assigned.address, d.conflicts.held[assigned.address].MAC)
			return v
		case owner == d.self && len(state.Answering(assigned.address)) == 0:
			if problem := failure(state, assigned.address); problem != "" {
				v.condition.Status, v.condition.Reason = metav1.ConditionFalse, string(v1beta1.ReasonNoInterface)
				v.condition.Message = problem
				return v
			}
			v.settled = false
		}
		if told := state.Conflicts(assigned.address); owner == d.self && len(told) > 0 {
			v.condition.Reason, v.condition.Message = conflictInWords(told[0])
		}
		if a.ignored != "" {
			v.condition.Message = "every address is answered at layer 2, although of each node that can do it holds: " + plan.InWords(a.ignored)
		}
	}
	switch {
	case v.condition.Reason != string(v1beta1.ReasonAnnounced) || advertised == 0:
	case advertised == len(s.addresses):
		v.condition.Message = "every address is advertised by BGP"
	default:
		v.condition.Message = "every address is answered at layer 2 or advertised by BGP"
	}
	return v
}

// held reports whether a foreign host holds an address that this node should answer for.
func (d *decider) held(a netip.Addr) bool {
	_, held := d.conflicts.held[a]
	return held && d.answers[unitOf(a)] != ownership.Answer{As: ownership.Own}
}

// conflictInWords tells of an address that is answered although others answer for it, too.
func conflictInWords(c layer2.Conflict) (reason, message string) {
	if c.Kind == layer2.KubeProxyAnswersARP {
		return string(v1beta1.ReasonKubeProxyAnswersARP), fmt.Sprintf("every address is answered at layer 2, but the kernel of the node with the MAC %s "+
			"answers for %s, too: set strictARP in kube-proxy's configuration", c.MAC, c.Address)
	}
	return string(v1beta1.ReasonAddressConflict), fmt.Sprintf("every address is answered at layer 2, but a host that is no node of the cluster, with the MAC %s, "+
		"answers for %s, too", c.MAC, c.Address)
}

// writer returns who says what there is to say on a Service: the owner of its first address that has one; else one of the
// nodes that advertise its first address that is; if there is neither, which owned tells, the speaker that would own the
// first address if all might.
func (d *decider) writer(s *service) (node string, owned bool) {
	for _, a := range s.addresses {
		if owner := d.machine.Owner(unitOf(a.address)); owner != "" {
			return owner, true
		}
	}
	for _, a := range s.addresses {
		if routers, _ := d.routed(a.address, s.key); len(routers) > 0 {
			return ownership.Owner(unitOf(a.address), routers), true
		}
	}
	var serving []string
	for _, m := range d.seen.gossip.Members {
		if m.Node == d.self && d.machine.Serving() || m.Node != d.self && m.Known && m.Facts.Serving {
			serving = append(serving, m.Node)
		}
	}
	return ownership.Owner(unitOf(s.addresses[0].address), serving), false
}

// failure returns in words why an address that this node should answer for can't be answered, "" if that is
// not so or only a matter of a moment.
func failure(state layer2.State, a netip.Addr) string {
	var failed string
	for _, seg := range state.Segments {
		if seg.Family != layer2.FamilyOf(a) {
			continue
		}
		if _, found := slices.BinarySearchFunc(seg.Addresses, a, netip.Addr.Compare); !found {
			continue
		}
		why := seg.Error
		if seg.Status != layer2.Failed {
			i, alone := slices.BinarySearchFunc(seg.Failures, a, func(f layer2.Failure, a netip.Addr) int { return f.Address.Compare(a) })
			if !alone {
				return ""
			}
			why = seg.Failures[i].Error
		}
		failed = "the node that should answer for " + a.String() + " can't: " + seg.Interface + ": " + why
	}
	return failed
}

// ownedServices returns the Services that have an address which this node owns.
func (d *decider) ownedServices() map[types.NamespacedName]bool {
	out := map[types.NamespacedName]bool{}
	for u := range d.machine.Owned() {
		maps.Copy(out, d.sharers[u.Address])
	}
	return out
}
