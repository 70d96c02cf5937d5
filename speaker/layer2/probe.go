package layer2

import (
	"net/netip"
	"time"
)

// A Method is a way to ask a peer's kernel for a sign of life. No process of the
// peer needs to run for an answer.
type Method string

// The methods.
const (
	// ProbeNeighbor asks for the target's MAC: by ARP with the sender address
	// 0.0.0.0, which changes nobody's cache, or by a Neighbor Solicitation from the
	// interface's link-local address. The request goes to the expected MAC, if one is given,
	// since what is broadcast may be answered by a fabric from its memory.
	ProbeNeighbor Method = "Neighbor"
	// ProbeEcho sends an ICMP or ICMPv6 echo request with a nonce.
	ProbeEcho Method = "Echo"
	// ProbeConnect opens a TCP connection to the target's port and closes it. That the
	// port is refused is an answer as well.
	ProbeConnect Method = "Connect"
)

// A Probe is one question to a peer.
type Probe struct {
	// ID and Peer are for the asker to know the result by.
	ID   uint64
	Peer string

	Method Method
	// Interface is where the probe leaves and where the answer must come in.
	// ProbeEcho and ProbeConnect go where the kernel routes them if it is empty.
	Interface string
	// Target is the peer's address; ProbeNeighbor in IPv6 takes a
	// link-local address or any other on the link.
	Target netip.Addr
	// Port is that of ProbeConnect.
	Port uint16
	// Expect is the MAC that ProbeNeighbor must find; none takes any.
	Expect MAC
	// Deadline is when the answer must have arrived.
	Deadline time.Time
}

// An Outcome is what came of a probe.
type Outcome string

// The outcomes.
const (
	// ProbeAnswered: the peer's kernel is alive. (In ProbeConnect, the port may have been
	// refused: see ProbeResult.Refused.)
	ProbeAnswered Outcome = "Answered"
	// ProbeOtherMAC: somebody answered for the target until the deadline, but nobody
	// with the MAC expected.
	ProbeOtherMAC Outcome = "OtherMAC"
	// ProbeUnanswered: the probe was sent and nothing came back.
	ProbeUnanswered Outcome = "Unanswered"
	// ProbeNotSent: this node could not ask, which says nothing about the peer.
	ProbeNotSent Outcome = "NotSent"
)

// A ProbeResult is what came of a Probe. Each probe has exactly one.
type ProbeResult struct {
	Probe
	Outcome Outcome
	// Refused is true where the answer to ProbeConnect was a reset.
	Refused bool
	// MAC is the hardware address that an answer to ProbeNeighbor names.
	MAC MAC
	// Sent is when the probe left.
	Sent time.Time
	// At is when the answer arrived, as the kernel noted it (for ProbeConnect, when it
	// was seen); without an answer, when that was judged. Frames that wait in a
	// socket are read before anything is judged, so a process that was late
	// mistakes nothing for silence; how late it was is At minus Deadline.
	At time.Time
	// Error says why the probe could not be sent.
	Error string
}

// Late returns how long after its deadline a probe without an answer was judged.
func (r ProbeResult) Late() time.Duration {
	if r.Outcome == ProbeAnswered {
		return 0
	}
	return max(0, r.At.Sub(r.Deadline))
}
