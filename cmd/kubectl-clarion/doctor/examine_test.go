package doctor

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

const ours = "clarion-system"

func node(name, address string, labels map[string]string) corev1.Node {
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.0.0/24"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}}}
}

func daemonSet(namespace, name, image string, desired, current, ready int32) appsv1.DaemonSet {
	return appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:   appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}},
		Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: desired, CurrentNumberScheduled: current, NumberReady: ready}}
}

func pool(addresses ...v1beta1.AddressRange) v1beta1.IPAddressPool {
	return v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}
}

// well is a cluster in which nothing is wrong.
func well() Facts {
	two := int32(2)
	return Facts{
		Namespace: ours,
		Server:    &version.Info{Major: "1", Minor: "34", GitVersion: "v1.34.1"},
		Resources: kinds,
		Nodes:     []corev1.Node{node("a", "192.0.2.1", nil), node("b", "192.0.2.2", nil)},
		Services:  []corev1.Service{},
		Pools:     []v1beta1.IPAddressPool{pool("192.0.2.128/25")},
		Deployments: []appsv1.Deployment{{ObjectMeta: metav1.ObjectMeta{Namespace: ours, Name: "clarion-controller"}, Spec: appsv1.DeploymentSpec{Replicas: &two},
			Status: appsv1.DeploymentStatus{ReadyReplicas: 2}}},
		DaemonSets:   []appsv1.DaemonSet{daemonSet(ours, "clarion-speaker", "localhost/clarion-speaker:v1", 2, 2, 2)},
		ServiceCIDRs: []networkingv1.ServiceCIDR{{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12"}}}},
		InstalledIn:  &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ours, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}}},
		Gossip:       &corev1.Secret{Data: map[string][]byte{"keys": []byte("x")}},
	}
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	results := Examine(well())
	if Worst(results) != OK {
		t.Errorf("%+v", results)
	}
}

func TestWhatWasNotSeenIsNotCalledGood(t *testing.T) {
	if results := Examine(Facts{Namespace: ours, Unseen: []string{"you may not read nodes"}}); Worst(results) != Unknown {
		t.Errorf("%+v", results)
	}
}

func TestEachTroubleIsNamedWithItsRemedy(t *testing.T) {
	exclude := map[string]string{v1beta1.LabelExcludeNode: ""}
	for name, test := range map[string]struct {
		breaks    func(*Facts)
		grade     Grade
		found, do string
	}{
		"Kubernetes is too old":         {func(f *Facts) { f.Server = &version.Info{Major: "1", Minor: "30+", GitVersion: "v1.30.2"} }, Failure, "v1.30.2", "Upgrade"},
		"no CRDs":                       {func(f *Facts) { f.Resources = []string{} }, Failure, "none of Clarion's CRDs", "deploy/clarion.yaml"},
		"a CRD is missing":              {func(f *Facts) { f.Resources = kinds[1:] }, Failure, "ipaddresspools", "version that runs"},
		"Pod Security refuses the Pods": {func(f *Facts) { f.InstalledIn.Labels["pod-security.kubernetes.io/enforce"] = "baseline" }, Failure, "baseline", "kubectl label"},
		"Pod Security says nothing":     {func(f *Facts) { f.InstalledIn.Labels = nil }, Warning, "no Pod Security label", "kubectl label"},
		"MetalLB runs, too": {func(f *Facts) {
			f.DaemonSets = append(f.DaemonSets, daemonSet("metallb-system", "speaker", "quay.example/metallb/speaker:v1", 2, 2, 2))
		}, Warning, "MetalLB runs here too (DaemonSet metallb-system/speaker)", "--serve-unclassed-services=false"},
		"IPVS without strictARP": {func(f *Facts) {
			f.KubeProxy = &corev1.ConfigMap{Data: map[string]string{"config.conf": "mode: ipvs\nipvs: {strictARP: false}\n"}}
		}, Failure, "every node answers ARP", "strictARP: true"},
		"no controller":               {func(f *Facts) { f.Deployments = []appsv1.Deployment{} }, Warning, "no Deployment clarion-controller", "Install"},
		"the controller is not ready": {func(f *Facts) { f.Deployments[0].Status.ReadyReplicas = 0 }, Failure, "no Service gets an address", "describe"},
		"one replica alone":           {func(f *Facts) { one := int32(1); f.Deployments[0].Spec.Replicas = &one }, Warning, "one replica", "two replicas"},
		"Pods of speakers are refused": {func(f *Facts) {
			f.DaemonSets[0].Status.CurrentNumberScheduled = 0
		}, Failure, "Pods on 0 of 2", "events of the DaemonSet"},
		"a speaker is not ready":            {func(f *Facts) { f.DaemonSets[0].Status.NumberReady = 1 }, Failure, "1 of 2 speakers", "log"},
		"the DaemonSet leaves out nodes":    {func(f *Facts) { f.DaemonSets[0].Status.DesiredNumberScheduled = 1 }, Warning, "1 of 2 nodes", "nodeSelector"},
		"no gossip keys":                    {func(f *Facts) { f.Gossip.Data = nil }, Failure, "has no keys", "leader"},
		"every node is excluded":            {func(f *Facts) { f.Nodes[0].Labels, f.Nodes[1].Labels = exclude, exclude }, Failure, "every node", "--ignore-exclude-label"},
		"a pool has the Pods' addresses":    {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("10.244.0.0/16")} }, Failure, "10.244.0.0/24", "nothing in the cluster uses"},
		"a pool has cluster IPs":            {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("10.96.0.10")} }, Failure, "ServiceCIDR kubernetes", "nothing in the cluster uses"},
		"a pool has a node's address":       {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("192.0.2.0/24")} }, Warning, "node a", "never given out"},
		"a pool can't be read":              {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("192.0.2.9-192.0.2.1")} }, Failure, "can't be used", "describe"},
		"the speaker says why it can't run": {func(f *Facts) { f.Speakers = []v1beta1.Speaker{unready()} }, Failure, "NoLink: eth0 is down", "describe speaker a"},
	} {
		t.Run(name, func(t *testing.T) {
			f := well()
			test.breaks(&f)
			results := Examine(f)
			if Worst(results) != test.grade {
				t.Errorf("worst is %s, want %s", Worst(results), test.grade)
			}
			for _, r := range results {
				if r.Grade == test.grade && strings.Contains(r.Found, test.found) && strings.Contains(r.Do, test.do) {
					return
				}
			}
			t.Errorf("no %q with %q in %+v", test.found, test.do, results)
		})
	}
}

func unready() v1beta1.Speaker {
	s := v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	s.Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionReady), Status: metav1.ConditionFalse, Reason: "NoLink", Message: "eth0 is down"}}
	return s
}
