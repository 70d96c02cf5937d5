package v1beta1_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go4.org/netipx"
	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestParseAddressRange(t *testing.T) {
	for _, row := range []struct {
		name, entry string
		want        string // first-last
		err         string
	}{
		{name: "a CIDR", entry: "192.0.2.0/24", want: "192.0.2.0-192.0.2.255"},
		{name: "a CIDR has its first and last address too", entry: "2001:db8::/126", want: "2001:db8::-2001:db8::3"},
		{name: "a range", entry: "192.0.2.10-192.0.2.20", want: "192.0.2.10-192.0.2.20"},
		{name: "a range of one", entry: "192.0.2.10-192.0.2.10", want: "192.0.2.10-192.0.2.10"},
		{name: "blanks don't matter", entry: "  192.0.2.10 -\t192.0.2.20 ", want: "192.0.2.10-192.0.2.20"},
		{name: "a bare address is one address", entry: "192.0.2.7", want: "192.0.2.7-192.0.2.7"},
		{name: "a bare IPv6 address is one address", entry: "2001:db8::7", want: "2001:db8::7-2001:db8::7"},
		{name: "IPv6 in any spelling", entry: "2001:DB8:0:0::7/128", want: "2001:db8::7-2001:db8::7"},

		{name: "nothing", entry: "", err: `"" is no IP address: write one such as 192.0.2.10`},
		{name: "a word", entry: "lan", err: `"lan" is no IP address`},
		{name: "a host's name with a dash", entry: "tor-1", err: `in the range "tor-1": "tor" is no IP address`},
		{name: "a netmask", entry: "192.0.2.0/255.255.255.0", err: "write an address and its prefix length, such as 192.0.2.0/24"},
		{name: "bits behind the prefix", entry: "192.0.2.5/24", err: "write 192.0.2.0/24 for the whole network, or 192.0.2.5 for the one address"},
		{name: "a reversed range", entry: "192.0.2.20-192.0.2.10", err: "ends before it starts: write 192.0.2.10-192.0.2.20"},
		{name: "a reversed IPv6 range", entry: "2001:db8::ff - 2001:db8::1", err: "write 2001:db8::1-2001:db8::ff"},
		{name: "a range from one family to the other", entry: "192.0.2.1-2001:db8::1", err: "write one entry for each"},
		{name: "half a range", entry: "192.0.2.1-", err: `in the range "192.0.2.1-": "" is no IP address`},
		{name: "a zone", entry: "fe80::1%eth0", err: "has a zone"},
		{name: "IPv4 mapped into IPv6", entry: "::ffff:192.0.2.1", err: "write 192.0.2.1"},
		{name: "IPv4 mapped into IPv6, a network", entry: "::ffff:192.0.2.0/120", err: "write it as IPv4"},
		{name: "loopback", entry: "127.0.0.0/8", err: "write addresses that clients can reach"},
		{name: "multicast", entry: "ff02::1-ff02::9", err: "write addresses that clients can reach"},
		{name: "the whole internet", entry: "0.0.0.0/0", err: "write addresses that clients can reach"},
		{name: "a novel", entry: strings.Repeat("192.0.2.1 ", 1000), err: "is longer than any CIDR or range"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := v1beta1.ParseAddressRange(row.entry)
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("got %v, want an error that says %q", err, row.err)
				}
			case err != nil:
				t.Error(err)
			case r.String() != row.want:
				t.Errorf("got %v, want %v", r, row.want)
			}
		})
	}
}

