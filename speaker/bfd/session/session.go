package session

import (
	"fmt"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// SlowInterval is what bfd.DesiredMinTxInterval is at least while a session is
// not Up, and bfd.RequiredMinRxInterval while the echo function is active
// (RFC 5880 section 6.8.3).
const SlowInterval = time.Second

// HeldLimit is for how long a session is held whose other end is there: it may
// be waiting for this one.
const HeldLimit = 15 * time.Second

// Parameters are what the operator decides. Intervals are in whole
// microseconds, DetectMult is at least 1.
type Parameters struct {
	DesiredMinTx  time.Duration
	RequiredMinRx time.Duration
	DetectMult    uint8
	// Passive waits for the other end's first packet (section 6.1).
	Passive bool
	// Held keeps a session Down that is not Up (section 6.8.18), for [HeldLimit] at
	// most from when the other end is heard.
	Held bool
	// EchoInterval is that of our echo packets; 0 sends none.
	EchoInterval time.Duration
	// RequiredMinEchoRx is the shortest interval of the other end's echo packets
	// that are returned here; 0 says that none are.
	RequiredMinEchoRx time.Duration
	// Auth is the zero Auth where packets are not authenticated.
	Auth Auth
}

// Session is one end of a BFD session.
type Session struct {
	params Parameters
	random uint64

	// The state variables of section 6.8.1, and what the other end last said.
	state             packet.State
	remoteState       packet.State
	localDiscr        uint32
	remoteDiscr       uint32
	localDiag         packet.Diagnostic
	desiredMinTx      time.Duration
	requiredMinRx     time.Duration
	remoteMinRx       time.Duration
	remoteDemand      bool
	auth              authState
	remoteDiag        packet.Diagnostic
	remoteMinTx       time.Duration
	remoteDetectMult  uint8
	remoteMinEchoRx   time.Duration
	remoteAdminDown   bool          // the session is Down since the other end said AdminDown
	remoteEnded       bool          // the session is Down since the other end gave its own up
	heardSince        time.Time     // the first valid packet of those that came without a break since the session went Down
	activeMinTx       time.Duration // in force, while desiredMinTx is what we tell
	activeMinRx       time.Duration // in force, while requiredMinRx is what we tell
	poll              pollState
	finals            int  // packets with F that are to be sent
	urgent            bool // the next packet is to be sent at once
	sent              time.Time
	wait              time.Duration // from sent to the next packet, jitter included
	interval          time.Duration // that wait was made of
	received          time.Time     // the last valid packet; zero where none is remembered
	adminDownFinished time.Time

	echo echo
}

type pollState uint8

const (
	noPoll pollState = iota
	polling
	// pollingAgain has something to tell that the poll sequence under way began
	// too early for.
	pollingAgain
)

// New returns a session in state Down. The discriminator must not be zero and
// must be this node's alone; seed makes jitter and sequence numbers differ
// between sessions.
func New(params Parameters, discriminator uint32, seed uint64) *Session {
	if discriminator == 0 {
		panic("bfd: a session needs a discriminator")
	}
	check(params)
	s := &Session{
		params: params, random: seed, localDiscr: discriminator,
		state: packet.Down, remoteState: packet.Down, remoteMinRx: time.Microsecond,
	}
	s.auth.next = uint32(s.rand())
	s.desiredMinTx, s.requiredMinRx = s.wanted()
	s.activeMinTx, s.activeMinRx = s.desiredMinTx, s.requiredMinRx
	return s
}

// SetParameters changes what the operator decides. A session that is Up stays
// Up: the intervals are told by a poll sequence (section 6.8.3).
func (s *Session) SetParameters(params Parameters) {
	if params == s.params {
		return
	}
	check(params)
	if params.Auth.Type != s.params.Auth.Type {
		s.auth.known = false
	}
	told := params.DetectMult != s.params.DetectMult || params.RequiredMinEchoRx != s.params.RequiredMinEchoRx
	s.params = params
	if told {
		s.urgent = true
	}
	if params.Held && s.state == packet.Init {
		s.enter(packet.Down, s.localDiag)
	}
	s.adjust()
}

func check(params Parameters) {
	if params.DetectMult == 0 || params.DesiredMinTx < time.Microsecond || params.RequiredMinRx < time.Microsecond {
		panic(fmt.Sprintf("bfd: a session can't have these parameters: %+v", params))
	}
}

// Disable takes the session to AdminDown (section 6.8.16). It goes on
// transmitting for a detection time, so that the other end hears of it; see
// Finished.
func (s *Session) Disable(now time.Time) {
	if s.state == packet.AdminDown {
		return
	}
	// Those that tell of it go at the pace that the other end is used to, so that
	// the loss of one is not the loss of the news. Where no other end is known
	// there is nobody to tell.
	pace := s.activeMinTx
	s.adminDownFinished = now
	if s.remoteDiscr != 0 {
		s.adminDownFinished = now.Add(time.Duration(s.params.DetectMult) * s.TransmitInterval())
	}
	s.enter(packet.AdminDown, packet.AdministrativelyDown)
	s.activeMinTx = pace
}

// Enable takes a disabled session to Down (section 6.8.16).
func (s *Session) Enable() {
	if s.state == packet.AdminDown {
		s.enter(packet.Down, s.localDiag)
	}
}

// Finished reports whether a disabled session has said so for long enough.
func (s *Session) Finished(now time.Time) bool {
	return s.state == packet.AdminDown && !now.Before(s.adminDownFinished)
}

// enter changes the state and tells the other end at once.
func (s *Session) enter(state packet.State, diag packet.Diagnostic) {
	s.state, s.localDiag = state, diag
	s.remoteAdminDown, s.remoteEnded = false, false
	if state == packet.Down {
		s.heardSince = time.Time{}
	}
	s.echo.sent, s.echo.unanswered = time.Time{}, time.Time{}
	s.urgent = true
	s.adjust()
}

// wanted returns what bfd.DesiredMinTxInterval and bfd.RequiredMinRxInterval
// should be.
func (s *Session) wanted() (tx, rx time.Duration) {
	tx, rx = s.params.DesiredMinTx, s.params.RequiredMinRx
	// "When bfd.SessionState is not Up, the system MUST set
	// bfd.DesiredMinTxInterval to a value of not less than one second."
	if s.state != packet.Up {
		tx = max(tx, SlowInterval)
	}
	// "When the Echo function is active, a system SHOULD set
	// bfd.RequiredMinRxInterval to a value of not less than one second."
	if s.EchoActive() {
		rx = max(rx, SlowInterval)
	}
	return tx, rx
}

// adjust brings the intervals up to date with state and parameters (section
// 6.8.3).
func (s *Session) adjust() {
	tx, rx := s.wanted()
	if tx == s.desiredMinTx && rx == s.requiredMinRx {
		return
	}
	s.desiredMinTx, s.requiredMinRx = tx, rx
	// "If either bfd.DesiredMinTxInterval is changed or bfd.RequiredMinRxInterval
	// is changed, a Poll Sequence MUST be initiated." Where no other end is known
	// there is nobody to poll, and the first packet says it all.
	if s.remoteDiscr != 0 {
		if s.poll == noPoll {
			s.poll = polling
		} else {
			s.poll = pollingAgain
		}
		s.urgent = true
	}
	// "If bfd.DesiredMinTxInterval is increased and bfd.SessionState is Up, the
	// actual transmission interval used MUST NOT change until the Poll Sequence
	// described above has terminated."
	if s.poll == noPoll || s.state != packet.Up || tx < s.activeMinTx {
		s.activeMinTx = tx
	}
	// "If bfd.RequiredMinRxInterval is reduced and bfd.SessionState is Up, the
	// previous value of bfd.RequiredMinRxInterval MUST be used when calculating
	// the Detection Time for the remote system until the Poll Sequence described
	// above has terminated."
	if s.poll == noPoll || s.state != packet.Up || rx > s.activeMinRx {
		s.activeMinRx = rx
	}
}

// pollEnded is when a packet with F has answered ours with P (section 6.5).
func (s *Session) pollEnded() {
	switch s.poll {
	case pollingAgain:
		s.poll = polling
		s.urgent = true
	case polling:
		s.poll = noPoll
		s.activeMinTx, s.activeMinRx = s.desiredMinTx, s.requiredMinRx
	}
}

// forget clears what is known of the other end only as long as it is heard.
func (s *Session) forget() {
	s.remoteDiscr, s.heardSince = 0, time.Time{}
	s.remoteDemand = false
	s.remoteMinRx = time.Microsecond
	s.remoteMinTx, s.remoteDetectMult, s.remoteMinEchoRx = 0, 0, 0
	s.poll = noPoll
	s.adjust()
	s.activeMinTx, s.activeMinRx = s.desiredMinTx, s.requiredMinRx
}

// rand is splitmix64. Sessions must not transmit in step; nobody needs to be
// kept from guessing the jitter.
func (s *Session) rand() uint64 {
	s.random += 0x9e3779b97f4a7c15
	z := s.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
