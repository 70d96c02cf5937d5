package gossip

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// A session is gossip on one listening address: a memberlist, and what goes with it. Its fields belong to the
// goroutine in run, which is Gossip.Run's; memberlist's callbacks reach it through events and inbox alone.
type session struct {
	g       *Gossip
	desired Desired
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring
	chain   keychain
	keysDue time.Time
	guard   *guard

	events  events
	crowd   crowd
	inbox   chan message
	queue   *memberlist.TransmitLimitedQueue
	known   atomic.Uint32 // number of members, for queue
	states  atomic.Pointer[[]byte]
	leaving atomic.Bool
	done    chan struct{}
	number  uint64
	helpers sync.WaitGroup

	book    *book
	members map[string]netip.AddrPort
	local   state
	encoded []byte // local
	dials   dials
}

const inboxSize = 4096

// open starts to listen.
func (g *Gossip) open(d Desired) (*session, error) {
	g.sessions++
	s := &session{
		g:       g,
		number:  g.sessions,
		desired: d,
		inbox:   make(chan message, inboxSize),
		events:  events{signal: make(chan struct{}, 1)},
		done:    make(chan struct{}),
		book:    newBook(g.node),
		members: map[string]netip.AddrPort{},
		local:   state{node: g.node, life: g.life + life(g.sessions-1)},
		dials:   newDials(),
	}
	s.queue = &memberlist.TransmitLimitedQueue{
		RetransmitMult: retransmitMult,
		NumNodes:       func() int { return int(s.known.Load()) },
	}

	now := time.Now()
	keys, due := s.chain.step(now, d.Keys)
	s.keysDue = due
	keyring, err := memberlist.NewKeyring(rawKeys(keys[1:]), rawKeys(keys)[0])
	if err != nil {
		return nil, fmt.Errorf("making the keyring: %w", err)
	}
	s.keyring = keyring

	logger := log.New(&logWriter{g.log}, "", 0)
	inner, err := g.listen(d, logger)
	if err != nil {
		return nil, err
	}
	c := config(d, g.node)
	c.Logger = logger
	c.Keyring = keyring
	s.guard, err = newGuard(inner, keys, s.hear, func(string) { g.count(func(c *Counters) { c.Refused++ }) })
	if err != nil {
		inner.Shutdown() //nolint:errcheck // never returns one
		return nil, err
	}
	c.Transport = s.guard
	c.Delegate, c.Events, c.Alive = (*delegate)(s), (*delegate)(s), (*delegate)(s)
	s.setFacts(d)
	s.list, err = memberlist.Create(c)
	if err != nil {
		c.Transport.Shutdown()
		return nil, fmt.Errorf("starting memberlist: %w", err)
	}
	s.setRoutes()
	g.post.open(s.list, s.guard)
	return s, nil
}

// run gossips until ctx ends, or until it should listen elsewhere.
func (s *session) run(ctx context.Context) {
	leave := make(chan chan struct{})
	s.g.setLeave(leave)
	defer s.g.setLeave(nil)
	tick := time.NewTicker(redialInterval)
	defer tick.Stop()
	keys := time.NewTimer(0)
	defer keys.Stop()

	s.dial(time.Now(), false)
	for {
		keys.Stop()
		var keysDue <-chan time.Time
		if !s.keysDue.IsZero() {
			keys.Reset(time.Until(s.keysDue))
			keysDue = keys.C
		}
		select {
		case <-ctx.Done():
			return
		case <-s.g.wake:
			d := s.g.get()
			if d.Listen != s.desired.Listen || d.Advertise != s.desired.Advertise {
				s.move(ctx)
				return
			}
			s.apply(d)
		case <-keysDue:
			s.turnKeys()
		case <-s.events.signal:
			s.takeEvents()
		case m := <-s.inbox:
			s.take(m)
			for range len(s.inbox) {
				s.take(<-s.inbox)
			}
		case r := <-s.dials.results:
			s.dialed(r)
		case <-tick.C:
			s.askUnknown()
			s.dial(time.Now(), false)
		case <-s.g.redial:
			s.dial(time.Now(), true)
		case told := <-leave:
			s.sayGoodbye(told)
		}
		s.publish()
	}
}

// move tells the others that this speaker is not to be found here any more, so that they need not find out.
func (s *session) move(ctx context.Context) {
	told := make(chan struct{})
	s.sayGoodbye(told)
	select {
	case <-told:
	case <-ctx.Done():
	}
}

// close stops listening. It is quick: memberlist is shut down without a word.
func (s *session) close() {
	close(s.done)
	s.g.post.close()
	s.list.Shutdown() //nolint:errcheck // never returns one
	s.helpers.Wait()
}

func (g *Gossip) setLeave(c chan chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leave = c
}

func (s *session) apply(d Desired) {
	if len(d.Keys) == 0 {
		d.Keys = s.desired.Keys // never unencrypted, never silent: the last keys hold
	}
	s.desired = d
	s.setRoutes()
	s.turnKeys()
	if s.setFacts(d) {
		s.tellAll()
	}
	s.dial(time.Now(), false)
}

// turnKeys brings memberlist's keyring to what the keychain says.
func (s *session) turnKeys() {
	keys, due := s.chain.step(time.Now(), s.desired.Keys)
	s.keysDue = due
	err := setKeys(s.keyring, rawKeys(keys))
	if err == nil {
		err = s.guard.seals.set(keys)
	}
	if err != nil {
		s.g.log.Error("can't change the gossip keys", "error", err)
	}
}

