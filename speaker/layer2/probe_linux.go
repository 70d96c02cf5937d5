package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/nowait"
)

// A probeSocket is a packet socket for neighbours, or a raw socket for echo: there the
// kernel finds the way, and its own cache of neighbours is part of what is asked.
type probeSocket struct {
	raw  syscall.RawConn
	conn interface {
		SetReadDeadline(time.Time) error
		Close() error
	}
	index   int  // of the interface
	routed  bool // Send needs the address
	buffer  []byte
	control []byte
}

func openProbePort(method Method, link Link, family Family) (probePort, error) {
	s := &probeSocket{index: link.Index, buffer: make([]byte, maxFrame), control: make([]byte, controlLen)}
	var err error
	if method == ProbeNeighbor {
		err = s.openNeighbor(link, family)
	} else {
		err = s.openEcho(link, family)
	}
	if err != nil {
		return nil, explain(err)
	}
	return s, nil
}

// answerFilter passes what answers to this host may be: ARP replies, or Neighbor
// Advertisements. What others announce to all is no answer, and with thousands of addresses that are refreshed there is much of that.
func answerFilter(f Family) []bpf.Instruction {
	offset, value := uint32(arpOperation), uint32(2)
	if f == IPv6 {
		offset, value = icmpv6Type, 136<<8
	}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: packetMulticast, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: offset, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	switch f {
	case IPv4:
		program = append(program,
			bpf.LoadAbsolute{Off: arpSenderAddress, Size: 4},
			bpf.TAX{},
			bpf.LoadAbsolute{Off: arpTargetAddress, Size: 4},
			bpf.JumpIfX{Cond: bpf.JumpNotEqual, SkipTrue: 1},
			bpf.RetConstant{Val: 0})
	case IPv6:
		program = append(program,
			bpf.LoadAbsolute{Off: ipv6NextHeader, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolICMPv6<<8 | 255, SkipTrue: 1},
			bpf.RetConstant{Val: 0},
			bpf.LoadAbsolute{Off: naFlags, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: naSolicited, SkipTrue: 1},
			bpf.RetConstant{Val: 0})
	}
	return append(program, bpf.RetConstant{Val: maxFrame})
}

func (s *probeSocket) openNeighbor(link Link, family Family) error {
	filter, err := bpf.Assemble(answerFilter(family))
	if err != nil {
		return fmt.Errorf("assembling filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: link.Index, Name: link.Name}, packet.Raw, etherTypes[family],
		&packet.Config{Filter: filter})
	if err != nil {
		return err
	}
	s.conn = conn
	if s.raw, err = conn.SyscallConn(); err != nil {
		return errors.Join(err, conn.Close())
	}
	return s.set(func(fd int) error { return stamped(fd) })
}

func (s *probeSocket) openEcho(link Link, family Family) error {
	s.routed = true
	domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if family == IPv6 {
		domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "icmp")
	s.conn = f
	if s.raw, err = f.SyscallConn(); err != nil {
		return errors.Join(err, f.Close())
	}
	return s.set(func(fd int) error {
		if link.Name != "" {
			if err := unix.BindToDevice(fd, link.Name); err != nil {
				return os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
			}
		}
		return errors.Join(stamped(fd), passEchoReplies(fd, family))
	})
}

// passEchoReplies has the kernel keep all other ICMP from the socket.
func passEchoReplies(fd int, family Family) error {
	if family == IPv6 {
		var blocked unix.ICMPv6Filter
		for i := range blocked.Data {
			blocked.Data[i] = ^uint32(0)
		}
		reply := uint32(ipv6.ICMPTypeEchoReply)
		blocked.Data[reply/32] &^= 1 << (reply % 32)
		return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &blocked)
	}
	const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << uint(ipv4.ICMPTypeEchoReply)))
}

