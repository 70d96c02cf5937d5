package detection

import "time"

// How fast a loss is noticed, and how hard it is to be taken for lost by mistake. The sums are in the package
// documentation.
const (
	// DefaultInterval is the time between two heartbeats.
	DefaultInterval = 80 * time.Millisecond
	// MinInterval and MaxInterval bound it, what others say of theirs included.
	MinInterval = 20 * time.Millisecond
	MaxInterval = 2 * time.Second
)

// Config is what a Machine is made with.
type Config struct {
	// Node is this node's name.
	Node string
	// Life is this speaker's: a number that is another one after each start of the process, and never 0.
	Life uint64
	// Interval is the time between two heartbeats. Default 80 ms. All that is waited for follows from it,
	// so that speakers with different settings judge each other rightly.
	Interval time.Duration
}
