package ipam

import (
	"net/netip"
	"testing"

	"go4.org/netipx"
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
