package crd_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// row is an object that the API server takes or, where says is set, refuses at a field with a message
// that contains says.
type row struct {
	name  string
	kind  string
	spec  string
	field string
	says  string
}

// Every rule of the CRDs has a row that it refuses (TestEveryRuleIsHit), and beside it a row that shows
// what to write instead.
var rows = slices.Concat(
	poolRows, l2Rows, bgpAdvertisementRows, peerRows, bfdRows, communityRows,
	addressRows("spec.addresses[]", "addresses: [%s]"),
	addressRows("spec.excludeAddresses[]", "{addresses: [192.0.2.0/24], excludeAddresses: [%s]}"),
	communityRefRows(),
	selectorRows("IPAddressPool", "spec.serviceAllocation.namespaceSelectors[]", "{addresses: [192.0.2.0/24], serviceAllocation: {namespaceSelectors: [%s]}}"),
	selectorRows("IPAddressPool", "spec.serviceAllocation.serviceSelectors[]", "{addresses: [192.0.2.0/24], serviceAllocation: {serviceSelectors: [%s]}}"),
	selectorRows("L2Advertisement", "spec.ipAddressPoolSelectors[]", "ipAddressPoolSelectors: [%s]"),
	selectorRows("L2Advertisement", "spec.serviceSelectors[]", "serviceSelectors: [%s]"),
	selectorRows("L2Advertisement", "spec.nodeSelectors[]", "nodeSelectors: [%s]"),
	selectorRows("L2Advertisement", "spec.preferredNodeSelectors[].preference", "preferredNodeSelectors: [{weight: 1, preference: %s}]"),
	selectorRows("BGPAdvertisement", "spec.ipAddressPoolSelectors[]", "ipAddressPoolSelectors: [%s]"),
	selectorRows("BGPAdvertisement", "spec.serviceSelectors[]", "serviceSelectors: [%s]"),
	selectorRows("BGPAdvertisement", "spec.nodeSelectors[]", "nodeSelectors: [%s]"),
	selectorRows("BGPPeer", "spec.nodeSelectors[]", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, nodeSelectors: [%s]}"),
	nameRows("L2Advertisement", "spec.ipAddressPools[]", "ipAddressPools: [%s]"),
	nameRows("BGPAdvertisement", "spec.ipAddressPools[]", "ipAddressPools: [%s]"),
	nameRows("BGPAdvertisement", "spec.peers[]", "peers: [%s]"),
	nameRows("BGPPeer", "spec.bfdProfile", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: %s}"),
	nameRows("BFDProfile", "spec.authentication.keys[].passwordSecret.name", "authentication: {type: KeyedSHA1, keys: [{id: 1, passwordSecret: {name: %s}}]}"),
	nameRows("BGPPeer", "spec.passwordSecret.name", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, passwordSecret: {name: %s}}"),
	deviceRows("spec.interface", "{myASN: 1, peerASN: 2, interface: %s}"),
	deviceRows("spec.vrf", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, vrf: %s}"),
	asnRows("spec.myASN", "{myASN: %s, peerASN: 2, peerAddress: 192.0.2.1}"),
	asnRows("spec.peerASN", "{myASN: 1, peerASN: %s, peerAddress: 192.0.2.1}"),
	asnRows("spec.localASN", "{myASN: 1, localASN: %s, peerASN: 2, peerAddress: 192.0.2.1}"),
)

var poolRows = []row{
	{name: "a pool of one CIDR", kind: "IPAddressPool", spec: "addresses: [192.0.2.0/24]"},
	{name: "a pool of both families in every form", kind: "IPAddressPool", spec: `addresses: [192.0.2.0/24, "198.51.100.1-198.51.100.9", 203.0.113.7, "2001:db8::/64", "2001:db8:1::1-2001:db8:1::ff", "2001:db8:2::1"]`},
	{name: "a pool without spec", kind: "IPAddressPool", field: "spec", says: "Required value"},
	{name: "a pool without addresses", kind: "IPAddressPool", spec: "autoAssign: true", field: "spec.addresses", says: "Required value"},
	{name: "a pool with an empty list of addresses", kind: "IPAddressPool", spec: "addresses: []", field: "spec.addresses", says: "should have at least 1 items"},
	{name: "the same entry twice", kind: "IPAddressPool", spec: "addresses: [192.0.2.0/24, 192.0.2.0/24]", field: "spec.addresses[]", says: "Duplicate value"},
	{name: "a field that is not there", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], adresses: []}", says: `unknown field "spec.adresses"`},
	{name: "a number in place of a list", kind: "IPAddressPool", spec: "addresses: 7", field: "spec.addresses", says: "must be of type array"},

	{name: "namespaces by name", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], serviceAllocation: {namespaces: [team-a, \"2\"]}}"},
	{name: "a wildcard for namespaces", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], serviceAllocation: {namespaces: [\"team-*\"]}}", field: "spec.serviceAllocation.namespaces[]", says: "namespaceSelectors"},
	{name: "an empty namespace", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], serviceAllocation: {namespaces: [\"\"]}}", field: "spec.serviceAllocation.namespaces[]", says: "write one name"},
	{name: "the same namespace twice", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], serviceAllocation: {namespaces: [a, a]}}", field: "spec.serviceAllocation.namespaces[]", says: "Duplicate value"},
	{name: "priority alone", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], serviceAllocation: {priority: 7}}"},
	{name: "an unknown fallback", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], serviceAllocation: {fallback: Never}}", field: "spec.serviceAllocation.fallback", says: `supported values: "Allowed", "Denied"`},

	{name: "no rest", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: 0s}"},
	{name: "a rest of a week", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: 168h}"},
	{name: "a rest in parts", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: 1h30m0.5s}"},
	{name: "a rest of more than a week", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: 169h}", field: "spec.reuseDelay", says: "from 0s to 168h"},
	{name: "a negative rest", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: -5s}", field: "spec.reuseDelay", says: "from 0s to 168h"},
	{name: "a rest without unit", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: \"90\"}", field: "spec.reuseDelay", says: "such as 90s"},
	{name: "a rest in days", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: 1d}", field: "spec.reuseDelay", says: "such as 90s"},
	{name: "a rest beyond counting", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], reuseDelay: 99999999h}", field: "spec.reuseDelay", says: "from 0s to 168h"},
	{name: "a quota of nothing", kind: "IPAddressPool", spec: "{addresses: [192.0.2.0/24], quota: {perNamespace: 0}}", field: "spec.quota.perNamespace", says: "greater than or equal to 1"},
}

