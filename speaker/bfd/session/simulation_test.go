package session

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// A simulation is two ends, and what is on its way between them.
type simulation struct {
	now   time.Duration
	ends  [2]*Session
	lines [2][]flight // toward each end
	delay func() time.Duration
	lose  func(toward int) bool
	downs [2]int // how often an end left Up
}

type flight struct {
	arrives time.Duration
	b       []byte
}

// run lets time pass, from one thing that happens to the next.
func (s *simulation) run(until time.Duration) {
	for s.now < until {
		next := until
		for i, end := range s.ends {
			was := end.State()
			for len(s.lines[i]) > 0 && s.lines[i][0].arrives <= s.now {
				f := s.lines[i][0]
				s.lines[i] = s.lines[i][1:]
				if p, err := packet.Parse(f.b); err == nil {
					_ = end.Receive(at(f.arrives), f.b, &p)
				}
			}
			end.Expire(at(s.now))
			if was == packet.Up && end.State() != packet.Up {
				s.downs[i]++
			}
			for {
				b := end.Transmit(at(s.now), nil)
				if len(b) == 0 {
					break
				}
				if s.lose(1 - i) {
					continue
				}
				arrives := s.now + s.delay()
				// A line does not reorder.
				if line := s.lines[1-i]; len(line) > 0 {
					arrives = max(arrives, line[len(line)-1].arrives)
				}
				s.lines[1-i] = append(s.lines[1-i], flight{arrives, b})
			}
			wake := end.Wake(at(s.now))
			if !wake.IsZero() && !wake.After(at(s.now)) {
				panic("an end has more to do than it said")
			}
			if !wake.IsZero() {
				next = min(next, wake.Sub(begin))
			}
		}
		for _, line := range s.lines {
			if len(line) > 0 {
				next = min(next, line[0].arrives)
			}
		}
		// What is on its way without delay arrives a moment later all the same.
		s.now = max(next, s.now+time.Microsecond)
	}
}

func anyParameters(t *rapid.T, label string) Parameters {
	p := Parameters{
		DesiredMinTx:  time.Duration(rapid.IntRange(10, 2000).Draw(t, label+" tx")) * ms,
		RequiredMinRx: time.Duration(rapid.IntRange(10, 2000).Draw(t, label+" rx")) * ms,
		DetectMult:    uint8(rapid.IntRange(2, 5).Draw(t, label+" mult")),
	}
	return p
}

func TestTwoEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		way := rapid.SampledFrom([]packet.AuthType{0, packet.KeyedSHA1, packet.MeticulousKeyedSHA1}).Draw(t, "authentication")
		params := [2]Parameters{anyParameters(t, "a"), anyParameters(t, "b")}
		params[0].Passive = rapid.Bool().Draw(t, "a passive")
		delay := time.Duration(rapid.IntRange(0, 4).Draw(t, "delay")) * ms
		sim := simulation{delay: func() time.Duration { return delay }, lose: func(int) bool { return false }}
		for i := range params {
			params[i].Auth = authenticated(way).Auth
			sim.ends[i] = New(params[i], uint32(i+1), rapid.Uint64().Draw(t, "seed"))
		}
		both := func(state packet.State) bool {
			return sim.ends[0].State() == state && sim.ends[1].State() == state
		}
		agreed := func(when string) {
			for i, end := range sim.ends {
				want := max(params[i].DesiredMinTx, params[1-i].RequiredMinRx)
				if got := end.TransmitInterval(); got != want {
					t.Fatalf("%s: end %d sends every %v, want %v", when, i, got, want)
				}
				if got, most := end.DetectionTime(), time.Duration(params[1-i].DetectMult)*max(params[i].RequiredMinRx, params[1-i].DesiredMinTx); got != most {
					t.Fatalf("%s: end %d detects after %v, want %v", when, i, got, most)
				}
				if end.Status().Polling {
					t.Fatalf("%s: end %d still polls", when, i)
				}
			}
		}

		// It comes up, and both know the other's timers.
		sim.run(12 * time.Second)
		if !both(packet.Up) {
			t.Fatalf("after 12 s %v and %v", sim.ends[0].State(), sim.ends[1].State())
		}
		agreed("up")

		// New timers are agreed upon, and nothing goes down.
		for i, label := range []string{"a", "b"} {
			if rapid.Bool().Draw(t, label+" changes") {
				next := anyParameters(t, label+" again")
				next.Passive, next.Auth = params[i].Passive, params[i].Auth
				params[i] = next
				sim.ends[i].SetParameters(next)
			}
		}
		sim.run(sim.now + 10*time.Second)
		if sim.downs != [2]int{} || !both(packet.Up) {
			t.Fatalf("a change of timers took the session down: %v", sim.downs)
		}
		agreed("changed")

		switch rapid.SampledFrom([]string{"cut", "one way", "disable"}).Draw(t, "end") {
		case "cut":
			sim.lose = func(int) bool { return true }
			// The last packets are on their way.
			sim.run(sim.now + delay + ms + max(sim.ends[0].DetectionTime(), sim.ends[1].DetectionTime()))
			if !both(packet.Down) {
				t.Fatalf("cut, and %v and %v", sim.ends[0].State(), sim.ends[1].State())
			}
		case "one way":
			sim.lose = func(toward int) bool { return toward == 0 }
			sim.run(sim.now + 2*delay + 2*ms + sim.ends[0].DetectionTime())
			if params[0].Passive {
				// It has forgotten whom to tell, and must not speak first: the other end
				// finds out by its silence.
				sim.run(sim.now + sim.ends[1].DetectionTime())
			}
			if sim.ends[0].State() == packet.Up || sim.ends[1].State() == packet.Up {
				t.Fatalf("cut one way, and %v and %v", sim.ends[0].State(), sim.ends[1].State())
			}
			if got := sim.ends[1].Status(); !params[0].Passive && got.Diagnostic != packet.NeighborSignaledSessionDown {
				t.Fatalf("the end that hears says %v", got.Diagnostic)
			}
		case "disable":
			sim.ends[0].Disable(at(sim.now))
			sim.run(sim.now + delay + 2*ms)
			if got := sim.ends[1].Status(); got.State != packet.Down || !got.RemoteAdminDown {
				t.Fatalf("disabled, and the other end is %+v", got)
			}
			sim.run(sim.now + 5*time.Second)
			sim.ends[0].Enable()
		}

		// And what comes back comes up again.
		sim.lose = func(int) bool { return false }
		sim.run(sim.now + 25*time.Second)
		if !both(packet.Up) {
			t.Fatalf("healed, and %v and %v", sim.ends[0].State(), sim.ends[1].State())
		}
	})
}

// Whatever comes, the machine keeps its laws and ends what it does.
func FuzzReceive(f *testing.F) {
	up := packet.Append(nil, heard(packet.Up), nil)
	f.Add(append(packet.Append(nil, heard(packet.Down), nil), up...), uint16(20))
	f.Add(up, uint16(9999))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		s := New(usual, ours, 1)
		now := begin
		for len(stream) > 0 {
			b := stream[:min(len(stream), packet.MinLength)]
			stream = stream[len(b):]
			p, err := packet.Parse(b)
			if err == nil {
				_ = s.Receive(now, b, &p)
			}
			now = now.Add(time.Duration(step) * time.Microsecond)
			s.Expire(now)
			for i := 0; ; i++ {
				out := s.Transmit(now, nil)
				if len(out) == 0 {
					break
				}
				if i > 2 {
					t.Fatal("it does not stop talking")
				}
				sent, err := packet.Parse(out)
				if err != nil {
					t.Fatalf("sends what nobody takes: %v", err)
				}
				if sent.Poll && sent.Final {
					t.Fatal("P and F in one packet")
				}
				if sent.State != packet.Up && sent.DesiredMinTx < SlowInterval {
					t.Fatalf("%v and %v", sent.State, sent.DesiredMinTx)
				}
			}
			if wake := s.Wake(now); !wake.IsZero() && !wake.After(now) {
				t.Fatal("more to do than it said")
			}
		}
	})
}
