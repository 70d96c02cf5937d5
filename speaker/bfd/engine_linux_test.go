package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// These tests run real sessions over the loopback interface, between two
// addresses in 127.0.0.0/8 that no other test uses. They need no privilege.

const ms = time.Millisecond

var lastHost atomic.Uint32

// twoAddresses returns addresses of this host that are this test's alone.
func twoAddresses() (a, b netip.Addr) {
	n := lastHost.Add(2)
	// Another process may run the same tests.
	pid := byte(unix.Getpid())
	return netip.AddrFrom4([4]byte{127, 100 + pid%100, byte(n >> 8), byte(n)}), netip.AddrFrom4([4]byte{127, 100 + pid%100, byte(n >> 8), byte(n + 1)})
}

// profile is one that a machine which runs other tests besides can keep up with.
func profile(interval time.Duration) Profile { return timers(interval, interval, 20) }

func timers(tx, rx time.Duration, mult uint8) Profile {
	return Profile{TransmitInterval: tx, ReceiveInterval: rx, DetectMultiplier: mult}
}

func between(name string, local, peer netip.Addr, p Profile) Session {
	return Session{Name: name, Path: Path{Local: local, Peer: peer}, Profile: p}
}

// start runs an Engine until the test ends, or stop is called.
func start(t testing.TB, sessions ...Session) (e *Engine, stop func()) {
	t.Helper()
	e = New(Options{Logger: slog.New(slog.NewTextHandler(logWriter{t}, nil))})
	e.Apply(sessions)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
	t.Cleanup(stop)
	return e, stop
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Logf("log: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// await waits until a session's status is as wanted.
func await(t testing.TB, e *Engine, name, what string, want func(Status) bool) Status {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		snapshot, changed := e.Snapshot()
		status, ok := snapshot.Session(name)
		if ok && want(status) {
			return status
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited 20 s for %s: %+v", what, status)
		}
	}
}

func isUp(s Status) bool   { return s.State == Up }
func isDown(s Status) bool { return s.State == Down }

func TestSessionComesUpAndTimersAreAgreedUpon(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	slow := timers(80*ms, 120*ms, 15)
	a, _ := start(t, between("router", x, y, profile(50*ms)))
	b, _ := start(t, between("node", y, x, slow))
	agreed := func(tx, detect time.Duration) func(Status) bool {
		return func(s Status) bool {
			return isUp(s) && s.Negotiated.TransmitInterval == tx && s.Negotiated.DetectionTime == detect && !s.Negotiated.Polling
		}
	}
	got := await(t, a, "router", "a to come up", agreed(120*ms, 1200*ms))
	await(t, b, "node", "b to come up", agreed(80*ms, 2400*ms))
	if got.Reason != "" || got.Failed || got.Failures != 0 || got.Path.Local != x || time.Since(got.Since) > time.Minute {
		t.Errorf("status %+v", got)
	}

	// Other timers, and the session is not touched.
	a.Apply([]Session{between("router", x, y, profile(200*ms))})
	await(t, b, "node", "b to hear of new timers", agreed(200*ms, 4000*ms))
	again := await(t, a, "router", "a to use them", agreed(200*ms, 3000*ms))
	if again.Since != got.Since || again.Failures != 0 {
		t.Errorf("the session was touched: %+v", again)
	}
}

func TestPeerThatEndsSaysSo(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	a, _ := start(t, between("router", x, y, profile(50*ms)))
	b, stop := start(t, between("node", y, x, profile(50*ms)))
	await(t, a, "router", "a to come up", isUp)
	await(t, b, "node", "b to come up", isUp)

	stop()
	got := await(t, a, "router", "AdminDown", isDown)
	if got.Failed || got.Failures != 0 || !got.Negotiated.RemoteAdminDown || !strings.Contains(got.Reason, "administratively") {
		t.Errorf("status %+v", got)
	}

	// And it comes back, as one that knows nothing.
	c, _ := start(t, between("node", y, x, profile(50*ms)))
	await(t, c, "node", "it to come up again", isUp)
	await(t, a, "router", "a to come up again", isUp)
}

func TestSessionThatIsNoLongerWantedGoes(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	a, _ := start(t, between("router", x, y, profile(50*ms)))
	b, _ := start(t, between("node", y, x, profile(50*ms)))
	await(t, a, "router", "a to come up", isUp)
	await(t, b, "node", "b to come up", isUp)
	b.Apply(nil)
	if got := await(t, a, "router", "AdminDown", isDown); got.Failed {
		t.Errorf("status %+v", got)
	}
	eventually(t, "it to be gone", func() bool { s, _ := b.Snapshot(); return len(s.Sessions) == 0 })
	// Wanted again before it was gone, or after: it comes up.
	b.Apply([]Session{between("node", y, x, profile(50*ms))})
	await(t, b, "node", "b to come up again", isUp)
	await(t, a, "router", "a to come up again", isUp)
}

func TestSilentPeerIsAFailure(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	a, _ := start(t, between("router", x, y, profile(30*ms)))
	peer := newPuppet(t, y, x)
	peer.bringUp(t, a, "router")

	// The last packet was sent before, so the time until the session is down is the
	// detection time at most, plus what scheduling takes.
	silent := time.Now()
	got := await(t, a, "router", "the failure", isDown)
	if took := time.Since(silent); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if !got.Failed || got.Failures != 1 || !strings.Contains(got.Reason, "no packet from the router for") ||
		!strings.Contains(got.Reason, "Control Detection Time Expired") {
		t.Errorf("status %+v", got)
	}
}

func TestOneSessionServesAllWhoNameItsPath(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	a, _ := start(t, between("first", x, y, profile(50*ms)), between("second", x, y, profile(500*ms)))
	b, _ := start(t, between("node", y, x, profile(50*ms)))
	await(t, b, "node", "b to come up", isUp)
	first := await(t, a, "first", "the first to be up", isUp)
	second := await(t, a, "second", "the second to be up", isUp)
	if first.Negotiated != second.Negotiated || first.Negotiated.TransmitInterval != 50*ms {
		t.Errorf("first  %+v\nsecond %+v", first, second)
	}
	a.Apply([]Session{between("second", x, y, profile(50*ms))})
	if got := await(t, a, "second", "the second alone", isUp); got.Failures != 0 || got.Since != second.Since {
		t.Errorf("it was touched: %+v", got)
	}
	eventually(t, "the first to be gone", func() bool { s, _ := a.Snapshot(); return len(s.Sessions) == 1 })
}

func TestReasons(t *testing.T) {
	t.Parallel()
	nowhere := netip.MustParseAddr("198.51.100.77")
	for _, row := range []struct {
		name    string
		session Session
		want    string
	}{
		{"nobody answers", between("s", netip.Addr{}, netip.MustParseAddr("127.77.77.77"), profile(50*ms)), "does not listen for BFD"},
		{"an address that is not here", between("s", nowhere, netip.MustParseAddr("198.51.100.1"), profile(50*ms)), "198.51.100.77 is not on this node"},
		{"an interface that is not here", Session{Name: "s", Path: Path{Peer: nowhere, Interface: "cl-none"}, Profile: profile(50 * ms)}, "no interface cl-none"},
		{"two families", between("s", nowhere, netip.MustParseAddr("2001:db8::1"), profile(50*ms)), "not of one family"},
		{"a link-local address without a link", between("s", netip.Addr{}, netip.MustParseAddr("fe80::1"), profile(50*ms)), "without its interface"},
		{"an interval of nothing", between("s", netip.Addr{}, nowhere, profile(0)), "must be from 1ms"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, _ := start(t, row.session)
			await(t, e, "s", row.want, func(s Status) bool { return isDown(s) && !s.Failed && strings.Contains(s.Reason, row.want) })
		})
	}
}

