package layer2

import (
	"context"
	"log/slog"
)

// Options are an Announcer's settings. The zero value is ready for use.
type Options struct {
	// Logger gets a few lines about interfaces that come, go and fail; none
	// when nil.
	Logger *slog.Logger
	// GratuitousRate is how many gratuitous frames leave each interface in a
	// second at most. Default 2,000. Answers are not limited by it.
	GratuitousRate int
}

// DefaultGratuitousRate is the default of [Options.GratuitousRate].
const DefaultGratuitousRate = 2000

// An Announcer answers for addresses on this node's links. Make one with [New],
// start it with Run; all methods may be called at any time from any goroutine.
type Announcer struct{}

// New returns an Announcer that announces nothing yet.
func New(o Options) *Announcer { return &Announcer{} }

// Run announces what Apply asks for, until ctx ends; then it returns nil. It
// returns an error only when going on makes no sense: the process may not open
// packet sockets (it lacks CAP_NET_RAW), or the platform has none. Links that
// are down or missing and everything else that may pass are waited for.
// Run may be called once.
func (a *Announcer) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Apply sets what is to be announced from now on, in full: what is no longer
// desired is withdrawn. Announcements of one address are united; where one says
// the interface's own MAC and another a foreign one, the own MAC holds. It
// may be called before Run. Apply keeps nothing of desired.
func (a *Announcer) Apply(desired []Announcement) Changes { return Changes{} }

// Links returns the Ethernet links of this node in order of name, and a channel
// that is closed when they have changed. The list is nil until Run has looked,
// and must not be modified. Loopback and ports of bridges, bonds and
// teams are left out; see [Select] for which of the rest make sense.
func (a *Announcer) Links() ([]Link, <-chan struct{}) { return nil, nil }

// State returns what came of the announcements desired, and a channel that is
// closed when that has changed.
func (a *Announcer) State() (State, <-chan struct{}) { return State{}, nil }

// Counters returns the totals of what was answered, dropped and sent.
func (a *Announcer) Counters() Counters { return Counters{} }
