package child

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// network is what a session needs of the world; the kernel is the real one.
type network interface {
	// dial connects with a router.
	dial(ctx context.Context, p *bgp.Peer, router netip.Addr) (net.Conn, error)
	// router finds the router on an interface.
	router(ctx context.Context, iface string) (netip.Addr, error)
	// nextHops are addresses that others on a connection's link reach this node by; each may be missing.
	nextHops(local netip.Addr) (v4, v6, linkLocal netip.Addr)
	// lowTTLs counts packets that the kernel dropped because of a lowest TTL.
	lowTTLs() uint64
}

// instruction is something that a session is to take in: it changes the session's own fields.
type instruction func(*session)

// session is one session, and the attempts at it. Its goroutine, run, owns all fields below the line.
//
//	           hold                        back-off over
//	┌──────┐ ◄────── any state    ┌────────┐ ──────► ┌─────────┐
//	│ Idle │                      │ Active │         │ Connect │
//	└──────┘ ─────────────────►   └────────┘ ◄────── └─────────┘
//	           release               ▲   failure          │ connected: OPEN sent
//	                                 │                    ▼
//	        ┌─────────────┐ ◄─ KEEPALIVE ─ ┌─────────────┐ ◄─ OPEN ─ ┌──────────┐
//	        │ Established │                │ OpenConfirm │           │ OpenSent │
//	        └─────────────┘                └─────────────┘           └──────────┘
//
// (RFC 4271 section 8 without its listening side: nobody connects with us.)
type session struct {
	network network
	report  func(bgp.Session)
	begin   time.Time
	// closing counts connections that are being closed.
	closing *sync.WaitGroup

	mu      sync.Mutex
	box     []instruction
	knocked chan struct{}

	// ----
	peer    bgp.Peer
	rib     *rib
	hold    string
	status  bgp.Session
	refusal int // refusals in a row
	// again says that something has changed that may make the next attempt succeed.
	again bool
	// remake says why the session should be ended and made again.
	remake []string
	// stop is set when the session is to end for good.
	stop *stop
	// lowTTLs is network.lowTTLs at the beginning of the attempt.
	lowTTLs uint64
	// unsent says why routes could not be sent.
	unsent string
	// inForce are the settings that the OPEN was made of.
	inForce bgp.Peer
}

// stop is how a session ends for good.
type stop struct {
	bgp.Stop
	// deconfigured: the peer is no more.
	deconfigured bool
}

func newSession(p bgp.Peer, n network, begin time.Time, closing *sync.WaitGroup, report func(bgp.Session)) *session {
	return &session{
		network: n, report: report, begin: begin, closing: closing, knocked: make(chan struct{}, 1),
		peer: p, inForce: p, rib: newRIB(), status: bgp.Session{Peer: p.Name, State: bgp.Idle, Since: time.Now()},
	}
}

// post has the session take something in.
func (s *session) post(i instruction) {
	s.mu.Lock()
	s.box = append(s.box, i)
	s.mu.Unlock()
	select {
	case s.knocked <- struct{}{}:
	default:
	}
}

// takeIn carries out what was posted.
func (s *session) takeIn() {
	s.mu.Lock()
	box := s.box
	s.box = nil
	s.mu.Unlock()
	for _, i := range box {
		i(s)
	}
	s.status.RoutesWanted = s.rib.wanted
}

// configure is an instruction: these settings from now on.
func configure(p bgp.Peer) instruction {
	return func(s *session) {
		effect, because, _ := bgp.Compare(&s.peer, &p)
		s.peer = p
		if effect > bgp.InPlace {
			s.remake = append(s.remake, because...)
			s.again = true
		}
		s.tellPending()
	}
}

func (s *session) tellPending() {
	s.status.Pending = nil
	if s.status.State >= bgp.OpenSent {
		_, _, s.status.Pending = bgp.Compare(&s.inForce, &s.peer)
	}
}