func TestParsePool(t *testing.T) {
	list := func(entries ...v1beta1.AddressRange) []v1beta1.AddressRange { return entries }
	var many, bad []v1beta1.AddressRange
	for i := range 1025 {
		many = append(many, v1beta1.AddressRange(fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
		bad = append(bad, v1beta1.AddressRange(fmt.Sprint("bad", i)))
	}
	for _, row := range []struct {
		name               string
		addresses, exclude []v1beta1.AddressRange
		want, wantExclude  string
		err                string
	}{
		{name: "entries come in ascending order, IPv4 first", addresses: list("2001:db8::/64", "198.51.100.7", "192.0.2.0/24"),
			want: "[192.0.2.0-192.0.2.255 198.51.100.7-198.51.100.7 2001:db8::-2001:db8::ffff:ffff:ffff:ffff]", wantExclude: "[]"},
		{name: "exclusions may overlap and lie outside", addresses: list("192.0.2.0/24"), exclude: list("192.0.2.0/28", "192.0.2.1", "203.0.113.0/24"),
			want: "[192.0.2.0-192.0.2.255]", wantExclude: "[192.0.2.0-192.0.2.15 192.0.2.1-192.0.2.1 203.0.113.0-203.0.113.255]"},
		{name: "neighbours don't overlap", addresses: list("192.0.2.0/25", "192.0.2.128/25"),
			want: "[192.0.2.0-192.0.2.127 192.0.2.128-192.0.2.255]", wantExclude: "[]"},
		{name: "a pool of as many entries as there may be", addresses: many[:1024], exclude: many[:1024], want: "…"},

		{name: "no addresses", err: "addresses is empty"},
		{name: "an entry that can't be read is named", addresses: list("192.0.2.0/24", "lan"), err: `addresses[1]: "lan" is no IP address`},
		{name: "an exclusion that can't be read is named", addresses: list("192.0.2.0/24"), exclude: list("192.0.2.9-192.0.2.1"), err: "excludeAddresses[0]: the range"},
		{name: "all that is wrong is said at once", addresses: list("lan", "wan"), exclude: list("dmz"), err: `"lan" is no IP address: write one such as 192.0.2.10 or 2001:db8::10; addresses[1]: "wan" is no IP address`},
		{name: "but not more than a message has room for", addresses: bad[:20], err: "; and 15 more"},
		{name: "overlapping entries are both named", addresses: list("192.0.2.0/24", "198.51.100.1", "192.0.2.200-192.0.3.5"), err: `addresses "192.0.2.0/24" and "192.0.2.200-192.0.3.5" overlap: list each address once`},
		{name: "one entry inside another", addresses: list("192.0.2.7", "192.0.2.0/24"), err: `addresses "192.0.2.0/24" and "192.0.2.7" overlap`},
		{name: "what is inside does not hide what comes after", addresses: list("192.0.2.0/24", "192.0.2.7", "192.0.2.250-192.0.3.1"), err: `addresses "192.0.2.0/24" and "192.0.2.250-192.0.3.1" overlap`},
		{name: "too many entries", addresses: many, err: "addresses has 1025 entries: write at most 1024"},
		{name: "too many exclusions", addresses: list("192.0.2.0/24"), exclude: many, err: "excludeAddresses has 1025 entries"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := v1beta1.ParsePool(&v1beta1.IPAddressPoolSpec{Addresses: row.addresses, ExcludeAddresses: row.exclude})
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("got %v, want an error that says %q", err, row.err)
				}
				if err != nil && len(err.Error()) > 2000 {
					t.Errorf("an error of %d bytes is no message", len(err.Error()))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if row.want != "…" && (fmt.Sprint(got.Addresses) != row.want || fmt.Sprint(got.Exclude) != row.wantExclude) {
				t.Errorf("got %v without %v, want %v without %v", got.Addresses, got.Exclude, row.want, row.wantExclude)
			}
		})
	}
}

// A slow twin: a pool is refused exactly if two entries have an address in common, and what is read is
// what was listed.
func TestParsePoolFindsEveryOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type span struct{ from, to int }
		spans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) span {
			from := rapid.IntRange(0, 63).Draw(t, "from")
			return span{from, min(63, from+rapid.IntRange(0, 12).Draw(t, "length"))}
		}), 1, 8).Draw(t, "spans")

		times := map[int]int{}
		var spec v1beta1.IPAddressPoolSpec
		for _, s := range spans {
			for i := s.from; i <= s.to; i++ {
				times[i]++
			}
			spec.Addresses = append(spec.Addresses, v1beta1.AddressRange(fmt.Sprintf("192.0.2.%d-192.0.2.%d", s.from, s.to)))
		}
		overlap := false
		for _, n := range times {
			overlap = overlap || n > 1
		}

		pool, err := v1beta1.ParsePool(&spec)
		if (err != nil) != overlap {
			t.Fatalf("%v: overlap %v, error %v", spec.Addresses, overlap, err)
		}
		if err == nil {
			for i := range 256 {
				a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
				in := slices.ContainsFunc(pool.Addresses, func(r netipx.IPRange) bool { return r.Contains(a) })
				if in != (times[i] == 1) {
					t.Fatalf("%v: %v in the pool: %v", spec.Addresses, a, in)
				}
			}
		}
	})
}