func TestPacketsOfAWrongTTLAreRefused(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	e, _ := start(t, between("s", x, y, profile(50*ms)))
	listens(t, e)
	p := newPuppet(t, y, x)
	must(t, unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_TTL, 254))
	p.send(packet.Packet{State: Down, DetectMult: 3, MyDiscriminator: 7, DesiredMinTx: time.Second, RequiredMinRx: time.Second})
	got := await(t, e, "s", "the refusal", func(s Status) bool { return strings.Contains(s.Reason, "TTL 254, less than 255") })
	if !isDown(got) || got.Counters.Refused != 1 {
		t.Errorf("status %+v", got)
	}
}

func TestMultihopTakesPacketsFromAsFarAsItMay(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	s := Session{Name: "s", Path: Path{Local: x, Peer: y, Multihop: true}, Profile: profile(50 * ms)}
	s.MinimumTTL = 250
	s.EchoInterval = 50 * ms // which a session over several hops can't have, and goes without
	e, _ := start(t, s)
	listens(t, e)
	p := newPuppetAt(t, y, x, multihopPort)
	hello := packet.Packet{State: Down, DetectMult: 3, MyDiscriminator: 7, DesiredMinTx: time.Second, RequiredMinRx: time.Second}
	must(t, unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_TTL, 249))
	p.send(hello)
	await(t, e, "s", "the refusal", func(s Status) bool { return strings.Contains(s.Reason, "TTL 249, less than 250") })
	must(t, unix.SetsockoptInt(p.fd, unix.IPPROTO_IP, unix.IP_TTL, 250))
	p.send(hello)
	await(t, e, "s", "Init", func(s Status) bool { return s.State == Init })
}

