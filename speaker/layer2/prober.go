package layer2

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// A Prober asks other nodes' kernels for signs of life, many at once, and tells
// what came of it. Make one with [NewProber] and start it with Run; Probe may be
// called at any time from any goroutine.
//
//	Probe ──► socket of the interface ──► the wire
//	  │                                     │
//	  ▼                                     ▼
//	asked, by key ◄──── readers: one goroutine per socket ──► result
//	  │
//	  └──── deadline: Run reads what sockets still hold ────► result
//
// One lock guards it all; nothing under it waits.
type Prober struct {
	links   func() ([]Link, <-chan struct{})
	result  func(ProbeResult)
	open    openProbeFunc
	connect connectFunc
	id      uint16 // of echo requests

	mu     sync.Mutex
	ended  bool
	ports  map[probeSegment]*manned
	asked  map[probeKey]*asked
	due    queue[*asked]
	nonce  uint64
	frame  []byte
	earned []ProbeResult // to be told when the lock is free
	// timer is for the first deadline, and stopped while there is none: a probe that is answered, as most are, wakes
	// nobody up once more.
	timer   *time.Timer
	readers sync.WaitGroup
}

// A probeSegment is what needs a socket of its own.
type probeSegment struct {
	method Method
	segment
}

// A probePort is a socket that probes leave by and answers come in by.
type probePort interface {
	// Send sends a message; to is the address for sockets to which that matters.
	Send(message []byte, to netip.Addr) error
	// Receive hands over what has arrived and waits for nothing. An error means that
	// the socket is of no more use.
	Receive(take func(message []byte, at time.Time)) error
	// Wait calls ready whenever something may have arrived, until that says false, or Stop.
	Wait(ready func() bool)
	// Stop ends Wait. It waits for nothing, as Close does for those who are in Wait.
	Stop()
	// Close comes after Wait.
	Close() error
}

// An openProbeFunc opens the socket of a method on a link; the zero link
// means any.
type openProbeFunc func(method Method, link Link, family Family) (probePort, error)

// A connectFunc begins to connect.
type connectFunc func(link Link, to netip.AddrPort) (attempt, error)

// An attempt is a connection that is being opened.
type attempt interface {
	// Done says, without waiting, whether the attempt is over and how: nil when
	// it is connected.
	Done() (err error, done bool)
	// Wait calls ready when the attempt is over, unless Stop comes first.
	Wait(ready func())
	// Stop and Close are those of a probePort.
	Stop()
	Close() error
}

// manned is a port and the link that it was opened on.
type manned struct {
	probePort
	link Link
}

// A probeKey is what an answer is known by: of neighbours the target, so that
// one answers all that were asked until then, of others a nonce.
type probeKey struct {
	segment probeSegment
	target  netip.Addr
	nonce   uint64
}

// asked is a probe under way.
type asked struct {
	ProbeResult
	key     probeKey
	older   *asked // with the same key
	attempt attempt
	place
}

// maxAsked is how many probes may be under way; one more is not sent.
const maxAsked = 4096

// NewProber returns a Prober for the links given, those of an [Announcer]. It calls
// result once for each probe, from several goroutines, though one
// at a time for each probe; result must not wait.
func NewProber(links func() ([]Link, <-chan struct{}), result func(ProbeResult)) *Prober {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &Prober{
		links: links, result: result, open: openProbePort, connect: connectPort,
		id: uint16(rand.Uint32()), nonce: rand.Uint64(),
		ports: make(map[probeSegment]*manned), asked: make(map[probeKey]*asked), timer: timer,
		due: queue[*asked]{before: func(a, b *asked) bool { return a.Deadline.Before(b.Deadline) }},
	}
}

var errNoLinkLocal = errors.New("the interface has no IPv6 link-local address")

// Probe sends the probes and returns. Their results are told later, but for those that
// could not be sent, of which the result is told before Probe returns.
func (p *Prober) Probe(probes ...Probe) {
	links, _ := p.links()
	p.mu.Lock()
	for _, q := range probes {
		q.Target = q.Target.Unmap()
		r := ProbeResult{Probe: q, Sent: time.Now()}
		if err := p.send(links, r); err != nil {
			r.Outcome, r.At, r.Error = ProbeNotSent, r.Sent, err.Error()
			p.earned = append(p.earned, r)
		}
	}
	p.unlockAndTell()
}

// unlockAndTell frees the lock and tells what was found under it.
func (p *Prober) unlockAndTell() {
	results := p.earned
	p.earned = nil
	p.mu.Unlock()
	for _, r := range results {
		p.result(r)
	}
}

