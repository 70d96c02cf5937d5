package layer2

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
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
	// Claim says that the address must not be answered before the segment was asked whether
	// another host has it: see the table in the package's documentation. An address that
	// was being answered here, in whatever way, is not asked for again. Without
	// Claim the address is answered at once, for those that were another node's a moment ago.
	Claim bool
	// Conflicts is what to do about other hosts that have the address; none means
	// [ConflictEnforce].
	Conflicts ConflictMode
	// Standby says that another node answers: this one listens, so that it knows who asks and
	// its groups are joined when it has to take over, and says nothing.
	Standby bool
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

// A binding is what an Announcement says of its address on a segment.
type binding struct {
	mac     MAC // zero for the interface's own
	standby bool
	claim   bool // the segment is to be asked
	mode    ConflictMode
	// gate keeps the address from being answered before the segment was asked; nil when
	// there is no need.
	gate *gate
}

// own reports whether the address is announced as this node's own.
func (b binding) own() bool { return !b.standby && b.mac.IsZero() }

// same reports whether b and o say the same; the gate follows from that and from history.
func (b binding) same(o binding) bool {
	b.gate, o.gate = nil, nil
	return b == o
}

// A gate is open for one responder at a time: with another one, which was started because the
// link was down, the address is claimed anew.
type gate struct{ opened atomic.Pointer[responder] }

// shut reports whether r must not answer.
func (g *gate) shut(r *responder) bool { return g != nil && g.opened.Load() != r }

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
// stay the same, what that changes for others, and whether it changes anything at all.
func (a answers) next(desired []Announcement) (answers, Changes, bool) {
	wanted, refused := said(desired)
	edits := make(map[segment]edit, len(wanted))
	for s, bindings := range wanted {
		edits[s] = edit{said: bindings}
	}
	for s, t := range a {
		e := edits[s]
		for _, address := range t.addresses {
			if _, stays := e.said[address]; !stays {
				e.gone = append(e.gone, address)
			}
		}
		edits[s] = e
	}
	return a.revise(edits, refused)
}

// change is next for a few: desired are the announcements of these addresses, and those of all others stay as they are. It costs
// what these addresses cost, however many others there are.
func (a answers) change(addresses []netip.Addr, desired []Announcement) (answers, Changes, bool) {
	wanted, refused := said(desired)
	edits := make(map[segment]edit, len(wanted))
	for s, bindings := range wanted {
		edits[s] = edit{said: bindings}
	}
	for s := range a {
		e := edits[s]
		for _, address := range addresses {
			if address = address.Unmap(); FamilyOf(address) != s.family {
				continue
			}
			if _, stays := e.said[address]; !stays {
				e.gone = append(e.gone, address)
			}
		}
		edits[s] = e
	}
	return a.revise(edits, refused)
}

// said returns what desired says of the addresses on each segment, and those that can't be announced, in order.
func said(desired []Announcement) (wanted map[segment]map[netip.Addr]binding, refused []netip.Addr) {
	wanted = make(map[segment]map[netip.Addr]binding)
	for _, d := range desired {
		address := d.Address.Unmap()
		if !announceable(address) {
			refused = append(refused, d.Address)
			continue
		}
		b := d.binding()
		for _, iface := range d.Interfaces {
			s := segment{iface, FamilyOf(address)}
			if wanted[s] == nil {
				wanted[s] = make(map[netip.Addr]binding)
			}
			if have, twice := wanted[s][address]; twice && !b.before(have) {
				continue
			}
			wanted[s][address] = b
		}
	}
	slices.SortFunc(refused, netip.Addr.Compare)
	return wanted, slices.Compact(refused)
}

// revise returns the answers that the edits make of a.
func (a answers) revise(edits map[segment]edit, refused []netip.Addr) (answers, Changes, bool) {
	ch := Changes{Refused: refused}
	b, changed := maps.Clone(a), false
	if b == nil {
		b = make(answers)
	}
	for s, e := range edits {
		old := a.on(s)
		t, taken, withdrawn := old.revise(e)
		if t == old {
			continue
		}
		changed = true
		if b[s] = t; t.bindings.len() == 0 {
			delete(b, s)
		}
		ch.add(s, taken, withdrawn)
	}
	slices.SortFunc(ch.Taken, Target.compare)
	slices.SortFunc(ch.Withdrawn, Target.compare)
	return b, ch, changed
}

// after returns the binding with the gate that it has in place of another one, or where there was none.
func (b binding) after(was binding, had bool) binding {
	switch {
	case !b.claim || b.mode != ConflictEnforce:
	case had && was.gate != nil:
		b.gate = was.gate
	case had && !was.standby: // it is being answered
	default:
		b.gate = new(gate)
	}
	return b
}

func (d Announcement) binding() binding {
	b := binding{mac: d.HardwareAddr, standby: d.Standby, mode: d.Conflicts}
	if b.mode == "" {
		b.mode = ConflictEnforce
	}
	// Who stands in, or by, claims nothing.
	b.claim = d.Claim && b.mode != ConflictOff && b.own()
	return b
}

// before reports whether, of two bindings desired for one address, b holds: who answers
// comes before who stands by, and an owner before a stand-in. Where that does not decide, the order
// of the announcements must not matter.
func (b binding) before(o binding) bool {
	rank := func(yes bool) int {
		if yes {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(rank(!b.standby), rank(!o.standby)), slices.Compare(b.mac[:], o.mac[:]),
		cmp.Compare(rank(b.claim), rank(o.claim)), cmp.Compare(b.mode, o.mode)) < 0
}

func (c *Changes) add(s segment, taken, withdrawn []netip.Addr) {
	for _, a := range taken {
		c.Taken = append(c.Taken, Target{a, s.iface})
	}
	for _, a := range withdrawn {
		c.Withdrawn = append(c.Withdrawn, Target{a, s.iface})
	}
}
