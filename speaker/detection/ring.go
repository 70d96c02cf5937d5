package detection

import (
	"cmp"
	"net/netip"
	"slices"
)

// hash mixes words into a number that is spread well, the same on every node.
func hash(words ...string) uint64 {
	h := uint64(0xcbf29ce484222325) // FNV-1a
	for _, w := range words {
		for i := range len(w) {
			h = (h ^ uint64(w[i])) * 0x100000001b3
		}
		h = (h ^ 0xff) * 0x100000001b3
	}
	h ^= h >> 33 // the finalizer of MurmurHash3
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// ring returns the members in the order of a ring that is the same on every node, starting after self.
func ring(self string, members []*peer) []*peer {
	type place struct {
		at uint64
		p  *peer
	}
	start := hash(self)
	places := make([]place, len(members))
	for i, p := range members {
		places[i] = place{p.place - start, p} // modulo 2^64
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.p.Node, b.p.Node)) })
	result := make([]*peer, len(places))
	for i := range places {
		result[i] = places[i].p
	}
	return result
}

// chooseMonitors returns who shall judge a node with the given links, in order of their names: for each link, the next
// three on the ring that share it, and three in all if that can be. On one segment everybody is chosen by
// three and chooses three.
func chooseMonitors(self string, own []Link, members []*peer) []string {
	around := ring(self, members)
	chosen := map[*peer]bool{}
	for _, l := range own {
		if !l.Up {
			continue
		}
		sees := 0
		for _, p := range around {
			if sees == monitorCount || len(chosen) == maxMonitors && !chosen[p] {
				break
			}
			if slices.ContainsFunc(p.Links, func(o Link) bool { return o.Up && share(l, o) }) {
				chosen[p] = true
				sees++
			}
		}
	}
	for _, p := range around {
		if len(chosen) >= monitorCount {
			break
		}
		chosen[p] = true
	}
	names := make([]string, 0, len(chosen))
	for p := range chosen {
		names = append(names, p.Node)
	}
	slices.Sort(names)
	return names
}

// share reports whether two links may be on one segment: an equal network, or no network at all and the same name. That they are,
// only the wire can show.
func share(a, b Link) bool {
	for _, x := range a.Addresses {
		for _, y := range b.Addresses {
			if x.Masked() == y.Masked() {
				return true
			}
		}
	}
	return len(a.Addresses) == 0 && len(b.Addresses) == 0 && a.Name == b.Name && a.LinkLocal.IsValid() && b.LinkLocal.IsValid()
}

// A pairing is a way to a peer: from a link of this node's to a link of its. Both are "" if there is a router between.
type pairing struct {
	mine, theirs string
	targets      []target
}

// A target is what to ask, and how.
type target struct {
	method Method
	addr   netip.Addr
	port   uint16
	expect MAC
}

// pair returns all ways to a member.
func pair(own []Link, m Member) []pairing {
	var pairs []pairing
	for _, l := range own {
		for _, o := range m.Links {
			if !l.Up || !o.Up || !share(l, o) {
				continue
			}
			if p := (pairing{mine: l.Name, theirs: o.Name, targets: targets(l, o, m.Addr)}); len(p.targets) > 0 {
				pairs = append(pairs, p)
			}
			if len(pairs) == maxLinks {
				return pairs
			}
		}
	}
	if len(pairs) == 0 {
		pairs = append(pairs, pairing{targets: routed(m.Addr)})
	}
	return pairs
}

func targets(mine, theirs Link, gossip netip.AddrPort) []target {
	var v4, v6 netip.Addr
	v6 = theirs.LinkLocal
	if !mine.LinkLocal.IsValid() {
		v6 = netip.Addr{}
	}
	gossips := false
	for _, network := range mine.Addresses {
		network = network.Masked()
		if network.Contains(gossip.Addr()) {
			gossips = true
		}
		for _, a := range theirs.Addresses {
			addr := a.Addr()
			if a.Masked() != network {
				continue
			}
			if addr == network.Addr() && a.Bits() < addr.BitLen()-1 {
				// The network alone is published.
				if !network.Contains(gossip.Addr()) {
					continue
				}
				addr = gossip.Addr()
			}
			if addr.Is4() && !v4.IsValid() {
				v4 = addr
			}
			if addr.Is6() && !v6.IsValid() {
				v6 = addr
			}
		}
	}
	var ts []target
	if v4.IsValid() {
		ts = append(ts, target{method: ARP, addr: v4, expect: theirs.MAC}, target{method: Echo4, addr: v4})
	}
	if v6.IsValid() {
		ts = append(ts, target{method: NDP, addr: v6, expect: theirs.MAC}, target{method: Echo6, addr: v6})
	}
	if gossips && gossip.Port() != 0 {
		ts = append(ts, target{method: TCP, addr: gossip.Addr(), port: gossip.Port()})
	}
	return ts
}

func routed(gossip netip.AddrPort) []target {
	if !gossip.IsValid() {
		return nil
	}
	echo := Echo4
	if gossip.Addr().Is6() {
		echo = Echo6
	}
	ts := []target{{method: echo, addr: gossip.Addr()}}
	if gossip.Port() != 0 {
		ts = append(ts, target{method: TCP, addr: gossip.Addr(), port: gossip.Port()})
	}
	return ts
}
