package bfd

import (
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
)

// Our echo packets are returned by the router's forwarding, in which its BFD
// daemon has no part.
func TestEcho(t *testing.T) {
	_, tor := lab(t)
	tor.Forward()
	p := pairing{name: "echo", path: Path{Local: nodeV4, Peer: routerV4, Interface: "cl0"},
		ours: timers(100*ms, 100*ms, 10), their: timers(100*ms, 100*ms, 10)}
	p.ours.EchoInterval = 60 * ms
	tor.StartRouter(t, router.FRR, frrConfig([]pairing{p}))
	e, _ := start(t, p.session())
	active := func(s Status) bool { return isUp(s) && s.Negotiated.EchoActive && !s.Negotiated.Polling }

	got := await(t, e, "echo", "the echo function", active)
	// Control packets slow down meanwhile.
	if got.Negotiated.EchoInterval != 60*ms || got.Negotiated.DetectionTime != 10*time.Second {
		t.Errorf("negotiated %+v", got.Negotiated)
	}
	eventually(t, "echoes to come back", func() bool {
		s, _ := e.Snapshot()
		return s.Sessions[0].Counters.EchoesReceived > 10
	})
	s, _ := e.Snapshot()
	if c := s.Sessions[0].Counters; c.EchoesSent > c.EchoesReceived+3 || s.Sessions[0].Failures > 0 {
		t.Errorf("%+v", s.Sessions[0])
	}

	// The router forwards no more, while its BFD daemon is as well as ever.
	tor.NFT(`table ip echo { chain forward { type filter hook forward priority 0; udp dport 3785 drop; }; }`)
	// Control packets go on, so the session may well be back already.
	failed := await(t, e, "echo", "the failure", func(s Status) bool { return s.Failures > 0 })
	if !strings.Contains(failed.LastFailure, "Echo Function Failed") {
		t.Errorf("status %+v", failed)
	}
	tor.NFT("delete table ip echo")
	await(t, e, "echo", "it to come back", active)

	// Without echo, the session goes on as others do.
	p.ours.EchoInterval = 0
	e.Apply([]Session{p.session()})
	await(t, e, "echo", "the end of echo", func(s Status) bool {
		return isUp(s) && !s.Negotiated.EchoActive && s.Negotiated.DetectionTime == 1000*ms && !s.Negotiated.Polling
	})
}

// The router's echo packets are returned by this node's forwarding, where it
// has that.
func TestEchoOfTheRouter(t *testing.T) {
	node, tor := lab(t)
	p := pairing{name: "echo", path: Path{Local: nodeV4, Peer: routerV4, Interface: "cl0"},
		ours: timers(100*ms, 100*ms, 3), their: timers(100*ms, 100*ms, 3)}
	p.ours.EchoInterval = 50 * ms
	// Nothing but echoes are to be judged here.
	p.ours.DetectMultiplier, p.their.DetectMultiplier = 20, 20
	r := tor.StartRouter(t, router.FRR, strings.Replace(frrConfig([]pairing{p}), "  no shutdown", "  echo-mode\n  echo transmit-interval 50\n  echo receive-interval disabled\n  no shutdown", 1))
	told := func(want int) func() bool {
		return func() bool {
			var peers []struct {
				Status     string
				RemoteEcho int `json:"remote-echo-receive-interval"`
			}
			must(t, r.ShowJSON(t.Context(), "show bfd peers json", &peers))
			return len(peers) == 1 && peers[0].Status == "up" && peers[0].RemoteEcho == want
		}
	}

	// A node that does not forward says that it returns none.
	e, stop := start(t, p.session())
	await(t, e, "echo", "the session", func(s Status) bool { return isUp(s) && !s.Negotiated.EchoActive })
	eventually(t, "the router to know that none are returned", told(0))
	stop()

	node.Forward()
	t.Cleanup(func() { node.Sysctl("net/ipv4/ip_forward", "0"); node.Sysctl("net/ipv6/conf/all/forwarding", "0") })
	e, _ = start(t, p.session())
	await(t, e, "echo", "the session", isUp)
	eventually(t, "the router to know that they are returned", told(50))
	counters := func() (sent, returned int) {
		var all []struct {
			Out int `json:"echo-packet-output"`
			In  int `json:"echo-packet-input"`
		}
		must(t, r.ShowJSON(t.Context(), "show bfd peers counters json", &all))
		return all[0].Out, all[0].In
	}
	eventually(t, "the router's echoes to come back to it", func() bool { _, in := counters(); return in > 40 })
	out, in := counters()
	s, _ := e.Snapshot()
	if !isUp(s.Sessions[0]) || s.Sessions[0].Failures > 0 {
		t.Errorf("%+v", s.Sessions[0])
	}
	t.Logf("%d of the router's %d echoes came back", in, out)
}