func addressRows(field, spec string) []row {
	accepted := map[string]string{
		"a CIDR":                        "192.0.2.0/24",
		"blanks around a CIDR":          " 192.0.2.0/24 ",
		"a range":                       "192.0.2.10-192.0.2.20",
		"blanks within a range":         " 192.0.2.10 - 192.0.2.20 ",
		"one address":                   "192.0.2.7",
		"one address as a CIDR":         "192.0.2.7/32",
		"an IPv6 network":               "2001:db8::/64",
		"an IPv6 range":                 "2001:db8::1-2001:db8::ff",
		"an IPv6 address":               "2001:db8::7",
		"an IPv6 address in capitals":   "2001:DB8::A",
		"an IPv6 address, written long": "2001:db8:0:0:0:0:0:7/128",
		"addresses for private use":     "10.0.0.0/8",
		"unique local addresses":        "fd00::/64",
	}
	refused := []struct{ name, entry, says string }{
		{"an empty entry", "", "write a CIDR such as"},
		{"a word", "lan", "write a CIDR such as"},
		{"a number too big", "192.0.2.256", "write a CIDR such as"},
		{"an address cut short", "192.0.2", "write a CIDR such as"},
		{"an address with leading zeros", "192.0.02.1", "write a CIDR such as"},
		{"a prefix too long", "192.0.2.0/33", "write a CIDR such as"},
		{"an IPv6 prefix too long", "2001:db8::/129", "write a CIDR such as"},
		{"a netmask", "192.0.2.0/255.255.255.0", "write a CIDR such as"},
		{"two entries in one", "192.0.2.1, 192.0.2.2", "one entry per item"},
		{"a range with one end", "192.0.2.1-", "write a CIDR such as"},
		{"a range with three ends", "192.0.2.1-192.0.2.2-192.0.2.3", "write a CIDR such as"},
		{"a range that counts", "192.0.2.1-9", "192.0.2.10-192.0.2.20"},
		{"a range of CIDRs", "192.0.2.0/25-192.0.2.128/25", "192.0.2.10-192.0.2.20"},
		{"an address with a zone", "fe80::1%eth0", "without port or zone"},
		{"an address with a port", "192.0.2.1:80", "without port or zone"},
		{"IPv4 mapped into IPv6", "::ffff:192.0.2.1", "not mapped into IPv6"},
		{"IPv4 mapped into IPv6, a network", "::ffff:192.0.2.0/120", "not mapped into IPv6"},
		{"a CIDR with bits behind its prefix", "192.0.2.5/24", "leave the prefix out"},
		{"an IPv6 CIDR with bits behind its prefix", "2001:db8::5/64", "leave the prefix out"},
		{"a range from IPv4 to IPv6", "192.0.2.1-2001:db8::1", "one entry for each family"},
		{"the whole internet", "0.0.0.0/0", "that clients can reach"},
		{"the whole IPv6 internet", "::/0", "that clients can reach"},
		{"the unspecified address", "0.0.0.0", "that clients can reach"},
		{"a loopback address", "127.0.0.1", "that clients can reach"},
		{"the loopback network", "127.0.0.0/8", "that clients can reach"},
		{"the IPv6 loopback address", "::1", "that clients can reach"},
		{"multicast", "224.0.0.0/24", "that clients can reach"},
		{"an IPv6 multicast range", "ff02::1-ff02::2", "that clients can reach"},
		{"link-local", "169.254.0.0/16", "that clients can reach"},
		{"IPv6 link-local", "fe80::/64", "that clients can reach"},
		{"the broadcast address", "255.255.255.255", "that clients can reach"},
	}
	var rows []row
	for name, entry := range accepted {
		rows = append(rows, row{name: field + ": " + name, kind: "IPAddressPool", spec: fmt.Sprintf(spec, fmt.Sprintf("%q", entry))})
	}
	for _, r := range refused {
		rows = append(rows, row{name: field + ": " + r.name, kind: "IPAddressPool", spec: fmt.Sprintf(spec, fmt.Sprintf("%q", r.entry)), field: field, says: r.says})
	}
	return rows
}

