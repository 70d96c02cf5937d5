package layer2

import (
	"cmp"
	"context"
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
	// Addresses are this node's own in those networks, as far as they are ready for use, in order. Those that come beside
	// others in a network are not among them: they may be moved from host to host, and to ask for one shows nothing.
	Addresses []netip.Addr
	// LinkLocal is an IPv6 link-local address that is ready for use, without
	// a zone; invalid when there is none.
	LinkLocal netip.Addr
	// Routers are the next hops of default routes out of this interface, in order.
	Routers []netip.Addr
}

// OnLink reports whether address lies in a network attached to l.
func (l Link) OnLink(address netip.Addr) bool {
	address = address.Unmap()
	return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(address) })
}

// source returns an address of this node's own to ask for target from; unspecified if it has none.
func (l Link) source(target netip.Addr) netip.Addr {
	source := netip.IPv4Unspecified()
	if target.Is6() {
		source = netip.IPv6Unspecified()
	}
	for _, a := range l.Addresses {
		if a.Is4() != target.Is4() {
			continue
		}
		if source.IsUnspecified() || slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) && p.Contains(target) }) {
			source = a
		}
	}
	return source
}

// Equal reports whether l and o say the same.
func (l Link) Equal(o Link) bool {
	return l.Name == o.Name && l.Index == o.Index && l.HardwareAddr == o.HardwareAddr && l.Up == o.Up &&
		l.Master == o.Master && l.LinkLocal == o.LinkLocal && slices.Equal(l.Prefixes, o.Prefixes) &&
		slices.Equal(l.Addresses, o.Addresses) && slices.Equal(l.Routers, o.Routers)
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

// An observed link is a Link with what tells apart two times of being up.
type observed struct {
	Link
	// epoch is another one after the link was down or gone, however briefly.
	epoch uint64
}

// same reports whether what was opened on l is still good on o.
func (l observed) same(o observed) bool {
	return l.Index == o.Index && l.HardwareAddr == o.HardwareAddr && l.Up == o.Up && l.epoch == o.epoch
}

// A watchFunc sends all links to out, in order of name, once at the start and
// again whenever they may have changed, until ctx ends; then it returns nil.
type watchFunc func(ctx context.Context, out chan<- []observed) error

// A kernelLink and a kernelAddress are what the kernel tells, as far as it
// matters here.
type kernelLink struct {
	name     string
	index    int
	mac      []byte
	ethernet bool // frames have Ethernet headers
	noARP    bool // addresses are not resolved: dummy, kube-ipvs0
	loopback bool
	up       bool // administratively up and running
	master   int  // index, or 0
	kind     string
}

type kernelAddress struct {
	link int // index
	// prefix is the address with the length of the network that it is in.
	prefix netip.Prefix
	// unusable is true while the address is being probed for duplicates, and
	// for ever if there is one.
	unusable bool
	// beside is whether it is not the address that the network was attached by.
	beside bool
}

// kindVRF is the kind of a master whose ports remain links in their own right.
const kindVRF = "vrf"

// interpret returns the links, in order of name.
func interpret(links []kernelLink, addresses []kernelAddress) []Link {
	masters := make(map[int]kernelLink)
	for _, l := range links {
		masters[l.index] = l
	}
	at := make(map[int]*Link)
	result := make([]Link, 0, len(links))
	for _, k := range links {
		mac, ok := macFromSlice(k.mac)
		if !ok || !k.ethernet || k.noARP || k.loopback {
			continue
		}
		l := Link{Name: k.name, Index: k.index, HardwareAddr: mac, Up: k.up}
		if k.master != 0 {
			m := masters[k.master]
			if m.kind != kindVRF {
				continue
			}
			l.Master = m.name
		}
		result = append(result, l)
	}
	for i := range result {
		at[result[i].Index] = &result[i]
	}
	for _, a := range addresses {
		if l := at[a.link]; l != nil {
			l.attach(a)
		}
	}
	for i := range result {
		slices.SortFunc(result[i].Prefixes, comparePrefix)
		result[i].Prefixes = slices.Compact(result[i].Prefixes)
		slices.SortFunc(result[i].Addresses, netip.Addr.Compare)
	}
	slices.SortFunc(result, func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
	return result
}

// attach adds what an address on the link says of it.
func (l *Link) attach(a kernelAddress) {
	address := a.prefix.Addr()
	switch {
	case address.IsLinkLocalUnicast():
		if address.Is6() && !a.unusable && (!l.LinkLocal.IsValid() || address.Less(l.LinkLocal)) {
			l.LinkLocal = address
		}
	case a.prefix.IsSingleIP():
	default:
		l.Prefixes = append(l.Prefixes, a.prefix.Masked())
		if !a.unusable && !a.beside {
			l.Addresses = append(l.Addresses, address)
		}
	}
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
