package bfd

import (
	"slices"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
	"github.com/clarion-lb/clarion/speaker/bfd/session"
)

const (
	// Of one peer's packets at most budget are read in a window; what comes
	// beyond waits, and what does not fit the queue is lost. The fastest session
	// needs fewer by far.
	budget       = 64
	budgetWindow = 20 * time.Millisecond
	// lastLook is how much is read before a session is given up: more than fits a
	// socket's queue.
	lastLook = 512
	// reopenInterval is how long sockets that could not be opened, or broke, stay
	// closed; staleInterval how often those of a session that is down are held
	// against the node's routes and interfaces.
	reopenInterval = time.Second
	staleInterval  = 5 * time.Second
	// showInterval passes between two times that something else than a state is
	// shown.
	showInterval = 100 * time.Millisecond
)

// A line is a path with a session on it. The loop alone touches it.
type line struct {
	path    Path
	profile Profile
	names   []string // who wants it, in order
	session *session.Session
	sockets sockets
	echo    *echoSender
	// slot is the line's place in the loop.
	slot int

	nextOpen  time.Time
	nextCheck time.Time
	// empty is when the socket's queue was last seen empty: what is in it came
	// since.
	empty time.Time
	// spent counts what was read in the window that began at window; paused says
	// that nothing more is read in it.
	spent  int
	window time.Time
	paused bool
	// ending says that nobody wants the line any more; it goes when the other end
	// is told.
	ending bool

	since       time.Time
	wasUp       bool
	failed      bool
	failures    uint64
	lastFailure string
	problem     error
	refusal     packet.Refusal
	ttl         int
	detect      time.Duration // detection time while the session was last Up
	heard       bool          // anything at all
	status      session.Status
	reason      string
	// explained is what reason was made of. unshown says that others don't know
	// yet, and nextShow when they may.
	explained circumstances
	unshown   bool
	nextShow  time.Time
	counters  *liveCounters
}

func (p Profile) parameters() session.Parameters {
	return session.Parameters{
		DesiredMinTx: p.TransmitInterval.Truncate(time.Microsecond), RequiredMinRx: p.ReceiveInterval.Truncate(time.Microsecond),
		DetectMult: p.DetectMultiplier, Passive: p.Passive, Held: p.Held, Auth: p.Auth,
	}
}

func (l *line) minTTL() int {
	switch {
	case !l.path.Multihop:
		return ttl
	case l.profile.MinimumTTL == 0:
		return defaultMinTTL
	}
	return int(l.profile.MinimumTTL)
}

// configure says what is wanted now.
func (l *line) configure(now time.Time, profile Profile, names []string) {
	if l.ending {
		l.ending = false
		was := l.session.State()
		l.session.Enable()
		l.moved(now, was)
	}
	if !slices.Equal(l.names, names) {
		l.names, l.unshown, l.nextShow = names, true, now
	}
	if profile == l.profile {
		return
	}
	l.profile = profile
	l.parameterize()
}

// parameterize hands the profile to the session, with echo as far as it is
// possible here.
func (l *line) parameterize() {
	p := l.profile.parameters()
	if l.echo != nil {
		p.EchoInterval = l.profile.EchoInterval
		if l.echo.returns {
			p.RequiredMinEchoRx = l.profile.EchoInterval
		}
	}
	l.session.SetParameters(p)
}

// open opens the sockets, or says what keeps them from being opened.
func (l *line) open(now time.Time) {
	var err error
	if l.sockets, err = open(l.path, l.sockets.port); err != nil {
		l.problem = explainOpen(l.path, err)
		l.nextOpen = now.Add(reopenInterval)
		return
	}
	l.problem = nil
	l.empty = now
	l.nextCheck = now.Add(staleInterval)
}

// stale reports whether the sockets of a session that is down would be others
// if they were opened now: the node's routes choose another address, or the
// interface is another one by the same name.
func (l *line) stale() bool {
	index, err := indexOf(l.path)
	if err != nil || index != l.sockets.index {
		return true
	}
	local, err := chosen(l.path)
	return err != nil || local != l.sockets.local
}

// read takes what is in the queue, up to a limit, and reports whether the
// queue is empty now.
func (l *line) read(now time.Time, b *batch, limit int) (empty bool) {
	for read := 0; read < limit; {
		n := b.receive(l.sockets.rx)
		for i := range n {
			l.receive(now, b.datagram(i))
		}
		read += n
		l.spent += n
		if n < batchSize {
			l.empty = now
			return true
		}
	}
	return false
}

// receive takes one packet.
func (l *line) receive(now time.Time, d datagram) {
	l.counters.received.Add(1)
	l.heard = true
	was := l.session.State()
	err := l.take(now, d)
	l.moved(now, was)
	if err != nil {
		if err == error(session.LocallyDisabled) {
			return
		}
		l.counters.refused.Add(1)
		if refusal, ok := err.(packet.Refusal); ok {
			l.refusal = refusal
		}
		return
	}
	l.refusal, l.problem = "", nil
}