// selectorRows are for each list of label selectors; %s in spec stands for one selector.
func selectorRows(kind, field, spec string) []row {
	rows := []row{
		{name: "all that is", spec: "{}"},
		{name: "a label with a value", spec: "{matchLabels: {topology.kubernetes.io/zone: rack-1}}"},
		{name: "a label with an empty value", spec: "{matchLabels: {node-role.kubernetes.io/worker: \"\"}}"},
		{name: "one of several values", spec: "{matchExpressions: [{key: rack, operator: In, values: [a, b]}]}"},
		{name: "a label that is there", spec: "{matchExpressions: [{key: rack, operator: Exists}]}"},
		{name: "no label", spec: "{matchExpressions: [{operator: Exists}]}", field: ".matchExpressions[].key", says: "Required value"},
		{name: "an empty label", spec: "{matchExpressions: [{key: \"\", operator: Exists}]}", field: ".matchExpressions[].key", says: "write a name such as"},
		{name: "a label with two prefixes", spec: "{matchExpressions: [{key: a/b/c, operator: Exists}]}", field: ".matchExpressions[].key", says: "a prefix and a name"},
		{name: "no operator", spec: "{matchExpressions: [{key: rack}]}", field: ".matchExpressions[].operator", says: "Required value"},
		{name: "an unknown operator", spec: "{matchExpressions: [{key: rack, operator: Is, values: [a]}]}", field: ".matchExpressions[].operator", says: `supported values: "In", "NotIn", "Exists", "DoesNotExist"`},
		{name: "In without values", spec: "{matchExpressions: [{key: rack, operator: In}]}", field: ".matchExpressions[].values", says: "use Exists"},
		{name: "NotIn with an empty list of values", spec: "{matchExpressions: [{key: rack, operator: NotIn, values: []}]}", field: ".matchExpressions[].values", says: "use Exists"},
		{name: "Exists with values", spec: "{matchExpressions: [{key: rack, operator: Exists, values: [a]}]}", field: ".matchExpressions[].values", says: "leave values out"},
		{name: "the same value twice", spec: "{matchExpressions: [{key: rack, operator: In, values: [a, a]}]}", field: ".matchExpressions[].values[]", says: "Duplicate value"},
		{name: "a wildcard as value", spec: "{matchExpressions: [{key: rack, operator: In, values: [\"*\"]}]}", field: ".matchExpressions[].values[]", says: "in place of a wildcard"},
		{name: "a wildcard as a label's value", spec: "{matchLabels: {rack: \"*\"}}", field: ".matchLabels[]", says: "in place of a wildcard"},
	}
	for i := range rows {
		rows[i].name = field + ": " + rows[i].name
		rows[i].kind = kind
		rows[i].spec = fmt.Sprintf(spec, rows[i].spec)
		if rows[i].says != "" {
			rows[i].field = field + rows[i].field
		}
	}
	if strings.HasSuffix(field, "[]") {
		rows = append(rows, row{name: field + ": the same selector twice", kind: kind, spec: fmt.Sprintf(spec, "{matchLabels: {a: b}}, {matchLabels: {a: b}}"), field: field, says: "Duplicate value"})
	}
	return rows
}

// nameRows are for each field that names another object.
func nameRows(kind, field, spec string) []row {
	return []row{
		{name: field + ": a name", kind: kind, spec: fmt.Sprintf(spec, "tor-1.lan")},
		{name: field + ": an empty name", kind: kind, spec: fmt.Sprintf(spec, `""`), field: field, says: "write the metadata.name of one object"},
		{name: field + ": a wildcard", kind: kind, spec: fmt.Sprintf(spec, `"tor-*"`), field: field, says: "use selectors"},
		{name: field + ": a name in capitals", kind: kind, spec: fmt.Sprintf(spec, "ToR"), field: field, says: "lower case"},
	}
}

// deviceRows are for each field that names a network device.
func deviceRows(field, spec string) []row {
	return []row{
		{name: field + ": a device", kind: "BGPPeer", spec: fmt.Sprintf(spec, "bond0.100")},
		{name: field + ": a device of 15 characters", kind: "BGPPeer", spec: fmt.Sprintf(spec, "enp130s0f1np1.7")},
		{name: field + ": an empty name", kind: "BGPPeer", spec: fmt.Sprintf(spec, `""`), field: field, says: "write one of at most 15 characters"},
		{name: field + ": a path", kind: "BGPPeer", spec: fmt.Sprintf(spec, "net/eth0"), field: field, says: "such as eth1"},
		{name: field + ": a pattern", kind: "BGPPeer", spec: fmt.Sprintf(spec, `"eth*"`), field: field, says: "such as eth1"},
		{name: field + ": two dots", kind: "BGPPeer", spec: fmt.Sprintf(spec, `".."`), field: field, says: "such as eth1"},
		{name: field + ": a name too long", kind: "BGPPeer", spec: fmt.Sprintf(spec, "enp130s0f1np1.70"), field: field, says: "may not be more than 15"},
	}
}

