package doctor

import (
	"net/netip"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/inspect"
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
		Gossip:       &corev1.Secret{Data: map[string][]byte{"keys": []byte(strings.Repeat("A", 43) + "=\n")}},

		Pods:              []corev1.Pod{speakerPod("a"), speakerPod("b")},
		MissingPolicies:   []string{},
		L2Advertisements:  []v1beta1.L2Advertisement{{ObjectMeta: metav1.ObjectMeta{Name: "all"}}},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{},
		Speakers:          []v1beta1.Speaker{{Status: v1beta1.SpeakerStatus{Network: &v1beta1.SpeakerNetwork{OnLink: []string{"192.0.2.0/24"}}}}},
		Hosts:             map[string]inspect.Host{"a": host(nil), "b": host(nil)},
	}
}

// speakerPod is a node's, and ready.
func speakerPod(node string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "clarion-speaker-" + node, Labels: map[string]string{"app.kubernetes.io/component": "speaker"}}, Spec: corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

// hears is a node's Speaker that does not hear others.
func hears(node string, missing ...string) v1beta1.Speaker {
	return v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: v1beta1.SpeakerStatus{Membership: &v1beta1.SpeakerMembership{Alive: 1, Expected: 2, Missing: missing}}}
}

// host is a node on a LAN and on a second network; change makes it another.
func host(change func(*inspect.Host)) inspect.Host {
	h := inspect.Host{OptmemMax: 131072, DefaultVia: []string{"eth0"}, Links: []inspect.Link{
		{Name: "eth0", Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, RPFilter: strict},
		{Name: "eth1", Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, RPFilter: 2},
	}}
	if change != nil {
		change(&h)
	}
	return h
}

// announces is a Service of which a speaker says something.
func announces(reason v1beta1.Reason, message string) corev1.Service {
	s := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	s.Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionAnnounced), Status: metav1.ConditionFalse, Reason: string(reason), Message: message}}
	return s
}

