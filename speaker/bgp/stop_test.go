package bgp_test

import (
	"context"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/lab/wire"
	"github.com/clarion-lb/clarion/speaker/bgp"
)

func netOf(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32)
}

func TestLeave(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		n := node()
		n.Local, n.ASN = torV4.String(), 65001
		r := s.tor.StartRouter(s, kind, config(kind, n))
		m, _ := s.manager()
		p := peer()
		p.PeerASN, p.Linger = 65001, 3*time.Second
		p.Routes = routes(s, bgp.Route{Prefix: webV4, Communities: []uint32{65001<<16 | 1}})
		m.Apply(desired(p))
		up(s, m, "tor")
		has(s, r, webV4)
		left := make(chan time.Time, 1)
		go func() {
			if err := m.Leave(context.Background(), "node drained"); err != nil {
				s.Error(err)
			}
			left <- time.Now()
		}()
		begin := time.Now()
		wants := []string{"graceful-shutdown", `"locPrf":0`}
		if kind == router.BIRD {
			wants = []string{"(65535,0)", "(65001,1)", "BGP.local_pref: 0"}
		}
		eventually(s, "the route is marked while it lingers", func() bool {
			said := held(s, r, webV4)
			for _, want := range wants {
				if !strings.Contains(said, want) {
					return false
				}
			}
			return true
		})
		end := <-left
		if took := end.Sub(begin); took < p.Linger || took > p.Linger+2*time.Second {
			s.Errorf("leaving took %s", took)
		}
		lacks(s, r, webV4)
		if kind == router.FRR {
			var all map[string]struct{ LastNotificationReason, LastShutdownDescription string }
			if err := r.ShowJSON(s.Context(), "show bgp neighbors json", &all); err != nil {
				s.Fatal(err)
			}
			if got := all[nodeV4.String()]; !strings.Contains(got.LastNotificationReason, "Administrative Shutdown") || got.LastShutdownDescription != "node drained" {
				s.Errorf("FRR says %+v", got)
			}
		} else if out, err := r.Show(s.Context(), "show protocols all node1"); err != nil || !strings.Contains(out, "Administrative shutdown") || !strings.Contains(out, "node drained") {
			s.Errorf("BIRD says %s, %v", out, err)
		}
	})
}

// graceful begins a session with graceful restart, and a route that the router's kernel has.
func graceful(s *stage, kind router.Kind) (r *router.Router, p bgp.Peer) {
	n := node()
	n.Local, n.GracefulRestart = torV4.String(), true
	r = s.tor.StartRouter(s, kind, config(kind, n))
	p = peer()
	p.GracefulRestart, p.RestartTime = true, 20*time.Second
	p.Routes = routes(s, to(webV4), to(netOf(2)))
	return r, p
}

// forwards tells whether the router's kernel has a route.
func (s *stage) forwards(p netip.Prefix) bool {
	all, err := s.tor.RouteList(nil, 2)
	if err != nil {
		return false
	}
	for _, one := range all {
		if one.Dst != nil && one.Dst.String() == p.String() {
			return true
		}
	}
	return false
}

// watch counts how often the router's kernel lacked a route, until it is told to stop.
func (s *stage) watch(p netip.Prefix) (gaps func() int) {
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
				if !s.forwards(p) {
					n++
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	return func() int { close(stop); return <-done }
}

// TestRestart has a speaker end and another one begin: the router goes on forwarding, drops what the new one does not
// tell, and not before that.
func TestRestart(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		r, p := graceful(s, kind)
		m, stop := s.manager()
		m.Apply(desired(p))
		if is := up(s, m, "tor"); len(is.Negotiated.GracefulRestart) != 1 {
			s.Fatalf("session %+v", is)
		}
		has(s, r, webV4)
		eventually(s, "the kernel has both routes", func() bool { return s.forwards(webV4) && s.forwards(netOf(2)) })
		gaps := s.watch(webV4)
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
		defer cancel()
		if err := m.Restart(ctx, "upgrade"); err != nil {
			s.Fatal(err)
		}
		stop()
		time.Sleep(300 * time.Millisecond)
		if !s.forwards(netOf(2)) {
			s.Error("the route was gone before the next speaker came")
		}
		next, _ := s.manager()
		p.Routes = routes(s, to(webV4))
		next.Apply(desired(p))
		up(s, next, "tor")
		eventually(s, "the route that the next speaker lacks is gone", func() bool { return !s.forwards(netOf(2)) })
		if n := gaps(); n > 0 {
			s.Errorf("the kernel lacked the other route %d times", n)
		}
	})
}

