package layer2

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
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
