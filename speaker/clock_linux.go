package speaker

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/nowait"
)

// sinceBoot is the time since the machine was started, during which it may have slept.
func sinceBoot() time.Duration {
	if d := nowait.SinceBoot(); d > 0 {
		return d
	}
	return time.Since(started)
}
