package ownership

// A Message is what machines say to each other: one of [*Claims], [*Digest], [*Offer] and [*Refusal].
type Message interface {
	// Append appends the message's encoding to b.
	Append(b []byte) []byte
}

// A Version says how new a node's set of claims is, as it is known somewhere.
type Version struct {
	// Epoch counts the lives of the node's speakers, as far as they heard of each other.
	Epoch uint64
	// Life is of the speaker whose set it is.
	Life uint64
	// Number counts the changes within an epoch.
	Number uint64
}

// A Claim is what a node says of a unit that it claims.
type Claim struct {
	// Term is higher than that of the claim before it.
	Term uint64
	// Cause is why it was made.
	Cause Cause
	// Provisional is whether the node suspected itself. Such a claim yields to any other.
	Provisional bool
	// Held is whether the unit is not answered, because a foreign host holds the address.
	Held bool
}

// A Change is a unit claimed, or with Term 0 no longer claimed.
type Change struct {
	Unit  Unit
	Claim Claim
}

// Claims tells changes of a node's set of claims, or all of it.
type Claims struct {
	// Node whose set it is: the sender's own, or another that the sender remembers.
	Node string
	// Base is the number of the version that the changes are made to, within To's epoch; 0 is the empty set, so that the
	// changes are the whole set.
	Base uint64
	// To is the version that the set has then.
	To      Version
	Changes []Change
}

// Digest says how new the sets are that the sender knows.
type Digest struct {
	// Ask is not 0 in a question: of the sets that are meant, whatever is newer is to be sent, and a digest with this
	// number as its Reply.
	Ask uint64
	// Reply is the Ask that this answers; 0 in others. Who asked knows by the versions whether it has all.
	Reply uint64
	// Serving is whether the sender has served for a while, so that its memory is worth something.
	Serving bool
	// Sum is a sum over all versions that the sender knows.
	Sum uint64
	// Full is whether Sets are all that the sender knows. Otherwise a question means those listed alone.
	Full bool
	Sets []SetVersion
}

// A SetVersion is how new a node's set is.
type SetVersion struct {
	Node    string
	Version Version
}

// Offer asks the receiver to take units from the sender, which owns them by claims of the terms given.
type Offer struct {
	Cause Cause
	Units []OfferedUnit
}

// An OfferedUnit is a unit and the term that its owner claims it with.
type OfferedUnit struct {
	Unit Unit
	Term uint64
}

// Refusal says that the sender can't take units that it was offered.
type Refusal struct {
	Units []Unit
}
