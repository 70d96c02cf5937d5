package speaker

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// bgpSessions is what a speaker needs of BGP, and bfdSessions of BFD.
type bgpSessions interface {
	Run(ctx context.Context) error
	Apply(bgp.Desired)
	PeerDown(peer, why string)
	PeerUp(peer string)
	Leave(ctx context.Context, text string) error
	Restart(ctx context.Context, text string) error
	Snapshot() (*bgp.Snapshot, <-chan struct{})
}

type bfdSessions interface {
	Run(ctx context.Context) error
	Apply([]bfd.Session)
	Snapshot() (bfd.Snapshot, <-chan struct{})
}

var (
	_ bgpSessions = (*bgp.Manager)(nil)
	_ bfdSessions = (*bfd.Engine)(nil)
)

// uplink is what a speaker has toward routers. The loop says what should be; what BFD finds acts on BGP without the loop, in a
// goroutine that does nothing else, for there every millisecond is traffic.
type uplink struct {
	bgp  bgpSessions
	bfd  bfdSessions
	log  *slog.Logger
	poke func() // has the loop look

	used      atomic.Bool                     // there is, or was, a session to have
	strict    atomic.Pointer[map[string]bool] // peers whose sessions wait for BFD; the map is not changed
	strictSet chan struct{}                   // has room for one: strict is another one
	stopping  atomic.Bool
	applied   bool // the loop has told BGP of peers
}

const (
	// stopRoutes bounds a leave: longer than the longest linger, shorter than the Pod's grace of 45 seconds.
	stopRoutes = 43 * time.Second
	// tellAdminDown is how long routers are told that BFD is taken down on purpose.
	tellAdminDown = 50 * time.Millisecond
)

// apply has sessions be as they were decided. Until there is one to have, nothing is started.
func (u *uplink) apply(r *routing, out routed) {
	if u.stopping.Load() {
		return
	}
	if out.sessions && (len(r.desired.Peers)+len(r.desired.Impossible) > 0 || u.applied) {
		u.applied = true
		u.used.Store(u.used.Load() || len(r.desired.Peers) > 0)
		u.await(r.strict)
		u.bgp.Apply(r.desired)
	}
	if out.watched {
		u.bfd.Apply(r.sessions)
	}
}

// await has the sessions with these peers wait for BFD. Those that are new are held before they are known to BGP.
func (u *uplink) await(strict map[string]bool) {
	before := map[string]bool{}
	if p := u.strict.Load(); p != nil {
		before = *p
	}
	if maps.Equal(before, strict) {
		return
	}
	at, _ := u.bgp.Snapshot()
	for name := range strict {
		if _, known := at.Session(name); !known {
			u.bgp.PeerDown(name, waitsForBFD)
		}
	}
	for name := range before {
		if !strict[name] {
			u.bgp.PeerUp(name)
		}
	}
	u.strict.Store(&strict)
	select {
	case u.strictSet <- struct{}{}:
	default:
	}
}

// waitsForBFD is why a session is held that may not begin without BFD.
const waitsForBFD = "BFD is not up, which bfdMode Strict has it wait for"

// stop ends the sessions. Leave has routers send traffic elsewhere first; with Restart those with graceful restart keep
// the routes for the speaker that follows.
func (u *uplink) stop(how plan.Stop, why string) {
	u.stopping.Store(true)
	if !u.used.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopRoutes)
	defer cancel()
	begin := time.Now()
	var err error
	if how == plan.Leave {
		// BFD stays to the last: a router that is lost while routes linger is noticed.
		err = u.bgp.Leave(ctx, "clarion-speaker leaves: "+why)
	} else {
		// There are routers that take AdminDown for a failure (RFC 5882 section 4.2 says it is none) and end a session at
		// once, with its routes. One that is closed already they leave alone.
		err = u.bgp.Restart(ctx, "clarion-speaker restarts")
		u.bfd.Apply(nil)
		time.Sleep(tellAdminDown)
	}
	if err != nil {
		u.log.Warn("not all BGP sessions were ended in time", "error", err)
		return
	}
	u.log.Info("BGP sessions ended", "how", how.String(), "took", time.Since(begin).Round(time.Millisecond).String())
}

