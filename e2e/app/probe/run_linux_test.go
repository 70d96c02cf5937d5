package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/app/web"
)

// start serves HTTP on loopback and returns where.
func start(t *testing.T, listen string, h http.Handler) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Skipf("%s is not there: %v", listen, err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// probeOne makes a single attempt.
func probeOne(t *testing.T, o Options) Attempt {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Interval = time.Hour
	ended := make(chan struct{}, 1)
	o.OnAttempt = func(Attempt) { ended <- struct{}{} }
	go func() {
		<-ended
		cancel()
	}()
	attempts, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(attempts) != 1 {
		t.Fatalf("%d attempts, want 1", len(attempts))
	}
	return attempts[0]
}

func TestProbeAsksWhoAnswers(t *testing.T) {
	for name, listen := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		t.Run(name, func(t *testing.T) {
			var client string
			target := start(t, listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				client = r.RemoteAddr
				web.Handler("web-1", "node2").ServeHTTP(w, r)
			}))
			a := probeOne(t, Options{Targets: []netip.AddrPort{target}})
			if a.Failure != None || a.Pod != "web-1" || a.Node != "node2" {
				t.Errorf("got %+v", a)
			}
			if a.Local.String() != client {
				t.Errorf("came from %v, the server saw %s", a.Local, client)
			}
			if a.Connected <= 0 || a.Took < a.Connected {
				t.Errorf("connected in %v, took %v", a.Connected, a.Took)
			}
		})
	}
}

func TestProbeTellsFailuresApart(t *testing.T) {
	hijack := func(f func(net.Conn)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			f(c)
		})
	}
	closed := func() netip.AddrPort {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).AddrPort()
	}()
	for name, test := range map[string]struct {
		target netip.AddrPort
		want   Failure
	}{
		"nobody listens":    {closed, Refused},
		"no such network":   {netip.MustParseAddrPort("255.255.255.255:80"), Unreachable},
		"no answer in time": {start(t, "127.0.0.1:0", hijack(func(c net.Conn) { c.Read(make([]byte, 1)) })), AnswerLate},
		"reset":             {start(t, "127.0.0.1:0", hijack(func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) })), Reset},
		"an error page":     {start(t, "127.0.0.1:0", http.NotFoundHandler()), AnswerInvalid},
		"not HTTP":          {start(t, "127.0.0.1:0", hijack(func(c net.Conn) { c.Write([]byte("220 mail ready\r\n\r\n")) })), AnswerInvalid},
		"closed unanswered": {start(t, "127.0.0.1:0", hijack(func(net.Conn) {})), AnswerInvalid},
		"HTTP but not ours": {start(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hi")) })), AnswerInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := probeOne(t, Options{Targets: []netip.AddrPort{test.target}, Timeout: 200 * time.Millisecond})
			if a.Failure != test.want {
				t.Errorf("got %q (%s), want %q", a.Failure, a.Error, test.want)
			}
			if a.Error == "" {
				t.Error("does not say what happened")
			}
		})
	}
}

