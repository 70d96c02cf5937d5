package doctor

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

const leastMinor = 31

func kubernetesVersion(f Facts) []Result {
	if f.Server == nil {
		return notSeen("the API server's version")
	}
	minor, err := strconv.Atoi(strings.TrimRight(f.Server.Minor, "+"))
	if err == nil && f.Server.Major == "1" && minor < leastMinor {
		return []Result{result(Failure, "Upgrade Kubernetes.", "Kubernetes %s: Clarion's CRDs need 1.%d, for their rules", f.Server.GitVersion, leastMinor)}
	}
	return []Result{result(OK, "", "Kubernetes %s", f.Server.GitVersion)}
}

var kinds = []string{"ipaddresspools", "l2advertisements", "bgpadvertisements", "bgppeers", "bfdprofiles", "communities", "speakers"}

func resources(f Facts) []Result {
	if f.Resources == nil {
		return notSeen("the API server's resources")
	}
	var missing []string
	for _, k := range kinds {
		if !slices.Contains(f.Resources, k) {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 && len(f.UnknownFields) > 0 {
		return []Result{result(Warning, "Apply the CRDs of the version that runs, which are in its manifest and chart; kubectl clarion version tells the programs' versions, and the plugin's.",
			"the CRDs are of an older version than this plugin, and do not know %s: what is written there is lost", view.FirstFew(f.UnknownFields))}
	}
	if len(missing) == 0 {
		return nil
	}
	if len(missing) == len(kinds) {
		return []Result{result(Failure, "Install Clarion: kubectl apply -f deploy/clarion.yaml, or its Helm chart.", "none of Clarion's CRDs is installed")}
	}
	return []Result{result(Failure, "Apply the manifest or chart of the version that runs.", "CRDs missing: %s", strings.Join(missing, ", "))}
}

func podSecurity(f Facts) []Result {
	if f.InstalledIn == nil {
		return nil // said by others, or not installed yet
	}
	level := f.InstalledIn.Labels["pod-security.kubernetes.io/enforce"]
	if level == "privileged" {
		return nil
	}
	if ds := find(f.DaemonSets, func(d *appsv1.DaemonSet) bool { return d.Namespace == f.Namespace && d.Name == "clarion-speaker" }); level == "" &&
		ds != nil && ds.Status.NumberReady > 0 {
		return nil // nobody refuses them
	}
	if level == "" {
		return []Result{result(Warning, enforce(f), "namespace %s has no Pod Security label: where the cluster enforces a level by default, the speakers' Pods are refused (they use the host's network and NET_RAW)", f.Namespace)}
	}
	return []Result{result(Failure, enforce(f), "namespace %s enforces Pod Security level %s, which refuses the speakers' Pods (they use the host's network and NET_RAW)", f.Namespace, level)}
}

func enforce(f Facts) string {
	return fmt.Sprintf("kubectl label --overwrite namespace %[1]s pod-security.kubernetes.io/enforce=privileged. Pods that were refused come back later and later: kubectl -n %[1]s rollout restart daemonset/clarion-speaker has them come at once.", f.Namespace)
}

func find[T any](list []T, which func(*T) bool) *T {
	if i := slices.IndexFunc(list, func(t T) bool { return which(&t) }); i >= 0 {
		return &list[i]
	}
	return nil
}

func controller(f Facts) []Result {
	if f.Deployments == nil {
		return notSeen("Deployments")
	}
	d := find(f.Deployments, func(d *appsv1.Deployment) bool { return d.Namespace == f.Namespace && d.Name == "clarion-controller" })
	if d == nil {
		return []Result{result(Warning, "Install Clarion, or name its namespace with --clarion-namespace.", "there is no Deployment clarion-controller in namespace %s", f.Namespace)}
	}
	var out []Result
	if d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
		out = append(out, result(Failure, fmt.Sprintf("kubectl -n %s scale deployment clarion-controller --replicas=2", f.Namespace), "clarion-controller is scaled to none: no Service gets an address"))
	} else if d.Status.ReadyReplicas == 0 {
		out = append(out, result(Failure, fmt.Sprintf("See why: kubectl -n %s describe deployment,replicaset,pod -l app.kubernetes.io/component=controller", f.Namespace),
			"no replica of clarion-controller is ready: no Service gets an address"))
	} else if d.Spec.Replicas != nil && *d.Spec.Replicas < 2 {
		out = append(out, result(Warning, "Set two replicas.", "clarion-controller has one replica: while its node is lost no Service gets an address (those that have one keep working)"))
	}
	return out
}

func speakers(f Facts) []Result {
	if f.DaemonSets == nil {
		return notSeen("DaemonSets")
	}
	ds := find(f.DaemonSets, func(d *appsv1.DaemonSet) bool { return d.Namespace == f.Namespace && d.Name == "clarion-speaker" })
	if ds == nil {
		return []Result{result(Warning, "Install Clarion, or name its namespace with --clarion-namespace.", "there is no DaemonSet clarion-speaker in namespace %s", f.Namespace)}
	}
	var out []Result
	describe := fmt.Sprintf("See why: kubectl -n %s describe daemonset clarion-speaker; kubectl -n %s get pods -o wide", f.Namespace, f.Namespace)
	switch s := ds.Status; {
	case s.DesiredNumberScheduled == 0:
		out = append(out, result(Failure, describe, "clarion-speaker selects no node: nothing is announced"))
	case s.CurrentNumberScheduled < s.DesiredNumberScheduled:
		out = append(out, result(Failure, describe+"; events of the DaemonSet tell if Pods are refused (Pod Security, quotas)",
			"clarion-speaker has Pods on %d of %d nodes", s.CurrentNumberScheduled, s.DesiredNumberScheduled))
	case s.NumberReady < s.DesiredNumberScheduled:
		out = append(out, result(Failure, describe+"; a line in the Pod's log says what it waits for, or which capability or port it lacks",
			"%d of %d speakers are ready", s.NumberReady, s.DesiredNumberScheduled))
	}
	if n := len(f.Nodes); n > 0 && ds.Status.DesiredNumberScheduled > 0 && int(ds.Status.DesiredNumberScheduled) < n {
		out = append(out, result(Warning, "Take away the DaemonSet's nodeSelector, or add tolerations, if those nodes are to announce.",
			"clarion-speaker is to run on %d of %d nodes%s", ds.Status.DesiredNumberScheduled, n, without(f)))
	}
	for _, s := range f.Speakers {
		if c := meta.FindStatusCondition(s.Status.Conditions, string(v1beta1.ConditionReady)); c != nil && c.Status != "True" {
			out = append(out, result(Failure, "kubectl describe speaker "+s.Name, "the speaker of node %s is not ready: %s: %s", s.Name, c.Reason, c.Message))
		}
	}
	return out
}

// without names the nodes that have no Pod of the speaker.
func without(f Facts) string {
	if f.Pods == nil {
		return ""
	}
	var names []string
	for _, n := range f.Nodes {
		if !slices.ContainsFunc(f.Pods, func(p corev1.Pod) bool {
			return p.Spec.NodeName == n.Name && p.Labels["app.kubernetes.io/component"] == "speaker"
		}) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ": not on " + strings.Join(names[:min(len(names), 5)], ", ")
}

func gossipKeys(f Facts) []Result {
	if f.Gossip == nil {
		return nil // the controller makes it; or not seen, which is said
	}
	if len(f.Gossip.Data["keys"]) == 0 {
		return []Result{result(Failure, "The controller's leader fills it: see why it does not run.", "Secret %s/%s has no keys: the speakers wait for them", f.Namespace, f.Gossip.Name)}
	}
	for i, line := range strings.Split(string(f.Gossip.Data["keys"]), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if key, err := base64.StdEncoding.DecodeString(line); err != nil || len(key) != gossipKeySize {
			return []Result{result(Failure, fmt.Sprintf("Take the line out, or make a new key: kubectl -n %s delete secret %s (the controller fills it again, and the speakers go over to it).", f.Namespace, f.Gossip.Name),
				"Secret %s/%s, line %d of its keys can't be read (it is to be base64 of %d bytes): speakers go on with the keys they have, and those that start get none", f.Namespace, f.Gossip.Name, i+1, gossipKeySize)}
		}
	}
	return nil
}

// gossipKeySize is how many bytes a key has.
const gossipKeySize = 32
