package child

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// fakeNetwork connects sessions with scripts, by pipes in memory.
type fakeNetwork struct {
	mu sync.Mutex
	// scripts are what each router does with a connection.
	scripts map[netip.Addr]func(net.Conn)
	dials   map[netip.Addr][]time.Time
	// onDial and onNextHops are called, where they are set.
	onDial, onNextHops func()
	// nowhere says that this node has no address that could be next hop.
	nowhere bool
}

func (n *fakeNetwork) dial(_ context.Context, _ *bgp.Peer, router netip.Addr) (net.Conn, error) {
	n.mu.Lock()
	script := n.scripts[router]
	n.dials[router] = append(n.dials[router], time.Now())
	on := n.onDial
	n.mu.Unlock()
	if on != nil {
		on()
	}
	if script == nil {
		return nil, unix.ECONNREFUSED
	}
	ours, theirs := halfPipes()
	go func() {
		defer theirs.Close()
		script(theirs)
	}()
	return ours, nil
}

// halfPipe is an end of a connection each direction of which can be closed apart, as TCP's can.
type halfPipe struct {
	net.Conn
	out net.Conn
}

func halfPipes() (a, b net.Conn) {
	aIn, bOut := net.Pipe()
	bIn, aOut := net.Pipe()
	return &halfPipe{aIn, aOut}, &halfPipe{bIn, bOut}
}

func (h *halfPipe) Write(b []byte) (int, error) { return h.out.Write(b) }
func (h *halfPipe) CloseWrite() error           { return h.out.Close() }
func (h *halfPipe) Close() error                { return errors.Join(h.out.Close(), h.Conn.Close()) }
func (h *halfPipe) SetDeadline(at time.Time) error {
	return errors.Join(h.out.SetDeadline(at), h.Conn.SetDeadline(at))
}

func (n *fakeNetwork) router(context.Context, string) (netip.Addr, error) {
	return netip.Addr{}, errors.New("nobody")
}

func (n *fakeNetwork) nextHops(netip.Addr) (a, b, c netip.Addr) {
	n.mu.Lock()
	on, nowhere := n.onNextHops, n.nowhere
	n.mu.Unlock()
	if on != nil {
		on()
	}
	if nowhere {
		return netip.Addr{}, netip.Addr{}, netip.Addr{}
	}
	return v4, v6, linkLocal
}

func (n *fakeNetwork) lowTTLs() uint64 { return 0 }

var _ network = (*fakeNetwork)(nil)

// robot is a router's end of a connection.
type robot struct {
	net.Conn
	heard chan *codec.BGPMessage
}

// answer reads and decodes all that comes, and brings the session up.
func answer(c net.Conn) *robot {
	r := &robot{Conn: c, heard: make(chan *codec.BGPMessage, 1000)}
	go func() {
		defer close(r.heard)
		var buffer [maxMessage]byte
		for {
			f, no, err := readFrame(c, &buffer)
			if err != nil || no != nil {
				return
			}
			m, err := codec.ParseBGPBody(&codec.BGPHeader{Type: f.kind, Len: uint16(headerLength + len(f.body))}, f.body)
			if err != nil {
				return
			}
			r.heard <- m
		}
	}()
	return r
}

func (r *robot) say(m *codec.BGPMessage) {
	b, err := m.Serialize()
	if err != nil {
		panic(err)
	}
	_, _ = r.Write(b) // the other end may be gone
}

func (r *robot) open() {
	o := theirs(65000, "2.2.2.2", 90, codec.NewCapMultiProtocol(codec.RF_IPv4_UC), codec.NewCapFourOctetASNumber(65000), codec.NewCapRouteRefresh(),
		codec.NewCapGracefulRestart(false, false, 60, nil))
	r.say(&codec.BGPMessage{Header: codec.BGPHeader{Type: codec.BGP_MSG_OPEN}, Body: o})
	r.say(codec.NewBGPKeepAliveMessage())
}

