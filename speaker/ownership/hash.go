package ownership

import "encoding/binary"

// Owner returns which of the candidates owns u, "" when there are none. Every speaker must compute the
// same owner, of whatever version it is: the hash is part of the protocol and never changes.
func Owner(u Unit, candidates []string) string {
	key := u.hash()
	var best string
	var bestScore uint64
	for i, node := range candidates {
		s := score(key, node)
		if i == 0 || s > bestScore || s == bestScore && node < best {
			best, bestScore = node, s
		}
	}
	return best
}

// score is the rendezvous hash of a unit (by its hash) and a node.
func score(unit uint64, node string) uint64 { return mix(unit ^ mix(fnvString(fnvOffset, node))) }

func (u Unit) hash() uint64 {
	a := u.Address.As16()
	h := fnvOffset
	for i := 0; i < len(a); i += 8 {
		h = mix(h ^ binary.BigEndian.Uint64(a[i:]))
	}
	h = fnvString(h, u.Address.Zone())
	h = fnvString(h, string(u.Segment))
	return mix(h ^ uint64(u.Share))
}

// FNV-1a, 64 bit.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// fnvString continues h with s and its length, so that "ab","c" differs from "a","bc".
func fnvString(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ uint64(len(s))) * fnvPrime
}

// mix is the finalizer of SplitMix64: every bit of the input changes each bit of the output with
// probability one half. Without it the FNV sums of names that differ in their last digit, as nodes'
// names do, stay close to each other, and one node wins most addresses.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
