package ipam

import (
	"net/netip"

	"go4.org/netipx"
)

// neverAssigned are addresses that mean something else to every host, and so can't be a Service's, whatever
// a pool says.
var neverAssigned = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 1122)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// neverAssignedSpans are the same as spans, without the IPv4-mapped block: as a number it is the whole of
// IPv4, and claims keeps it out before numbers come into play.
var neverAssignedSpans = func() []span {
	var out []span
	for _, r := range neverAssigned {
		if r.what != "IPv4-mapped" {
			out = append(out, spanOf(netipx.RangeOfPrefix(r.prefix)))
		}
	}
	return normalize(out)
}()

// mapped is the IPv4-mapped block of IPv6.
var mapped = netip.MustParsePrefix("::ffff:0:0/96")

// whyNever says what an address is that no pool ever gives out, or "" when it is an ordinary one.
func whyNever(a netip.Addr) string {
	if a.Zone() != "" {
		return "bound to a zone"
	}
	for _, r := range neverAssigned {
		if r.prefix.Contains(a) {
			return r.what
		}
	}
	return ""
}

// spansOf returns ranges as normalized spans. A range that spans IPv4-mapped addresses loses them.
func spansOf(ranges []netipx.IPRange) []span {
	spans := make([]span, 0, len(ranges))
	m := netipx.RangeOfPrefix(mapped)
	for _, r := range ranges {
		if !r.IsValid() {
			continue
		}
		if r.From().Is4() || !r.Overlaps(m) {
			spans = append(spans, spanOf(r))
			continue
		}
		if r.From().Less(m.From()) {
			spans = append(spans, span{numOf(r.From()), numOf(m.From()).prev()})
		}
		if m.To().Less(r.To()) {
			spans = append(spans, span{numOf(m.To()).next(), numOf(r.To())})
		}
	}
	return normalize(spans)
}
