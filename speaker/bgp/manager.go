package bgp

import (
	"context"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a Manager.
type Options struct {
	// Log gets what happens to sessions and to the child.
	Log *slog.Logger
	// Command makes the child process; by default this program, called ChildName.
	Command func() *exec.Cmd
}

// Manager has a node's sessions kept by a child process. Run owns the child; everything else may be called
// from anywhere and waits for nothing, except for Leave and Restart.
type Manager struct {
	log     *slog.Logger
	command func() *exec.Cmd
	wake    chan struct{}

	mu       sync.Mutex
	desired  map[string]Peer // defaults filled in
	invalid  map[string]Impossible
	news     bool // invalid has changed since the last snapshot
	applied  bool
	holds    map[string]string
	stop     *Stop
	stopped  chan struct{} // closed when stop is carried out
	ended    bool          // stopped is closed
	snapshot *Snapshot
	changed  chan struct{}
}

// New makes a Manager that does nothing yet.
func New(o Options) *Manager {
	m := &Manager{
		log:      o.Log,
		command:  o.Command,
		wake:     make(chan struct{}, 1),
		holds:    map[string]string{},
		stopped:  make(chan struct{}),
		snapshot: &Snapshot{},
		changed:  make(chan struct{}),
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.command == nil {
		m.command = func() *exec.Cmd {
			return &exec.Cmd{Path: "/proc/self/exe", Args: []string{ChildName}}
		}
	}
	return m
}

// Apply says what should be. The first one must be the whole view: routers drop what a restarted speaker
// does not tell them again. Of two peers with one name the first counts.
func (m *Manager) Apply(d Desired) {
	desired, invalid := map[string]Peer{}, map[string]Impossible{}
	for _, i := range d.Impossible {
		invalid[i.Peer] = i
	}
	for _, p := range d.Peers {
		p = p.withDefaults(d.RouterID)
		_, twice := desired[p.Name]
		if _, hopeless := invalid[p.Name]; twice || hopeless {
			continue
		}
		if err := p.validate(); err != nil {
			invalid[p.Name] = Impossible{p.Name, Misconfigured, err.Error()}
			continue
		}
		desired[p.Name] = p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.news = m.news || !maps.Equal(invalid, m.invalid)
	for _, s := range m.snapshot.Sessions {
		_, still := desired[s.Peer]
		if _, hopeless := invalid[s.Peer]; !still && !hopeless {
			m.news = true // also where there is no child that could be told
		}
	}
	m.desired, m.invalid, m.applied = desired, invalid, true
	m.poke()
}

// PeerDown ends the session with a peer at once, or keeps it from being made, until PeerUp; why is told,
// such as "BFD is down". It may come before the peer.
func (m *Manager) PeerDown(peer, why string) {
	if why == "" {
		why = "held down"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holds[peer] = why
	m.poke()
}

// PeerUp ends PeerDown: the session is made again without waiting.
func (m *Manager) PeerUp(peer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.holds, peer)
	m.poke()
}

// Leave ends all sessions for good: routes are marked GRACEFUL_SHUTDOWN, linger, are withdrawn, and the
// routers get the text with a Cease. It returns when that is done, or with ctx.
func (m *Manager) Leave(ctx context.Context, text string) error {
	return m.end(ctx, Stop{Text: text})
}

// Restart ends all sessions so that routers with graceful restart keep the routes until this node's next
// speaker has told them its own. The others are left.
func (m *Manager) Restart(ctx context.Context, text string) error {
	return m.end(ctx, Stop{Restart: true, Text: text})
}

func (m *Manager) end(ctx context.Context, s Stop) error {
	m.mu.Lock()
	if m.stop == nil {
		m.stop = &s
		m.poke()
	}
	m.mu.Unlock()
	select {
	case <-m.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// poke has the owner look again.
func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Snapshot is what is, and a channel that is closed when that has changed.
func (m *Manager) Snapshot() (*Snapshot, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot, m.changed
}

// publish makes a new snapshot of what the child told and of what it can't know.
func (m *Manager) publish(now time.Time, told map[string]Session, child Child) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.news = false
	next := &Snapshot{Child: child}
	for name, i := range m.invalid {
		old, _ := m.snapshot.Session(name)
		s := Session{Peer: name, LastError: i.Reason, LastMessage: i.Message, Since: now, LastErrorAt: now}
		if old.State == Idle && old.LastError == s.LastError && old.LastMessage == s.LastMessage {
			s = old
		}
		next.Sessions = append(next.Sessions, s)
	}
	for name, p := range m.desired {
		s, ok := told[name]
		if !ok {
			s = m.untold(now, p, child)
		}
		next.Sessions = append(next.Sessions, s)
	}
	slices.SortFunc(next.Sessions, func(a, b Session) int { return strings.Compare(a.Peer, b.Peer) })
	m.snapshot = next
	close(m.changed)
	m.changed = make(chan struct{})
}

// untold is a session that the child has said nothing of.
func (m *Manager) untold(now time.Time, p Peer, child Child) Session {
	s := Session{Peer: p.Name, Since: now, RoutesWanted: p.Routes.Len()}
	old, known := m.snapshot.Session(p.Name)
	if known && old.State == Idle {
		s = old
		s.RoutesWanted = p.Routes.Len()
	}
	if child.PID == 0 && child.LastExit != "" && s.LastError != ChildDown {
		s.LastError, s.LastErrorAt = ChildDown, now
		s.LastMessage = "the speaker's BGP process ended and is started again: " + child.LastExit
	}
	return s
}

// told is what the child knows.
type told struct {
	peers map[string]Peer
	holds map[string]string
	stop  bool
}

// order is what the child must be told of the difference. An equal Desired makes an empty one.
func (m *Manager) order(t *told) Order {
	m.mu.Lock()
	defer m.mu.Unlock()
	var o Order
	for _, name := range slices.Sorted(maps.Keys(t.peers)) {
		if _, ok := m.desired[name]; !ok {
			o.Gone = append(o.Gone, name)
			delete(t.peers, name)
		}
	}
	// Peers that go from one set of routes to another together are told once.
	type step struct{ from, to *Routes }
	steps := map[step]int{}
	for _, name := range slices.Sorted(maps.Keys(m.desired)) {
		p := m.desired[name]
		old, known := t.peers[name]
		if effect, _, _ := Compare(&old, &p); known && effect == Replace {
			// The child knows nothing of the new neighbour, whatever its name.
			o.Gone = append(o.Gone, name)
			old, known = Peer{}, false
		}
		if !known || !sameSettings(&old, &p) {
			o.Peers = append(o.Peers, p)
		}
		if s := (step{old.Routes, p.Routes}); s.from != s.to {
			if i, ok := steps[s]; ok {
				if i >= 0 {
					o.Routes[i].Peers = append(o.Routes[i].Peers, name)
				}
			} else if upsert, remove := p.Routes.difference(old.Routes); len(upsert)+len(remove) > 0 {
				steps[s] = len(o.Routes)
				o.Routes = append(o.Routes, RouteChange{Peers: []string{name}, Upsert: upsert, Remove: remove})
			} else {
				steps[s] = -1
			}
		}
		t.peers[name] = p
	}
	for _, name := range slices.Sorted(maps.Keys(t.holds)) {
		if m.holds[name] == "" {
			o.Holds = append(o.Holds, Hold{Peer: name})
			delete(t.holds, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.holds)) {
		if t.holds[name] != m.holds[name] {
			o.Holds = append(o.Holds, Hold{Peer: name, Why: m.holds[name]})
			t.holds[name] = m.holds[name]
		}
	}
	if m.stop != nil && !t.stop {
		o.Stop, t.stop = m.stop, true
	}
	return o
}

func (m *Manager) hasNews() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.news
}

func sameSettings(a, b *Peer) bool {
	effect, _, pending := Compare(a, b)
	return effect == InPlace && len(pending) == 0 && a.KeepaliveTime == b.KeepaliveTime && a.ConnectTime == b.ConnectTime &&
		a.Linger == b.Linger && a.RestartTime == b.RestartTime
}
