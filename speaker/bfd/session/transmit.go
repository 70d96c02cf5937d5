package session

import (
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// Transmit appends the packet to b that is to be sent now, and returns an empty
// slice if there is none (sections 6.8.7 and 6.5). Call it until there is none.
func (s *Session) Transmit(now time.Time, b []byte) []byte {
	// "the receiving system MUST transmit a BFD Control packet with the Poll (P)
	// bit clear and the Final (F) bit set as soon as practicable, without respect
	// to the transmission timer or any other transmission limitations".
	if s.finals > 0 {
		s.finals--
		return s.build(b, false, true)
	}
	if !s.mayTransmit(now) || now.Before(s.transmitAt()) {
		return b[:0]
	}
	s.urgent = false
	s.sent = now
	s.interval = s.TransmitInterval()
	s.wait = align(now, s.jitter(s.interval), s.interval)
	return s.build(b, s.poll != noPoll, false)
}

func (s *Session) build(b []byte, poll, final bool) []byte {
	p := packet.Packet{
		Diagnostic: s.localDiag, State: s.state, Poll: poll, Final: final,
		DetectMult: s.params.DetectMult, MyDiscriminator: s.localDiscr, YourDiscriminator: s.remoteDiscr,
		DesiredMinTx: s.desiredMinTx, RequiredMinRx: s.requiredMinRx, RequiredMinEchoRx: s.params.RequiredMinEchoRx,
	}
	return packet.Append(b[:0], &p, s.sign(&p))
}

// mayTransmit reports whether packets are transmitted periodically (section
// 6.8.7).
func (s *Session) mayTransmit(now time.Time) bool {
	switch {
	// "A system MUST NOT transmit BFD Control packets if bfd.RemoteDiscr is zero
	// and the system is taking the Passive role."
	case s.remoteDiscr == 0 && s.params.Passive:
		return false
	// "A system MUST NOT periodically transmit BFD Control packets if
	// bfd.RemoteMinRxInterval is zero."
	case s.remoteMinRx == 0:
		return s.urgent
	// "A system MUST NOT periodically transmit BFD Control packets if Demand mode
	// is active on the remote system (bfd.RemoteDemandMode is 1,
	// bfd.SessionState is Up, and bfd.RemoteSessionState is Up) and a Poll Sequence
	// is not being transmitted."
	case s.remoteDemand && s.state == packet.Up && s.remoteState == packet.Up && s.poll == noPoll:
		return s.urgent
	// "BFD Control packets SHOULD be transmitted for at least a Detection Time
	// after transitioning to AdminDown state" (section 6.8.16), and then no more.
	case s.Finished(now):
		return false
	}
	return true
}

// TransmitInterval is that between two of our packets, before jitter (section
// 6.8.2).
func (s *Session) TransmitInterval() time.Duration { return max(s.activeMinTx, s.remoteMinRx) }

// transmitAt is when the next periodic packet is due.
func (s *Session) transmitAt() time.Time {
	if s.urgent || s.sent.IsZero() {
		return s.sent
	}
	// "the local system MUST honor the new interval immediately. In other words,
	// the local system cannot wait longer than the new interval between the
	// previous packet transmission and the next one." A longer one holds at once,
	// too, with the same jitter.
	if interval := s.TransmitInterval(); interval != s.interval {
		s.wait = time.Duration(float64(s.wait) * float64(interval) / float64(s.interval))
		s.interval = interval
	}
	return s.sent.Add(s.wait)
}

// jitter shortens an interval "by a random value of 0 to 25%"; "if
// bfd.DetectMult is equal to 1, the interval between transmitted BFD Control
// packets MUST be no more than 90% of the negotiated transmission interval, and
// MUST be no less than 75%" (section 6.8.7).
func (s *Session) jitter(interval time.Duration) time.Duration {
	most, span := interval, interval/4
	if s.params.DetectMult == 1 {
		most, span = interval/10*9, interval/10*9-interval/4*3
	}
	if span <= 0 {
		return most
	}
	return most - time.Duration(s.rand()%uint64(span))
}

// align brings the end of a wait forward to a moment that it has in common with other sessions' waits, so that one
// wake-up serves several. The wait stays as long as section 6.8.7 wants it at least.
func align(now time.Time, wait, interval time.Duration) time.Duration {
	grid := min(interval/16, time.Millisecond)
	if grid <= 0 {
		return wait
	}
	wait -= time.Duration(now.Add(wait).UnixNano()) % grid
	if wait < interval/4*3 {
		wait += grid
	}
	return wait
}

// Wake is when Expire and Transmit are to be called next, if nothing is received
// before; the zero time means that there is no need to.
func (s *Session) Wake(now time.Time) time.Time {
	if s.finals > 0 {
		return now
	}
	var wake time.Time
	earliest := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}
	if s.mayTransmit(now) {
		if at := s.transmitAt(); at.Before(now) {
			earliest(now)
		} else {
			earliest(at)
		}
	}
	if s.remoteDiscr != 0 {
		earliest(s.received.Add(s.DetectionTime()))
	}
	if !s.auth.forgetAt.IsZero() {
		earliest(s.auth.forgetAt)
	}
	if s.state == packet.AdminDown && !s.Finished(now) {
		earliest(s.adminDownFinished)
	}
	if s.EchoActive() {
		earliest(s.echoWake(now))
	}
	return wake
}
