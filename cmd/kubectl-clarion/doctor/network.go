package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// provider is another program that serves Services of type LoadBalancer.
type provider struct {
	name, image string
}

var providers = []provider{
	{"MetalLB", "metallb/"}, {"kube-vip", "kube-vip"}, {"PureLB", "purelb"}, {"OpenELB", "openelb"}, {"LoxiLB", "loxilb"},
	{"K3s' ServiceLB (klipper-lb)", "klipper-lb"}, {"Cilium (if its LB IPAM is in use)", "cilium/cilium"},
}

func otherProviders(f Facts) []Result {
	if f.Deployments == nil || f.DaemonSets == nil {
		return notSeen("other programs")
	}
	found := map[string]string{}
	var twice []string
	look := func(kind, namespace, name string, pod corev1.PodSpec) {
		for _, c := range pod.Containers {
			if namespace != f.Namespace && (strings.Contains(c.Image, "clarion-controller") || strings.Contains(c.Image, "clarion-speaker")) {
				twice = append(twice, kind+" "+namespace+"/"+name)
			}
			for _, p := range providers {
				if strings.Contains(c.Image, p.image) && found[p.name] == "" {
					found[p.name] = kind + " " + namespace + "/" + name
				}
			}
		}
	}
	for _, d := range f.Deployments {
		look("Deployment", d.Namespace, d.Name, d.Spec.Template.Spec)
	}
	for _, d := range f.DaemonSets {
		look("DaemonSet", d.Namespace, d.Name, d.Spec.Template.Spec)
	}
	var out []Result
	if len(twice) > 0 {
		out = append(out, result(Failure, "Uninstall one of them, or look at the other with --clarion-namespace. Two controllers assign the same addresses twice.",
			"Clarion is installed in another namespace than %s, too: %s", f.Namespace, strings.Join(twice, ", ")))
	}
	for _, p := range providers {
		if where := found[p.name]; where != "" {
			out = append(out, result(Warning, "Have one of them serve only Services of its class: Clarion with --serve-unclassed-services=false, or see docs/how-to/switch-from-metallb.md.",
				"%s runs here too (%s): both may want to serve the same Services", p.name, where))
		}
	}
	return out
}

// kubeProxyConfig is what concerns us of kube-proxy's configuration.
type kubeProxyConfig struct {
	Mode string `json:"mode"`
	IPVS struct {
		StrictARP bool `json:"strictARP"`
	} `json:"ipvs"`
}

func kubeProxy(f Facts) []Result {
	if f.KubeProxy == nil {
		return nil // many clusters have it elsewhere, or not at all
	}
	var c kubeProxyConfig
	if err := yaml.Unmarshal([]byte(f.KubeProxy.Data["config.conf"]), &c); err != nil {
		return notSeen("kube-proxy's configuration")
	}
	if c.Mode == "ipvs" && !c.IPVS.StrictARP {
		return []Result{result(Failure, "Set ipvs.strictARP: true in ConfigMap kube-system/kube-proxy and restart kube-proxy.",
			"kube-proxy in IPVS mode without strictARP: every node answers ARP for every address")}
	}
	return nil
}

func excluded(f Facts) []Result {
	if len(f.Nodes) == 0 {
		return notSeen("nodes")
	}
	n := 0
	for _, node := range f.Nodes {
		if _, has := node.Labels[v1beta1.LabelExcludeNode]; has {
			n++
		}
	}
	if f.IgnoreExcludeLabel && n > 0 {
		return []Result{result(OK, "", "%d of %d nodes have the label that excludes, which the speakers are told to ignore", n, len(f.Nodes))}
	}
	switch n {
	case 0:
		return nil
	case len(f.Nodes):
		return []Result{result(Failure, "Take the label off the nodes that are to announce, or run the speakers with --ignore-exclude-label (chart: speaker.ignoreExcludeLabel).",
			"every node has the label %s, as kubeadm and Talos put it on control-plane nodes: nothing is announced", v1beta1.LabelExcludeNode)}
	}
	return []Result{result(OK, "", "%d of %d nodes are excluded by label", n, len(f.Nodes))}
}

// network is one of the cluster's own.
type network struct {
	what   string
	prefix netip.Prefix
}

func networks(f Facts) []network {
	var out []network
	add := func(what, cidr string) {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			out = append(out, network{what, p.Masked()})
		}
	}
	for _, n := range f.Nodes {
		for _, cidr := range n.Spec.PodCIDRs {
			add("the Pods of node "+n.Name, cidr)
		}
		for _, a := range n.Status.Addresses {
			if ip, err := netip.ParseAddr(a.Address); err == nil {
				out = append(out, network{fmt.Sprintf("node %s (%s)", n.Name, a.Type), netip.PrefixFrom(ip, ip.BitLen())})
			}
		}
	}
	for what, cidrs := range f.KubeadmNetworking {
		for _, cidr := range strings.Split(cidrs, ",") {
			add(what, strings.TrimSpace(cidr))
		}
	}
	if len(f.ServiceCIDRs) == 0 { // which API servers before 1.33 do not have
		for _, s := range f.Services {
			for _, ip := range s.Spec.ClusterIPs {
				if a, err := netip.ParseAddr(ip); err == nil {
					out = append(out, network{"cluster IPs", netip.PrefixFrom(a, a.BitLen())})
				}
			}
		}
	}
	for _, s := range f.ServiceCIDRs {
		for _, cidr := range s.Spec.CIDRs {
			add("cluster IPs (ServiceCIDR "+s.Name+")", cidr)
		}
	}
	return out
}

func overlaps(f Facts) []Result {
	var out []Result
	own := networks(f)
	slices.SortStableFunc(own, func(a, b network) int { return strings.Compare(a.what, b.what) })
	for _, pool := range f.Pools {
		parsed, err := v1beta1.ParsePool(&pool.Spec)
		if err != nil {
			out = append(out, result(Failure, "kubectl describe ipap "+pool.Name, "pool %s can't be used: %v", pool.Name, err))
			continue
		}
		var told []string
		for _, n := range own {
			r := netipx.RangeOfPrefix(n.prefix)
			if slices.Contains(told, n.what) || !slices.ContainsFunc(parsed.Addresses, func(a netipx.IPRange) bool { return a.Overlaps(r) }) {
				continue
			}
			told = append(told, n.what)
			grade, do := Failure, "Choose addresses that nothing in the cluster uses."
			if n.prefix.IsSingleIP() && n.what != "cluster IPs" {
				grade, do = Warning, "Nothing must be done: the address is never given out. Excluding it (excludeAddresses) says so to readers."
			}
			out = append(out, result(grade, do, "pool %s overlaps %s, %s", pool.Name, n.prefix, n.what))
		}
	}
	return out
}

// manyServices is about how many Services fit into the default range of NodePorts.
const manyServices = 2500

func nodePorts(f Facts) []Result {
	n := 0
	for _, s := range f.Services {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer && (s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts) {
			n += len(s.Spec.Ports)
		}
	}
	if n < manyServices {
		return nil
	}
	return []Result{result(Warning, "Set allocateLoadBalancerNodePorts: false on Services: Clarion needs no NodePorts.", "LoadBalancer Services take %d of the 2,768 NodePorts that there are by default", n)}
}
