package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bfd/session"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// paperBGP has sessions on paper: each that is wanted is established at once, apart from those that are held.
type paperBGP struct {
	mu      sync.Mutex
	desired bgp.Desired
	applied int
	held    map[string]string
	calls   []string
	onCall  func()
	at      *bgp.Snapshot
	changed chan struct{}
}

func newPaperBGP() *paperBGP {
	return &paperBGP{held: map[string]string{}, at: &bgp.Snapshot{}, changed: make(chan struct{})}
}

func (p *paperBGP) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (p *paperBGP) Apply(d bgp.Desired) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.desired = d
	p.applied++
	p.publishLocked()
}

func (p *paperBGP) publishLocked() {
	p.at = &bgp.Snapshot{}
	for _, peer := range p.desired.Peers {
		s := bgp.Session{Peer: peer.Name, State: bgp.Established, Negotiated: bgp.Negotiated{Families: []bgp.Family{bgp.IPv4, bgp.IPv6}}, Since: start, RoutesSent: peer.Routes.Len()}
		if why, held := p.held[peer.Name]; held {
			s = bgp.Session{Peer: peer.Name, Since: start, LastError: bgp.Held, LastMessage: why}
		}
		p.at.Sessions = append(p.at.Sessions, s)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *paperBGP) hold(peer, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, peer)
	if why != "" {
		p.held[peer] = why
	}
	p.publishLocked()
}

func (p *paperBGP) PeerDown(peer, why string) { p.hold(peer, why) }
func (p *paperBGP) PeerUp(peer string)        { p.hold(peer, "") }

func (p *paperBGP) called(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, what)
	if p.onCall != nil {
		p.onCall()
	}
	return nil
}

func (p *paperBGP) Leave(context.Context, string) error   { return p.called("leave") }
func (p *paperBGP) Restart(context.Context, string) error { return p.called("restart") }

func (p *paperBGP) Snapshot() (*bgp.Snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.changed
}

// count is how often sessions were asked for, and asked what else was.
func (p *paperBGP) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied
}

func (p *paperBGP) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// routes are those to a peer, in words.
func (p *paperBGP) routes(peer string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.desired.Peers {
		if one.Name == peer {
			return routesInWords(one.Routes)
		}
	}
	return "no session"
}

