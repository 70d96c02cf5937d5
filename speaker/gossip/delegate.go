package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

// delegate is a session as memberlist calls it: from goroutines of its own, some of them holding its
// locks. Nothing here blocks or calls memberlist back.
type delegate session

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
)

// NodeMeta returns the life of this session.
func (d *delegate) NodeMeta(int) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(d.local.life))
}

func lifeOf(meta []byte) life {
	if len(meta) < 8 {
		return 0
	}
	return life(binary.BigEndian.Uint64(meta))
}

// NotifyMsg takes what a stream brought for this speaker alone, or gossip.
func (d *delegate) NotifyMsg(b []byte) { (*session)(d).hear(b, time.Now()) }

// hear takes in messages that were read at a time. Those for the users of gossip go to them from
// here, past the owner goroutine: some of them count milliseconds.
func (s *session) hear(b []byte, at time.Time) {
	for _, m := range (*delegate)(s).decode(b) {
		if m.direct != nil {
			m.direct.At = at
			s.g.receive(*m.direct)
			continue
		}
		select {
		case s.inbox <- m:
		default:
			s.g.count(func(c *Counters) { c.Overrun++ })
		}
	}
}

// MergeRemoteState takes what the other side of a push/pull knows. Streams may wait.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	for _, m := range d.decode(b) {
		if m.direct != nil {
			continue // does not come this way
		}
		select {
		case d.inbox <- m:
		case <-d.done:
			return
		}
	}
}

func (d *delegate) decode(b []byte) []message {
	messages, err := decodeFrame(b)
	if err != nil {
		d.g.count(func(c *Counters) { c.Undecodable++ })
		d.g.log.Warn("can't read a gossip message", "error", err)
	}
	return messages
}

// LocalState returns what this side of a push/pull knows.
func (d *delegate) LocalState(bool) []byte { return *d.states.Load() }

// GetBroadcasts returns what is to be gossiped.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// NotifyAlive refuses members that no speaker can be.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	addr, ok := netip.AddrFromSlice(n.Addr)
	switch {
	case n.Name == "" || len(n.Name) > maxNode || !tlv.IsText([]byte(n.Name)):
		return errors.New("its name is not a node's")
	case !ok || addr.IsUnspecified() || n.Port == 0:
		return errors.New("it has no address")
	case lifeOf(n.Meta) == 0:
		return errors.New("it is no speaker")
	case !d.crowd.admits(n.Name):
		return errors.New("there are too many members")
	}
	return nil
}

// NotifyJoin notes that a member came.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	d.crowd.enter(n.Name)
	d.events.add(eventOf(n, true))
}

// NotifyUpdate notes that a member has another life.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.events.add(eventOf(n, true)) }

// NotifyLeave notes that a member left or died.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	d.crowd.leave(n.Name)
	d.events.add(eventOf(n, false))
}

// crowd bounds how many members there are, against one that makes up others.
type crowd struct {
	mu    sync.Mutex
	names map[string]bool
}

// admits reports whether there is, or may be, a member of that name.
func (c *crowd) admits(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[name] || len(c.names) < maxPages
}

func (c *crowd) enter(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = map[string]bool{}
	}
	c.names[name] = true
}

func (c *crowd) leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, name)
}

// event is a change of membership.
type event struct {
	node  string
	addr  netip.AddrPort
	life  life
	alive bool
}

func eventOf(n *memberlist.Node, alive bool) event {
	addr, _ := netip.AddrFromSlice(n.Addr)
	return event{node: n.Name, addr: netip.AddrPortFrom(addr.Unmap(), n.Port), life: lifeOf(n.Meta), alive: alive}
}

// events is a queue without an end: its writers must not wait, and nothing in it may be lost.
type events struct {
	signal chan struct{}

	mu    sync.Mutex
	queue []event
}

func (q *events) add(e event) {
	q.mu.Lock()
	q.queue = append(q.queue, e)
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *events) take() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.queue
	q.queue = nil
	return taken
}

// broadcast is a frame in memberlist's queue; a newer one of the same name takes its place.
type broadcast struct {
	name  string
	frame []byte
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

func (b *broadcast) Name() string                                { return b.name }
func (b *broadcast) Invalidates(other memberlist.Broadcast) bool { return false }
func (b *broadcast) Message() []byte                             { return b.frame }
func (b *broadcast) Finished()                                   {}

// logWriter turns memberlist's lines into records. They have one message, so that whoever limits
// logs by cause limits them together.
type logWriter struct{ log *slog.Logger }

func (w *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if rest, found := strings.CutPrefix(text, "["); found {
		name, after, _ := strings.Cut(rest, "] ")
		text = strings.TrimPrefix(after, "memberlist: ")
		switch name {
		case "WARN":
			level = slog.LevelInfo
		case "ERR", "ERROR":
			level = slog.LevelWarn
		}
	}
	w.log.Log(context.Background(), level, "memberlist", "detail", text)
	return len(line), nil
}
