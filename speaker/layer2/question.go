package layer2

import "net/netip"

// A question is what a host on the segment wants to know: who has this address?
// Both protocols ask the same, so what to answer is decided here, once.
type question struct {
	// address is the one asked for.
	address netip.Addr
	// asker is the protocol address of who asks. It is unspecified when the
	// host only probes whether the address is free (RFC 5227 §2.1.1, RFC 4862 §5.4).
	asker netip.Addr
	// askerMAC is where an answer goes.
	askerMAC MAC
}

// answer decides what the responder by answers to q on a segment whose announcements are t: the
// MAC to name, with zero for the interface's own, or the reason for silence.
func (t *table) answer(q question, by *responder) (MAC, DropReason) {
	b, announced := t.bindings.get(q.address)
	switch {
	case !announced:
		return MAC{}, DropNotAnnounced
	case b.standby:
		return MAC{}, DropStandby
	case q.asker == q.address:
		// Not a question but a statement: somebody else says the address is theirs.
		return MAC{}, DropClaimed
	case b.gate.shut(by):
		return MAC{}, DropClaiming
	}
	return b.mac, answered
}

// A statement is what a host says of itself: that it has an address.
type statement struct {
	address netip.Addr
	mac     MAC // that it says to have it at
	source  MAC // that the frame came from
	// answer is whether it was said to one who asked without having an address, or asked alone.
	answer bool
}