// crashed is a Pod whose last words are these.
func crashed(words string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "clarion-speaker-x"}, Spec: corev1.PodSpec{NodeName: "a"}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "started\n" + words + "\n"}}}}
	return p
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
		"Kubernetes is too old":  {func(f *Facts) { f.Server = &version.Info{Major: "1", Minor: "30+", GitVersion: "v1.30.2"} }, Failure, "v1.30.2", "Upgrade"},
		"no CRDs":                {func(f *Facts) { f.Resources = []string{} }, Failure, "none of Clarion's CRDs", "deploy/clarion.yaml"},
		"a CRD is missing":       {func(f *Facts) { f.Resources = kinds[1:] }, Failure, "ipaddresspools", "version that runs"},
		"nodes have one address": {func(f *Facts) { f.Nodes[0].Status.Addresses[0].Address = "192.0.2.2" }, Failure, "nodes a, b have one InternalIP, 192.0.2.2", "--node-ip"},
		"nodes have one address, and a speaker's Pod is yet to come": {func(f *Facts) {
			f.Nodes[0].Status.Addresses[0].Address, f.Pods = "192.0.2.2", []corev1.Pod{speakerPod("a")}
		}, Failure, "nodes a, b have one InternalIP, 192.0.2.2", "--node-ip"},
		"nodes have one IPv6 address, written differently": {func(f *Facts) {
			internal(&f.Nodes[0], "2001:db8::1")
			internal(&f.Nodes[1], "2001:db8:0::1")
		}, Failure, "nodes a, b have one InternalIP, 2001:db8::1", "--node-ip"},
		"a virtual address is beside a node's own": {func(f *Facts) {
			internal(&f.Nodes[0], "192.0.2.9")
			internal(&f.Nodes[1], "192.0.2.9")
		}, OK, "", ""},
		"a node's address is listed twice": {func(f *Facts) { internal(&f.Nodes[0], "192.0.2.1") }, OK, "", ""},
		"nodes have one address before there are speakers": {func(f *Facts) {
			f.Nodes[0].Status.Addresses[0].Address = "192.0.2.2"
			f.DaemonSets, f.Deployments, f.Pods = []appsv1.DaemonSet{}, []appsv1.Deployment{}, []corev1.Pod{}
		}, Warning, "nodes a, b have one InternalIP, 192.0.2.2: speakers there could not", "--node-ip"},
		"a node has no address":         {func(f *Facts) { f.Nodes[1].Status.Addresses[0].Type = corev1.NodeHostName }, Failure, "node b has no InternalIP", "--node-ip"},
		"CRDs of an older version":      {func(f *Facts) { f.UnknownFields = []string{"IPAddressPool.spec.quota"} }, Warning, "do not know IPAddressPool.spec.quota", "Apply the CRDs"},
		"Pod Security refuses the Pods": {func(f *Facts) { f.InstalledIn.Labels["pod-security.kubernetes.io/enforce"] = "baseline" }, Failure, "baseline", "kubectl label"},
		"Pod Security says nothing":     {func(f *Facts) { f.InstalledIn.Labels, f.DaemonSets = nil, []appsv1.DaemonSet{} }, Warning, "no Pod Security label", "kubectl label"},
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
		"a speaker is not ready":         {func(f *Facts) { f.DaemonSets[0].Status.NumberReady = 1 }, Failure, "1 of 2 speakers", "log"},
		"the DaemonSet leaves out nodes": {func(f *Facts) { f.DaemonSets[0].Status.DesiredNumberScheduled = 1 }, Warning, "1 of 2 nodes", "nodeSelector"},
		"no gossip keys":                 {func(f *Facts) { f.Gossip.Data = nil }, Failure, "has no keys", "leader"},
		"every node is excluded":         {func(f *Facts) { f.Nodes[0].Labels, f.Nodes[1].Labels = exclude, exclude }, Failure, "every node", "--ignore-exclude-label"},
		"a pool has the Pods' addresses": {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("10.244.0.0/16")} }, Failure, "10.244.0.0/24", "nothing in the cluster uses"},
		"a pool has cluster IPs":         {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("10.96.0.10")} }, Failure, "ServiceCIDR kubernetes", "nothing in the cluster uses"},
		"a pool has a node's address":    {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("192.0.2.0/24")} }, Warning, "node a", "never given out"},
		"a pool can't be read":           {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("192.0.2.9-192.0.2.1")} }, Failure, "can't be used", "describe"},
		"IPVS, and the kernel answers":   {func(f *Facts) { f.Hosts["b"] = host(func(h *inspect.Host) { h.IPVS = true }) }, Failure, "b: kube-proxy is in IPVS mode and arp_ignore of eth0 is 0", "strictARP"},
		"IPVS where the kernel is told not to": {func(f *Facts) {
			f.Hosts["b"] = host(func(h *inspect.Host) { h.IPVS, h.Links[0].ARPIgnore, h.Links[1].ARPIgnore = true, 1, 1 })
		}, OK, "", ""},
		"rp_filter drops what comes by another link": {func(f *Facts) { f.Hosts["a"] = host(func(h *inspect.Host) { h.Links[1].RPFilter = strict }) }, Warning, "rp_filter of eth1 is strict", "rp_filter=2"},
		"proxy ARP":           {func(f *Facts) { f.Hosts["a"] = host(func(h *inspect.Host) { h.Links[0].ProxyARP = true }) }, Warning, "proxy ARP is on on eth0", "proxy_arp=0"},
		"no room for filters": {func(f *Facts) { f.Hosts["a"] = host(func(h *inspect.Host) { h.OptmemMax = 4096 }) }, Warning, "optmem_max is 4096", "optmem_max=131072"},
		"another kernel answers": {func(f *Facts) {
			f.Services = []corev1.Service{announces(v1beta1.ReasonKubeProxyAnswersARP, "the kernel of …")}
		}, Failure, "default/web", "strictARP"},
		"a host has the address":    {func(f *Facts) { f.Services = []corev1.Service{announces(v1beta1.ReasonAddressConflict, "MAC 02:…")} }, Failure, "MAC 02", "proxy ARP"},
		"switches that inspect ARP": {func(f *Facts) { f.Speakers = append(f.Speakers, f.Speakers[0]) }, OK, "stand-ins are on", ""},
		"the capability is missing": {func(f *Facts) { f.Pods = []corev1.Pod{crashed("clarion-speaker: NET_RAW is missing")} }, Failure, "NET_RAW is missing", "runAsRoot"},
		"a port is taken": {func(f *Facts) {
			f.Pods = []corev1.Pod{crashed("listen tcp 127.0.0.1:7958: bind: address already in use")}
		}, Failure, "7958", "another"},
		"words that say nothing to us": {func(f *Facts) { f.Pods = []corev1.Pod{crashed("the moon is full")} }, Failure, "the moon is full", "logs clarion-speaker-x --previous"},
		"Pods are refused by an event": {func(f *Facts) {
			f.Refusals = map[string]string{"DaemonSet/clarion-speaker": `violates PodSecurity "restricted:latest"`}
			f.DaemonSets[0].Status.CurrentNumberScheduled = 1
		}, Failure, "restricted", "kubectl label"},
		"a port is somebody else's": {func(f *Facts) {
			d := daemonSet("monitoring", "exporter", "x", 2, 2, 2)
			d.Spec.Template.Spec.HostNetwork, d.Spec.Template.Spec.Containers[0].Ports = true, []corev1.ContainerPort{{ContainerPort: 7957}}
			f.DaemonSets = append(f.DaemonSets, d)
		}, Failure, "monitoring/exporter has port 7957", "another port"},
		"a right is missing":                     {func(f *Facts) { f.Lacking = []Lack{{What: "ServiceAccount x may not watch services"}} }, Failure, "may not watch services", "Apply the manifest"},
		"a right is missing that is seldom used": {func(f *Facts) { f.Lacking = []Lack{{What: "ServiceAccount x may not create events", Minor: true}} }, Warning, "may not create events", "Apply the manifest"},
		"a right is missing that this version needs, and the speakers are of another": {func(f *Facts) {
			f.Plugin, f.Lacking = "v2", []Lack{{What: "ServiceAccount x may not watch services"}}
			f.Speakers[0].Status.Version = "v1"
		}, Warning, "may not watch services", "this plugin's version, v2, and the speakers are of v1"},
		"a right is missing in the middle of an upgrade": {func(f *Facts) {
			f.Plugin, f.Lacking = "v2", []Lack{{What: "ServiceAccount x may not watch services"}}
			f.Speakers = append(f.Speakers, f.Speakers[0])
			f.Speakers[0].Status.Version, f.Speakers[1].Status.Version = "v1", "v2"
		}, Failure, "may not watch services", "Apply the manifest"},
		"a password may not be read, whatever the version": {func(f *Facts) {
			f.Plugin, f.Lacking = "v2", []Lack{{What: "ServiceAccount x may not watch secrets a/tor", Secret: "tor"}}
			f.Speakers[0].Status.Version = "v1"
		}, Failure, "secrets a/tor", "Secret clarion-system/tor"},
		"a password may not be read": {func(f *Facts) {
			f.Lacking = []Lack{{What: "ServiceAccount x may not watch secrets a/tor", Secret: "tor"}}
		}, Failure, "secrets a/tor", "Secret clarion-system/tor"},
		"an image can't be had": {func(f *Facts) {
			p := crashed("")
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off pulling image \"registry.example/clarion-speaker:v1\""}}}}
			f.Pods = append(f.Pods, p)
		}, Failure, "does not run: ImagePullBackOff: Back-off pulling image", "whether the registry can be reached"},
		"a taint keeps Pods off": {func(f *Facts) {
			p := speakerPod("")
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes are available: 2 node(s) had untolerated taint {dedicated: db}."}}
			f.Pods = append(f.Pods, p)
		}, Failure, "{dedicated: db}", "toleration"},
		"a pool is on no link": {func(f *Facts) { f.Pools = []v1beta1.IPAddressPool{pool("203.0.113.0/28")} }, Failure, "203.0.113.0-203.0.113.15", "by BGP"},
		"a pool on no link that is advertised by BGP, too": {func(f *Facts) {
			f.Pools, f.BGPAdvertisements = []v1beta1.IPAddressPool{pool("203.0.113.0/28")}, []v1beta1.BGPAdvertisement{{}}
		}, Warning, "no node is on a network", "by BGP"},
		"no advertisement covers a pool": {func(f *Facts) { f.L2Advertisements[0].Spec.IPAddressPools = []v1beta1.ObjectName{"other"} }, Failure, "no advertisement covers pool lan", "L2Advertisement"},
		"a typo in an annotation": {func(f *Facts) {
			s := announces(v1beta1.ReasonAnnounced, "")
			s.Annotations = map[string]string{"clarion.dev/adress-pool": "lan"}
			f.Services = []corev1.Service{s}
		}, Warning, "clarion.dev/adress-pool, which means nothing", "clarion.dev/address-pool"},
		"kubeadm's networks": {func(f *Facts) {
			f.KubeadmNetworking, f.Pools = networkingOf("198.18.0.0/16"), []v1beta1.IPAddressPool{pool("198.18.5.0/24", "192.0.2.128/25")}
		}, Failure, "198.18.0.0/16", "nothing in the cluster uses"},
		"cluster IPs where there are no ServiceCIDRs": {func(f *Facts) {
			f.ServiceCIDRs, f.Pools = nil, []v1beta1.IPAddressPool{pool("192.0.2.128/25")}
			f.Services = []corev1.Service{{Spec: corev1.ServiceSpec{ClusterIPs: []string{"192.0.2.200"}}}}
		}, Failure, "cluster IPs", "nothing in the cluster uses"},
		"the speakers ignore the label": {func(f *Facts) {
			f.Nodes[0].Labels, f.Nodes[1].Labels, f.IgnoreExcludeLabel = exclude, exclude, true
		}, OK, "told to ignore", ""},
		"Pods were refused, and are there by now": {func(f *Facts) {
			f.Refusals = map[string]string{"DaemonSet/clarion-speaker": "x", "ReplicaSet/clarion-controller-5d": "x"}
			f.Deployments[0].Status.Replicas = 2
		}, OK, "", ""},
		"the controller is scaled to none": {func(f *Facts) { none := int32(0); f.Deployments[0].Spec.Replicas = &none }, Failure, "scaled to none", "scale deployment clarion-controller --replicas=2"},
		"interfaces that no node has":      {func(f *Facts) { f.L2Advertisements[0].Spec.Interfaces = []v1beta1.InterfaceGlob{"eth7"} }, Failure, "names interfaces that no node has: eth7", "the nodes have eth0, eth1"},
		"kube-proxy is not healthy":        {func(f *Facts) { f.Hosts["b"] = host(func(h *inspect.Host) { h.ProxyFailing = true }) }, Warning, "b: kube-proxy answered", "kube-proxy-health"},
		"kube-proxy's health check is elsewhere": {func(f *Facts) {
			f.Hosts["b"] = host(func(h *inspect.Host) { h.ProxyUnseen = "127.0.0.1:10256" })
			f.DaemonSets = append(f.DaemonSets, daemonSet("kube-system", "kube-proxy", "registry.example/kube-proxy:v1.34.1", 2, 2, 2))
		}, Warning, "b: kube-proxy has not answered its health check at 127.0.0.1:10256", "--kube-proxy-health"},
		"nothing carries traffic": {func(f *Facts) { f.Hosts["b"] = host(func(h *inspect.Host) { h.ProxyUnseen = "127.0.0.1:10256" }) },
			Warning, "none is seen in the cluster", "is needed from the node on"},
		"Calico in kube-proxy's place": {func(f *Facts) {
			f.Hosts["b"] = host(func(h *inspect.Host) { h.ProxyUnseen = "127.0.0.1:10256" })
			f.DaemonSets = append(f.DaemonSets, daemonSet("kube-system", "calico-node", "registry.example/calico/node:v3", 2, 2, 2))
		}, OK, "Calico may carry Services' traffic in its place", ""},
		"a speaker has not come yet": {func(f *Facts) {
			f.Speakers = []v1beta1.Speaker{hears("a")}
		}, Warning, "the speaker of node a hears 1 of 2", "Look again"},
		"BFD is not up": {func(f *Facts) {
			s := hears("a")
			s.Status.Membership = nil
			s.Status.BGP = &v1beta1.SpeakerBGP{Sessions: []v1beta1.BGPSession{{Peer: "tor", State: v1beta1.BGPEstablished, LastError: "BFDNotUp: the session goes on without: no packet came"}}}
			f.Speakers = []v1beta1.Speaker{s}
		}, Warning, "BGPPeer tor, session with a: BFDNotUp", "Have the router run BFD"},
		"a Service is not announced": {func(f *Facts) {
			s := announces(v1beta1.ReasonNoEndpoint, "no endpoint")
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.129"}}
			f.Services = []corev1.Service{s}
		}, Warning, "1 Services have addresses that are not announced: NoEndpoint", "kubectl clarion explain service default/web"},
		"a key that is none": {func(f *Facts) { f.Gossip.Data["keys"] = []byte("\nsecret\n") }, Failure, "line 2 of its keys can't be read", "delete secret"},
		"a policy is gone":   {func(f *Facts) { f.MissingPolicies = []string{"ValidatingAdmissionPolicy clarion-speaker-services"} }, Warning, "clarion-speaker-services is not there", "Apply"},
		"speakers don't hear others": {func(f *Facts) {
			f.Speakers = []v1beta1.Speaker{hears("a", "b"), hears("b", "a")}
		}, Failure, "the speaker of node b runs and is not heard by a", "7956"},
		"a session is down": {func(f *Facts) {
			s := hears("a")
			s.Status.BGP = &v1beta1.SpeakerBGP{Sessions: []v1beta1.BGPSession{{Peer: "tor", State: v1beta1.BGPActive, LastError: "WrongPeerASN: the router is 65009"}, {Peer: "up", State: v1beta1.BGPEstablished}}}
			f.Speakers = []v1beta1.Speaker{s}
		}, Failure, "BGPPeer tor, no session with a: WrongPeerASN: the router is 65009", "Correct peerASN"},
		"an advertisement has no effect": {func(f *Facts) {
			f.L2Advertisements[0].Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionSelectsNothing), Status: metav1.ConditionTrue, Message: "has no effect"}}
		}, Warning, "L2Advertisement all: SelectsNothing: has no effect", "Correct the selector"},
		"an advertisement is not in force": {func(f *Facts) {
			f.L2Advertisements[0].Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionReady), Status: metav1.ConditionFalse, Reason: string(v1beta1.ReasonPoolNotFound), Message: "announces nothing"}}
		}, Failure, "announces nothing", "Create the IPAddressPool"},
		"a Community contradicts an older one": {func(f *Facts) {
			f.Communities = []v1beta1.Community{{ObjectMeta: metav1.ObjectMeta{Name: "young"}}}
			f.Communities[0].Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionOverruled), Status: metav1.ConditionTrue, Message: "older objects hold"}}
		}, Warning, "Community young: Overruled: older objects hold", "Make the values agree"},
		"a pool has the gateway's address": {func(f *Facts) {
			f.Pools[0].Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionAddressesSkipped), Status: metav1.ConditionTrue, Message: "192.0.2.129 is a gateway's"}}
		}, OK, "IPAddressPool lan: AddressesSkipped: 192.0.2.129 is a gateway's", ""},
		"a peer is a node itself": {func(f *Facts) {
			f.Peers = []v1beta1.BGPPeer{{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta1.BGPPeerSpec{PeerAddress: "192.0.2.2"}}}
			s := hears("a")
			s.Status.BGP = &v1beta1.SpeakerBGP{Sessions: []v1beta1.BGPSession{{Peer: "tor", State: v1beta1.BGPActive, LastError: "ConnectionRefused: nobody listens"}}}
			f.Speakers = []v1beta1.Speaker{s}
		}, Failure, "(192.0.2.2 is the address of node b itself)", "correct peerAddress"},
		"two installations": {func(f *Facts) {
			f.DaemonSets = append(f.DaemonSets, daemonSet("kube-system", "clarion-speaker", "localhost/clarion-speaker:v1", 2, 2, 2))
		}, Failure, "DaemonSet kube-system/clarion-speaker", "Uninstall one"},
		"no room on a node for the ports": {func(f *Facts) {
			p := speakerPod("")
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."}}
			f.Pods = append(f.Pods, p)
		}, Failure, "is on no node", "another port"},
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

