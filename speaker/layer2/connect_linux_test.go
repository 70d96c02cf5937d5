package layer2

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel tells of a failure once, and more than one may ask how an attempt has ended.
func TestAFailedConnectionStaysFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	c, err := connectPort(Link{}, nobody)
	if errors.Is(err, syscall.ENETUNREACH) {
		t.Skip("the loopback interface is down, as it is where the tests on a wire run")
	} else if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		err, done := c.Done()
		if done {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("no end")
		}
	}
	if err, done := c.Done(); !done || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("asked again: over %v, error %v", done, err)
	}
}

// While a connection is under way the runtime sends signals to its threads, for the collector. Whoever takes a call that was interrupted for an
// answer takes a node that is cut off for one that is heard.
func TestASignalIsNoAnswer(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// A listener that takes nothing from its backlog leaves those unanswered who come when it is full.
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	full := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(bound.(*unix.SockaddrInet4).Port))
	var c attempt
	for range 16 {
		c, err = connectPort(Link{}, full)
		if errors.Is(err, syscall.ENETUNREACH) {
			t.Skip("the loopback interface is down, as it is where the tests on a wire run")
		} else if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(5 * time.Millisecond)
		if _, done := c.Done(); !done {
			break
		}
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer interrupt(t, 50*time.Microsecond)()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if err, done := c.Done(); done {
			t.Fatalf("a connection that nobody has answered is over: %v", err)
		}
	}
}

// interrupt has the kernel send this thread signals of the kind that the runtime does, until the result is called.
func interrupt(t *testing.T, every time.Duration) (end func()) {
	t.Helper()
	event := struct { // sigevent
		value          uint64
		signal, notify int32
		thread         int32
		_              [11]int32
	}{signal: int32(unix.SIGURG), notify: 4 /* SIGEV_THREAD_ID */, thread: int32(unix.Gettid())}
	var timer int32
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&timer))); errno != 0 {
		t.Fatal(errno)
	}
	spec := unix.ItimerSpec{Interval: unix.NsecToTimespec(int64(every)), Value: unix.NsecToTimespec(int64(every))}
	if _, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	return func() { unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(timer), 0, 0) }
}
