package gossip

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// guard stands between the wire and memberlist, and lets through only what memberlist survives. Two things in
// memberlist's decryption (v0.7.0, security.go) panic in goroutines that nobody can recover: a message
// of encryption version 0 whose padding is nonsense, and on a stream a message of version 1 that
// decrypts to nothing. Whoever has the key can send both. Both show before decryption, by version and length.
//
// On streams it bounds what a host without the key can make us hold: how much one may announce, and how many there
// may be at a time.
type guard struct {
	memberlist.NodeAwareTransport
	packets chan *memberlist.Packet
	streams chan net.Conn
	open    atomic.Int32
	ears    ears
	refused func(what string)
	done    chan struct{}
	stop    sync.Once
	pumps   sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*guard)(nil)

const (
	// encryptMsg marks an encrypted message on a stream, and is followed by its length (4 bytes).
	encryptMsg = 10
	// encryptionVersion is the only one spoken here: AES-GCM without padding.
	encryptionVersion = 1
	// encryptionOverhead of version 1: the version, a nonce of 12 bytes, a tag of 16.
	encryptionOverhead = 29

	// maxStream is the longest encrypted message that is taken from a stream: the states of a thousand
	// nodes with a dozen links each.
	maxStream = 4 << 20
	// maxStreams is how many streams others may have open here at a time.
	maxStreams = 64
	// maxWrite is how long a peer may take for what is sent to it by a stream.
	maxWrite = 10 * time.Second
)

var errMalformed = errors.New("stream that does not begin like an encrypted message")

// newGuard wraps a transport. refused is told what was dropped, from any goroutine.
func newGuard(inner memberlist.NodeAwareTransport, refused func(what string)) *guard {
	g := &guard{
		NodeAwareTransport: inner,
		packets:            make(chan *memberlist.Packet),
		streams:            make(chan net.Conn),
		refused:            refused,
		done:               make(chan struct{}),
	}
	g.pumps.Go(g.pumpPackets)
	g.pumps.Go(g.pumpStreams)
	return g
}

// PacketCh implements memberlist.Transport.
func (g *guard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh implements memberlist.Transport.
func (g *guard) StreamCh() <-chan net.Conn { return g.streams }

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (g *guard) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := g.NodeAwareTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	// memberlist bounds what it writes itself, but not the messages that it writes for its users. A peer that takes nothing would
	// have all that waits for it wait for ever.
	if err := conn.SetWriteDeadline(time.Now().Add(maxWrite)); err != nil {
		conn.Close()
		return nil, err
	}
	return &guardedConn{Conn: conn}, nil
}

// DialTimeout implements memberlist.Transport.
func (g *guard) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// Shutdown implements memberlist.Transport. The pumps run on until the inner transport has stopped.
func (g *guard) Shutdown() error {
	var err error
	g.stop.Do(func() {
		err = g.NodeAwareTransport.Shutdown()
		close(g.done)
		g.pumps.Wait()
	})
	return err
}

func (g *guard) pumpPackets() {
	for {
		select {
		case p := <-g.NodeAwareTransport.PacketCh():
			if !wellFormed(p.Buf) {
				g.refused("packet")
				continue
			}
			g.ears.hear(p.From, p.Timestamp)
			select {
			case g.packets <- p:
			case <-g.done:
				return
			}
		case <-g.done:
			return
		}
	}
}

func (g *guard) pumpStreams() {
	for {
		select {
		case conn := <-g.NodeAwareTransport.StreamCh():
			if g.open.Load() >= maxStreams {
				g.refused("stream")
				conn.Close()
				continue
			}
			g.open.Add(1)
			c := &guardedConn{Conn: conn, closed: sync.OnceFunc(func() { g.open.Add(-1) })}
			select {
			case g.streams <- c:
			case <-g.done:
				c.Close()
				return
			}
		case <-g.done:
			return
		}
	}
}

// wellFormed reports whether an encrypted message is of our version and not empty inside.
func wellFormed(encrypted []byte) bool {
	return len(encrypted) > encryptionOverhead && encrypted[0] == encryptionVersion
}

// guardedConn gives its reader nothing that does not begin like an encrypted message of acceptable length.
type guardedConn struct {
	net.Conn
	closed func() // nil for conns that we opened

	read int     // bytes given so far, while that matters
	head [6]byte // type, length, encryption version
	err  error
}

func (c *guardedConn) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(b)
	if c.read < len(c.head) {
		c.read += copy(c.head[c.read:], b[:n])
		if bad := c.check(); bad != nil {
			c.err = bad
			return 0, bad
		}
	}
	return n, err
}

// check judges as much of the head as has been read.
func (c *guardedConn) check() error {
	if c.read >= 1 && c.head[0] != encryptMsg {
		return errMalformed
	}
	if c.read >= 5 {
		if n := binary.BigEndian.Uint32(c.head[1:]); n <= encryptionOverhead || n > maxStream {
			return errMalformed
		}
	}
	if c.read >= 6 && c.head[5] != encryptionVersion {
		return errMalformed
	}
	return nil
}

func (c *guardedConn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}