// send sends one probe and notes it as under way. It is called with the lock held.
func (p *Prober) send(links []Link, r ProbeResult) error {
	switch {
	case p.ended:
		return context.Canceled
	case p.due.Len() >= maxAsked:
		return fmt.Errorf("%d probes are under way", p.due.Len())
	case !r.Target.IsValid():
		return errors.New("there is no target")
	}
	link, err := linkNamed(links, r.Interface)
	if err != nil {
		return err
	}
	a := &asked{ProbeResult: r, key: probeKey{segment: probeSegment{r.Method, segment{r.Interface, FamilyOf(r.Target)}}}}
	switch r.Method {
	case ProbeNeighbor:
		a.key.target = r.Target.WithZone("")
		err = p.sendNeighbor(link, a)
	case ProbeEcho:
		p.nonce++
		a.key.nonce = p.nonce
		p.frame = appendEcho(p.frame[:0], a.key.segment.family, p.id, a.key.nonce)
		err = p.sendOn(link, a.key.segment, r.Target)
	case ProbeConnect:
		p.nonce++
		a.key.nonce = p.nonce
		err = p.dial(link, a)
	default:
		err = fmt.Errorf("there is no method %q", r.Method)
	}
	if err != nil {
		return err
	}
	a.older = p.asked[a.key]
	p.put(a.key, a)
	p.due.push(a)
	if p.due.first() == a {
		p.arm()
	}
	return nil
}

// linkNamed returns the link of that name, if it is up; no name is any link.
func linkNamed(links []Link, name string) (Link, error) {
	if name == "" {
		return Link{}, nil
	}
	for _, l := range links {
		if l.Name == name {
			if !l.Up {
				return Link{}, fmt.Errorf("interface %s: %w", name, syscall.ENETDOWN)
			}
			return l, nil
		}
	}
	return Link{}, fmt.Errorf("interface %s: %w", name, syscall.ENODEV)
}

func (p *Prober) sendNeighbor(link Link, a *asked) error {
	if link.Index == 0 {
		return errors.New("a neighbour is asked on an interface, and none is given")
	}
	switch a.key.segment.family {
	case IPv4:
		p.frame = appendARPProbe(p.frame[:0], link.HardwareAddr, a.Expect, a.key.target)
	case IPv6:
		if !link.LinkLocal.IsValid() {
			return errNoLinkLocal
		}
		p.frame = appendSolicitation(p.frame[:0], link.HardwareAddr, a.Expect, link.LinkLocal, a.key.target)
	}
	return p.sendOn(link, a.key.segment, a.key.target)
}

