package bfd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/lab/wire"
)

// A pairing is a session with a router, at intervals that differ from pairing to
// pairing.
type pairing struct {
	name  string
	path  Path
	ours  Profile
	their Profile
	// only is the kind that can do it; both where empty.
	only router.Kind
}

func pairings(t testing.TB, node, tor *wire.Host) []pairing {
	ours, theirs := linkLocal(t, node, "cl0"), linkLocal(t, tor, "cl0")
	passive := func(p Profile) Profile { p.Passive = true; return p }
	// BIRD sends packets of multihop sessions with the system's usual TTL of 64.
	far := func(p Profile) Profile { p.MinimumTTL = 60; return p }
	signed := func(p Profile) Profile {
		p.Auth.Type = MeticulousKeyedSHA1
		p.Auth.Keys[0] = Key{ID: 3, Used: true}
		copy(p.Auth.Keys[0].Secret[:], "the secret")
		return p
	}
	return []pairing{
		{name: "even", path: Path{Peer: routerV4}, ours: timers(200*ms, 200*ms, 5), their: timers(200*ms, 200*ms, 5)},
		{name: "asymmetric", path: Path{Local: nodeV6, Peer: routerV6, Interface: "cl0"},
			ours: timers(60*ms, 400*ms, 9), their: timers(150*ms, 90*ms, 7)},
		{name: "link-local", path: Path{Local: ours, Peer: theirs, Interface: "cl0"},
			ours: passive(timers(300*ms, 200*ms, 3)), their: timers(250*ms, 350*ms, 4)},
		{name: "multihop", path: Path{Local: nodeFar, Peer: routerFar, Multihop: true},
			ours: far(timers(100*ms, 500*ms, 6)), their: passive(timers(300*ms, 150*ms, 3))},
		{name: "signed", path: Path{Local: nodeSafe, Peer: routerSafe}, only: router.BIRD,
			ours: signed(timers(100*ms, 100*ms, 8)), their: signed(timers(100*ms, 100*ms, 8))},
	}
}

func (p pairing) session() Session { return Session{Name: p.name, Path: p.path, Profile: p.ours} }

// frr and bird are the router's end of the pairing in its own words.
func (p pairing) frr() string {
	var b strings.Builder
	local := map[string]string{"even": nodeV4.String(), "signed": nodeSafe.String()}[p.name]
	if local == "" {
		local = p.path.Local.String()
	}
	fmt.Fprintf(&b, " peer %s", local)
	if p.path.Multihop {
		b.WriteString(" multihop")
	}
	fmt.Fprintf(&b, " local-address %s", p.path.Peer)
	if !p.path.Multihop {
		b.WriteString(" interface cl0")
	}
	fmt.Fprintf(&b, "\n  transmit-interval %d\n  receive-interval %d\n  detect-multiplier %d\n",
		p.their.TransmitInterval.Milliseconds(), p.their.ReceiveInterval.Milliseconds(), p.their.DetectMultiplier)
	if p.their.Passive {
		b.WriteString("  passive-mode\n")
	}
	b.WriteString("  no shutdown\n exit\n")
	return b.String()
}

func frrConfig(all []pairing) string {
	config := "bfd\n"
	for _, p := range all {
		if p.only != router.BIRD {
			config += p.frr()
		}
	}
	return config + "exit\n"
}

// BIRD has one set of timers for an interface, and one for multihop; for each
// pairing there is a protocol of its own kind below.
func birdConfig(p pairing) string {
	local := map[string]string{"even": nodeV4.String(), "signed": nodeSafe.String()}[p.name]
	if local == "" {
		local = p.path.Local.String()
	}
	scope, neighbor := `interface "cl0"`, fmt.Sprintf(`neighbor %s dev "cl0" local %s`, local, p.path.Peer)
	if p.path.Multihop {
		scope, neighbor = "multihop", fmt.Sprintf("neighbor %s local %s multihop yes", local, p.path.Peer)
	}
	auth := ""
	if p.their.Auth.Type != 0 {
		auth = `authentication meticulous keyed sha1; password "the secret" { id 3; };`
	}
	return fmt.Sprintf("router id 192.0.2.2;\nprotocol device {}\nprotocol bfd {\n %s { min tx interval %d ms; min rx interval %d ms; idle tx interval 1 s; multiplier %d; passive %v; %s };\n %s;\n}\n",
		scope, p.their.TransmitInterval.Milliseconds(), p.their.ReceiveInterval.Milliseconds(), p.their.DetectMultiplier,
		map[bool]string{true: "yes", false: "no"}[p.their.Passive], auth, neighbor)
}

