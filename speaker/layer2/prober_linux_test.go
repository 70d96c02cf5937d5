package layer2

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A questioner is a Prober on the node, with its results.
type questioner struct {
	t testing.TB
	*Prober
	results chan ProbeResult
}

func startProber(t testing.TB) *questioner {
	t.Helper()
	return proberOf(t, start(t))
}

func proberOf(t testing.TB, a *Announcer) *questioner {
	t.Helper()
	eventually(t, "the links to be seen", func() bool { links, _ := a.Links(); return links != nil })
	results := make(chan ProbeResult, 8192)
	p := NewProber(a.Links, func(r ProbeResult) { results <- r })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	return &questioner{t, p, results}
}

// ask sends one probe and returns its result.
func (q *questioner) ask(p Probe) ProbeResult {
	q.t.Helper()
	if p.Deadline.IsZero() {
		p.Deadline = time.Now().Add(time.Second)
	}
	q.Probe(p)
	return q.next()
}

func (q *questioner) next() ProbeResult {
	q.t.Helper()
	select {
	case r := <-q.results:
		return r
	case <-time.After(5 * time.Second):
		q.t.Fatal("no result within 5 s")
		return ProbeResult{}
	}
}

// expect asks and expects an outcome.
func (q *questioner) expect(what string, p Probe, want Outcome) ProbeResult {
	q.t.Helper()
	r := q.ask(p)
	if r.Outcome != want {
		q.t.Errorf("%s: got %+v, expected %s", what, r, want)
	}
	return r
}

func TestProberAsksALinuxKernel(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	q := startProber(t)
	v4, v6, ll := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2"), theirs.linkLocal()
	var listener net.Listener
	c.in(func() (err error) { listener, err = net.Listen("tcp", "[::]:7000"); return err })
	t.Cleanup(func() { listener.Close() })

	// arp_ignore and arp_announce as kube-proxy and others set them.
	c.sysctl("net/ipv4/conf/all/arp_ignore", "1")
	c.sysctl("net/ipv4/conf/all/arp_announce", "2")
	for _, target := range []netip.Addr{v4, v6, ll} {
		for _, method := range []Method{ProbeNeighbor, ProbeEcho, ProbeConnect} {
			t.Run(fmt.Sprintf("%s %v", method, target), func(t *testing.T) {
				q := &questioner{t, q.Prober, q.results}
				p := Probe{ID: 7, Peer: "b", Method: method, Interface: "cl0", Target: target, Port: 7000}
				if method == ProbeNeighbor {
					p.Expect = theirs.mac()
				}
				r := q.expect("a host that is there", p, ProbeAnswered)
				if r.ID != 7 || r.Peer != "b" || r.Refused || r.At.Before(r.Sent) || r.At.After(r.Deadline) {
					t.Errorf("got %+v", r)
				}
				if method == ProbeNeighbor && r.MAC != theirs.mac() {
					t.Errorf("it was found at %v", r.MAC)
				}
				if p.Port++; method == ProbeConnect && !q.expect("a port that nobody listens to", p, ProbeAnswered).Refused {
					t.Error("it does not say that the port was refused")
				}
			})
		}
	}

	t.Run("any MAC will do if none is expected", func(t *testing.T) {
		q := &questioner{t, q.Prober, q.results}
		for _, target := range []netip.Addr{v4, ll} {
			r := q.expect("a host", Probe{Method: ProbeNeighbor, Interface: "cl0", Target: target}, ProbeAnswered)
			if r.MAC != theirs.mac() {
				t.Errorf("%v is at %v", target, r.MAC)
			}
		}
	})
	t.Run("nobody is there", func(t *testing.T) {
		q := &questioner{t, q.Prober, q.results}
		began := time.Now()
		for _, target := range []netip.Addr{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")} {
			for _, method := range []Method{ProbeNeighbor, ProbeEcho, ProbeConnect} {
				r := q.expect(string(method), Probe{Method: method, Interface: "cl0", Target: target, Port: 1, Deadline: time.Now().Add(30 * time.Millisecond)}, ProbeUnanswered)
				if r.At.Before(r.Deadline) {
					t.Errorf("%s was judged before its deadline", method)
				}
			}
		}
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("six deadlines of 30 ms took %v", d)
		}
	})
	t.Run("it has no route or no such interface", func(t *testing.T) {
		q := &questioner{t, q.Prober, q.results}
		for what, p := range map[string]Probe{
			"an interface that does not exist": {Method: ProbeEcho, Interface: "cl9", Target: v4},
			"no way there":                     {Method: ProbeEcho, Target: netip.MustParseAddr("198.51.100.1")},
			"no way there by TCP":              {Method: ProbeConnect, Target: netip.MustParseAddr("198.51.100.1"), Port: 1},
			"no target":                        {Method: ProbeEcho, Interface: "cl0"},
			"a neighbour of no interface":      {Method: ProbeNeighbor, Target: v4},
			"a method there is not":            {Method: "Smoke", Interface: "cl0", Target: v4},
		} {
			if r := q.expect(what, p, ProbeNotSent); r.Error == "" {
				t.Errorf("%s: no error", what)
			}
		}
	})
	t.Run("a network that answers for everybody is not the peer", func(t *testing.T) {
		q := &questioner{t, q.Prober, q.results}
		r := q.expect("its own kernel", Probe{
			Method: ProbeNeighbor, Interface: "cl0", Target: v4, Expect: MAC{2, 0, 0, 0, 0, 9}, Deadline: time.Now().Add(50 * time.Millisecond),
		}, ProbeUnanswered)
		if !r.MAC.IsZero() {
			t.Errorf("a frame to another MAC was answered by %v", r.MAC)
		}
		tap := theirs.tap()
		q.Probe(Probe{Method: ProbeNeighbor, Interface: "cl0", Target: v4, Expect: MAC{2, 0, 0, 0, 0, 9}, Deadline: time.Now().Add(time.Second)})
		ours := n.link(t, "cl0")
		tap.send(appendARPReply(nil, otherMAC, otherMAC, question{address: v4, asker: netip.IPv4Unspecified(), askerMAC: ours}))
		if r := q.next(); r.Outcome != ProbeOtherMAC || r.MAC != otherMAC {
			t.Errorf("got %+v", r)
		}
	})
}

