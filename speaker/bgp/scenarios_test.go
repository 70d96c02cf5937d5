package bgp_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/lab/wire"
	"github.com/clarion-lb/clarion/speaker/bgp"
)

func number(n uint32) *uint32 { return &n }

// TestSessions has one kind of session after another, with a route in each family that it carries.
func TestSessions(t *testing.T) {
	for _, row := range []struct {
		name string
		peer func(*bgp.Peer)
		tor  func(*neighbor)
		// holds is what the router says of the IPv4 route, or of the IPv6 one where that is the only one.
		frr, bird string
	}{
		{"eBGP", func(*bgp.Peer) {}, func(*neighbor) {}, `"string":"65001"`, "BGP.as_path: 65001\n"},
		{"iBGP", func(p *bgp.Peer) { p.PeerASN = 65001 }, func(n *neighbor) { n.ASN = 65001 }, `"locPrf":100`, "BGP.local_pref: 100"},
		{"ASNs of four bytes", func(p *bgp.Peer) { p.ASN, p.PeerASN = 4200000001, 4200000000 },
			func(n *neighbor) { n.ASN, n.RemoteASN = 4200000000, 4200000001 }, `"string":"4200000001"`, "BGP.as_path: 4200000001\n"},
		{"any external ASN", func(p *bgp.Peer) { p.PeerASN, p.DynamicASN = 0, bgp.ExternalASN }, func(*neighbor) {}, `"string":"65001"`, "BGP.as_path: 65001\n"},
		{"our own ASN, whichever", func(p *bgp.Peer) { p.PeerASN, p.DynamicASN = 0, bgp.InternalASN }, func(n *neighbor) { n.ASN = 65001 }, `"locPrf":100`, "BGP.local_pref: 100"},
		{"a password", func(p *bgp.Peer) { p.Password = "s3cret" }, func(n *neighbor) { n.Password = "s3cret" }, "", ""},
		{"TTL security", func(p *bgp.Peer) { p.TTLSecurity = 1 }, func(n *neighbor) { n.TTLSecurity = true }, "", ""},
		{"multihop", func(p *bgp.Peer) { p.Multihop = true }, func(n *neighbor) { n.Multihop = true }, "", ""},
		{"bound to a device", func(p *bgp.Peer) { p.Device = "eth0" }, func(*neighbor) {}, "", ""},
		{"from an interface's address, with a password, IPv6", func(p *bgp.Peer) { p.Address, p.SourceInterface, p.Password = torV6, "eth0", "s3cret" },
			func(n *neighbor) {
				n.Address, n.Local, n.V4, n.V6, n.Password = nodeV6.String(), torV6.String(), false, true, "s3cret"
			}, "2001:db8::1", "BGP.next_hop: 2001:db8::1"},
		{"TTL security, IPv6", func(p *bgp.Peer) { p.Address, p.TTLSecurity = torV6, 1 },
			func(n *neighbor) {
				n.Address, n.Local, n.V4, n.V6, n.TTLSecurity = nodeV6.String(), torV6.String(), false, true, true
			}, "2001:db8::1", "BGP.next_hop: 2001:db8::1"},
		{"both families over IPv4", func(p *bgp.Peer) { p.Families = []bgp.Family{bgp.IPv6, bgp.IPv4} }, func(n *neighbor) { n.V6 = true }, "192.0.2.1", "BGP.next_hop: 192.0.2.1"},
		{"both families over IPv6", func(p *bgp.Peer) { p.Address, p.Families = torV6, []bgp.Family{bgp.IPv4, bgp.IPv6} },
			func(n *neighbor) { n.Address, n.Local, n.V6 = nodeV6.String(), torV6.String(), true }, "192.0.2.1", "BGP.next_hop: 192.0.2.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(s *stage, kind router.Kind) {
				n := node()
				n.Local = torV4.String()
				row.tor(&n)
				r := s.tor.StartRouter(s, kind, config(kind, n))
				m, _ := s.manager()
				p := peer()
				row.peer(&p)
				p.Routes = routes(s, to(webV4), to(webV6))
				m.Apply(desired(p))
				is := up(s, m, "tor")
				if is.Negotiated.HoldTime != 3*time.Second || is.Negotiated.KeepaliveTime != time.Second || !is.RouterID.IsValid() {
					s.Errorf("session %+v", is)
				}
				prefix, want := webV4, row.frr
				if !n.V4 {
					prefix = webV6
				}
				if kind == router.BIRD {
					want = row.bird
				}
				has(s, r, prefix)
				if said := strings.ReplaceAll(held(s, r, prefix), `": `, `":`); !strings.Contains(said+"\n", want) {
					s.Errorf("%s says, without %q:\n%s", kind, want, said)
				}
				if n.V4 && n.V6 {
					has(s, r, webV6)
				}
			})
		})
	}
}

