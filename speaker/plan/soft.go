package plan

import (
	"maps"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// Signals are what speaks against a node without excluding it: it still carries traffic, or may. Nodes with them
// are used after those without. As a number, they are the node's rank: what is worse comes higher, so that of two nodes
// the one with the lower number is the better, and what all of them have changes nothing between them. So no
// cluster is blacked out by judging it.
type Signals uint8

// The signals, from the lightest.
const (
	// ViewStale is a node whose speaker has not reached the API server for a while, though others do.
	ViewStale Signals = 1 << iota
	// Cordoned is a Node that is unschedulable.
	Cordoned
	// ProxyUnhealthy is a node whose kube-proxy, which once said that it is healthy, says that it is not.
	ProxyUnhealthy
	// NotReady is a Node whose condition Ready is not True.
	NotReady
	// Draining is a Node with the label clarion.dev/drain.
	Draining
	// BeingRemoved is a Node that the cluster autoscaler is about to delete.
	BeingRemoved
	// OutOfService is a Node that an operator has declared out of service.
	OutOfService
	// Terminating is a node on which a Service with externalTrafficPolicy Local has no ready endpoint any more, only
	// such as are terminating and still serving. It is of a Service, not of a node.
	Terminating
)

// A softSignal is what is known of each signal.
type softSignal struct {
	bit    Signals
	reason Reason
	// onset is for how long the signal must be seen before it counts, release for how long it must be gone before it
	// does not: it costs little to wait, and each change of mind moves addresses.
	onset, release time.Duration
	words          string
}

// softSignals are all signals, from the heaviest. What somebody has asked for holds at once; what is observed waits.
var softSignals = []softSignal{
	{Terminating, v1beta1.ReasonEndpointTerminating, 0, 0,
		"the node's last endpoint of the Service, whose externalTrafficPolicy is Local, is terminating"},
	{OutOfService, v1beta1.ReasonNodeOutOfService, 0, 0, "the Node has the taint " + v1beta1.TaintOutOfService},
	{BeingRemoved, v1beta1.ReasonNodeBeingRemoved, 0, 10 * time.Second,
		"the Node has the taint " + v1beta1.TaintToBeDeleted + ": the cluster autoscaler is about to delete it"},
	{Draining, v1beta1.ReasonNodeDraining, 0, 0, "the Node has the label " + v1beta1.LabelDrain},
	{NotReady, v1beta1.ReasonNodeNotReady, 10 * time.Second, 30 * time.Second, "the Node's condition Ready is not True"},
	{ProxyUnhealthy, v1beta1.ReasonProxyUnhealthy, 10 * time.Second, 15 * time.Second,
		"kube-proxy on the node says that it is not healthy"},
	{Cordoned, v1beta1.ReasonNodeCordoned, time.Second, 10 * time.Second, "the Node is cordoned (spec.unschedulable)"},
	{ViewStale, v1beta1.ReasonViewStale, time.Minute, 10 * time.Second,
		"the speaker on the node does not reach the API server, and others do"},
}

// heaviest returns the heaviest of some signals, false if there are none.
func (s Signals) heaviest() (softSignal, bool) {
	for _, soft := range softSignals {
		if s&soft.bit != 0 {
			return soft, true
		}
	}
	return softSignal{}, false
}

// Reason returns the reason of the heaviest of the signals, "" for none.
func (s Signals) Reason() Reason {
	soft, _ := s.heaviest()
	return soft.reason
}

// InWords says what a soft signal means, by its reason; "" for other reasons.
func InWords(r Reason) string {
	i := slices.IndexFunc(softSignals, func(s softSignal) bool { return s.reason == r })
	if i < 0 {
		return ""
	}
	return softSignals[i].words
}

// A HoldDown makes signals slow: it says which of those that are seen of nodes count. It belongs to one goroutine.
type HoldDown struct {
	nodes map[string]*heldSignals
}

type heldSignals struct {
	counts Signals
	// since is when each signal that is seen otherwise than it counts began to be.
	since map[Signals]time.Time
}

// See takes in what is seen of a node now, and returns what counts, and when to see again although nothing has changed;
// zero for no need. What is seen of a node for the first time counts at once.
func (h *HoldDown) See(now time.Time, node string, seen Signals) (counts Signals, wakeAt time.Time) {
	if h.nodes == nil {
		h.nodes = map[string]*heldSignals{}
	}
	n := h.nodes[node]
	if n == nil {
		h.nodes[node] = &heldSignals{counts: seen, since: map[Signals]time.Time{}}
		return seen, time.Time{}
	}
	for _, soft := range softSignals {
		if seen&soft.bit == n.counts&soft.bit {
			delete(n.since, soft.bit)
			continue
		}
		since, waits := n.since[soft.bit]
		if !waits {
			since = now
			n.since[soft.bit] = since
		}
		wait := soft.release
		if seen&soft.bit != 0 {
			wait = soft.onset
		}
		if due := since.Add(wait); now.Before(due) {
			if wakeAt.IsZero() || due.Before(wakeAt) {
				wakeAt = due
			}
			continue
		}
		n.counts ^= soft.bit
		delete(n.since, soft.bit)
	}
	return n.counts, wakeAt
}

// Keep drops the nodes that are gone.
func (h *HoldDown) Keep(exists func(node string) bool) {
	maps.DeleteFunc(h.nodes, func(node string, _ *heldSignals) bool { return !exists(node) })
}