// TestTheChildIsKilled ends the child as a crash would: it is back, and what it had is.
func TestTheChildIsKilled(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		r, p := graceful(s, kind)
		m, _ := s.manager()
		m.Apply(desired(p))
		up(s, m, "tor")
		has(s, r, webV4)
		eventually(s, "the kernel has the route", func() bool { return s.forwards(webV4) })
		gaps := s.watch(webV4)
		before, changed := m.Snapshot()
		begin := time.Now()
		if err := syscall.Kill(before.Child.PID, syscall.SIGKILL); err != nil {
			s.Fatal(err)
		}
		<-changed
		told := time.Since(begin)
		eventually(s, "another child runs", func() bool {
			now, _ := m.Snapshot()
			return now.Child.PID != 0 && now.Child.PID != before.Child.PID && now.Child.Restarts == 1 && strings.Contains(now.Child.LastExit, "killed")
		})
		up(s, m, "tor")
		s.Logf("noticed after %s, established again after %s", told, time.Since(begin))
		has(s, r, webV4)
		if n := gaps(); n > 0 {
			s.Errorf("the kernel lacked the route %d times", n)
		}
	})
}

// TestTheChildGoesWithTheLastPeer takes away the only peer, which is told so, and gives it back.
func TestTheChildGoesWithTheLastPeer(t *testing.T) {
	t.Parallel()
	wire.Need(t)
	s := newStage(t)
	r := s.tor.StartRouter(s, router.FRR, config(router.FRR, node()))
	m, _ := s.manager()
	p := peer()
	p.Routes = routes(s, to(webV4))
	m.Apply(desired(p))
	up(s, m, "tor")
	has(s, r, webV4)
	first, _ := m.Snapshot()
	m.Apply(desired())
	eventually(s, "the child has ended", func() bool {
		now, _ := m.Snapshot()
		return now.Child.PID == 0 && len(now.Sessions) == 0
	})
	if err := syscall.Kill(first.Child.PID, 0); err == nil {
		s.Errorf("process %d is still there", first.Child.PID)
	}
	lacks(s, r, webV4)
	var all map[string]struct{ LastNotificationReason string }
	if err := r.ShowJSON(s.Context(), "show bgp neighbors json", &all); err != nil {
		s.Fatal(err)
	}
	if got := all[nodeV4.String()].LastNotificationReason; !strings.Contains(got, "Peer Unconfigured") && !strings.Contains(got, "Peer De-configured") {
		s.Errorf("FRR was told %q", got)
	}
	nonsense := peer()
	nonsense.ASN = 0
	m.Apply(desired(nonsense))
	if is := await(s, m, "tor", "refused", failed(bgp.Misconfigured)); is.State != bgp.Idle {
		s.Errorf("session %+v", is)
	}
	if now, _ := m.Snapshot(); now.Child.PID != 0 {
		s.Error("there is a child for a peer that can't be")
	}
	m.Apply(desired(p))
	up(s, m, "tor")
	has(s, r, webV4)
	if now, _ := m.Snapshot(); now.Child.PID == 0 || now.Child.Restarts > 0 || now.Child.LastExit != "" {
		s.Errorf("the child is %+v", now.Child)
	}
}

// TestHeld has BFD take the session down and let it come back.
func TestHeld(t *testing.T) {
	t.Parallel()
	each(t, func(s *stage, kind router.Kind) {
		r, p := graceful(s, kind) // which must not keep the routes
		m, _ := s.manager()
		m.Apply(desired(p))
		up(s, m, "tor")
		has(s, r, webV4)
		m.PeerDown("tor", "BFD is down")
		is := await(s, m, "tor", "held", func(s bgp.Session) bool { return s.State == bgp.Idle && s.LastError == bgp.Held })
		if is.LastMessage != "BFD is down" {
			s.Errorf("session %+v", is)
		}
		lacks(s, r, webV4)
		m.PeerUp("tor")
		up(s, m, "tor")
		has(s, r, webV4)
	})
}
