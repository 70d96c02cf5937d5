package metallb

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// Options say where things go.
type Options struct {
	// Namespace that Clarion is installed in. Secrets with BGP passwords go there.
	Namespace string
}

const group = "metallb.io"

// Convert says in Clarion's objects what objects of a cluster with MetalLB mean. Those that have nothing to do with MetalLB are passed
// over. The result does not depend on their order, and the arguments are left as they are.
func Convert(objects []unstructured.Unstructured, o Options) Result {
	c := converter{Options: o}
	all := flatten(objects)
	slices.SortStableFunc(all, func(a, b unstructured.Unstructured) int {
		return strings.Compare(a.GetKind()+"/"+a.GetNamespace()+"/"+a.GetName(), b.GetKind()+"/"+b.GetNamespace()+"/"+b.GetName())
	})
	// What the programs' flags say decides how the rest is meant.
	for _, object := range all {
		switch object.GetKind() {
		case "Deployment", "DaemonSet":
			c.workload(object)
		}
	}
	for _, object := range all {
		apiGroup, _, _ := strings.Cut(object.GetAPIVersion(), "/")
		kind := object.GetKind()
		if apiGroup == group {
			if strings.HasSuffix(kind, "Status") || strings.HasSuffix(kind, "State") {
				continue // they say what is, not what is wanted
			}
			c.shape(object)
		}
		switch {
		case apiGroup == group && kind == "IPAddressPool":
			c.pool(object)
		case apiGroup == group && kind == "AddressPool":
			c.oldPool(object)
		case apiGroup == group && kind == "L2Advertisement":
			c.add(kind, &object, c.same(object, kind))
		case apiGroup == group && kind == "BGPAdvertisement":
			c.bgpAdvertisement(object)
		case apiGroup == group && kind == "BGPPeer":
			c.peer(object)
		case apiGroup == group && kind == "BFDProfile":
			c.bfdProfile(object)
		case apiGroup == group && kind == "Community":
			c.community(object)
		case apiGroup == group && kind == "MetalLB":
			c.note(Todo, nameOf(object), "", "settings of MetalLB's operator: what they set on the Pods is read from its Deployment and DaemonSet; set the like in the chart's values")
		case apiGroup == group:
			c.note(Unsupported, nameOf(object), "", "not a kind of MetalLB's that this version of Clarion knows; it was left out")
		case apiGroup == "frrk8s.metallb.io" && kind == "FRRConfiguration":
			if !strings.HasPrefix(object.GetName(), "metallb-") { // those MetalLB writes itself
				c.note(Unsupported, nameOf(object), "", "Clarion speaks BGP itself and runs no FRR: write its neighbours as BGPPeers; routes that it receives or injects need an FRR of your own beside Clarion")
			}
		case kind == "ConfigMap":
			c.configMap(object)
		}
	}
	c.services(all)
	c.unannounced()
	c.grant()
	c.twice()
	c.sort()
	return c.Result
}

type converter struct {
	Options
	Result
	frr    bool // MetalLB's BGP is FRR's
	frrK8s bool // which frr-k8s configures
	// passwords are the names of the Secrets with passwords.
	passwords []any
}

// flatten takes lists apart.
func flatten(objects []unstructured.Unstructured) []unstructured.Unstructured {
	var all []unstructured.Unstructured
	for _, object := range objects {
		if !object.IsList() {
			all = append(all, *object.DeepCopy())
			continue
		}
		list, err := object.ToList()
		if err != nil {
			continue // a list without items
		}
		for i := range list.Items {
			// Items of a kind's own list need not say what they are.
			if kind, typed := strings.CutSuffix(object.GetKind(), "List"); list.Items[i].GetKind() == "" && typed && kind != "" {
				list.Items[i].SetKind(kind)
				list.Items[i].SetAPIVersion(object.GetAPIVersion())
			}
		}
		all = append(all, flatten(list.Items)...)
	}
	return all
}

func nameOf(object unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetName()
}

// shape notes what no API server would have taken, for files are written by hand.
func (c *converter) shape(object unstructured.Unstructured) {
	if object.GetName() == "" {
		c.note(Todo, nameOf(object), "metadata.name", "it has none: give it one")
	}
	if spec := object.Object["spec"]; spec != nil {
		if _, is := spec.(map[string]any); !is {
			c.note(Unsupported, nameOf(object), "spec", "it is no object: nothing of it was taken")
		}
	}
}

