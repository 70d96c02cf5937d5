package gossip

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"
)

// sockets are a TCP and a UDP socket at one address. memberlist has such a transport too, which takes 64 KiB of memory for each
// packet that comes in, some megabytes a second, and reads addresses as text for each that goes out.
type sockets struct {
	at      netip.AddrPort
	logger  *log.Logger
	tcp     *net.TCPListener
	udp     *net.UDPConn
	packets *datagrams // by udp
	streams chan net.Conn
	done    chan struct{}
	accepts sync.WaitGroup
}

var _ wire = (*sockets)(nil)

const (
	// receiveBuffer is asked for, so that a burst fits; the kernel grants as much of it as it may.
	receiveBuffer = 2 << 20
	// retryRead is the pause after a failed read or accept.
	retryRead = 20 * time.Millisecond
)

// listen opens the sockets that d asks for.
func listen(d Desired, logger *log.Logger) (wire, error) {
	s := &sockets{at: d.Listen, logger: logger, streams: make(chan net.Conn), done: make(chan struct{})}
	var err error
	if s.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(d.Listen)); err != nil {
		return nil, fmt.Errorf("listening on TCP: %w", err)
	}
	if s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(d.Listen)); err != nil {
		s.tcp.Close()
		return nil, fmt.Errorf("listening on UDP: %w", err)
	}
	_ = s.udp.SetReadBuffer(receiveBuffer) // with less, more is lost in a burst
	if s.packets, err = newDatagrams(s.udp); err != nil {
		return nil, fmt.Errorf("listening on UDP: %w", errors.Join(err, s.tcp.Close(), s.udp.Close()))
	}
	s.accepts.Go(s.accept)
	return s, nil
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (s *sockets) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return s.at.Addr().AsSlice(), int(s.at.Port()), nil
	}
	a, err := netip.ParseAddr(ip)
	return a.AsSlice(), port, err
}

func (s *sockets) send(packet []byte, to netip.AddrPort) error { return s.packets.send(packet, to) }

func (s *sockets) receive(b []byte) (n int, from netip.AddrPort, at time.Time, ok bool) {
	for {
		n, from, err := s.packets.receive(b)
		if err == nil {
			return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now(), true
		}
		if !s.goOn("reading a packet", err) {
			return 0, netip.AddrPort{}, time.Time{}, false
		}
	}
}

func (s *sockets) dial(to string, timeout time.Duration) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout}).Dial("tcp", to)
}

// StreamCh implements memberlist.Transport.
func (s *sockets) StreamCh() <-chan net.Conn { return s.streams }

// Shutdown implements memberlist.Transport, and is called once.
func (s *sockets) Shutdown() error {
	close(s.done)
	s.tcp.Close()
	s.udp.Close()
	s.accepts.Wait()
	return nil
}

func (s *sockets) accept() {
	for {
		conn, err := s.tcp.AcceptTCP()
		if err != nil {
			if !s.goOn("accepting a connection", err) {
				return
			}
			continue
		}
		select {
		case s.streams <- conn:
		case <-s.done:
			conn.Close()
			return
		}
	}
}

// goOn waits for a moment after an error, and reports whether to try again.
func (s *sockets) goOn(doing string, err error) bool {
	select {
	case <-s.done:
		return false
	default:
	}
	s.logger.Printf("[ERR] %s: %v", doing, err)
	select {
	case <-s.done:
		return false
	case <-time.After(retryRead):
		return true
	}
}
