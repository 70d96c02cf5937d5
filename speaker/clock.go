package speaker

import "time"

// The machines of detection and ownership live by a clock of their own: it goes on while this machine sleeps, as others
// go on, and does not jump when somebody sets the time. It shows about what the time was set to at the start.
var (
	started = time.Now()
	base    = started.Round(0).Add(-sinceBoot())
)

func clock() time.Time { return base.Add(sinceBoot()) }