// TestARouterThatKnowsNoLargeASNs hears of ours by AS_TRANS and AS4_PATH (RFC 6793), which BIRD puts together again.
func TestARouterThatKnowsNoLargeASNs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	n := node()
	n.Local, n.BIRDMore = torV4.String(), "  enable as4 off;\n"
	// BIRD will not have AS 23456 named.
	r := s.tor.StartRouter(s, router.BIRD, strings.Replace(config(router.BIRD, n), "192.0.2.1 as 65001", "192.0.2.1 external", 1))
	m, _ := s.manager()
	p := peer()
	p.ASN = 4200000001
	p.Routes = routes(s, bgp.Route{Prefix: webV4, Prepend: 1})
	m.Apply(desired(p))
	if is := up(s, m, "tor"); is.Negotiated.FourOctetASN {
		s.Errorf("session %+v", is)
	}
	has(s, r, webV4)
	if said := held(s, r, webV4); !strings.Contains(said, "BGP.as_path: 4200000001 4200000001\n") {
		s.Errorf("BIRD says %s", said)
	}
}

// TestUnnumbered has a session with whoever is on the link.
func TestUnnumbered(t *testing.T) {
	t.Parallel()
	t.Run("frr", func(t *testing.T) {
		s := newStage(t)
		s.tor.Sysctl("net/ipv6/conf/all/forwarding", "1")
		r := s.tor.StartRouter(s, router.FRR, config(router.FRR, neighbor{Interface: "eth0", ASN: 65000, RemoteASN: 65001, V4: true, V6: true, Password: "s3cret"})+
			"interface eth0\n ipv6 nd ra-interval 1\n")
		unnumbered(s, r, "s3cret")
	})
	// BIRD sends router advertisements by another protocol of its own.
	t.Run("bird", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		r := s.tor.StartRouter(s, router.BIRD, config(router.BIRD, neighbor{Interface: "eth0", ASN: 65000, RemoteASN: 65001, V4: true, V6: true, ExtendedNextHop: true, Name: "dyn"})+
			"\nprotocol radv { interface \"eth0\" { min ra interval 3; max ra interval 4; }; }\n")
		unnumbered(s, r, "")
	})
}

