package bfd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
	"github.com/clarion-lb/clarion/speaker/bfd/session"
)

const (
	// goodbye is how long a loop that ends tells the other ends at most.
	goodbye = time.Second
)

// A loop is the one goroutine that runs all sessions. It waits for
// packets, for the earliest timer, and for its bell.
type loop struct {
	engine *Engine
	log    *journal

	epoll, timer, bell int
	events             [64]unix.EpollEvent
	batch              *batch
	buffer             []byte

	// base is when the loop began; due are the lines' wake times since then, by
	// slot, and never where there is none.
	base  time.Time
	armed time.Duration // what the timer is set to
	lines map[Path]*line
	slots []*line
	due   []time.Duration
	taps  map[int]*tap

	version  uint64
	invalid  []string // names of sessions that can't be
	stopping bool
	deadline time.Time
}

const never = time.Duration(1<<63 - 1)

// What an event of epoll is about, in its Pad; Fd is the slot or the tap's
// interface.
const (
	eventLine = iota
	eventBell
	eventTimer
	eventTap
)

func (e *Engine) run(ctx context.Context) error {
	l, err := newLoop(e)
	if err != nil {
		return fmt.Errorf("starting BFD: %w", err)
	}
	defer l.close()
	e.listen(l.ring)
	// After that nobody rings, and the bell may be closed.
	defer e.listen(nil)
	defer context.AfterFunc(ctx, e.wake)()

	return l.run(ctx)
}

func newLoop(e *Engine) (*loop, error) {
	l := &loop{
		engine: e, log: newJournal(e.log), epoll: -1, timer: -1, bell: -1,
		batch: newBatch(), buffer: make([]byte, 0, packet.MaxLength), base: time.Now(),
		armed: never, lines: make(map[Path]*line), taps: make(map[int]*tap),
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		l.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		l.close()
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	for _, w := range []struct {
		fd    int
		event unix.EpollEvent
	}{
		{l.bell, unix.EpollEvent{Events: unix.EPOLLIN, Pad: eventBell}},
		// Setting the timer clears its event; there is no need to read it.
		{l.timer, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Pad: eventTimer}},
	} {
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, w.fd, &w.event); err != nil {
			l.close()
			return nil, os.NewSyscallError("epoll_ctl", err)
		}
	}
	return l, nil
}

func (l *loop) close() {
	for _, line := range l.lines {
		l.drop(line)
	}
	for _, fd := range []int{l.epoll, l.timer, l.bell} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// ring wakes the loop, from any goroutine.
func (l *loop) ring() {
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	// It fails only where the bell has rung 2⁶⁴ times and nobody came.
	_, _ = unix.Write(l.bell, one[:])
}

func (l *loop) run(ctx context.Context) error {
	for {
		if ctx.Err() != nil && !l.stopping {
			l.stop(time.Now())
		}
		if !l.stopping {
			l.configure(time.Now())
		}
		// Whoever is due, is served; packets that come meanwhile wait with their
		// time on them.
		now := time.Now()
		elapsed := now.Sub(l.base)
		for slot, due := range l.due {
			if due <= elapsed {
				l.serve(l.slots[slot], now)
			}
		}
		if l.stopping && (len(l.lines) == 0 || !now.Before(l.deadline)) {
			return nil
		}
		if err := l.wait(); err != nil {
			return err
		}
	}
}

// wait waits for whatever comes first, and takes packets.
func (l *loop) wait() error {
	next := never
	for _, due := range l.due {
		next = min(next, due)
	}
	if l.stopping {
		next = min(next, l.deadline.Sub(l.base))
	}
	if next != l.armed {
		spec := unix.ItimerSpec{} // disarmed
		if next != never {
			// Zero would disarm it.
			spec.Value = unix.NsecToTimespec(max(int64(next-time.Since(l.base)), 1))
		}
		if err := unix.TimerfdSettime(l.timer, 0, &spec, nil); err != nil {
			return os.NewSyscallError("timerfd_settime", err)
		}
		l.armed = next
	}
	n, err := unix.EpollWait(l.epoll, l.events[:], -1)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("epoll_wait", err)
	}
	now := time.Now()
	for _, event := range l.events[:n] {
		switch event.Pad {
		case eventTimer:
			l.armed = -1 // it rings once
		case eventBell:
			var count [8]byte
			_, _ = unix.Read(l.bell, count[:])
		case eventTap:
			if t := l.taps[int(event.Fd)]; t != nil {
				t.read()
			}
		case eventLine:
			if line := l.slots[event.Fd]; line != nil {
				l.incoming(line, now)
			}
		}
	}
	return nil
}

// incoming reads a line's packets, within its budget.
func (l *loop) incoming(line *line, now time.Time) {
	if !line.sockets.isOpen() {
		return
	}
	if !line.allow(now) || !line.read(now, l.batch, budget-line.spent) && line.spent >= budget {
		l.pause(line, true)
	}
	l.serve(line, now)
}

// pause stops reading until the window is over, or goes on.
func (l *loop) pause(line *line, pause bool) {
	if line.paused == pause {
		return
	}
	line.paused = pause
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(line.slot), Pad: eventLine}
	if pause {
		event.Events = 0
		line.counters.flood.Add(1)
	}
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, line.sockets.rx, &event)
}