// agreed says that the session is Up at the intervals that both ends should
// come to.
func (p pairing) agreed(s Status) bool {
	return isUp(s) && !s.Negotiated.Polling &&
		s.Negotiated.TransmitInterval == max(p.ours.TransmitInterval, p.their.ReceiveInterval) &&
		s.Negotiated.DetectionTime == time.Duration(p.their.DetectMultiplier)*max(p.ours.ReceiveInterval, p.their.TransmitInterval)
}

func TestInteropFRR(t *testing.T) {
	node, tor := lab(t)
	all := pairings(t, node, tor)
	r := tor.StartRouter(t, router.FRR, frrConfig(all))
	var sessions []Session
	for _, p := range all {
		if p.only == "" {
			sessions = append(sessions, p.session())
		}
	}
	e, stop := start(t, sessions...)

	type peer struct {
		Peer               string
		Status             string
		Diagnostic         string
		RemoteDiagnostic   string `json:"remote-diagnostic"`
		RemoteReceive      int    `json:"remote-receive-interval"`
		RemoteTransmit     int    `json:"remote-transmit-interval"`
		RemoteDetectMult   int    `json:"remote-detect-multiplier"`
		TransmitInterval   int    `json:"transmit-interval"`
		SessionDownsBefore int
	}
	seen := func(p pairing) (found peer) {
		var peers []peer
		if err := r.ShowJSON(t.Context(), "show bfd peers json", &peers); err != nil {
			t.Fatal(err)
		}
		local := p.path.Local
		if !local.IsValid() {
			local = nodeV4
		}
		for _, q := range peers {
			if q.Peer == local.String() {
				found = q
			}
		}
		return found
	}

	for _, p := range all {
		if p.only != "" {
			continue
		}
		await(t, e, p.name, "both ends to agree on "+p.name, p.agreed)
		eventually(t, "FRR to see "+p.name, func() bool {
			s := seen(p)
			return s.Status == "up" && s.RemoteDetectMult == int(p.ours.DetectMultiplier) &&
				s.RemoteReceive == int(p.ours.ReceiveInterval.Milliseconds()) && s.RemoteTransmit == int(p.ours.TransmitInterval.Milliseconds())
		})
	}
	even := all[0]

	t.Run("new timers are agreed upon, and nothing goes down", func(t *testing.T) {
		before, _ := e.Snapshot()
		even.ours = timers(250*ms, 250*ms, 6)
		sessions[0] = even.session()
		e.Apply(sessions)
		await(t, e, "even", "new timers", even.agreed)
		eventually(t, "FRR to see them", func() bool { s := seen(even); return s.Status == "up" && s.RemoteReceive == 250 })
		after, _ := e.Snapshot()
		for i := range before.Sessions {
			if before.Sessions[i].Since != after.Sessions[i].Since {
				t.Errorf("%s was touched", before.Sessions[i].Name)
			}
		}
	})

	t.Run("a router that is frozen is a failure, and its return an end of it", func(t *testing.T) {
		must(t, r.Freeze(t.Context(), router.BFDd))
		frozen := time.Now()
		for _, p := range sessions {
			got := await(t, e, p.Name, "the failure of "+p.Name, func(s Status) bool { return s.Failures > 0 })
			if !strings.Contains(got.LastFailure, "Control Detection Time Expired") {
				t.Errorf("%s: %s", p.Name, got.Reason)
			}
		}
		t.Logf("all were down %v after the router froze", time.Since(frozen))
		must(t, r.Thaw(t.Context(), router.BFDd))
		for _, p := range sessions {
			await(t, e, p.Name, p.Name+" to come back", isUp)
		}
	})

	t.Run("a router whose operator shuts the session down has not failed", func(t *testing.T) {
		path := fmt.Sprintf("peer %s local-address %s interface cl0", nodeV4, routerV4)
		if _, err := r.Show(t.Context(), "configure terminal", "bfd", path, "shutdown"); err != nil {
			t.Fatal(err)
		}
		got := await(t, e, "even", "AdminDown", isDown)
		if got.Failed || !got.Negotiated.RemoteAdminDown {
			t.Errorf("status %+v", got)
		}
		if _, err := r.Show(t.Context(), "configure terminal", "bfd", path, "no shutdown"); err != nil {
			t.Fatal(err)
		}
		await(t, e, "even", "it to come back", isUp)
	})

	t.Run("when we end, the router hears AdminDown", func(t *testing.T) {
		stop()
		for _, p := range all {
			if p.only != "" {
				continue
			}
			eventually(t, "FRR to know of "+p.name, func() bool {
				s := seen(p)
				return s.Status == "down" && s.RemoteDiagnostic == "administratively down"
			})
		}
	})
}

