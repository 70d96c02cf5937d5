package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

// leastOptmem is the least net.core.optmem_max that the packet filters and multicast groups of the sockets are sure to fit into.
const leastOptmem = 8192

// hosts looks at the kernels' settings, as the speakers show them.
func hosts(f Facts) []Result {
	var out []Result
	if f.Hosts == nil {
		return notSeen("the nodes' kernels (the speakers tell, by port-forward)")
	}
	// Nodes are alike mostly: one line for each trouble, with the nodes that have it.
	troubles := map[Result][]string{}
	add := func(node string, r Result) { troubles[r] = append(troubles[r], node) }
	for _, node := range slices.Sorted(maps.Keys(f.Hosts)) {
		h := f.Hosts[node]
		for _, l := range h.Links {
			if !l.Up {
				continue
			}
			if h.IPVS && l.ARPIgnore == 0 {
				add(node, result(Failure, "Set ipvs.strictARP: true in kube-proxy's configuration and restart it, or net.ipv4.conf.all.arp_ignore=1 and arp_announce=2.",
					"kube-proxy is in IPVS mode and arp_ignore of %s is 0: the kernel answers ARP for every Service's address, whoever is to", l.Name))
			}
			if l.ProxyARP {
				add(node, result(Warning, fmt.Sprintf("sysctl net.ipv4.conf.%s.proxy_arp=0, unless something needs it.", l.Name),
					"proxy ARP is on on %s: the kernel answers for addresses that it has a route to by another interface, and so may answer for a Service's", l.Name))
			}
			if l.ProxyNDP {
				add(node, result(Warning, fmt.Sprintf("See that none is a pool's: ip -6 neigh show proxy dev %s.", l.Name), "proxy NDP is on on %s: the kernel answers for the addresses in its list", l.Name))
			}
			if l.RPFilter == strict && hasIPv4(l) && len(h.DefaultVia) > 0 && !slices.Contains(h.DefaultVia, l.Name) {
				add(node, result(Warning, fmt.Sprintf("sysctl net.ipv4.conf.%s.rp_filter=2 (and all.rp_filter not 1), or a route back by %s.", l.Name, l.Name),
					"rp_filter of %s is strict and the default route is by %s: requests that come by %s from other networks are dropped", l.Name, strings.Join(h.DefaultVia, ", "), l.Name))
			}
		}
		if h.ProxyFailing {
			add(node, result(Warning, "See the log of kube-proxy on the node; its health check is --kube-proxy-health (127.0.0.1:10256).",
				"kube-proxy answered its health check once, and does not say any more that it is healthy: the node announces nothing that others can"))
		}
		if h.OptmemMax > 0 && h.OptmemMax < leastOptmem {
			add(node, result(Warning, "sysctl net.core.optmem_max=131072.", "net.core.optmem_max is %d: the sockets that answer may not get the memory for their filters and groups", h.OptmemMax))
		}
	}
	if r, unseen := proxyUnseen(f); unseen {
		out = append(out, r)
	}
	for r, nodes := range troubles {
		where := strings.Join(nodes[:min(len(nodes), 3)], ", ")
		if len(nodes) > 3 {
			where += fmt.Sprintf(" and %d more nodes", len(nodes)-3)
		}
		r.Found = where + ": " + r.Found
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Found, b.Found) })
	for _, node := range slices.Sorted(maps.Keys(f.HostsUnseen)) {
		out = append(out, result(Unknown, "", "%v", f.HostsUnseen[node]))
	}
	return out
}

// replacements are programs that carry Services' traffic in kube-proxy's place, by their images.
var replacements = []provider{{"Cilium", "cilium/cilium"}, {"Calico", "calico/node"}, {"kube-router", "kube-router"}, {"Antrea", "antrea"}, {"OVN-Kubernetes", "ovn-kube"}}

