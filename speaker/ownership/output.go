package ownership

import "time"

// Output is what a step came to. Answers must be put into force before anything is sent: a node that gives an address away
// falls silent when it hears that the other has taken it.
type Output struct {
	// Serving is whether this speaker answers for what it owns and may be counted on; to be said in gossip.
	Serving bool
	// Mute is true while this node must say nothing on the wire, whatever its answers are: it was itself
	// stopped for a while, and does not know yet what happened meanwhile.
	Mute bool
	// Answers are the units for which this node is to answer otherwise than before the step, in order.
	Answers []AnswerChange
	// Reannounce are units that this node answers for and must announce once more, because another that
	// had answered too has fallen silent. In order.
	Reannounce []Unit
	// Look are units to be looked for on the wire (as a first claim is) without changing how they are answered. What is
	// seen comes back as [Evidence].
	Look []Unit
	// Send are messages for other members, in order.
	Send []Send
	// Moves are the units whose owner is another than before the step, in order. What a speaker that has only started learns of the
	// owners is no move.
	Moves []Move
	// Left is true when [Input.Leave] was and there is nothing left that another could take as things are.
	Left bool
	// WakeAt is when to step again although nothing was seen. A running machine is to be stepped at least
	// once a second, which WakeAt sees to: a longer gap is taken for a pause of this node.
	WakeAt time.Time
}

// As is in which role a node answers for a unit.
type As uint8

const (
	// Nothing is not answering.
	Nothing As = iota
	// Own is answering with the node's own MAC.
	Own
	// StandIn is answering with the MAC of the owner, whose speaker is silent; without gratuitous frames.
	StandIn
)

// An Answer says how this node answers for a unit.
type Answer struct {
	As As
	// For is the node whose MAC is answered, with [StandIn].
	For string
	// Claim is whether it must be looked first whether somebody else holds the address (RFC 5227, DAD), and answered only
	// when not. What is seen comes back as [Evidence]. While Claim changes from true to false the answer stays.
	Claim bool
}

// An AnswerChange is a unit's new answer.
type AnswerChange struct {
	Unit   Unit
	Answer Answer
}

// Send is a message to be sent.
type Send struct {
	// To are the nodes to send to; nil means all other members.
	To []string
	// Reliable is whether it should go by a stream: it is long, or worth the effort.
	Reliable bool
	Message  Message
}

// A Cause is why a unit has moved.
type Cause uint8

const (
	// CauseNone is of a unit that nobody may answer for any more.
	CauseNone Cause = iota
	// CauseFirstClaim is a unit that had no owner.
	CauseFirstClaim
	// CauseLoss is that the owner, or its link, is dead.
	CauseLoss
	// CauseSilent is that the owner's speaker was silent for too long.
	CauseSilent
	// CauseLeave is that the owner leaves or may no longer answer.
	CauseLeave
	// CauseRank is that the owner's rank got worse than another's.
	CauseRank
	// CauseFailback is that another was better placed, for as long as the policy wants.
	CauseFailback
	// CauseOrder is that somebody asked for it. Failback leaves such a unit where it is.
	CauseOrder
	// CauseConflict is that two had claimed the unit, and this one's claim is the better.
	CauseConflict
	// CauseGone is that the owner gave up without a successor.
	CauseGone
)

// A Move is a change of owner, as this node sees it; "" is nobody.
type Move struct {
	Unit     Unit
	From, To string
	Cause    Cause
}