// fullListener listens without accepting and has its queue filled, so that the kernel drops further SYNs.
func fullListener(t *testing.T) (netip.AddrPort, net.Listener) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	address := l.Addr().(*net.TCPAddr).AddrPort()
	for range 8 {
		c, err := net.DialTimeout("tcp", address.String(), 100*time.Millisecond)
		if err != nil {
			return address, l
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the listener's queue cannot be filled")
	return address, l
}

func TestLostSYNFailsWithinASecond(t *testing.T) {
	address, _ := fullListener(t)
	a := probeOne(t, Options{Targets: []netip.AddrPort{address}, Timeout: 150 * time.Millisecond})
	if a.Failure != ConnectLate || a.Retransmits != 0 {
		t.Errorf("got %+v", a)
	}
	if a.Took < 150*time.Millisecond || a.Took > time.Second {
		t.Errorf("took %v with a timeout of 150ms", a.Took)
	}
}

func TestSYNSentAgainIsCounted(t *testing.T) {
	address, l := fullListener(t)
	// Room appears while the SYN is lost: the kernel's second one after a second finds it.
	drained := time.AfterFunc(300*time.Millisecond, func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	defer drained.Stop()
	a := probeOne(t, Options{Targets: []netip.AddrPort{address}, Timeout: 10 * time.Second, ConnectOnly: true})
	if a.Failure != None || a.Retransmits < 1 || a.Connected < 900*time.Millisecond {
		t.Errorf("got %+v, want a connection by a SYN sent again", a)
	}
}

func TestEveryTargetHasItsTurnAndEveryAttemptAConnectionOfItsOwn(t *testing.T) {
	targets := []netip.AddrPort{
		start(t, "127.0.0.1:0", web.Handler("web-1", "node1")),
		start(t, "127.0.0.1:0", web.Handler("web-2", "node2")),
		start(t, "127.0.0.1:0", web.Handler("web-3", "node3")),
	}
	attempts, err := Run(t.Context(), Options{Targets: targets, Interval: 5 * time.Millisecond, Duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// The kernel may give a port again once its connection is gone, and to
	// another target even while it lives; never to the very next connection.
	last := map[netip.AddrPort]netip.AddrPort{}
	for _, a := range attempts {
		if a.Local.Port() == 0 || a.Local == last[a.Target] {
			t.Errorf("an attempt at %v came from %v, the one before it from %v", a.Target, a.Local, last[a.Target])
		}
		last[a.Target] = a.Local
	}
	summaries := Summarize(attempts)
	if len(summaries) != 3 {
		t.Fatalf("%d targets, want 3", len(summaries))
	}
	most, least := 0, len(attempts)
	for _, s := range summaries {
		most, least = max(most, s.Attempts), min(least, s.Attempts)
		if s.Failures > 0 || len(s.Answers) != 1 {
			t.Errorf("%v", s)
		}
	}
	if most-least > 1 || most > 61 {
		t.Errorf("between %d and %d attempts at a target in 300ms every 5ms", least, most)
	}
}

func TestAGapIsSeen(t *testing.T) {
	const from, to = 10, 30 // the requests that get no answer
	var requests atomic.Int32
	target := start(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := requests.Add(1); n > from && n <= to {
			panic(http.ErrAbortHandler)
		}
		web.Handler("web-1", "node1").ServeHTTP(w, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := 0
	attempts, err := Run(ctx, Options{Targets: []netip.AddrPort{target}, OnAttempt: func(Attempt) {
		if ended++; ended == to+from {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := Summarize(attempts)[0]
	if s.Failures != to-from {
		t.Errorf("%d failures, want %d: %v", s.Failures, to-from, s)
	}
	// A start may come late by up to an interval, never early.
	if least := (to - from - 2) * 10 * time.Millisecond; s.Gap < least || s.Gap != s.LastFailure.Sub(s.FirstFailure) {
		t.Errorf("gap %v, want at least %v", s.Gap, least)
	}
}

func TestRunWaitsForAttemptsUnderWay(t *testing.T) {
	target := start(t, "127.0.0.1:0", web.Handler("web-1", "node1"))
	attempts, err := Run(t.Context(), Options{Targets: []netip.AddrPort{target}, Path: "/slow?for=100ms", Duration: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if s := Summarize(attempts)[0]; s.Failures > 0 {
		t.Errorf("attempts that were under way at the end were judged as failed: %v", s)
	}
}

func TestImpossibleOptionsAreRefused(t *testing.T) {
	target := []netip.AddrPort{target}
	for name, o := range map[string]Options{
		"no target":         {},
		"no port":           {Targets: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 0)}},
		"no address":        {Targets: []netip.AddrPort{{}}},
		"negative interval": {Targets: target, Interval: -1},
		"negative timeout":  {Targets: target, Timeout: -1},
		"no such namespace": {Targets: target, NetworkNamespace: "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			if attempts, err := Run(t.Context(), o); err == nil {
				t.Errorf("made %d attempts", len(attempts))
			}
		})
	}
}

// emptyNamespace makes a network namespace that lives as long as the test and in which nothing can be reached.
func emptyNamespace(t *testing.T) string {
	t.Helper()
	path, done := make(chan string), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked, so that no other goroutine sees the namespace
		defer close(path)
		if err := unix.Unshare(unix.CLONE_NEWNET); err == nil {
			path <- fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
			<-done
		}
	}()
	t.Cleanup(func() { close(done) })
	p, ok := <-path
	if !ok {
		t.Skip("not allowed to make a network namespace (needs root)")
	}
	return p
}

func TestProbeFromANetworkNamespace(t *testing.T) {
	target := start(t, "127.0.0.1:0", web.Handler("web-1", "node1"))
	if a := probeOne(t, Options{Targets: []netip.AddrPort{target}, NetworkNamespace: emptyNamespace(t)}); a.Failure != Unreachable {
		t.Errorf("from an empty network namespace: got %+v, want %s", a, Unreachable)
	}
	if a := probeOne(t, Options{Targets: []netip.AddrPort{target}}); a.Failure != None {
		t.Errorf("from our own network namespace, afterwards: got %+v", a)
	}
}
