package gossip

import (
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// sockets are a TCP and a UDP socket at one address. memberlist has such a transport too, which takes 64 KiB of memory for each
// packet that comes in, some megabytes a second, and reads addresses as text for each that goes out.
type sockets struct {
	at      netip.AddrPort
	logger  *log.Logger
	tcp     *net.TCPListener
	udp     *net.UDPConn
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	readers sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*sockets)(nil)

const (
	// maxDatagram is the longest packet that UDP can carry.
	maxDatagram = 1 << 16
	// receiveBuffer is asked for, so that a burst fits; the kernel grants as much of it as it may.
	receiveBuffer = 2 << 20
	// retryRead is the pause after a failed read or accept.
	retryRead = 20 * time.Millisecond
)

// listen opens the sockets that d asks for.
func listen(d Desired, logger *log.Logger) (memberlist.NodeAwareTransport, error) {
	s := &sockets{at: d.Listen, logger: logger, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{})}
	var err error
	if s.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(d.Listen)); err != nil {
		return nil, fmt.Errorf("listening on TCP: %w", err)
	}
	if s.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(d.Listen)); err != nil {
		s.tcp.Close()
		return nil, fmt.Errorf("listening on UDP: %w", err)
	}
	_ = s.udp.SetReadBuffer(receiveBuffer) // with less, more is lost in a burst
	s.readers.Go(s.readPackets)
	s.readers.Go(s.accept)
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

// WriteTo implements memberlist.Transport.
func (s *sockets) WriteTo(b []byte, to string) (time.Time, error) {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return time.Time{}, err
	}
	_, err = s.udp.WriteToUDPAddrPort(b, addr)
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (s *sockets) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return s.WriteTo(b, to.Addr)
}

// DialTimeout implements memberlist.Transport.
func (s *sockets) DialTimeout(to string, timeout time.Duration) (net.Conn, error) {
	return (&net.Dialer{Timeout: timeout}).Dial("tcp", to)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *sockets) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return s.DialTimeout(to.Addr, timeout)
}

// PacketCh implements memberlist.Transport.
func (s *sockets) PacketCh() <-chan *memberlist.Packet { return s.packets }

// StreamCh implements memberlist.Transport.
func (s *sockets) StreamCh() <-chan net.Conn { return s.streams }

// Shutdown implements memberlist.Transport, and is called once.
func (s *sockets) Shutdown() error {
	close(s.done)
	s.tcp.Close()
	s.udp.Close()
	s.readers.Wait()
	return nil
}

func (s *sockets) readPackets() {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(b)
		now := time.Now()
		if err != nil {
			if !s.goOn("reading a packet", err) {
				return
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		p := &memberlist.Packet{Buf: append([]byte(nil), b[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: now}
		select {
		case s.packets <- p:
		case <-s.done:
			return
		}
	}
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