// proxyUnseen tells that no kube-proxy was ever seen to be healthy: it is absent, or its health check is elsewhere.
func proxyUnseen(f Facts) (Result, bool) {
	var nodes []string
	where := ""
	for _, node := range slices.Sorted(maps.Keys(f.Hosts)) {
		if at := f.Hosts[node].ProxyUnseen; at != "" {
			nodes, where = append(nodes, node), at
		}
	}
	if len(nodes) == 0 {
		return Result{}, false
	}
	on := view.FirstFew(nodes)
	runs := func(image string) bool {
		return slices.ContainsFunc(f.DaemonSets, func(d appsv1.DaemonSet) bool {
			return slices.ContainsFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return strings.Contains(c.Image, image) })
		})
	}
	if runs("kube-proxy") {
		return result(Warning, "See kube-proxy's --healthz-bind-address, and run the speakers with --kube-proxy-health=ADDRESS:PORT of it, or with 0 for none.",
			"%s: kube-proxy has not answered its health check at %s since the speaker began: should it fail, the node goes on announcing", on, where), true
	}
	for _, r := range replacements {
		if runs(r.image) {
			return result(OK, "", "%s: no kube-proxy answers at %s; %s may carry Services' traffic in its place. If it does not, nothing does", on, where, r.name), true
		}
	}
	return result(Warning, "See what carries Services' traffic on the nodes: kube-proxy, or something in its place, is needed from the node on. If kube-proxy runs, give the speakers --kube-proxy-health=ADDRESS:PORT of its health check.",
		"%s: no kube-proxy answers at %s, and none is seen in the cluster", on, where), true
}

// strict is rp_filter's value for RFC 3704's strict mode.
const strict = 1

func hasIPv4(l inspect.Link) bool {
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() })
}

// onWire tells what the speakers have met on the wire, as they say on Services.
func onWire(f Facts) []Result {
	var out []Result
	for _, s := range f.Services {
		c := meta.FindStatusCondition(s.Status.Conditions, string(v1beta1.ConditionAnnounced))
		if c == nil {
			continue
		}
		name := s.Namespace + "/" + s.Name
		switch v1beta1.Reason(c.Reason) {
		case v1beta1.ReasonKubeProxyAnswersARP:
			out = append(out, result(Failure, "Set ipvs.strictARP: true in kube-proxy's configuration and restart it.", "Service %s: %s", name, c.Message))
		case v1beta1.ReasonAddressConflict:
			out = append(out, result(Failure, "Find the host by its MAC. If it is a router: it does proxy ARP for the pool's network, which is to be switched off there. Else give it another address, or exclude this one.",
				"Service %s: %s", name, c.Message))
		}
	}
	if len(f.Speakers) > 1 && !f.NoStandIn {
		out = append(out, result(OK, "", "stand-ins are on: where switches inspect ARP (DAI) or pin MACs to ports, run the speakers with --stand-in=false, as what they send with another node's MAC is dropped there; that can't be seen from here"))
	}
	return out
}

// onLink finds pools whose addresses no node could answer for at layer 2.
func onLink(f Facts) []Result {
	if f.L2Advertisements == nil || f.Speakers == nil {
		return notSeen("L2Advertisements and Speakers")
	}
	var networks []netip.Prefix
	told := 0
	for _, s := range f.Speakers {
		if s.Status.Network == nil {
			continue
		}
		told++
		for _, text := range s.Status.Network.OnLink {
			if p, err := netip.ParsePrefix(text); err == nil {
				networks = append(networks, p)
			}
		}
	}
	if told == 0 {
		return nil // there is no speaker yet
	}
	var out []Result
	for _, pool := range f.Pools {
		parsed, err := v1beta1.ParsePool(&pool.Spec)
		if err != nil {
			continue // told by another check
		}
		layer2, named, routed := false, false, false
		for _, ad := range f.L2Advertisements {
			if s, err := ad.Spec.Selection(); err == nil && s.Pool(pool.Name, pool.Labels) {
				layer2, named = true, named || len(ad.Spec.Interfaces) > 0
			}
		}
		for _, ad := range f.BGPAdvertisements {
			if s, err := ad.Spec.Selection(); err == nil && s.Pool(pool.Name, pool.Labels) {
				routed = true
			}
		}
		if !layer2 && !routed && f.BGPAdvertisements != nil {
			out = append(out, result(Failure, "Create an L2Advertisement or a BGPAdvertisement that covers it.", "no advertisement covers pool %s: its addresses are assigned and not announced", pool.Name))
		}
		if !layer2 || named {
			continue
		}
		var off []string
		for _, r := range parsed.Addresses {
			if !slices.ContainsFunc(networks, func(n netip.Prefix) bool { return netipx.RangeOfPrefix(n).Overlaps(r) }) {
				off = append(off, r.String())
			}
		}
		if len(off) > 0 {
			grade := Failure
			if routed {
				grade = Warning
			}
			out = append(out, result(grade, "Choose addresses of a network that the nodes are on; or advertise the pool by BGP; or name the interfaces to answer on in the L2Advertisement, and have the router send the addresses there.",
				"pool %s: no node is on a network that has %s, so nobody answers for them at layer 2", pool.Name, strings.Join(off[:min(len(off), 3)], ", ")))
		}
	}
	return append(out, noSuchInterface(f)...)
}