// route is an instruction: these routes change.
func route(upsert []bgp.Route, remove []netip.Prefix) instruction {
	return func(s *session) {
		for i := range upsert {
			s.rib.upsert(&upsert[i])
		}
		for _, p := range remove {
			s.rib.remove(p)
		}
	}
}

// holdDown is an instruction: no session while why is not empty.
func holdDown(why string) instruction {
	return func(s *session) {
		s.hold = why
		s.again = s.again || why == ""
	}
}

// end is an instruction: it is over.
func end(how stop) instruction {
	return func(s *session) {
		if s.stop == nil {
			s.stop = &how
		}
	}
}

// run has the session until it is over or ctx ends; with ctx its connection closes without a word.
func (s *session) run(ctx context.Context) {
	s.takeIn()
	s.publish()
	for ctx.Err() == nil && s.stop == nil {
		if s.hold != "" {
			s.fail(bgp.Held, s.hold)
			s.status.NextAttempt = time.Time{}
			s.enter(bgp.Idle)
			s.wait(ctx, nil)
			continue
		}
		s.again, s.remake = false, nil
		ups := s.status.Ups
		how := s.guardedAttempt(ctx)
		if how == renewed && s.status.Ups > ups {
			s.refusal = 0 // the router took it, and did not end it
		}
		if ctx.Err() != nil || s.stop != nil || s.hold != "" {
			continue
		}
		delay := s.after(how)
		s.status.NextAttempt = time.Now().Add(delay)
		s.enter(bgp.Active)
		if delay > 0 {
			timer := time.NewTimer(delay)
			s.wait(ctx, timer.C)
			timer.Stop()
		}
	}
	s.enter(bgp.Idle)
}

// after takes note of a failure and tells how long to wait.
func (s *session) after(how failure) time.Duration {
	switch how {
	case refused:
		s.refusal++
	case lost, dismissed:
		s.refusal = 0
	}
	s.status.Failures++
	if how == renewed {
		s.status.Failures = 0
	}
	return retryDelay(how, s.refusal, s.peer.ConnectTime, rand.Float64())
}

// wait takes in what is posted until the time has come or something asks for another attempt.
func (s *session) wait(ctx context.Context, until <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-until:
			return
		case <-s.knocked:
			before := s.hold
			s.takeIn()
			s.publish()
			if s.stop != nil || s.again || s.hold != before {
				return
			}
		}
	}
}

// guardedAttempt is attempt, with defects of ours contained.
func (s *session) guardedAttempt(ctx context.Context) (how failure) {
	defer func() {
		if p := recover(); p != nil {
			s.fail(bgp.Broken, (&defect{p}).Error())
			how = refused
		}
	}()
	return s.attempt(ctx)
}

// defect is a panic, as an error.
type defect struct{ cause any }

func (d *defect) Error() string {
	return fmt.Sprintf("a defect of Clarion ended the session: %v", d.cause)
}

// attempt connects and has the session for as long as it lasts.
func (s *session) attempt(ctx context.Context) failure {
	s.enter(bgp.Connect)
	s.lowTTLs = s.network.lowTTLs()
	c, router, err := s.connect(ctx)
	if err != nil {
		if s.interrupted(ctx) {
			return renewed
		}
		if broken := (*defect)(nil); errors.As(err, &broken) {
			s.fail(bgp.Broken, broken.Error())
		} else if router.IsValid() {
			s.fail(noConnection(err, &s.peer, router, s.tooFar()))
		} else {
			s.fail(noRouter(err, s.peer.Interface))
		}
		return unanswered
	}
	return s.converse(ctx, c)
}

// tooFar tells whether the kernel has dropped packets since the attempt began because they came from too far.
func (s *session) tooFar() bool {
	return s.peer.TTLSecurity > 0 && s.network.lowTTLs() > s.lowTTLs
}

