package child

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// reportEvery is how close reports may follow each other; what changes in between goes into the next one.
const reportEvery = 20 * time.Millisecond

// reporter gathers what is to be told and tells it.
type reporter struct {
	mu    sync.Mutex
	owner map[string]*session
	dirty map[string]bgp.Session
	next  bgp.Report
	alive int
	// stopping: when no session is alive any more, stopped is closed.
	stopping, isStopped bool

	news    chan struct{}
	stopped chan struct{}
	last    chan struct{} // closed when nothing more will come
}

func newReporter() *reporter {
	return &reporter{
		owner: map[string]*session{}, dirty: map[string]bgp.Session{},
		news: make(chan struct{}, 1), stopped: make(chan struct{}), last: make(chan struct{}),
	}
}

// begin says whose reports under that name count from now on.
func (r *reporter) begin(name string, s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owner[name] = s
	r.alive++
}

// over says that a session has ended for good.
func (r *reporter) over(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alive--
	r.checkStoppedLocked()
}

// stopWhenOver has stopped closed when all sessions are over.
func (r *reporter) stopWhenOver() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
	r.checkStoppedLocked()
}

func (r *reporter) checkStoppedLocked() {
	if r.stopping && r.alive == 0 && !r.isStopped {
		r.isStopped = true
		close(r.stopped)
	}
}

// session takes in how a session fares.
func (r *reporter) session(s *session, status bgp.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner[status.Peer] != s {
		return // another neighbour has its name now
	}
	r.dirty[status.Peer] = status
	r.wakeLocked()
}

func (r *reporter) pong(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next.Pong = n
	r.wakeLocked()
}

// finish has the last report say that the Stop is carried out.
func (r *reporter) finish() {
	r.mu.Lock()
	r.next.Stopped = true
	r.mu.Unlock()
	close(r.last)
}

func (r *reporter) wakeLocked() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// write tells what there is to tell until finish or ctx.
func (r *reporter) write(ctx context.Context, border io.Writer) error {
	encoder := json.NewEncoder(border)
	tell := func() error {
		r.mu.Lock()
		report := r.next
		r.next = bgp.Report{}
		for name, status := range r.dirty {
			report.Sessions = append(report.Sessions, status)
			delete(r.dirty, name)
		}
		r.mu.Unlock()
		if err := encoder.Encode(report); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.last:
			return tell()
		case <-r.news:
			if err := tell(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.last:
		case <-time.After(reportEvery):
		}
	}
}