// keep keeps the session up, and passes on what is not a KEEPALIVE.
func (r *robot) keep(on func(*codec.BGPMessage)) {
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for {
		select {
		case m, ok := <-r.heard:
			if !ok {
				return
			}
			if m.Header.Type != codec.BGP_MSG_KEEPALIVE && on != nil {
				on(m)
			}
		case <-tick.C:
			r.say(codec.NewBGPKeepAliveMessage())
		}
	}
}

// good is a router as it should be.
func good(on func(*codec.BGPMessage)) func(net.Conn) {
	return func(c net.Conn) {
		r := answer(c)
		r.open()
		r.keep(on)
	}
}

// house runs children on a fake network, with the parent's end of the border.
type house struct {
	*fakeNetwork
	border   net.Conn
	mu       sync.Mutex
	sessions map[string]bgp.Session
	stopped  time.Time
	ended    chan error
}

func newHouse(t testing.TB) *house {
	ours, theirs := net.Pipe()
	h := &house{
		fakeNetwork: &fakeNetwork{scripts: map[netip.Addr]func(net.Conn){}, dials: map[netip.Addr][]time.Time{}},
		border:      ours, sessions: map[string]bgp.Session{}, ended: make(chan error, 1),
	}
	go func() { h.ended <- run(context.Background(), theirs, h.fakeNetwork) }()
	go func() {
		decoder := json.NewDecoder(ours)
		for {
			var r bgp.Report
			if decoder.Decode(&r) != nil {
				return
			}
			h.mu.Lock()
			for _, s := range r.Sessions {
				h.sessions[s.Peer] = s
			}
			if r.Stopped {
				h.stopped = time.Now()
			}
			h.mu.Unlock()
			if r.Stopped {
				ours.Close() // as a Manager does
			}
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		if err := <-h.ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
	return h
}

func (h *house) tell(o bgp.Order) {
	if err := json.NewEncoder(h.border).Encode(o); err != nil {
		panic(err)
	}
}

func (h *house) session(name string) bgp.Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[name]
}

func (h *house) script(a netip.Addr, script func(net.Conn)) {
	h.fakeNetwork.mu.Lock()
	defer h.fakeNetwork.mu.Unlock()
	h.scripts[a] = script
}

func (h *house) dialled(a netip.Addr) []time.Time {
	h.fakeNetwork.mu.Lock()
	defer h.fakeNetwork.mu.Unlock()
	return slices.Clone(h.dials[a])
}

// settle lets a moment pass, in which everything that can happen does.
func settle() { time.Sleep(100 * time.Millisecond); synctest.Wait() }

var web = bgp.Route{Prefix: netip.MustParsePrefix("198.51.100.1/32")}

func withRoute(p bgp.Peer) bgp.Order {
	return bgp.Order{Peers: []bgp.Peer{p}, Routes: []bgp.RouteChange{{Peers: []string{p.Name}, Upsert: []bgp.Route{web}}}}
}

// The first thing a router hears is the whole, then the End-of-RIB marker (RFC 4724 section 2).
func TestTheWholeThenItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		var said []string
		h.script(p.Address, good(func(m *codec.BGPMessage) {
			if u, ok := m.Body.(*codec.BGPUpdate); ok {
				if end, _ := u.IsEndOfRib(); end {
					said = append(said, "end")
				} else {
					said = append(said, u.NLRI[0].NLRI.String())
				}
			}
		}))
		h.tell(withRoute(p))
		settle()
		if got := strings.Join(said, " "); got != "198.51.100.1/32 end" {
			t.Errorf("it said %q", got)
		}
		if s := h.session("tor"); s.State != bgp.Established || s.RoutesSent != 1 || s.UpdatesSent != 1 || s.ASN != 65000 {
			t.Errorf("session %+v", s)
		}
		time.Sleep(time.Hour)
		if s := h.session("tor"); s.State != bgp.Established || s.Ups != 1 {
			t.Errorf("an hour later: %+v", s)
		}
	})
}

