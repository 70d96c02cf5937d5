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
	partly  bool // about addresses refused while others are answered
}

// Five lines at once and one every twelve seconds are at most ten in any minute.
const (
	journalBurst = 5
	journalEvery = 12 * time.Second
)

// change logs that a segment's status is another one now.
func (j *journal) change(now time.Time, s Segment) {
	if !j.allow(now, cause{segment: segment{s.Interface, s.Family}, status: s.Status}) {
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

// refused logs that there are addresses that cannot be answered beside others
// that are.
func (j *journal) refused(now time.Time, s Segment) {
	if !j.allow(now, cause{segment: segment{s.Interface, s.Family}, status: s.Status, partly: true}) {
		return
	}
	first := s.Failures[0]
	j.log.Warn("cannot answer for some addresses on interface, will try again", "interface", s.Interface, "family", s.Family.String(),
		"address", first.Address, "reason", first.Error, "addresses", len(s.Failures))
}

func (j *journal) allow(now time.Time, c cause) bool {
	if j.causes[c] == nil {
		j.causes[c] = rate.NewLimiter(rate.Every(journalEvery), journalBurst)
	}
	return j.causes[c].AllowN(now, 1)
}

// changes logs which segments of next have another status than in old, or the
// first addresses that are refused.
func (j *journal) changes(now time.Time, old, next State) {
	was := make(map[segment]Segment, len(old.Segments))
	for _, s := range old.Segments {
		was[segment{s.Interface, s.Family}] = s
	}
	for _, s := range next.Segments {
		before := was[segment{s.Interface, s.Family}]
		if before.Status != s.Status {
			j.change(now, s)
		}
		if s.Status == Answering && len(s.Failures) > 0 && len(before.Failures) == 0 {
			j.refused(now, s)
		}
	}
}
