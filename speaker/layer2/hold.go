package layer2

import (
	"context"
	"time"
)

// Waking up is dangerous: a process that did not run for a while may find that others
// have taken its addresses, and requests that waited in its queues meanwhile are
// questions of long ago. So what is older than gapLimit is dropped, by the time at
// which the kernel took it from the interface, and with [Options.HoldAfterGap] nothing
// is said at all until the speaker knows better. Shorter pauses cost nothing: what has
// queued up is answered.
const (
	gapLimit = time.Second
	// beatInterval is how often the Announcer looks whether it runs.
	beatInterval = 300 * time.Millisecond
)

// Hold stops all answering and announcing, until Awake. What is announced stays as it is
// otherwise: tables, groups and filters follow Apply.
func (a *Announcer) Hold() {
	if a.holding.CompareAndSwap(false, true) {
		a.poke()
	}
}

// Awake ends what Hold, or a gap of the process, began. It is for the speaker to call when
// Apply has been told what the others say.
func (a *Announcer) Awake() {
	if a.holding.CompareAndSwap(true, false) {
		a.wakes.Add(1)
		a.poke()
	}
}

// Held reports whether answering is suspended. [State] tells too, with a channel to wait for it.
func (a *Announcer) Held() bool { return a.holding.Load() }

// gapped reports whether the process has not run for a while up to now; then it holds, if it was asked
// to, before anything is answered.
func (a *Announcer) gapped(now time.Time) bool {
	beat := time.Duration(a.beat.Load())
	if !a.holdAfterGap || beat == 0 || now.Sub(a.born)-beat <= gapLimit {
		return false
	}
	a.Hold()
	return true
}

// silent reports whether nothing may be said now.
func (a *Announcer) silent(now time.Time) bool { return a.gapped(now) || a.Held() }

// beginBeat begins to note that the process runs.
func (a *Announcer) beginBeat() {
	a.beatLock.Lock()
	defer a.beatLock.Unlock()
	a.boot, a.nextBeat = a.sinceBoot(), time.NewTimer(beatInterval)
	a.beat.Store(max(1, int64(time.Since(a.born))))
}

// alive notes that the process runs, and notices when it did not: by the clock that stands still while the machine sleeps, and by
// the one that does not.
func (a *Announcer) alive(now time.Time) {
	a.beatLock.Lock()
	defer a.beatLock.Unlock()
	if a.nextBeat == nil {
		return
	}
	awake := a.sinceBoot()
	if !a.gapped(now) && awake-a.boot > gapLimit+beatInterval {
		a.Hold()
	}
	a.boot = awake
	a.beat.Store(max(1, int64(now.Sub(a.born))))
	a.nextBeat.Reset(beatInterval)
}

// keepBeat notes that the process runs whenever nobody else has for beatInterval, until ctx ends. Who calls Turning does, and need
// not be woken up for it once more.
func (a *Announcer) keepBeat(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.nextBeat.C:
			a.alive(time.Now())
		}
	}
}