// A router that takes the connection and refuses the session is not asked more often for it.
func TestARefusedOpenDoesNotDefeatTheBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, refusing := range []func(*robot){
			func(r *robot) {
				r.say(codec.NewBGPNotificationMessage(codec.BGP_ERROR_OPEN_MESSAGE_ERROR, codec.BGP_ERROR_SUB_BAD_PEER_AS, nil))
			},
			func(r *robot) {
				r.open()
				r.say(codec.NewBGPNotificationMessage(codec.BGP_ERROR_CEASE, codec.BGP_ERROR_SUB_CONNECTION_REJECTED, nil))
			},
			func(*robot) {},
		} {
			h, p := newHouse(t), testPeer()
			h.script(p.Address, func(c net.Conn) {
				r := answer(c)
				refusing(r)
				time.Sleep(10 * time.Millisecond)
			})
			h.tell(withRoute(p))
			time.Sleep(10 * time.Minute)
			if n := len(h.dialled(p.Address)); n < 20 || n > 32 {
				t.Errorf("way %d: %d attempts in ten minutes", i, n)
			}
			s := h.session("tor")
			if s.Ups > 0 {
				continue // it was up in between, each time
			}
			if s.State != bgp.Active || s.Failures < 20 || s.LastError == "" || time.Since(s.Since) < 9*time.Minute {
				t.Errorf("way %d: %+v", i, s)
			}
		}
	})
}

// A router that refuses once after each failure of its link is tried again as soon after the tenth failure as after the first.
func TestRefusalsAreForgottenWhenTheRouterTakesTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		var refuses atomic.Bool
		h.script(p.Address, func(c net.Conn) {
			if !refuses.Swap(false) {
				good(nil)(c)
			}
		})
		h.tell(withRoute(p))
		for i := range 10 {
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
			if s := h.session("tor"); s.State != bgp.Established {
				t.Fatalf("after %d failures: %+v", i, s)
			}
			h.tell(bgp.Order{Holds: []bgp.Hold{{Peer: p.Name, Why: "BFD says that the path has failed"}}})
			settle()
			refuses.Store(true)
			h.tell(bgp.Order{Holds: []bgp.Hold{{Peer: p.Name}}})
		}
	})
}

func TestARouterThatIsAwayIsTriedEveryConnectTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		h.tell(withRoute(p))
		time.Sleep(10 * time.Minute)
		if n := len(h.dialled(p.Address)); n < 120 || n > 161 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		h.script(p.Address, good(nil))
		time.Sleep(p.ConnectTime)
		settle()
		if s := h.session("tor"); s.State != bgp.Established {
			t.Errorf("session %+v", s)
		}
	})
}

// A silent router is given up after the hold time in force, and told so.
func TestHoldTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		p.HoldTime, p.KeepaliveTime = 9*time.Second, 3*time.Second
		keepalives, told := 0, false
		var silent time.Time
		h.script(p.Address, func(c net.Conn) {
			r := answer(c)
			r.open()
			silent = time.Now()
			for m := range r.heard {
				switch body := m.Body.(type) {
				case *codec.BGPKeepAlive:
					keepalives++
				case *codec.BGPNotification:
					told = body.ErrorCode == codec.BGP_ERROR_HOLD_TIMER_EXPIRED
				}
			}
		})
		h.tell(withRoute(p))
		time.Sleep(9500 * time.Millisecond)
		settle()
		s := h.session("tor")
		if after := s.LastErrorAt.Sub(silent); s.LastError != bgp.HoldTimeExpired || after < 9*time.Second || after > 9500*time.Millisecond || !told {
			t.Errorf("after %s: %+v, the router was told: %t", after, s, told)
		}
		if keepalives < 4 || keepalives > 6 { // the first for the OPEN, then every 2.25 to 3 seconds
			t.Errorf("%d keepalives", keepalives)
		}
	})
}

