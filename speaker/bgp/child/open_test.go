package child

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

func testPeer() bgp.Peer {
	return bgp.Peer{
		Name: "tor", Address: netip.MustParseAddr("192.0.2.2"), Port: 179, ASN: 65001, PeerASN: 65000, RouterID: netip.MustParseAddr("192.0.2.1"),
		HoldTime: 90 * time.Second, KeepaliveTime: 30 * time.Second, ConnectTime: 5 * time.Second, RestartTime: 120 * time.Second,
		Families: []bgp.Family{bgp.IPv4},
	}
}

// theirs is a router's OPEN.
func theirs(asn uint32, id string, hold uint16, caps ...codec.ParameterCapabilityInterface) *codec.BGPOpen {
	small := uint16(codec.AS_TRANS)
	if asn <= 0xffff {
		small = uint16(asn)
	}
	var parameters []codec.OptionParameterInterface
	if len(caps) > 0 {
		parameters = append(parameters, codec.NewOptionParameterCapability(caps))
	}
	m, err := codec.NewBGPOpenMessage(small, hold, netip.MustParseAddr(id), parameters)
	if err != nil {
		panic(err)
	}
	return m.Body.(*codec.BGPOpen)
}

func TestJudge(t *testing.T) {
	four := codec.NewCapMultiProtocol(codec.RF_IPv4_UC)
	six := codec.NewCapMultiProtocol(codec.RF_IPv6_UC)
	for _, row := range []struct {
		name    string
		change  func(*bgp.Peer)
		open    *codec.BGPOpen
		reason  bgp.Reason // empty: accepted
		subcode uint8
	}{
		{"as wanted", nil, theirs(65000, "2.2.2.2", 90, four), "", 0},
		{"without capabilities it carries IPv4", nil, theirs(65000, "2.2.2.2", 90), "", 0},
		{"another ASN", nil, theirs(65009, "2.2.2.2", 90, four), bgp.WrongPeerASN, codec.BGP_ERROR_SUB_BAD_PEER_AS},
		{"a large ASN that is only in the capability", func(p *bgp.Peer) { p.PeerASN = 4200000000 }, theirs(4200000000, "2.2.2.2", 90, four, codec.NewCapFourOctetASNumber(4200000000)), "", 0},
		{"a large ASN where those are not negotiated", func(p *bgp.Peer) { p.PeerASN = 4200000000 }, theirs(4200000000, "2.2.2.2", 90, four), bgp.WrongPeerASN, codec.BGP_ERROR_SUB_BAD_PEER_AS},
		{"external is wanted, and our ASN found", func(p *bgp.Peer) { p.PeerASN, p.DynamicASN = 0, bgp.ExternalASN }, theirs(65001, "2.2.2.2", 90, four), bgp.WrongPeerASN, codec.BGP_ERROR_SUB_BAD_PEER_AS},
		{"ASN 0", func(p *bgp.Peer) { p.PeerASN, p.DynamicASN = 0, bgp.ExternalASN }, theirs(0, "2.2.2.2", 90, four), bgp.WrongPeerASN, codec.BGP_ERROR_SUB_BAD_PEER_AS},
		{"our router ID in another AS is fine (RFC 6286)", nil, theirs(65000, "192.0.2.1", 90, four), "", 0},
		{"our router ID in our own AS is not", func(p *bgp.Peer) { p.PeerASN = 65001 }, theirs(65001, "192.0.2.1", 90, four), bgp.OpenRefused, codec.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER},
		{"router ID 0", nil, theirs(65000, "0.0.0.0", 90, four), bgp.OpenRefused, codec.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER},
		{"a hold time of 2 seconds", nil, theirs(65000, "2.2.2.2", 2, four), bgp.OpenRefused, codec.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME},
		{"no hold time", nil, theirs(65000, "2.2.2.2", 0, four), "", 0},
		{"IPv6 alone", nil, theirs(65000, "2.2.2.2", 90, six), bgp.NoCommonFamily, codec.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY},
	} {
		p := testPeer()
		if row.change != nil {
			row.change(&p)
		}
		_, no := judge(&p, row.open)
		switch {
		case no == nil && row.reason != "":
			t.Errorf("%s: accepted", row.name)
		case no != nil && (no.reason != row.reason || no.subcode != row.subcode || no.message == ""):
			t.Errorf("%s: %+v", row.name, no)
		}
	}
}

func TestWhatIsNegotiated(t *testing.T) {
	p := testPeer()
	p.Families, p.GracefulRestart, p.KeepaliveTime = []bgp.Family{bgp.IPv4, bgp.IPv6}, true, 20*time.Second
	h, no := judge(&p, theirs(65000, "2.2.2.2", 30,
		codec.NewCapMultiProtocol(codec.RF_IPv4_UC), codec.NewCapMultiProtocol(codec.RF_IPv6_UC), codec.NewCapRouteRefresh(), codec.NewCapFourOctetASNumber(65000),
		codec.NewCapExtendedNexthop([]*codec.CapExtendedNexthopTuple{codec.NewCapExtendedNexthopTuple(codec.RF_IPv4_UC, codec.AFI_IP6)}),
		codec.NewCapGracefulRestart(false, false, 77, nil))) // it helps, and keeps nothing itself
	if no != nil {
		t.Fatal(no)
	}
	n := h.negotiated
	if n.HoldTime != 30*time.Second || n.KeepaliveTime != 10*time.Second || !n.FourOctetASN || !n.RouteRefresh || !n.ExtendedNextHop ||
		!slices.Equal(n.Families, p.Families) || !slices.Equal(n.GracefulRestart, p.Families) || n.RouterRestartTime != 77*time.Second {
		t.Errorf("negotiated %+v", n)
	}
	h, no = judge(&p, theirs(65000, "2.2.2.2", 0))
	if n := h.negotiated; no != nil || n.HoldTime != 0 || n.KeepaliveTime != 0 || n.FourOctetASN || len(n.GracefulRestart) > 0 || n.ExtendedNextHop {
		t.Errorf("negotiated %+v, %v", n, no)
	}
}

// Our OPEN says what the settings do, and Restart State only in a process's first session (RFC 4724 section 4.1).
func TestOurOpen(t *testing.T) {
	p := testPeer()
	p.ASN, p.GracefulRestart, p.Families = 4200000001, true, []bgp.Family{bgp.IPv4, bgp.IPv6}
	for _, restarting := range []bool{true, false} {
		b, err := open(&p, restarting)
		if err != nil {
			t.Fatal(err)
		}
		m, err := codec.ParseBGPMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		o := m.Body.(*codec.BGPOpen)
		if o.MyAS != codec.AS_TRANS || o.HoldTime != 90 || o.ID != p.RouterID {
			t.Errorf("OPEN %+v", o)
		}
		found := false
		for _, c := range o.OptParams[0].(*codec.OptionParameterCapability).Capability {
			if gr, ok := c.(*codec.CapGracefulRestart); ok {
				found = true
				if (gr.Flags&8 != 0) != restarting || gr.Flags&4 != 0 || gr.Time != 120 || len(gr.Tuples) != 2 || gr.Tuples[0].Flags != 0x80 {
					t.Errorf("graceful restart %+v", gr)
				}
			}
		}
		if !found {
			t.Error("no graceful restart capability")
		}
		// A router with the same code accepts it.
		q := testPeer()
		q.PeerASN = p.ASN
		if _, no := judge(&q, o); no != nil {
			t.Error(no.message)
		}
	}
}
