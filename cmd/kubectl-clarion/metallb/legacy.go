package metallb

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// number returns a JSON or YAML number as an integer.
func number(value any) (int64, bool) {
	switch v := value.(type) {
	case int64:
		return v, true
	case float64:
		return int64(v), v == math.Trunc(v)
	case int:
		return int64(v), true
	}
	return 0, false
}

// wholeSeconds writes a duration as BGPPeer wants it.
func wholeSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }

var noName = regexp.MustCompile(`[^a-z0-9]+`)

// objectName makes a name for an object of one that needed not be one: those in the ConfigMap were free text.
func objectName(s, otherwise string) string {
	return orElse(strings.Trim(noName.ReplaceAllString(strings.ToLower(s), "-"), "-"), otherwise)
}

// configMap reads the ConfigMap of MetalLB 0.12 and before, and tells of those that go with newer ones.
func (c *converter) configMap(object unstructured.Unstructured) {
	data, _, _ := unstructured.NestedStringMap(object.Object, "data")
	switch {
	case object.GetName() == "bgpextras":
		c.note(Unsupported, nameOf(object), "", "raw FRR configuration: Clarion speaks BGP itself and runs no FRR")
		return
	case data["excludel2.yaml"] != "":
		c.note(Better, nameOf(object), "", "not needed: addresses are answered only on interfaces whose network has them, or that an L2Advertisement names")
		return
	}
	text, ok := data["config"]
	if !ok {
		return
	}
	var config map[string]any
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		c.note(Unsupported, nameOf(object), "config", "this is not YAML: %v", err)
		return
	}
	if config["address-pools"] == nil && config["peers"] == nil {
		return // somebody else's ConfigMap
	}
	name := nameOf(object)
	known := []string{"address-pools", "peers", "bgp-communities", "bfd-profiles"}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if !slices.Contains(known, key) {
			c.note(Unsupported, name, key, "not a key that MetalLB's ConfigMap has; it was left out")
		}
	}
	aliases, _ := config["bgp-communities"].(map[string]any)
	var communities []any
	for _, alias := range slices.Sorted(maps.Keys(aliases)) {
		if slices.Contains(wellKnown, alias) {
			c.note(Differs, name, "bgp-communities", "%s is well known and always means what the standard says (here it was %v)", alias, aliases[alias])
			continue
		}
		communities = append(communities, map[string]any{"name": alias, "value": fmt.Sprint(aliases[alias])})
	}
	if len(communities) > 0 {
		c.addNamed("Community", "metallb", nil, map[string]any{"communities": communities})
	}
	for i, pool := range mapsIn(config["address-pools"]) {
		c.oldPoolSpec(name, objectName(textOf(pool["name"]), fmt.Sprintf("pool-%d", i+1)), renamed(pool, oldPoolFields))
	}
	for i, peer := range mapsIn(config["peers"]) {
		c.oldPeer(name, fmt.Sprintf("peer-%d", i+1), peer)
	}
	for i, profile := range mapsIn(config["bfd-profiles"]) {
		spec := renamed(profile, oldProfileFields)
		delete(spec, "name")
		object := unstructured.Unstructured{Object: map[string]any{"kind": "BFDProfile", "spec": spec}}
		object.SetName(objectName(textOf(profile["name"]), fmt.Sprintf("profile-%d", i+1)))
		c.bfdProfile(object)
	}
}

// What the ConfigMap's fields are called in resources, where that is not the same.
var (
	oldPoolFields          = map[string]string{"auto-assign": "autoAssign", "avoid-buggy-ips": "avoidBuggyIPs", "bgp-advertisements": "bgpAdvertisements"}
	oldAdvertisementFields = map[string]string{"aggregation-length": "aggregationLength", "aggregation-length-v6": "aggregationLengthV6", "localpref": "localPref"}
	oldPeerFields          = map[string]string{"my-asn": "myASN", "peer-asn": "peerASN", "peer-address": "peerAddress", "peer-port": "peerPort",
		"source-address": "sourceAddress", "hold-time": "holdTime", "keepalive-time": "keepaliveTime", "router-id": "routerID",
		"node-selectors": "nodeSelectors", "bfd-profile": "bfdProfile", "ebgp-multihop": "ebgpMultiHop"}
	oldProfileFields = map[string]string{"receive-interval": "receiveInterval", "transmit-interval": "transmitInterval",
		"detect-multiplier": "detectMultiplier", "echo-interval": "echoInterval", "echo-mode": "echoMode", "passive-mode": "passiveMode",
		"minimum-ttl": "minimumTtl"}
)

