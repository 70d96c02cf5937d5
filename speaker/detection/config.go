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

	// monitorCount is how many others judge each node, for each of its links.
	monitorCount = 3
	// maxMonitors is how many there may be altogether.
	maxMonitors = 8
	// releases is how often a monitor is told that it is none any more.
	releases = 3

	// An exam is a few rounds of quick probes by all methods.
	examRounds  = 4
	examSpacing = 18 * time.Millisecond
	examLength  = 75 * time.Millisecond
	// examCopies is how many probes a round has at least, when there are fewer methods: it is their
	// number that makes a false verdict unlikely.
	examCopies = 3
	// examShare of the probes must have had enough time on the wire for an exam to count: 2 of 3.
	examShareNum, examShareDen = 2, 3
	// probeTime is how much time on the wire is enough.
	probeTime = 12 * time.Millisecond
	// examGuard is for how long after the deadline results are waited for.
	examGuard = 60 * time.Millisecond
	// examPause is the time between two exams of a node that is silent, and examSlow the same after examTired.
	examPause = 250 * time.Millisecond
	examSlow  = time.Second
	examTired = time.Minute

	// pingPause is the time between two questions to a speaker that has been silent for longer.
	pingPause = 500 * time.Millisecond

	// lateness is by how much a timer of this node's may be late. After more, what was seen in the meantime is void.
	lateness = 40 * time.Millisecond
	// pause is the time without a step after which a node knows nothing any more, and forgetful for how long after it
	// packets of unknown age are not believed.
	pause     = time.Second
	forgetful = 200 * time.Millisecond
	// idle is the longest time between two steps that is asked for.
	idle = 400 * time.Millisecond

	// In peace each method is tried once in a peacePeriod, TCP once in a tcpPeriod; two families take turns.
	peacePeriod = time.Second
	tcpPeriod   = 3 * time.Second
	peaceWait   = 40 * time.Millisecond
	// peaceTogether is by how much a gentle probe may be early, to go out with a heartbeat.
	peaceTogether = 100 * time.Millisecond
	// peaceStart is within which time a peer that is watched anew is first asked.
	peaceStart = 200 * time.Millisecond
	// lately is for how long the success of a method makes its silence count.
	lately = 7 * time.Second
	// fresh is for how long an answer shows that a link works.
	fresh = 2500 * time.Millisecond
	// arpHold is for how long a peer holds out by ARP or NDP alone, when a method with a nonce that used to work is silent.
	arpHold = 3 * time.Second

	// soundControls is how many others are asked, in an exam, whether it is us, and isolatedPause how
	// often they are asked while nobody answers.
	soundControls = 4
	isolatedPause = 150 * time.Millisecond

	// judgements is how often in a step verdicts may follow from each other. What is left is for the next one.
	judgements = 4

	// quorum is how many must agree, where there are as many.
	quorum = 2
	// newcomer is for how long after gossip has found a member its votes don't count, unless they are on what it has seen since.
	newcomer = time.Second
	// voteExpiry is for how long a vote holds without being repeated, and voteRefresh how often it is repeated.
	voteExpiry  = 25 * time.Second
	voteRefresh = 10 * time.Second
	// pending is for how long a verdict waits for the last links' votes.
	pending = 200 * time.Millisecond
	// When an accusation is not settled for substituteAfter, two others look for themselves, and two more with each
	// substituteStep that passes.
	substituteAfter = 40 * time.Millisecond
	substituteStep  = 150 * time.Millisecond
	// watchAfter is for how long a substitute stays when all is well again.
	watchAfter = 2 * time.Second
	// When gossip has lost a node, others than its monitors look for themselves after lostAfter; after lostForGood that makes
	// up for methods that never worked.
	lostAfter   = 300 * time.Millisecond
	lostForGood = 500 * time.Millisecond
	// defendFor is for how long what was said in a node's defence before it was accused holds: until those that said it can say it again.
	defendFor = 30 * time.Millisecond
	// aloneAfter is after how long one accuser is enough, of a node that gossip has lost as well.
	aloneAfter = time.Second
)

// voteRepeats are the times after a vote at which it is said again, because packets get lost.
var voteRepeats = []time.Duration{15 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second}

// suspectAfter is the silence after which a peer is examined: two heartbeats have not come.
func suspectAfter(interval time.Duration) time.Duration { return 2*interval + 10*time.Millisecond }

// silentAfter is the silence after which a speaker whose kernel answers is called silent: three have not come.
func silentAfter(interval time.Duration) time.Duration { return 3*interval + 60*time.Millisecond }

func clampInterval(d time.Duration) time.Duration { return min(max(d, MinInterval), MaxInterval) }

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
