package layer2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeProbePort is a socket for probes in memory.
type fakeProbePort struct {
	mu      sync.Mutex
	sent    [][]byte
	arrived []arrived
	failed  error
	ready   chan struct{}
	stopped chan struct{}
	closed  bool
}

type arrived struct {
	message []byte
	at      time.Time
}

func (p *fakeProbePort) Send(message []byte, _ netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, append([]byte(nil), message...))
	return p.failed
}

func (p *fakeProbePort) Receive(take func([]byte, time.Time)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.arrived {
		take(a.message, a.at)
	}
	p.arrived = nil
	return p.failed
}

func (p *fakeProbePort) Wait(ready func() bool) {
	for {
		select {
		case <-p.stopped:
			return
		case <-p.ready:
			if !ready() {
				return
			}
		}
	}
}

func (p *fakeProbePort) Stop() {
	select {
	case <-p.stopped:
	default:
		close(p.stopped)
	}
}

func (p *fakeProbePort) Close() error { p.closed = true; return nil }

func (p *fakeProbePort) fails(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = err
}

// put has a message arrive; whether the reader is woken up is another matter.
func (p *fakeProbePort) put(message []byte, wake bool) {
	p.mu.Lock()
	p.arrived = append(p.arrived, arrived{message, time.Now()})
	p.mu.Unlock()
	if wake {
		p.ready <- struct{}{}
	}
}

// A probed is a Prober in memory, in a synctest bubble.
type probed struct {
	*Prober
	ports []*fakeProbePort
	links []Link

	mu      sync.Mutex
	results []ProbeResult
}

func (p *probed) note(r ProbeResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results = append(p.results, r)
}

func inProber(t *testing.T, story func(t *testing.T, p *probed)) {
	synctest.Test(t, func(t *testing.T) {
		p := &probed{links: []Link{{Name: "eth0", Index: 2, HardwareAddr: ourMAC, Up: true, LinkLocal: ourLinkLocal}}}
		p.Prober = NewProber(func() ([]Link, <-chan struct{}) { return p.links, nil }, p.note)
		p.open = func(Method, Link, Family) (probePort, error) {
			port := &fakeProbePort{ready: make(chan struct{}), stopped: make(chan struct{})}
			p.ports = append(p.ports, port)
			return port, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		story(t, p)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, port := range p.ports {
			if !port.closed {
				t.Error("a port was left open")
			}
		}
	})
}

func (p *probed) neighbor(id uint64, wait time.Duration) {
	p.Probe(Probe{ID: id, Method: ProbeNeighbor, Interface: "eth0", Target: client4, Expect: clientMAC, Deadline: time.Now().Add(wait)})
	synctest.Wait()
}

// outcomes returns the results since it was asked last, in brief.
func (p *probed) outcomes() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := ""
	for _, r := range p.results {
		s += fmt.Sprintf("%d %s;", r.ID, r.Outcome)
	}
	p.results = nil
	return s
}

