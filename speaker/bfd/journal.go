package bfd

import (
	"cmp"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// A journal logs transitions, at most ten a minute for each path: five at once
// and one every twelve seconds.
type journal struct {
	log      *slog.Logger
	limiters map[Path]*rate.Limiter
}

const (
	journalBurst = 5
	journalEvery = 12 * time.Second
)

func newJournal(log *slog.Logger) *journal {
	return &journal{log: log, limiters: make(map[Path]*rate.Limiter)}
}

func (j *journal) allow(now time.Time, path Path) bool {
	if j.limiters[path] == nil {
		j.limiters[path] = rate.NewLimiter(rate.Every(journalEvery), journalBurst)
	}
	return j.limiters[path].AllowN(now, 1)
}

// forget forgets a path that is no more.
func (j *journal) forget(path Path) { delete(j.limiters, path) }

func comparePaths(a, b Path) int {
	return cmp.Or(a.Peer.Compare(b.Peer), a.Local.Compare(b.Local), cmp.Compare(a.Interface, b.Interface), cmp.Compare(b2i(a.Multihop), b2i(b.Multihop)))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