func networkingOf(pods string) map[string]string {
	return map[string]string{"the Pods' network (kubeadm)": pods}
}

func unready() v1beta1.Speaker {
	s := v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	s.Status.Conditions = []metav1.Condition{{Type: string(v1beta1.ConditionReady), Status: metav1.ConditionFalse, Reason: "NoLink", Message: "eth0 is down"}}
	return s
}

// internal gives a node one more InternalIP.
func internal(n *corev1.Node, address string) {
	n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
}

func TestANodeWithoutASpeakerMayHaveAnyAddress(t *testing.T) {
	for name, addresses := range map[string][]corev1.NodeAddress{"another's": {{Type: corev1.NodeInternalIP, Address: "192.0.2.2"}}, "none": nil} {
		f := well()
		f.Nodes = append(f.Nodes, node("c", "", nil))
		f.Nodes[2].Status.Addresses = addresses // and the DaemonSet is to run on two nodes
		if got := nodeAddresses(f); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
		f.DaemonSets[0].Status.DesiredNumberScheduled = 3
		if got := nodeAddresses(f); Worst(got) != Failure {
			t.Errorf("%s, where it is to have one: %+v", name, got)
		}
		f.DaemonSets, f.Pods, f.Speakers = nil, nil, []v1beta1.Speaker{hears("b")} // which the caller may not read
		if got := nodeAddresses(f); Worst(got) != Warning {
			t.Errorf("%s, and it is not known: %+v", name, got)
		}
	}
}