func TestProber(t *testing.T) {
	ms := time.Millisecond
	answer := says(clientMAC, client4)
	for _, c := range []struct {
		name  string
		story func(p *probed)
		want  string
	}{
		{"one answer is one to all that were asked until then", func(p *probed) {
			p.neighbor(1, 50*ms)
			p.neighbor(2, 70*ms)
			p.ports[0].put(answer, true)
			synctest.Wait()
			p.neighbor(3, 50*ms)
			time.Sleep(60 * ms)
		}, "2 Answered;1 Answered;3 Unanswered;"},
		{"one that has waited in the socket is none to what was asked since", func(p *probed) {
			p.neighbor(1, 90*ms)
			p.ports[0].put(answer, false)
			time.Sleep(20 * ms)
			p.neighbor(2, 50*ms)
			p.ports[0].ready <- struct{}{}
			time.Sleep(60 * ms)
		}, "1 Answered;2 Unanswered;"},
		{"deadlines are kept in their order, not in that of asking", func(p *probed) {
			p.neighbor(1, 90*ms)
			p.neighbor(2, 30*ms)
			time.Sleep(100 * ms)
		}, "2 Unanswered;1 Unanswered;"},
		{"what has arrived counts, though no reader has run", func(p *probed) {
			p.neighbor(1, 50*ms)
			p.ports[0].put(answer, false)
			time.Sleep(60 * ms)
		}, "1 Answered;"},
		{"an answer with another MAC is waited beyond", func(p *probed) {
			p.neighbor(1, 50*ms)
			p.neighbor(2, 90*ms)
			p.ports[0].put(says(otherMAC, client4), true)
			time.Sleep(60 * ms)
			p.ports[0].put(answer, true)
		}, "1 OtherMAC;2 Answered;"},
		{"an answer for another target is none", func(p *probed) {
			p.neighbor(1, 50*ms)
			p.ports[0].put(says(clientMAC, client4.Next()), true)
			time.Sleep(60 * ms)
		}, "1 Unanswered;"},
		{"an answer after the deadline is nobody's", func(p *probed) {
			p.neighbor(1, 50*ms)
			time.Sleep(60 * ms)
			p.ports[0].put(answer, true)
		}, "1 Unanswered;"},
		{"a socket that fails is no silence, and the next probe has another", func(p *probed) {
			p.neighbor(1, 50*ms)
			p.ports[0].fails(syscall.ENETDOWN)
			p.neighbor(2, 50*ms)
			p.neighbor(3, 50*ms)
			p.ports[1].put(answer, true)
		}, "2 NotSent;3 Answered;1 Answered;"},
		{"an interface with another MAC has another socket", func(p *probed) {
			p.neighbor(1, 50*ms)
			p.links = []Link{{Name: "eth0", Index: 2, HardwareAddr: otherMAC, Up: true}}
			p.neighbor(2, 50*ms)
			time.Sleep(60 * ms)
			if len(p.ports) != 2 {
				p.note(ProbeResult{Outcome: "SameSocket"})
			}
		}, "1 Unanswered;2 Unanswered;"},
		{"too many are not sent", func(p *probed) {
			for i := range maxAsked {
				p.Probe(Probe{ID: uint64(i), Method: ProbeNeighbor, Interface: "eth0", Target: client4, Deadline: time.Now().Add(time.Hour)})
			}
			p.neighbor(9999, time.Hour)
		}, "9999 NotSent;"},
		{"an echo is answered by its nonce alone", func(p *probed) {
			for id := range uint64(2) {
				p.Probe(Probe{ID: id, Method: ProbeEcho, Interface: "eth0", Target: client6, Deadline: time.Now().Add(50 * ms)})
			}
			reply := append([]byte(nil), p.ports[0].sent[1]...)
			reply[0] = 129
			p.ports[0].put(reply, true)
			time.Sleep(60 * ms)
		}, "1 Answered;0 Unanswered;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inProber(t, func(t *testing.T, p *probed) {
				c.story(p)
				if got := p.outcomes(); got != c.want {
					t.Errorf("got %s expected %s", got, c.want)
				}
			})
		})
	}
}

func TestAProberThatHasEndedSendsNothing(t *testing.T) {
	var got []ProbeResult
	p := NewProber(func() ([]Link, <-chan struct{}) { return nil, nil }, func(r ProbeResult) { got = append(got, r) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Fatal(err)
	}
	p.Probe(Probe{Method: ProbeEcho, Target: client4})
	if len(got) != 1 || got[0].Outcome != ProbeNotSent {
		t.Errorf("got %+v", got)
	}
}

// A connection's fate decides, whatever a starved waiter has seen of it.
func TestConnectOutcomes(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		done    bool
		want    Outcome
		refused bool
	}{
		{"connected, but nobody has looked", nil, true, ProbeAnswered, false},
		{"refused", syscall.ECONNREFUSED, true, ProbeAnswered, true},
		{"the neighbour is not found", syscall.EHOSTUNREACH, true, ProbeUnanswered, false},
		{"this node is out of memory", syscall.ENOBUFS, true, ProbeNotSent, false},
		{"nothing came", nil, false, ProbeUnanswered, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inProber(t, func(t *testing.T, p *probed) {
				p.connect = func(Link, netip.AddrPort) (attempt, error) {
					return &fakeAttempt{err: c.err, done: c.done, stopped: make(chan struct{})}, nil
				}
				p.Probe(Probe{Method: ProbeConnect, Target: client4, Port: 1, Deadline: time.Now().Add(time.Second)})
				time.Sleep(time.Second)
				synctest.Wait()
				if len(p.results) != 1 || p.results[0].Outcome != c.want || p.results[0].Refused != c.refused {
					t.Errorf("got %+v", p.results)
				}
			})
		})
	}
	t.Run("it cannot even begin", func(t *testing.T) {
		inProber(t, func(t *testing.T, p *probed) {
			p.connect = func(Link, netip.AddrPort) (attempt, error) { return nil, errors.New("no descriptor") }
			p.Probe(Probe{Method: ProbeConnect, Target: client4, Port: 1, Deadline: time.Now().Add(time.Second)})
			if len(p.results) != 1 || p.results[0].Outcome != ProbeNotSent {
				t.Errorf("got %+v", p.results)
			}
		})
	})
}

// A fakeAttempt is a connection of which the waiter never hears.
type fakeAttempt struct {
	err     error
	done    bool
	stopped chan struct{}
}

func (a *fakeAttempt) Done() (error, bool) { return a.err, a.done }
func (a *fakeAttempt) Wait(func())         { <-a.stopped }
func (a *fakeAttempt) Stop()               { close(a.stopped) }
func (a *fakeAttempt) Close() error        { return nil }