func asnRows(field, spec string) []row {
	return []row{
		{name: field + ": the largest ASN", kind: "BGPPeer", spec: fmt.Sprintf(spec, "4294967295")},
		{name: field + ": more than the largest ASN", kind: "BGPPeer", spec: fmt.Sprintf(spec, "4294967296"), field: field, says: "less than or equal to 4294967295"},
		{name: field + ": ASN 0", kind: "BGPPeer", spec: fmt.Sprintf(spec, "0"), field: field, says: "greater than or equal to 1"},
		{name: field + ": AS_TRANS", kind: "BGPPeer", spec: fmt.Sprintf(spec, "23456"), field: field, says: "write the ASN itself"},
		{name: field + ": an ASN in dots", kind: "BGPPeer", spec: fmt.Sprintf(spec, `"1.10"`), field: field, says: "must be of type integer"},
	}
}

var l2Rows = []row{
	{name: "an advertisement without spec", kind: "L2Advertisement"},
	{name: "empty lists mean what absent ones do", kind: "L2Advertisement", spec: "{ipAddressPools: [], nodeSelectors: [], interfaces: []}"},
	{name: "interfaces and patterns", kind: "L2Advertisement", spec: `interfaces: [eth0, "bond?", "enp*s0f1np*", br-lan, eth0.100]`},
	{name: "an empty interface", kind: "L2Advertisement", spec: `interfaces: [""]`, field: "spec.interfaces[]", says: "write a name such as 'eth1'"},
	{name: "an interface with a blank", kind: "L2Advertisement", spec: `interfaces: ["eth 0"]`, field: "spec.interfaces[]", says: "write a name such as 'eth1'"},
	{name: "a regular expression", kind: "L2Advertisement", spec: `interfaces: ["eth[01]"]`, field: "spec.interfaces[]", says: "'*' stands for any characters"},
	{name: "an interface of 16 characters", kind: "L2Advertisement", spec: `interfaces: [enp130s0f1np1.70]`, field: "spec.interfaces[]", says: "put '*' in place of the rest"},
	{name: "the same interface twice", kind: "L2Advertisement", spec: `interfaces: [eth0, eth0]`, field: "spec.interfaces[]", says: "Duplicate value"},
	{name: "a weight of 0", kind: "L2Advertisement", spec: "preferredNodeSelectors: [{weight: 0, preference: {}}]", field: "spec.preferredNodeSelectors[].weight", says: "greater than or equal to 1"},
	{name: "a weight of 101", kind: "L2Advertisement", spec: "preferredNodeSelectors: [{weight: 101, preference: {}}]", field: "spec.preferredNodeSelectors[].weight", says: "less than or equal to 100"},
	{name: "a weight without preference", kind: "L2Advertisement", spec: "preferredNodeSelectors: [{weight: 1}]", field: "spec.preferredNodeSelectors[].preference", says: "Required value"},
	{name: "failback with its default policy", kind: "L2Advertisement", spec: "failback: {after: 90s}"},
	{name: "failback at once", kind: "L2Advertisement", spec: "failback: {policy: Immediate}"},
	{name: "a wait where there is none", kind: "L2Advertisement", spec: "failback: {policy: Never, after: 5m}", field: "spec.failback.after", says: "leave after out"},
	{name: "a wait of nothing", kind: "L2Advertisement", spec: "failback: {after: 0s}", field: "spec.failback.after", says: "set policy to Immediate"},
	{name: "a wait of more than a day", kind: "L2Advertisement", spec: "failback: {after: 25h}", field: "spec.failback.after", says: "from 1s to 24h"},
	{name: "a wait in words", kind: "L2Advertisement", spec: "failback: {after: soon}", field: "spec.failback.after", says: "such as 90s"},
	{name: "an unknown policy", kind: "L2Advertisement", spec: "failback: {policy: Later}", field: "spec.failback.policy", says: `supported values: "Delayed", "Immediate", "Never"`},
	{name: "conflict detection as a bool", kind: "L2Advertisement", spec: "conflictDetection: false", field: "spec.conflictDetection", says: "must be of type string"},
	{name: "conflict detection off, in quotes", kind: "L2Advertisement", spec: `conflictDetection: "Off"`},
	{name: "a field of another kind", kind: "L2Advertisement", spec: "peers: [tor]", says: `unknown field "spec.peers"`},
}

var bgpAdvertisementRows = []row{
	{name: "an advertisement without spec", kind: "BGPAdvertisement"},
	{name: "aggregates", kind: "BGPAdvertisement", spec: "{aggregationLength: 24, aggregationLengthV6: 64}"},
	{name: "a prefix length of 33", kind: "BGPAdvertisement", spec: "aggregationLength: 33", field: "spec.aggregationLength", says: "less than or equal to 32"},
	{name: "a prefix length of 129", kind: "BGPAdvertisement", spec: "aggregationLengthV6: 129", field: "spec.aggregationLengthV6", says: "less than or equal to 128"},
	{name: "a prefix length of 0", kind: "BGPAdvertisement", spec: "aggregationLength: 0", field: "spec.aggregationLength", says: "greater than or equal to 1"},
	{name: "service selectors with host routes", kind: "BGPAdvertisement", spec: "{serviceSelectors: [{matchLabels: {a: b}}], aggregationLength: 32, aggregationLengthV6: 128}"},
	{name: "service selectors with aggregates", kind: "BGPAdvertisement", spec: "{serviceSelectors: [{matchLabels: {a: b}}], aggregationLength: 24}", field: "spec.aggregationLength", says: "leave aggregationLength at 32"},
	{name: "service selectors with IPv6 aggregates", kind: "BGPAdvertisement", spec: "{serviceSelectors: [{matchLabels: {a: b}}], aggregationLengthV6: 64}", field: "spec.aggregationLengthV6", says: "leave aggregationLengthV6 at 128"},
	{name: "the largest local preference", kind: "BGPAdvertisement", spec: "localPref: 4294967295"},
	{name: "a local preference of 0", kind: "BGPAdvertisement", spec: "localPref: 0", field: "spec.localPref", says: "leave localPref out"},
	{name: "a MED of 0", kind: "BGPAdvertisement", spec: "med: 0"},
	{name: "a negative MED", kind: "BGPAdvertisement", spec: "med: -1", field: "spec.med", says: "greater than or equal to 0"},
	{name: "a path of 17 more", kind: "BGPAdvertisement", spec: "asPathPrepend: 17", field: "spec.asPathPrepend", says: "less than or equal to 16"},
	{name: "the same community twice", kind: "BGPAdvertisement", spec: `communities: ["1:2", "1:2"]`, field: "spec.communities[]", says: "Duplicate value"},
}