func TestInteropBIRD(t *testing.T) {
	node, tor := lab(t)
	for _, p := range pairings(t, node, tor) {
		t.Run(p.name, func(t *testing.T) {
			r := tor.StartRouter(t, router.BIRD, birdConfig(p))
			e, stop := start(t, p.session())
			await(t, e, p.name, "both ends to agree", p.agreed)
			shows := func(words string) {
				t.Helper()
				eventually(t, "BIRD to say "+words, func() bool {
					out, err := r.Show(t.Context(), "show", "bfd", "sessions")
					must(t, err)
					for line := range strings.SplitSeq(out, "\n") {
						line = strings.Join(strings.Fields(line), " ")
						if strings.Contains(line, " "+words) {
							return true
						}
					}
					return false
				})
			}
			// Its interval, and after how long it gives us up.
			shows("Up")
			tx := max(p.their.TransmitInterval, p.ours.ReceiveInterval)
			timeout := time.Duration(p.ours.DetectMultiplier) * max(p.their.ReceiveInterval, p.ours.TransmitInterval)
			shows(fmt.Sprintf("%.3f %.3f", tx.Seconds(), timeout.Seconds()))

			must(t, r.Freeze(t.Context(), router.Bird))
			if got := await(t, e, p.name, "the failure", func(s Status) bool { return s.Failures > 0 }); !strings.Contains(got.LastFailure, "Control Detection Time Expired") {
				t.Errorf("status %+v", got)
			}
			must(t, r.Thaw(t.Context(), router.Bird))
			await(t, e, p.name, "it to come back", isUp)

			stop()
			shows("Down")
		})
	}
}

func TestRouterThatIsFurtherAwayThanASingleHopIsRefused(t *testing.T) {
	node, tor := lab(t)
	even := pairings(t, node, tor)[0]
	tor.StartRouter(t, router.FRR, frrConfig([]pairing{even}))
	tor.NFT(`table ip far { chain out { type filter hook output priority 0; udp dport 3784 ip ttl set 254; }; }`)
	e, _ := start(t, even.session())
	await(t, e, "even", "the reason", func(s Status) bool { return isDown(s) && strings.Contains(s.Reason, "TTL 254, less than 255") })
}

func TestInterfaceThatGoesAndComesBack(t *testing.T) {
	node, tor := lab(t)
	all := pairings(t, node, tor)
	path := all[0].path
	path.Interface = "cl0"
	tor.StartRouter(t, router.BIRD, birdConfig(all[0]))
	e, _ := start(t, Session{Name: "s", Path: path, Profile: all[0].ours})
	await(t, e, "s", "the session to come up", isUp)
	run(t, node, "ip", "link", "del", "cl0")
	await(t, e, "s", "the failure", func(s Status) bool { return s.Failed && strings.Contains(s.Reason, "no interface cl0") })
	plug(t, node, tor)
	await(t, e, "s", "it to come back", isUp)
}
