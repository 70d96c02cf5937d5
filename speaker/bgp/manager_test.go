package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func somePeer(name string, change ...func(*Peer)) Peer {
	p := Peer{Name: name, Address: netip.MustParseAddr("192.0.2.2"), ASN: 65001, PeerASN: 65000}
	for _, f := range change {
		f(&p)
	}
	return p
}

func want(peers ...Peer) Desired {
	return Desired{RouterID: netip.MustParseAddr("192.0.2.1"), Peers: peers}
}

func someRoutes(t *testing.T, prefixes ...string) *Routes {
	t.Helper()
	var all []Route
	for _, p := range prefixes {
		all = append(all, Route{Prefix: netip.MustParsePrefix(p)})
	}
	r, err := NewRoutes(all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tell applies a Desired and writes down what the child hears of it.
func tell(m *Manager, known *told, d Desired) string {
	m.Apply(d)
	o := m.order(known)
	var said []string
	for _, name := range o.Gone {
		said = append(said, "gone "+name)
	}
	for _, p := range o.Peers {
		said = append(said, "peer "+p.Name)
	}
	for _, c := range o.Routes {
		text := "routes of " + strings.Join(c.Peers, "+")
		for _, r := range c.Upsert {
			text += " +" + r.Prefix.String()
		}
		for _, p := range c.Remove {
			text += " -" + p.String()
		}
		said = append(said, text)
	}
	for _, h := range o.Holds {
		said = append(said, fmt.Sprintf("hold %s %q", h.Peer, h.Why))
	}
	return strings.Join(said, ", ")
}

func TestTheChildHearsWhatDiffers(t *testing.T) {
	m := New(Options{})
	known := told{peers: map[string]Peer{}, holds: map[string]string{}}
	both := func(change ...func(*Peer)) Desired {
		b := append(slices.Clone(change), func(p *Peer) { p.Address = netip.MustParseAddr("192.0.2.3") })
		return want(somePeer("a", change...), somePeer("b", b...))
	}
	with := func(r *Routes) func(*Peer) { return func(p *Peer) { p.Routes = r } }
	one, same, two := someRoutes(t, "10.0.0.1/32"), someRoutes(t, "10.0.0.1/32"), someRoutes(t, "10.0.0.1/32", "10.0.0.2/32")
	for _, step := range []struct {
		name    string
		before  func()
		desired Desired
		want    string
	}{
		{"all at first", nil, both(with(one)), "peer a, peer b, routes of a+b +10.0.0.1/32"},
		{"nothing of what is equal", nil, both(with(one)), ""},
		{"nothing of what is equal and made anew", nil, both(with(same)), ""},
		{"one route more for both", nil, both(with(two)), "routes of a+b +10.0.0.2/32"},
		{"one route less, and nothing else of the settings", nil, both(with(someRoutes(t, "10.0.0.2/32"))), "routes of a+b -10.0.0.1/32"},
		{"defaults that are spelled out are the same", nil, both(with(someRoutes(t, "10.0.0.2/32")), func(p *Peer) { p.Port, p.HoldTime, p.ConnectTime = 179, 90*time.Second, 5*time.Second }), ""},
		{"a hold", func() { m.PeerDown("a", "BFD is down") }, both(with(two)), `routes of a+b +10.0.0.1/32, hold a "BFD is down"`},
		{"its end", func() { m.PeerUp("a") }, both(with(two)), `hold a ""`},
		{"a setting of one", nil, want(somePeer("a", with(two), func(p *Peer) { p.Linger = time.Second }), both(with(two)).Peers[1]), "peer a"},
		{"one less", nil, want(both(with(two)).Peers[1]), "gone a"},
		{"another neighbour under the same name begins anew", nil, want(somePeer("b", with(two))), "gone b, peer b, routes of b +10.0.0.1/32 +10.0.0.2/32"},
		{"what can't be is not told", nil, want(somePeer("b", with(two)), somePeer("c", func(p *Peer) { p.ASN = 0 })), ""},
		{"nothing is left", nil, want(), "gone b"},
	} {
		if step.before != nil {
			step.before()
		}
		if got := tell(m, &known, step.desired); got != step.want {
			t.Errorf("%s: the child hears %q, want %q", step.name, got, step.want)
		}
	}
}

// A peer that goes while the child is being started again is gone at once: what its session was must not be shown for ever. One that there
// can be no session with is shown without any child.
func TestAPeerThatGoesWithoutAChildIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Command: func() *exec.Cmd { return exec.Command("/nonexistent") }})
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go func() { _ = m.Run(ctx) }()
		m.Apply(want(somePeer("tor")))
		time.Sleep(time.Second)
		if is, _ := m.Snapshot(); len(is.Sessions) != 1 || is.Sessions[0].LastError != ChildDown {
			t.Fatalf("snapshot %+v", is)
		}
		m.Apply(want())
		time.Sleep(time.Minute)
		if is, _ := m.Snapshot(); len(is.Sessions) != 0 {
			t.Errorf("snapshot %+v", is)
		}
		hopeless := Desired{Impossible: []Impossible{{"tor", NoPassword, "there is no Secret tor"}}}
		m.Apply(hopeless)
		synctest.Wait()
		is, _ := m.Snapshot()
		if len(is.Sessions) != 1 || is.Sessions[0].State != Idle || is.Sessions[0].LastError != NoPassword || is.Child.PID != 0 {
			t.Errorf("snapshot %+v", is)
		}
		time.Sleep(time.Minute)
		m.Apply(hopeless)
		synctest.Wait()
		if again, _ := m.Snapshot(); again != is {
			t.Error("the same again is news")
		}
	})
}

