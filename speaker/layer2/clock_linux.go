package layer2

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/nowait"
)

// sinceBoot is the time since the machine was started, during which it may have slept.
func sinceBoot() time.Duration { return nowait.SinceBoot() }