// Whatever rubbish a router sends ends its own session at the most; another one goes on as if nothing were.
func TestAHostileRouterEndsItsOwnSessionAtMost(t *testing.T) {
	marker := strings.Repeat("\xff", 16)
	message := func(kind byte, body string) string {
		n := headerLength + len(body)
		return marker + string([]byte{byte(n >> 8), byte(n), kind}) + body
	}
	rubbish := map[string]string{
		"no marker":                   strings.Repeat("\x00", 19),
		"HTTP":                        "HTTP/1.1 400 Bad Request\r\n\r\n",
		"a length below the header's": marker + "\x00\x05\x04",
		"a length beyond the most":    marker + "\xff\xff\x02" + strings.Repeat("x", 5000),
		"type 0":                      message(0, ""),
		"type 255":                    message(255, "xx"),
		"a KEEPALIVE with a body":     message(codec.BGP_MSG_KEEPALIVE, "x"),
		"half a message, for ever":    marker + "\x10\x00\x02half",
		"an OPEN too many":            message(codec.BGP_MSG_OPEN, "\x04\xfd\xe8\x00\x5a\x02\x02\x02\x02\x00"),
		"an OPEN too short":           message(codec.BGP_MSG_OPEN, "\x04"),
		"a NOTIFICATION too short":    message(codec.BGP_MSG_NOTIFICATION, "\x06"),
		"a NOTIFICATION of nonsense":  message(codec.BGP_MSG_NOTIFICATION, "\xfe\xfe"+strings.Repeat("\xff", 300)),
		"a shutdown text that lies":   message(codec.BGP_MSG_NOTIFICATION, "\x06\x02\xff"),
		"a refresh of nothing":        message(codec.BGP_MSG_ROUTE_REFRESH, "\xff\xff\xff\xff"),
		"a thousand refreshes":        strings.Repeat(message(codec.BGP_MSG_ROUTE_REFRESH, "\x00\x01\x00\x01"), 1000),
		"lengths that lie":            message(codec.BGP_MSG_UPDATE, "\xff\xff\xff\xff"),
		"attributes that lie":         message(codec.BGP_MSG_UPDATE, "\x00\x00\x00\x04\x40\x02\xff\x02"),
		"AS4_PATH of one byte":        message(codec.BGP_MSG_UPDATE, "\x00\x00\x00\x04\xc0\x11\x01\x02"),
		"NEXT_HOP of no bytes":        message(codec.BGP_MSG_UPDATE, "\x00\x00\x00\x03\x40\x03\x00"),
		"prefixes of 255 bits":        message(codec.BGP_MSG_UPDATE, "\x00\x01\xff\x00\x00\xff"),
	}
	for name, bytes := range rubbish {
		for _, when := range []string{"before OPEN", "established"} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, p := newHouse(t), testPeer()
					q := testPeer()
					q.Name, q.Address = "good", netip.MustParseAddr("192.0.2.9")
					h.script(q.Address, good(nil))
					h.script(p.Address, func(c net.Conn) {
						r := answer(c)
						if when == "established" {
							r.open()
						}
						_, _ = io.WriteString(c, bytes)
						r.keep(nil)
					})
					h.tell(withRoute(p))
					h.tell(withRoute(q))
					time.Sleep(10 * time.Minute)
					if s := h.session("good"); s.State != bgp.Established || s.Ups != 1 || s.UpdatesSent != 1 {
						t.Errorf("the other session: %+v", s)
					}
					if s := h.session("tor"); s.LastError == bgp.Broken || s.State != bgp.Established && s.LastMessage == "" {
						t.Errorf("session %+v", s)
					}
				})
			})
		}
	}
}

