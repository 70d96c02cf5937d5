package ipam

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// ReservedKind says what an address is that the cluster's own network needs.
type ReservedKind string

// Kinds of addresses that no Service is given.
const (
	// ReservedNode: a node has it.
	ReservedNode ReservedKind = "Node"
	// ReservedGateway: it is a router that nodes send by.
	ReservedGateway ReservedKind = "Gateway"
	// ReservedNetwork: it is the first one of a network that nodes are on: hosts take it for the network, or, in IPv6,
	// for any router (RFC 4291, 2.6.1).
	ReservedNetwork ReservedKind = "Network"
	// ReservedBroadcast: it is the last one of an IPv4 network that nodes are on: hosts take it for everybody.
	ReservedBroadcast ReservedKind = "Broadcast"
	// ReservedProtocol: it means something else to every host: loopback, multicast, link-local, unspecified, IPv4-mapped.
	ReservedProtocol ReservedKind = "Protocol"
)

// Reserved is a part of a pool that is never given out, though the pool lists it.
type Reserved struct {
	Range netipx.IPRange
	Kind  ReservedKind
	Why   string // completes "10.0.0.5 is …"
}

// String tells of it: "10.0.0.5 (an address of node a)".
func (x Reserved) String() string {
	if x.Range.From() == x.Range.To() {
		return x.Range.From().String() + " (" + x.Why + ")"
	}
	return x.Range.String() + " (" + x.Why + ")"
}

// Node is what of a node's network no Service may have.
type Node struct {
	Name      string
	Addresses []netip.Addr
	// OnLink are the networks that the node is on; whether bits behind the prefix are set does not matter.
	OnLink   []netip.Prefix
	Gateways []netip.Addr
}

// Reserved lists what the node keeps Services from having.
func (n Node) Reserved() (out []Reserved) {
	add := func(a netip.Addr, kind ReservedKind, why string) {
		if a = a.Unmap().WithZone(""); a.IsValid() && whyNever(a) == "" {
			out = append(out, Reserved{netipx.IPRangeFrom(a, a), kind, why})
		}
	}
	for _, a := range n.Addresses {
		add(a, ReservedNode, "an address of node "+n.Name)
	}
	for _, a := range n.Gateways {
		add(a, ReservedGateway, "a gateway of nodes")
	}
	for _, p := range n.OnLink {
		if !p.IsValid() || p.Addr().Is4In6() || p.Addr().BitLen()-p.Bits() < 2 { // RFC 3021, RFC 6164: links of two
			continue
		}
		r := netipx.RangeOfPrefix(p)
		if r.From().Is4() {
			add(r.From(), ReservedNetwork, "the network address of "+p.Masked().String()+", which nodes are on")
			add(r.To(), ReservedBroadcast, "the broadcast address of "+p.Masked().String()+", which nodes are on")
		} else {
			add(r.From(), ReservedNetwork, "the routers' anycast address of "+p.Masked().String()+", which nodes are on")
		}
	}
	return out
}

// reserved is what is reserved, in order, no entry twice.
type reserved []Reserved

func (x Reserved) compare(y Reserved) int {
	return cmp.Or(x.Range.From().Compare(y.Range.From()), x.Range.To().Compare(y.Range.To()),
		strings.Compare(string(x.Kind), string(y.Kind)), strings.Compare(x.Why, y.Why))
}

func (r reserved) spans() []span {
	ranges := make([]netipx.IPRange, len(r))
	for i, x := range r {
		ranges[i] = x.Range
	}
	return spansOf(ranges)
}

// SetReserved makes these the addresses that the cluster's own network needs. No pool gives them out; who has one
// keeps it, as if the pool did not list it any more.
func (a *Allocator) SetReserved(list []Reserved) {
	list = slices.DeleteFunc(slices.Clone(list), func(r Reserved) bool { return !r.Range.IsValid() })
	slices.SortFunc(list, Reserved.compare)
	list = slices.CompactFunc(list, func(x, y Reserved) bool { return x.compare(y) == 0 })
	changed := append(differ(list, a.reserved), differ(a.reserved, list)...)
	a.reserved = list
	for _, p := range a.order {
		for _, c := range changed {
			if meets(p.claims, c.Range) {
				a.survey()
				return
			}
		}
	}
}

// differ returns what of x is not in y; both are sorted.
func differ(x, y []Reserved) (out []Reserved) {
	for _, r := range x {
		if _, found := slices.BinarySearchFunc(y, r, Reserved.compare); !found {
			out = append(out, r)
		}
	}
	return out
}

// meets reports whether a range has addresses of normalized spans.
func meets(spans []span, r netipx.IPRange) bool {
	s := spanOf(r)
	i, _ := slices.BinarySearchFunc(spans, s.lo, func(s span, n num) int { return s.hi.Cmp(n) })
	return i < len(spans) && !s.hi.less(spans[i].lo)
}

// why says what an address is that is reserved, or "".
func (r reserved) why(n num) string {
	addr := addrOf(n)
	for _, x := range r { // seldom asked
		if x.Range.Contains(addr) {
			return x.Why
		}
	}
	return ""
}

// skippedOf lists which parts of the ranges are never given out: those that mean something else to every host, and those
// that are reserved. claims are the ranges without the former.
func skippedOf(ranges []netipx.IPRange, claims []span, reserved reserved) (out []Reserved) {
	for _, never := range neverAssigned {
		n := netipx.RangeOfPrefix(never.prefix)
		for _, r := range ranges {
			if part, ok := intersect(r, n); ok {
				out = append(out, Reserved{part, ReservedProtocol, never.what})
			}
		}
	}
	for _, x := range reserved {
		if !meets(claims, x.Range) {
			continue
		}
		for _, r := range ranges {
			if part, ok := intersect(r, x.Range); ok {
				out = append(out, Reserved{part, x.Kind, x.Why})
			}
		}
	}
	return out
}

func intersect(x, y netipx.IPRange) (netipx.IPRange, bool) {
	if x.From().BitLen() != y.From().BitLen() || !x.Overlaps(y) {
		return netipx.IPRange{}, false
	}
	from, to := x.From(), x.To()
	if from.Less(y.From()) {
		from = y.From()
	}
	if y.To().Less(to) {
		to = y.To()
	}
	return netipx.IPRangeFrom(from, to), true
}
