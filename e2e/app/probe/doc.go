// Package probe measures from a client's side what a change in the cluster costs: it opens a new TCP connection to each
// target every few milliseconds, asks who answers, and tells from the attempts how long nobody did.
//
//	attempt   1   2   3   4   5   6   7   8   9  10  11
//	          ✓   ✓   ✗   ✗   ✗   ✓   ✗   ✓   ✓   ✓   ✓
//	                  ├─ longest ┤
//	                  ├───── gap ──────┤
//
// The gap goes from the start of the first failed attempt to the start of the last one, so its resolution is the interval
// between attempts. Each attempt is a client of its own: its own connection from its own port, with its own time to be
// answered in. With a timeout below a second, which is when the kernel sends a SYN again for the first time, an attempt
// whose SYN was lost has failed; with a longer one it succeeds late, and is counted as retransmitted.
//
// [Run] makes the attempts and [Summarize] judges them; the latter is pure. A prober that was itself starved sees no gaps, so
// a summary also tells the longest pause between two attempts.
package probe
