package gossip

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/nowait"
)

// datagrams send and receive by a UDP socket, with little ado: heartbeats are most of what makes a speaker wake up.
type datagrams struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	six  bool // the socket is one for IPv6
}

func newDatagrams(c *net.UDPConn) (*datagrams, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	domain := 0
	if cerr := raw.Control(func(fd uintptr) { domain, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN) }); cerr != nil {
		return nil, cerr
	}
	return &datagrams{conn: c, raw: raw, six: domain == unix.AF_INET6}, err
}

func (d *datagrams) send(packet []byte, to netip.AddrPort) error {
	err := error(unix.EAGAIN)
	if to.Addr().Zone() == "" {
		if cerr := d.raw.Control(func(fd uintptr) { err = nowait.SendTo(fd, d.six, packet, to) }); cerr != nil {
			return cerr
		}
	}
	if errors.Is(err, unix.EAGAIN) { // one that may wait
		_, err = d.conn.WriteToUDPAddrPort(packet, to)
	}
	return err
}

func (d *datagrams) receive(b []byte) (n int, from netip.AddrPort, err error) {
	// The function that Read is given returns false to wait for more.
	if cerr := d.raw.Read(func(fd uintptr) bool {
		n, from, err = nowait.ReceiveFrom(fd, b)
		return !errors.Is(err, unix.EAGAIN)
	}); cerr != nil {
		return 0, netip.AddrPort{}, cerr
	}
	return n, from, err
}