// A defect of ours ends the session that it is in, wherever it is.
func TestAPanicIsContained(t *testing.T) {
	for name, defect := range map[string]func(*fakeNetwork){
		"while connecting":  func(n *fakeNetwork) { n.onDial = func() { panic("on purpose") } },
		"while established": func(n *fakeNetwork) { n.onNextHops = func() { panic("on purpose") } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, p := newHouse(t), testPeer()
				q := testPeer()
				q.Name, q.Address = "good", netip.MustParseAddr("192.0.2.9")
				h.script(p.Address, good(nil))
				h.script(q.Address, good(nil))
				h.tell(withRoute(q))
				settle()
				h.fakeNetwork.mu.Lock()
				defect(h.fakeNetwork)
				h.fakeNetwork.mu.Unlock()
				h.tell(withRoute(p))
				settle()
				if s := h.session("tor"); s.LastError != bgp.Broken || s.State != bgp.Active || !strings.Contains(s.LastMessage, "on purpose") {
					t.Errorf("session %+v", s)
				}
				if s := h.session("good"); s.State != bgp.Established || s.Ups != 1 {
					t.Errorf("the other session: %+v", s)
				}
				h.fakeNetwork.mu.Lock()
				h.onDial, h.onNextHops = nil, nil
				h.fakeNetwork.mu.Unlock()
				time.Sleep(time.Minute)
				if s := h.session("tor"); s.State != bgp.Established {
					t.Errorf("without the defect: %+v", s)
				}
			})
		})
	}
}

func TestHeldSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		var ceased []uint8
		h.script(p.Address, good(func(m *codec.BGPMessage) {
			if n, ok := m.Body.(*codec.BGPNotification); ok {
				ceased = append(ceased, n.ErrorSubcode)
			}
		}))
		h.tell(bgp.Order{Holds: []bgp.Hold{{Peer: "tor", Why: "BFD is not up yet"}}}) // before there is such a peer
		h.tell(withRoute(p))
		time.Sleep(time.Minute)
		if s := h.session("tor"); s.State != bgp.Idle || s.LastMessage != "BFD is not up yet" || len(h.dialled(p.Address)) > 0 {
			t.Errorf("session %+v", s)
		}
		for range 3 {
			h.tell(bgp.Order{Holds: []bgp.Hold{{Peer: "tor"}}})
			settle() // no waiting
			if s := h.session("tor"); s.State != bgp.Established {
				t.Fatalf("session %+v", s)
			}
			h.tell(bgp.Order{Holds: []bgp.Hold{{Peer: "tor", Why: "BFD is down"}}})
			settle()
			if s := h.session("tor"); s.State != bgp.Idle || s.LastError != bgp.Held {
				t.Fatalf("session %+v", s)
			}
		}
		if !slices.Equal(ceased, []uint8{ceaseBFDDown, ceaseBFDDown, ceaseBFDDown}) {
			t.Errorf("the router was told %v", ceased)
		}
	})
}

// Linger counts from the last UPDATE, and a session that is not up holds nobody up.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		p.Linger = 2 * time.Second
		away := testPeer()
		away.Name, away.Address, away.Linger = "away", netip.MustParseAddr("192.0.2.9"), 40*time.Second
		type event struct {
			what string
			at   time.Time
		}
		var said []event
		h.script(p.Address, good(func(m *codec.BGPMessage) {
			switch body := m.Body.(type) {
			case *codec.BGPUpdate:
				what := "told"
				for _, a := range body.PathAttributes {
					if c, ok := a.(*codec.PathAttributeCommunities); ok && slices.Contains(c.Value, bgp.GracefulShutdown) {
						what = "marked"
					}
				}
				if len(body.WithdrawnRoutes) > 0 {
					what = "withdrawn"
				}
				if end, _ := body.IsEndOfRib(); !end {
					said = append(said, event{what, time.Now()})
				}
			case *codec.BGPNotification:
				if body.ErrorCode == codec.BGP_ERROR_CEASE && body.ErrorSubcode == codec.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN && shutdownText(body.Data) == "drained" {
					said = append(said, event{"ceased", time.Now()})
				}
			}
		}))
		h.tell(withRoute(p))
		h.tell(bgp.Order{Peers: []bgp.Peer{away}})
		settle()
		h.tell(bgp.Order{Stop: &bgp.Stop{Text: "drained"}})
		time.Sleep(5 * time.Second)
		settle()
		var what []string
		for _, e := range said {
			what = append(what, e.what)
		}
		if got := strings.Join(what, " "); got != "told marked withdrawn ceased" {
			t.Fatalf("it said %q", got)
		}
		if linger := said[2].at.Sub(said[1].at); linger != p.Linger {
			t.Errorf("it lingered for %s", linger)
		}
		if took := h.stopped.Sub(said[3].at); h.stopped.IsZero() || took > time.Second {
			t.Errorf("stopped %s after the last word", took)
		}
	})
}

