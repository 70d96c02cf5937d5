package metallb

// A Fate is what becomes of a field.
type Fate string

// The fates.
const (
	// Same: the same name and meaning.
	Same Fate = "same"
	// Renamed: the same meaning under another name.
	Renamed Fate = "renamed"
	// Different: the meaning differs, and Why tells how.
	Different Fate = "different"
	// Dropped: it has no counterpart, and Why tells why.
	Dropped Fate = "dropped"
)

// A Field is what becomes of a field of a MetalLB resource.
type Field struct {
	Kind, Name string
	Fate       Fate
	// Becomes is where it is found in Clarion, if that is not under the same name.
	Becomes string
	// Why says what differs, or why it was left out.
	Why string
}

// Fields are all fields of MetalLB's resources in their newest versions. (What older versions call otherwise is told by legacy.go.)
var Fields = []Field{
	{"IPAddressPool", "addresses", Different, "", "an address with bits set behind its prefix (192.0.2.7/24) meant its whole network and is refused here: the conversion writes the network"},
	{"IPAddressPool", "autoAssign", Same, "", ""},
	{"IPAddressPool", "avoidBuggyIPs", Different, "", "switching it on moves no Service that holds such an address"},
	{"IPAddressPool", "serviceAllocation.priority", Same, "", ""},
	{"IPAddressPool", "serviceAllocation.namespaces", Same, "", ""},
	{"IPAddressPool", "serviceAllocation.namespaceSelectors", Same, "", ""},
	{"IPAddressPool", "serviceAllocation.serviceSelectors", Same, "", ""},
	{"L2Advertisement", "ipAddressPools", Same, "", ""},
	{"L2Advertisement", "ipAddressPoolSelectors", Same, "", ""},
	{"L2Advertisement", "nodeSelectors", Same, "", ""},
	{"L2Advertisement", "serviceSelectors", Different, "", "it goes together with shared addresses, which MetalLB refuses"},
	{"L2Advertisement", "interfaces", Different, "", "without it an address is answered only on interfaces whose network has it, not on all; globs are understood"},
	{"L2Advertisement", "preferredNodeSelectors", Different, "", "a preferred node that comes back takes its addresses after failback.after, not at once"},
	{"BGPAdvertisement", "ipAddressPools", Same, "", ""},
	{"BGPAdvertisement", "ipAddressPoolSelectors", Same, "", ""},
	{"BGPAdvertisement", "nodeSelectors", Same, "", ""},
	{"BGPAdvertisement", "serviceSelectors", Same, "", ""},
	{"BGPAdvertisement", "peers", Different, "", "a name that no BGPPeer has is said in the object's conditions"},
	{"BGPAdvertisement", "aggregationLength", Same, "", ""},
	{"BGPAdvertisement", "aggregationLengthV6", Same, "", ""},
	{"BGPAdvertisement", "localPref", Different, "", "it is sent to iBGP peers alone; of two that contradict each other the older object's holds"},
	{"BGPAdvertisement", "communities", Different, "", "the well-known names (no-export, …) need no Community"},
	{"BGPPeer", "myASN", Same, "", ""},
	{"BGPPeer", "peerASN", Same, "", ""},
	{"BGPPeer", "dynamicASN", Same, "", ""},
	{"BGPPeer", "localASN", Same, "", ""},
	{"BGPPeer", "peerAddress", Same, "", ""},
	{"BGPPeer", "interface", Same, "", ""},
	{"BGPPeer", "sourceAddress", Same, "", ""},
	{"BGPPeer", "peerPort", Same, "", ""},
	{"BGPPeer", "holdTime", Different, "", "whole seconds; the default is 90s (MetalLB with FRR: 180s)"},
	{"BGPPeer", "keepaliveTime", Different, "", "whole seconds; the default is a third of holdTime"},
	{"BGPPeer", "connectTime", Different, "", "the default is 5s"},
	{"BGPPeer", "routerID", Same, "", ""},
	{"BGPPeer", "nodeSelectors", Same, "", ""},
	{"BGPPeer", "password", Renamed, "passwordSecret", "passwords stand in Secrets alone: the conversion writes one"},
	{"BGPPeer", "passwordSecret", Different, "", "Secrets are read in Clarion's own namespace only: copy it there"},
	{"BGPPeer", "bfdProfile", Same, "", ""},
	{"BGPPeer", "enableGracefulRestart", Different, "", "it may be changed later"},
	{"BGPPeer", "ebgpMultiHop", Same, "", ""},
	{"BGPPeer", "vrf", Same, "", ""},
	{"BGPPeer", "disableMP", Dropped, "", "it has no effect in MetalLB either; families says which routes a session carries"},
	{"BGPPeer", "dualStackAddressFamily", Renamed, "families: [IPv4, IPv6]", ""},
	{"BFDProfile", "receiveInterval", Same, "", ""},
	{"BFDProfile", "transmitInterval", Same, "", ""},
	{"BFDProfile", "detectMultiplier", Same, "", ""},
	{"BFDProfile", "echoMode", Same, "", ""},
	{"BFDProfile", "echoInterval", Different, "", "it goes with echoMode only, and is left out without"},
	{"BFDProfile", "passiveMode", Same, "", ""},
	{"BFDProfile", "minimumTtl", Same, "", ""},
	{"Community", "communities", Different, "", "the well-known names can't be given another meaning"},
}

// fateOf returns the row of a field, nil for one that MetalLB has not.
func fateOf(kind, name string) *Field {
	for i := range Fields {
		if Fields[i].Kind == kind && Fields[i].Name == name {
			return &Fields[i]
		}
	}
	return nil
}

// Row returns the field as a row of the documentation's table.
func (f Field) Row() string {
	becomes := f.Becomes
	if becomes == "" && f.Fate != Dropped {
		becomes = f.Name
	}
	if becomes != "" {
		becomes = "`" + becomes + "`"
	}
	return "| " + f.Kind + " | `" + f.Name + "` | " + string(f.Fate) + " | " + becomes + " | " + f.Why + " |"
}
