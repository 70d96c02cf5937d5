package speaker

import (
	"context"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/speaker/plan"
)

// StopMode says how a speaker stops when it is told to.
type StopMode string

// The modes.
const (
	// StopAuto decides by what can be seen: see plan.HowToStop.
	StopAuto StopMode = "auto"
	// StopRestart keeps what the node has, as if the speaker came back at once.
	StopRestart StopMode = "restart"
	// StopLeave hands over what the node has.
	StopLeave StopMode = "leave"
)

const (
	// restartFor is how long a speaker that restarts goes on answering after it has told the others: by then deputies stand
	// in for it.
	restartFor = 200 * time.Millisecond
	// tellFor bounds how long is waited until they are told.
	tellFor = 2 * time.Second
	// leaveFor bounds a leave. Ten thousand addresses are announced by their new owners within this time.
	leaveFor = 15 * time.Second
	// leftFor is how long a speaker that has handed over everything is still there for those who have not heard so.
	leftFor = 300 * time.Millisecond
	// askWorkload is how long is waited for what the API server says of the DaemonSet.
	askWorkload = 500 * time.Millisecond
)

// stopping is a stop under way.
type stopping struct {
	how  plan.Stop
	told chan struct{} // closed when the others were told
	left chan struct{} // closed when all is handed over

	tellOnce, leftOnce sync.Once
}

func newStopping(how plan.Stop) *stopping {
	return &stopping{how: how, told: make(chan struct{}), left: make(chan struct{})}
}

// progress takes in that the others were told, and whether all is handed over.
func (s *stopping) progress(left bool) {
	s.tellOnce.Do(func() { close(s.told) })
	if left {
		s.leftOnce.Do(func() { close(s.left) })
	}
}

// leaveOrRestart tells the others that this speaker stops, and returns when they do without it.
func (s *speaker) leaveOrRestart() {
	if s.Observe || !s.loop.othersServe() && !s.uplink.used.Load() {
		return
	}
	how, why := s.howToStop()
	s.Log.Info("stopping", "node", s.NodeName, "how", how.String(), "reason", why)
	routesGo := make(chan struct{})
	go func() {
		defer close(routesGo)
		s.uplink.stop(how, why)
	}()
	defer func() { <-routesGo }()
	if !s.loop.othersServe() {
		return
	}
	stop := newStopping(how)
	s.loop.stops <- stop
	if how == plan.Restart {
		select {
		case <-stop.told: // which a busy loop may do late
		case <-time.After(tellFor):
		}
		time.Sleep(restartFor)
		return
	}
	begin := time.Now()
	select {
	case <-stop.left:
	case <-time.After(leaveFor):
		s.Log.Warn("not everything was handed over in time", "node", s.NodeName, "addresses", s.loop.ownedCount())
	}
	time.Sleep(leftFor)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.gossip.Leave(ctx)
	s.Log.Info("left: the other speakers have taken over", "node", s.NodeName, "took", time.Since(begin).Round(time.Millisecond).String())
}

// howToStop decides whether to leave or to restart, and says why.
func (s *speaker) howToStop() (plan.Stop, string) {
	switch s.Stop {
	case StopRestart:
		return plan.Restart, "the setting says so"
	case StopLeave:
		return plan.Leave, "the setting says so"
	}
	ctx, cancel := context.WithTimeout(context.Background(), askWorkload)
	defer cancel()
	facts := s.loop.stopFacts()
	facts.IgnoreExcludeLabel = s.IgnoreExcludeLabel
	facts.Workload = s.workload.ask(ctx, facts.Node)
	return plan.HowToStop(facts)
}

// workload asks for the DaemonSet that runs the speaker. One that was not there at the start does not run it.
type workload struct {
	reader client.Reader
	key    types.NamespacedName
	ran    bool
}

// remember notes whether the DaemonSet is there.
func (w *workload) remember(ctx context.Context) {
	w.ran = w.reader.Get(ctx, w.key, &appsv1.DaemonSet{}) == nil
}

func (w *workload) ask(ctx context.Context, node *plan.Node) plan.Workload {
	if !w.ran {
		return plan.WorkloadUnknown
	}
	var o appsv1.DaemonSet
	switch err := w.reader.Get(ctx, w.key, &o); {
	case apierrors.IsNotFound(err), err == nil && o.DeletionTimestamp != nil:
		return plan.WorkloadGone
	case err != nil || node == nil:
		return plan.WorkloadUnknown
	case !selects(o.Spec.Template.Spec, *node):
		return plan.WorkloadDeselects
	}
	return plan.WorkloadStays
}

// selects reports whether Pods of a DaemonSet may run on a node, by its name and labels. What can't be read selects.
func selects(pod corev1.PodSpec, node plan.Node) bool {
	if !labels.SelectorFromSet(pod.NodeSelector).Matches(labels.Set(node.Labels)) {
		return false
	}
	if pod.Affinity == nil || pod.Affinity.NodeAffinity == nil || pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	terms := pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	return slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool {
		return len(t.MatchExpressions)+len(t.MatchFields) > 0 && matches(t.MatchExpressions, node.Labels) &&
			matches(t.MatchFields, map[string]string{"metadata.name": node.Name})
	})
}

// operators are those of node selectors, as labels have them.
var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn:           selection.In,
	corev1.NodeSelectorOpNotIn:        selection.NotIn,
	corev1.NodeSelectorOpExists:       selection.Exists,
	corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt:           selection.GreaterThan,
	corev1.NodeSelectorOpLt:           selection.LessThan,
}

func matches(requirements []corev1.NodeSelectorRequirement, set map[string]string) bool {
	for _, r := range requirements {
		requirement, err := labels.NewRequirement(r.Key, operators[r.Operator], r.Values)
		if err == nil && !requirement.Matches(labels.Set(set)) {
			return false
		}
	}
	return true
}

// stopFacts returns what speaks for leaving this node, as it is seen now.
func (d *decider) stopFacts() *plan.StopFacts {
	f := &plan.StopFacts{}
	self := d.nodes[d.self]
	if self == nil {
		return f
	}
	node := self.plan
	f.Node, f.ShuttingDown = &node, self.shuttingDown
	for _, m := range d.seen.gossip.Members {
		other := d.nodes[m.Node]
		if m.Node != d.self && other != nil && m.Known && m.Facts.Serving && other.plan.Signals&plan.Cordoned == 0 {
			f.OtherUncordoned = true
		}
	}
	return f
}
