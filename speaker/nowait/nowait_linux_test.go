package nowait

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// on calls do with the descriptor of a socket.
func on(t *testing.T, c *net.UDPConn, do func(fd uintptr)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(do)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T, at string) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// What is sent is what Go's own calls receive, and from whom they say it is; and the other way round.
func TestPacketsAreThoseOfGosOwnCalls(t *testing.T) {
	for _, c := range []struct {
		name, ours, theirs string
		six                bool
	}{
		{"IPv4", "127.0.0.1:0", "127.0.0.1:0", false},
		{"IPv6", "[::1]:0", "[::1]:0", true},
		{"IPv4 by a socket for both", "[::]:0", "127.0.0.1:0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, at := listen(t, c.ours)
			theirs, to := listen(t, c.theirs)
			if at.Addr().IsUnspecified() {
				at = netip.AddrPortFrom(to.Addr(), at.Port())
			}
			for _, message := range []string{"hello", strings.Repeat("x", 1200), ""} {
				on(t, ours, func(fd uintptr) {
					if err := SendTo(fd, c.six, []byte(message), to); err != nil {
						t.Fatal(err)
					}
				})
				b := make([]byte, 2000)
				if err := theirs.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
					t.Fatal(err)
				}
				n, from, err := theirs.ReadFromUDPAddrPort(b)
				if err != nil || string(b[:n]) != message || from.Port() != at.Port() || from.Addr().Unmap() != at.Addr().Unmap() {
					t.Errorf("they got %q from %v, %v", b[:n], from, err)
				}
				if _, err := theirs.WriteToUDPAddrPort([]byte(message), at); err != nil {
					t.Fatal(err)
				}
				on(t, ours, func(fd uintptr) {
					await(t, fd)
					n, from, err := ReceiveFrom(fd, b)
					if err != nil || string(b[:n]) != message || from.Port() != to.Port() || from.Addr().Unmap() != to.Addr() {
						t.Errorf("we got %q from %v, %v", b[:n], from, err)
					}
				})
			}
		})
	}
}

// await waits until there is something to receive.
func await(t *testing.T, fd uintptr) {
	t.Helper()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000); n != 1 || err != nil {
		t.Fatalf("nothing comes: %v", err)
	}
}

func TestMessagesComeWithWhatTheKernelSaysOfThem(t *testing.T) {
	ours, at := listen(t, "127.0.0.1:0")
	theirs, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	on(t, ours, func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			t.Fatal(err)
		}
	})
	on(t, theirs, func(fd uintptr) {
		if err := Send(fd, []byte("stamped")); err != nil {
			t.Fatal(err)
		}
	})
	on(t, ours, func(fd uintptr) {
		await(t, fd)
		b, control := make([]byte, 100), make([]byte, 64)
		n, controls, err := Receive(fd, b, control)
		if err != nil || !bytes.Equal(b[:n], []byte("stamped")) {
			t.Fatalf("got %q, %v", b[:n], err)
		}
		messages, err := unix.ParseSocketControlMessage(control[:controls])
		if err != nil || len(messages) != 1 || messages[0].Header.Type != unix.SCM_TIMESTAMPNS {
			t.Errorf("with it came %+v, %v", messages, err)
		}
	})
}

func TestNothingWaits(t *testing.T) {
	ours, _ := listen(t, "127.0.0.1:0")
	on(t, ours, func(fd uintptr) {
		b := make([]byte, 100)
		if _, _, err := ReceiveFrom(fd, b); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("an empty socket: %v", err)
		}
		if _, _, err := Receive(fd, b, nil); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("an empty socket: %v", err)
		}
		if err := Send(fd, b); !errors.Is(err, unix.EDESTADDRREQ) {
			t.Errorf("a socket that does not know where to: %v", err)
		}
		if err := SendTo(fd, false, b, netip.MustParseAddrPort("[2001:db8::1]:1")); !errors.Is(err, unix.EAFNOSUPPORT) {
			t.Errorf("IPv6 by a socket for IPv4: %v", err)
		}
	})
}

func TestSinceBoot(t *testing.T) {
	a := SinceBoot()
	time.Sleep(time.Millisecond)
	if b := SinceBoot(); a <= 0 || b-a < time.Millisecond {
		t.Errorf("%v, and a millisecond later %v", a, b)
	}
}