func communityRefRows() []row {
	var rows []row
	for _, c := range []string{"64512:100", "0:0", "65535:65535", "large:64512:1:2", "large:4294967295:0:4294967295", "no-export", "graceful-shutdown", "blackhole", "to-transit", "NO_ADVERTISE", "large"} {
		rows = append(rows, row{name: "the community " + c, kind: "BGPAdvertisement", spec: fmt.Sprintf("communities: [%q]", c)})
	}
	for _, r := range []struct{ community, says string }{
		{"", "write one such as 64512:100"},
		{"100", "write one such as 64512:100"},
		{"to transit", "a name that a Community gives"},
		{"64512:", "two numbers from 0 to 65535"},
		{"65536:1", "two numbers from 0 to 65535"},
		{"1:65536", "two numbers from 0 to 65535"},
		{"01:1", "two numbers from 0 to 65535"},
		{"-1:1", "two numbers from 0 to 65535"},
		{"1:2:3", "large:64512:1:2"},
		{"rt:64512:1", "extended communities are not known"},
		{"large:1:2", "as three numbers from 0 to 4294967295"},
		{"large:4294967296:1:2", "as three numbers from 0 to 4294967295"},
		{"large:1:2:3:4", "as three numbers from 0 to 4294967295"},
	} {
		rows = append(rows, row{name: fmt.Sprintf("the community %q", r.community), kind: "BGPAdvertisement", spec: fmt.Sprintf("communities: [%q]", r.community), field: "spec.communities[]", says: r.says})
	}
	return rows
}

