package session

import (
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

const (
	ours   = 0x11111111
	theirs = 0x22222222
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var usual = Parameters{DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 60 * time.Millisecond, DetectMult: 3}

// at is a moment, counted from the begin of the test.
func at(d time.Duration) time.Time { return begin.Add(d) }

// heard is a packet of the other end, in a state, that knows us.
func heard(state packet.State, change ...func(*packet.Packet)) *packet.Packet {
	p := &packet.Packet{
		State: state, DetectMult: 3, MyDiscriminator: theirs, YourDiscriminator: ours,
		DesiredMinTx: 40 * time.Millisecond, RequiredMinRx: 30 * time.Millisecond,
	}
	for _, f := range change {
		f(p)
	}
	return p
}

// in returns a session that came to a state by what it heard at the begin, and
// that has said all that it had to say.
func in(t *testing.T, state packet.State, params Parameters) *Session {
	t.Helper()
	s := New(params, ours, 1)
	switch state {
	case packet.AdminDown:
		s.Disable(begin)
	case packet.Init:
		receive(t, s, 0, heard(packet.Down))
	case packet.Up:
		receive(t, s, 0, heard(packet.Down))
		receive(t, s, 0, heard(packet.Up))
	}
	if s.State() != state {
		t.Fatalf("is %v, not %v", s.State(), state)
	}
	for transmit(s, 0) != nil {
	}
	return s
}

func receive(t *testing.T, s *Session, after time.Duration, p *packet.Packet) {
	t.Helper()
	if err := s.Receive(at(after), nil, p); err != nil && err != LocallyDisabled {
		t.Fatalf("%v: %v", after, err)
	}
}

// transmit returns the packet that the session has to send, if any.
func transmit(s *Session, after time.Duration) *packet.Packet {
	b := s.Transmit(at(after), make([]byte, 0, packet.MaxLength))
	if len(b) == 0 {
		return nil
	}
	p, err := packet.Parse(b)
	if err != nil {
		panic(err)
	}
	return &p
}

// Every transition of the state machine, by what makes it.
func TestTransitions(t *testing.T) {
	hear := func(state packet.State) func(*Session) {
		return func(s *Session) { _ = s.Receive(at(time.Millisecond), nil, heard(state)) }
	}
	silence := func(s *Session) { s.Expire(at(time.Minute)) }
	shortSilence := func(s *Session) { s.Expire(at(10 * time.Millisecond)) }
	disable := func(s *Session) { s.Disable(at(time.Millisecond)) }
	enable := func(s *Session) { s.Enable() }

	const (
		none     = packet.NoDiagnostic
		expired  = packet.ControlDetectionTimeExpired
		signaled = packet.NeighborSignaledSessionDown
		admin    = packet.AdministrativelyDown
	)
	for _, row := range []struct {
		paragraph string
		from      packet.State
		event     string
		do        func(*Session)
		to        packet.State
		diag      packet.Diagnostic
		tell      bool // a packet is to be sent at once
	}{
		// "If bfd.SessionState is AdminDown: Discard the packet"
		{"6.8.6", packet.AdminDown, "hears AdminDown", hear(packet.AdminDown), packet.AdminDown, admin, false},
		{"6.8.6", packet.AdminDown, "hears Down", hear(packet.Down), packet.AdminDown, admin, false},
		{"6.8.6", packet.AdminDown, "hears Init", hear(packet.Init), packet.AdminDown, admin, false},
		{"6.8.6", packet.AdminDown, "hears Up", hear(packet.Up), packet.AdminDown, admin, false},

		// "If received state is AdminDown: If bfd.SessionState is not Down: Set
		// bfd.LocalDiag to 3, Set bfd.SessionState to Down"
		{"6.8.6", packet.Down, "hears AdminDown", hear(packet.AdminDown), packet.Down, none, false},
		{"6.8.6", packet.Init, "hears AdminDown", hear(packet.AdminDown), packet.Down, signaled, true},
		{"6.8.6", packet.Up, "hears AdminDown", hear(packet.AdminDown), packet.Down, signaled, true},

		// "If bfd.SessionState is Down: If received State is Down: Set
		// bfd.SessionState to Init. Else if received State is Init: Set
		// bfd.SessionState to Up"
		{"6.8.6", packet.Down, "hears Down", hear(packet.Down), packet.Init, none, true},
		{"6.8.6", packet.Down, "hears Init", hear(packet.Init), packet.Up, none, true},
		{"6.8.6", packet.Down, "hears Up", hear(packet.Up), packet.Down, none, false},

		// "Else if bfd.SessionState is Init: If received State is Init or Up: Set
		// bfd.SessionState to Up"
		{"6.8.6", packet.Init, "hears Down", hear(packet.Down), packet.Init, none, false},
		{"6.8.6", packet.Init, "hears Init", hear(packet.Init), packet.Up, none, true},
		{"6.8.6", packet.Init, "hears Up", hear(packet.Up), packet.Up, none, true},

		// "Else (bfd.SessionState is Up): If received State is Down: Set
		// bfd.LocalDiag to 3, Set bfd.SessionState to Down"
		{"6.8.6", packet.Up, "hears Down", hear(packet.Down), packet.Down, signaled, true},
		{"6.8.6", packet.Up, "hears Init", hear(packet.Init), packet.Up, none, false},
		{"6.8.6", packet.Up, "hears Up", hear(packet.Up), packet.Up, none, false},

		// "the session has gone down -- the local system MUST set bfd.SessionState
		// to Down and bfd.LocalDiag to 1", in Init and Up alone
		{"6.8.4", packet.AdminDown, "hears nothing", silence, packet.AdminDown, admin, false},
		{"6.8.4", packet.Down, "hears nothing", silence, packet.Down, none, false},
		{"6.8.4", packet.Init, "hears nothing", silence, packet.Down, expired, true},
		{"6.8.4", packet.Up, "hears nothing", silence, packet.Down, expired, true},
		{"6.8.4", packet.Init, "hears nothing for less than the detection time", shortSilence, packet.Init, none, false},
		{"6.8.4", packet.Up, "hears nothing for less than the detection time", shortSilence, packet.Up, none, false},

		// "If an administrative action disables the session: Set bfd.SessionState to
		// AdminDown, Set bfd.LocalDiag to an appropriate value"
		{"6.8.16", packet.AdminDown, "is disabled", disable, packet.AdminDown, admin, false},
		{"6.8.16", packet.Down, "is disabled before anybody is known", disable, packet.AdminDown, admin, false},
		{"6.8.16", packet.Init, "is disabled", disable, packet.AdminDown, admin, true},
		{"6.8.16", packet.Up, "is disabled", disable, packet.AdminDown, admin, true},

		// "If enabling session: Set bfd.SessionState to Down"
		{"6.8.16", packet.AdminDown, "is enabled", enable, packet.Down, admin, true},
		{"6.8.16", packet.Down, "is enabled", enable, packet.Down, none, false},
		{"6.8.16", packet.Init, "is enabled", enable, packet.Init, none, false},
		{"6.8.16", packet.Up, "is enabled", enable, packet.Up, none, false},
	} {
		t.Run(row.paragraph+" "+row.from.String()+" "+row.event, func(t *testing.T) {
			s := in(t, row.from, usual)
			row.do(s)
			if got := s.Status(); got.State != row.to || got.Diagnostic != row.diag {
				t.Errorf("became %v (%v), want %v (%v)", got.State, got.Diagnostic, row.to, row.diag)
			}
			p := transmit(s, time.Millisecond)
			if (p != nil) != row.tell {
				t.Errorf("sends %+v at once; want something: %v", p, row.tell)
			}
			if p != nil && (p.State != row.to || p.Diagnostic != row.diag) {
				t.Errorf("tells %v (%v), want %v (%v)", p.State, p.Diagnostic, row.to, row.diag)
			}
		})
	}
}

func TestReception(t *testing.T) {
	t.Run("6.8.6 a packet for another discriminator is discarded", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		if err := s.Receive(at(1), nil, heard(packet.Down, func(p *packet.Packet) { p.YourDiscriminator++ })); err != UnknownDiscriminator {
			t.Error(err)
		}
		if s.State() != packet.Up {
			t.Error("it took the session down")
		}
	})
	t.Run("6.8.6 without Your Discriminator, Down is for us: the other end began anew", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		receive(t, s, 1, heard(packet.Down, func(p *packet.Packet) { p.YourDiscriminator, p.MyDiscriminator = 0, 77 }))
		if got := s.Status(); got.State != packet.Down || got.RemoteDiscriminator != 77 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("6.8.6 AdminDown of the other end is told apart from a failure, until the session moves on", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		receive(t, s, 1, heard(packet.AdminDown))
		if !s.Status().RemoteAdminDown {
			t.Error("not told")
		}
		s.Expire(at(time.Minute))
		if got := s.Status(); !got.RemoteAdminDown || got.RemoteDiscriminator != 0 {
			t.Errorf("after a silence %+v", got)
		}
		receive(t, s, time.Minute, heard(packet.Down))
		if got := s.Status(); got.RemoteAdminDown || got.State != packet.Init {
			t.Errorf("after Down %+v", got)
		}
	})
	t.Run("6.8.6 Down of an other end that claims to have been told so is told apart from a failure, until the session moves on", func(t *testing.T) {
		told := func(diag packet.Diagnostic) func(*packet.Packet) {
			return func(p *packet.Packet) { p.Diagnostic = diag }
		}
		s := in(t, packet.Up, usual)
		receive(t, s, 1, heard(packet.Down, told(packet.NeighborSignaledSessionDown)))
		if got := s.Status(); got.State != packet.Down || !got.RemoteEnded || !got.NoFailure() {
			t.Errorf("got %+v", got)
		}
		receive(t, s, 2, heard(packet.Down))
		if got := s.Status(); got.RemoteEnded || got.State != packet.Init {
			t.Errorf("after Down of its next session %+v", got)
		}
		for _, diag := range []packet.Diagnostic{packet.NoDiagnostic, packet.ControlDetectionTimeExpired, packet.PathDown} {
			s := in(t, packet.Up, usual)
			receive(t, s, 1, heard(packet.Down, told(diag)))
			if got := s.Status(); got.State != packet.Down || got.NoFailure() {
				t.Errorf("%v: got %+v", diag, got)
			}
		}
	})
	t.Run("6.8.18 a session that is held stays Down, but not for ever where the other end is there", func(t *testing.T) {
		held := usual
		held.Held = true
		s := in(t, packet.Down, held)
		receive(t, s, time.Minute, heard(packet.Down))
		receive(t, s, time.Minute+HeldLimit-1, heard(packet.Down))
		if got := s.State(); got != packet.Down {
			t.Errorf("it is %v", got)
		}
		s.Expire(at(time.Hour))
		receive(t, s, time.Hour, heard(packet.Down))
		if got := s.State(); got != packet.Down {
			t.Errorf("after a silence it is %v", got)
		}
		receive(t, s, time.Hour+HeldLimit, heard(packet.Down))
		if got := s.State(); got != packet.Init {
			t.Errorf("in the end it is %v", got)
		}
		s = in(t, packet.Up, usual)
		s.SetParameters(held)
		receive(t, s, 1, heard(packet.Up))
		if got := s.State(); got != packet.Up {
			t.Errorf("it was Up, and is %v", got)
		}
		receive(t, s, 2, heard(packet.Down))
		receive(t, s, 3, heard(packet.Down))
		if got := s.State(); got != packet.Down {
			t.Errorf("it went down, and is %v", got)
		}
		s.SetParameters(usual)
		receive(t, s, 4, heard(packet.Down))
		if got := s.State(); got != packet.Init {
			t.Errorf("it is let go, and is %v", got)
		}
		s.SetParameters(held)
		receive(t, s, 5, heard(packet.Init))
		if got := s.State(); got != packet.Down {
			t.Errorf("it is held again before it was Up, and is %v", got)
		}
	})
	t.Run("6.8.1 after a detection time without packets the other end's discriminator is forgotten", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		if s.Status().RemoteDiscriminator != theirs {
			t.Error("not known")
		}
		s.Expire(at(time.Minute))
		if p := transmit(s, time.Minute); p == nil || p.YourDiscriminator != 0 {
			t.Errorf("sends %+v", p)
		}
	})
	t.Run("6.8.4 the detection time is theirs: multiplier and interval, or ours where that is longer", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		for _, row := range []struct {
			mult uint8
			tx   time.Duration
			want time.Duration
		}{
			{3, 40 * time.Millisecond, 180 * time.Millisecond},
			{5, 40 * time.Millisecond, 300 * time.Millisecond},
			{2, 100 * time.Millisecond, 200 * time.Millisecond},
		} {
			receive(t, s, 1, heard(packet.Up, func(p *packet.Packet) { p.DetectMult, p.DesiredMinTx = row.mult, row.tx }))
			if got := s.DetectionTime(); got != row.want {
				t.Errorf("%d × %v: detection time %v, want %v", row.mult, row.tx, got, row.want)
			}
		}
	})
	t.Run("6.8.4 it ends with the detection time, counted from when the last packet came, and no earlier", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		receive(t, s, 100*time.Millisecond, heard(packet.Up))
		s.Expire(at(100*time.Millisecond + 180*time.Millisecond - 1))
		if s.State() != packet.Up {
			t.Error("too early")
		}
		s.Expire(at(100*time.Millisecond + 180*time.Millisecond))
		if s.State() != packet.Down {
			t.Error("too late")
		}
	})
	t.Run("6.8.4 a packet that waited in our queue came in time", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		// We wake a second late; meanwhile the kernel took packets in, the last one a moment ago.
		receive(t, s, 950*time.Millisecond, heard(packet.Up))
		s.Expire(at(time.Second))
		if s.State() != packet.Up {
			t.Error("the session is down")
		}
	})
	t.Run("6.5 each poll is answered at once, in any state but AdminDown, whatever the timers say", func(t *testing.T) {
		poll := func(p *packet.Packet) { p.Poll = true }
		for _, state := range []packet.State{packet.Down, packet.Init, packet.Up} {
			params := usual
			params.Passive = true
			s := in(t, state, params)
			receive(t, s, time.Millisecond, heard(packet.AdminDown, poll, func(p *packet.Packet) { p.RequiredMinRx = 0 }))
			p := transmit(s, time.Millisecond)
			if p == nil || !p.Final || p.Poll {
				t.Errorf("%v: answers %+v", state, p)
			}
			if p := transmit(s, time.Millisecond); p != nil && p.Final {
				t.Errorf("%v: answers twice", state)
			}
		}
		s := in(t, packet.AdminDown, usual)
		receive(t, s, time.Millisecond, heard(packet.Up, poll))
		if p := transmit(s, time.Millisecond); p != nil {
			t.Errorf("AdminDown: answers %+v", p)
		}
	})
}
