package child

import (
	"errors"
	"fmt"
	"net/netip"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// maxMessage is how long a message may be (RFC 4271 section 4.1); we do not offer longer ones.
const maxMessage = 4096

// dialect is how UPDATEs are written on a session.
type dialect struct {
	asn          uint32
	internal     bool
	fourOctetASN bool
	extended     bool // IPv4 routes may have IPv6 next hops
	// v4, v6 and linkLocal are addresses of this node that the router can use as next hops; each may be missing.
	v4, v6, linkLocal netip.Addr
}

var errNoNextHop = errors.New("this node has no address there that could be next hop")

// nextHops are those of a route; mp says that they go with the route in an MP_REACH_NLRI.
//
//	family  next hop of the route or of the session
//	IPv4    IPv4, in NEXT_HOP; else, where the router can, IPv6 (RFC 8950)
//	IPv6    IPv6, with the link-local one beside it (RFC 2545)
func (d *dialect) nextHops(f bgp.Family, given netip.Addr) (hops []netip.Addr, mp bool, err error) {
	six := func() ([]netip.Addr, bool, error) {
		switch {
		case given.Is6():
			return []netip.Addr{given}, true, nil
		case d.v6.IsValid() && d.linkLocal.IsValid():
			return []netip.Addr{d.v6, d.linkLocal}, true, nil
		case d.v6.IsValid():
			return []netip.Addr{d.v6}, true, nil
		case d.linkLocal.IsValid():
			return []netip.Addr{d.linkLocal, d.linkLocal}, true, nil
		}
		return nil, true, errNoNextHop
	}
	if f == bgp.IPv6 {
		if given.Is4() {
			given = netip.Addr{}
		}
		return six()
	}
	switch {
	case given.Is4():
		return []netip.Addr{given}, false, nil
	case given.Is6() && d.extended:
		return six()
	case d.v4.IsValid():
		return []netip.Addr{d.v4}, false, nil
	case d.extended:
		given = netip.Addr{}
		return six()
	}
	return nil, false, errNoNextHop
}

// announcement is the UPDATEs that tell a group.
func (d *dialect) announcement(g group) ([][]byte, error) {
	a := g.said.Value()
	hops, mp, err := d.nextHops(g.family, a.nextHop)
	if err != nil {
		return nil, err
	}
	attrs := []codec.PathAttributeInterface{codec.NewPathAttributeOrigin(codec.BGP_ORIGIN_ATTR_TYPE_IGP)}
	attrs = append(attrs, d.path(a.prepend)...)
	if !mp {
		hop, err := codec.NewPathAttributeNextHop(hops[0])
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, hop)
	}
	if a.hasMED {
		attrs = append(attrs, codec.NewPathAttributeMultiExitDisc(a.med))
	}
	if d.internal {
		pref := uint32(100)
		if a.hasLocalPref {
			pref = a.localPref
		}
		attrs = append(attrs, codec.NewPathAttributeLocalPref(pref))
	}
	if a.communities != "" {
		attrs = append(attrs, codec.NewPathAttributeCommunities(numbers(a.communities)))
	}
	if a.large != "" {
		var all []*codec.LargeCommunity
		for n := numbers(a.large); len(n) >= 3; n = n[3:] {
			all = append(all, &codec.LargeCommunity{ASN: n[0], LocalData1: n[1], LocalData2: n[2]})
		}
		attrs = append(attrs, codec.NewPathAttributeLargeCommunities(all))
	}
	return chunks(g.prefixes, func(nlri []codec.PathNLRI) (*codec.BGPMessage, error) {
		if !mp {
			return codec.NewBGPUpdateMessage(nil, attrs, nlri), nil
		}
		reach, err := codec.NewPathAttributeMpReachNLRI(families[g.family], nlri, hops...)
		if err != nil {
			return nil, err
		}
		// It goes first (RFC 7606 section 5.1).
		return codec.NewBGPUpdateMessage(nil, append([]codec.PathAttributeInterface{reach}, attrs...), nil), nil
	})
}

