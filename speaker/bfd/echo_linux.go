package bfd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The echo function (RFC 5880 section 6.4, RFC 5881 section 4): a packet from
// our address to our address is handed to the router, which forwards it back.
// The router's BFD has no part in that.
//
// It leaves by a raw socket that is told to send to the router, whatever the
// header says: so the kernel itself knows the router's MAC. What returns has our
// own address for its source, which the kernel drops as a martian before any
// UDP socket sees it: a packet socket does.

const (
	echoHeaders = 20 + 8
	// echoPayload is our discriminator, the echo's number, and a cookie.
	echoPayload = 16
)

// An echoSender sends a session's echo packets.
type echoSender struct {
	fd     int
	to     unix.SockaddrInet4
	packet [echoHeaders + echoPayload]byte
	tap    *tap
	// returns says that this node's kernel forwards, and so returns the router's
	// echo packets.
	returns bool
}

func newEchoSender(path Path, local netip.Addr, t *tap) (*echoSender, error) {
	// IPPROTO_RAW: we write the IP header.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if path.Interface != "" {
		if err := unix.BindToDevice(fd, path.Interface); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	e := &echoSender{fd: fd, to: unix.SockaddrInet4{Addr: path.Peer.As4()}, tap: t, returns: forwards(t.name)}
	p, ip := e.packet[:], local.As4()
	// The kernel fills in length, identification and checksum.
	p[0], p[1], p[8], p[9] = 0x45, dscp, ttl, unix.IPPROTO_UDP
	copy(p[12:], ip[:])
	copy(p[16:], ip[:])
	udp := p[20:]
	binary.BigEndian.PutUint16(udp, firstPort)
	binary.BigEndian.PutUint16(udp[2:], echoPort)
	binary.BigEndian.PutUint16(udp[4:], 8+echoPayload)
	// A UDP checksum of 0 is none.
	return e, nil
}

func (e *echoSender) send(discriminator, number uint32) error {
	payload := e.packet[echoHeaders:]
	binary.BigEndian.PutUint32(payload, discriminator)
	binary.BigEndian.PutUint32(payload[4:], number)
	binary.BigEndian.PutUint64(payload[8:], e.tap.cookie)
	return unix.Sendto(e.fd, e.packet[:], 0, &e.to)
}

func (e *echoSender) close() { unix.Close(e.fd) }

// A tap sees the echo packets that return on an interface.
type tap struct {
	fd     int
	index  int
	name   string
	cookie uint64
	buffer [echoHeaders + echoPayload + 64]byte
	// returned is told of each.
	returned func(discriminator, number uint32)
}

func newTap(index int, name string, returned func(discriminator, number uint32)) (*tap, error) {
	// With protocol 0 nothing arrives before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	t := &tap{fd: fd, index: index, name: name, cookie: random(), returned: returned}
	if err := t.listen(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return t, nil
}

func (t *tap) listen() error {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 4},
		bpf.LoadMemShift{Off: 0}, // the header's length
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: echoPort, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return fmt.Errorf("assembling filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	if err := unix.SetsockoptSockFprog(t.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
	}
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_IP))
	return os.NewSyscallError("bind", unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: t.index}))
}

// read takes what has returned. It reads a bounded number of packets; epoll
// calls again where there are more.
func (t *tap) read() {
	for range lastLook {
		n, err := unix.Read(t.fd, t.buffer[:])
		if err != nil {
			return
		}
		b := t.buffer[:n]
		if n < echoHeaders+echoPayload || b[0] != 0x45 {
			continue
		}
		payload := b[echoHeaders:]
		if binary.BigEndian.Uint64(payload[8:]) == t.cookie {
			t.returned(binary.BigEndian.Uint32(payload), binary.BigEndian.Uint32(payload[4:]))
		}
	}
}

// forwards reports whether the kernel forwards what comes in on an interface.
func forwards(name string) bool {
	b, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", name, "forwarding"))
	return err == nil && bytes.Equal(bytes.TrimSpace(b), []byte("1"))
}

// openEcho makes what a line's echo function needs, or takes it away.
func (l *loop) openEcho(line *line) {
	want := line.profile.EchoInterval > 0 && line.path.Peer.Is4() && !line.path.Multihop && line.sockets.isOpen()
	if want == (line.echo != nil) {
		return
	}
	if !want {
		line.closeEcho()
		l.sweepTaps()
	} else if err := l.makeEcho(line); err != nil {
		line.problem = fmt.Errorf("the echo function can't be used: %w", err)
	}
	line.parameterize()
}

func (l *loop) makeEcho(line *line) error {
	i, err := interfaceOf(line.path, line.sockets.local)
	if err != nil {
		return err
	}
	t := l.taps[i.Index]
	if t == nil {
		if t, err = newTap(i.Index, i.Name, l.echoReturned); err != nil {
			return err
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i.Index), Pad: eventTap}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, t.fd, &event); err != nil {
			unix.Close(t.fd)
			return os.NewSyscallError("epoll_ctl", err)
		}
		l.taps[i.Index] = t
	}
	line.echo, err = newEchoSender(line.path, line.sockets.local, t)
	return err
}

func (l *loop) echoReturned(discriminator, number uint32) {
	for _, line := range l.lines {
		if line.session.Discriminator() == discriminator && line.session.EchoReceived(number) {
			line.counters.echoesReceived.Add(1)
		}
	}
}

// sweepTaps closes those that no line needs.
func (l *loop) sweepTaps() {
	for index, t := range l.taps {
		needed := false
		for _, line := range l.lines {
			needed = needed || line.echo != nil && line.echo.tap == t
		}
		if !needed {
			unix.Close(t.fd)
			delete(l.taps, index)
		}
	}
}

func (l *line) closeEcho() {
	if l.echo != nil {
		l.echo.close()
		l.echo = nil
	}
}

func (l *line) closeSockets() {
	l.sockets.close()
	l.closeEcho()
}

// interfaceOf is the one that a path's packets come and go by.
func interfaceOf(path Path, local netip.Addr) (*net.Interface, error) {
	if path.Interface != "" {
		return net.InterfaceByName(path.Interface)
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(local.AsSlice()) {
				return &i, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface has the address %s", local)
}
