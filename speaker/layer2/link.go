package layer2

import (
	"net/netip"
	"slices"
)

// A Link is an Ethernet interface of this node as the kernel shows it. Links are
// values: they may be kept, compared with [Link.Equal] and sent to others.
type Link struct {
	// Name is the interface's name, which is what announcements refer to.
	Name string
	// Index is the kernel's number for the interface; another one under the
	// same name is another interface.
	Index int
	// HardwareAddr is the interface's own MAC.
	HardwareAddr MAC
	// Up is true when frames can cross: administratively up, and with carrier.
	Up bool
	// Master is the name of the VRF that the interface belongs to, or empty.
	// (Ports of a bridge, bond or team are not links: their master is.)
	Master string
	// Prefixes are the networks that are directly attached, in order. Single
	// addresses (/32, /128) and link-local networks are not among them.
	Prefixes []netip.Prefix
	// LinkLocal is an IPv6 link-local address that is ready for use, without
	// a zone; invalid when there is none.
	LinkLocal netip.Addr
}

// OnLink reports whether address lies in a network attached to l.
func (l Link) OnLink(address netip.Addr) bool {
	address = address.Unmap()
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(address) })
}

// Equal reports whether l and o say the same.
func (l Link) Equal(o Link) bool {
	return l.Name == o.Name && l.Index == o.Index && l.HardwareAddr == o.HardwareAddr && l.Up == o.Up &&
		l.Master == o.Master && l.LinkLocal == o.LinkLocal && slices.Equal(l.Prefixes, o.Prefixes)
}

// Select returns the links that make sense to announce on, in the order given:
// those with an attached network, and those that named says somebody asked for
// by name. The host ends of pods' veth pairs, of which a node has hundreds, are
// links too; they have no attached network and so are left out.
func Select(links []Link, named func(name string) bool) []Link {
	var selected []Link
	for _, l := range links {
		if len(l.Prefixes) > 0 || named != nil && named(l.Name) {
			selected = append(selected, l)
		}
	}
	return selected
}