func TestAuthenticatedSession(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	secured := func(secret string) Profile {
		p := profile(50 * ms)
		p.Auth.Type = MeticulousKeyedSHA1
		var err error
		p.Auth.Keys[0], err = NewKey(1, []byte(secret))
		must(t, err)
		return p
	}
	a, _ := start(t, between("router", x, y, secured("right")))
	b, _ := start(t, between("node", y, x, secured("wrong")))
	got := await(t, a, "router", "the refusal", func(s Status) bool { return strings.Contains(s.Reason, "digest is not made with our key") })
	if strings.Contains(fmt.Sprintf("%+v %#v", got, secured("right")), "114") {
		t.Error("a secret is written out")
	}
	b.Apply([]Session{between("node", y, x, secured("right"))})
	await(t, a, "router", "a to come up", isUp)
}

func TestKeysAreOfOneToTwentyBytes(t *testing.T) {
	for _, length := range []int{0, 1, 20, 21} {
		if _, err := NewKey(1, make([]byte, length)); (err == nil) != (length >= 1 && length <= 20) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

// A puppet is a peer that says what the test has it say.
type puppet struct {
	t  testing.TB
	fd int
}

// listens waits until the Engine's only session has its sockets: it has sent.
func listens(t testing.TB, e *Engine) {
	t.Helper()
	eventually(t, "the session to listen", func() bool {
		s, _ := e.Snapshot()
		return len(s.Sessions) == 1 && s.Sessions[0].Counters.Sent+s.Sessions[0].Counters.SendErrors > 0
	})
}

// eventually waits for something that is not told.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(2 * ms) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for %s", what)
		}
	}
}

func newPuppet(t testing.TB, from, to netip.Addr) *puppet {
	return newPuppetAt(t, from, to, controlPort)
}

func newPuppetAt(t testing.TB, from, to netip.Addr, port int) *puppet {
	t.Helper()
	path := Path{Local: from, Peer: to}
	fd, err := udp(path)
	must(t, err)
	_, err = bindSource(fd, path, firstPort+1000)
	must(t, err)
	must(t, connect(fd, path, port))
	// What is sent to it must find somebody.
	sink, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, uint16(port))))
	must(t, err)
	t.Cleanup(func() { unix.Close(fd); sink.Close() })
	return &puppet{t, fd}
}

func (p *puppet) send(packets ...packet.Packet) {
	for _, q := range packets {
		_, _ = unix.Write(p.fd, packet.Append(nil, &q, nil))
	}
}