// twice leaves out what was given twice, and notes different objects of one name, which were in two namespaces or files: of those kubectl
// apply would keep the last.
func (c *converter) twice() {
	var once []unstructured.Unstructured
	for _, object := range c.Objects {
		i := slices.IndexFunc(once, func(o unstructured.Unstructured) bool { return nameOf(o) == nameOf(object) })
		switch {
		case i < 0:
			once = append(once, object)
		case !reflect.DeepEqual(once[i].Object, object.Object):
			once = append(once, object)
			c.note(Todo, nameOf(object), "metadata.name", "there are several of that name, of which the last would hold: Clarion's objects are in no namespace; give each a name of its own, here and where it is named")
		}
	}
	c.Objects = once
}

// same returns what of an object's spec stays as it is, and notes what of the rest is dropped or unknown. Fields whose fate is Renamed,
// and those that differ in form, are its callers' to write.
func (c *converter) same(object unstructured.Unstructured, kind string) map[string]any {
	spec, _, _ := unstructured.NestedMap(object.Object, "spec")
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(spec)) {
		value := spec[name]
		if isEmpty(value) {
			continue
		}
		field := fateOf(kind, name)
		switch {
		case field == nil && strings.HasPrefix(kind+"."+name, "IPAddressPool.serviceAllocation"):
			out[name] = value
		case field == nil:
			c.note(Unsupported, nameOf(object), name, "not a field of MetalLB's that this version of Clarion knows; it was left out")
		case field.Fate == Dropped:
			c.note(Differs, nameOf(object), name, "left out: %s", field.Why)
		case field.Fate != Renamed:
			out[name] = value
		}
	}
	return out
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func (c *converter) pool(object unstructured.Unstructured) {
	spec := c.same(object, "IPAddressPool")
	spec["addresses"] = c.addresses(nameOf(object), spec["addresses"])
	if allocation, ok := spec["serviceAllocation"].(map[string]any); ok {
		for _, list := range []string{"namespaces", "namespaceSelectors", "serviceSelectors"} {
			if isEmpty(allocation[list]) {
				delete(allocation, list)
			}
		}
	}
	c.add("IPAddressPool", &object, spec)
}

// addresses writes networks as Clarion wants them.
func (c *converter) addresses(object string, value any) []any {
	list, is := value.([]any)
	if !is && value != nil {
		c.note(Unsupported, object, "addresses", "%v is no list, and was left out: write a list", value)
	}
	out := []any{}
	for _, entry := range list {
		s, ok := entry.(string)
		if !ok {
			c.note(Unsupported, object, "addresses", "%v is no text, and was left out", entry)
			continue
		}
		s = strings.TrimSpace(s)
		if prefix, err := netip.ParsePrefix(s); err == nil && prefix != prefix.Masked() {
			c.note(Differs, object, "addresses", "%s is written as the network that MetalLB took it for, %s", s, prefix.Masked())
			s = prefix.Masked().String()
		}
		if _, err := v1beta1.ParseAddressRange(s); err != nil {
			c.note(Todo, object, "addresses", "%s: correct it, or the pool can't be used", err)
		}
		if !slices.Contains(out, any(s)) {
			out = append(out, s)
		}
	}
	return out
}

func (c *converter) bgpAdvertisement(object unstructured.Unstructured) {
	spec := c.same(object, "BGPAdvertisement")
	if n, ok := number(spec["localPref"]); ok && n == 0 {
		delete(spec, "localPref") // which is none
	}
	c.add("BGPAdvertisement", &object, spec)
}

func (c *converter) bfdProfile(object unstructured.Unstructured) {
	spec := c.same(object, "BFDProfile")
	if echo, _ := spec["echoMode"].(bool); !echo && spec["echoInterval"] != nil {
		delete(spec, "echoInterval")
	}
	c.add("BFDProfile", &object, spec)
}

var wellKnown = []string{"no-export", "no-advertise", "no-export-subconfed", "no-peer", "graceful-shutdown", "accept-own", "llgr-stale", "no-llgr", "blackhole"}

func (c *converter) community(object unstructured.Unstructured) {
	spec := c.same(object, "Community")
	list, _ := spec["communities"].([]any)
	list = slices.DeleteFunc(list, func(entry any) bool {
		alias, _ := entry.(map[string]any)
		name, _ := alias["name"].(string)
		if slices.Contains(wellKnown, name) {
			c.note(Differs, nameOf(object), "communities", "%s is well known and needs no Community; it always means what the standard says (here it was %v)", name, alias["value"])
			return true
		}
		return false
	})
	if len(list) > 0 {
		spec["communities"] = list
		c.add("Community", &object, spec)
	}
}