// run has BGP sessions follow BFD, and pokes the loop when something has changed, until ctx ends.
func (u *uplink) run(ctx context.Context) error {
	g := newGuard()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		sessions, sessionsChanged := u.bgp.Snapshot()
		watched, watchedChanged := u.bfd.Snapshot()
		now := time.Now()
		down, up, wakeAt := g.see(now, watched, u.strictSessions(sessions))
		for name, why := range down {
			u.bgp.PeerDown(name, why)
		}
		for _, name := range up {
			u.bgp.PeerUp(name)
		}
		wait := time.Hour
		if !wakeAt.IsZero() {
			wait = max(wakeAt.Sub(now), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			continue
		case <-u.strictSet:
			continue
		case <-watchedChanged:
		case <-sessionsChanged:
		}
		u.poke()
	}
}

// strictSessions tells of the peers whose sessions wait for BFD which have one: that is not ended because BFD is to be waited
// for from now on, or for the next time.
func (u *uplink) strictSessions(s *bgp.Snapshot) map[string]bool {
	out := map[string]bool{}
	if strict := u.strict.Load(); strict != nil {
		for name := range *strict {
			now, _ := s.Session(name)
			out[name] = now.State == bgp.Established
		}
	}
	return out
}

// guard decides what BGP makes of BFD (RFC 5882): a session whose path failed is ended at once, and made again once BFD is
// up. It belongs to one goroutine.
type guard map[string]*guarded

type guarded struct {
	failures uint64
	since    time.Time // the BGP session is held down; zero where it is not
	strict   bool      // it waits for BFD
}

const (
	// guardBlink is for how long a session is held down at least: it may have failed and come back unseen.
	guardBlink = 100 * time.Millisecond
	// guardPatience is after how long BGP is tried again although BFD is not up: there are routers that have no BFD session
	// before the BGP session is established.
	guardPatience = 10 * time.Second
)

func newGuard() guard { return guard{} }

// see takes in how BFD sessions fare, and returns which BGP sessions are to be ended, and why, and which may be made again.
// Those that wait for BFD are the keys of strict; its values tell which are established.
func (g guard) see(now time.Time, s bfd.Snapshot, strict map[string]bool) (down map[string]string, up []string, wakeAt time.Time) {
	down = map[string]string{}
	there := map[string]bfd.Status{}
	for _, status := range s.Sessions {
		there[status.Name] = status
	}
	for name := range strict {
		if _, watched := there[name]; !watched {
			there[name] = bfd.Status{Name: name, State: bfd.Down}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		status := there[name]
		established, waits := strict[name]
		one := g[name]
		if one == nil {
			one = &guarded{}
			g[name] = one
		}
		if status.Failures > one.failures {
			one.since = now
			down[name] = "BFD: " + status.LastFailure
		}
		one.failures = status.Failures
		isUp := status.State == bfd.Up || status.Negotiated.NoFailure()
		switch {
		case waits && !one.strict && isUp && one.since.IsZero():
			up = append(up, name) // it is held where it is new
		case waits && !isUp && !established && one.since.IsZero():
			one.since = now
			down[name] = waitsForBFD
		}
		one.strict = waits
		if one.since.IsZero() {
			continue
		}
		until := one.since.Add(guardPatience)
		switch {
		case !status.Failed && !waits, isUp:
			until = one.since.Add(guardBlink)
		case waits:
			continue
		}
		if now.Before(until) {
			wakeAt = soonest(wakeAt, until)
			continue
		}
		one.since = time.Time{}
		up = append(up, name)
	}
	for name, one := range g {
		if _, known := there[name]; !known {
			if !one.since.IsZero() {
				up = append(up, name)
			}
			delete(g, name)
		}
	}
	return down, up, wakeAt
}