func unnumbered(s *stage, r *router.Router, password bgp.Secret) {
	// The node has no IPv4 address there, so the next hop is IPv6 (RFC 8950).
	link, err := s.node.LinkByName("eth0")
	if err != nil {
		s.Fatal(err)
	}
	addresses, err := s.node.AddrList(link, 2)
	if err != nil {
		s.Fatal(err)
	}
	for _, a := range addresses {
		if err := s.node.AddrDel(link, &a); err != nil {
			s.Fatal(err)
		}
	}
	m, _ := s.manager()
	p := bgp.Peer{Name: "tor", Interface: "eth0", ASN: 65001, PeerASN: 65000, HoldTime: 3 * time.Second, ConnectTime: time.Second,
		Password: password, Routes: routes(s.T, to(webV4), to(webV6))}
	m.Apply(desired(p))
	is := up(s, m, "tor")
	if !is.Remote.Addr().IsLinkLocalUnicast() || is.Remote.Addr().Zone() != "eth0" || !is.Negotiated.ExtendedNextHop {
		s.Errorf("session %+v", is)
	}
	has(s, r, webV4)
	has(s, r, webV6)
	eventually(s, "the router's kernel sends to the node by IPv6", func() bool {
		routes, err := s.tor.RouteList(nil, 2)
		if err != nil {
			return false
		}
		for _, one := range routes {
			if one.Dst != nil && one.Dst.String() == webV4.String() && one.Via != nil {
				return true
			}
		}
		return false
	})
	p.Routes = nil
	m.Apply(desired(p))
	lacks(s, r, webV4)
	lacks(s, r, webV6)
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		n := node()
		n.Local = torV4.String()
		r := s.tor.StartRouter(s, kind, config(kind, n))
		m, _ := s.manager()
		p := peer()
		p.Routes = routes(s, bgp.Route{
			Prefix: webV4, MED: number(7), Prepend: 2, LocalPref: number(300),
			Communities: []uint32{65001<<16 | 42, 0xffffff01}, LargeCommunities: []bgp.LargeCommunity{{65001, 1, 4000000000}},
		})
		m.Apply(desired(p))
		has(s, r, webV4)
		said := held(s, r, webV4)
		wants := []string{"65001 65001 65001", "65001:42 no-export", "65001:1:4000000000", `"metric":7`}
		if kind == router.BIRD {
			wants = []string{"BGP.as_path: 65001 65001 65001\n", "(65001,42)", "(65535,65281)", "(65001, 1, 4000000000)", "BGP.med: 7", "BGP.local_pref: 100"}
		}
		for _, want := range wants {
			if !strings.Contains(said, want) {
				s.Errorf("%s says, without %q:\n%s", kind, want, said)
			}
		}
	})
}

// TestTwoOnOneAddress has two sessions with two routers at one address, with different ASNs and router IDs of ours.
func TestTwoOnOneAddress(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	one, two := node(), node()
	one.Local, two.Local = torV4.String()+" port 1790", torV4.String()+" port 1791"
	two.RemoteASN = 65002
	a := s.tor.StartRouter(s, router.BIRD, config(router.BIRD, one))
	b := s.tor.StartRouter(s, router.BIRD, config(router.BIRD, two))
	m, _ := s.manager()
	p, q := peer(), peer()
	p.Port, q.Port = 1790, 1791
	q.Name, q.ASN, q.RouterID = "tor-2", 65002, netip.MustParseAddr("7.7.7.7")
	q.Routes = routes(s, to(webV4))
	m.Apply(desired(p, q))
	up(s, m, "tor")
	up(s, m, "tor-2")
	has(s, b, webV4)
	if said := held(s, a, webV4); said != "" {
		s.Errorf("the other one has it too: %s", said)
	}
	if out, err := b.Show(t.Context(), "show protocols all node1"); err != nil || !strings.Contains(out, "7.7.7.7") {
		s.Errorf("%v: %s", err, out)
	}
}

// counts is what a router counts of a session: UPDATEs that came, and how often it was established.
func counts(t testing.TB, r *router.Router) (updates, sessions int) {
	t.Helper()
	if r.Kind == router.FRR {
		var all map[string]struct {
			ConnectionsEstablished int
			MessageStats           struct{ UpdatesRecv int }
		}
		if err := r.ShowJSON(t.Context(), "show bgp neighbors json", &all); err != nil {
			t.Fatal(err)
		}
		for _, n := range all {
			return n.MessageStats.UpdatesRecv, n.ConnectionsEstablished
		}
	}
	out, err := r.Show(t.Context(), "show protocols all node1")
	if err != nil {
		t.Fatal(err)
	}
	since := ""
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 5 && fields[0] == "node1":
			since = fields[4]
		case len(fields) > 3 && fields[0] == "Import" && (fields[1] == "updates:" || fields[1] == "withdraws:"):
			var n int
			fmt.Sscan(fields[2], &n)
			updates += n
		}
	}
	var h, min, sec int
	fmt.Sscanf(since, "%d:%d:%d", &h, &min, &sec)
	return updates, h*3600 + min*60 + sec // when it was established stands for how often
}