// interrupted tells whether an attempt was given up for a reason of our own.
func (s *session) interrupted(ctx context.Context) bool {
	return ctx.Err() != nil || s.stop != nil || s.hold != "" || len(s.remake) > 0
}

// connect takes in what is posted while it connects, and gives up when that makes the attempt useless.
func (s *session) connect(ctx context.Context) (c net.Conn, router netip.Addr, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := s.peer // the goroutine's own
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if cause := recover(); cause != nil {
				c, err = nil, &defect{cause}
			}
		}()
		router = p.Address
		if p.Interface != "" {
			if router, err = s.network.router(ctx, p.Interface); err != nil {
				router = netip.Addr{}
				return
			}
		}
		c, err = s.network.dial(ctx, &p, router)
	}()
	for {
		select {
		case <-done:
			if err == nil && s.interrupted(ctx) {
				c.Close()
				err = context.Canceled
			}
			return c, router, err
		case <-s.knocked:
			s.takeIn()
			s.publish()
			if s.interrupted(ctx) {
				cancel()
			}
		}
	}
}

// fail notes why there is no session.
func (s *session) fail(reason bgp.Reason, message string) {
	s.status.LastError, s.status.LastMessage, s.status.LastErrorAt = reason, message, time.Now()
}

// enter comes to a state. While attempts fail again and again, waiting and trying are one state: Active.
func (s *session) enter(state bgp.State) {
	if s.status.Failures > 0 && state < bgp.OpenConfirm && state != bgp.Idle {
		state = bgp.Active
	}
	if state != s.status.State {
		s.status.State, s.status.Since = state, time.Now()
	}
	if state < bgp.Established {
		s.status.Negotiated, s.status.RoutesSent, s.status.Unsendable = bgp.Negotiated{}, 0, ""
	}
	s.tellPending()
	s.publish()
}

// publish reports the session as it is.
func (s *session) publish() {
	if s.status.State == bgp.Established {
		s.status.RoutesSent = s.rib.sent
		s.status.Unsendable = s.whyUnsent()
	}
	s.report(s.status)
}

// whyUnsent tells why the router has fewer routes than wanted.
func (s *session) whyUnsent() string {
	if s.rib.sent >= s.rib.wanted {
		return ""
	}
	if s.unsent != "" {
		return s.unsent
	}
	return "the session does not carry every route's family: see families, and what the router activates"
}

func connectionEnds(c net.Conn) (local, remote netip.AddrPort) {
	end := func(a net.Addr) netip.AddrPort {
		if tcp, ok := a.(*net.TCPAddr); ok {
			p := tcp.AddrPort()
			return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
		}
		return netip.AddrPort{}
	}
	return end(c.LocalAddr()), end(c.RemoteAddr())
}

// noRouter tells why no router was found on an interface.
func noRouter(err error, iface string) (bgp.Reason, string) {
	if source := (*sourceError)(nil); errors.As(err, &source) {
		return bgp.SourceUnavailable, source.Error()
	}
	if errors.Is(err, os.ErrPermission) {
		return bgp.NotPermitted, err.Error() + ": the speaker needs CAP_NET_RAW"
	}
	return bgp.NoRouter, fmt.Sprintf("no router advertises itself on %s: the other end must send router advertisements", iface)
}

// Times that RFC 4271 leaves open.
const (
	// openPatience is how long a router has for its OPEN, and again for its first KEEPALIVE.
	openPatience = 10 * time.Second
	// readLag is how much later than the hold time we say that a router is silent: what it sent may wait to be
	// read, because this process did not run.
	readLag = 100 * time.Millisecond
	// closePatience is how long a router has to take our last words.
	closePatience = time.Second
)

// refuse says a NOTIFICATION and closes.
func (c *conversation) refuse(no *refusal) {
	c.s.fail(no.reason, no.message)
	c.close(notification(no.code, no.subcode, no.data))
}

// holdExpired is what a router is told that was silent.
func holdExpired() []byte { return notification(codec.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, nil) }