// With graceful restart the connection closes without a word; without it there is a proper end.
func TestRestarting(t *testing.T) {
	for _, graceful := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h, p := newHouse(t), testPeer()
			p.GracefulRestart = graceful
			words := 0
			h.script(p.Address, good(func(m *codec.BGPMessage) {
				u, ok := m.Body.(*codec.BGPUpdate)
				if m.Header.Type == codec.BGP_MSG_NOTIFICATION || ok && len(u.WithdrawnRoutes) > 0 {
					words++
				}
			}))
			h.tell(withRoute(p))
			settle()
			h.tell(bgp.Order{Stop: &bgp.Stop{Restart: true}})
			time.Sleep(2 * time.Second)
			settle()
			if (words == 0) != graceful || h.stopped.IsZero() {
				t.Errorf("graceful %t: %d words, stopped at %s", graceful, words, h.stopped)
			}
		})
	}
}

// A restart is carried out when the routers have closed too, for only then do they know of it; one that does not is not
// waited for long.
func TestARestartWaitsForTheRouters(t *testing.T) {
	for name, test := range map[string]struct{ closes, stopped time.Duration }{
		"a router that is slow to close": {300 * time.Millisecond, 300 * time.Millisecond},
		"a router that never closes":     {time.Hour, closePatience},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, p := newHouse(t), testPeer()
			p.GracefulRestart = true
			h.script(p.Address, func(c net.Conn) {
				good(func(*codec.BGPMessage) {})(c)
				time.Sleep(test.closes)
			})
			h.tell(withRoute(p))
			settle()
			begin := time.Now()
			h.tell(bgp.Order{Stop: &bgp.Stop{Restart: true}})
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if took := h.stopped.Sub(begin); took < test.stopped || took > test.stopped+100*time.Millisecond {
				t.Errorf("%s: stopped after %s, not %s", name, took, test.stopped)
			}
			time.Sleep(2 * time.Hour) // for the script to end
		})
	}
}

// Made again with other settings, a session closes without a word where the router keeps the routes meanwhile; but not where the router
// will not know us again by the address that we come from.
func TestWhatTheRouterHearsOfChangedSettings(t *testing.T) {
	for _, row := range []struct {
		name     string
		graceful bool
		change   func(*bgp.Peer)
		words    int
	}{
		{"with graceful restart", true, func(p *bgp.Peer) { p.Password = "other" }, 0},
		{"without", false, func(p *bgp.Peer) { p.Password = "other" }, 1},
		{"from another address", true, func(p *bgp.Peer) { p.SourceAddress = netip.MustParseAddr("192.0.2.9") }, 1},
		{"from another interface", true, func(p *bgp.Peer) { p.SourceInterface = "dummy0" }, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, p := newHouse(t), testPeer()
			p.GracefulRestart = row.graceful
			words := 0
			h.script(p.Address, good(func(m *codec.BGPMessage) {
				if n, ok := m.Body.(*codec.BGPNotification); ok {
					words++
					if n.ErrorCode != codec.BGP_ERROR_CEASE || n.ErrorSubcode != codec.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE {
						t.Errorf("%s: the router hears %+v", row.name, n)
					}
				}
			}))
			h.tell(withRoute(p))
			settle()
			row.change(&p)
			h.tell(bgp.Order{Peers: []bgp.Peer{p}})
			settle()
			if s := h.session("tor"); words != row.words || s.State != bgp.Established || s.Ups != 2 {
				t.Errorf("%s: %d words, session %+v", row.name, words, s)
			}
		})
	}
}

