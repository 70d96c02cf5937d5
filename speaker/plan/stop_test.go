package plan

import (
	"strings"
	"testing"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestHowToStop(t *testing.T) {
	is := func(change ...func(*Node)) *Node { n := node("a", change...); return &n }
	for _, row := range []struct {
		name  string
		facts StopFacts
		want  Stop
		words string
	}{
		{"a rolling update: the node keeps what it has", StopFacts{Node: is(), OtherUncordoned: true, Workload: WorkloadStays}, Restart, "nothing says"},
		{"the API server is away: so it is too", StopFacts{Node: is()}, Restart, "nothing says"},
		{"the Node is gone, the DaemonSet not: it will follow, and say so", StopFacts{}, Restart, "nothing says"},
		{"a node that is not Ready restarts its speaker as any other", StopFacts{Node: is(notReady), OtherUncordoned: true}, Restart, "nothing says"},
		{"Clarion is uninstalled", StopFacts{Node: is(), Workload: WorkloadGone}, Leave, "DaemonSet is gone"},
		{"the DaemonSet is for other nodes now", StopFacts{Node: is(), Workload: WorkloadDeselects}, Leave, "does not select the node"},
		{"the node shuts down", StopFacts{Node: is(), ShuttingDown: true}, Leave, "shuts down"},
		{"the drain label", StopFacts{Node: is(signal(Draining))}, Leave, "clarion.dev/drain"},
		{"the autoscaler's taint", StopFacts{Node: is(signal(BeingRemoved))}, Leave, "ToBeDeleted"},
		{"out of service", StopFacts{Node: is(signal(OutOfService))}, Leave, "out-of-service"},
		{"the exclusion label", StopFacts{Node: is(label(v1beta1.LabelExcludeNode))}, Leave, "exclude-from"},
		{"the exclusion label, which is ignored", StopFacts{Node: is(label(v1beta1.LabelExcludeNode)), IgnoreExcludeLabel: true}, Restart, "nothing says"},
		{"cordoned, and others are there to take over", StopFacts{Node: is(signal(Cordoned)), OtherUncordoned: true}, Leave, "cordoned"},
		{"cordoned as all are: an upgrade of everything at once", StopFacts{Node: is(signal(Cordoned))}, Restart, "nothing says"},
	} {
		if got, why := HowToStop(row.facts); got != row.want || !strings.Contains(why, row.words) {
			t.Errorf("%s: %s, because %q", row.name, got, why)
		}
	}
}
