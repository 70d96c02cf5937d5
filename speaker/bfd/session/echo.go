package session

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// echo is the echo function (RFC 5880 sections 6.4, 6.8.5 and 6.8.9). What an
// echo packet looks like is the sender's own affair; here each has a number.
//
// Silence counts from the first packet that was sent and has not come back: who
// could not send in time is not to take that for a failure.
type echo struct {
	last       uint32 // number of the last one sent
	sent       time.Time
	wait       time.Duration
	unanswered time.Time // when the first one was sent that has not come back, nor any after; zero if none

	// heldUntil is until when the session is held Down after echoes stayed away, and hold for how long it was: control
	// packets alone would bring it Up again at once, and again and again.
	heldUntil time.Time
	hold      time.Duration
}

const (
	// firstHold is doubled each time that no echo came at all, up to longestHold.
	firstHold   = 5 * time.Second
	longestHold = time.Minute
)

func (s *Session) holdDown(now time.Time) {
	s.echo.hold = min(max(2*s.echo.hold, firstHold), longestHold)
	s.echo.heldUntil = now.Add(s.echo.hold)
}

// EchoActive reports whether echo packets are being sent. "BFD Echo packets
// MUST NOT be transmitted when bfd.SessionState is not Up. BFD Echo packets MUST
// NOT be transmitted unless the last BFD Control packet received from the remote
// system contains a nonzero value in Required Min Echo RX Interval."
func (s *Session) EchoActive() bool {
	return s.params.EchoInterval > 0 && s.state == packet.Up && s.remoteMinEchoRx > 0
}

// EchoInterval is that between two echo packets, before jitter.
func (s *Session) EchoInterval() time.Duration { return max(s.params.EchoInterval, s.remoteMinEchoRx) }

// EchoDetectionTime is how long echo packets may stay away.
func (s *Session) EchoDetectionTime() time.Duration {
	return time.Duration(s.params.DetectMult) * s.EchoInterval()
}

// Echo returns the number of the echo packet to send now, if one is due.
func (s *Session) Echo(now time.Time) (number uint32, due bool) {
	if !s.EchoActive() {
		s.echo.sent, s.echo.unanswered = time.Time{}, time.Time{}
		return 0, false
	}
	if now.Before(s.echo.sent.Add(s.echo.wait)) {
		return 0, false
	}
	// "A 25% jitter MAY be applied to the rate of transmission, such that the
	// actual interval MAY be between 75% and 100% of the advertised value."
	s.echo.sent, s.echo.wait = now, s.EchoInterval()-time.Duration(s.rand()%uint64(s.EchoInterval()/4+1))
	s.echo.last++
	if s.echo.unanswered.IsZero() {
		s.echo.unanswered = now
	}
	return s.echo.last, true
}

// EchoReceived says that an echo packet has come back. It reports whether that
// is one of the last that were sent.
func (s *Session) EchoReceived(number uint32) bool {
	if !s.EchoActive() || s.echo.last-number >= uint32(s.params.DetectMult) {
		return false
	}
	// Those before it have come back or will not; either way the path is alive.
	// One that is still on its way counts from the last packet sent.
	s.echo.unanswered, s.echo.hold = time.Time{}, 0
	if number != s.echo.last {
		s.echo.unanswered = s.echo.sent
	}
	return true
}

func (s *Session) echoExpired(now time.Time) bool {
	return s.EchoActive() && !s.echo.unanswered.IsZero() && now.Sub(s.echo.unanswered) >= s.EchoDetectionTime()
}

func (s *Session) echoWake(now time.Time) time.Time {
	wake := s.echo.sent.Add(s.echo.wait)
	if !s.echo.unanswered.IsZero() {
		if expiry := s.echo.unanswered.Add(s.EchoDetectionTime()); expiry.Before(wake) {
			wake = expiry
		}
	}
	if wake.Before(now) {
		return now
	}
	return wake
}
