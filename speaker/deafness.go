package speaker

import (
	"maps"
	"time"

	"github.com/clarion-lb/clarion/speaker/layer2"
)

// deafness knows on which of this node's segments the kernel refuses the sockets that answering needs, so that others
// announce there. It belongs to the loop; time is an argument.
type deafness struct {
	failing map[segment]time.Time // since when
	deaf    map[segment]time.Time // until when; then it is tried again
	now     map[segment]bool
}

const (
	// deafAfter is how long sockets must have failed: layer 2 tries again by itself.
	deafAfter = 2 * time.Second
	// deafFor is after how long a segment is tried again that others have taken over.
	deafFor = time.Minute
)

func newDeafness() deafness {
	return deafness{failing: map[segment]time.Time{}, deaf: map[segment]time.Time{}, now: map[segment]bool{}}
}

// step takes in what came of the announcements, and returns which segments are deaf.
func (d *deafness) step(now time.Time, state layer2.State) map[segment]bool {
	failing := map[segment]time.Time{}
	for _, seg := range state.Segments {
		s := segment{seg.Interface, seg.Family}
		if seg.Status != layer2.Failed {
			continue
		}
		since, before := d.failing[s]
		if !before {
			since = now
		}
		failing[s] = since
		if !now.Before(since.Add(deafAfter)) {
			d.deaf[s] = now.Add(deafFor)
		}
	}
	d.failing = failing
	maps.DeleteFunc(d.deaf, func(_ segment, until time.Time) bool { return !now.Before(until) })
	is := map[segment]bool{}
	for s := range d.deaf {
		is[s] = true
	}
	if !maps.Equal(is, d.now) {
		d.now = is
	}
	return d.now
}

// wakeAt returns when a segment becomes deaf, or is tried again; zero for none.
func (d *deafness) wakeAt() (at time.Time) {
	for s, since := range d.failing {
		if _, deaf := d.deaf[s]; !deaf {
			at = soonest(at, since.Add(deafAfter))
		}
	}
	for _, until := range d.deaf {
		at = soonest(at, until)
	}
	return at
}
