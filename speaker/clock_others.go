//go:build !linux

package speaker

import "time"

// sinceBoot stands still while the machine sleeps, which is not found out on this platform.
func sinceBoot() time.Duration { return time.Since(started) }
