package ipam

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// stories are told step by step; a name is what is promised.
var stories = map[string][]step{
	"an address that a Service asks for is its, and asking again changes nothing": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.4", wants("1.2.3.4")),
		assigns("s1", "1.2.3.4"),
	},
	"nobody takes an address from who has it, until it is given back": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.4", wants("1.2.3.4")),
		assigns("s2", "AddressInUse", wants("1.2.3.4")),
		message("s2", "1.2.3.4 is asked for, but another Service has it"),
		assigns("s2", "1.2.3.5", wants("1.2.3.5")),
		assigns("s2", "AddressInUse, keeps 1.2.3.5", wants("1.2.3.4")),
		goes("s1").then("s2: 1.2.3.4"),
	},
	"two Services swap addresses by way of a third one": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.4", wants("1.2.3.4")),
		assigns("s2", "1.2.3.5", wants("1.2.3.5")),
		assigns("s1", "1.2.3.6", wants("1.2.3.6")),
		assigns("s2", "1.2.3.4", wants("1.2.3.4")),
		assigns("s1", "1.2.3.5", wants("1.2.3.5")),
	},
	"the same in IPv6": {
		edit(auto("lab", "fd00::/120")),
		assigns("s1", "fd00::4", v6, wants("fd00::4")),
		assigns("s2", "AddressInUse", v6, wants("fd00::4")),
		assigns("s2", "fd00::5", wants("fd00::5")),
		goes("s1"),
		assigns("s2", "fd00::4", wants("fd00::4")),
	},
	"avoidBuggyIPs refuses .0 and .255 and nothing else": {
		edit(auto("lab", "1.2.3.0/24", avoidingBuggy)),
		assigns("s1", "AddressExcluded", wants("1.2.3.0")),
		assigns("s1", "AddressExcluded", wants("1.2.3.255")),
		message("s1", "1.2.3.255 is asked for, but pool lab avoids addresses that end in .0 or .255 (avoidBuggyIPs)"),
		assigns("s1", "1.2.3.1", wants("1.2.3.1")),
		assigns("s2", "1.2.3.254", wants("1.2.3.254")),
	},
	"avoidBuggyIPs over several ranges hands out all the others": {
		edit(auto("lab", "1.2.3.254-1.2.4.1 1.2.5.0/31 1.2.6.255", avoidingBuggy)),
		usage("lab", "v4 0/3, 3 free"),
		assigns("s1", "1.2.3.254"),
		assigns("s2", "1.2.4.1"),
		assigns("s3", "1.2.5.1"),
		assigns("s4", "PoolExhausted"),
		goes("s2").then("s4: 1.2.4.1"),
	},
	"a pair from one pool is granted together": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "1.2.3.4 fd00::4", require, wants("1.2.3.4 fd00::4")),
		assigns("s2", "AddressInUse", require, wants("1.2.3.5 fd00::4")),
		usage("lab", "v4 1/256, 255 free; v6 1/256, 255 free"),
	},
	"a pair that is asked for by address may come from two pools": {
		edit(auto("four", "1.2.3.0/24"), auto("six", "fd00::/120")),
		assigns("s1", "1.2.3.4 fd00::4", require, wants("1.2.3.4 fd00::4")),
	},
	"of a pair that is asked for by address, PreferDualStack takes what there is, and the rest later": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "fd00::4", v6, wants("fd00::4")),
		assigns("s2", "1.2.3.4", prefer, wants("1.2.3.4 fd00::4")),
		message("s2", "1.2.3.4 from pool lab; fd00::4 is asked for, but another Service has it"),
		assigns("s3", "AddressInUse", prefer, wants("1.2.3.4 fd00::4")),
		message("s3", "1.2.3.4 is asked for, but another Service has it; fd00::4 is asked for, but another Service has it"),
		assigns("s4", "1.2.3.7 fd00::7", prefer, wants("1.2.3.7 fd00::7")),
		assigns("s4", "AddressInUse, keeps 1.2.3.7 fd00::7", wants("1.2.3.8 fd00::4")), // it would cost what it has
		assigns("s4", "1.2.3.7 fd00::7", wants("1.2.3.7 fd00::7")),
		goes("s1").then("s2: 1.2.3.4 fd00::4"),
		assigns("s5", "1.2.3.9", prefer, wants("1.2.3.9 fd0a::1")),
		message("s5", "1.2.3.9 from pool lab; fd0a::1 is asked for, but no pool has it"),
		edit(auto("lab", "1.2.3.0/24 fd00::/120"), auto("six", "fd0a::/120")).then("s5: 1.2.3.9 fd0a::1"),
	},
	"what a speaker tells of the network later moves nobody": {
		edit(auto("lan", "10.0.0.0/29")),
		assigns("s1", "10.0.0.0"),
		assigns("s2", "10.0.0.1"),
		assigns("s3", "10.0.0.2"),
		nodes(Node{Name: "a", OnLink: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29")}, Gateways: addrs("10.0.0.1")}),
		assigns("s1", "10.0.0.0"),
		message("s1", "10.0.0.0 from pool lan, which does not give it out any more"),
		assigns("s2", "10.0.0.1"),
		message("s3", "10.0.0.2 from pool lan"),
		skipped("lan", "10.0.0.0 (the network address of 10.0.0.0/29, which nodes are on), 10.0.0.1 (a gateway of nodes), "+
			"10.0.0.7 (the broadcast address of 10.0.0.0/29, which nodes are on)"),
		goes("s1"),
		assigns("s4", "10.0.0.3"), // what was given up is not given out again
	},
	"a pool pinned to a namespace serves that one only, asked for or not": {
		edit(auto("a", "1.2.3.0/24", forNamespace("team-a"))),
		assigns("team-a/s", "1.2.3.0"),
		assigns("team-b/s", "NoPool"),
		message("team-b/s", "no IPv4 address: a: is not for namespace team-b"),
		assigns("team-b/s", "NoPool", fromPool("a")),
		assigns("team-b/s", "NoPool", fromPool(""), wants("1.2.3.7")),
		message("team-b/s", "1.2.3.7 is asked for, but pool a is not for namespace team-b"),
	},
	"a pool pinned to labels serves Services with these only": {
		edit(auto("gold", "1.2.3.0/24", forServicesWith("tier", "gold"))),
		assigns("s1", "1.2.3.0", labelled("tier", "gold")),
		assigns("s2", "NoPool", labelled("tier", "iron")),
		message("s2", "no IPv4 address: gold: is not for Services with these labels"),
		assigns("s2", "1.2.3.1", labelled("tier", "gold")),
	},
	"a pool pinned to a namespace and labels wants both": {
		edit(auto("p", "1.2.3.0/24", forNamespace("team-a"), forServicesWith("tier", "gold"))),
		assigns("team-a/one", "NoPool"),
		assigns("team-b/two", "NoPool", labelled("tier", "gold")),
		assigns("team-a/three", "1.2.3.0", labelled("tier", "gold")),
	},
	"a label that a namespace gets lets its waiting Services in": {
		edit(auto("p", "1.2.3.0/24", forNamespacesWith("net", "public"))),
		assigns("team-a/s1", "NoPool"),
		assigns("team-b/s2", "NoPool"),
		step{does: "team-a is labelled", do: func(w *world) string {
			inNamespace("net", "public")(w.request(key("team-a/s1")))
			w.a.NamespaceChanged("team-a")
			w.bringBack()
			return ""
		}, news: []string{"s1: 1.2.3.0"}},
	},
	"a label that a namespace loses lets its waiting Services out of a fence": {
		edit(auto("fence", "1.0.1.0/32", forNamespacesWith("team", "x"), exclusive), auto("all", "1.0.0.0/24")),
		assigns("s1", "1.0.1.0", inNamespace("team", "x")),
		assigns("s2", "PoolExhausted", inNamespace("team", "x")),
		step{does: "the namespace is labelled anew", do: func(w *world) string {
			inNamespace("team", "y")(w.request(key("s2")))
			w.a.NamespaceChanged("default")
			w.bringBack()
			return ""
		}, news: []string{"s2: 1.0.0.0"}},
	},
	"a label that a namespace loses changes the answer of who waited for a pool that was for it": {
		edit(auto("a", "1.2.3.0/32 fd00::/127", releasing), auto("b", "1.2.4.0/32", forNamespacesWith("net", "public"), priority(1))),
		assigns("s0", "1.2.4.0", inNamespace("net", "public")),
		assigns("s1", "1.2.3.0 fd00::", prefer, inNamespace("net", "public")),
		edit(auto("a", "fd00::/127", releasing), auto("b", "1.2.4.0/32", forNamespacesWith("net", "public"), priority(1))).then("s1: PoolExhausted, keeps 1.2.3.0 fd00::"),
		{does: "the label goes", do: func(w *world) string {
			inNamespace("net", "none")(w.request(key("s1")))
			w.a.NamespaceChanged("default")
			w.bringBack()
			return ""
		}, news: []string{"s1: fd00::"}},
	},
	"a label that a namespace gets closes to it what its Services waited for, though the pool that does can't be read": {
		edit(auto("a", "1.2.3.0/32 fd00::/127", releasing), auto("b", "1.2.4.0/32")),
		assigns("s0", "1.2.4.0", wants("1.2.4.0")),
		assigns("s1", "1.2.3.0 fd00::", prefer),
		edit(auto("a", "fd00::/127", releasing), auto("b", "1.2.4.0/32"), auto("c", "", invalid("why"), forNamespacesWith("net", "closed"), exclusive)).
			then("s1: PoolExhausted, keeps 1.2.3.0 fd00::"),
		{does: "the label comes", do: func(w *world) string {
			inNamespace("net", "closed")(w.request(key("s1")))
			w.a.NamespaceChanged("default")
			w.bringBack()
			return ""
		}, news: []string{"s1: fd00::"}},
	},
	"as many Services as there are addresses, then one for each that is given back": {
		edit(auto("lab", "1.2.3.0/30")),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "1.2.3.1"),
		assigns("s3", "1.2.3.2"),
		assigns("s4", "1.2.3.3"),
		assigns("s5", "PoolExhausted"),
		assigns("s6", "PoolExhausted"),
		message("s6", "no IPv4 address: lab: full (v4 4/4)"),
		goes("s2").then("s5: 1.2.3.1"),
		goes("s1").then("s6: 1.2.3.0"),
		goes("s4"),
	},
	"dual-stack takes both or neither": {
		edit(auto("lab", "1.2.3.0/31 fd00::/128")),
		assigns("s1", "1.2.3.0 fd00::", require),
		assigns("s2", "PoolExhausted", require),
		message("s2", "no IPv6 address: lab: full (v6 1/1)"),
		usage("lab", "v4 1/2, 1 free; v6 1/1, 0 free"),
		assigns("s3", "1.2.3.1", v4),
		goes("s1").then("s2: 1.2.3.0 fd00::"),
	},
	"a Service that had IPv4 may have IPv6 later": {
		edit(auto("lab", "1.2.3.0/30 fd00::/126")),
		assigns("s1", "1.2.3.0", v4),
		goes("s1"),
		assigns("s1", "fd00::", v6),
	},
	"single and dual-stack interleave and the numbers stay right": {
		edit(auto("lab", "1.2.3.0/30 fd00::/126")),
		assigns("s1", "1.2.3.0", v4),
		assigns("s2", "1.2.3.1 fd00::", require),
		assigns("s3", "fd00::1", v6),
		assigns("s4", "1.2.3.2 fd00::2", prefer),
		goes("s2"),
		usage("lab", "v4 2/4, 2 free; v6 2/4, 2 free"),
	},
	"a pool without autoAssign serves who asks for it or for an address of it": {
		edit(auto("byhand", "1.2.3.0/24", manual)),
		assigns("s1", "NoPool"),
		message("s1", "no IPv4 address: byhand: is only for Services that ask for it (autoAssign is false)"),
		assigns("s1", "1.2.3.0", fromPool("byhand")),
		assigns("s2", "1.2.3.9", wants("1.2.3.9")),
	},
	"all pools are used up before a Service is refused, in the order of their names": {
		edit(auto("b", "1.2.4.0/32 fd00::/128"), auto("a", "1.2.3.0/32"), auto("c", "fd00::1/128", manual)),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "1.2.4.0"),
		assigns("s3", "PoolExhausted"),
		message("s3", "no IPv4 address: a: full (v4 1/1); b: full (v4 1/1); c: is only for Services that ask for it (autoAssign is false)"),
		assigns("s4", "fd00::", v6),
		assigns("s5", "PoolExhausted", v6),
		message("s5", "no IPv6 address: a: family IPv4 ≠ IPv6; b: full (v6 1/1); c: is only for Services that ask for it (autoAssign is false)"),
	},
	"both families come from one pool where one has both, else from two": {
		edit(auto("a", "1.2.3.0/24"), auto("b", "1.2.4.0/32 fd00:b::/128"), auto("c", "fd00:c::/120")),
		assigns("s1", "1.2.4.0 fd00:b::", require),
		assigns("s2", "1.2.3.0 fd00:c::", require),
		message("s2", "1.2.3.0 from pool a, fd00:c:: from pool c"),
	},
	"families come in the Service's order": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "fd00:: 1.2.3.0", require, sixFirst),
		message("s1", "fd00:: and 1.2.3.0 from pool lab"),
	},
	"loading the same pools again changes nothing": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		usage("lab", "v4 1/256, 255 free"),
	},
	"a pool that grows keeps what it gave": {
		edit(auto("lab", "1.2.3.1")),
		assigns("s1", "1.2.3.1"),
		assigns("s2", "PoolExhausted"),
		edit(auto("lab", "1.2.3.0/31")).then("s2: 1.2.3.0"),
		assigns("s1", "1.2.3.1"),
	},
	"a pool that shrinks moves nobody, not even from what it has no more": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "1.2.3.200", wants("1.2.3.200")),
		edit(auto("lab", "1.2.3.0/25")),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "1.2.3.200"),
		message("s2", "1.2.3.200 from pool lab, which does not give it out any more"),
		usage("lab", "v4 2/128, 127 free"),
		goes("s2"),
		usage("lab", "v4 1/128, 127 free"),
		assigns("s3", "AddressNotInPool", wants("1.2.3.200")),
	},
	"a pool renamed keeps its Services, and they say the new name": {
		edit(auto("old", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		edit(auto("new", "1.2.3.0/24")),
		message("s1", "1.2.3.0 from pool new"),
		usage("old", "none"),
		usage("new", "v4 1/256, 255 free"),
	},
	"a pool split in two keeps its Services": {
		edit(auto("whole", "1.2.3.0/24")),
		assigns("s1", "1.2.3.1", wants("1.2.3.1")),
		assigns("s2", "1.2.3.129", wants("1.2.3.129")),
		edit(auto("low", "1.2.3.0/25"), auto("high", "1.2.3.128/25")),
		message("s1", "1.2.3.1 from pool low"),
		message("s2", "1.2.3.129 from pool high"),
	},
	"avoidBuggyIPs switched on moves nobody": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		edit(auto("lab", "1.2.3.0/24", avoidingBuggy)),
		assigns("s1", "1.2.3.0"),
		usage("lab", "v4 1/254, 254 free"),
		goes("s1"),
		assigns("s2", "1.2.3.1"),
	},
	"a deleted pool keeps its Services and gives out nothing new": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		edit(auto("lab", "1.2.3.0/24", deleting)),
		assigns("s1", "1.2.3.0"),
		message("s1", "1.2.3.0 from pool lab, which is being deleted"),
		assigns("s2", "NoPool"),
		message("s2", "no IPv4 address: lab: is being deleted"),
		assigns("s2", "PoolDeleting", fromPool("lab")),
		assigns("s2", "PoolDeleting", fromPool(""), wants("1.2.3.9")),
		message("s2", "1.2.3.9 is asked for, but pool lab is being deleted"),
		edit().then("s2: AddressNotInPool"),
		message("s1", "1.2.3.0 from pool lab, which is gone"),
	},
	"a pool made in place of one that is being deleted takes its addresses over": {
		edit(auto("old", "1.2.3.0/24", made(1))),
		assigns("s1", "1.2.3.0"),
		edit(auto("old", "1.2.3.0/24", made(1), deleting), auto("new", "1.2.3.0/24", made(2))),
		message("s1", "1.2.3.0 from pool new"),
		usage("old", ""),
		assigns("s2", "1.2.3.1"),
		message("s2", "1.2.3.1 from pool new"),
	},
	"of pools that overlap the older keeps what both have": {
		edit(auto("young", "1.2.3.0/24", made(2)), auto("old", "1.2.3.128/25", made(1))),
		usage("young", "v4 0/128, 128 free"),
		usage("old", "v4 0/128, 128 free"),
		assigns("s1", "1.2.3.200", wants("1.2.3.200")),
		message("s1", "1.2.3.200 from pool old"),
		assigns("s2", "AddressNotInPool", wants("1.2.3.200"), fromPool("young")),
		message("s2", "1.2.3.200 is asked for, but it is in pool old, not in pool young that is asked for too"),
	},
	"an older pool that grows over a younger one's address leaves that where it is": {
		edit(auto("old", "1.2.2.0/24", made(1)), auto("young", "1.2.3.0/24", made(2))),
		assigns("s1", "1.2.3.0", fromPool("young")),
		edit(auto("old", "1.2.2.0/23", made(1)), auto("young", "1.2.3.0/24", made(2))),
		assigns("s1", "1.2.3.0"),
		message("s1", "1.2.3.0 from pool young, which does not give it out any more"),
	},
	"what an older pool excludes a younger one may have": {
		edit(auto("old", "1.2.3.0/24", made(1), excluding("1.2.3.128/25")), auto("young", "1.2.3.128/25", made(2))),
		usage("old", "v4 0/128, 128 free"),
		usage("young", "v4 0/128, 128 free"),
	},
	"orphans are taken over by a pool that is made over them": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.200", wants("1.2.3.200")),
		edit(auto("lab", "1.2.3.0/25")),
		edit(auto("lab", "1.2.3.0/25"), auto("more", "1.2.3.128/25")),
		message("s1", "1.2.3.200 from pool more"),
	},
	"orphans move when their pool's operator releases them": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.200", wants("1.2.3.200")),
		assigns("s1", "1.2.3.200", wants("")),
		edit(auto("lab", "1.2.3.0/25")),
		edit(auto("lab", "1.2.3.0/25", releasing)).then("s1: 1.2.3.0"),
		usage("lab", "v4 1/128, 127 free"),
	},
	"released orphans stay while there is nowhere to go": {
		edit(auto("lab", "1.2.3.0/31")),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "1.2.3.1"),
		edit(auto("lab", "1.2.3.1", releasing)).then("s1: PoolExhausted, keeps 1.2.3.0"),
		goes("s2").then("s1: 1.2.3.1"),
	},
	"who asks for an address that no pool has is told of pools that can't be read, which may have it": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.7", wants("1.2.3.7")),
		assigns("s2", "AddressInUse", wants("1.2.3.7")),
		edit(auto("lab", "", invalid("1.2.3.9-1.2.3.1 is reversed"))).then("s2: AddressNotInPool"),
		message("s2", "1.2.3.7 is asked for, but no pool has it that is ready (not ready: lab)"),
		edit(auto("other", "1.2.4.0/24")),
		message("s2", "1.2.3.7 is asked for, but no pool has it"),
		edit(auto("other", "1.2.4.0/24"), auto("lab", "", invalid("1.2.3.9-1.2.3.1 is reversed"))),
		message("s2", "1.2.3.7 is asked for, but no pool has it that is ready (not ready: lab)"),
		edit(auto("other", "1.2.4.0/24"), auto("lab", "1.2.3.0/24")).then("s2: AddressInUse"),
	},
	"a pool that can't be read gives nothing out and takes nothing away": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		edit(auto("lab", "", invalid("1.2.3.9-1.2.3.1 is reversed"))),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "NoPool"),
		assigns("s3", "PoolNotReady", fromPool("lab")),
		message("s3", "no IPv4 address: lab: is not ready: 1.2.3.9-1.2.3.1 is reversed"),
		edit(auto("lab", "1.2.3.0/24")).then("s2: 1.2.3.1", "s3: 1.2.3.2"),
	},
	"a Service that asks for another pool moves there, and stays when it can't": {
		edit(auto("a", "1.2.3.0/24"), auto("b", "1.2.4.0/32")),
		assigns("s1", "1.2.3.0"),
		assigns("s1", "1.2.4.0", fromPool("b")),
		assigns("s2", "PoolExhausted", fromPool("b")),
		assigns("s2", "1.2.3.0", fromPool("a")),
		assigns("s2", "PoolExhausted, keeps 1.2.3.0", fromPool("b")),
		message("s2", "no IPv4 address: b: full (v4 1/1); keeps 1.2.3.0 from pool a"),
		assigns("s2", "PoolNotFound, keeps 1.2.3.0", fromPool("c")),
		message("s2", "pool c is asked for, but there is no such IPAddressPool; keeps 1.2.3.0 from pool a"),
		edit(auto("a", "1.2.3.0/24"), auto("b", "1.2.4.0/32"), auto("c", "1.2.5.0/32")).then("s2: 1.2.5.0"),
	},
	"PreferDualStack takes what there is and is completed later": {
		edit(auto("four", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", prefer),
		message("s1", "1.2.3.0 from pool four; no IPv6 address: four: family IPv4 ≠ IPv6"),
		edit(auto("four", "1.2.3.0/24"), auto("six", "fd00::/120")).then("s1: 1.2.3.0 fd00::"),
	},
	"PreferDualStack with IPv6 first is completed in front": {
		edit(auto("four", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", prefer, sixFirst),
		edit(auto("four", "1.2.3.0/24"), auto("six", "fd00::/120")).then("s1: fd00:: 1.2.3.0"),
	},
	"PreferDualStack is completed from the pool it has an address from, where that can": {
		edit(auto("b", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", prefer),
		edit(auto("a", "fd00:a::/120"), auto("b", "1.2.3.0/24 fd00:b::/120")).then("s1: 1.2.3.0 fd00:b::"),
	},
	"PreferDualStack with one cluster IP gets one address": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "1.2.3.0", prefer, v4),
	},
	"PreferDualStack gives up neither address for a pool that is short of one": {
		edit(auto("a", "1.2.3.0/24 fd00:a::/120"), auto("b", "1.2.4.0/24 fd00:b::/128")),
		assigns("s0", "fd00:b::", v6, fromPool("b")),
		assigns("s1", "1.2.3.0 fd00:a::", prefer),
		assigns("s1", "PoolExhausted, keeps 1.2.3.0 fd00:a::", fromPool("b")),
		goes("s0").then("s1: 1.2.4.0 fd00:b::"),
	},
	"RequireDualStack with one cluster IP is refused": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "FamilyMismatch", require, v4),
		message("s1", "ipFamilyPolicy is RequireDualStack, but the Service's cluster IPs are IPv4 only"),
	},
	"a Service that turns dual-stack and back keeps the family that stays": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "1.2.3.0"),
		assigns("s1", "1.2.3.0 fd00::", require),
		assigns("s1", "1.2.3.0", single, v4),
		usage("lab", "v4 1/256, 255 free; v6 0/256, 256 free"),
	},
	"a Service without a cluster IP gets nothing": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "NoClusterIP", families("")),
	},
	"what a Service asks for must fit itself": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "FamilyMismatch", v6, wants("1.2.3.4")),
		message("s1", "1.2.3.4 is asked for, but the Service is IPv6 only"),
		assigns("s1", "FamilyMismatch", v4, wants("fd00::4")),
		assigns("s1", "InvalidRequest", wants("1.2.3.4 1.2.3.5")),
		message("s1", "1.2.3.4 and 1.2.3.5 are both IPv4: ask for at most one address of each family"),
		assigns("s1", "FamilyMismatch", wants("1.2.3.4 fd00::4")),
		assigns("s1", "FamilyMismatch", require, wants("1.2.3.4")),
		message("s1", "1.2.3.4 is asked for, but the Service is dual-stack: ask for one address of each family, or for none"),
		assigns("s1", "InvalidRequest", single, v4, wants("127.0.0.1")),
		message("s1", "127.0.0.1 is asked for, but that is loopback and can't be a Service's address"),
		assigns("s1", "InvalidRequest", v6, wants("::ffff:1.2.3.4")),
		assigns("s1", "AddressNotInPool", v4, wants("9.9.9.9")),
		message("s1", "9.9.9.9 is asked for, but no pool has it"),
	},
	"a Service whose request can't be read keeps what it has": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		assigns("s1", "InvalidRequest, keeps 1.2.3.0", func(r *Request) {
			r.Unreadable = &Unreadable{clarion.ReasonInvalidRequest, `"lots" is no IP address`}
		}),
		message("s1", `"lots" is no IP address; keeps 1.2.3.0 from pool lab`),
	},
	"an excluded address is not given to who asks for it": {
		edit(auto("lab", "1.2.3.0/24", excluding("1.2.3.0-1.2.3.9"))),
		assigns("s1", "AddressExcluded", wants("1.2.3.4")),
		message("s1", "1.2.3.4 is asked for, but pool lab excludes it"),
		assigns("s1", "1.2.3.10", wants("")),
		usage("lab", "v4 1/246, 245 free"),
	},
	"a pool of which nothing is left says so, and not that it is of another family": {
		edit(auto("lab", "1.2.3.0/30 fd00::/126")),
		assigns("s1", "1.2.3.0"),
		edit(auto("lab", "1.2.3.0/30 fd00::/126", excluding("1.2.0.0/16"))),
		message("s1", "1.2.3.0 from pool lab, which does not give it out any more"),
		assigns("s2", "PoolExhausted"),
		message("s2", "no IPv4 address: lab: has no IPv4 address to give: what it lists is excluded, never given out, or an older pool's"),
		assigns("s3", "fd00::", v6),
		edit(auto("lab", "1.2.3.0/30 fd00::/126", excluding("1.2.3.0/31"))).then("s2: 1.2.3.2"),
	},
	"addresses that mean something else to every host are never given out": {
		edit(auto("odd", "126.255.255.255-128.0.0.0 169.253.255.255-169.254.0.0 fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff-fe80::1 ::fffe:ffff:ffff-::1:0:0:0")),
		assigns("s1", "126.255.255.255"),
		assigns("s2", "128.0.0.0"),
		assigns("s3", "169.253.255.255"),
		assigns("s4", "PoolExhausted"),
		assigns("s5", "::fffe:ffff:ffff", v6),
		assigns("s6", "::1:0:0:0", v6),
		assigns("s7", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", v6),
		assigns("s8", "PoolExhausted", v6),
	},
	"numbers are exact however large the pool": {
		edit(auto("a", "1.2.3.0/24 1.2.4.0/25"), auto("b", "2001:db8::/32 fd00::/64"), auto("c", "10.0.0.0/8", avoidingBuggy)),
		usage("a", "v4 0/384, 384 free"),
		usage("b", "v6 0/~2^96, 79228162532711081667253501952 free"),
		usage("c", "v4 0/~2^23, 16646144 free"),
		assigns("s1", "2001:db8::", v6),
		usage("b", "v6 1/~2^96, 79228162532711081667253501951 free"),
	},
	"pools for somebody come before pools for everybody, by priority, 0 last": {
		edit(auto("all", "1.0.0.0/24"), auto("zero", "1.0.1.0/32", priority(0)), auto("ten", "1.0.2.0/32", priority(10)), auto("two", "1.0.3.0/32", priority(2))),
		assigns("s1", "1.0.3.0"),
		assigns("s2", "1.0.2.0"),
		assigns("s3", "1.0.1.0"),
		assigns("s4", "1.0.0.0"),
	},
	"a fence keeps Services that a pool selects from others": {
		edit(auto("all", "1.0.0.0/24"), auto("fence", "1.0.1.0/32", forNamespace("team-a"), exclusive)),
		assigns("team-a/s1", "1.0.1.0"),
		assigns("team-a/s2", "PoolExhausted"),
		message("team-a/s2", "no IPv4 address: fence: full (v4 1/1); all: is closed to this Service, which pool fence keeps to itself (fallback: Denied)"),
		assigns("team-a/s2", "NoPool", wants("1.0.0.7")),
		assigns("team-b/s3", "1.0.0.0"),
	},
	"a fence holds although its pool can't be read, or is being deleted": {
		edit(auto("all", "1.0.0.0/24"), auto("fence", "", invalid("a typo"), forNamespace("team-a"), exclusive)),
		assigns("team-a/s1", "NoPool"),
		message("team-a/s1", "no IPv4 address: fence: is not ready: a typo; all: is closed to this Service, which pool fence keeps to itself (fallback: Denied)"),
		edit(auto("all", "1.0.0.0/24"), auto("fence", "1.0.1.0/32", deleting, forNamespace("team-a"), exclusive)),
		assigns("team-a/s1", "NoPool"),
		edit(auto("all", "1.0.0.0/24")).then("s1: 1.0.0.0"),
	},
	"a namespace gets no more of a pool than its quota": {
		edit(auto("lab", "1.2.3.0/24", quota(2))),
		assigns("team-a/s1", "1.2.3.0"),
		assigns("team-a/s2", "1.2.3.1"),
		assigns("team-a/s3", "QuotaReached"),
		message("team-a/s3", "no IPv4 address: lab: namespace team-a has all that its quota allows (2)"),
		assigns("team-b/s4", "1.2.3.2"),
		assigns("team-a/s2", "1.2.3.9", wants("1.2.3.9")),
		goes("team-b/s4"),
		goes("team-a/s1").then("s3: 1.2.3.0"),
	},
	"a pair needs a quota of two": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120", quota(1)), auto("six", "fd01::/120")),
		assigns("s1", "1.2.3.0 fd01::", require),
		assigns("s2", "QuotaReached", require),
	},
	"a Service at random gets the same place each time": {
		edit(auto("lab", "1.2.0.0/16 fd00::/64", random)),
		assigns("s1", "1.2.211.27 fd00::afff:20e2:a066:d31b", require),
		goes("s1"),
		assigns("s1", "1.2.211.27 fd00::afff:20e2:a066:d31b", require),
	},
	"addresses that somebody else wrote are left alone, until a pool covers them": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "HeldByAnother", status("9.9.9.9")),
		message("s1", "status.loadBalancer.ingress has 9.9.9.9, not assigned by Clarion and covered by no pool: left alone. Clear it, or make a pool that covers it"),
		edit(auto("lab", "1.2.3.0/24"), auto("nine", "9.9.9.0/24")).then("s1: 9.9.9.9"),
		message("s1", "9.9.9.9 from pool nine"),
	},
	"a Service whose foreign address is cleared is served": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "HeldByAnother", status("9.9.9.9")),
		assigns("s1", "1.2.3.0", status("")),
	},
	"an address that another provider's Service has is not given out": {
		edit(auto("lab", "1.2.3.0/30")),
		step{does: "another provider's Service has 1.2.3.0 and 5.5.5.5", do: func(w *world) string {
			w.a.Reserve(key("theirs"), addrs("1.2.3.0 5.5.5.5"))
			w.bringBack()
			return ""
		}},
		usage("lab", "v4 0/4, 3 free"),
		assigns("s1", "1.2.3.1"),
		assigns("s2", "AddressInUse", wants("1.2.3.0")),
		edit(auto("lab", "1.2.3.0/30"), auto("five", "5.5.5.5")),
		assigns("s3", "PoolExhausted", fromPool("five")),
		goes("theirs").then("s2: 1.2.3.0", "s3: 5.5.5.5"),
	},
	"what another provider's Service has is kept from others, whatever else it shows": {
		edit(auto("lab", "1.2.3.0/31")),
		step{does: "it shows an address twice, beside one that can't be", do: func(w *world) string {
			for range 3 {
				w.a.Reserve(key("theirs"), addrs("127.0.0.1 1.2.3.0 1.2.3.0"))
				w.bringBack()
			}
			return ""
		}},
		usage("lab", "v4 0/2, 1 free"),
		assigns("s1", "1.2.3.1"),
		assigns("s2", "PoolExhausted"),
		goes("theirs").then("s2: 1.2.3.0"),
	},
	"a status of the wrong family is replaced": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "1.2.3.0", status("fd00::7")),
		usage("lab", "v4 1/256, 255 free; v6 0/256, 256 free"),
	},
	"a status with three addresses is brought down to what the Service is due": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.7", status("1.2.3.7 1.2.3.8 1.2.3.9")),
		usage("lab", "v4 1/256, 255 free"),
	},
	"an address that is given up rests, and its Service may have it back": {
		edit(auto("lab", "1.2.3.0/31", reuseDelay(10))),
		assigns("s1", "1.2.3.0"),
		assigns("s2", "1.2.3.1"),
		goes("s1"),
		usage("lab", "v4 1/2, 0 free, 1 resting"),
		assigns("s3", "PoolExhausted"),
		message("s3", "no IPv4 address: lab: full (v4 2/2 in use or resting)"),
		assigns("s4", "AddressResting", wants("1.2.3.0")),
		message("s4", "1.2.3.0 is asked for, but another Service gave it up and pool lab lets it rest until 2026-01-01T00:00:10Z (reuseDelay)"),
		goes("s4"),
		assigns("s1", "1.2.3.0"),
		goes("s1"),
		wait(9),
		wait(1).then("s3: 1.2.3.0"),
	},
	"who asks for an address is told why it may not share it, as that changes": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.7", wants("1.2.3.7"), ports(80)),
		assigns("s2", "AddressInUse", wants("1.2.3.7"), shares("k"), ports(443, 80)),
		assigns("s3", "AddressInUse", wants("1.2.3.7"), shares("j"), ports(8080)),
		message("s2", "1.2.3.7 is asked for, but another Service has it and does not share it"),
		assigns("s1", "1.2.3.7", shares("k")), // as was the advice, and yet
		message("s2", "1.2.3.7 is asked for, but another Service has it and a port of this one there (TCP/80)"),
		message("s3", "1.2.3.7 is asked for, but another Service has it under another sharing key"),
		assigns("s1", "1.2.3.7", ports(443, 80)),
		message("s2", "1.2.3.7 is asked for, but another Service has it and a port of this one there (TCP/80)"),
		assigns("s1", "1.2.3.7", ports(443)),
		message("s2", "1.2.3.7 is asked for, but another Service has it and a port of this one there (TCP/443)"),
		assigns("s1", "1.2.3.7", ports(80)),
		message("s2", "1.2.3.7 is asked for, but another Service has it and a port of this one there (TCP/80)"),
		assigns("s1", "1.2.3.7", shares("")),
		message("s3", "1.2.3.7 is asked for, but another Service has it and does not share it"),
		goes("s1").then("s2: 1.2.3.7"),
		message("s3", "1.2.3.7 is asked for, but another Service has it under another sharing key"),
	},
	"who asks for an address and a pool is told when the pool goes": {
		edit(auto("lab", "1.2.3.0/24"), auto("other", "1.2.4.0/24")),
		assigns("s1", "AddressNotInPool", wants("9.9.9.9"), fromPool("lab")),
		edit(auto("other", "1.2.4.0/24")).then("s1: PoolNotFound"),
	},
	"who asks for an address in use is told when its namespace may not have it anyway": {
		edit(auto("lab", "1.2.3.0/24", forNamespacesWith("net", "public"))),
		assigns("s1", "1.2.3.7", wants("1.2.3.7"), inNamespace("net", "public")),
		assigns("s2", "AddressInUse", wants("1.2.3.7"), inNamespace("net", "public")),
		{does: "the label goes", do: func(w *world) string {
			inNamespace("net", "none")(w.request(key("s2")))
			w.a.NamespaceChanged("default")
			w.bringBack()
			return ""
		}, news: []string{"s2: NoPool"}},
	},
	"a refusal does not keep an address of a family that the Service has no more": {
		edit(auto("lab", "1.2.3.0/24 fd00::/120")),
		assigns("s1", "1.2.3.4 fd00::4", require, wants("1.2.3.4 fd00::4")),
		assigns("s1", "FamilyMismatch, keeps 1.2.3.4", single, v4),
		message("s1", "fd00::4 is asked for, but the Service is IPv4 only; keeps 1.2.3.4 from pool lab"),
		usage("lab", "v4 1/256, 255 free; v6 0/256, 256 free"),
	},
	"who waits for an address that rests for another one is told when that has taken it back and let it rest to the end": {
		edit(auto("lab", "1.2.3.0/24", reuseDelay(10))),
		assigns("s1", "1.2.3.7", wants("1.2.3.7")),
		goes("s1"),
		assigns("s2", "AddressResting", wants("1.2.3.7")),
		assigns("s3", "AddressResting", wants("1.2.3.7")),
		assigns("s1", "1.2.3.7", wants("1.2.3.7")).then("s2: AddressInUse", "s3: AddressInUse"),
		goes("s1").then("s2: AddressResting", "s3: AddressResting"),
		wait(9),
		wait(1).then("s2: 1.2.3.7", "s3: AddressInUse"),
		goes("s2").then("s3: AddressResting"),
		wait(10).then("s3: 1.2.3.7"),
	},
	"a Service that swapped back has what it gave up at once": {
		edit(auto("lab", "1.2.3.0/24", reuseDelay(10))),
		assigns("s1", "1.2.3.7", wants("1.2.3.7")),
		assigns("s1", "1.2.3.8", wants("1.2.3.8")),
		assigns("s2", "AddressResting", wants("1.2.3.7")),
		assigns("s1", "1.2.3.7", wants("1.2.3.7")).then("s2: AddressInUse"),
	},
	"a Service made again gets what rests for it before anything else": {
		edit(auto("lab", "1.2.3.0/24", reuseDelay(10))),
		assigns("s1", "1.2.3.7", wants("1.2.3.7")),
		goes("s1"),
		assigns("s1", "1.2.3.7", wants("")),
	},
	"a shorter reuseDelay counts for what rests already": {
		edit(auto("lab", "1.2.3.0/32", reuseDelay(100))),
		assigns("s1", "1.2.3.0"),
		goes("s1"),
		assigns("s2", "PoolExhausted"),
		edit(auto("lab", "1.2.3.0/32", reuseDelay(5))),
		wait(5).then("s2: 1.2.3.0"),
		goes("s2"),
		assigns("s3", "PoolExhausted"),
		edit(auto("lab", "1.2.3.0/32")).then("s3: 1.2.3.0"),
	},
	"addresses of nodes and of their networks are not given out, and who has one keeps it": {
		edit(auto("lab", "10.0.0.0/29 fd00::/125")),
		assigns("s1", "10.0.0.2", wants("10.0.0.2")),
		nodes(Node{Name: "a", Addresses: addrs("10.0.0.1 10.0.0.2 fd00::1"), Gateways: addrs("10.0.0.6"),
			OnLink: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/29"), netip.MustParsePrefix("fd00::1/64")}}),
		assigns("s1", "10.0.0.2"),
		message("s1", "10.0.0.2 from pool lab, which does not give it out any more"),
		usage("lab", "v4 1/3, 3 free; v6 0/6, 6 free"),
		skipped("lab", "10.0.0.0 (the network address of 10.0.0.0/29, which nodes are on), "+
			"10.0.0.1 (an address of node a), 10.0.0.2 (an address of node a), 10.0.0.6 (a gateway of nodes), "+
			"10.0.0.7 (the broadcast address of 10.0.0.0/29, which nodes are on), "+
			"fd00:: (the routers' anycast address of fd00::/64, which nodes are on), fd00::1 (an address of node a)"),
		assigns("s2", "10.0.0.3", wants("")),
		assigns("s3", "fd00::2", v6),
		assigns("s4", "AddressExcluded", wants("10.0.0.1")),
		message("s4", "10.0.0.1 is asked for, but it is an address of node a"),
		nodes().then("s4: 10.0.0.1"),
		usage("lab", "v4 3/8, 5 free; v6 1/8, 7 free"),
	},
	"a pool of which less than a tenth is left says so": {
		edit(auto("lab", "1.2.3.0-1.2.3.10 fd00::/64", reuseDelay(10))),
		nearlyFull("lab", ""),
		step{does: "nine Services ask", do: func(w *world) string {
			for i := range 9 {
				w.assign("many/" + strconv.Itoa(i))
			}
			return ""
		}},
		nearlyFull("lab", ""),
		assigns("s10", "1.2.3.9"),
		nearlyFull("lab", "1 of 11 IPv4 addresses are left"),
		goes("many/3"),
		nearlyFull("lab", "1 of 11 IPv4 addresses are left, 1 more rest"),
	},
	"Services with one key and ports of their own have one address": {
		edit(auto("lab", "1.2.3.0/31")),
		assigns("s0", "1.2.3.0"),
		assigns("s1", "1.2.3.1", shares("k"), ports(80)),
		assigns("s2", "1.2.3.1", shares("k"), ports(443)),
		usage("lab", "v4 2/2, 0 free"),
		assigns("s3", "PoolExhausted", shares("k"), ports(443, 8080)),
		message("s3", "no IPv4 address: lab: full (v4 2/2, and none under this Service's sharing key has its ports free)"),
		assigns("s4", "PoolExhausted", shares("j"), ports(8080)),
		message("s4", "no IPv4 address: lab: full (v4 2/2, and none under this Service's sharing key has its ports free)"),
		assigns("s5", "PoolExhausted", ports(8080)),
		goes("s1"),
		assigns("s6", "1.2.3.1", shares("k"), ports(9090)),
		goes("s2").then("s3: 1.2.3.1"),
		goes("s0").then("s4: 1.2.3.0"),
		usage("lab", "v4 2/2, 0 free"),
	},
	"an address under a Service's key comes before a fresh one": {
		edit(auto("a", "1.2.3.0/24"), auto("b", "1.2.4.0/24")),
		assigns("s1", "1.2.4.9", shares("k"), ports(80), wants("1.2.4.9")),
		assigns("s2", "1.2.4.9", shares("k"), ports(443)),
		assigns("s3", "1.2.3.0", shares("k"), ports(443)),
		assigns("s4", "1.2.3.0", shares("k"), ports(80)),
		assigns("s5", "1.2.3.0", shares("k"), ports(8080)),
	},
	"who asks for an address may share it, or is told why not": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.7", shares("k"), ports(80), wants("1.2.3.7")),
		assigns("s2", "1.2.3.7", shares("k"), ports(443), wants("1.2.3.7")),
		assigns("s3", "AddressInUse", ports(8080), wants("1.2.3.7")),
		message("s3", "1.2.3.7 is asked for, but another Service has it"),
		assigns("s3", "AddressInUse", shares("j")),
		message("s3", "1.2.3.7 is asked for, but another Service has it under another sharing key"),
		assigns("s3", "AddressInUse", shares("k"), local("app", "a")),
		message("s3", "1.2.3.7 is asked for, but another Service has it under the same sharing key, but the two can't share: "+
			"externalTrafficPolicy must be Cluster for both, or Local for both with the same namespace and selector"),
		assigns("s3", "AddressInUse", cluster, ports(8080, 80)),
		message("s3", "1.2.3.7 is asked for, but another Service has it and a port of this one there (TCP/80)"),
		goes("s1").then("s3: 1.2.3.7"),
	},
	"with Local traffic only Services of the same Pods share": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", shares("k"), ports(80), local("app", "a")),
		assigns("s2", "1.2.3.1", shares("k"), ports(443), local("app", "b")),
		assigns("s3", "1.2.3.0", shares("k"), ports(443), local("app", "a")),
		assigns("s4", "1.2.3.2", shares("k"), ports(8080)),
		assigns("s5", "1.2.3.3", shares("k"), ports(8081), local()),
		assigns("s6", "1.2.3.4", shares("k"), ports(8082), local()),
	},
	"a key is good within a namespace, unless the pool says otherwise": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("x/s1", "1.2.3.0", shares("k"), ports(80)),
		assigns("y/s2", "1.2.3.1", shares("k"), ports(443)),
		assigns("y/s3", "AddressInUse", shares("k"), ports(444), wants("1.2.3.0")),
		message("y/s3", "1.2.3.0 is asked for, but another Service has it, in another namespace, and pool lab lets Services share only within one (sharing: Namespace)"),
		edit(auto("lab", "1.2.3.0/24", across)).then("s3: 1.2.3.0"),
		assigns("z/s4", "1.2.3.0", shares("k"), ports(445)),
		edit(auto("lab", "1.2.3.0/24")).then(),
		assigns("z/s4", "1.2.3.0"),
		message("z/s4", "1.2.3.0 from pool lab; 1.2.3.0 is another Service's too, which this one may not share it with; both had it before and keep it"),
	},
	"two Services of a key share both families": {
		edit(auto("a", "1.2.3.0/24 fd00:a::/120"), auto("b", "1.2.4.0/24 fd00:b::/120")),
		assigns("s1", "1.2.4.0 fd00:b::", require, shares("k"), ports(80), fromPool("b")),
		assigns("s2", "1.2.4.0 fd00:b::", require, shares("k"), ports(443)),
		assigns("s3", "fd00:b::", v6, shares("k"), ports(444)),
		assigns("s4", "1.2.3.0 fd00:a::", require, shares("k"), ports(80)),
		assigns("s5", "1.2.3.0 fd00:a::", prefer, shares("k"), ports(445)),
	},
	"a shared address costs a namespace's quota once": {
		edit(auto("lab", "1.2.3.0/24", quota(1), across)),
		assigns("x/s1", "1.2.3.0", shares("k"), ports(80)),
		assigns("x/s2", "1.2.3.0", shares("k"), ports(443)),
		assigns("x/s3", "QuotaReached", shares("k"), ports(443)),
		assigns("y/s4", "1.2.3.1", ports(80)),
		assigns("y/s5", "QuotaReached", shares("k"), ports(8080)),
		goes("x/s2").then("s3: 1.2.3.0"),
		goes("y/s4").then("s5: 1.2.3.0"),
	},
	"who waits for two families, of which one would take the last place in a quota, is served when it may share the other": {
		edit(auto("c", "1.2.3.0/32 1.2.4.9", quota(3), across, releasing)),
		assigns("y/s1", "1.2.4.9", shares("k"), ports(80), wants("1.2.4.9")),
		assigns("y/s1", "1.2.4.9", prefer, wants("")),
		assigns("x/s6", "1.2.3.0", shares("k"), ports(80), wants("1.2.3.0")),
		assigns("x/s3", "1.2.3.0", shares("k"), ports(443), wants("1.2.3.0")),
		edit(auto("c", "1.2.3.0/32 fd00::/126", quota(2), across, releasing)).then("s1: PoolExhausted, keeps 1.2.4.9"),
		assigns("y/s2", "fd00::", v6),
		assigns("y/s1", "PoolExhausted, keeps 1.2.4.9"),
		goes("x/s6").then("s1: 1.2.3.0"),
	},
	"a Service alone may change its key and its ports": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", shares("k"), ports(80)),
		assigns("s1", "1.2.3.0", shares("j"), ports(443)),
		assigns("s1", "1.2.3.0", shares("")),
		assigns("s2", "1.2.3.1", shares("j"), ports(80)),
		assigns("s1", "1.2.3.0", shares("j")),
		assigns("s3", "1.2.3.0", shares("j"), ports(80)),
	},
	"a sharer may change its ports, and one that changes its key moves": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", shares("k"), ports(80)),
		assigns("s2", "1.2.3.0", shares("k"), ports(443)),
		assigns("s2", "1.2.3.0", ports(8443)),
		assigns("s2", "1.2.3.1", shares("j")),
		assigns("s2", "1.2.3.1"),
		assigns("s2", "1.2.3.1", shares("k")),
		assigns("s2", "1.2.3.0", wants("1.2.3.0")),
		assigns("s2", "AddressInUse", local("app", "a")),
		assigns("s2", "1.2.3.0", cluster),
	},
	"who writes a Service's status before us is not overwritten": {
		edit(auto("lab", "1.2.3.0/30")),
		inVain("s1", "1.2.3.0"),
		assigns("s1", "HeldByAnother", status("9.9.9.9")),
		usage("lab", "v4 0/4, 4 free"),
		inVain("s2", "1.2.3.0"),
		assigns("s2", "1.2.3.3", status("1.2.3.3")),
		assigns("s3", "1.2.3.0"),
		usage("lab", "v4 2/4, 2 free"),
	},
	"a write that came through though nobody heard of it is ours": {
		edit(auto("lab", "1.2.3.0/24")),
		inVain("s1", "1.2.3.0"),
		assigns("s1", "1.2.3.0", status("1.2.3.0")),
		inVain("s1", "1.2.3.9", wants("1.2.3.9")),
		assigns("s1", "1.2.3.9", status("1.2.3.9")),
		assigns("s1", "AddressNotInPool, keeps 1.2.3.9", wants("9.9.9.9")),
	},
	"a change that is taken back before it was written moves nothing": {
		edit(auto("a", "1.2.3.0/24"), auto("b", "1.2.4.0/24")),
		assigns("s1", "1.2.3.0"),
		inVain("s1", "1.2.4.0", fromPool("b")),
		assigns("s1", "1.2.3.0", fromPool("")),
		usage("b", "v4 0/256, 256 free"),
	},
	"an edit that gives addresses to another pool moves nobody, whichever pool the Services ask for": {
		edit(auto("a", "1.2.3.0/24 1.2.5.0/24")),
		assigns("s1", "1.2.3.0", fromPool("a")),
		assigns("s2", "1.2.3.1"),
		edit(auto("a", "1.2.5.0/24"), auto("b", "1.2.3.0/24")),
		message("s1", "1.2.3.0 from pool a, which does not give it out any more"),
		message("s2", "1.2.3.1 from pool b"),
		usage("b", "v4 1/256, 254 free"),
		assigns("s1", "1.2.3.0", fromPool("b")), // which is the one to have it from by now
		message("s1", "1.2.3.0 from pool b"),
		usage("a", "v4 0/256, 256 free"),
		usage("b", "v4 2/256, 254 free"),
		assigns("s1", "1.2.5.0", fromPool("a")),
	},
	"an edit that gives a shared address to another pool moves nobody": {
		edit(auto("a", "1.2.3.0/24 1.2.5.0/24")),
		assigns("s1", "1.2.3.0", shares("k"), ports(80)),
		assigns("s2", "1.2.3.0", shares("k"), ports(443), fromPool("a")),
		edit(auto("a", "1.2.5.0/24"), auto("b", "1.2.3.0/24")),
		message("s1", "1.2.3.0 from pool a, which does not give it out any more"),
		assigns("s2", "1.2.3.0", fromPool("b")),
		message("s1", "1.2.3.0 from pool b"),
		assigns("s3", "1.2.3.0", shares("k"), ports(444)),
		assigns("s2", "1.2.5.0", fromPool("a")),
	},
	"who waits to share an address is served when that counts in the pool where they may": {
		edit(auto("a", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0", ports(80), fromPool("a")),
		edit(auto("a", "1.2.5.0/24"), auto("b", "1.2.3.0/24")),
		assigns("s2", "AddressInUse", wants("1.2.3.0"), shares("k"), ports(443)),
		assigns("s1", "1.2.3.0", shares("k"), fromPool("b")).then("s2: 1.2.3.0"),
	},
	"of two addresses that are asked for, with quota for one, it gets the one of the family that it has": {
		edit(auto("lab", "1.2.3.0/30 fd00::/126", quota(1))),
		assigns("s1", "fd00::", v6),
		assigns("s1", "fd00::1", prefer, wants("1.2.3.2 fd00::1")),
		message("s1", "fd00::1 from pool lab; 1.2.3.2 is asked for, but pool lab: namespace default has all that its quota allows (1)"),
	},
	"who shares an address that is to count in another pool is told when nobody asks for the one it counts in any more": {
		edit(auto("a", "1.2.3.0/32")),
		assigns("s1", "1.2.3.0", shares("k"), ports(80), fromPool("a")),
		assigns("s2", "1.2.3.0", shares("k"), ports(443)),
		edit(auto("a", "1.2.5.0/32"), auto("b", "1.2.3.0/32")),
		assigns("s2", "PoolExhausted, keeps 1.2.3.0", fromPool("b")),
		message("s2", "no IPv4 address: b: full (v4 1/1, and none under this Service's sharing key has its ports free); "+
			"keeps 1.2.3.0 from pool a, which does not give it out any more"),
		goes("s1").then("s2: 1.2.3.0"),
		message("s2", "1.2.3.0 from pool b"),
	},
	"the same where the other one asks for something else": {
		edit(auto("a", "1.2.3.0/32")),
		assigns("s1", "1.2.3.0", shares("k"), ports(80), fromPool("a")),
		assigns("s2", "1.2.3.0", shares("k"), ports(443)),
		edit(auto("a", "1.2.5.0/32"), auto("b", "1.2.3.0/32")),
		assigns("s2", "PoolExhausted, keeps 1.2.3.0", fromPool("b")),
		assigns("s1", "1.2.3.0", fromPool("")).then("s2: 1.2.3.0"),
		message("s2", "1.2.3.0 from pool b"),
	},
	"a hand-edited status of our own Service does not count": {
		edit(auto("lab", "1.2.3.0/24")),
		assigns("s1", "1.2.3.0"),
		assigns("s1", "1.2.3.0", status("1.2.3.99")),
		assigns("s1", "1.2.3.0", status("")),
	},
}

func TestStories(t *testing.T) {
	for name, steps := range stories {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i, s := range steps {
				w.news = nil
				if got := s.do(w); got != s.want {
					t.Fatalf("step %d, %s: got %q, want %q\n%s", i+1, s.does, got, s.want, w.dump())
				}
				if !slices.Equal(w.news, s.news) {
					t.Fatalf("step %d, %s: news %q, want %q\n%s", i+1, s.does, w.news, s.news, w.dump())
				}
			}
		})
	}
}

