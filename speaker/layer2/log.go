package layer2

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// A journal logs, but never more than ten lines a minute about one cause.
type journal struct {
	log    *slog.Logger
	causes map[cause]*rate.Limiter
}

// A cause is what lines are counted by.
type cause struct {
	segment segment
	status  Status
}

// Five lines at once and one every twelve seconds are at most ten in any minute.
const (
	journalBurst = 5
	journalEvery = 12 * time.Second
)

// change logs that a segment's status is another one now.
func (j *journal) change(now time.Time, s Segment) {
	c := cause{segment{s.Interface, s.Family}, s.Status}
	if j.causes[c] == nil {
		j.causes[c] = rate.NewLimiter(rate.Every(journalEvery), journalBurst)
	}
	if !j.causes[c].AllowN(now, 1) {
		return
	}
	log := j.log.With("interface", s.Interface, "family", s.Family.String())
	switch s.Status {
	case Answering:
		log.Info("answering on interface", "addresses", len(s.Addresses))
	case NoInterface, LinkDown:
		log.Info("waiting for interface", "reason", string(s.Status), "addresses", len(s.Addresses))
	case Failed:
		log.Warn("cannot answer on interface, will try again", "reason", s.Error, "addresses", len(s.Addresses))
	case Opening:
	}
}

// changes logs which segments of next have another status than in old.
func (j *journal) changes(now time.Time, old, next State) {
	was := make(map[segment]Status, len(old.Segments))
	for _, s := range old.Segments {
		was[segment{s.Interface, s.Family}] = s.Status
	}
	for _, s := range next.Segments {
		if was[segment{s.Interface, s.Family}] != s.Status {
			j.change(now, s)
		}
	}
}
