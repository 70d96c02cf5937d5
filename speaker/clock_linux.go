package speaker

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since the machine was started, during which it may have slept.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}