func (w *world) dump() string {
	var b strings.Builder
	for k, d := range w.last {
		b.WriteString(k.String() + ": " + d.Message + "\n")
	}
	return b.String()
}

// Whatever bytes a sharing key has, and whatever ports and selectors stand beside it: terms that differ are never taken
// for the same.
func TestTermsThatDifferAreWrittenDifferently(t *testing.T) {
	all := []Request{
		{SharingKey: "k", Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\x00", Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\x00\x00\x00PTCP", Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\x00default\x00app\x00web", Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\n", Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\xff", Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\xfe", Ports: []Port{{"TCP", 80}}},
		{SharingKey: `"k"`, Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k", Local: true, Selector: map[string]string{"app": "web"}, Ports: []Port{{"TCP", 80}}},
		{SharingKey: "k\x00default", Local: true, Selector: map[string]string{"app": "web"}, Ports: []Port{{"TCP", 80}}},
		// A label may read like the bytes of a port: 0x7a7a is "zz".
		{SharingKey: "k", Local: true, Selector: map[string]string{"app": "web"}, Ports: []Port{{"TCP", 0x7a7a}, {"UDP", 0x7979}, {"TCP", 80}}},
		{SharingKey: "k", Local: true, Selector: map[string]string{"app": "web", "zzTCP": "yyUDP"}, Ports: []Port{{"TCP", 80}}},
	}
	said := map[string]int{}
	for i, r := range all {
		r.Service = key("s")
		terms := termsOf(r)
		say := string(terms.say(nil))
		if j, twice := said[say]; twice {
			t.Errorf("%+v and %+v are both written %q", all[j], r, say)
		}
		said[say] = i
		for j := range i {
			if other := termsOf(all[j]); other.sharing == terms.sharing && all[j].SharingKey != r.SharingKey {
				t.Errorf("keys %q and %q are taken for the same", all[j].SharingKey, r.SharingKey)
			}
		}
	}
}
