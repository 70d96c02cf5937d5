package metallb

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// workload reads the settings of MetalLB's Deployment and DaemonSet.
func (c *converter) workload(object unstructured.Unstructured) {
	containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	ours := false
	for _, container := range mapsIn(any(containers)) {
		if !isMetalLB(container) {
			continue
		}
		ours = true
		for _, arg := range slices.Concat(textsIn(container["command"]), textsIn(container["args"])) {
			flag, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			switch flag {
			case "lb-class":
				if value != "" {
					c.set("--load-balancer-classes="+value, []any{value}, "loadBalancerClasses")
					c.set("--serve-unclassed-services=false", false, "serveUnclassedServices")
					c.note(Better, nameOf(object), "--lb-class", "several classes, and Services without one, can be served at once")
				}
			case "ignore-exclude-lb":
				if value == "" || value == "true" {
					c.set("--ignore-exclude-label", true, "speaker", "ignoreExcludeLabel")
				}
			}
		}
		for _, env := range mapsIn(container["env"]) {
			if mode := textOf(env["value"]); env["name"] == "METALLB_BGP_TYPE" && strings.HasPrefix(mode, "frr") {
				c.frr, c.frrK8s = true, strings.HasPrefix(mode, "frr-k8s")
			}
		}
	}
	if !ours {
		return
	}
	component := map[string]string{"Deployment": "controller", "DaemonSet": "speaker"}[object.GetKind()]
	pod, _, _ := unstructured.NestedMap(object.Object, "spec", "template", "spec")
	selector, _ := pod["nodeSelector"].(map[string]any)
	selector = maps.Clone(selector)
	delete(selector, "kubernetes.io/os")
	if len(selector) > 0 {
		c.set("", selector, component, "nodeSelector")
		c.note(Differs, nameOf(object), "nodeSelector", "set for the %s in the chart's values", component)
	}
}

// services looks at the Services that MetalLB serves: some of what they do must be allowed to them.
func (c *converter) services(all []unstructured.Unstructured) {
	type share struct {
		key     string
		address netip.Addr
	}
	namespaces := map[share]map[string]bool{}
	known := []string{v1beta1.AnnotationAddressPool, v1beta1.AnnotationLoadBalancerIPs, v1beta1.AnnotationAllowSharedIP, "clarion.dev/ip-allocated-from-pool"}
	for _, object := range all {
		if object.GetKind() != "Service" || object.GetAPIVersion() != "v1" {
			continue
		}
		name := "Service/" + object.GetNamespace() + "/" + object.GetName()
		key := ""
		for annotation, value := range object.GetAnnotations() {
			prefix, what, _ := strings.Cut(annotation, "/")
			switch {
			case prefix != "metallb.io" && prefix != "metallb.universe.tf":
			case "clarion.dev/"+what == v1beta1.AnnotationAllowSharedIP:
				key = value
			case !slices.Contains(known, "clarion.dev/"+what):
				c.note(Ineffective, name, annotation, "no annotation of MetalLB's: it does nothing, here as there")
			}
		}
		ingress, _, _ := unstructured.NestedSlice(object.Object, "status", "loadBalancer", "ingress")
		for _, entry := range mapsIn(any(ingress)) {
			address, err := netip.ParseAddr(textOf(entry["ip"]))
			if key == "" || err != nil {
				continue
			}
			s := share{key, address}
			if namespaces[s] == nil {
				namespaces[s] = map[string]bool{}
			}
			namespaces[s][object.GetNamespace()] = true
		}
	}
	shares := slices.SortedFunc(maps.Keys(namespaces), func(a, b share) int { return cmp.Or(a.address.Compare(b.address), cmp.Compare(a.key, b.key)) })
	for _, s := range shares {
		if len(namespaces[s]) < 2 {
			continue
		}
		for i := range c.Objects {
			pool := &c.Objects[i]
			if pool.GetKind() != "IPAddressPool" || !has(*pool, s.address) {
				continue
			}
			_ = unstructured.SetNestedField(pool.Object, string(v1beta1.SharingCluster), "spec", "sharing") // spec is a map
			c.note(Differs, nameOf(*pool), "sharing", "Cluster, because Services of the namespaces %s share %s; a new pool shares within a namespace alone",
				strings.Join(slices.Sorted(maps.Keys(namespaces[s])), ", "), s.address)
		}
	}
}

// has reports whether a pool has an address.
func has(pool unstructured.Unstructured, address netip.Addr) bool {
	entries, _, _ := unstructured.NestedStringSlice(pool.Object, "spec", "addresses")
	for _, entry := range entries {
		r, err := v1beta1.ParseAddressRange(entry)
		if err == nil && r.Contains(address) {
			return true
		}
	}
	return false
}

// textsIn returns the texts in a list.
func textsIn(list any) []string {
	var out []string
	entries, _ := list.([]any)
	for _, entry := range entries {
		out = append(out, textOf(entry))
	}
	return out
}

// Namespaces returns the namespaces that MetalLB is in, judged by its programs and objects, in order.
func Namespaces(objects []unstructured.Unstructured) []string {
	in := map[string]bool{}
	for _, object := range flatten(objects) {
		group, _, _ := strings.Cut(object.GetAPIVersion(), "/")
		ours := group == "metallb.io"
		if kind := object.GetKind(); kind == "Deployment" || kind == "DaemonSet" {
			containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
			ours = slices.ContainsFunc(mapsIn(any(containers)), isMetalLB)
		}
		if ours && object.GetNamespace() != "" {
			in[object.GetNamespace()] = true
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// isMetalLB reports whether a container runs a program of MetalLB's.
func isMetalLB(container map[string]any) bool {
	image := textOf(container["image"])
	return strings.Contains(image, "metallb/") || strings.Contains(image, "metallb-")
}