var peerRows = []row{
	{name: "a neighbour", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1}"},
	{name: "a neighbour by IPv6 for both families", kind: "BGPPeer", spec: `{myASN: 64512, peerASN: 64500, peerAddress: "2001:db8::1", families: [IPv4, IPv6]}`},
	{name: "any external ASN", kind: "BGPPeer", spec: "{myASN: 64512, dynamicASN: external, peerAddress: 192.0.2.1}"},
	{name: "an unnumbered neighbour", kind: "BGPPeer", spec: "{myASN: 64512, dynamicASN: internal, interface: eth1}"},
	{name: "no ASN of ours", kind: "BGPPeer", spec: "{peerASN: 64500, peerAddress: 192.0.2.1}", field: "spec.myASN", says: "Required value"},
	{name: "no ASN of theirs", kind: "BGPPeer", spec: "{myASN: 64512, peerAddress: 192.0.2.1}", field: "spec.peerASN", says: "write peerASN, or dynamicASN"},
	{name: "two ASNs of theirs", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, dynamicASN: external, peerAddress: 192.0.2.1}", field: "spec.peerASN", says: "one of the two"},
	{name: "an unknown dynamic ASN", kind: "BGPPeer", spec: "{myASN: 64512, dynamicASN: any, peerAddress: 192.0.2.1}", field: "spec.dynamicASN", says: `supported values: "internal", "external"`},
	{name: "nowhere", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500}", field: "spec.peerAddress", says: "write peerAddress, or interface"},
	{name: "an address and an interface", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, interface: eth1}", field: "spec.peerAddress", says: "one of the two"},
	{name: "a host's name", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: tor.lan}", field: "spec.peerAddress", says: "a host's name won't do"},
	{name: "an empty address", kind: "BGPPeer", spec: `{myASN: 64512, peerASN: 64500, peerAddress: ""}`, field: "spec.peerAddress", says: "write the address of one router"},
	{name: "a multicast address", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 224.0.0.1}", field: "spec.peerAddress", says: "write the address of one router"},
	{name: "an address with its prefix", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1/24}", field: "spec.peerAddress", says: "without prefix length"},
	{name: "a link-local IPv4 address", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 169.254.0.1}"},
	{name: "a link-local IPv6 address", kind: "BGPPeer", spec: `{myASN: 64512, peerASN: 64500, peerAddress: "fe80::1"}`, field: "spec.peerAddress", says: "write interface in place of peerAddress"},
	{name: "the same family twice", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, families: [IPv4, IPv4]}", field: "spec.families[]", says: "Duplicate value"},
	{name: "no family", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, families: []}", field: "spec.families", says: "should have at least 1 items"},
	{name: "port 0", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, peerPort: 0}", field: "spec.peerPort", says: "greater than or equal to 1"},

	{name: "a source of the same family", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, sourceAddress: 192.0.2.2}"},
	{name: "a source that is no address", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, sourceAddress: eth0}", field: "spec.sourceAddress", says: "write an address of the node"},
	{name: "a source of the other family", kind: "BGPPeer", spec: `{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, sourceAddress: "2001:db8::2"}`, field: "spec.sourceAddress", says: "of the family of peerAddress"},
	{name: "a source for an unnumbered session", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, interface: eth1, sourceAddress: 192.0.2.2}", field: "spec.sourceAddress", says: "leave sourceAddress out"},

	{name: "sessions from an interface's address", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, sourceInterface: dummy0}"},
	{name: "sessions from an interface that can't be", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, sourceInterface: dummy/0}", field: "spec.sourceInterface", says: "not an interface's name"},
	{name: "sessions from an interface's address and from another", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, sourceInterface: dummy0, sourceAddress: 192.0.2.9}", field: "spec.sourceInterface", says: "write one of the two"},
	{name: "an unnumbered session from another interface's address", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, interface: eth1, sourceInterface: dummy0}", field: "spec.sourceInterface", says: "leave sourceInterface out"},
	{name: "a session that waits for BFD", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: fast, bfdMode: Strict}"},
	{name: "a session that BFD only watches", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, interface: eth1, bfdProfile: fast, bfdMode: Watch}"},
	{name: "a mode of BFD that there is not", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: fast, bfdMode: strict}", field: "spec.bfdMode", says: "Strict"},
	{name: "waiting for BFD without any", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdMode: Strict}", field: "spec.bfdMode", says: "set bfdProfile too"},
	{name: "an unnumbered session that waits for BFD", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, interface: eth1, bfdProfile: fast, bfdMode: Strict}", field: "spec.bfdMode", says: "write peerAddress"},
	{name: "a session from an interface's address that waits for BFD", kind: "BGPPeer", spec: "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, sourceInterface: dummy0, bfdProfile: fast, bfdMode: Strict}", field: "spec.bfdMode", says: "write sourceAddress"},
	{name: "another ASN toward this peer", kind: "BGPPeer", spec: "{myASN: 64512, localASN: 64513, peerASN: 64500, peerAddress: 192.0.2.1}"},
	{name: "the same ASN toward this peer", kind: "BGPPeer", spec: "{myASN: 64512, localASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1}", field: "spec.localASN", says: "leave it out"},

	{name: "several hops", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, ebgpMultiHop: true}"},
	{name: "several hops, said not to be", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.1, ebgpMultiHop: false}"},
	{name: "several hops of iBGP", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.1, ebgpMultiHop: true}", field: "spec.ebgpMultiHop", says: "leave ebgpMultiHop out"},
	{name: "several hops of iBGP by a local ASN", kind: "BGPPeer", spec: "{myASN: 64512, localASN: 64500, peerASN: 64500, peerAddress: 192.0.2.1, ebgpMultiHop: true}", field: "spec.ebgpMultiHop", says: "leave ebgpMultiHop out"},
	{name: "several hops of eBGP by a local ASN", kind: "BGPPeer", spec: "{myASN: 64512, localASN: 64500, peerASN: 64512, peerAddress: 192.0.2.1, ebgpMultiHop: true}"},
	{name: "several hops of iBGP, whatever its ASN", kind: "BGPPeer", spec: "{myASN: 64512, dynamicASN: internal, peerAddress: 192.0.2.1, ebgpMultiHop: true}", field: "spec.ebgpMultiHop", says: "leave ebgpMultiHop out"},
	{name: "several hops on a link", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, interface: eth1, ebgpMultiHop: true}", field: "spec.ebgpMultiHop", says: "write peerAddress in place of interface"},
	{name: "TTL security", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, ttlSecurity: {}}"},
	{name: "TTL security of two hops", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, ttlSecurity: {maxHops: 2}}"},
	{name: "TTL security and several hops", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, ttlSecurity: {maxHops: 2}, ebgpMultiHop: true}", field: "spec.ebgpMultiHop", says: "set ttlSecurity.maxHops"},
	{name: "TTL security on a link", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, interface: eth1, ttlSecurity: {}}"},
	{name: "TTL security of two hops on a link", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, interface: eth1, ttlSecurity: {maxHops: 2}}", field: "spec.ttlSecurity.maxHops", says: "leave maxHops at 1"},
	{name: "TTL security of 255 hops", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, ttlSecurity: {maxHops: 255}}", field: "spec.ttlSecurity.maxHops", says: "less than or equal to 254"},

	{name: "hold time alone", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 3s}"},
	{name: "no hold time", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 0s, keepaliveTime: 0s}"},
	{name: "hold and keepalive time", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 3m0s, keepaliveTime: 1m0s}"},
	{name: "keepalive time alone", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, keepaliveTime: 10s}"},
	{name: "the longest hold time", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 65535s}"},
	{name: "a hold time of 2 s", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 2s}", field: "spec.holdTime", says: "from 3s to 65535s"},
	{name: "a hold time beyond 16 bits", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 65536s}", field: "spec.holdTime", says: "from 3s to 65535s"},
	{name: "a hold time in milliseconds", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 4500ms}", field: "spec.holdTime", says: "whole seconds"},
	{name: "a hold time as a number", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 90}", field: "spec.holdTime", says: "must be of type string"},
	{name: "a keepalive time in words", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 9s, keepaliveTime: often}", field: "spec.keepaliveTime", says: "such as 30s"},
	{name: "a keepalive time beyond a third of 16 bits", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, keepaliveTime: 21846s}", field: "spec.keepaliveTime", says: "from 1s to 21845s"},
	{name: "keepalives rarer than the hold time", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 9s, keepaliveTime: 10s}", field: "spec.keepaliveTime", says: "must not be longer than holdTime"},
	{name: "keepalives without a hold time", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 0s, keepaliveTime: 10s}", field: "spec.keepaliveTime", says: "must not be longer than holdTime"},
	{name: "a hold time without keepalives", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, holdTime: 9s, keepaliveTime: 0s}", field: "spec.keepaliveTime", says: "set holdTime to 0s too"},
	{name: "an attempt a second", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, connectTime: 1s}"},
	{name: "attempts without pause", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, connectTime: 0s}", field: "spec.connectTime", says: "from 1s to 65535s"},

	{name: "a router ID", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, routerID: 0.0.0.1}"},
	{name: "a router ID of nothing", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, routerID: 0.0.0.0}", field: "spec.routerID", says: "such as 192.0.2.10"},
	{name: "an IPv6 router ID", kind: "BGPPeer", spec: `{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, routerID: "::1"}`, field: "spec.routerID", says: "like an IPv4 address"},

	{name: "graceful restart", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, enableGracefulRestart: true, restartTime: 4095s}"},
	{name: "a restart time beyond 12 bits", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, enableGracefulRestart: true, restartTime: 4096s}", field: "spec.restartTime", says: "from 1s to 4095s"},
	{name: "a restart time without graceful restart", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, restartTime: 120s}", field: "spec.restartTime", says: "set enableGracefulRestart to true"},
	{name: "linger", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, gracefulShutdown: {linger: 2.5s}}"},
	{name: "linger beyond what a Pod is given", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, gracefulShutdown: {linger: 41s}}", field: "spec.gracefulShutdown.linger", says: "from 0s to 40s"},

	{name: "a password in a Secret", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, passwordSecret: {name: tor}}"},
	{name: "a Secret without name", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, passwordSecret: {}}", field: "spec.passwordSecret.name", says: "Required value"},
	{name: "a Secret elsewhere", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, passwordSecret: {name: tor, namespace: metallb-system}}", field: "spec.passwordSecret.namespace", says: "leave namespace out"},
	{name: "MetalLB's password", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, password: secret}", field: "spec.password", says: "passwordSecret.name"},
	{name: "MetalLB's disableMP", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, disableMP: true}", field: "spec.disableMP", says: "families"},
	{name: "MetalLB's dualStackAddressFamily", kind: "BGPPeer", spec: "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, dualStackAddressFamily: false}", field: "spec.dualStackAddressFamily", says: "write families: [IPv4, IPv6]"},
}

