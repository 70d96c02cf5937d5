package session

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// The reasons for which a session takes no notice of a packet, in the order of
// RFC 5880 section 6.8.6.
const (
	UnknownDiscriminator    packet.Refusal = "Your Discriminator is not that of the session"
	UnexpectedAuth          packet.Refusal = "the packet is authenticated, and authentication is not in use"
	MissingAuth             packet.Refusal = "the packet is not authenticated, and authentication is in use"
	WrongAuthenticationType packet.Refusal = "the authentication type is not the one in use"
	UnknownKeyID            packet.Refusal = "the authentication key ID is not one of ours"
	WrongSequence           packet.Refusal = "the authentication sequence number is out of range (a replay?)"
	WrongDigest             packet.Refusal = "the authentication digest is not made with our key"
	LocallyDisabled         packet.Refusal = "the session is AdminDown"
)

// Receive takes a packet that Parse read from b and that came at the given time
// (section 6.8.6, from the demultiplexing on). An error is a packet.Refusal.
func (s *Session) Receive(at time.Time, b []byte, p *packet.Packet) error {
	if p.YourDiscriminator != 0 && p.YourDiscriminator != s.localDiscr {
		return UnknownDiscriminator
	}
	if err := s.authenticate(b, p); err != nil {
		return err
	}

	s.received = at
	s.remoteDiscr = p.MyDiscriminator
	s.remoteState = p.State
	s.remoteDiag = p.Diagnostic
	s.remoteDemand = p.Demand
	s.remoteMinRx = p.RequiredMinRx
	s.remoteMinTx = p.DesiredMinTx
	s.remoteDetectMult = p.DetectMult
	s.remoteMinEchoRx = p.RequiredMinEchoRx
	// "If a Poll Sequence is being transmitted by the local system and the Final
	// (F) bit in the received packet is set, the Poll Sequence MUST be terminated."
	if p.Final {
		s.pollEnded()
	}

	if s.state == packet.AdminDown {
		return LocallyDisabled
	}
	if s.heardSince.IsZero() {
		s.heardSince = at
	}
	s.transition(at, p.State)
	// The echo function may have to begin or cease.
	s.adjust()

	// "If the Poll (P) bit is set, send a BFD Control packet to the remote system
	// with the Poll (P) bit clear, and the Final (F) bit set." One answers all
	// polls that came since the last.
	if p.Poll {
		s.finals = 1
	}
	return nil
}

// transition is the table of section 6.8.6.
func (s *Session) transition(at time.Time, received packet.State) {
	if received == packet.AdminDown {
		if s.state != packet.Down {
			s.enter(packet.Down, packet.NeighborSignaledSessionDown)
		}
		s.remoteAdminDown = true
		return
	}
	switch s.state {
	case packet.Down:
		// A session may be held Down (section 6.8.18).
		if at.Before(s.echo.heldUntil) || s.params.Held && at.Before(s.heardSince.Add(HeldLimit)) {
			return
		}
		switch received {
		case packet.Down:
			s.enter(packet.Init, s.localDiag)
		case packet.Init:
			s.enter(packet.Up, packet.NoDiagnostic)
		}
	case packet.Init:
		if received == packet.Init || received == packet.Up {
			s.enter(packet.Up, packet.NoDiagnostic)
		}
	case packet.Up:
		if received == packet.Down {
			s.enter(packet.Down, packet.NeighborSignaledSessionDown)
			// The other end says that it was told, and was not: no detection of its own has failed. FRR says so when it
			// deletes a session, as it does where it learns its source address once BGP is established, to make it anew.
			s.remoteEnded = s.remoteDiag == packet.NeighborSignaledSessionDown
		}
	}
}

// DetectionTime is how long nothing may come before the session is down
// (section 6.8.4); 0 where nothing has come yet.
func (s *Session) DetectionTime() time.Duration {
	return time.Duration(s.remoteDetectMult) * max(s.activeMinRx, s.remoteMinTx)
}

// Overdue reports whether Expire would take the session down, or forget the
// other end: the time for a last look at what came.
func (s *Session) Overdue(now time.Time) bool {
	return s.silent(now) || s.echoExpired(now)
}

func (s *Session) silent(now time.Time) bool {
	return s.remoteDiscr != 0 && now.Sub(s.received) >= s.DetectionTime()
}

// Expire takes the session down if too little has come by now (sections 6.8.4
// and 6.8.5). All that came must have been received before.
func (s *Session) Expire(now time.Time) {
	if s.silent(now) {
		// "If a period of a Detection Time passes without the receipt of a valid,
		// authenticated BFD packet from the remote system, this variable MUST be set
		// to zero" (bfd.RemoteDiscr, section 6.8.1).
		if s.state == packet.Init || s.state == packet.Up {
			s.enter(packet.Down, packet.ControlDetectionTimeExpired)
		}
		s.auth.forgetAt = s.received.Add(2 * s.DetectionTime())
		s.forget()
	}
	if !s.auth.forgetAt.IsZero() && !now.Before(s.auth.forgetAt) {
		s.auth.known, s.auth.forgetAt = false, time.Time{}
	}
	if s.echoExpired(now) {
		s.holdDown(now)
		s.enter(packet.Down, packet.EchoFunctionFailed)
	}
}