// oldPool reads an AddressPool, which MetalLB 0.13 had beside IPAddressPool.
func (c *converter) oldPool(object unstructured.Unstructured) {
	spec, _, _ := unstructured.NestedMap(object.Object, "spec")
	c.oldPoolSpec(nameOf(object), object.GetName(), spec)
}

// oldPoolSpec makes a pool and its advertisements of what was one thing before 0.13.
func (c *converter) oldPoolSpec(from, name string, spec map[string]any) {
	pool := map[string]any{"addresses": c.addresses(from, spec["addresses"])}
	for _, field := range slices.Sorted(maps.Keys(spec)) {
		switch field {
		case "autoAssign", "avoidBuggyIPs":
			pool[field] = spec[field]
		case "name", "protocol", "addresses", "bgpAdvertisements":
		default:
			c.note(Unsupported, from, field, "of pool %s: not a field that MetalLB's pools had; it was left out", name)
		}
	}
	c.addNamed("IPAddressPool", name, nil, pool)
	covers := []any{name}
	switch protocol := textOf(spec["protocol"]); protocol {
	case "layer2":
		c.addNamed("L2Advertisement", name, nil, map[string]any{"ipAddressPools": covers})
	case "bgp":
		advertisements := mapsIn(spec["bgpAdvertisements"])
		if len(advertisements) == 0 {
			advertisements = []map[string]any{{}}
		}
		for i, old := range advertisements {
			spec := renamed(old, oldAdvertisementFields)
			spec["ipAddressPools"] = covers
			if n, ok := number(spec["localPref"]); ok && n == 0 {
				delete(spec, "localPref")
			}
			named := name
			if i > 0 {
				named = fmt.Sprintf("%s-%d", name, i+1)
			}
			c.addNamed("BGPAdvertisement", named, nil, spec)
		}
	default:
		c.note(Unsupported, from, "protocol", "%q of pool %s is neither layer2 nor bgp: it is not announced", protocol, name)
	}
}

// oldPeer reads a peer of the ConfigMap.
func (c *converter) oldPeer(from, otherwise string, peer map[string]any) {
	spec := renamed(peer, oldPeerFields)
	if profile := textOf(spec["bfdProfile"]); profile != "" {
		spec["bfdProfile"] = objectName(profile, profile)
	}
	var selectors []any
	for _, old := range mapsIn(spec["nodeSelectors"]) {
		selectors = append(selectors, renamed(old, map[string]string{"match-labels": "matchLabels", "match-expressions": "matchExpressions"}))
	}
	if delete(spec, "nodeSelectors"); len(selectors) > 0 {
		spec["nodeSelectors"] = selectors
	}
	name := objectName(textOf(spec["name"]), objectName(textOf(spec["peerAddress"]), otherwise))
	delete(spec, "name")
	object := unstructured.Unstructured{Object: map[string]any{"kind": "BGPPeer", "spec": spec}}
	object.SetName(name)
	c.peer(object)
	c.note(Differs, from, "peers", "peer %v has become BGPPeer %s", peer["peer-address"], name)
}

// renamed copies a map under new keys; those without one stay.
func renamed(from map[string]any, names map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range from {
		if n, ok := value.(float64); ok && n == math.Trunc(n) {
			value = int64(n) // as the API server reads it
		}
		out[orElse(names[key], key)] = value
	}
	return out
}

// mapsIn returns the maps in a list.
func mapsIn(list any) []map[string]any {
	var out []map[string]any
	entries, _ := list.([]any)
	for _, entry := range entries {
		if m, ok := entry.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// textOf returns a text, "" for what is none.
func textOf(value any) string {
	s, _ := value.(string)
	return s
}
