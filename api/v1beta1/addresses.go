package v1beta1

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
)

// Bounds of what a pool may list; the schema has the same.
const (
	maxRangeLength = 128
	maxPoolEntries = 1024
)

// PoolRanges are the addresses of a pool, as its spec lists them.
//
// +kubebuilder:object:generate=false
type PoolRanges struct {
	// Addresses are those that the pool has, in ascending order, IPv4 before IPv6; none overlap.
	Addresses []netipx.IPRange
	// Exclude are those that it never gives out, in the order of the spec; they may overlap, and lie
	// outside Addresses.
	Exclude []netipx.IPRange
}

// ParsePool reads the addresses of a pool. A pool of which one entry can't be read, or two overlap,
// can't be used at all: which of them was meant is not ours to guess. The error names each such entry and
// says what to write.
//
// avoidBuggyIPs is not applied here, for it is a rule rather than a range: see IsBuggyIP.
func ParsePool(spec *IPAddressPoolSpec) (PoolRanges, error) {
	var problems problems
	if len(spec.Addresses) == 0 {
		problems.add(errors.New("addresses is empty: write at least one CIDR, range or address"))
	}
	addresses := parseRanges("addresses", spec.Addresses, &problems)
	exclude := parseRanges("excludeAddresses", spec.ExcludeAddresses, &problems)

	slices.SortFunc(addresses, func(a, b listed) int {
		return cmp.Or(a.r.From().Compare(b.r.From()), a.r.To().Compare(b.r.To()))
	})
	for i := 1; i < len(addresses); i++ {
		reaches, next := addresses[i-1], addresses[i]
		if next.r.From().Compare(reaches.r.To()) <= 0 {
			problems.add(fmt.Errorf("addresses %q and %q overlap: list each address once", reaches.entry, next.entry))
			// What reaches farthest is compared with the next.
			if next.r.To().Less(reaches.r.To()) {
				addresses[i] = reaches
			}
		}
	}
	if err := problems.err(); err != nil {
		return PoolRanges{}, err
	}
	return PoolRanges{Addresses: ranges(addresses), Exclude: ranges(exclude)}, nil
}

// listed is an entry that was read.
//
// +kubebuilder:object:generate=false
type listed struct {
	entry AddressRange
	r     netipx.IPRange
}

func ranges(list []listed) []netipx.IPRange {
	var out []netipx.IPRange
	for _, l := range list {
		out = append(out, l.r)
	}
	return out
}

func parseRanges(field string, entries []AddressRange, problems *problems) []listed {
	if len(entries) > maxPoolEntries {
		problems.add(fmt.Errorf("%s has %d entries: write at most %d, or make several pools", field, len(entries), maxPoolEntries))
		return nil
	}
	var out []listed
	for i, entry := range entries {
		r, err := ParseAddressRange(string(entry))
		if err != nil {
			problems.add(fmt.Errorf("%s[%d]: %w", field, i, err))
			continue
		}
		out = append(out, listed{entry, r})
	}
	return out
}

// ParseAddressRange reads a CIDR ("192.0.2.0/24"), a range ("192.0.2.10-192.0.2.20", blanks as you like)
// or a single address. It accepts what the schema accepts, but for ranges whose end lies before their
// start, which CEL can't tell.
func ParseAddressRange(entry string) (netipx.IPRange, error) {
	if len(entry) > maxRangeLength {
		return netipx.IPRange{}, fmt.Errorf("%s is longer than any CIDR or range: write one entry per item", quote(entry))
	}
	r, err := parseAddressRange(strings.TrimSpace(entry))
	if err != nil {
		return netipx.IPRange{}, err
	}
	if !r.From().IsGlobalUnicast() {
		return netipx.IPRange{}, fmt.Errorf("%s begins with an address that can't be given to a Service (unspecified, loopback, link-local or multicast): write addresses that clients can reach", quote(entry))
	}
	return r, nil
}

func parseAddressRange(entry string) (netipx.IPRange, error) {
	if first, last, isRange := strings.Cut(entry, "-"); isRange {
		return parseFromTo(entry, strings.TrimSpace(first), strings.TrimSpace(last))
	}
	if strings.Contains(entry, "/") {
		return parseCIDR(entry)
	}
	a, err := parseAddress(entry)
	if err != nil {
		return netipx.IPRange{}, err
	}
	return netipx.IPRangeFrom(a, a), nil
}

func parseFromTo(entry, first, last string) (netipx.IPRange, error) {
	from, err := parseAddress(first)
	if err != nil {
		return netipx.IPRange{}, fmt.Errorf("in the range %s: %w", quote(entry), err)
	}
	to, err := parseAddress(last)
	if err != nil {
		return netipx.IPRange{}, fmt.Errorf("in the range %s: %w", quote(entry), err)
	}
	switch {
	case from.Is4() != to.Is4():
		return netipx.IPRange{}, fmt.Errorf("the range %s goes from one family to the other: write one entry for each", quote(entry))
	case to.Less(from):
		return netipx.IPRange{}, fmt.Errorf("the range %s ends before it starts: write %s-%s", quote(entry), to, from)
	}
	return netipx.IPRangeFrom(from, to), nil
}

func parseCIDR(entry string) (netipx.IPRange, error) {
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		return netipx.IPRange{}, fmt.Errorf("%s is no CIDR: write an address and its prefix length, such as 192.0.2.0/24 or 2001:db8::/64", quote(entry))
	}
	if p.Addr().Is4In6() {
		return netipx.IPRange{}, fmt.Errorf("%s is IPv4 mapped into IPv6: write it as IPv4", quote(entry))
	}
	if network := p.Masked(); network != p {
		return netipx.IPRange{}, fmt.Errorf("%s has bits set behind its prefix: write %s for the whole network, or %s for the one address", quote(entry), network, p.Addr())
	}
	return netipx.RangeOfPrefix(p), nil
}

// parseAddress reads one address, plain: what clients can be told and a Service's status can hold.
func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("%s is no IP address: write one such as 192.0.2.10 or 2001:db8::10", quote(s))
	case a.Zone() != "":
		return netip.Addr{}, fmt.Errorf("%s has a zone, which means nothing outside its host: write an address that clients can reach", quote(s))
	case a.Is4In6():
		return netip.Addr{}, fmt.Errorf("%s is IPv4 mapped into IPv6: write %s", quote(s), a.Unmap())
	}
	return a, nil
}

// IsBuggyIP reports whether avoidBuggyIPs keeps an address from being given out: an IPv4 address that
// ends in .0 or .255, whatever the prefix it comes from.
func IsBuggyIP(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	last := a.As4()[3]
	return last == 0 || last == 255
}

// problems are errors to be said at once, as many as a condition's message has room for.
//
// +kubebuilder:object:generate=false
type problems struct {
	said []string
	more int
}

const maxProblems = 5

func (p *problems) add(err error) {
	if len(p.said) < maxProblems {
		p.said = append(p.said, err.Error())
	} else {
		p.more++
	}
}

func (p *problems) err() error {
	switch {
	case len(p.said) == 0:
		return nil
	case p.more > 0:
		return fmt.Errorf("%s; and %d more", strings.Join(p.said, "; "), p.more)
	}
	return errors.New(strings.Join(p.said, "; "))
}

// quote quotes a value for a message, cut where it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