// TestNothingFlaps counts at the router what changes elsewhere cost: nothing.
func TestNothingFlaps(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		n := node()
		n.Local, n.Hold = torV4.String(), 9
		r := s.tor.StartRouter(s, kind, config(kind, n))
		m, _ := s.manager()
		p := peer()
		p.HoldTime = 9 * time.Second
		p.Routes = routes(s, to(webV4))
		m.Apply(desired(p))
		up(s, m, "tor")
		has(s, r, webV4)
		time.Sleep(time.Second) // FRR counts the End-of-RIB late
		updates, sessions := counts(s, r)
		for i := range 20 {
			same := peer()
			same.HoldTime, same.ConnectTime, same.Linger = 9*time.Second, time.Duration(1+i)*time.Second, time.Duration(i)*time.Second
			same.Routes = routes(s, to(webV4))
			stranger := peer()
			stranger.Name, stranger.Address = "other", netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
			stranger.Routes = routes(s, to(webV4), to(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)))
			nonsense := peer()
			nonsense.Name, nonsense.ASN = "nonsense", 0
			m.Apply(desired(same, stranger, nonsense))
			m.Apply(desired(same))
		}
		later := peer()
		later.HoldTime, later.GracefulRestart = 30*time.Second, true
		later.Routes = routes(s, to(webV4))
		m.Apply(desired(later))
		is := await(s, m, "tor", "told what waits for the next session", func(s bgp.Session) bool { return len(s.Pending) == 2 })
		if is.State != bgp.Established || is.Ups != 1 || is.UpdatesSent != 1 {
			s.Errorf("session %+v", is)
		}
		time.Sleep(500 * time.Millisecond)
		if u, n := counts(s, r); u != updates || n != sessions {
			s.Errorf("the router has counted %d updates and %d sessions, before %d and %d", u, n, updates, sessions)
		}
		// One route more is one UPDATE.
		later.Routes = routes(s, to(webV4), to(netip.MustParsePrefix("198.51.100.2/32")))
		m.Apply(desired(later))
		eventually(s, "the router has counted one more update", func() bool {
			u, n := counts(s, r)
			return u == updates+1 && n == sessions
		})
	})
}

// TestRoutersRoutesAreNotTaken has a router tell more routes than anybody should want.
func TestRoutersRoutesAreNotTaken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var more strings.Builder
	more.WriteString(" address-family ipv4 unicast\n")
	for i := range 500 {
		fmt.Fprintf(&more, "  network 203.%d.%d.0/24\n", i/250, i%250)
	}
	n := node()
	n.FRRMore = more.String()
	s.tor.StartRouter(s, router.FRR, config(router.FRR, n))
	m, _ := s.manager()
	m.Apply(desired(peer()))
	up(s, m, "tor")
	await(s, m, "tor", "told that routes come", func(s bgp.Session) bool { return s.State == bgp.Established && s.UpdatesReceived > 0 })
	if found, err := s.node.RouteList(nil, 2); err != nil || len(found) > 3 {
		s.Errorf("%v: %v", err, found)
	}
}

// TestOnePasswordChanges rotates one of two sessions' passwords.
func TestOnePasswordChanges(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		other := wire.NewHost(s, "tor2")
		wire.Connect(s, wire.End{Host: s.node, Name: "eth1", Addresses: wire.Prefixes("192.0.3.1/24")}, wire.End{Host: other, Name: "eth0", Addresses: wire.Prefixes("192.0.3.2/24")})
		n, n2 := node(), node()
		n.Local, n.Password = torV4.String(), "before"
		n2.Address, n2.Local, n2.RouterID = "192.0.3.1", "192.0.3.2", "192.0.3.2"
		r := s.tor.StartRouter(s, kind, config(kind, n))
		other.StartRouter(s, kind, config(kind, n2))
		m, _ := s.manager()
		p, q := peer(), peer()
		p.Password = "before"
		q.Name, q.Address = "tor-2", netip.MustParseAddr("192.0.3.2")
		m.Apply(desired(p, q))
		up(s, m, "tor")
		first := up(s, m, "tor-2")
		n.Password = "after"
		if err := r.Configure(s.Context(), config(kind, n)); err != nil {
			s.Fatal(err)
		}
		p.Password = "after"
		m.Apply(desired(p, q))
		await(s, m, "tor", "established again", func(s bgp.Session) bool { return s.State == bgp.Established && s.Ups > 1 })
		if now := up(s, m, "tor-2"); now.Ups != first.Ups || now.Since != first.Since {
			s.Errorf("the other session was %+v and is %+v", first, now)
		}
	})
}
