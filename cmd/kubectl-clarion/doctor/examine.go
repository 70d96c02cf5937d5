package doctor

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

// Facts are what was seen of a cluster. What is nil was not seen.
type Facts struct {
	// Namespace is Clarion's own, whether it exists or not.
	Namespace string
	Server    *version.Info
	// Plugin is the version of the caller, which knows what rights Clarion's programs of that version need.
	Plugin string
	// Resources are the names of clarion.dev's resources that the API server knows; nil when it was not asked.
	Resources []string
	// UnknownFields are those that the plugin knows and the CRDs do not.
	UnknownFields []string
	Nodes         []corev1.Node
	Services      []corev1.Service
	Pools         []v1beta1.IPAddressPool
	Speakers      []v1beta1.Speaker
	// Deployments and DaemonSets of all namespaces.
	Deployments []appsv1.Deployment
	DaemonSets  []appsv1.DaemonSet
	// ServiceCIDRs are the cluster's ranges of cluster IPs.
	ServiceCIDRs []networkingv1.ServiceCIDR
	// InstalledIn is the namespace object that Clarion is in; nil when there is none, or it was not seen.
	InstalledIn *corev1.Namespace
	// KubeProxy is kube-proxy's configuration where kubeadm puts it; nil when there is none, or it was not seen.
	KubeProxy *corev1.ConfigMap
	// Gossip is the Secret with the gossip keys, of which only the presence of data is looked at.
	Gossip *corev1.Secret
	// Pods are those in Namespace, and Refusals what the events there say of Pods that were refused, by the workload's kind and name.
	Pods     []corev1.Pod
	Refusals map[string]string
	// Lacking are rights that Clarion's ServiceAccounts, or its BGP sessions, need and lack.
	Lacking           []Lack
	L2Advertisements  []v1beta1.L2Advertisement
	BGPAdvertisements []v1beta1.BGPAdvertisement
	Peers             []v1beta1.BGPPeer
	BFDProfiles       []v1beta1.BFDProfile
	Communities       []v1beta1.Community
	// MissingPolicies are the admission policies and bindings of Clarion's that are not there, in words; nil when they were not looked for.
	MissingPolicies []string
	// Hosts are the nodes' kernels as the speakers show them, and HostsUnseen why some did not.
	Hosts       map[string]inspect.Host
	HostsUnseen map[string]error
	// NoStandIn and IgnoreExcludeLabel are the speakers' flags of these names.
	NoStandIn, IgnoreExcludeLabel bool
	// KubeadmNetworking is what kubeadm was told of Pods' and Services' networks, by what they are; nil where that is not known.
	KubeadmNetworking map[string]string
	// Unseen are things that the caller may not read.
	Unseen []string
}

// A Lack is a right that is missing, or what it is to be had on.
type Lack struct {
	// What it is, in words.
	What string
	// Secret is the name of the one with a password that it is about.
	Secret string
	// Minor is whether Clarion does without, as long as all is well besides.
	Minor bool
}

// A Grade is how bad something is.
type Grade string

// The grades.
const (
	// OK: nothing to do.
	OK Grade = "ok"
	// Warning: it works, or will until something happens.
	Warning Grade = "warning"
	// Failure: it does not work, for some Services at least.
	Failure Grade = "failure"
	// Unknown: it was not looked at.
	Unknown Grade = "unknown"
)

// A Result is what a check came to.
type Result struct {
	// Check is its name.
	Check string `json:"check"`
	Grade Grade  `json:"grade"`
	// Found is what was seen.
	Found string `json:"found"`
	// Do is what to do about it.
	Do string `json:"do"`
}

type check struct {
	name string
	run  func(Facts) []Result
}

// Examine runs all checks.
func Examine(f Facts) []Result {
	var all []Result
	for _, c := range []check{
		{"Kubernetes version", kubernetesVersion},
		{"CRDs", resources},
		{"Pod Security", podSecurity},
		{"RBAC", rights},
		{"admission policies", policies},
		{"other load balancers", otherProviders},
		{"kube-proxy", kubeProxy},
		{"controller", controller},
		{"speakers", speakers},
		{"Pods", func(f Facts) []Result { return append(refused(f), failing(f)...) }},
		{"ports of the nodes", ports},
		{"gossip keys", gossipKeys},
		{"nodes' addresses", nodeAddresses},
		{"between speakers", hearing},
		{"BGP sessions", sessions},
		{"nodes that may announce", excluded},
		{"nodes' kernels", hosts},
		{"on the wire", onWire},
		{"pools and the cluster's own networks", overlaps},
		{"pools and advertisements", onLink},
		{"Clarion's objects", ownObjects},
		{"Services", func(f Facts) []Result { return append(refusedServices(f), silentServices(f)...) }},
		{"annotations", misspelt},
		{"NodePorts", nodePorts},
	} {
		results := c.run(f)
		if len(results) == 0 {
			results = []Result{{Grade: OK}}
		}
		for _, r := range results {
			r.Check = c.name
			all = append(all, r)
		}
	}
	for _, u := range f.Unseen {
		all = append(all, Result{Check: "your rights", Grade: Unknown, Found: u})
	}
	return all
}

// Worst returns the worst grade among results. What is unknown is better than what is wrong.
func Worst(results []Result) Grade {
	worst := OK
	rank := map[Grade]int{OK: 0, Unknown: 1, Warning: 2, Failure: 3}
	for _, r := range results {
		if rank[r.Grade] > rank[worst] {
			worst = r.Grade
		}
	}
	return worst
}

func result(grade Grade, do string, found string, args ...any) Result {
	return Result{Grade: grade, Do: do, Found: fmt.Sprintf(found, args...)}
}

func notSeen(what string) []Result {
	return []Result{result(Unknown, "", "%s could not be looked at", what)}
}
