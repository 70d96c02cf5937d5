package child

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// families of gobgp's.
var families = map[bgp.Family]codec.Family{
	bgp.IPv4: codec.RF_IPv4_UC,
	bgp.IPv6: codec.RF_IPv6_UC,
}

// open is our OPEN. restarting says that this process has not been established with the router yet, so that
// the router may hold routes of the one before.
func open(p *bgp.Peer, restarting bool) ([]byte, error) {
	caps := []codec.ParameterCapabilityInterface{codec.NewCapRouteRefresh()}
	for _, f := range p.Families {
		caps = append(caps, codec.NewCapMultiProtocol(families[f]))
	}
	caps = append(caps, codec.NewCapFourOctetASNumber(p.ASN))
	if slices.Contains(p.Families, bgp.IPv4) {
		caps = append(caps, codec.NewCapExtendedNexthop([]*codec.CapExtendedNexthopTuple{
			codec.NewCapExtendedNexthopTuple(codec.RF_IPv4_UC, codec.AFI_IP6),
		}))
	}
	if p.GracefulRestart {
		var tuples []*codec.CapGracefulRestartTuple
		for _, f := range p.Families {
			// What forwards is the kernel, which does not restart with us.
			tuples = append(tuples, codec.NewCapGracefulRestartTuple(families[f], true))
		}
		caps = append(caps, codec.NewCapGracefulRestart(restarting, false, uint16(p.RestartTime/time.Second), tuples))
	}
	asn := uint16(codec.AS_TRANS)
	if p.ASN <= 0xffff {
		asn = uint16(p.ASN)
	}
	message, err := codec.NewBGPOpenMessage(asn, uint16(p.HoldTime/time.Second), p.RouterID,
		[]codec.OptionParameterInterface{codec.NewOptionParameterCapability(caps)})
	if err != nil {
		return nil, err
	}
	return message.Serialize()
}

// hello is what a router says of itself in its OPEN.
type hello struct {
	asn        uint32
	routerID   netip.Addr
	negotiated bgp.Negotiated
}

// refusal is why we can't have a session with a router, and what it is told.
type refusal struct {
	code, subcode uint8
	data          []byte
	reason        bgp.Reason
	message       string
}

// judge tells what comes of a router's OPEN.
func judge(p *bgp.Peer, o *codec.BGPOpen) (h hello, no *refusal) {
	bad := func(subcode uint8, data []byte, reason bgp.Reason, format string, args ...any) (hello, *refusal) {
		return h, &refusal{codec.BGP_ERROR_OPEN_MESSAGE_ERROR, subcode, data, reason, fmt.Sprintf(format, args...)}
	}
	h.asn, h.routerID = uint32(o.MyAS), o.ID
	if o.Version != 4 {
		return bad(codec.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER, []byte{0, 4}, bgp.OpenRefused, "the router speaks BGP version %d, and version 4 is wanted", o.Version)
	}
	multiprotocol, extended, graceful := false, false, false
	carries := map[codec.Family]bool{}
	for _, parameter := range o.OptParams {
		list, ok := parameter.(*codec.OptionParameterCapability)
		if !ok {
			return bad(codec.BGP_ERROR_SUB_UNSUPPORTED_OPTIONAL_PARAMETER, nil, bgp.OpenRefused, "the router's OPEN has a parameter that nobody knows")
		}
		for _, one := range list.Capability {
			switch c := one.(type) {
			case *codec.CapMultiProtocol:
				multiprotocol = true
				carries[c.CapValue] = true
			case *codec.CapFourOctetASNumber:
				h.asn, h.negotiated.FourOctetASN = c.CapValue, true
			case *codec.CapRouteRefresh:
				h.negotiated.RouteRefresh = true
			case *codec.CapExtendedNexthop:
				for _, t := range c.Tuples {
					extended = extended || codec.NewFamily(t.NLRIAFI, uint8(t.NLRISAFI)) == codec.RF_IPv4_UC && t.NexthopAFI == codec.AFI_IP6
				}
			case *codec.CapGracefulRestart:
				graceful = true
				h.negotiated.RouterRestartTime = time.Duration(c.Time) * time.Second
			}
		}
	}
	if !multiprotocol {
		carries[codec.RF_IPv4_UC] = true // RFC 4271 knows nothing else
	}
	if no := judgeASN(p, h.asn); no != "" {
		data := make([]byte, 2)
		binary.BigEndian.PutUint16(data, o.MyAS)
		return bad(codec.BGP_ERROR_SUB_BAD_PEER_AS, data, bgp.WrongPeerASN, "%s", no)
	}
	// RFC 6286 section 2.2: any but 0, and within an AS not ours.
	if !o.ID.Is4() || o.ID.IsUnspecified() || p.Internal(h.asn) && o.ID == p.RouterID {
		return bad(codec.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER, nil, bgp.OpenRefused, "the router's ID %s is invalid or our own", o.ID)
	}
	if o.HoldTime == 1 || o.HoldTime == 2 {
		return bad(codec.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME, nil, bgp.OpenRefused, "the router proposes a hold time of %ds, and RFC 4271 wants 3s at least", o.HoldTime)
	}
	for _, f := range p.Families {
		if carries[families[f]] {
			h.negotiated.Families = append(h.negotiated.Families, f)
		}
	}
	if len(h.negotiated.Families) == 0 {
		return bad(codec.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY, nil, bgp.NoCommonFamily, "the router does not carry %s on this session: activate it there, or change families", join(p.Families))
	}
	h.negotiated.ExtendedNextHop = extended && slices.Contains(h.negotiated.Families, bgp.IPv4)
	if p.GracefulRestart && graceful {
		h.negotiated.GracefulRestart = h.negotiated.Families
	}
	// The lower of both (RFC 4271 section 4.2).
	h.negotiated.HoldTime = min(p.HoldTime, time.Duration(o.HoldTime)*time.Second)
	h.negotiated.KeepaliveTime = keepalive(p, h.negotiated.HoldTime)
	return h, nil
}

// keepalive is how often a KEEPALIVE is sent where the hold time in force is known.
func keepalive(p *bgp.Peer, hold time.Duration) time.Duration {
	if hold == 0 {
		return 0
	}
	return min(p.KeepaliveTime, hold/3)
}

// judgeASN tells why a router's ASN won't do; empty when it will.
func judgeASN(p *bgp.Peer, asn uint32) string {
	switch {
	case asn == 0:
		return "the router says that its ASN is 0"
	case p.DynamicASN == bgp.InternalASN && asn != p.ASN:
		return fmt.Sprintf("the router's ASN is %d, and dynamicASN internal wants ours, %d", asn, p.ASN)
	case p.DynamicASN == bgp.ExternalASN && asn == p.ASN:
		return fmt.Sprintf("the router's ASN is %d like ours, and dynamicASN external wants another", asn)
	case p.DynamicASN == bgp.NamedASN && asn == codec.AS_TRANS:
		return fmt.Sprintf("the router shows the ASN 23456, which stands for a large one where ASNs of four bytes are not negotiated (RFC 6793), and peerASN is %d: have it negotiate capabilities", p.PeerASN)
	case p.DynamicASN == bgp.NamedASN && asn != p.PeerASN:
		return fmt.Sprintf("the router's ASN is %d, and peerASN is %d", asn, p.PeerASN)
	}
	return ""
}

func join(all []bgp.Family) string {
	text := ""
	for i, f := range all {
		if i > 0 {
			text += " or "
		}
		text += f.String()
	}
	return text
}
