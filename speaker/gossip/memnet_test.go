package gossip

import (
	"errors"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// memnet is a network in memory, for use inside synctest bubbles: packets take a moment, can be lost, and go nowhere
// from or to hosts that are cut off.
type memnet struct {
	latency time.Duration
	loss    float64

	mu    sync.Mutex
	hosts map[netip.AddrPort]*memhost
	cut   map[netip.Addr]bool
	// group of each host, 0 unless set: hosts of different groups do not hear each other.
	group map[netip.Addr]int
	sent  int // packets
}

func newMemnet() *memnet {
	return &memnet{latency: 200 * time.Microsecond, hosts: map[netip.AddrPort]*memhost{},
		cut: map[netip.Addr]bool{}, group: map[netip.Addr]int{}}
}

func (n *memnet) setCut(a netip.Addr, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[a] = cut
}

func (n *memnet) setGroup(a netip.Addr, group int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group[a] = group
}

func (n *memnet) listen(d Desired, _ *log.Logger) (wire, error) {
	h := &memhost{net: n, addr: d.Listen, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), down: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[d.Listen] != nil {
		return nil, errors.New("address already in use")
	}
	n.hosts[d.Listen] = h
	return h, nil
}

// route returns the host at to, if from can reach it.
func (n *memnet) route(from netip.Addr, to string) *memhost {
	addr, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[from] || n.cut[addr.Addr()] || n.group[from] != n.group[addr.Addr()] {
		return nil
	}
	return n.hosts[addr]
}

type memhost struct {
	net     *memnet
	addr    netip.AddrPort
	packets chan *memberlist.Packet
	streams chan net.Conn
	down    chan struct{}
}

var errUnreachable = errors.New("no answer")

func (h *memhost) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return h.addr.Addr().AsSlice(), int(h.addr.Port()), nil
}

func (h *memhost) send(b []byte, to netip.AddrPort) error {
	_, err := h.WriteTo(b, to.String())
	return err
}

func (h *memhost) receive(b []byte) (n int, from netip.AddrPort, at time.Time, ok bool) {
	select {
	case p := <-h.packets:
		return copy(b, p.Buf), p.From.(*net.UDPAddr).AddrPort(), p.Timestamp, true
	case <-h.down:
		return 0, netip.AddrPort{}, time.Time{}, false
	}
}

func (h *memhost) dial(to string, timeout time.Duration) (net.Conn, error) {
	return h.DialTimeout(to, timeout)
}

func (h *memhost) WriteTo(b []byte, to string) (time.Time, error) {
	h.net.mu.Lock()
	h.net.sent++
	lost := rand.Float64() < h.net.loss
	h.net.mu.Unlock()
	if peer := h.net.route(h.addr.Addr(), to); peer != nil && !lost {
		p := &memberlist.Packet{Buf: append([]byte(nil), b...), From: net.UDPAddrFromAddrPort(h.addr)}
		time.AfterFunc(h.net.latency, func() {
			p.Timestamp = time.Now()
			select {
			case peer.packets <- p:
			case <-peer.down:
			}
		})
	}
	return time.Now(), nil
}

func (h *memhost) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return h.WriteTo(b, a.Addr)
}

func (h *memhost) DialTimeout(to string, timeout time.Duration) (net.Conn, error) {
	peer := h.net.route(h.addr.Addr(), to)
	if peer == nil {
		time.Sleep(timeout)
		return nil, errUnreachable
	}
	time.Sleep(h.net.latency)
	ours, theirs := net.Pipe()
	select {
	case peer.streams <- theirs:
		return ours, nil
	case <-peer.down:
		return nil, errUnreachable
	case <-time.After(timeout):
		return nil, errUnreachable
	}
}

func (h *memhost) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return h.DialTimeout(a.Addr, timeout)
}

func (h *memhost) PacketCh() <-chan *memberlist.Packet                    { return h.packets }
func (h *memhost) StreamCh() <-chan net.Conn                              { return h.streams }
func (h *memhost) IngestPacket(net.Conn, net.Addr, time.Time, bool) error { return errUnreachable }
func (h *memhost) IngestStream(net.Conn) error                            { return errUnreachable }

func (h *memhost) Shutdown() error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	delete(h.net.hosts, h.addr)
	close(h.down)
	return nil
}

func (n *memnet) packets() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent
}
