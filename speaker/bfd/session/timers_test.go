package session

import (
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

const ms = time.Millisecond

// gaps lets a session transmit for a while, hearing p every 10 ms, and returns
// the times between its packets.
func gaps(t *testing.T, s *Session, from, span time.Duration, p *packet.Packet) []time.Duration {
	t.Helper()
	var all []time.Duration
	last := time.Duration(-1)
	for now := from; now < from+span; now += time.Millisecond / 4 {
		if p != nil && now%(10*ms) == 0 {
			receive(t, s, now, p)
		}
		if transmit(s, now) != nil {
			if last >= 0 {
				all = append(all, now-last)
			}
			last = now
		}
	}
	return all
}

func within(t *testing.T, gaps []time.Duration, least, most time.Duration, atLeast int) {
	t.Helper()
	if len(gaps) < atLeast {
		t.Errorf("only %d gaps, want %d", len(gaps), atLeast)
	}
	for _, g := range gaps {
		// The steps of the simulation are a quarter of a millisecond.
		if g < least || g > most+ms/4 {
			t.Errorf("a gap of %v, want %v to %v", g, least, most)
		}
	}
}

func TestTransmission(t *testing.T) {
	up := heard(packet.Up)
	t.Run("6.8.3 not Up, at least a second passes between packets, less the jitter, and that is told", func(t *testing.T) {
		s := New(usual, ours, 1)
		p := transmit(s, 0)
		if p == nil || p.State != packet.Down || p.DesiredMinTx != time.Second || p.RequiredMinRx != 60*ms || p.Poll {
			t.Errorf("the first packet is %+v", p)
		}
		within(t, gaps(t, s, ms, 20*time.Second, nil), 750*ms, time.Second, 18)
	})
	t.Run("6.8.7 Up, ours is the interval where the other end can take it, with jitter of up to a quarter", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		all := gaps(t, s, ms, 5*time.Second, up)
		within(t, all, 37*ms, 50*ms, 95)
		short, long := 0, 0
		for _, g := range all {
			if g < 42*ms {
				short++
			}
			if g > 45*ms {
				long++
			}
		}
		if short < 10 || long < 10 {
			t.Errorf("%d short and %d long gaps of %d: that is no jitter", short, long, len(all))
		}
	})
	t.Run("sessions share moments to send at, so that one wake-up serves several", func(t *testing.T) {
		moments := map[time.Duration]bool{}
		for i := range 20 {
			s := in(t, packet.Up, usual)
			s.random = uint64(i)
			for now := time.Duration(i) * 97 * time.Microsecond; now < time.Second; {
				receive(t, s, now, up)
				transmit(s, now)
				next := s.transmitAt().Sub(at(now))
				if next < usual.DesiredMinTx/4*3 || next > usual.DesiredMinTx {
					t.Errorf("a wait of %v", next)
				}
				now += next
				moments[now] = true
			}
		}
		// 460 packets in a second, at a thousand moments at most.
		for m := range moments {
			if m%ms != 0 {
				t.Errorf("a moment of its own: %v", m)
			}
		}
	})
	t.Run("6.8.2 the other end's RequiredMinRx is obeyed", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		within(t, gaps(t, s, ms, 5*time.Second, heard(packet.Up, func(p *packet.Packet) { p.RequiredMinRx = 200 * ms })), 150*ms, 200*ms, 20)
	})
	t.Run("6.8.7 a RequiredMinRx of 0 asks for silence", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		if all := gaps(t, s, ms, time.Second, heard(packet.Up, func(p *packet.Packet) { p.RequiredMinRx = 0 })); len(all) > 0 {
			t.Errorf("gaps %v", all)
		}
	})
	t.Run("6.8.7 with a multiplier of 1 the jitter is at least a tenth", func(t *testing.T) {
		params := usual
		params.DetectMult = 1
		s := in(t, packet.Up, params)
		within(t, gaps(t, s, ms, 5*time.Second, up), 37*ms, 45*ms, 100)
	})
	t.Run("6.8.7 who is passive is silent until it hears something, and again when it has forgotten", func(t *testing.T) {
		params := usual
		params.Passive = true
		s := New(params, ours, 1)
		if all := gaps(t, s, 0, 5*time.Second, nil); len(all) > 0 || !s.Wake(at(0)).IsZero() {
			t.Errorf("gaps %v, wakes at %v", all, s.Wake(at(0)))
		}
		receive(t, s, 5*time.Second, heard(packet.Down))
		if transmit(s, 5*time.Second) == nil {
			t.Error("has heard and says nothing")
		}
		s.Expire(at(time.Minute))
		if p := transmit(s, time.Minute); p != nil {
			t.Errorf("sends %+v", p)
		}
	})
	t.Run("6.8.7 while the other end is in demand mode nothing is sent but polls and news", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		demand := heard(packet.Up, func(p *packet.Packet) { p.Demand = true })
		receive(t, s, ms, heard(packet.Up, func(p *packet.Packet) { p.Final = true }))
		if all := gaps(t, s, 2*ms, time.Second, demand); len(all) > 0 {
			t.Errorf("gaps %v", all)
		}
		params := usual
		params.DesiredMinTx = 70 * ms
		s.SetParameters(params)
		if p := transmit(s, 1100*ms); p == nil || !p.Poll {
			t.Errorf("sends %+v", p)
		}
	})
	t.Run("6.8.16 AdminDown is told for a detection time, at the pace there was, and then no more", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		s.Disable(at(ms))
		if s.Finished(at(ms)) {
			t.Error("finished before anything is said")
		}
		count := 0
		for now := ms; now < 10*time.Second; now += ms {
			s.Expire(at(now))
			p := transmit(s, now)
			if p == nil {
				continue
			}
			if count++; p.State != packet.AdminDown || p.Diagnostic != packet.AdministrativelyDown || p.DesiredMinTx < time.Second || now > 152*ms {
				t.Errorf("at %v: %+v", now, p)
			}
		}
		if count < 3 || count > 5 || !s.Finished(at(151*ms)) || !s.Wake(at(10*time.Second)).IsZero() {
			t.Errorf("said %d times, wakes at %v", count, s.Wake(at(10*time.Second)))
		}
	})
	t.Run("4.1 the C bit and the D bit are clear", func(t *testing.T) {
		s := in(t, packet.Up, usual)
		if p := transmit(s, time.Second); p.ControlPlaneIndependent || p.Demand {
			t.Errorf("sends %+v", p)
		}
	})
}