func TestBuggyIPsEndIn0Or255WhateverThePrefix(t *testing.T) {
	for address, want := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "10.1.2.0": true,
		"192.0.2.1": false, "192.0.2.254": false, "192.0.2.128": false, "192.0.0.1": false,
		"2001:db8::": false, "2001:db8::ff": false, "2001:db8::100": false,
	} {
		if got := v1beta1.IsBuggyIP(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
}

func FuzzParseAddressRange(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.0/24", "192.0.2.10-192.0.2.20", "2001:db8::/64", "2001:db8::1 - 2001:db8::ff", "192.0.2.7", "", "-", "/", "%",
		"fe80::1%eth0", "::ffff:192.0.2.1/96", "192.0.2.20-192.0.2.10", "192.0.2.5/24", "255.255.255.255-255.255.255.255", "0.0.0.0/0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		r, err := v1beta1.ParseAddressRange(entry)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes for %q", len(err.Error()), entry)
			}
			return
		}
		if !r.IsValid() || r.From().Zone() != "" || r.From().Is4In6() || r.To().Is4In6() {
			t.Errorf("%q became %v", entry, r)
		}
		// What is read can be written and read again, as a range.
		again, err := v1beta1.ParseAddressRange(r.String())
		if err != nil || again != r {
			t.Errorf("%q became %v, which became %v (%v)", entry, r, again, err)
		}
	})
}

func FuzzParsePool(f *testing.F) {
	f.Add("192.0.2.0/24\n2001:db8::/64", "192.0.2.0")
	f.Add("192.0.2.9-192.0.2.1", "")
	f.Add("10.0.0.0/8\n10.1.0.0-10.2.0.0\n::/0", "x")
	f.Fuzz(func(t *testing.T, addresses, exclude string) {
		spec := v1beta1.IPAddressPoolSpec{}
		for _, s := range strings.Split(addresses, "\n") {
			spec.Addresses = append(spec.Addresses, v1beta1.AddressRange(s))
		}
		if exclude != "" {
			spec.ExcludeAddresses = []v1beta1.AddressRange{v1beta1.AddressRange(exclude)}
		}
		got, err := v1beta1.ParsePool(&spec)
		if err != nil {
			if !strings.Contains(err.Error(), `"`) && len(spec.Addresses) <= 1024 {
				t.Errorf("%q names no value", err)
			}
			if !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "list each address once") {
				t.Errorf("%q does not say what is expected", err)
			}
			return
		}
		if len(got.Addresses) != len(spec.Addresses) {
			t.Errorf("%d entries became %d", len(spec.Addresses), len(got.Addresses))
		}
		for i, r := range got.Addresses {
			if !r.IsValid() || i > 0 && !got.Addresses[i-1].To().Less(r.From()) {
				t.Errorf("%v overlap, or are out of order", got.Addresses)
			}
		}
	})
}
