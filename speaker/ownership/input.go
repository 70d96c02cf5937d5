package ownership

import "time"

// Defaults of Config.
const (
	DefaultStable   = time.Second
	DefaultLimit    = 3 * time.Second
	DefaultTakeOver = 30 * time.Second
)

// Config is what a Machine is made with.
type Config struct {
	// Self is this node's name.
	Self string
	// Life is a number of this process: another one than the speaker that ran here before, and never 0. It is
	// the one that the others see as [Member.Life]. When that changes, this node's own Member says so.
	Life uint64
	// Stable is for how long the speakers heard must have stayed the same before a first claim.
	// Default 1 s.
	Stable time.Duration
	// Limit is how long after its view became whole a speaker claims in any case. Default 3 s.
	Limit time.Duration
	// TakeOver is after how long without the owner's speaker, while its kernel lives, its addresses are moved.
	// Default 30 s.
	TakeOver time.Duration
	// NoStandIn switches off that a deputy answers with the owner's MAC, which Dynamic ARP Inspection forbids.
	NoStandIn bool
}

// Input is what a speaker has seen since the last step. What is not said to be a change is given whole in each step.
type Input struct {
	// Whole is true once the API server's objects are in and gossip runs. Before, the speaker knows nothing and does
	// nothing; when it ceases to be true, nothing new is claimed until it is true again.
	Whole bool
	// Session numbers the time that gossip has run without a break. In another one nobody has been heard yet.
	Session uint64
	// Accounted is true when each speaker that should exist was heard, or tried in vain.
	Accounted bool
	// Members are the speakers that gossip hears now, this node among them or not, in any order. nil means the
	// same as in the last step.
	Members []Member
	// Verdicts are what detection says of nodes: those that changed, or all.
	Verdicts []Verdict
	// Isolated is true while this node has lost all others at once and so suspects itself: it keeps what it
	// has, and claims what others had only after a second and provisionally. For a unit whose links alone
	// are concerned, this node's own [Candidate.Dead] says the same.
	Isolated bool
	// Units are the units that changed, with all nodes that may answer for each. A unit without candidates
	// is owned by nobody and forgotten. A Machine keeps the lists; they must not change.
	Units map[Unit]Placement
	// Evidence is what the wire showed of units.
	Evidence []Evidence
	// Messages are what other machines have sent, as [Decode] returned it.
	Messages []Received
	// Orders ask for hand-overs; they are for the present owner, any other node ignores them.
	Orders []Order
	// Leave is true while this node is to hand over all it owns and takes nothing new; see [Output.Left].
	Leave bool
}

// A Member is a speaker that gossip hears, and what it says of itself.
type Member struct {
	Node string
	// Life of the speaker.
	Life uint64
	// Known is false until what it says of itself has come.
	Known bool
	// Serving is whether it says that it serves ([Output.Serving]).
	Serving bool
	// Restarting is whether it said that it is about to stop and will be back: stand-in begins at once.
	Restarting bool
	// Leaving is whether it hands over what it owns and takes nothing.
	Leaving bool
	// Stale is whether it has not seen the API server for long. It ranks behind all that have, for
	// itself too: so this node's own Member matters.
	Stale bool
}

// A State is what detection says of a node.
type State uint8

const (
	// Unjudged is a node of which detection says nothing: it is there while gossip hears it.
	Unjudged State = iota
	// Alive is a node whose speaker is heard.
	Alive
	// Silent is a node whose speaker is not heard, while its kernel answers.
	Silent
	// Dead is a node that nothing is heard of.
	Dead
)

// A Verdict is what detection says of a node. It holds for one life of its speaker: one that was Silent
// or Dead and is heard in another life is alive again. Life 0 means whichever is known.
type Verdict struct {
	Node  string
	Life  uint64
	State State
}

// A Placement says where a unit may be answered.
type Placement struct {
	// Candidates are the nodes that may answer, in order of their names.
	Candidates []Candidate
	Failback   Failback
}

// A Candidate is a node that may answer for a unit.
type Candidate struct {
	Node string
	// Rank of the node by soft signals, 0 the best: an owner whose rank gets worse than that of others
	// hands over at once.
	Rank uint8
	// Weight by preference, the highest first. It comes after Rank and before evenness.
	Weight int32
	// Dead is whether the node's links that the unit needs are dead although the node itself is not: what it
	// owns there is taken over as if it were. Said of this node itself, it is isolated there.
	Dead bool
}

// Failback says when a better-placed node may take a unit from its owner.
type Failback struct {
	Policy FailbackPolicy
	// After is for how long the other must have been better placed, under Delayed.
	After time.Duration
}

// A FailbackPolicy is one of [Delayed], [Immediate] and [Never].
type FailbackPolicy uint8

const (
	Delayed FailbackPolicy = iota
	Immediate
	Never
)

// Evidence is what the wire showed of a unit.
type Evidence struct {
	Unit  Unit
	Found Found
	// By is the MAC, or with [FoundMember] the node, that answered; for explanations.
	By string
}

// Found is what a look at the wire, or the defence of an address, came to.
type Found uint8

const (
	// FoundFree is that nobody else answers: the answer to [Answer.Claim] and to [Output.Look].
	FoundFree Found = iota + 1
	// FoundHeld is that a host that is no member holds the address: it is not answered, and looked at again
	// with back-off. Also said when it is noticed later on.
	FoundHeld
	// FoundMember is that a member's MAC answers: the answer to [Output.Look] where the owner is only
	// cut off from the gossip.
	FoundMember
)

// An Order asks the owner of a unit to hand it over.
type Order struct {
	Unit Unit
	To   string
}

// Received is a message and who sent it.
type Received struct {
	From string
	// Life of the sender.
	Life    uint64
	Message Message
}