// noSuchInterface finds advertisements whose interfaces no node has.
func noSuchInterface(f Facts) []Result {
	if len(f.Hosts) == 0 {
		return nil
	}
	var out []Result
	for _, ad := range f.L2Advertisements {
		if len(ad.Spec.Interfaces) == 0 {
			continue
		}
		found := false
		have := map[string]bool{}
		for _, h := range f.Hosts {
			for _, l := range h.Links {
				have[l.Name] = true
				found = found || ad.Spec.MatchesInterface(l.Name)
			}
		}
		if !found {
			var names []string
			for _, name := range ad.Spec.Interfaces {
				names = append(names, string(name))
			}
			out = append(out, result(Failure, "Correct the names: the nodes have "+strings.Join(slices.Sorted(maps.Keys(have)), ", ")+". Without interfaces an address is answered where its network is.",
				"L2Advertisement %s names interfaces that no node has: %s", ad.Name, strings.Join(names, ", ")))
		}
	}
	return out
}

// misspelt tells of annotations that look like ours and are none: a typo.
func misspelt(f Facts) []Result {
	var out []Result
	for _, s := range f.Services {
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for name := range s.Annotations {
			if near := v1beta1.Misspelt(name); near != "" {
				out = append(out, result(Warning, "Write "+near+".", "Service %s/%s has the annotation %s, which means nothing", s.Namespace, s.Name, name))
			}
		}
	}
	slices.SortFunc(out, func(a, b Result) int { return strings.Compare(a.Found, b.Found) })
	return out
}

// silentServices sums up what Services with an address lack to be announced; what was met on the wire is told apart.
func silentServices(f Facts) []Result {
	return lacking(f, v1beta1.ConditionAnnounced, "%d Services have addresses that are not announced: %s", func(s *corev1.Service, c *metav1.Condition) bool {
		return c.Status != metav1.ConditionTrue && c.Reason != string(v1beta1.ReasonAddressConflict) && len(s.Status.LoadBalancer.Ingress) > 0
	})
}

// refusedServices sums up what Services lack.
func refusedServices(f Facts) []Result {
	return lacking(f, v1beta1.ConditionAddressAssigned, "%d Services have no address, or not the one they ask for: %s", func(_ *corev1.Service, c *metav1.Condition) bool {
		return c.Status == metav1.ConditionFalse
	})
}

// lacking counts the Services whose condition counts, by its reason, and gives the first of each by name as an example.
func lacking(f Facts, condition v1beta1.ConditionType, text string, counts func(*corev1.Service, *metav1.Condition) bool) []Result {
	count, example := map[string]int{}, map[string]string{}
	for i := range f.Services {
		s := &f.Services[i]
		c := meta.FindStatusCondition(s.Status.Conditions, string(condition))
		if c == nil || !counts(s, c) {
			continue
		}
		count[c.Reason]++
		if name := s.Namespace + "/" + s.Name; example[c.Reason] == "" || name < example[c.Reason] {
			example[c.Reason] = name
		}
	}
	var out []Result
	for _, reason := range slices.Sorted(maps.Keys(count)) {
		out = append(out, result(Warning, "kubectl clarion explain service "+example[reason], text, count[reason], reason))
	}
	return out
}
