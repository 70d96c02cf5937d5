package gossip

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

// The same over the kernel's sockets, in real time: they find each other, one leaves, one dies.
func TestOverSockets(t *testing.T) {
	for _, family := range []string{"127.0.7.%d", "::1"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			addr := func(i int) netip.Addr {
				if family == "::1" {
					return netip.IPv6Loopback()
				}
				return netip.MustParseAddr(fmt.Sprintf(family, i+1))
			}
			n := 3
			if family == "::1" {
				n = 1 // there is but one such address
			}
			l, err := net.Listen("tcp", netip.AddrPortFrom(addr(0), 0).String())
			if err != nil {
				t.Skipf("no sockets on %v here: %v", addr(0), err)
			}
			port := l.Addr().(*net.TCPAddr).AddrPort().Port()
			l.Close()

			c := &cluster{t: t, nodes: make([]*testNode, n)}
			for i := range n {
				c.peers = append(c.peers, Peer{nodeName(i), addr(i)})
			}
			for i := range n {
				c.startOn(i, netip.AddrPortFrom(addr(i), port), listen, nil)
				t.Cleanup(func() { c.stop(i) })
			}
			t.Logf("found each other after %v", c.await("all see all", 10*time.Second, c.all(everybody(n))))
			if n == 1 {
				return
			}
			start := time.Now()
			go c.nodes[2].Leave(t.Context())
			c.await("gone", 5*time.Second, c.all("00 01"))
			t.Logf("all know after %v that one leaves", time.Since(start))
			c.stop(2)
			c.stop(1)
			t.Logf("noticed after %v that one died", c.await("noticed", 10*time.Second, c.all("00")))
		})
	}
}

func TestAnAddressThatIsNotThereIsWaitedFor(t *testing.T) {
	t.Parallel()
	logs := &lines{}
	g := New(Options{Node: "a", Log: slog.New(slog.NewTextHandler(logs, nil))})
	g.Apply(Desired{Listen: netip.MustParseAddrPort("192.0.2.1:7956"), Keys: []Key{keyOne}})
	go g.Run(t.Context()) //nolint:errcheck
	time.Sleep(50 * time.Millisecond)
	l, err := net.Listen("tcp", "127.0.8.1:0")
	if err != nil {
		t.Skip(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	g.Apply(Desired{Listen: at, Keys: []Key{keyOne}})
	for deadline := time.Now().Add(10 * time.Second); ; {
		s, changed := g.Snapshot()
		if s.Running {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
			t.Fatalf("does not listen; logged:\n%s", logs)
		}
	}
}
