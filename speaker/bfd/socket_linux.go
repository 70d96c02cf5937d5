package bfd

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// firstPort and lastPort are where packets may come from: "the source port
	// MUST be in the range 49152 through 65535" (RFC 5881 section 4).
	firstPort = 49152
	lastPort  = 65535
	// ttl is that of everything we send (RFC 5881 section 5).
	ttl = 255
	// dscp is CS6, network control; sendPriority the highest that needs no
	// capability.
	dscp         = 0xc0
	sendPriority = 6
)

// sockets are those of one path. Both are connected, so the kernel keeps apart
// what is whose: a packet from somebody else finds no socket, and a flood from one
// peer fills that peer's queue alone.
type sockets struct {
	// rx receives at the well-known port, from any port of the peer.
	rx int
	// tx sends from a port that is this session's alone.
	tx    int
	port  int
	local netip.Addr
	// index is the interface's that the path names, 0 where it names none.
	index int
}

// open makes the sockets of a path; port is the one to send from if it is
// free.
func open(path Path, port int) (s sockets, err error) {
	s = sockets{rx: -1, tx: -1, port: port, local: path.Local}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.index, err = indexOf(path); err != nil {
		return s, err
	}
	if s.tx, err = udp(path); err != nil {
		return s, err
	}
	if port, err = bindSource(s.tx, path, port); err != nil {
		return s, err
	}
	s.port = port
	if err = connect(s.tx, path, path.port()); err != nil {
		return s, err
	}
	if s.local, err = localAddress(s.tx); err != nil {
		return s, err
	}
	if s.rx, err = udp(path); err != nil {
		return s, err
	}
	// Sessions with other peers have the same address and port, as another BFD
	// daemon's may.
	if err = set(s.rx, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return s, err
	}
	for _, o := range [][2]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}, receiveTTL(path)} {
		if err = set(s.rx, o[0], o[1], 1); err != nil {
			return s, err
		}
	}
	from := path
	from.Local = s.local
	if err = bind(s.rx, from, path.port()); err != nil {
		return s, err
	}
	// Port 0 leaves the peer's port open.
	return s, connect(s.rx, path, 0)
}

func (s *sockets) close() {
	for _, fd := range []*int{&s.rx, &s.tx} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

func (s *sockets) isOpen() bool { return s.rx >= 0 }

// send returns the kernel's word for what did not work.
func (s *sockets) send(b []byte) error {
	_, err := unix.Write(s.tx, b)
	return err
}

func udp(path Path) (int, error) {
	family := unix.AF_INET
	if path.Peer.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	options := [][3]int{
		{unix.IPPROTO_IP, unix.IP_TTL, ttl}, {unix.IPPROTO_IP, unix.IP_TOS, dscp},
		{unix.SOL_SOCKET, unix.SO_PRIORITY, sendPriority},
	}
	if family == unix.AF_INET6 {
		options = [][3]int{
			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl}, {unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp},
			{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}, {unix.SOL_SOCKET, unix.SO_PRIORITY, sendPriority},
		}
	}
	for _, o := range options {
		if err := set(fd, o[0], o[1], o[2]); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	if path.Interface != "" {
		if err := unix.BindToDevice(fd, path.Interface); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	return fd, nil
}

func receiveTTL(path Path) [2]int {
	if path.Peer.Is6() {
		return [2]int{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT}
	}
	return [2]int{unix.IPPROTO_IP, unix.IP_RECVTTL}
}

func set(fd, level, option, value int) error {
	if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
		return fmt.Errorf("setting socket option %d/%d: %w", level, option, err)
	}
	return nil
}

// bindSource binds to a port of the range that no other socket has.
func bindSource(fd int, path Path, port int) (int, error) {
	const ports = lastPort - firstPort + 1
	for i := range ports {
		try := firstPort + (port-firstPort+i)%ports
		switch err := bind(fd, path, try); err {
		case nil:
			return try, nil
		case unix.EADDRINUSE:
		default:
			return 0, err
		}
	}
	return 0, unix.EADDRINUSE
}

func bind(fd int, path Path, port int) error {
	sa, err := address(path, path.Local, port)
	if err != nil {
		return err
	}
	return unix.Bind(fd, sa)
}

func connect(fd int, path Path, port int) error {
	sa, err := address(path, path.Peer, port)
	if err != nil {
		return err
	}
	return unix.Connect(fd, sa)
}

func address(path Path, ip netip.Addr, port int) (unix.Sockaddr, error) {
	if path.Peer.Is4() {
		sa := &unix.SockaddrInet4{Port: port}
		if ip.IsValid() {
			sa.Addr = ip.As4()
		}
		return sa, nil
	}
	sa := &unix.SockaddrInet6{Port: port}
	if ip.IsValid() {
		sa.Addr = ip.As16()
	}
	if ip.IsLinkLocalUnicast() {
		index, err := indexOf(path)
		if err != nil {
			return nil, err
		}
		sa.ZoneId = uint32(index)
	}
	return sa, nil
}

func localAddress(fd int) (netip.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr), nil
	}
	return netip.Addr{}, unix.EAFNOSUPPORT
}

