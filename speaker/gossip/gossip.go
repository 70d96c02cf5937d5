package gossip

import (
	"context"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Options are what a Gossip is made with.
type Options struct {
	// Node is this node's name, and the member's.
	Node string
	// Log gets a line when a speaker comes or goes, and what memberlist complains about.
	Log *slog.Logger
	// Receive is called with each message that another speaker's Send brought. It is called from several goroutines,
	// the one that reads packets among them, and must not wait. nil takes none.
	Receive func(Message)
}

// Desired is what a Gossip should do. Until it has an address and a key nothing is sent or heard.
type Desired struct {
	// Listen is the address and port for TCP and UDP.
	Listen netip.AddrPort
	// Advertise is the address that others should use, if it is not Listen's.
	Advertise netip.Addr
	// Keys that gossip is encrypted with, the primary first.
	Keys []Key
	// Peers are where speakers should be found. This node may be among them.
	Peers []Peer
	// Facts are what to say of this node.
	Facts Facts
	// Session is the one, as in a Snapshot, that Facts.Serving was decided in: in any other one this node does
	// not serve yet, whatever Facts say. 0 is all sessions.
	Session uint64
}

// A Peer is a node that should have a speaker. All speakers listen on the same port.
type Peer struct {
	Node string
	Addr netip.Addr
}

// A Snapshot is what a Gossip sees at a moment. It must not be modified.
type Snapshot struct {
	// Running is true while gossip is listened to.
	Running bool
	// Session counts how often gossip was opened; 0 while it does not run. What was seen in one session says nothing
	// of the next, in which nobody was heard yet.
	Session uint64
	// Members are the speakers heard, in order of their nodes, this one among them unless it has left.
	Members []Member
	// Missing are the peers that are not heard, in order.
	Missing []string
	// Lost are those of them of which somebody remembers what they said last, in order. They are not Known.
	Lost []Member
	// Accounted is true when every peer was heard, with what it says of itself, or was called twice
	// in vain.
	Accounted bool
	// Unintelligible is true while peers that are no members are heard all the same, and not understood: they have keys
	// that this speaker lacks, because the Secret has changed, and so they are there although they are missing.
	Unintelligible bool
}

// A Member is a speaker that is heard.
type Member struct {
	Node string
	Addr netip.Addr
	// Known is false until what it says of itself has come. Until then Facts are what the speaker before it said, if
	// that is remembered.
	Known bool
	Facts Facts
}

func (m Member) equal(n Member) bool {
	return m.Node == n.Node && m.Addr == n.Addr && m.Known == n.Known && m.Facts.Equal(n.Facts)
}

func (s Snapshot) equal(t Snapshot) bool {
	return s.Running == t.Running && s.Session == t.Session && s.Accounted == t.Accounted && s.Unintelligible == t.Unintelligible && slices.Equal(s.Missing, t.Missing) &&
		slices.EqualFunc(s.Lost, t.Lost, Member.equal) &&
		slices.EqualFunc(s.Members, t.Members, Member.equal)
}

// Counters are totals since the Gossip was made.
type Counters struct {
	// Refused counts packets and streams dropped because they can't be ours.
	Refused uint64
	// Undecodable counts messages of members that could not be read.
	Undecodable uint64
	// Overrun counts messages dropped because too many came, or had to go, at once.
	Overrun uint64
	// Undelivered counts messages that a stream did not bring to their receiver.
	Undelivered uint64
}

// A Gossip keeps this node's speaker in touch with the others. Make one with New, start it with Run; the
// other methods may be called at any time, from any goroutine, and do not block, Leave apart.
type Gossip struct {
	node    string
	life    life // of the first session
	log     *slog.Logger
	receive func(Message)
	post    *post
	wake    chan struct{} // desired has changed
	redial  chan struct{} // missing peers are to be called now
	// sessions opened; it belongs to Run.
	sessions uint64
	// listen opens the transport; tests have networks of their own.
	listen func(Desired, *log.Logger) (wire, error)

	mu       sync.Mutex
	desired  Desired
	snapshot Snapshot
	changed  chan struct{}
	counters Counters
	leave    chan chan struct{} // of the session that runs, or nil
}

// New returns a Gossip that does nothing yet.
func New(o Options) *Gossip {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Receive == nil {
		o.Receive = func(Message) {}
	}
	g := &Gossip{
		life:    life(rand.Uint64()>>1 | 1),
		node:    o.Node,
		log:     o.Log,
		receive: o.Receive,
		wake:    make(chan struct{}, 1),
		redial:  make(chan struct{}, 1),
		listen:  listen,
		changed: make(chan struct{}),
	}
	g.post = newPost(g.count)
	return g
}

// Apply sets what is to be done from now on, in full. What is passed must not be modified afterwards.
func (g *Gossip) Apply(d Desired) {
	g.mu.Lock()
	g.desired = d
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// Snapshot returns what is seen now, and a channel that is closed when that has changed.
func (g *Gossip) Snapshot() (Snapshot, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.snapshot, g.changed
}

// Redial has the peers called at once that are not heard: something has shown that one of them is there. They are called
// every half second in any case.
func (g *Gossip) Redial() {
	select {
	case g.redial <- struct{}{}:
	default:
	}
}

// Counters returns the totals so far.
func (g *Gossip) Counters() Counters {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counters
}

// Run gossips as Apply says until ctx ends, and then falls silent at once: the others find out by
// probing, unless Leave was called before. It returns nil; what fails is tried again.
func (g *Gossip) Run(ctx context.Context) error {
	defer g.publish(Snapshot{})
	for ctx.Err() == nil {
		d := g.get()
		if !d.Listen.IsValid() || len(d.Keys) == 0 {
			select {
			case <-g.wake:
			case <-ctx.Done():
			}
			continue
		}
		s, err := g.open(d)
		if err != nil {
			g.log.Warn("can't listen for gossip, trying again", "address", d.Listen, "error", err)
			select {
			case <-time.After(retryListen):
			case <-g.wake:
			case <-ctx.Done():
			}
			continue
		}
		s.run(ctx)
		s.close()
		g.publish(Snapshot{})
	}
	return nil
}

// Leave tells the others that this speaker is about to stop, so that they need not find out. It returns when some have been
// told, or when ctx ends. Gossip goes on to be heard until Run ends; there is no way back.
func (g *Gossip) Leave(ctx context.Context) {
	g.mu.Lock()
	requests := g.leave
	g.mu.Unlock()
	if requests == nil {
		return
	}
	told := make(chan struct{})
	select {
	case requests <- told:
	case <-ctx.Done():
		return
	}
	select {
	case <-told:
	case <-ctx.Done():
	}
}

func (g *Gossip) get() Desired {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.desired
}

func (g *Gossip) publish(s Snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.equal(g.snapshot) {
		return
	}
	g.snapshot = s
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *Gossip) count(add func(*Counters)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	add(&g.counters)
}
