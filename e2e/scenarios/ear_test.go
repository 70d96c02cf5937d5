package scenarios

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab"
)

// An ear is on the client's link and hears who says to have which address, asked or not.
type ear struct {
	conn *packet.Conn
	done chan struct{}

	mu     sync.Mutex
	said   map[netip.Addr][]saying
	frames map[netip.Addr]int
	direct map[netip.Addr][]string // MACs from which requests came that were sent to one host alone, by the address that asked
}

// A saying is when a MAC was heard to have an address for the first time since another one was.
type saying struct {
	mac string
	at  time.Time
}

func listen(l *lab.Lab) (*ear, error) {
	e := &ear{done: make(chan struct{}), said: map[netip.Addr][]saying{}, frames: map[netip.Addr]int{}, direct: map[netip.Addr][]string{}}
	err := l.Client().Machine().InNetwork(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		e.conn, err = packet.Listen(link, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := e.conn.SyscallConn()
	if err == nil {
		// Thousands of frames may come while this process waits for a core.
		err = raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) })
	}
	if err != nil {
		e.conn.Close()
		return nil, err
	}
	go e.hear()
	return e, nil
}

func (e *ear) close() {
	e.conn.Close()
	<-e.done
}

func (e *ear) hear() {
	defer close(e.done)
	frame := make([]byte, 1514)
	for {
		n, _, err := e.conn.ReadFrom(frame)
		if err != nil {
			return
		}
		if address, ok := claimed(frame[:n]); ok {
			e.note(address, frame[:n], time.Now())
		}
	}
}

func (e *ear) note(a netip.Addr, frame []byte, at time.Time) {
	const group, etherType, request = 1, 12, 20
	mac := net.HardwareAddr(frame[6:12]).String()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frames[a]++
	if frame[0]&group == 0 && frame[etherType] == 8 && frame[etherType+1] == 6 && frame[request+1] == 1 {
		e.direct[a] = append(e.direct[a], mac)
	}
	if s := e.said[a]; len(s) == 0 || s[len(s)-1].mac != mac {
		e.said[a] = append(s, saying{mac, at})
	}
}

// claimed returns the address that the sender of a frame says to have, in ARP or in a neighbour advertisement.
func claimed(frame []byte) (netip.Addr, bool) {
	const (
		etherType                = 12
		arpSender                = 28
		ipv6Next, icmpv6, target = 20, 54, 62
	)
	if len(frame) < 42 {
		return netip.Addr{}, false
	}
	switch uint16(frame[etherType])<<8 | uint16(frame[etherType+1]) {
	case unix.ETH_P_ARP:
		a := netip.AddrFrom4([4]byte(frame[arpSender : arpSender+4]))
		return a, !a.IsUnspecified()
	case unix.ETH_P_IPV6:
		const advertisement = 136
		if len(frame) < target+16 || frame[ipv6Next] != unix.IPPROTO_ICMPV6 || frame[icmpv6] != advertisement {
			return netip.Addr{}, false
		}
		return netip.AddrFrom16([16]byte(frame[target : target+16])), true
	}
	return netip.Addr{}, false
}

// last returns who was heard last to have each address.
func (e *ear) last() map[netip.Addr]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[netip.Addr]string, len(e.said))
	for a, s := range e.said {
		out[a] = s[len(s)-1].mac
	}
	return out
}

// count returns in how many frames somebody said to have an address.
func (e *ear) count(a netip.Addr) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.frames[a]
}

// toldDirectly reports whether a host with another MAC has asked in the address' name, and asked one host alone.
func (e *ear) toldDirectly(a netip.Addr, but string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.direct[a], func(mac string) bool { return mac != but })
}

// saidAfter reports whether mac was heard to have an address after another one was.
func (e *ear) saidAfter(a netip.Addr, mac, other string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.said[a], func(s saying) bool { return s.mac == other })
	return i >= 0 && slices.ContainsFunc(e.said[a][i:], func(s saying) bool { return s.mac == mac })
}

// firstOfOthers returns when somebody with another MAC was first heard to have an address, since then.
func (e *ear) firstOfOthers(a netip.Addr, mac string, since time.Time) (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.said[a] {
		if s.mac != mac && s.at.After(since) {
			return s.at, true
		}
	}
	return time.Time{}, false
}
