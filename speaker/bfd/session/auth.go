package session

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// MaxKeys is how many keys may be accepted at once.
const MaxKeys = 4

// Auth says how packets are authenticated (RFC 5880 section 6.7). The zero
// Auth says that they are not.
type Auth struct {
	Type packet.AuthType
	// Keys are those that are accepted, and the first one signs. The rest is for
	// changing keys without a gap.
	Keys [MaxKeys]Key
}

// Key is a key with the number that packets call it by. Unused ones have an
// empty secret.
type Key struct {
	ID     uint8
	Used   bool
	Secret packet.Key
}

// authState are bfd.RcvAuthSeq, bfd.XmitAuthSeq and bfd.AuthSeqKnown (section
// 6.8.1).
type authState struct {
	received uint32
	next     uint32
	known    bool
	// forgetAt is when known is to be cleared.
	forgetAt time.Time
}

// authenticate is section 6.7.4's reception, for both ways.
func (s *Session) authenticate(b []byte, p *packet.Packet) error {
	inUse := s.params.Auth.Type
	switch {
	// "If the A bit is set and no authentication is in use (bfd.AuthType is zero),
	// the packet MUST be discarded. If the A bit is clear and authentication is in
	// use (bfd.AuthType is nonzero), the packet MUST be discarded."
	case inUse == 0 && p.Auth.Type != 0:
		return UnexpectedAuth
	case inUse == 0:
		return nil
	case p.Auth.Type == 0:
		return MissingAuth
	case p.Auth.Type != inUse:
		return WrongAuthenticationType
	}
	var key *packet.Key
	for i := range s.params.Auth.Keys {
		if k := &s.params.Auth.Keys[i]; k.Used && k.ID == p.Auth.KeyID {
			key = &k.Secret
			break
		}
	}
	if key == nil {
		return UnknownKeyID
	}
	if s.auth.known {
		// "if the sequence number lies outside of the range of bfd.RcvAuthSeq to
		// bfd.RcvAuthSeq+(3*Detect Mult) inclusive (when treated as an unsigned
		// 32-bit circular number space), the received packet MUST be discarded", and
		// from bfd.RcvAuthSeq+1 on for the meticulous way.
		ahead, least := p.Auth.Sequence-s.auth.received, uint32(0)
		if inUse == packet.MeticulousKeyedSHA1 {
			least = 1
		}
		if ahead < least || ahead > 3*uint32(p.DetectMult) {
			return WrongSequence
		}
	}
	// The RFC takes note of the number before the digest is looked at, which
	// would let anybody set it. It is the digest that proves it.
	if !packet.Authentic(b, key) {
		return WrongDigest
	}
	s.auth.received, s.auth.known, s.auth.forgetAt = p.Auth.Sequence, true, time.Time{}
	return nil
}

// sign fills in the packet's Auth and returns the key to sign with.
func (s *Session) sign(p *packet.Packet) *packet.Key {
	if s.params.Auth.Type == 0 {
		return nil
	}
	key := &s.params.Auth.Keys[0]
	p.Auth = packet.Auth{Type: s.params.Auth.Type, KeyID: key.ID, Sequence: s.auth.next}
	// Meticulous is a new number for each packet; for the plain way it is allowed
	// ("bfd.XmitAuthSeq MAY be incremented in a circular fashion").
	s.auth.next++
	return &key.Secret
}