func TestPollSequences(t *testing.T) {
	final := heard(packet.Up, func(p *packet.Packet) { p.Final = true })
	settled := func(t *testing.T) *Session {
		s := in(t, packet.Up, usual)
		receive(t, s, ms, final)
		return s
	}
	with := func(tx, rx time.Duration) Parameters {
		params := usual
		params.DesiredMinTx, params.RequiredMinRx = tx, rx
		return params
	}
	t.Run("6.8.3 what is sent faster once Up is told by a poll sequence", func(t *testing.T) {
		s := New(usual, ours, 1)
		receive(t, s, 0, heard(packet.Down))
		transmit(s, 0)
		receive(t, s, 0, heard(packet.Up))
		for _, now := range []time.Duration{0, 60 * ms, 120 * ms} {
			if p := transmit(s, now); p == nil || !p.Poll || p.Final || p.DesiredMinTx != 50*ms {
				t.Errorf("at %v sends %+v", now, p)
			}
		}
		receive(t, s, 130*ms, final)
		if p := transmit(s, 180*ms); p == nil || p.Poll {
			t.Errorf("polls after the Final: %+v", p)
		}
	})
	t.Run("6.8.3 a shorter interval of ours holds at once", func(t *testing.T) {
		s := settled(t)
		s.SetParameters(with(20*ms, 60*ms))
		if got := s.TransmitInterval(); got != 30*ms { // what they can take
			t.Errorf("interval %v", got)
		}
	})
	t.Run("6.8.3 a longer interval of ours waits until the poll sequence has ended", func(t *testing.T) {
		s := settled(t)
		s.SetParameters(with(500*ms, 60*ms))
		if p := transmit(s, 2*ms); p == nil || !p.Poll || p.DesiredMinTx != 500*ms {
			t.Errorf("sends %+v", p)
		}
		if got := s.TransmitInterval(); got != 50*ms {
			t.Errorf("interval %v before the Final", got)
		}
		receive(t, s, 3*ms, final)
		if got := s.TransmitInterval(); got != 500*ms {
			t.Errorf("interval %v after the Final", got)
		}
	})
	t.Run("6.8.3 a shorter RequiredMinRx makes the detection time shorter when the poll sequence has ended", func(t *testing.T) {
		s := settled(t)
		s.SetParameters(with(50*ms, 45*ms))
		if got := s.DetectionTime(); got != 180*ms {
			t.Errorf("detection time %v before the Final", got)
		}
		receive(t, s, 3*ms, final)
		if got := s.DetectionTime(); got != 135*ms {
			t.Errorf("detection time %v after the Final", got)
		}
	})
	t.Run("6.8.3 a longer RequiredMinRx makes it longer at once", func(t *testing.T) {
		s := settled(t)
		s.SetParameters(with(50*ms, 100*ms))
		if got := s.DetectionTime(); got != 300*ms {
			t.Errorf("detection time %v", got)
		}
	})
	t.Run("6.5 a change during a poll sequence needs one of its own", func(t *testing.T) {
		s := settled(t)
		s.SetParameters(with(500*ms, 60*ms))
		transmit(s, 2*ms)
		s.SetParameters(with(600*ms, 60*ms))
		// This answers the first; it may have crossed with the second.
		receive(t, s, 3*ms, final)
		if p := transmit(s, 3*ms); p == nil || !p.Poll || s.TransmitInterval() != 50*ms {
			t.Errorf("sends %+v, interval %v", p, s.TransmitInterval())
		}
		receive(t, s, 4*ms, final)
		if s.TransmitInterval() != 600*ms {
			t.Errorf("interval %v", s.TransmitInterval())
		}
	})
	t.Run("6.8.3 a lower RequiredMinRx of theirs is honoured immediately", func(t *testing.T) {
		s := settled(t)
		receive(t, s, 5*ms, heard(packet.Up, func(p *packet.Packet) { p.RequiredMinRx = time.Minute }))
		for transmit(s, 10*time.Second) != nil {
		}
		wake := func(now time.Duration) time.Duration { return s.transmitAt().Sub(at(now)) }
		if wake(10*time.Second) < 45*time.Second {
			t.Errorf("sends in %v", wake(10*time.Second))
		}
		receive(t, s, 10*time.Second, heard(packet.Up))
		if wake(10*time.Second) > 50*ms {
			t.Errorf("still sends in %v", wake(10*time.Second))
		}
	})
	t.Run("a change of timers never leaves Up, whatever is lost", func(t *testing.T) {
		s := settled(t)
		for i, params := range []Parameters{with(10*ms, 10*ms), with(time.Second, time.Second), with(20*ms, 300*ms)} {
			s.SetParameters(params)
			receive(t, s, time.Duration(i)*100*ms, heard(packet.Up))
			s.Expire(at(time.Duration(i)*100*ms + 99*ms))
		}
		if s.State() != packet.Up {
			t.Error("the session is down")
		}
	})
	t.Run("the same parameters again say nothing", func(t *testing.T) {
		s := settled(t)
		s.SetParameters(usual)
		if p := transmit(s, 2*ms); p != nil {
			t.Errorf("sends %+v", p)
		}
	})
}

