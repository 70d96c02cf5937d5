package speaker

import "time"

// pulse notices that the loop stood still: its process was stopped, or starved. It belongs to the loop.
type pulse struct {
	due time.Time // of the next beat; zero before the first
}

const (
	// beat is how often the loop looks in any case.
	beat = time.Second
	// stall is how late a beat must be to have been missed by others too: a speaker that is not heard for so
	// long may have been taken for lost, and its addresses announced elsewhere.
	stall = 500 * time.Millisecond
)

// feel reports whether the loop stood still until now, and sets the next beat.
func (p *pulse) feel(now time.Time) (stalled bool) {
	stalled = !p.due.IsZero() && now.Sub(p.due) > stall
	p.due = now.Add(beat)
	return stalled
}
