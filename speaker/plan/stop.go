package plan

import "github.com/clarion-lb/clarion/api/v1beta1"

// A Stop is how a speaker stops.
type Stop uint8

const (
	// Restart is to come back at once, or so one hopes: what the node has stays with it, and others answer in its
	// name meanwhile.
	Restart Stop = iota
	// Leave is to hand over what the node has before stopping.
	Leave
)

// String returns the word that settings and logs have for it.
func (s Stop) String() string {
	if s == Leave {
		return "leave"
	}
	return "restart"
}

// StopFacts are what a speaker sees when it is told to stop.
type StopFacts struct {
	// Node is the speaker's own, as it is and not as it counts; nil is one that the API server does not have.
	Node *Node
	// IgnoreExcludeLabel is the setting of that name.
	IgnoreExcludeLabel bool
	// OtherUncordoned is whether another node with a speaker that serves is not cordoned.
	OtherUncordoned bool
	// ShuttingDown is whether the kubelet says that the node shuts down.
	ShuttingDown bool
	// Workload is what has become of the DaemonSet that runs the speaker.
	Workload Workload
}

// A Workload says whether the DaemonSet that runs a speaker would start it again.
type Workload uint8

const (
	// WorkloadUnknown: it was not asked, or can't be, or there has never been one.
	WorkloadUnknown Workload = iota
	// WorkloadStays: it would.
	WorkloadStays
	// WorkloadGone: it has been deleted.
	WorkloadGone
	// WorkloadDeselects: it no longer selects the node.
	WorkloadDeselects
)

// HowToStop decides whether a speaker that is told to stop leaves the node or is about to come back, and says why. What
// can't be seen speaks for coming back: whoever does not is replaced after a while all the same.
//
//	the node is about to go, or others are to have what is its   Leave
//	nobody would start the speaker here again                     Leave
//	else                                                          Restart
func HowToStop(f StopFacts) (Stop, string) {
	switch f.Workload {
	case WorkloadGone:
		return Leave, "the DaemonSet is gone"
	case WorkloadDeselects:
		return Leave, "the DaemonSet does not select the node any more"
	}
	if f.ShuttingDown {
		return Leave, "the node shuts down"
	}
	if f.Node == nil {
		return Restart, "nothing says that the node is to be left"
	}
	if _, excluded := f.Node.Labels[v1beta1.LabelExcludeNode]; excluded && !f.IgnoreExcludeLabel {
		return Leave, "the Node has the label " + v1beta1.LabelExcludeNode
	}
	for _, signal := range []Signals{OutOfService, BeingRemoved, Draining} {
		if f.Node.Signals&signal != 0 {
			return Leave, InWords(signal.Reason())
		}
	}
	if f.Node.Signals&Cordoned != 0 && f.OtherUncordoned {
		return Leave, InWords(Cordoned.Reason())
	}
	return Restart, "nothing says that the node is to be left"
}
