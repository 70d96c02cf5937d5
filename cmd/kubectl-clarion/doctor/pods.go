package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

// hostPorts are the ports of Clarion's that are the node's own, with what each is for.
var hostPorts = []struct {
	port int32
	what string
}{{7956, "gossip"}, {7957, "metrics"}, {7958, "health"}}

// failing tells why Pods of Clarion's do not run, in their own last words: a capability that is missing, a port that is taken.
func failing(f Facts) []Result {
	var out []Result
	for _, p := range f.Pods {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
				out = append(out, result(Failure, toSchedule(c.Message, f.Namespace, p.Name), "Pod %s is on no node: %s", p.Name, c.Message))
			}
		}
		for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
			if s.Ready {
				continue
			}
			why := ""
			if w := s.State.Waiting; w != nil {
				why = strings.TrimSuffix(w.Reason+": "+w.Message, ": ")
			}
			for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
				if t != nil && strings.TrimSpace(t.Message) != "" {
					why = lastLine(t.Message)
					break
				} else if t != nil && why == "" {
					why = fmt.Sprintf("%s (exit code %d)", t.Reason, t.ExitCode)
				}
			}
			if why != "" {
				out = append(out, result(Failure, remedyFor(why, f.Namespace, p.Name), "Pod %s on node %s does not run: %s", p.Name, p.Spec.NodeName, why))
			}
		}
	}
	return out
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// toSchedule tells what to do about the words of the scheduler.
func toSchedule(why, namespace, pod string) string {
	switch {
	case strings.Contains(why, "free ports"):
		return "Another Pod has a port of the node that this one needs (7956 to 7958): see kubectl get pods -A -o wide, and give one of them another port (chart: speaker.gossipPort; --gossip-port, --metrics-bind-address, --health-bind-address)."
	case strings.Contains(why, "untolerated taint"):
		return "Give the Pods a toleration of the taint that the message names (chart: controller.tolerations, speaker.tolerations), or take the taint off a node."
	case strings.Contains(why, "Insufficient"):
		return "Make room on a node, or lower the Pods' requests (chart: controller.resources, speaker.resources)."
	}
	return fmt.Sprintf("kubectl -n %s describe pod %s", namespace, pod)
}

// remedyFor tells what to do about the words of a program that could not start.
func remedyFor(why, namespace, pod string) string {
	low := strings.ToLower(why)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(low, p) })
	}
	switch {
	case has("net_raw", "operation not permitted"):
		return "Something takes NET_RAW away (a runtime's or a policy's list of capabilities, or an image copied without its file capabilities): allow it, or run the speaker as uid 0 with NET_RAW alone (chart: speaker.runAsRoot)."
	case has("address already in use"):
		return "Another program on the node has the port: stop it, or give Clarion another (chart: speaker.gossipPort, …; --gossip-port, --metrics-bind-address, --health-bind-address)."
	case has("imagepull", "errimage", "image"):
		return "The node can't get the image: see its name, and whether the registry can be reached or the image was loaded there."
	case has("oomkilled"):
		return "Raise the memory limit."
	}
	return fmt.Sprintf("kubectl -n %s logs %s --previous", namespace, pod)
}

// refused tells of Pods that were not even made, where some still lack.
func refused(f Facts) []Result {
	var out []Result
	for _, of := range slices.Sorted(maps.Keys(f.Refusals)) {
		why := f.Refusals[of]
		if kind, name, _ := strings.Cut(of, "/"); !lacksPods(f, kind, name) {
			continue // it was, and is mended
		}
		do := "Do what the message asks for."
		if strings.Contains(why, "PodSecurity") {
			do = enforce(f)
		}
		out = append(out, result(Failure, do, "Pods of %s are refused: %s", of, why))
	}
	return out
}

// lacksPods reports whether a workload has fewer Pods than it should have; of what is not known, that it has.
func lacksPods(f Facts, kind, name string) bool {
	switch kind {
	case "DaemonSet":
		if d := find(f.DaemonSets, func(d *appsv1.DaemonSet) bool { return d.Namespace == f.Namespace && d.Name == name }); d != nil {
			return d.Status.CurrentNumberScheduled < d.Status.DesiredNumberScheduled
		}
	case "ReplicaSet": // named after its Deployment
		if d := find(f.Deployments, func(d *appsv1.Deployment) bool {
			return d.Namespace == f.Namespace && strings.HasPrefix(name, d.Name+"-")
		}); d != nil {
			return d.Spec.Replicas == nil || d.Status.Replicas < *d.Spec.Replicas
		}
	}
	return true
}

// ports finds who else wants the ports of the nodes that Clarion needs.
func ports(f Facts) []Result {
	if f.DaemonSets == nil || f.Deployments == nil {
		return notSeen("other programs")
	}
	var out []Result
	look := func(kind, namespace, name string, pod corev1.PodSpec) {
		if namespace == f.Namespace && strings.HasPrefix(name, "clarion-") {
			return
		}
		var told []int32
		for _, c := range pod.Containers {
			for _, p := range c.Ports {
				port := p.HostPort
				if pod.HostNetwork {
					port = p.ContainerPort
				}
				for _, ours := range hostPorts {
					if port == ours.port && !slices.Contains(told, port) {
						told = append(told, port) // it may be of both protocols
						out = append(out, result(Failure, "Give one of them another port.", "%s %s/%s has port %d of the nodes, which is Clarion's for %s", kind, namespace, name, port, ours.what))
					}
				}
			}
		}
	}
	for _, d := range f.DaemonSets {
		look("DaemonSet", d.Namespace, d.Name, d.Spec.Template.Spec)
	}
	for _, d := range f.Deployments {
		look("Deployment", d.Namespace, d.Name, d.Spec.Template.Spec)
	}
	return out
}

// rights tells what the programs may not do that they need to. What those of another version need is not known.
func rights(f Facts) []Result {
	var out []Result
	others := otherVersions(f)
	for _, l := range f.Lacking {
		grade, do := Failure, "Apply the manifest or chart of the version that runs: its ClusterRoles and Roles, and what binds them."
		if l.Minor {
			grade = Warning
		}
		if len(others) > 0 {
			grade, do = Warning, fmt.Sprintf("The list is that of this plugin's version, %s, and the speakers are of %s, which may need other rights: look with a plugin of their version, or upgrade them.",
				f.Plugin, view.FirstFew(others))
		}
		if l.Secret != "" { // which the peers ask for, not the version
			grade, do = Failure, fmt.Sprintf("See docs/how-to/bgp.md on passwords: a Secret %s/%s of type kubernetes.io/basic-auth, and the Role clarion-speaker-passwords that names it.", f.Namespace, l.Secret)
		}
		out = append(out, result(grade, do, "%s", l.What))
	}
	return out
}

// otherVersions are those that the speakers say they are of; none where one is of the plugin's, whose manifest is there then, or none has
// said.
func otherVersions(f Facts) []string {
	const most = 64 // of a version in Speaker.status
	var out []string
	for _, s := range f.Speakers {
		switch v := s.Status.Version; {
		case v == "" || slices.Contains(out, v):
		case v == f.Plugin[:min(len(f.Plugin), most)]:
			return nil
		default:
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}
