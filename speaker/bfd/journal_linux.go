package bfd

import (
	"context"
	"log/slog"
	"time"
)

// transition logs that a session has another state.
func (j *journal) transition(now time.Time, l *line, was State) {
	if len(l.names) == 0 || !j.allow(now, l.path) {
		return
	}
	log := j.log.With("peer", l.names[0], "address", l.path.Peer.String(), "state", l.status.State.String())
	if l.failed && was == Up {
		log.Warn("BFD session failed", "reason", l.reason)
		return
	}
	level := slog.LevelInfo
	if l.status.State == Init {
		level = slog.LevelDebug
	}
	log.Log(context.Background(), level, "BFD session changed", "reason", l.reason)
}
