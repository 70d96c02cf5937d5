package bgp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/speaker/bgp"
)

const lateTTL = "TTL security there alone"

// TestReasons has one mistake after another, each told by its reason and in words that name it.
func TestReasons(t *testing.T) {
	for _, row := range []struct {
		name   string
		peer   func(*bgp.Peer)
		tor    func(*neighbor)
		reason bgp.Reason
		words  string
		// unlikeBIRD is a router that says less.
		birdReason bgp.Reason
	}{
		{"the router has another ASN", func(p *bgp.Peer) { p.PeerASN = 65009 }, func(*neighbor) {}, bgp.WrongPeerASN, "the router's ASN is 65000, and peerASN is 65009", ""},
		{"the router wants another ASN of us", func(*bgp.Peer) {}, func(n *neighbor) { n.RemoteASN = 65009 }, bgp.RefusedASN, "refuses our ASN 65001", ""},
		{"internal is wanted, external found", func(p *bgp.Peer) { p.PeerASN, p.DynamicASN = 0, bgp.InternalASN }, func(*neighbor) {}, bgp.WrongPeerASN, "dynamicASN internal", ""},
		{"the passwords differ", func(p *bgp.Peer) { p.Password = "one" }, func(n *neighbor) { n.Password = "two" }, bgp.ConnectTimeout, "another TCP-MD5 password or none", ""},
		{"the router wants a password", func(*bgp.Peer) {}, func(n *neighbor) { n.Password = "two" }, bgp.ConnectTimeout, "wants a TCP-MD5 password", ""},
		{"the router wants none", func(p *bgp.Peer) { p.Password = "one" }, func(*neighbor) {}, bgp.ConnectTimeout, "another TCP-MD5 password or none", ""},
		{"TTL security here alone", func(p *bgp.Peer) { p.TTLSecurity = 1 }, func(*neighbor) {}, bgp.TTLTooLow, "ttlSecurity is not set at the router", ""},
		{lateTTL, func(*bgp.Peer) {}, func(n *neighbor) { n.TTLSecurity = true }, bgp.OpenTimeout, "ttlSecurity is set at its side only", bgp.ConnectionClosed},
		{"nobody listens", func(p *bgp.Peer) { p.Port = 1179 }, func(*neighbor) {}, bgp.ConnectionRefused, "nobody takes BGP connections at 192.0.2.2:1179", ""},
		{"nobody is there", func(p *bgp.Peer) { p.Address = torV4.Next() }, func(*neighbor) {}, bgp.Unreachable, "nobody on the way answers for 192.0.2.3", ""},
		{"there is no such device", func(p *bgp.Peer) { p.Device = "red" }, func(*neighbor) {}, bgp.SourceUnavailable, "no device red", ""},
		{"the source address is elsewhere", func(p *bgp.Peer) { p.SourceAddress = torV4.Next() }, func(*neighbor) {}, bgp.SourceUnavailable, "does not have the source address 192.0.2.3", ""},
		{"no family in common", func(p *bgp.Peer) { p.Families = []bgp.Family{bgp.IPv6} }, func(*neighbor) {}, bgp.NoCommonFamily, "does not carry IPv6", ""},
		{"the settings make no sense", func(p *bgp.Peer) { p.HoldTime = time.Second }, func(*neighbor) {}, bgp.Misconfigured, "holdTime 1s", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(s *stage, kind router.Kind) {
				n := node()
				n.Local = torV4.String()
				row.tor(&n)
				s.tor.StartRouter(s, kind, config(kind, n))
				m, _ := s.manager()
				p := peer()
				row.peer(&p)
				m.Apply(desired(p))
				want := row.reason
				if kind == router.BIRD && row.birdReason != "" {
					want = row.birdReason
				}
				reached := failed(want)
				if row.name == lateTTL && kind == router.FRR {
					// It guards the connection only some time after it took it, and by then the session may be up.
					reached = func(is bgp.Session) bool { return failed(want)(is) || failed(bgp.HoldTimeExpired)(is) }
				}
				is := await(s, m, "tor", "down because of "+string(want), reached)
				if is.LastError == row.reason && !strings.Contains(is.LastMessage, row.words) {
					s.Errorf("it says %q, without %q", is.LastMessage, row.words)
				}
			})
		})
	}
}