// indexOf is the index of the interface that a path names.
func indexOf(path Path) (int, error) {
	if path.Interface == "" {
		return 0, nil
	}
	i, err := net.InterfaceByName(path.Interface)
	if err != nil {
		return 0, unix.ENODEV
	}
	return i.Index, nil
}

// chosen is the local address that the node's routes choose for a path now.
func chosen(path Path) (netip.Addr, error) {
	fd, err := udp(path)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	if err := connect(fd, path, path.port()); err != nil {
		return netip.Addr{}, err
	}
	return localAddress(fd)
}

const (
	batchSize = 16
	// payloadSize is more than any packet that is understood.
	payloadSize = 128
	controlSize = 128
)

// batch is room for several packets, for which the kernel is asked at once.
type batch struct {
	headers [batchSize]mmsghdr
	vectors [batchSize]unix.Iovec
	data    [batchSize][payloadSize]byte
	control [batchSize][controlSize]byte
}

// mmsghdr is the kernel's struct mmsghdr; Go pads it as C does.
type mmsghdr struct {
	header unix.Msghdr
	length uint32
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.headers {
		b.vectors[i].Base = &b.data[i][0]
		b.vectors[i].SetLen(payloadSize)
		h := &b.headers[i].header
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		h.Control = &b.control[i][0]
	}
	return b
}

// receive reads what is in a socket's queue, as far as there is room. Less than
// batchSize packets mean that the queue is empty.
func (b *batch) receive(fd int) int {
	for i := range b.headers {
		b.headers[i].header.SetControllen(controlSize)
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.EINTR:
		default:
			// EAGAIN, or an error that was waiting for somebody to look.
			return 0
		}
	}
}

// datagram is a packet as the kernel handed it over.
type datagram struct {
	payload []byte
	ttl     int
	// seconds and nanoseconds are when the kernel took it in, by the clock on the
	// wall; 0 where it does not say.
	seconds, nanoseconds int64
}

func (b *batch) datagram(i int) datagram {
	h := &b.headers[i]
	d := datagram{payload: b.data[i][:min(h.length, payloadSize)]}
	control := b.control[i][:min(uint64(h.header.Controllen), controlSize)]
	for len(control) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(c.Len)
		if size < unix.SizeofCmsghdr || size > len(control) {
			break
		}
		value := control[unix.SizeofCmsghdr:size]
		switch {
		case c.Level == unix.SOL_SOCKET && c.Type == unix.SO_TIMESTAMPNS && len(value) >= 16:
			d.seconds = int64(binary.NativeEndian.Uint64(value))
			d.nanoseconds = int64(binary.NativeEndian.Uint64(value[8:]))
		case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_TTL && len(value) >= 4,
			c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_HOPLIMIT && len(value) >= 4:
			d.ttl = int(int32(binary.NativeEndian.Uint32(value)))
		}
		control = control[min(unix.CmsgSpace(len(value)), len(control)):]
	}
	return d
}