// setFacts takes over what this node says of itself, and reports whether it is something else than before.
func (s *session) setFacts(d Desired) bool {
	f := d.Facts
	f.Life = s.g.Life()
	f.Serving = f.Serving && (d.Session == 0 || d.Session == s.number)
	if s.local.seq > 0 && f.Equal(s.local.facts) {
		return false
	}
	s.local.facts = f
	s.local.seq++
	s.encoded = encodeState(s.local)
	s.remember()
	return true
}

// remember makes what is known ready for push/pull.
func (s *session) remember() {
	frame := wholeFrame(append(s.book.encoded(), s.encoded))
	s.states.Store(&frame)
}

// tellAll tells every member this node's state: directly, which is fast, and by gossip, which survives
// losses.
func (s *session) tellAll() {
	frames := packets(s.local, s.encoded)
	for node := range s.members {
		s.send(node, frames)
	}
	s.spread(s.g.node, frames)
}

// spread gossips frames about a node, in place of older ones.
func (s *session) spread(node string, frames [][]byte) {
	for i, f := range frames {
		s.queue.QueueBroadcast(&broadcast{name: fmt.Sprintf("%s/%d", node, i), frame: f})
	}
}

func (s *session) send(node string, frames [][]byte) {
	addr, ok := s.members[node]
	if !ok || node == s.g.node {
		return
	}
	for _, f := range frames {
		s.guard.tell(f, addr) // what is lost is asked for
	}
}

// askUnknown asks the members whose state has not come.
func (s *session) askUnknown() {
	for node := range s.members {
		if _, known := s.book.facts(node); !known && node != s.g.node {
			s.send(node, [][]byte{askFrame(s.g.node)})
		}
	}
}

// take takes in a message.
func (s *session) take(m message) {
	switch {
	case m.ask != "":
		s.send(m.ask, packets(s.local, s.encoded))
	case m.part != nil && m.part.node != s.g.node:
		if encoded, whole := s.book.addPart(*m.part); whole {
			st, err := decodeState(encoded)
			if err != nil || st.node != m.part.node {
				s.g.count(func(c *Counters) { c.Undecodable++ })
				return
			}
			s.learn(st, encoded)
		}
	case m.state != nil && m.state.node != s.g.node:
		s.learn(m.state.state, m.state.encoded)
	case m.state != nil:
		// Somebody has a state of this node that we never sent. Ours must be newer to be believed.
		if m.state.life == s.local.life && m.state.seq >= s.local.seq && !slices.Equal(m.state.encoded, s.encoded) {
			s.local.seq = min(m.state.seq+1, maxSeq)
			s.encoded = encodeState(s.local)
			s.remember()
			s.tellAll()
		}
	}
}

func (s *session) learn(st state, encoded []byte) {
	if s.book.add(st, encoded) {
		s.remember()
		s.spread(st.node, packets(st, encoded))
	}
}

// takeEvents takes in who came and who went.
func (s *session) takeEvents() {
	for _, e := range s.events.take() {
		_, before := s.members[e.node]
		if !e.alive {
			delete(s.members, e.node)
			s.book.left(e.node)
			if before && e.node != s.g.node {
				s.g.log.Info("speaker lost", "peer", e.node)
			}
			continue
		}
		s.members[e.node] = e.addr
		if e.node == s.g.node {
			continue
		}
		delete(s.dials.calls, e.node)
		if !before {
			s.g.log.Info("speaker joined", "peer", e.node, "address", e.addr.Addr())
		}
		if s.book.joined(e.node, e.life) {
			st := s.book.pages[e.node].now
			s.spread(e.node, packets(st.state, st.encoded))
		}
		s.send(e.node, packets(s.local, s.encoded))
	}
	s.known.Store(uint32(len(s.members)))
	s.setRoutes()
	s.book.forget(func(node string) bool {
		return slices.ContainsFunc(s.desired.Peers, func(p Peer) bool { return p.Node == node })
	})
	s.remember()
}

func (s *session) sayGoodbye(told chan struct{}) {
	if s.leaving.Swap(true) {
		close(told)
		return
	}
	s.helpers.Go(func() {
		defer close(told)
		if err := s.list.Leave(leaveTimeout); err != nil {
			s.g.log.Warn("may have left without anybody knowing", "error", err)
		}
	})
}

func (s *session) publish() {
	now := time.Now()
	snap := Snapshot{Running: true, Session: s.number, Accounted: true}
	for node, addr := range s.members {
		m := Member{Node: node, Addr: addr.Addr()}
		if node == s.g.node {
			m.Known, m.Facts = true, s.local.facts
		} else {
			if m.Facts, m.Known = s.book.facts(node); !m.Known {
				m.Facts, _ = s.book.last(node)
			}
			snap.Accounted = snap.Accounted && m.Known
		}
		snap.Members = append(snap.Members, m)
	}
	slices.SortFunc(snap.Members, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
	for _, p := range s.desired.Peers {
		if _, heard := s.members[p.Node]; heard || p.Node == s.g.node {
			continue
		}
		snap.Missing = append(snap.Missing, p.Node)
		if facts, remembered := s.book.last(p.Node); remembered {
			snap.Lost = append(snap.Lost, Member{Node: p.Node, Addr: p.Addr, Facts: facts})
		}
		c := s.dials.calls[p.Node]
		snap.Accounted = snap.Accounted && c != nil && c.failed >= callsInVain
		snap.Unintelligible = snap.Unintelligible || s.guard.heard(p.Addr, now)
	}
	slices.Sort(snap.Missing)
	slices.SortFunc(snap.Lost, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
	s.g.publish(snap)
}
