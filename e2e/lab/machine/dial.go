package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects from within the machine. The network is tcp or udp, the address
// numeric. Only the first system calls are made in the machine's network, so
// that a connection that takes its time keeps no thread there.
func (m Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, fmt.Errorf("dial %s %s from %s: %w", network, address, m.Name, err)
	}
	kind, ok := map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM}[network]
	if !ok {
		return fail(net.UnknownNetworkError(network))
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(err)
	}
	var socket *os.File
	if err := m.InNetwork(func() (err error) { socket, err = connect(kind, target); return err }); err != nil {
		return fail(err)
	}
	defer socket.Close()
	if err := established(ctx, socket); err != nil {
		return fail(err)
	}
	conn, err := net.FileConn(socket)
	if err != nil {
		return fail(err)
	}
	return conn, nil
}

// connect makes a socket and starts to connect it.
func connect(kind int, target netip.AddrPort) (*os.File, error) {
	family, address, err := sockaddr(target)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// sockaddr is the target as the system calls want it; its zone is an interface
// of the calling thread's network.
func sockaddr(target netip.AddrPort) (family int, address unix.Sockaddr, err error) {
	ip := target.Addr().Unmap()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(target.Port()), Addr: ip.As4()}, nil
	}
	six := &unix.SockaddrInet6{Port: int(target.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return 0, nil, fmt.Errorf("zone %s: %w", zone, err)
		}
		six.ZoneId = uint32(link.Index)
	}
	return unix.AF_INET6, six, nil
}

// established returns when the connection stands, or says why it does not.
func established(ctx context.Context, socket *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = socket.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var refusal error
	err = raw.Write(func(fd uintptr) (done bool) {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			refusal = os.NewSyscallError("connect", err)
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // else it is under way
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, refusal)
}
