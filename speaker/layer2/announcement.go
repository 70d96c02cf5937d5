package layer2

import (
	"net/netip"
)

// A Family is an address family; each has its protocol: ARP or NDP.
type Family uint8

// The address families, as they are spelled in Services and in metrics.
const (
	IPv4 Family = iota
	IPv6
	families = 2
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

// FamilyOf returns the family of a valid address.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// An Announcement says that this node answers for an address on the links that
// it names.
type Announcement struct {
	// Address is a unicast address without a zone.
	Address netip.Addr
	// Interfaces are names of links. One that does not exist, or is down, is
	// waited for.
	Interfaces []string
	// HardwareAddr is the MAC to answer with. None, the usual case, means each
	// interface's own. With another node's MAC this node stands in for that
	// node: it answers requests, but sends no gratuitous frames, since nothing
	// has moved.
	HardwareAddr MAC
}

// A Target is an address on an interface: what is taken and withdrawn.
type Target struct {
	Address   netip.Addr
	Interface string
}

// Changes is what an Apply changed, each list in order of address and
// interface. All are empty when nothing changed.
type Changes struct {
	// Taken are answered from now on, or with another MAC than before.
	Taken []Target
	// Withdrawn are no longer answered.
	Withdrawn []Target
	// Refused cannot be announced at layer 2 at all: not a unicast address, or
	// link-local.
	Refused []netip.Addr
}

// Empty reports whether nothing changed. Refused addresses change nothing.
func (c Changes) Empty() bool { return len(c.Taken) == 0 && len(c.Withdrawn) == 0 }
