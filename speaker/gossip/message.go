package gossip

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Kind says what a message is about. Kinds are the users' own: gossip carries what it does not read, and a
// speaker that does not know a kind skips it.
type Kind uint64

// A Message is what another speaker's Send brought here.
type Message struct {
	// From is the node whose speaker sent it.
	From string
	// Life of that speaker, as in its Facts.
	Life uint64
	Kind Kind
	// Payload belongs to the receiver.
	Payload []byte
	// At is when it was read from its socket.
	At time.Time
}

// maxFrame is the longest frame that is sent as a packet: with memberlist's type and checksum and the encryption's
// overhead it stays under the 1,232 bytes that any path takes.
const maxFrame = 1180

// maxPayload bounds what is sent at once; it has room for the claims of a hundred thousand addresses.
const maxPayload = 3 << 20

// maxOutbox is how many messages may wait for a peer that does not take them: a peer that is so far behind needs a
// new start, not more of the old.
const maxOutbox = 32

// post brings messages to peers, from any goroutine: packets at once, streams by one goroutine for each peer that
// any wait for, so that they come in the order in which they were sent.
type post struct {
	mu     sync.Mutex
	list   *memberlist.Memberlist // nil once closed
	guard  *guard
	routes map[string]netip.AddrPort
	outbox map[string][][]byte // by peer; there while a goroutine delivers
	parts  sync.WaitGroup
	count  func(func(*Counters))
}

func newPost(count func(func(*Counters))) *post {
	return &post{routes: map[string]netip.AddrPort{}, outbox: map[string][][]byte{}, count: count}
}

// open lets messages out: streams through list, packets through guard.
func (p *post) open(list *memberlist.Memberlist, guard *guard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list, p.guard = list, guard
}

// close ends all delivery, and waits until that is so.
func (p *post) close() {
	p.mu.Lock()
	p.list, p.guard = nil, nil
	clear(p.outbox)
	p.mu.Unlock()
	p.parts.Wait()
}

// setRoutes sets where the peers are. It must not be changed afterwards.
func (p *post) setRoutes(routes map[string]netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes = routes
}

func (p *post) send(to []string, frame []byte, reliable bool) {
	p.mu.Lock()
	guard := p.guard
	var at []netip.AddrPort
	for _, node := range to {
		switch route := p.routes[node]; {
		case guard == nil || !route.IsValid():
		case reliable:
			p.enqueueLocked(node, frame)
		default:
			at = append(at, route)
		}
	}
	p.mu.Unlock()
	if len(at) > 0 {
		guard.tell(frame, at...)
	}
}

// enqueueLocked has a frame delivered by a stream.
func (p *post) enqueueLocked(node string, frame []byte) {
	queue, busy := p.outbox[node]
	if len(queue) >= maxOutbox {
		queue = slices.Delete(queue, 0, 1)
		p.count(func(c *Counters) { c.Overrun++ })
	}
	p.outbox[node] = append(queue, frame)
	if !busy {
		p.parts.Go(func() { p.deliver(node) })
	}
}

// deliver sends what waits for a peer until nothing does.
func (p *post) deliver(node string) {
	for {
		p.mu.Lock()
		list, at, queue := p.list, p.routes[node], p.outbox[node]
		if list == nil || len(queue) == 0 || !at.IsValid() {
			delete(p.outbox, node)
			p.mu.Unlock()
			return
		}
		frame := queue[0]
		p.outbox[node] = slices.Delete(queue, 0, 1)
		p.mu.Unlock()
		peer := &memberlist.Node{Name: node, Addr: at.Addr().AsSlice(), Port: at.Port()}
		if err := list.SendReliable(peer, frame); err != nil {
			p.count(func(c *Counters) { c.Undelivered++ })
		}
	}
}

// Send sends a message to the speakers of other nodes, which get it by their Options.Receive. It does not wait. As a
// packet it arrives within a moment or not at all; reliable ones, and those that are too big for a packet, go by a
// stream, in order for each receiver, and are lost only where nobody can be reached. Nodes are reached as soon as it
// is known where they are: they need not be members. Before gossip runs nothing is sent.
func (g *Gossip) Send(to []string, kind Kind, payload []byte, reliable bool) {
	if len(payload) > maxPayload {
		g.count(func(c *Counters) { c.Undelivered++ })
		return
	}
	frame := directFrame(Message{From: g.node, Life: g.Life(), Kind: kind, Payload: payload})
	g.post.send(to, frame, reliable || len(frame) > maxFrame)
}

// Life returns the number that tells this run of the speaker from all others; it is never 0.
func (g *Gossip) Life() uint64 { return uint64(g.life) }

// setRoutes makes known where messages find each node: as a member it says so itself, else where it should be.
func (s *session) setRoutes() {
	routes := make(map[string]netip.AddrPort, len(s.members)+len(s.desired.Peers))
	for _, p := range s.desired.Peers {
		if p.Addr.IsValid() {
			routes[p.Node] = netip.AddrPortFrom(p.Addr, s.desired.Listen.Port())
		}
	}
	for node, at := range s.members {
		routes[node] = at
	}
	delete(routes, s.g.node)
	s.g.post.setRoutes(routes)
}