// bringUp takes a session Up, at intervals of 30 ms.
func (p *puppet) bringUp(t testing.TB, e *Engine, name string) packet.Packet {
	t.Helper()
	say := packet.Packet{State: Down, DetectMult: 3, MyDiscriminator: 0xabcdef, DesiredMinTx: 30 * ms, RequiredMinRx: 30 * ms}
	// The session may not listen yet.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * ms) {
		p.send(say)
		snapshot, _ := e.Snapshot()
		if s, _ := snapshot.Session(name); s.State == Init {
			say.YourDiscriminator = s.Negotiated.LocalDiscriminator
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the session hears nothing")
		}
	}
	say.State = Up
	p.send(say)
	await(t, e, name, "the session to come up", isUp)
	return say
}

func TestFloodCostsOnlyItsOwnSession(t *testing.T) {
	x, y := twoAddresses()
	v, w := twoAddresses()
	a, _ := start(t, between("good", x, y, profile(100*ms)), between("flooded", v, w, profile(100*ms)))
	start(t, between("node", y, x, profile(100*ms)))
	await(t, a, "good", "the good session to come up", isUp)

	flood := newPuppet(t, w, v)
	stranger, err := udp(Path{Local: w, Peer: x})
	must(t, err)
	defer unix.Close(stranger)
	must(t, connect(stranger, Path{Peer: x}, controlPort))
	var n uint32
	for end := time.Now().Add(1500 * ms); time.Now().Before(end); n++ {
		// Garbage, unknown discriminators, states that alternate; from the peer, and
		// from somebody whom the good session does not know.
		flood.send(packet.Packet{State: State(n % 2), DetectMult: 1, MyDiscriminator: n | 1, YourDiscriminator: n % 3})
		_, _ = unix.Write(stranger, packet.Append(nil, &packet.Packet{State: Down, DetectMult: 1, MyDiscriminator: n | 1}, nil))
		_, _ = unix.Write(flood.fd, []byte{byte(n), byte(n >> 8)})
	}
	snapshot, _ := a.Snapshot()
	good, _ := snapshot.Session("good")
	bad, _ := snapshot.Session("flooded")
	if !isUp(good) || good.Failures != 0 || good.Counters.Refused != 0 {
		t.Errorf("the good session is %+v", good)
	}
	if bad.Counters.Flood == 0 || bad.Counters.Received > 1500/20*budget*2 {
		t.Errorf("of %d packets %d were read, and reading was put off %d times", 2*n, bad.Counters.Received, bad.Counters.Flood)
	}
	t.Logf("of %d packets %d were read", 2*n, bad.Counters.Received)
}

// Sessions that are Up, in their steady state, cost the garbage collector
// nothing.
func TestPacketsAllocateNothing(t *testing.T) {
	x, y := twoAddresses()
	patient := profile(10 * ms)
	patient.DetectMultiplier = 100
	a, _ := start(t, between("router", x, y, patient))
	b, _ := start(t, between("node", y, x, patient))
	settled := func(s Status) bool { return isUp(s) && s.Negotiated.TransmitInterval == 10*ms && !s.Negotiated.Polling }
	await(t, a, "router", "a to come up", settled)
	await(t, b, "node", "b to come up", settled)
	sent := func() uint64 { s, _ := a.Snapshot(); return s.Sessions[0].Counters.Sent }
	time.Sleep(200 * ms) // the last changes are shown by then
	var before, after runtime.MemStats
	from := sent()
	runtime.ReadMemStats(&before)
	time.Sleep(time.Second)
	runtime.ReadMemStats(&after)
	packets, allocations := sent()-from, after.Mallocs-before.Mallocs
	if packets < 40 {
		t.Fatalf("only %d packets in a second", packets)
	}
	// Both ends send and receive; what is left is the runtime's own.
	if allocations > packets/2 {
		t.Errorf("%d allocations while %d packets were sent each way", allocations, packets)
	}
	t.Logf("%d allocations while %d packets were sent each way", allocations, packets)
}

func TestApplyOfTheSameDoesNothing(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	s := between("s", x, y, profile(50*ms))
	e, _ := start(t, s)
	await(t, e, "s", "the session", isDown)
	_, version := e.wanted()
	e.Apply([]Session{s})
	if _, again := e.wanted(); again != version {
		t.Error("it is taken for a change")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