// TestOperators has routers' operators end the session in their ways.
func TestOperators(t *testing.T) {
	for _, row := range []struct {
		name      string
		frr, bird []string
		reason    bgp.Reason
		words     string
	}{
		{"shutdown", []string{"configure terminal", "router bgp 65000", "neighbor 192.0.2.1 shutdown message fibre work"}, []string{"disable", "node1", `"fibre work"`}, bgp.PeerShutdown, "saying: fibre work"},
		{"reset", []string{"clear bgp 192.0.2.1"}, []string{"restart", "node1"}, bgp.PeerReset, "reset at the router"},
		{"removal", []string{"configure terminal", "router bgp 65000", "no neighbor 192.0.2.1"}, nil, bgp.PeerDeconfigured, "not have this node among its neighbors"},
		{"maximum-prefix", []string{"configure terminal", "router bgp 65000", "address-family ipv4 unicast", "neighbor 192.0.2.1 maximum-prefix 1"}, nil, bgp.TooManyRoutes, "maximum-prefix"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(s *stage, kind router.Kind) {
				commands := row.frr
				if kind == router.BIRD {
					if commands = row.bird; commands == nil {
						s.Skip("BIRD has no such way")
					}
				}
				n := node()
				n.Local = torV4.String()
				r := s.tor.StartRouter(s, kind, config(kind, n))
				m, _ := s.manager()
				p := peer()
				p.Routes = routes(s, to(webV4), to(netOf(7)))
				m.Apply(desired(p))
				up(s, m, "tor")
				has(s, r, webV4)
				if out, err := r.Show(s.Context(), commands...); err != nil {
					s.Fatal(err, out)
				}
				is := await(s, m, "tor", "ended as "+string(row.reason), func(s bgp.Session) bool { return s.LastError == row.reason })
				if !strings.Contains(is.LastMessage, row.words) {
					s.Errorf("it says %q, without %q", is.LastMessage, row.words)
				}
			})
		})
	}
}

// TestASilentRouter has packets lost, both ways, for longer than the hold time.
func TestASilentRouter(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		n := node()
		n.Local = torV4.String()
		r := s.tor.StartRouter(s, kind, config(kind, n))
		m, _ := s.manager()
		p := peer()
		p.Routes = routes(s, to(webV4))
		m.Apply(desired(p))
		up(s, m, "tor")
		has(s, r, webV4)
		begin := time.Now()
		s.tor.Silence()
		is := await(s, m, "tor", "down", func(s bgp.Session) bool { return s.LastError == bgp.HoldTimeExpired })
		if took := is.LastErrorAt.Sub(begin); took < 1500*time.Millisecond || took > 4500*time.Millisecond {
			s.Errorf("it took %s", took)
		}
		lacks(s, r, webV4) // its own hold timer
		s.tor.Heal()
		up(s, m, "tor")
		has(s, r, webV4)
	})
}

// TestARouterRestarts kills a router and starts it again.
func TestARouterRestarts(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		n := node()
		n.Local = torV4.String()
		r := s.tor.StartRouter(s, kind, config(kind, n))
		m, _ := s.manager()
		p := peer()
		p.Routes = routes(s, to(webV4))
		m.Apply(desired(p))
		up(s, m, "tor")
		has(s, r, webV4)
		daemon := map[router.Kind]string{router.FRR: router.BGPd, router.BIRD: router.Bird}[kind]
		if err := r.Kill(s.Context(), daemon); err != nil {
			s.Fatal(err)
		}
		await(s, m, "tor", "down", failed(bgp.ConnectionClosed))
		if err := r.Revive(s.Context(), daemon); err != nil {
			s.Fatal(err)
		}
		up(s, m, "tor")
		has(s, r, webV4)
	})
}