// sendOn sends p.frame by the port of the segment, which it opens if need be.
func (p *Prober) sendOn(link Link, s probeSegment, to netip.Addr) error {
	m := p.ports[s]
	if m != nil && (m.link.Index != link.Index || m.link.HardwareAddr != link.HardwareAddr) {
		p.discard(s, m)
		m = nil
	}
	if m == nil {
		port, err := p.open(s.method, link, s.family)
		if err != nil {
			return fmt.Errorf("opening a socket for probes: %w", err)
		}
		m = &manned{port, link}
		p.ports[s] = m
		p.readers.Go(func() { p.read(s, m) })
	}
	if err := m.Send(p.frame, to); err != nil {
		if v := judge(err); v == awaitLink || v == awaitDevice {
			p.discard(s, m)
		}
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// discard has a port closed, and the segment's next probe open another.
func (p *Prober) discard(s probeSegment, m *manned) {
	if p.ports[s] == m {
		delete(p.ports, s)
	}
	m.Stop()
}

// read takes answers as they come in until the port is closed or fails; then the next
// probe opens another.
func (p *Prober) read(s probeSegment, m *manned) {
	m.Wait(func() bool {
		p.mu.Lock()
		defer p.unlockAndTell()
		return p.take(s, m) == nil
	})
	p.mu.Lock()
	p.discard(s, m)
	p.mu.Unlock()
	m.Close()
}

// take takes what has arrived. It is called with the lock held.
func (p *Prober) take(s probeSegment, m *manned) error {
	return m.Receive(func(message []byte, at time.Time) {
		switch s.method {
		case ProbeNeighbor:
			if st, ok := protocols[s.family].statement(message); ok && st.mac != m.link.HardwareAddr {
				p.answeredBy(probeKey{s, st.address, 0}, st, at)
			}
		case ProbeEcho:
			if nonce, ok := parseEcho(message, s.family, p.id); ok {
				p.answered(probeKey{segment: s, nonce: nonce}, at)
			}
		}
	})
}

// stampGrace is by how much the kernel's clock for what comes in may be behind that for what is asked.
const stampGrace = time.Millisecond

// answeredBy notes an answer for the key's target. Those that expect another MAC go on
// waiting, and so do those that were asked only after the answer had come: it may have waited in the socket for long.
func (p *Prober) answeredBy(key probeKey, st statement, at time.Time) {
	var waiting *asked
	for a := p.asked[key]; a != nil; {
		older := a.older
		inTime := !at.Before(a.Sent.Add(-stampGrace))
		if inTime {
			a.MAC = st.mac
		}
		if inTime && (a.Expect.IsZero() || a.Expect == st.mac) {
			p.conclude(a, ProbeAnswered, at)
		} else {
			a.older, waiting = waiting, a
		}
		a = older
	}
	p.put(key, waiting)
}

// put makes a, and those older than it, what is under way with the key.
func (p *Prober) put(key probeKey, a *asked) {
	if a == nil {
		delete(p.asked, key)
	} else {
		p.asked[key] = a
	}
}

// answered notes that the probe with this key, which no other has, was answered.
func (p *Prober) answered(key probeKey, at time.Time) {
	if a := p.asked[key]; a != nil {
		p.put(key, nil)
		p.conclude(a, ProbeAnswered, at)
	}
}

// conclude ends a probe that p.asked no longer has.
func (p *Prober) conclude(a *asked, o Outcome, at time.Time) {
	p.due.remove(a)
	if p.due.Len() == 0 {
		p.arm()
	}
	if a.attempt != nil {
		a.attempt.Stop()
	}
	a.Outcome, a.At = o, at
	p.earned = append(p.earned, a.ProbeResult)
}

// dial begins to connect.
func (p *Prober) dial(link Link, a *asked) error {
	attempt, err := p.connect(link, netip.AddrPortFrom(a.Target, a.Port))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	a.attempt = attempt
	p.readers.Go(func() {
		attempt.Wait(func() {
			p.mu.Lock()
			if p.asked[a.key] == a {
				p.settle(a, time.Now())
			}
			p.unlockAndTell()
		})
		attempt.Close()
	})
	return nil
}

// settle concludes a connection if it is over.
func (p *Prober) settle(a *asked, now time.Time) {
	err, done := a.attempt.Done()
	if !done {
		return
	}
	p.put(a.key, nil)
	switch {
	case err == nil:
		p.conclude(a, ProbeAnswered, now)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		a.Refused = true
		p.conclude(a, ProbeAnswered, now)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ETIMEDOUT):
		p.conclude(a, ProbeUnanswered, now)
	default:
		a.Error = err.Error()
		p.conclude(a, ProbeNotSent, now)
	}
}

// Run judges probes whose deadline is over, until ctx ends. Then it closes all sockets
// and returns nil; probes still under way have no result.
func (p *Prober) Run(ctx context.Context) error {
	defer p.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.timer.C:
			p.expire()
		}
	}
}

// expire judges what is due.
func (p *Prober) expire() {
	p.mu.Lock()
	defer p.unlockAndTell()
	defer p.arm()
	now := time.Now()
	if p.due.Len() == 0 || p.due.first().Deadline.After(now) {
		return
	}
	// What has arrived counts, though nobody had the time to look at it.
	for s, m := range p.ports {
		// An error is for the reader to see.
		_ = p.take(s, m)
	}
	for p.due.Len() > 0 && !p.due.first().Deadline.After(now) {
		a := p.due.first()
		if a.attempt != nil {
			if p.settle(a, now); p.asked[a.key] != a {
				continue
			}
		}
		p.forget(a)
		outcome := ProbeUnanswered
		if !a.MAC.IsZero() {
			outcome = ProbeOtherMAC
		}
		p.conclude(a, outcome, now)
	}
}

// arm sets the timer to the first deadline.
func (p *Prober) arm() {
	if p.ended || p.due.Len() == 0 {
		p.timer.Stop()
		return
	}
	p.timer.Reset(time.Until(p.due.first().Deadline))
}

// forget takes a out of those with its key.
func (p *Prober) forget(a *asked) {
	first := p.asked[a.key]
	if first == a {
		p.put(a.key, a.older)
		return
	}
	for ; first != nil; first = first.older {
		if first.older == a {
			first.older = a.older
			return
		}
	}
}

// close closes all sockets and waits for their readers.
func (p *Prober) close() {
	p.mu.Lock()
	p.ended = true
	for s, m := range p.ports {
		p.discard(s, m)
	}
	for _, a := range p.due.items {
		if a.attempt != nil {
			a.attempt.Stop()
		}
	}
	p.due.items, p.asked = nil, make(map[probeKey]*asked)
	p.arm()
	p.mu.Unlock()
	p.readers.Wait()
}
