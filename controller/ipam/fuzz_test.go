package ipam

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Whatever ranges a pool has, the allocator holds together, and what it gives out is from the pool.
func FuzzPools(f *testing.F) {
	f.Add("10.0.0.0", "10.255.255.255", "10.1.0.0", "10.1.255.255", true, false)
	f.Add("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::fffe:ffff:ffff", "::1:0:0:0", false, true)
	f.Add("0.0.0.0", "255.255.255.255", "0.0.0.1", "255.255.255.254", true, true)
	f.Add("10.0.0.255", "10.0.1.0", "10.0.0.0", "10.0.0.0", true, false)
	f.Add("fd00::", "fd00::", "fd00::1", "fd00::", false, false)
	f.Fuzz(func(t *testing.T, from, to, exFrom, exTo string, avoid, random bool) {
		r, x := rangeOf(from, to), rangeOf(exFrom, exTo)
		if !r.IsValid() {
			return
		}
		p := Pool{Name: "p", AutoAssign: true, Ranges: []netipx.IPRange{r}, AvoidBuggyIPs: avoid, Random: random}
		if x.IsValid() {
			p.Exclude = []netipx.IPRange{x}
		}
		a := New()
		a.SetPools([]Pool{p})
		family := FamilyOf(r.From())
		for _, name := range []string{"a", "b", "c", "d"} {
			d := a.Assign(Request{Service: key(name), Families: []Family{family}})
			if u, _ := a.Usage("p"); d.Outcome == Refused && !(u.IPv4.Available.IsZero() && u.IPv6.Available.IsZero()) {
				t.Errorf("refused (%s) though there is room", d.Message)
			}
			for _, g := range d.Grants {
				if !r.Contains(g.Address) || x.IsValid() && x.Contains(g.Address) || whyNever(g.Address) != "" {
					t.Errorf("it gave out %s", g.Address)
				}
			}
		}
		a.Release(key("b"))
		if err := a.Check(); err != nil {
			t.Error(err)
		}
		p.AvoidBuggyIPs = !avoid
		a.SetPools([]Pool{p})
		if err := a.Check(); err != nil {
			t.Error(err)
		}
	})
}

func rangeOf(from, to string) netipx.IPRange {
	a, err1 := netip.ParseAddr(from)
	b, err2 := netip.ParseAddr(to)
	if err1 != nil || err2 != nil || a.Zone() != "" || a.Is4In6() != b.Is4In6() {
		return netipx.IPRange{}
	}
	return netipx.IPRangeFrom(a, b)
}

// Whatever stands in a Service's annotations and status, and in a pool, the allocator holds together, and a refusal says
// something.
func FuzzServices(f *testing.F) {
	f.Add("10.0.0.0/29,fd00::/125", "10.0.0.7", "10.0.0.3", "lab", "k", "lab=10.0.0.3", uint16(80), byte(0))
	f.Add("10.0.0.0-10.0.0.5", "", "", "", "", "lab", uint16(443), byte(0xff))
	f.Add("192.0.2.1", "192.0.2.1", "fe80::1%eth0", "nosuch", "key with blanks", "lab=10.0.0.3,six", uint16(0), byte(0x55))
	f.Add("::ffff:10.0.0.0/120", "", "10.0.0.3,fd00::3", "LAB", "\x00", "=", uint16(80), byte(0x2a))
	f.Fuzz(func(t *testing.T, addresses, exclude, asks, pool, sharing, mark string, port uint16, bits byte) {
		is := func(bit int) bool { return bits>>bit&1 == 1 }
		spec := clarion.IPAddressPoolSpec{ExcludeAddresses: []clarion.AddressRange{clarion.AddressRange(exclude)}}
		for _, s := range strings.Split(addresses, ",") {
			spec.Addresses = append(spec.Addresses, clarion.AddressRange(s))
		}
		if exclude == "" {
			spec.ExcludeAddresses = nil
		}
		p := Pool{Name: "lab", AutoAssign: is(0), ShareAcross: is(1), PerNamespace: int64(bits & 3), ReuseDelay: time.Second}
		if ranges, err := clarion.ParsePool(&spec); err != nil {
			p.Invalid = err.Error()
		} else {
			p.Ranges, p.Exclude = ranges.Addresses, ranges.Exclude
		}
		var all []Request
		for i, name := range []string{"x/a", "x/b", "y/c"} {
			r := Request{
				Service: key(name), Families: []Family{IPv4, IPv6}, Policy: PreferDualStack, Created: time.Unix(int64(bits), 0),
				Ports: []Port{{"TCP", port + uint16(i)}}, Local: is(2), Selector: map[string]string{asks: pool},
			}
			asked, err := clarion.ParseRequest(map[string]string{
				clarion.AnnotationLoadBalancerIPs: asks, clarion.AnnotationAddressPool: pool, clarion.AnnotationAllowSharedIP: sharing,
			}, "")
			if err != nil {
				r.Unreadable = &Unreadable{clarion.ReasonInvalidRequest, err.Error()}
			}
			r.Addresses, r.Pool, r.SharingKey = asked.Addresses, asked.Pool, asked.SharingKey
			if m, err := clarion.ParseMark(mark); err == nil && is(3+i) {
				shows := append(slices.Clone(asked.Addresses), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fe80::1"))
				r.Status.Addresses = shows
				if ours := m.Ours(shows); len(ours) > 0 {
					r.Status.Pools = make([]string, len(shows))
					for _, o := range ours {
						r.Status.Pools[slices.Index(shows, o.Address)] = o.Pool
					}
				}
			}
			all = append(all, r)
		}
		a := Snapshot{Pools: []Pool{p}, Services: all, Now: time.Unix(1, 0)}.Allocator()
		for range 2 {
			for _, r := range all {
				d := a.Assign(r)
				if d.Message == "" || d.Outcome == Refused && d.Reason == "" {
					t.Errorf("%+v is told nothing: %+v", r, d)
				}
				if !d.Foreign {
					a.Settle(r.Service)
				}
				if err := a.Check(); err != nil {
					t.Error(err)
				}
			}
		}
		for _, r := range all {
			a.Release(r.Service)
		}
		if err := a.Check(); err != nil {
			t.Error(err)
		}
	})
}