// set applies settings to the socket, and closes it when one is refused.
func (s *probeSocket) set(settings func(fd int) error) error {
	var err error
	if cerr := s.raw.Control(func(fd uintptr) { err = settings(int(fd)) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		s.conn.Close()
	}
	return err
}

func (s *probeSocket) Send(message []byte, to netip.Addr) error {
	var err error
	cerr := s.raw.Control(func(fd uintptr) {
		if s.routed {
			err = unix.Sendto(int(fd), message, unix.MSG_DONTWAIT, sockaddr(netip.AddrPortFrom(to, 0), s.index))
		} else {
			err = nowait.Send(fd, message)
		}
	})
	return errors.Join(cerr, err)
}

// sockaddr converts an address; the zone of link-local ones is the interface.
func sockaddr(a netip.AddrPort, index int) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	s := &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if a.Addr().IsLinkLocalUnicast() {
		s.ZoneId = uint32(index)
	}
	return s
}

func (s *probeSocket) Receive(take func(message []byte, at time.Time)) error {
	var err error
	cerr := s.raw.Control(func(fd uintptr) {
		// Not for ever: who calls has other things to do.
		for range maxAsked {
			var n int
			var at time.Time
			switch n, at, err = receive(int(fd), s.buffer, s.control); {
			case err == nil:
				take(s.buffer[:n], at)
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				err = nil
				return
			default:
				return
			}
		}
	})
	return errors.Join(cerr, err)
}

func (s *probeSocket) Wait(ready func() bool) { waitReadable(s.raw, ready) }

// waitReadable calls ready whenever there may be something to read, until it says false or
// the socket is closed.
func waitReadable(raw syscall.RawConn, ready func() bool) {
	// The function that Read is given returns false to wait for more.
	_ = raw.Read(func(uintptr) bool { return !ready() })
}

func (s *probeSocket) Stop()        { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) }
func (s *probeSocket) Close() error { return s.conn.Close() }

// A connecting is a TCP connection that is being opened.
type connecting struct {
	file *os.File
	raw  syscall.RawConn

	// To read a socket's error is to clear it, and who reads again would take the failure for success.
	mu   sync.Mutex
	over bool
	err  error
}

// connectPort is a [connectFunc].
func connectPort(link Link, to netip.AddrPort) (attempt, error) {
	domain := unix.AF_INET
	if to.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c, err := beginConnect(fd, link, to)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return c, nil
}

func beginConnect(fd int, link Link, to netip.AddrPort) (*connecting, error) {
	if link.Name != "" {
		if err := unix.BindToDevice(fd, link.Name); err != nil {
			return nil, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	// Whatever comes of connecting is an error of the socket, for Done to read; refused at
	// once, by a port of this very node, is too.
	err := unix.Connect(fd, sockaddr(to, link.Index))
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, os.NewSyscallError("connect", err)
	}
	f := os.NewFile(uintptr(fd), "tcp")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &connecting{file: f, raw: raw}, nil
}

func (c *connecting) Done() (error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return c.err, true
	}
	var err error
	done := false
	cerr := c.raw.Control(func(fd uintptr) {
		// A signal may come in between, and the runtime sends them often: what was not read is no news.
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, perr := unix.Poll(polled, 0)
		for errors.Is(perr, unix.EINTR) {
			n, perr = unix.Poll(polled, 0)
		}
		if n < 1 {
			return
		}
		done = true
		var code int
		if code, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
			err = syscall.Errno(code)
		}
	})
	c.over, c.err = done || cerr != nil, errors.Join(cerr, err)
	return c.err, c.over
}

func (c *connecting) Wait(ready func()) {
	// The function that Write is given is called at once, and again when there is news.
	_ = c.raw.Write(func(uintptr) bool {
		ready()
		_, done := c.Done()
		return done
	})
}

func (c *connecting) Stop()        { _ = c.file.SetWriteDeadline(time.Unix(1, 0)) }
func (c *connecting) Close() error { return c.file.Close() }
