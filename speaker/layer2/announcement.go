package layer2

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// A Family is an address family; each has its protocol: ARP or NDP.
type Family uint8

// The address families.
const (
	IPv4 Family = iota
	IPv6
	families = 2
)

// String returns "IPv4" or "IPv6", as it is spelled in Services and in metrics.
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

func (t Target) compare(o Target) int {
	return cmp.Or(t.Address.Compare(o.Address), cmp.Compare(t.Interface, o.Interface))
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

// A segment is one family on one interface: the unit that has a socket of its own.
type segment struct {
	iface  string
	family Family
}

func (s segment) compare(o segment) int {
	return cmp.Or(cmp.Compare(s.iface, o.iface), cmp.Compare(s.family, o.family))
}

// answers is all that this node answers for. It is immutable, and a segment
// whose announcements stay the same keeps its table, so tables are
// compared by pointer.
type answers map[segment]*table

// A table is what is answered on one segment; immutable.
type table struct {
	// macs has the MAC to answer with, zero for the interface's own.
	macs map[netip.Addr]MAC
	// addresses are the keys of macs, in order.
	addresses []netip.Addr
}

// noAnswers is the table of a segment that has none.
var noAnswers = &table{}

// on returns the segment's table, empty if it has none.
func (a answers) on(s segment) *table {
	if t := a[s]; t != nil {
		return t
	}
	return noAnswers
}

// announceable reports whether an address can be announced at layer 2.
func announceable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && a.Zone() == ""
}

// next returns the answers that desired asks for, with the tables of a where they
// stay the same, and what that changes.
func (a answers) next(desired []Announcement) (answers, Changes) {
	var ch Changes
	macs := make(map[segment]map[netip.Addr]MAC)
	for _, d := range desired {
		address := d.Address.Unmap()
		if !announceable(address) {
			ch.Refused = append(ch.Refused, d.Address)
			continue
		}
		for _, iface := range d.Interfaces {
			s := segment{iface, FamilyOf(address)}
			if macs[s] == nil {
				macs[s] = make(map[netip.Addr]MAC)
			}
			if have, twice := macs[s][address]; twice && !prefer(d.HardwareAddr, have) {
				continue
			}
			macs[s][address] = d.HardwareAddr
		}
	}
	slices.SortFunc(ch.Refused, netip.Addr.Compare)
	ch.Refused = slices.Compact(ch.Refused)

	b := make(answers, len(macs))
	for s, m := range macs {
		old := a.on(s)
		if maps.Equal(old.macs, m) {
			b[s] = old
			continue
		}
		b[s] = &table{macs: m, addresses: slices.SortedFunc(maps.Keys(m), netip.Addr.Compare)}
		taken, withdrawn := old.diff(b[s])
		ch.add(s, taken, withdrawn)
	}
	for s, old := range a {
		if b[s] == nil {
			ch.add(s, nil, old.addresses)
		}
	}
	slices.SortFunc(ch.Taken, Target.compare)
	slices.SortFunc(ch.Withdrawn, Target.compare)
	return b, ch
}

// prefer reports whether, of two MACs desired for one address, a holds: an
// owner comes before a stand-in. Between two stand-ins the order
// of the announcements must not matter.
func prefer(a, b MAC) bool { return slices.Compare(a[:], b[:]) < 0 }

func (c *Changes) add(s segment, taken, withdrawn []netip.Addr) {
	for _, a := range taken {
		c.Taken = append(c.Taken, Target{a, s.iface})
	}
	for _, a := range withdrawn {
		c.Withdrawn = append(c.Withdrawn, Target{a, s.iface})
	}
}

// diff returns what is in n with another MAC than in t or not in t at all, and
// what is in t and no longer in n, both in order.
func (t *table) diff(n *table) (taken, withdrawn []netip.Addr) {
	for _, a := range n.addresses {
		if mac, had := t.macs[a]; !had || mac != n.macs[a] {
			taken = append(taken, a)
		}
	}
	for _, a := range t.addresses {
		if _, has := n.macs[a]; !has {
			withdrawn = append(withdrawn, a)
		}
	}
	return taken, withdrawn
}
