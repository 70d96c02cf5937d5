package bfd

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// Options are what an [Engine] needs to know.
type Options struct {
	// Logger may be nil.
	Logger *slog.Logger
}

// Engine runs BFD sessions. See the package's documentation.
type Engine struct {
	log *slog.Logger

	mu sync.Mutex
	// desired is what Apply wants; it is replaced, never changed.
	desired []Session
	version uint64
	// bell wakes the loop while Run runs.
	bell func()
	// published is what the loop made of it, by name.
	published map[string]*published
	changed   chan struct{}
}

// published is a session as others may see it. The loop replaces status and
// adds to the counters.
type published struct {
	status   Status
	counters *liveCounters
}

type liveCounters struct {
	sent, received, refused, sendErrors, echoesSent, echoesReceived, flood atomic.Uint64
}

func (c *liveCounters) load() Counters {
	return Counters{
		Sent: c.sent.Load(), Received: c.received.Load(), Refused: c.refused.Load(), SendErrors: c.sendErrors.Load(),
		EchoesSent: c.echoesSent.Load(), EchoesReceived: c.echoesReceived.Load(), Flood: c.flood.Load(),
	}
}

// New returns an Engine without sessions.
func New(options Options) *Engine {
	return &Engine{
		log: cmp.Or(options.Logger, slog.New(slog.DiscardHandler)), published: make(map[string]*published), changed: make(chan struct{}),
	}
}

// Apply says which sessions are wanted. Those that are no longer are taken to
// AdminDown, and told so for a detection time before they go. Those whose
// profile is another go on, with new timers. Apply does not wait for anything.
func (e *Engine) Apply(sessions []Session) {
	desired := slices.Clone(sessions)
	slices.SortStableFunc(desired, func(a, b Session) int { return cmp.Compare(a.Name, b.Name) })
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.Equal(desired, e.desired) {
		return
	}
	e.desired = desired
	e.version++
	if e.bell != nil {
		e.bell()
	}
}

// Snapshot returns what became of the sessions, and a channel that is closed
// when one of them has another state, reason or timers. Counters are of the
// moment.
func (e *Engine) Snapshot() (Snapshot, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Snapshot{Sessions: make([]Status, 0, len(e.published))}
	for _, p := range e.published {
		status := p.status
		status.Counters = p.counters.load()
		s.Sessions = append(s.Sessions, status)
	}
	slices.SortFunc(s.Sessions, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return s, e.changed
}

// Run runs the sessions until the context ends, and then takes them to
// AdminDown: the peer is told that this end stops, and that the path is as good
// as it was.
func (e *Engine) Run(ctx context.Context) error { return e.run(ctx) }

// wanted returns what Apply wants, and a number that is another one after each
// change.
func (e *Engine) wanted() ([]Session, uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.desired, e.version
}

// listen says how the loop is woken, or that it is no more.
func (e *Engine) listen(bell func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bell = bell
}

func (e *Engine) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bell != nil {
		e.bell()
	}
}

// publish shows statuses, and takes names away that are no longer wanted.
func (e *Engine) publish(counters *liveCounters, statuses []Status, gone []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range gone {
		delete(e.published, name)
	}
	for _, s := range statuses {
		e.published[s.Name] = &published{s, counters}
	}
	close(e.changed)
	e.changed = make(chan struct{})
}