func TestEcho(t *testing.T) {
	params := usual
	params.EchoInterval = 20 * ms
	loops := heard(packet.Up, func(p *packet.Packet) { p.RequiredMinEchoRx = 30 * ms })
	active := func(t *testing.T) *Session {
		s := in(t, packet.Up, params)
		receive(t, s, 0, loops)
		return s
	}
	t.Run("6.8.9 none is sent unless the session is Up and the other end returns them", func(t *testing.T) {
		s := in(t, packet.Up, params)
		if _, due := s.Echo(at(time.Second)); due {
			t.Error("sent though the other end returns none")
		}
		s = in(t, packet.Init, params)
		receive(t, s, ms, heard(packet.Down, func(p *packet.Packet) { p.RequiredMinEchoRx = 30 * ms }))
		if _, due := s.Echo(at(time.Second)); due {
			t.Error("sent in Init")
		}
	})
	t.Run("6.8.9 the other end's interval is obeyed, with jitter", func(t *testing.T) {
		s := active(t)
		last, count := time.Duration(-1), 0
		for now := time.Duration(0); now < time.Second; now += ms / 4 {
			if n, due := s.Echo(at(now)); due {
				s.EchoReceived(n)
				if gap := now - last; last >= 0 && (gap < 22*ms || gap > 30*ms+ms/4) {
					t.Errorf("a gap of %v", gap)
				}
				last = now
				count++
			}
		}
		if count < 33 {
			t.Errorf("%d in a second", count)
		}
	})
	t.Run("6.8.3 control packets slow down meanwhile, told by a poll sequence", func(t *testing.T) {
		s := active(t)
		if p := transmit(s, ms); p == nil || !p.Poll || p.RequiredMinRx != time.Second {
			t.Errorf("sends %+v", p)
		}
	})
	t.Run("6.8.5 enough of them that don't come back are a failure", func(t *testing.T) {
		s := active(t)
		n, _ := s.Echo(at(0))
		s.EchoReceived(n)
		s.Echo(at(100 * ms))
		s.Expire(at(189 * ms))
		if s.State() != packet.Up {
			t.Error("too early")
		}
		s.Expire(at(190 * ms))
		if got := s.Status(); got.State != packet.Down || got.Diagnostic != packet.EchoFunctionFailed {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("echoes that we were too late to send are not missed", func(t *testing.T) {
		s := active(t)
		n, _ := s.Echo(at(0))
		s.EchoReceived(n)
		receive(t, s, 2900*ms, loops)
		s.Expire(at(3 * time.Second))
		if s.State() != packet.Up {
			t.Error("the session is down")
		}
	})
	t.Run("an echo that nobody sent, or that is older than the last few, says nothing", func(t *testing.T) {
		s := active(t)
		for i := range 10 {
			s.Echo(at(time.Duration(i) * 30 * ms))
		}
		if s.EchoReceived(11) || s.EchoReceived(7) || !s.EchoReceived(8) || !s.EchoReceived(10) {
			t.Error("mistaken")
		}
	})
	t.Run("6.8.18 after that it is held Down, longer if none comes at all, and not by others' failures", func(t *testing.T) {
		s := active(t)
		now := time.Duration(0)
		fail := func() {
			t.Helper()
			s.Echo(at(now))
			now += 100 * ms
			s.Expire(at(now))
			if s.State() != packet.Down {
				t.Fatal("not down")
			}
		}
		held := func(hold time.Duration) {
			t.Helper()
			receive(t, s, now+hold-1, heard(packet.Down))
			if s.State() != packet.Down {
				t.Errorf("up before %v", hold)
			}
			now += hold
			receive(t, s, now, heard(packet.Down))
			receive(t, s, now, loops)
			if s.State() != packet.Up {
				t.Errorf("not up after %v", hold)
			}
		}
		fail()
		held(5 * time.Second)
		fail()
		held(10 * time.Second)
		n, _ := s.Echo(at(now))
		s.EchoReceived(n)
		now += time.Second
		receive(t, s, now, loops)
		fail()
		held(5 * time.Second)
		s.Expire(at(now + time.Hour))
		receive(t, s, now+time.Hour, heard(packet.Down))
		if s.State() != packet.Init {
			t.Error("held after a failure of control packets")
		}
	})
	t.Run("6.8.6 when the other end returns none any more, they cease and control packets speed up", func(t *testing.T) {
		s := active(t)
		s.Echo(at(0))
		receive(t, s, ms, heard(packet.Up))
		s.Expire(at(150 * ms))
		if p := transmit(s, 150*ms); s.State() != packet.Up || p == nil || p.RequiredMinRx != 60*ms || s.EchoActive() {
			t.Errorf("sends %+v in %v", p, s.State())
		}
	})
}