func (l *line) take(now time.Time, d datagram) error {
	if d.ttl < l.minTTL() {
		l.ttl = d.ttl
		return wrongTTL
	}
	p, err := packet.Parse(d.payload)
	if err != nil {
		return err
	}
	return l.session.Receive(l.arrival(now, d), d.payload, &p)
}

// arrival is when the kernel took a packet in, which may be long ago if we woke
// up late. Its clock may have been set meanwhile; that the queue was empty when
// we last looked bounds what it can say.
func (l *line) arrival(now time.Time, d datagram) time.Time {
	if d.seconds == 0 {
		return now
	}
	age := now.Round(0).Sub(time.Unix(d.seconds, d.nanoseconds))
	return now.Add(-min(max(age, 0), now.Sub(l.empty)))
}

// expire lets the session find out what is overdue, after a last look at what
// came in time.
func (l *line) expire(now time.Time, b *batch) {
	if l.sockets.isOpen() && l.session.Overdue(now) {
		l.read(now, b, lastLook)
		if l.echo != nil {
			l.echo.tap.read()
		}
	}
	was := l.session.State()
	l.session.Expire(now)
	l.moved(now, was)
}

// moved keeps account of a transition, which is to be shown at once.
func (l *line) moved(now time.Time, was State) {
	status := l.session.Status()
	if status.State == was {
		return
	}
	l.since, l.unshown, l.nextShow = now.Round(0), true, now
	switch {
	case status.State == Up:
		l.failed, l.wasUp = false, true
	case was == Up && status.State != AdminDown && !status.NoFailure():
		l.failed = true
		l.failures++
		c := l.circumstances()
		c.now = status
		l.lastFailure = c.reason()
	}
}

// allow opens a new window where the last one is over, and reports whether more
// may be read in this one.
func (l *line) allow(now time.Time) bool {
	if now.Sub(l.window) >= budgetWindow {
		l.window, l.spent = now, 0
	}
	return l.spent < budget
}

// transmit sends what is to be sent now.
func (l *line) transmit(now time.Time, buffer []byte) {
	if !l.sockets.isOpen() {
		return
	}
	for {
		b := l.session.Transmit(now, buffer)
		if len(b) == 0 {
			break
		}
		if err := l.sockets.send(b); err != nil {
			l.counters.sendErrors.Add(1)
			problem, broken := explainSend(l.path, err)
			if problem != nil {
				l.problem = problem
			}
			if broken {
				l.closeSockets()
				l.nextOpen = now.Add(reopenInterval)
				return
			}
			continue
		}
		l.counters.sent.Add(1)
	}
	if l.echo == nil {
		return
	}
	if number, due := l.session.Echo(now); due {
		if err := l.echo.send(l.session.Discriminator(), number); err != nil {
			l.counters.sendErrors.Add(1)
		} else {
			l.counters.echoesSent.Add(1)
		}
	}
}

// wake is when there is something to do without a packet; never if zero.
func (l *line) wake(now time.Time) time.Time {
	var wake time.Time
	earliest := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}
	if l.unshown {
		earliest(l.nextShow)
	}
	if !l.sockets.isOpen() {
		earliest(l.nextOpen)
		return wake
	}
	if t := l.session.Wake(now); !t.IsZero() {
		earliest(t)
	}
	if l.paused {
		earliest(l.window.Add(budgetWindow))
	}
	if l.session.State() != Up {
		earliest(l.nextCheck)
	}
	return wake
}

// observe compares the session with what was shown of it, and reports whether
// there is something new to show. A transition is shown at once, the rest not too
// often.
func (l *line) observe(now time.Time) bool {
	status := l.session.Status()
	was := l.status
	l.status = status
	if status.State == Up {
		l.detect = status.DetectionTime
		if status.EchoActive {
			l.detect = min(l.detect, l.session.EchoDetectionTime())
		}
	}
	if c := l.circumstances(); c != l.explained {
		l.explained = c
		if reason := c.reason(); reason != l.reason {
			l.reason, l.unshown = reason, true
		}
	}
	if status != was {
		l.unshown = true
	}
	if !l.unshown || now.Before(l.nextShow) {
		return false
	}
	l.unshown, l.nextShow = false, now.Add(showInterval)
	return true
}

func (l *line) circumstances() circumstances {
	return circumstances{
		path: l.path, now: l.status, wasUp: l.wasUp, problem: l.problem, heard: l.heard,
		refusal: l.refusal, ttl: l.ttl, minTTL: l.minTTL(), passive: l.profile.Passive, detect: l.detect,
	}
}

func (l *line) statuses() []Status {
	path := l.path
	if l.sockets.isOpen() {
		path.Local = l.sockets.local
	}
	all := make([]Status, 0, len(l.names))
	for _, name := range l.names {
		all = append(all, Status{
			Name: name, Path: path, State: l.status.State, Since: l.since, Failed: l.failed, Failures: l.failures, LastFailure: l.lastFailure,
			Reason: l.reason, Negotiated: l.status,
		})
	}
	return all
}
