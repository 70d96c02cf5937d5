package ipam

import (
	"encoding/binary"
	"math/big"
	"math/bits"
	"net/netip"
)

// Family is an IP family.
type Family uint8

// The two families.
const (
	IPv4 Family = iota
	IPv6
)

// bothFamilies lists both, in the order of their numbers.
var bothFamilies = [...]Family{IPv4, IPv6}

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

// short is the family as it stands in a pool's usage: "v4", "v6".
func (f Family) short() string {
	if f == IPv4 {
		return "v4"
	}
	return "v6"
}

// Count is a number of addresses. A /64 has more than an int64 holds, so it is 128 bits wide.
type Count struct{ hi, lo uint64 }

// num is an address as a number: IPv6 as it is, IPv4 as ::ffff:a.b.c.d, so that one order holds both
// families. Addresses that are IPv4-mapped on the wire never get here (see unsafe.go).
type num = Count

func numOf(a netip.Addr) num {
	b := a.As16()
	return num{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func addrOf(n num) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b).Unmap()
}

// familyOf returns the family of the address that n is.
func familyOf(n num) Family {
	if n.hi == 0 && n.lo>>32 == 0xffff {
		return IPv4
	}
	return IPv6
}

// CountOf returns n as a Count.
func CountOf(n uint64) Count { return Count{lo: n} }

// Cmp returns -1, 0 or +1 as c is less than, equal to or greater than d.
func (c Count) Cmp(d Count) int {
	switch {
	case c == d:
		return 0
	case c.less(d):
		return -1
	default:
		return 1
	}
}

// IsZero reports whether c is 0.
func (c Count) IsZero() bool { return c == Count{} }

func (c Count) less(d Count) bool { return c.hi < d.hi || c.hi == d.hi && c.lo < d.lo }

func (c Count) plus(d Count) Count {
	lo, carry := bits.Add64(c.lo, d.lo, 0)
	hi, _ := bits.Add64(c.hi, d.hi, carry)
	return Count{hi, lo}
}

func (c Count) minus(d Count) Count {
	lo, borrow := bits.Sub64(c.lo, d.lo, 0)
	hi, _ := bits.Sub64(c.hi, d.hi, borrow)
	return Count{hi, lo}
}

// tenfoldLess reports whether ten times c is less than d.
func (c Count) tenfoldLess(d Count) bool {
	if c.hi > ^uint64(0)/16 {
		return false
	}
	eight, two := c.shl(3), c.shl(1)
	return eight.plus(two).less(d)
}

func (c Count) next() Count { return c.plus(Count{lo: 1}) }
func (c Count) prev() Count { return c.minus(Count{lo: 1}) }

// mod returns c modulo d, for a random place inside d addresses; d is not 0.
func (c Count) mod(d Count) Count {
	if d.hi == 0 {
		_, r := bits.Div64(c.hi%d.lo, c.lo, d.lo)
		return Count{lo: r}
	}
	// d.hi != 0: the quotient is small, subtract shifted copies.
	for shift := bits.LeadingZeros64(d.hi); shift >= 0; shift-- {
		if s := d.shl(uint(shift)); !c.less(s) {
			c = c.minus(s)
		}
	}
	return c
}

func (c Count) shl(n uint) Count {
	if n == 0 {
		return c
	}
	return Count{c.hi<<n | c.lo>>(64-n), c.lo << n}
}

// Big returns c as a big.Int.
func (c Count) Big() *big.Int {
	b := new(big.Int).SetUint64(c.hi)
	return b.Lsh(b, 64).Or(b, new(big.Int).SetUint64(c.lo))
}

// String returns c in decimal.
func (c Count) String() string { return c.Big().String() }

// Short returns c for people: in decimal up to a million, then as the power of two that it is, or that it
// is just above ("2^64", "~2^63").
func (c Count) Short() string {
	if c.hi == 0 && c.lo <= 1_000_000 {
		return c.String()
	}
	log := bits.Len64(c.lo) - 1
	if c.hi != 0 {
		log = bits.Len64(c.hi) + 63
	}
	power := "2^" + CountOf(uint64(log)).String()
	if bits.OnesCount64(c.hi)+bits.OnesCount64(c.lo) == 1 {
		return power
	}
	return "~" + power
}

// Float returns c as the nearest float64, for metrics.
func (c Count) Float() float64 {
	f, _ := new(big.Float).SetInt(c.Big()).Float64()
	return f
}
