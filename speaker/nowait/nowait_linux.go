package nowait

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Send sends b by a socket that knows where to.
func Send(fd uintptr, b []byte) error { return send(fd, b, nil, 0) }

// SendTo sends b by a UDP socket; six is whether that is one for IPv6, which takes IPv4 addresses too. The address has no zone.
func SendTo(fd uintptr, six bool, b []byte, to netip.AddrPort) error {
	if six {
		a := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.Port))[:], to.Port())
		return send(fd, b, unsafe.Pointer(&a), unix.SizeofSockaddrInet6)
	}
	if !to.Addr().Unmap().Is4() {
		return unix.EAFNOSUPPORT
	}
	a := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().Unmap().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.Port))[:], to.Port())
	return send(fd, b, unsafe.Pointer(&a), unix.SizeofSockaddrInet4)
}

func send(fd uintptr, b []byte, to unsafe.Pointer, size uintptr) error {
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT,
			uintptr(to), size)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// ReceiveFrom takes a packet from a UDP socket.
func ReceiveFrom(fd uintptr, b []byte) (n int, from netip.AddrPort, err error) {
	var a unix.RawSockaddrAny
	for {
		size := uint32(unix.SizeofSockaddrAny)
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT,
			uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&size)))
		switch errno {
		case 0:
			return int(r), addrPort(&a), nil
		case unix.EINTR:
		default:
			return 0, netip.AddrPort{}, errno
		}
	}
}

// addrPort reads a socket address of IPv4 or IPv6. The zone of a link-local one is its interface's number.
func addrPort(a *unix.RawSockaddrAny) netip.AddrPort {
	switch a.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&in.Port))[:]))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(a))
		ip := netip.AddrFrom16(in.Addr)
		if in.Scope_id != 0 && ip.IsLinkLocalUnicast() {
			ip = ip.WithZone(strconv.FormatUint(uint64(in.Scope_id), 10))
		}
		return netip.AddrPortFrom(ip, binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&in.Port))[:]))
	}
	return netip.AddrPort{}
}

// Receive takes a message, and what the kernel says of it, from a socket.
func Receive(fd uintptr, b, control []byte) (n, controls int, err error) {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	for {
		m := unix.Msghdr{Iov: &v, Control: unsafe.SliceData(control)}
		m.SetIovlen(1)
		m.SetControllen(len(control))
		r, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m)), unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			return int(r), int(m.Controllen), nil
		case unix.EINTR:
		default:
			return 0, 0, errno
		}
	}
}

// SinceBoot is the time since the machine was started, during which it may have slept; 0 if the kernel does not know.
func SinceBoot() time.Duration {
	var t unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0
	}
	return time.Duration(t.Nano())
}