var bfdRows = []row{
	{name: "a profile without spec", kind: "BFDProfile"},
	{name: "the fastest session", kind: "BFDProfile", spec: "{receiveInterval: 10, transmitInterval: 10, detectMultiplier: 2}"},
	{name: "faster than the fastest", kind: "BFDProfile", spec: "transmitInterval: 9", field: "spec.transmitInterval", says: "greater than or equal to 10"},
	{name: "an interval as a duration", kind: "BFDProfile", spec: "receiveInterval: 50ms", field: "spec.receiveInterval", says: "must be of type integer"},
	{name: "one packet decides", kind: "BFDProfile", spec: "detectMultiplier: 1", field: "spec.detectMultiplier", says: "greater than or equal to 2"},
	{name: "the echo function", kind: "BFDProfile", spec: "{echoMode: true, echoInterval: 10}"},
	{name: "an echo interval without the echo function", kind: "BFDProfile", spec: "echoInterval: 50", field: "spec.echoInterval", says: "set echoMode to true"},
	{name: "authentication", kind: "BFDProfile", spec: "authentication: {type: MeticulousKeyedSHA1, keys: [{id: 1, passwordSecret: {name: new}}, {id: 0, passwordSecret: {name: old}}]}"},
	{name: "authentication by MD5", kind: "BFDProfile", spec: "authentication: {type: KeyedMD5, keys: [{id: 1, passwordSecret: {name: x}}]}", field: "spec.authentication.type", says: "MeticulousKeyedSHA1"},
	{name: "authentication without a key", kind: "BFDProfile", spec: "authentication: {type: KeyedSHA1, keys: []}", field: "spec.authentication.keys", says: "at least 1 items"},
	{name: "a key ID of more than a byte", kind: "BFDProfile", spec: "authentication: {type: KeyedSHA1, keys: [{id: 256, passwordSecret: {name: x}}]}", field: "spec.authentication.keys[].id", says: "less than or equal to 255"},
	{name: "two keys with one ID", kind: "BFDProfile", spec: "authentication: {type: KeyedSHA1, keys: [{id: 1, passwordSecret: {name: x}}, {id: 1, passwordSecret: {name: other}}]}", field: "spec.authentication.keys", says: "two keys have the same id"},
	{name: "a key's Secret in another namespace", kind: "BFDProfile", spec: "authentication: {type: KeyedSHA1, keys: [{id: 1, passwordSecret: {name: x, namespace: elsewhere}}]}", field: "spec.authentication.keys[].passwordSecret.namespace", says: "leave namespace out"},
	{name: "a TTL of 255", kind: "BFDProfile", spec: "minimumTtl: 255", field: "spec.minimumTtl", says: "less than or equal to 254"},
}