func routesInWords(all *bgp.Routes) string {
	var out []string
	for _, r := range all.All() {
		text := r.Prefix.String()
		if slices.Contains(r.Communities, bgp.GracefulShutdown) {
			text += " going"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// paperBFD has sessions on paper.
type paperBFD struct {
	mu      sync.Mutex
	wanted  []bfd.Session
	at      bfd.Snapshot
	changed chan struct{}
}

func newPaperBFD() *paperBFD { return &paperBFD{changed: make(chan struct{})} }

func (p *paperBFD) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (p *paperBFD) Apply(sessions []bfd.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = sessions
}

func (p *paperBFD) Snapshot() (bfd.Snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.changed
}

func TestGuard(t *testing.T) {
	up := bfd.Status{Name: "tor", State: bfd.Up}
	failed := bfd.Status{Name: "tor", State: bfd.Down, Failed: true, Failures: 1, LastFailure: "silence"}
	back := bfd.Status{Name: "tor", State: bfd.Up, Failures: 1}
	adminDown := failed
	adminDown.Negotiated = session.Status{RemoteAdminDown: true}
	again := failed
	again.Failures = 2
	type at struct {
		after time.Duration
		sees  []bfd.Status
		want  string
	}
	first := bfd.Status{Name: "tor", State: bfd.Down}
	waits, established := map[string]bool{"tor": false}, map[string]bool{"tor": true}
	for _, row := range []struct {
		name   string
		strict map[string]bool
		story  []at
	}{
		{"a session that does not come up holds nothing", nil, []at{{0, []bfd.Status{{Name: "tor", State: bfd.Down}}, ""}}},
		{"a failure ends the session, and coming up lets it be made", nil, []at{
			{0, []bfd.Status{up}, ""}, {time.Second, []bfd.Status{failed}, "down tor BFD: silence"}, {time.Second, []bfd.Status{failed}, ""}, {0, []bfd.Status{back}, "up tor"}, {0, []bfd.Status{back}, ""}}},
		{"what failed and came back unseen ends the session too", nil, []at{
			{0, []bfd.Status{up}, ""}, {time.Second, []bfd.Status{back}, "down tor BFD: "}, {guardBlink, []bfd.Status{back}, "up tor"}}},
		{"a router that takes BFD down on purpose may have a session without", nil, []at{
			{0, []bfd.Status{failed}, "down tor BFD: silence"}, {time.Second, []bfd.Status{adminDown}, "up tor"}}},
		{"after a while BGP is tried although BFD is down", nil, []at{
			{0, []bfd.Status{failed}, "down tor BFD: silence"}, {guardPatience - 1, []bfd.Status{failed}, ""}, {1, []bfd.Status{failed}, "up tor"}, {time.Hour, []bfd.Status{failed}, ""},
			{0, []bfd.Status{again}, "down tor BFD: silence"}}},
		{"without BFD nothing is held any more", nil, []at{{0, []bfd.Status{failed}, "down tor BFD: silence"}, {1, nil, "up tor"}, {0, nil, ""}}},
		{"with Strict a session waits for BFD, for as long as it takes", waits, []at{
			{0, []bfd.Status{first}, "down tor " + waitsForBFD}, {time.Hour, []bfd.Status{first}, ""}, {0, []bfd.Status{up}, "up tor"}, {0, []bfd.Status{up}, ""}}},
		{"it waits again where BFD fails", waits, []at{
			{0, []bfd.Status{up}, "up tor"}, {time.Second, []bfd.Status{failed}, "down tor BFD: silence"}, {time.Hour, []bfd.Status{failed}, ""}, {0, []bfd.Status{back}, "up tor"}}},
		{"it waits where there is nothing to wait for yet", waits, []at{{0, nil, "down tor " + waitsForBFD}, {time.Hour, nil, ""}, {0, []bfd.Status{up}, "up tor"}}},
		{"one that is established is not ended for it", established, []at{{0, []bfd.Status{first}, ""}, {time.Hour, []bfd.Status{first}, ""}}},
		{"nobody waits for what the router takes down on purpose", waits, []at{{0, []bfd.Status{adminDown}, "down tor BFD: silence"}, {guardBlink, []bfd.Status{adminDown}, "up tor"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, now := newGuard(), start
			for i, step := range row.story {
				now = now.Add(step.after)
				down, up, _ := g.see(now, bfd.Snapshot{Sessions: step.sees}, row.strict)
				var got []string
				for _, name := range slices.Sorted(maps.Keys(down)) {
					got = append(got, fmt.Sprintf("down %s %s", name, down[name]))
				}
				for _, name := range up {
					got = append(got, "up "+name)
				}
				if said := strings.Join(got, ", "); said != step.want {
					t.Errorf("step %d: %q, not %q", i, said, step.want)
				}
			}
		})
	}
}

// While BGP sessions end, BFD watches on: to a restart because there are routers that take its AdminDown for a failure and
// drop the routes of a session that stands, to a leave because routes linger.
func TestBFDOutlivesBGP(t *testing.T) {
	for _, how := range []plan.Stop{plan.Restart, plan.Leave} {
		sessions, watched := newPaperBGP(), newPaperBFD()
		u := &uplink{bgp: sessions, bfd: watched, log: slog.New(slog.DiscardHandler)}
		u.used.Store(true)
		one := []bfd.Session{{Name: "tor"}}
		watched.Apply(one)
		sessions.onCall = func() {
			watched.mu.Lock()
			defer watched.mu.Unlock()
			if !slices.Equal(watched.wanted, one) {
				t.Errorf("%s: BFD was taken down before BGP", how)
			}
		}
		u.stop(how, "test")
		if calls := sessions.asked(); len(calls) != 1 {
			t.Errorf("%s: BGP was asked to %v", how, calls)
		}
		if how == plan.Restart && len(watched.wanted) > 0 {
			t.Error("routers were not told that BFD is taken down on purpose")
		}
	}
}

// A session that waits for BFD is held before BGP knows of it, and let go when it need not wait any more.
func TestStrictSessionsAreHeldFirst(t *testing.T) {
	sessions := newPaperBGP()
	u := &uplink{bgp: sessions, bfd: newPaperBFD(), log: slog.New(slog.DiscardHandler)}
	r := newRouting("node1", false)
	state := func() bgp.State {
		at, _ := sessions.Snapshot()
		one, _ := at.Session("tor")
		return one.State
	}
	r.desired, r.strict = bgp.Desired{Peers: []bgp.Peer{{Name: "tor"}}}, map[string]bool{"tor": true}
	u.apply(r, routed{sessions: true})
	if state() == bgp.Established {
		t.Error("the session did not wait")
	}
	r.strict = map[string]bool{}
	u.apply(r, routed{sessions: true})
	if state() != bgp.Established {
		t.Error("the session still waits")
	}
	r.strict = map[string]bool{"tor": true}
	u.apply(r, routed{sessions: true})
	if state() != bgp.Established {
		t.Error("a session that stands was ended because it is to wait for BFD")
	}
}