func (c *converter) peer(object unstructured.Unstructured) {
	name := nameOf(object)
	spec := c.same(object, "BGPPeer")
	old, _, _ := unstructured.NestedMap(object.Object, "spec")
	for _, field := range []string{"holdTime", "keepaliveTime", "connectTime"} {
		c.seconds(name, field, spec)
	}
	if spec["holdTime"] == nil && spec["keepaliveTime"] == nil && c.frr {
		c.note(Differs, name, "holdTime", "not set: 180s in MetalLB with FRR, 90s here")
	}
	for _, zero := range []string{"peerPort", "peerASN", "localASN"} {
		if n, ok := number(spec[zero]); ok && n == 0 {
			delete(spec, zero)
		}
	}
	if id, _ := spec["routerID"].(string); id == "0.0.0.0" {
		delete(spec, "routerID")
	}
	if dual, _ := old["dualStackAddressFamily"].(bool); dual {
		spec["families"] = []any{"IPv4", "IPv6"}
	}
	if password, _ := old["password"].(string); password != "" {
		secret := "bgp-" + object.GetName()
		c.secret(secret, password)
		c.passwords = append(c.passwords, secret)
		spec["passwordSecret"] = map[string]any{"name": secret}
		c.note(Differs, name, "password", "it stands in Secret %s now, which is among the objects", secret)
	} else if reference, ok := spec["passwordSecret"].(map[string]any); ok {
		secret, _ := reference["name"].(string)
		if secret == "" {
			delete(spec, "passwordSecret")
		} else {
			from, _ := reference["namespace"].(string)
			if from == "" {
				from = object.GetNamespace()
			}
			spec["passwordSecret"] = map[string]any{"name": secret}
			c.passwords = append(c.passwords, secret)
			c.note(Todo, name, "passwordSecret", "Secrets are read in Clarion's namespace: copy %s from %s to %s", secret, orElse(from, "MetalLB's namespace"), c.Namespace)
		}
	}
	for field, effect := range map[string]string{"sourceAddress": "sessions start from it", "localASN": "the router sees it"} {
		if spec[field] != nil && c.frrK8s {
			c.note(Ineffective, name, field, "MetalLB in its frr-k8s mode ignores it; here %s", effect)
		}
	}
	c.add("BGPPeer", &object, spec)
}

// seconds writes a duration in whole seconds, as BGP counts.
func (c *converter) seconds(object, field string, spec map[string]any) {
	s, ok := spec[field].(string)
	if !ok {
		return
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return // the API server will say so
	}
	if whole := d.Truncate(time.Second); whole != d {
		c.note(Differs, object, field, "%s is written as %s: BGP counts whole seconds", s, whole)
		d = whole
	}
	if d == 0 && field == "connectTime" {
		delete(spec, field)
		return
	}
	spec[field] = wholeSeconds(d)
}

func (c *converter) secret(name, password string) {
	secret := unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
		"stringData": map[string]any{"password": password}}}
	secret.SetName(name)
	secret.SetNamespace(c.Namespace)
	c.Objects = append(c.Objects, secret)
}

// grant lets the speakers read the passwords, by name: the manifest binds them to this role.
func (c *converter) grant() {
	if len(c.passwords) == 0 {
		return
	}
	slices.SortFunc(c.passwords, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	role := unstructured.Unstructured{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
		"rules": []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"secrets"}, "resourceNames": slices.Compact(c.passwords),
			"verbs": []any{"get", "list", "watch"}}}}}
	role.SetName("clarion-speaker-passwords")
	role.SetNamespace(c.Namespace)
	c.Objects = append(c.Objects, role)
}

// unannounced tells which pools have addresses that nobody announces, which is easily overlooked in MetalLB.
func (c *converter) unannounced() {
	covered, everything := map[string]bool{}, false
	for _, object := range c.Objects {
		if kind := object.GetKind(); kind != "L2Advertisement" && kind != "BGPAdvertisement" {
			continue
		}
		names, _, _ := unstructured.NestedStringSlice(object.Object, "spec", "ipAddressPools")
		_, selects, _ := unstructured.NestedSlice(object.Object, "spec", "ipAddressPoolSelectors")
		everything = everything || selects || len(names) == 0 // what selectors select is the cluster's to say
		for _, name := range names {
			covered[name] = true
		}
	}
	for _, object := range c.Objects {
		if object.GetKind() == "IPAddressPool" && !everything && !covered[object.GetName()] {
			c.note(Ineffective, nameOf(object), "", "no advertisement covers it: its addresses are assigned and not announced, here as there; here the Services' condition clarion.dev/Announced says so")
		}
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