var communityRows = []row{
	{name: "names for communities", kind: "Community", spec: `communities: [{name: to-transit, value: "64512:100"}, {name: NO_UPSTREAM.2, value: "large:64512:1:2"}]`},
	{name: "no names", kind: "Community", spec: "communities: []", field: "spec.communities", says: "should have at least 1 items"},
	{name: "a name without value", kind: "Community", spec: "communities: [{name: a}]", field: "spec.communities[].value", says: "Required value"},
	{name: "the same name twice", kind: "Community", spec: `communities: [{name: a, value: "1:2"}, {name: a, value: "1:3"}]`, field: "spec.communities[]", says: "Duplicate value"},
	{name: "an empty name", kind: "Community", spec: `communities: [{name: "", value: "1:2"}]`, field: "spec.communities[].name", says: "write a name of letters"},
	{name: "a name that looks like a community", kind: "Community", spec: `communities: [{name: "1:2", value: "1:2"}]`, field: "spec.communities[].name", says: "write a name of letters"},
	{name: "a well-known name", kind: "Community", spec: `communities: [{name: no-export, value: "1:2"}]`, field: "spec.communities[].name", says: "use it in BGPAdvertisements as it is"},
	{name: "a name for a name", kind: "Community", spec: "communities: [{name: a, value: no-export}]", field: "spec.communities[].value", says: "write two numbers"},
	{name: "a number too big", kind: "Community", spec: `communities: [{name: a, value: "65536:1"}]`, field: "spec.communities[].value", says: "or a large community"},
	{name: "a large community too short", kind: "Community", spec: `communities: [{name: a, value: "large:1:2"}]`, field: "spec.communities[].value", says: "as three numbers from 0 to 4294967295"},
}

func TestWhatIsTakenAndWhatIsRefused(t *testing.T) {
	c := server(t)
	for _, r := range rows {
		t.Run(r.kind+"/"+r.name, func(t *testing.T) {
			refusals := apply(t, c, object(t, r.kind, r.spec))
			if r.says == "" {
				if len(refusals) > 0 {
					t.Fatalf("refused: %v", refusals)
				}
				return
			}
			if !slices.ContainsFunc(refusals, func(got refusal) bool {
				return got.field == r.field && strings.Contains(got.message, r.says)
			}) {
				t.Errorf("want a refusal of %q that says %q, got %q", r.field, r.says, refusals)
			}
			for _, got := range refusals {
				if strings.Contains(got.message, "evaluation error") || strings.Contains(got.message, "failed rule") {
					t.Errorf("a rule failed in place of saying what is wrong: %v", got)
				}
			}
		})
	}
}

func TestARefusedPasswordIsNotRepeated(t *testing.T) {
	c := server(t)
	peer := object(t, "BGPPeer", "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1, password: swordfish}")
	err := c.Create(context.Background(), peer, client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), "passwordSecret.name") {
		t.Fatalf("want a refusal that names passwordSecret.name, got %v", err)
	}
	if strings.Contains(err.Error(), "swordfish") {
		t.Errorf("the refusal repeats the password: %v", err)
	}
}

// rule is one CEL rule of a CRD.
type rule struct{ kind, field, message string }

// allRules lists the CEL rules of all CRDs with the field that their refusals name.
func allRules(t *testing.T) []rule {
	t.Helper()
	var rules []rule
	walkParts(t, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		kind, field, _ := strings.Cut(path, ".")
		for _, v := range schema.XValidations {
			rules = append(rules, rule{kind: kind, field: strings.ReplaceAll(field, "{}", "[]") + v.FieldPath, message: v.Message})
		}
	})
	return rules
}

func TestEveryRuleIsHit(t *testing.T) {
	c := server(t)
	rules := allRules(t)
	hit := map[rule]bool{}
	for _, r := range rows {
		if r.says == "" {
			continue
		}
		for _, got := range apply(t, c, object(t, r.kind, r.spec)) {
			for _, known := range rules {
				if known.kind == r.kind && known.field == got.field && strings.Contains(got.message, known.message) {
					hit[known] = true
				}
			}
		}
	}
	for _, known := range rules {
		if !hit[known] {
			t.Errorf("no row is refused by the rule of %s at %s that says %q", known.kind, known.field, known.message)
		}
	}
}

var (
	imperative = regexp.MustCompile(`\b(write|leave|use|set|put|choose|copy|shorten|must)\b`)
	jargon     = regexp.MustCompile(`(?i)\b(regex|regexp|pattern '\^|nil|null|CEL|XValidation|invalid)\b|\^\[`)
)

func TestMessagesAreAdvice(t *testing.T) {
	for _, r := range allRules(t) {
		where := r.kind + " " + r.field
		if !imperative.MatchString(r.message) {
			t.Errorf("%s: the message does not say what to do: %q", where, r.message)
		}
		if m := jargon.FindString(r.message); m != "" {
			t.Errorf("%s: %q is no word for somebody who only wants a pool: %q", where, m, r.message)
		}
		if strings.HasSuffix(r.message, ".") || len(r.message) > 260 {
			t.Errorf("%s: a message is one clause or two without full stop: %q", where, r.message)
		}
	}
}
