package probe

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/app/web"
)

// connection is a TCP socket. It is made with system calls rather than by package net, because the SYN has to leave when
// connect says so, and from the network namespace of the calling thread; only the waiting is left to the runtime.
type connection struct {
	file *os.File
	done bool // the peer closed in order
}

// connect sends the SYN and returns.
func connect(target netip.AddrPort) (*connection, error) {
	address, family, err := sockaddr(target)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return &connection{file: os.NewFile(uintptr(fd), "tcp:"+target.String())}, nil
}

func sockaddr(target netip.AddrPort) (unix.Sockaddr, int, error) {
	a := target.Addr().Unmap()
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(target.Port()), Addr: a.As4()}, unix.AF_INET, nil
	}
	s := &unix.SockaddrInet6{Port: int(target.Port()), Addr: a.As16()}
	if zone := a.Zone(); zone != "" {
		index, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, 0, fmt.Errorf("zone of %v: %w", a, err)
			}
			index = uint64(i.Index)
		}
		s.ZoneId = uint32(index)
	}
	return s, unix.AF_INET6, nil
}

// wait returns when the connection stands or cannot.
func (c *connection) wait(deadline time.Time) error {
	if err := c.file.SetDeadline(deadline); err != nil {
		return err
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		if errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
			if err == nil {
				err = unix.Errno(errno)
			}
			failed = os.NewSyscallError("connect", err)
			return true
		}
		_, err := unix.Getpeername(int(fd))
		return err == nil // else under way
	})
	return errors.Join(failed, err)
}

// local is the address and port that the connection comes from.
func (c *connection) local() netip.AddrPort {
	var local netip.AddrPort
	c.control(func(fd int) {
		switch s, _ := unix.Getsockname(fd); s := s.(type) {
		case *unix.SockaddrInet4:
			local = netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
		case *unix.SockaddrInet6:
			local = netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
		}
	})
	return local
}

// retransmits is how many segments were sent again; before anything else was sent these are SYNs.
func (c *connection) retransmits() int {
	var n int
	c.control(func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Total_retrans)
		}
	})
	return n
}

func (c *connection) control(f func(fd int)) {
	if raw, err := c.file.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// ask sends one request and reads the answer to its end.
func (c *connection) ask(target netip.AddrPort, path string) (web.Answer, error) {
	var answer web.Answer
	if _, err := fmt.Fprintf(c.file, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, target); err != nil {
		return answer, err
	}
	response, err := http.ReadResponse(bufio.NewReader(c.file), nil)
	if err != nil {
		return answer, invalid(err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return answer, invalid(err)
	}
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%w: %s", errInvalidAnswer, response.Status)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, invalid(err)
	}
	// The server closes first and keeps the TIME_WAIT; a client that opens hundreds of connections a second would run
	// out of ports otherwise.
	if n, err := c.file.Read(make([]byte, 1)); n == 0 && errors.Is(err, io.EOF) {
		c.done = true
	}
	return answer, nil
}

// invalid marks an answer that could not be understood, unless it did not come at all.
func invalid(err error) error {
	var errno unix.Errno
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &errno) {
		return err
	}
	return fmt.Errorf("%w: %w", errInvalidAnswer, err)
}

// close ends the connection; by a RST where the peer did not close first, for the same reason.
func (c *connection) close() {
	if !c.done {
		c.control(func(fd int) {
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
	}
	c.file.Close()
}

// inNetworkNamespace runs f on a thread of its own in the network namespace at path.
func inNetworkNamespace(path string, f func()) error {
	if path == "" {
		f()
		return nil
	}
	namespace, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer namespace.Close()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := netns.Set(namespace); err != nil {
			result <- fmt.Errorf("network namespace %s: %w", path, err)
			return
		}
		f()
		result <- nil
	}()
	return <-result
}
