package gossip

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
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
//
// Messages of our own it does not pass through memberlist at all (seals.go).
type guard struct {
	wire
	seals   seals
	message func(b []byte, at time.Time)
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

// A wire carries packets and streams: sockets, or in tests a network in memory.
type wire interface {
	FinalAdvertiseAddr(ip string, port int) (net.IP, int, error)
	send(packet []byte, to netip.AddrPort) error
	// receive waits for a packet and puts it into b. It returns false when there will be no more. Only one goroutine calls it.
	receive(b []byte) (n int, from netip.AddrPort, at time.Time, ok bool)
	dial(to string, timeout time.Duration) (net.Conn, error)
	StreamCh() <-chan net.Conn
	Shutdown() error
}

const (
	// maxDatagram is the longest packet that UDP can carry.
	maxDatagram = 1 << 16
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

// newGuard stands guard over a wire. message is given the messages of our own that come as packets, and must not wait;
// refused is told what was dropped. Both are called from any goroutine.
func newGuard(inner wire, keys []Key, message func(b []byte, at time.Time), refused func(what string)) (*guard, error) {
	g := &guard{
		wire:    inner,
		message: message,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		refused: refused,
		done:    make(chan struct{}),
	}
	if err := g.seals.set(keys); err != nil {
		return nil, err
	}
	g.pumps.Go(g.pumpPackets)
	g.pumps.Go(g.pumpStreams)
	return g, nil
}

// tell sends a message of our own to some, as packets. What can't be sent is a loss as any other, which the sender has to reckon
// with.
func (g *guard) tell(message []byte, to ...netip.AddrPort) {
	if len(to) == 0 {
		return
	}
	packet := g.seals.seal(message)
	for _, at := range to {
		g.send(packet, at) //nolint:errcheck
	}
}

// WriteTo implements memberlist.Transport.
func (g *guard) WriteTo(b []byte, to string) (time.Time, error) {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return time.Time{}, err
	}
	return time.Now(), g.send(b, addr)
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (g *guard) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, to.Addr)
}

// PacketCh implements memberlist.Transport.
func (g *guard) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh implements memberlist.Transport.
func (g *guard) StreamCh() <-chan net.Conn { return g.streams }

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (g *guard) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := g.dial(a.Addr, timeout)
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

// Shutdown implements memberlist.Transport.
func (g *guard) Shutdown() error {
	var err error
	g.stop.Do(func() {
		err = g.wire.Shutdown()
		close(g.done)
		g.pumps.Wait()
	})
	return err
}

func (g *guard) pumpPackets() {
	b := make([]byte, maxDatagram)
	for {
		n, from, at, ok := g.receive(b)
		switch {
		case !ok:
			return
		case !wellFormed(b[:n]):
			g.refused("packet")
			continue
		}
		g.ears.hear(from.Addr(), at)
		if message, ours := g.seals.open(b[:n]); ours {
			g.message(message, at)
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), b[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: at}
		select {
		case g.packets <- p:
		case <-g.done:
			return
		}
	}
}

func (g *guard) pumpStreams() {
	for {
		select {
		case conn := <-g.wire.StreamCh():
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