func (h *host) link(t testing.TB, name string) MAC {
	t.Helper()
	return iface{h, name}.mac()
}

// A peer that was stopped is alive, by every method: the kernel answers.
func TestProberHearsTheKernelOfAStoppedProcess(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	q := startProber(t)
	peer := c.startChild(t, "listen", nil)
	peer.read(t)
	must(t, peer.cmd.Process.Signal(unix.SIGSTOP))
	for _, method := range []Method{ProbeNeighbor, ProbeEcho, ProbeConnect} {
		r := q.expect(string(method), Probe{Method: method, Interface: "cl0", Target: netip.MustParseAddr("192.0.2.2"), Port: 7000, Expect: theirs.mac()}, ProbeAnswered)
		if r.Refused {
			t.Error("the port was refused")
		}
	}
}

// An interface that went down and came back is asked on again, one that
// is down is no witness.
func TestProberOutlivesItsInterface(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	q := startProber(t)
	probes := []Probe{
		{Method: ProbeNeighbor, Interface: "cl0", Target: netip.MustParseAddr("192.0.2.2"), Expect: theirs.mac()},
		{Method: ProbeEcho, Interface: "cl0", Target: netip.MustParseAddr("192.0.2.2")},
	}
	for _, p := range probes {
		q.expect(string(p.Method), p, ProbeAnswered)
	}
	ours.down()
	eventually(t, "the link to be seen down", func() bool {
		return q.ask(probes[0]).Outcome == ProbeNotSent
	})
	ours.up()
	for _, p := range probes {
		eventually(t, string(p.Method)+" to be answered again", func() bool {
			p.Deadline = time.Now().Add(100 * time.Millisecond)
			return q.ask(p).Outcome == ProbeAnswered
		})
	}
}

// BenchmarkProbes measures probes that are answered, a window of them under way.
func BenchmarkProbes(b *testing.B) {
	for _, method := range []Method{ProbeNeighbor, ProbeEcho, ProbeConnect} {
		b.Run(string(method), func(b *testing.B) {
			n, c := node(b), newHost(b)
			_, theirs := connect(b, "cl0", n, 1, c, 2)
			q := startProber(b)
			p := Probe{Method: method, Interface: "cl0", Target: netip.MustParseAddr("192.0.2.2"), Port: 7000}
			if method == ProbeNeighbor {
				p.Expect = theirs.mac()
			}
			before := cpuTime(b)
			b.ReportAllocs()
			lost := 0
			for b.Loop() {
				p.Deadline = time.Now().Add(time.Second)
				if r := q.ask(p); r.Outcome != ProbeAnswered {
					lost++
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/probe")
			b.ReportMetric(float64(lost), "lost")
		})
	}
}