func TestWhatAChangeDoesToASession(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*Peer)
		effect  Effect
		because string
		pending string
	}{
		{"nothing", func(*Peer) {}, InPlace, "", ""},
		{"another router", func(p *Peer) { p.Address = p.Address.Next() }, Replace, "peerAddress", ""},
		{"another port", func(p *Peer) { p.Port = 1179 }, Replace, "peerPort", ""},
		{"the password", func(p *Peer) { p.Password = "new" }, Remake, "password", ""},
		{"families", func(p *Peer) { p.Families = []Family{IPv4, IPv6} }, Remake, "families", ""},
		{"the order of families", func(p *Peer) { p.Families = []Family{IPv4, IPv4} }, InPlace, "", ""},
		{"the hold time", func(p *Peer) { p.HoldTime = 9 * time.Second }, InPlace, "", "holdTime"},
		{"graceful restart", func(p *Peer) { p.GracefulRestart = true }, InPlace, "", "enableGracefulRestart"},
		{"how long to linger", func(p *Peer) { p.Linger = 9 * time.Second }, InPlace, "", ""},
		{"a restart time without graceful restart", func(p *Peer) { p.RestartTime = 9 * time.Second }, InPlace, "", ""},
	} {
		id := netip.MustParseAddr("192.0.2.1")
		old, new := somePeer("a").withDefaults(id), somePeer("a", row.change).withDefaults(id)
		effect, because, pending := Compare(&old, &new)
		if effect != row.effect || strings.Join(because, " ") != row.because || strings.Join(pending, " ") != row.pending {
			t.Errorf("%s: %d because of %v, %v pending", row.name, effect, because, pending)
		}
	}
}

func TestImpossiblePeers(t *testing.T) {
	for _, row := range []struct {
		change func(*Peer)
		words  string
	}{
		{func(p *Peer) { p.Address = netip.Addr{} }, "address or the interface"},
		{func(p *Peer) { p.Interface = "eth0" }, "address or the interface"},
		{func(p *Peer) { p.Address = netip.MustParseAddr("224.0.0.5") }, "not the address of a router"},
		{func(p *Peer) { p.ASN = 23456 }, "not 23456"},
		{func(p *Peer) { p.PeerASN = 0 }, "either peerASN or dynamicASN"},
		{func(p *Peer) { p.DynamicASN = ExternalASN }, "either peerASN or dynamicASN"},
		{func(p *Peer) { p.RouterID = netip.MustParseAddr("::1") }, "router ID"},
		{func(p *Peer) { p.SourceAddress = netip.MustParseAddr("::1") }, "different families"},
		{func(p *Peer) { p.Password = Secret(strings.Repeat("x", 81)) }, "longer than 80 bytes"},
		{func(p *Peer) { p.TTLSecurity = 255 }, "1 to 254"},
		{func(p *Peer) { p.HoldTime = 2 * time.Second }, "holdTime 2s"},
		{func(p *Peer) { p.GracefulRestart, p.RestartTime = true, 2*time.Hour }, "4095s"},
	} {
		p := somePeer("a", row.change).withDefaults(netip.MustParseAddr("192.0.2.1"))
		if err := p.validate(); err == nil || !strings.Contains(err.Error(), row.words) {
			t.Errorf("error %v, want one with %q", err, row.words)
		}
	}
}

func TestTimesOfAPeer(t *testing.T) {
	for _, row := range []struct {
		hold, keepalive, wantHold, wantKeepalive time.Duration
	}{
		{0, 0, 90, 30},
		{9, 0, 9, 3},
		{0, 10, 30, 10},
		{9, 20, 9, 3},
		{-1, 0, 0, 0},
	} {
		p := somePeer("a", func(p *Peer) { p.HoldTime, p.KeepaliveTime = row.hold*time.Second, row.keepalive*time.Second }).withDefaults(netip.Addr{})
		if p.HoldTime != row.wantHold*time.Second || p.KeepaliveTime != row.wantKeepalive*time.Second {
			t.Errorf("%d and %d: %s and %s", row.hold, row.keepalive, p.HoldTime, p.KeepaliveTime)
		}
	}
}

func TestPasswordsDoNotShow(t *testing.T) {
	var b strings.Builder
	p := somePeer("a", func(p *Peer) { p.Password = "s3cret" })
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "peer", p, "password", p.Password)
	fmt.Fprintf(&b, "%v %+v %#v %s", p, p, p, p.Password)
	if strings.Contains(b.String(), "s3cret") {
		t.Error(b.String())
	}
}

func TestRouterID(t *testing.T) {
	v6, v4 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")
	if got := RouterID("node1", []netip.Addr{v6, v4}); got != v4 {
		t.Errorf("%s", got)
	}
	seen := map[netip.Addr]bool{}
	for i := range 200 {
		id := RouterID(fmt.Sprintf("node%d", i), []netip.Addr{v6})
		if id != RouterID(fmt.Sprintf("node%d", i), nil) || !id.Is4() || id.IsUnspecified() || id.IsLoopback() || id.IsMulticast() || seen[id] {
			t.Errorf("node%d: %s", i, id)
		}
		seen[id] = true
	}
}

func TestRestartDelay(t *testing.T) {
	var total time.Duration
	for n := 1; n <= 20; n++ {
		d := restartDelay(n)
		if d < 0 || d > 10*time.Second || n > 1 && d < restartDelay(n-1) {
			t.Errorf("after %d: %s", n, d)
		}
		total += d
	}
	if restartDelay(1) != 0 || restartDelay(2) != 100*time.Millisecond || total < time.Minute {
		t.Errorf("%s, %s, in all %s", restartDelay(1), restartDelay(2), total)
	}
}
