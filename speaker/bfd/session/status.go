package session

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// Status is what there is to tell of a session.
type Status struct {
	State            packet.State
	Diagnostic       packet.Diagnostic
	RemoteState      packet.State
	RemoteDiagnostic packet.Diagnostic
	// RemoteAdminDown says that the session is Down since the other end said
	// AdminDown, which is no failure of the path (RFC 5882 section 3.2).
	RemoteAdminDown bool
	// RemoteEnded says that the session is Down since the other end gave up its
	// own, for no failure that it saw.
	RemoteEnded         bool
	LocalDiscriminator  uint32
	RemoteDiscriminator uint32
	// TransmitInterval, DetectionTime and what follows are as negotiated.
	TransmitInterval time.Duration
	DetectionTime    time.Duration
	RemoteMinTx      time.Duration
	RemoteMinRx      time.Duration
	RemoteDetectMult uint8
	EchoActive       bool
	EchoInterval     time.Duration
	Polling          bool
}

// NoFailure says that the session is Down by the other end's will: the path has
// not failed (RFC 5882 section 3.2).
func (s Status) NoFailure() bool { return s.RemoteAdminDown || s.RemoteEnded }

// State is that of the session.
func (s *Session) State() packet.State { return s.state }

// Discriminator is this end's.
func (s *Session) Discriminator() uint32 { return s.localDiscr }

// Status returns what there is to tell.
func (s *Session) Status() Status {
	status := Status{
		State: s.state, Diagnostic: s.localDiag, RemoteState: s.remoteState, RemoteDiagnostic: s.remoteDiag,
		RemoteAdminDown: s.remoteAdminDown, RemoteEnded: s.remoteEnded, LocalDiscriminator: s.localDiscr, RemoteDiscriminator: s.remoteDiscr,
		TransmitInterval: s.TransmitInterval(), DetectionTime: s.DetectionTime(),
		RemoteMinTx: s.remoteMinTx, RemoteMinRx: s.remoteMinRx, RemoteDetectMult: s.remoteDetectMult,
		EchoActive: s.EchoActive(), Polling: s.poll != noPoll,
	}
	if status.EchoActive {
		status.EchoInterval = s.EchoInterval()
	}
	return status
}