// serve does what a line has to do by now.
func (l *loop) serve(line *line, now time.Time) {
	if !line.sockets.isOpen() && !now.Before(line.nextOpen) {
		l.open(line, now)
	}
	if line.paused && now.Sub(line.window) >= budgetWindow {
		l.pause(line, false)
	}
	line.expire(now, l.batch)
	line.transmit(now, l.buffer)
	if line.sockets.isOpen() && line.session.State() != Up && !now.Before(line.nextCheck) {
		line.nextCheck = now.Add(staleInterval)
		if line.stale() {
			line.closeSockets()
			line.nextOpen = now
		}
	}
	was := line.status.State
	if line.observe(now) {
		l.engine.publish(line.counters, line.statuses(), nil)
		if line.status.State != was {
			l.log.transition(now, line, was)
		}
	}
	if line.ending && (line.session.Finished(now) || !line.sockets.isOpen()) {
		l.drop(line)
		return
	}
	l.due[line.slot] = never
	if wake := line.wake(now); !wake.IsZero() {
		l.due[line.slot] = wake.Sub(l.base)
	}
}

func (l *loop) open(line *line, now time.Time) {
	line.open(now)
	if !line.sockets.isOpen() {
		return
	}
	line.paused = false
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(line.slot), Pad: eventLine}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, line.sockets.rx, &event); err != nil {
		line.problem = os.NewSyscallError("epoll_ctl", err)
		line.closeSockets()
		line.nextOpen = now.Add(reopenInterval)
		return
	}
	l.openEcho(line)
}

// configure brings lines in step with what Apply wants.
func (l *loop) configure(now time.Time) {
	sessions, version := l.engine.wanted()
	if version == l.version {
		return
	}
	l.version = version

	// Sessions are in the order of their names.
	type want struct {
		profile Profile
		names   []string
	}
	wants := make(map[Path]*want)
	known := make(map[string]bool, len(sessions))
	var invalid []Status
	for _, s := range sessions {
		if known[s.Name] {
			continue
		}
		known[s.Name] = true
		if err := s.Validate(); err != nil {
			invalid = append(invalid, Status{Name: s.Name, Path: s.Path, State: Down, Since: now.Round(0), Reason: err.Error()})
			continue
		}
		if w := wants[s.Path]; w != nil {
			w.names = append(w.names, s.Name)
			w.profile.Held = w.profile.Held && s.Held
		} else {
			wants[s.Path] = &want{s.Profile, []string{s.Name}}
		}
	}

	gone := l.invalid
	for _, line := range l.lines {
		gone = append(gone, line.names...)
	}
	gone = slices.DeleteFunc(gone, func(name string) bool { return known[name] })
	l.invalid = nil
	for _, s := range invalid {
		l.invalid = append(l.invalid, s.Name)
	}
	if len(gone)+len(invalid) > 0 {
		l.engine.publish(&liveCounters{}, invalid, gone)
	}

	for path, line := range l.lines {
		if wants[path] == nil && !line.ending {
			line.names = nil
			l.end(line, now)
		}
	}
	// In an order that is the same each time.
	for _, path := range slices.SortedFunc(maps.Keys(wants), comparePaths) {
		w := wants[path]
		line := l.lines[path]
		if line == nil {
			line = l.add(path, w.profile, now)
		}
		line.configure(now, w.profile, w.names)
		l.openEcho(line)
		l.serve(line, now)
	}
}

func (l *loop) add(path Path, profile Profile, now time.Time) *line {
	slot := slices.Index(l.slots, nil)
	if slot < 0 {
		slot = len(l.slots)
		l.slots, l.due = append(l.slots, nil), append(l.due, never)
	}
	line := &line{
		path: path, profile: profile, slot: slot, sockets: sockets{rx: -1, tx: -1, port: firstPort + int(random()%(lastPort-firstPort+1))},
		session: session.New(profile.parameters(), l.discriminator(), random()), nextOpen: now, since: now.Round(0),
		counters: &liveCounters{}, unshown: true,
	}
	line.status = line.session.Status()
	l.lines[path], l.slots[slot] = line, line
	return line
}

// end takes a line to AdminDown, and drops it when the other end is told.
func (l *loop) end(line *line, now time.Time) {
	line.ending = true
	was := line.session.State()
	line.session.Disable(now)
	line.moved(now, was)
	l.serve(line, now)
}

func (l *loop) drop(line *line) {
	line.closeSockets()
	delete(l.lines, line.path)
	l.slots[line.slot], l.due[line.slot] = nil, never
	l.log.forget(line.path)
	l.sweepTaps()
}

func (l *loop) stop(now time.Time) {
	l.stopping, l.deadline = true, now.Add(goodbye)
	for _, line := range l.lines {
		l.end(line, now)
	}
}

// discriminator returns a number that no session of ours has.
func (l *loop) discriminator() uint32 {
	for {
		d := uint32(random())
		taken := d == 0
		for _, line := range l.lines {
			taken = taken || line.session.Discriminator() == d
		}
		if !taken {
			return d
		}
	}
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.NativeEndian.Uint64(b[:])
}