// An address that comes to the node's link later is looked for as long as routes wait for it.
func TestRoutesGoOutOnceThereIsANextHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		h.nowhere = true
		updates := 0
		h.script(p.Address, good(func(m *codec.BGPMessage) {
			if u, ok := m.Body.(*codec.BGPUpdate); ok && len(u.NLRI) > 0 {
				updates++
			}
		}))
		h.tell(withRoute(p))
		settle()
		if s := h.session("tor"); s.State != bgp.Established || !slices.Equal(s.Negotiated.NoNextHop, []bgp.Family{bgp.IPv4}) || s.Unsendable == "" || updates > 0 {
			t.Fatalf("%d updates, session %+v", updates, s)
		}
		h.fakeNetwork.mu.Lock()
		h.nowhere = false
		h.fakeNetwork.mu.Unlock()
		time.Sleep(p.KeepaliveTime)
		settle()
		if s := h.session("tor"); len(s.Negotiated.NoNextHop) > 0 || s.Unsendable != "" || s.RoutesSent != 1 || s.Ups != 1 || updates != 1 {
			t.Errorf("%d updates, session %+v", updates, s)
		}
	})
}

// The parent's end closes every session without a word, so that routers keep what they may keep.
func TestTheParentIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := newHouse(t), testPeer()
		words, gone := 0, false
		h.script(p.Address, func(c net.Conn) {
			good(func(m *codec.BGPMessage) {
				if m.Header.Type == codec.BGP_MSG_NOTIFICATION {
					words++
				}
			})(c)
			gone = true
		})
		h.tell(withRoute(p))
		settle()
		h.border.Close()
		settle()
		if words > 0 || !gone {
			t.Errorf("%d words, gone %t", words, gone)
		}
	})
}

// FuzzRouter has a router say anything at any time after its OPEN, cut anyhow.
func FuzzRouter(f *testing.F) {
	f.Add([]byte(strings.Repeat("\xff", 16)+"\x00\x17\x02\x00\x00\x00\x00"), true)
	f.Add([]byte(strings.Repeat("\xff", 16)+"\x00\x1d\x01\x04\xfd\xe8\x00\x5a\x02\x02\x02\x02\x00"), false)
	f.Add([]byte(strings.Repeat("\xff", 16)+"\x00\x17\x05\x00\x01\x00\x01"), true)
	f.Fuzz(func(t *testing.T, b []byte, established bool) {
		synctest.Test(t, func(t *testing.T) {
			h, p := newHouse(t), testPeer()
			h.script(p.Address, func(c net.Conn) {
				r := answer(c)
				if established {
					r.open()
				}
				for len(b) > 0 {
					n := 1 + rand.IntN(len(b))
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
					b = b[n:]
				}
			})
			h.tell(withRoute(p))
			time.Sleep(10 * time.Second)
			if s := h.session("tor"); s.LastError == bgp.Broken {
				t.Errorf("session %+v", s)
			}
		})
	})
}

// FuzzOpen has a router send any OPEN: it is accepted or refused with a reason.
func FuzzOpen(f *testing.F) {
	p := testPeer()
	p.PeerASN, p.DynamicASN = 0, bgp.ExternalASN
	b, err := open(&p, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[headerLength:])
	f.Fuzz(func(t *testing.T, body []byte) {
		o := &codec.BGPOpen{}
		if o.DecodeFromBytes(body) != nil {
			return
		}
		h, no := judge(&p, o)
		if no == nil && (len(h.negotiated.Families) == 0 || h.asn == 0 || h.negotiated.HoldTime > p.HoldTime || !h.routerID.Is4()) || no != nil && (no.reason == "" || no.message == "") {
			t.Errorf("%+v, %+v", h, no)
		}
	})
}