// path is the AS path: nothing within an AS, else ours alone, as often as wanted.
func (d *dialect) path(prepend int) []codec.PathAttributeInterface {
	if d.internal {
		return []codec.PathAttributeInterface{codec.NewPathAttributeAsPath(nil)}
	}
	long := make([]uint32, 1+prepend)
	for i := range long {
		long[i] = d.asn
	}
	if d.fourOctetASN {
		return []codec.PathAttributeInterface{codec.NewPathAttributeAsPath([]codec.AsPathParamInterface{codec.NewAs4PathParam(codec.BGP_ASPATH_ATTR_TYPE_SEQ, long)})}
	}
	// RFC 6793 section 4.2.2.
	short := make([]uint16, 1+prepend)
	for i := range short {
		short[i] = uint16(d.asn)
		if d.asn > 0xffff {
			short[i] = codec.AS_TRANS
		}
	}
	attrs := []codec.PathAttributeInterface{codec.NewPathAttributeAsPath([]codec.AsPathParamInterface{codec.NewAsPathParam(codec.BGP_ASPATH_ATTR_TYPE_SEQ, short)})}
	if d.asn > 0xffff {
		attrs = append(attrs, codec.NewPathAttributeAs4Path([]*codec.As4PathParam{codec.NewAs4PathParam(codec.BGP_ASPATH_ATTR_TYPE_SEQ, long)}))
	}
	return attrs
}

// withdrawal is the UPDATEs that take prefixes back.
func withdrawal(prefixes []netip.Prefix) ([][]byte, error) {
	var four, six []netip.Prefix
	for _, p := range prefixes {
		if p.Addr().Is4() {
			four = append(four, p)
		} else {
			six = append(six, p)
		}
	}
	messages, err := chunks(four, func(nlri []codec.PathNLRI) (*codec.BGPMessage, error) {
		return codec.NewBGPUpdateMessage(nlri, nil, nil), nil
	})
	if err != nil {
		return nil, err
	}
	more, err := chunks(six, func(nlri []codec.PathNLRI) (*codec.BGPMessage, error) {
		unreach, err := codec.NewPathAttributeMpUnreachNLRI(codec.RF_IPv6_UC, nlri)
		if err != nil {
			return nil, err
		}
		return codec.NewBGPUpdateMessage(nil, []codec.PathAttributeInterface{unreach}, nil), nil
	})
	return append(messages, more...), err
}

// endOfRIB says that a family's routes are all told (RFC 4724 section 2).
func endOfRIB(f bgp.Family) ([]byte, error) {
	return codec.NewEndOfRib(families[f]).Serialize()
}

var errTooMuch = errors.New("what is said of one route, such as its communities, is more than an UPDATE has room for")

// chunks makes as few messages as have room for all prefixes.
func chunks(prefixes []netip.Prefix, message func([]codec.PathNLRI) (*codec.BGPMessage, error)) ([][]byte, error) {
	var all [][]byte
	var overhead int
	for len(prefixes) > 0 {
		take, room := 1, maxMessage-overhead
		if overhead > 0 {
			take = 0
			for used := 0; take < len(prefixes); take++ {
				used += 1 + (prefixes[take].Bits()+7)/8
				if used > room {
					break
				}
			}
		}
		if take == 0 {
			return nil, errTooMuch
		}
		nlri := make([]codec.PathNLRI, take)
		for i, p := range prefixes[:take] {
			one, err := codec.NewIPAddrPrefix(p)
			if err != nil {
				return nil, err
			}
			nlri[i].NLRI = one
		}
		m, err := message(nlri)
		if err != nil {
			return nil, err
		}
		b, err := m.Serialize(&codec.MarshallingOption{})
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", errTooMuch, err)
		}
		if overhead == 0 && len(prefixes) > 1 {
			// The first was to learn what there is beside prefixes. An attribute longer than 255 bytes has one more byte of length.
			overhead = len(b) - 1 - (prefixes[0].Bits()+7)/8 + 1
			continue
		}
		all = append(all, b)
		prefixes = prefixes[take:]
	}
	return all, nil
}
