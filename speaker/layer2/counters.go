package layer2

import "sync/atomic"

// A DropReason says why a frame that reached this process was not answered.
// (Requests for other hosts' addresses are mostly dropped in the kernel, where
// nobody counts them.)
type DropReason string

// The reasons.
const (
	// DropMalformed: too short, or its lengths contradict each other.
	DropMalformed DropReason = "Malformed"
	// DropOtherProtocol: not ARP for IPv4 over Ethernet, or not ICMPv6.
	DropOtherProtocol DropReason = "OtherProtocol"
	// DropNotRequest: not an ARP request or a Neighbor Solicitation.
	DropNotRequest DropReason = "NotRequest"
	// DropHopLimit: a router may have forwarded it (RFC 4861 §7.1.1).
	DropHopLimit DropReason = "HopLimit"
	// DropChecksum: the ICMPv6 checksum is wrong.
	DropChecksum DropReason = "Checksum"
	// DropTarget: what is asked for is not a unicast address.
	DropTarget DropReason = "Target"
	// DropOption: an NDP option has no length, is cut off, or must not be there.
	DropOption DropReason = "Option"
	// DropSender: the sender is nobody to whom an answer could go.
	DropSender DropReason = "Sender"
	// DropOwnFrame: this interface's own frame, brought back by the network.
	DropOwnFrame DropReason = "OwnFrame"
	// DropNotAnnounced: an address that this node does not announce there.
	DropNotAnnounced DropReason = "NotAnnounced"
	// DropClaimed: the sender says that an address announced here is its own.
	DropClaimed DropReason = "Claimed"
	// DropStandby: another node answers for the address, and this one stands by.
	DropStandby DropReason = "Standby"
	// DropClaiming: it is not known yet whether another host has the address, or one has.
	DropClaiming DropReason = "Claiming"
	// DropStale: it waited for over a second while this process did not run.
	DropStale DropReason = "Stale"
	// DropHeld: nothing is answered until the speaker knows what happened while it did not run.
	DropHeld DropReason = "Held"
	// DropOverflow: the socket's queue was full.
	DropOverflow DropReason = "Overflow"
	// DropSendFailed: the kernel did not take a frame to send.
	DropSendFailed DropReason = "SendFailed"

	// answered is the absence of a reason to drop.
	answered DropReason = ""
)

// DropReasons are all reasons, for metrics that start at zero.
var DropReasons = []DropReason{
	DropMalformed, DropOtherProtocol, DropNotRequest, DropHopLimit, DropChecksum, DropTarget, DropOption,
	DropSender, DropOwnFrame, DropNotAnnounced, DropClaimed, DropStandby, DropClaiming, DropStale, DropHeld,
	DropOverflow, DropSendFailed,
}

// Counters are totals since the Announcer was made; they only grow.
type Counters struct {
	// Answered counts the requests answered, by family.
	Answered map[Family]uint64
	// Dropped counts the frames not answered, by family and reason. All
	// reasons are present.
	Dropped map[Family]map[DropReason]uint64
	// Gratuitous counts the frames sent unasked, by family.
	Gratuitous map[Family]uint64
}

// counters is what counts, by family. The goroutines that serve sockets share it.
type counters [families]familyCounters

type familyCounters struct {
	answered   atomic.Uint64
	gratuitous atomic.Uint64
	// dropped has all reasons and is never written to.
	dropped map[DropReason]*atomic.Uint64
}

func (c *familyCounters) drop(r DropReason) { c.dropped[r].Add(1) }

func newCounters() *counters {
	c := new(counters)
	for f := range c {
		c[f].dropped = make(map[DropReason]*atomic.Uint64, len(DropReasons))
		for _, r := range DropReasons {
			c[f].dropped[r] = new(atomic.Uint64)
		}
	}
	return c
}

// snapshot reads all counters.
func (c *counters) snapshot() Counters {
	s := Counters{
		Answered:   make(map[Family]uint64, families),
		Dropped:    make(map[Family]map[DropReason]uint64, families),
		Gratuitous: make(map[Family]uint64, families),
	}
	for i := range c {
		f := Family(i)
		s.Answered[f] = c[i].answered.Load()
		s.Gratuitous[f] = c[i].gratuitous.Load()
		s.Dropped[f] = make(map[DropReason]uint64, len(DropReasons))
		for r, n := range c[i].dropped {
			s.Dropped[f][r] = n.Load()
		}
	}
	return s
}
