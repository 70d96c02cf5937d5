package layer2

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestFramesThatWaitedWhileTheProcessDidNotRunAreDropped(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4)...)
		p := w.port("eth0", IPv4)
		for lag, answer := range map[time.Duration]bool{0: true, 900 * time.Millisecond: true, 1100 * time.Millisecond: false} {
			p.lag = lag
			if got := p.ask(clientRequest(clientMAC, vip4)); (len(got) > 0) != answer {
				t.Errorf("a request that waited for %v got %x", lag, got)
			}
		}
		if n := w.Counters().Dropped[IPv4][DropStale]; n != 1 {
			t.Errorf("%d are counted as stale", n)
		}
	})
}

func TestHoldSaysNothingUntilAwake(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4)...)
		p := w.port("eth0", IPv4)
		p.announced()
		w.Hold()
		synctest.Wait()
		if s, _ := w.State(); !s.Held || !w.Held() || w.Turning(time.Second) {
			t.Errorf("it does not show: %+v", s)
		}
		if got := p.ask(clientRequest(clientMAC, vip4)); len(got) > 0 {
			t.Errorf("got the answer %x", got)
		}
		w.apply(on("eth0", vip4, vip4.Next())...)
		w.after(10 * time.Second)
		if n := p.announced(); n > 0 {
			t.Errorf("%d announcements", n)
		}
		w.Awake()
		synctest.Wait()
		if s, _ := w.State(); s.Held || w.Held() {
			t.Errorf("it does not show that it is awake: %+v", s)
		}
		if got := p.ask(clientRequest(clientMAC, vip4)); len(got) == 0 {
			t.Error("no answer")
		}
		if n := p.announced(); n == 0 {
			t.Error("what was taken meanwhile is not announced")
		}
	})
}

func TestAGapHoldsBeforeAnythingIsAnswered(t *testing.T) {
	gap := func(t *testing.T, o Options, asleep func(w *world), held bool) {
		o.RefreshInterval = -1
		inWorldOf(t, o, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4)...)
			w.after(time.Minute)
			p := w.port("eth0", IPv4)
			if w.Held() {
				t.Fatal("a minute without a gap holds")
			}
			asleep(w)
			if got := p.ask(clientRequest(clientMAC, vip4)); (len(got) == 0) != held || w.Held() != held {
				t.Errorf("held is %t, and the answer %x", w.Held(), got)
			}
		})
	}
	// The beat is one that was a while ago: nothing of the process has run since.
	stopped := func(d time.Duration) func(w *world) {
		return func(w *world) { w.beat.Add(-int64(d)) }
	}
	t.Run("the process was stopped", func(t *testing.T) {
		gap(t, Options{HoldAfterGap: true}, stopped(1200*time.Millisecond), true)
	})
	t.Run("it was stopped briefly", func(t *testing.T) {
		gap(t, Options{HoldAfterGap: true}, stopped(800*time.Millisecond), false)
	})
	t.Run("nobody would call Awake", func(t *testing.T) {
		gap(t, Options{}, stopped(time.Hour), false)
	})
	t.Run("the machine slept", func(t *testing.T) {
		gap(t, Options{HoldAfterGap: true}, func(w *world) {
			w.slept.Store(int64(5 * time.Second))
			w.after(2 * beatInterval)
		}, true)
	})
	t.Run("the machine slept, and who asks whether this node answers is the first to wake up", func(t *testing.T) {
		gap(t, Options{HoldAfterGap: true}, func(w *world) {
			w.slept.Store(int64(5 * time.Second))
			if w.Turning(time.Second) {
				t.Error("it says that it answers")
			}
		}, true)
	})
	t.Run("the process was stopped, and who asks whether this node answers is the first to run", func(t *testing.T) {
		gap(t, Options{HoldAfterGap: true}, func(w *world) {
			stopped(1200 * time.Millisecond)(w)
			if w.Turning(time.Second) {
				t.Error("it says that it answers")
			}
		}, true)
	})
	t.Run("a request that waited tells", func(t *testing.T) {
		gap(t, Options{HoldAfterGap: true}, func(w *world) { w.port("eth0", IPv4).lag = 2 * time.Second }, true)
	})
}

// The beat costs no wake-up of its own where somebody asks often enough whether this node answers.
func TestAskingIsABeat(t *testing.T) {
	inWorldOf(t, Options{HoldAfterGap: true, RefreshInterval: -1}, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		for range 100 {
			w.after(beatInterval * 4 / 5)
			before := w.beat.Load()
			if w.after(time.Millisecond); w.beat.Load() != before {
				t.Fatal("it beats although it was asked lately")
			}
			w.Turning(time.Second)
		}
		w.after(beatInterval)
		if age := time.Since(w.born) - time.Duration(w.beat.Load()); age > 0 {
			t.Errorf("the last beat was %v ago, and nobody asks", age)
		}
	})
}

func TestTurning(t *testing.T) {
	inWorld(t, func(w *world) {
		if !w.Turning(time.Millisecond) {
			t.Error("nothing to answer: not turning")
		}
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4, vip6)...)
		for range 10 {
			if !w.Turning(80 * time.Millisecond) {
				t.Error("idle loops: not turning")
			}
			w.after(80 * time.Millisecond)
		}
		p := w.port("eth0", IPv6)
		p.hang.Store(true)
		w.Turning(time.Second)
		w.after(80 * time.Millisecond)
		if !w.Turning(100 * time.Millisecond) {
			t.Error("hung for 80 ms: not turning within 100 ms")
		}
		w.after(80 * time.Millisecond)
		if w.Turning(100 * time.Millisecond) {
			t.Error("hung for 160 ms: turning within 100 ms")
		}
		p.hang.Store(false)
		w.Turning(100 * time.Millisecond)
		synctest.Wait()
		if !w.Turning(100 * time.Millisecond) {
			t.Error("it goes on, and is not turning")
		}
	})
}

func TestAskersAreRemembered(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		w.apply(Announcement{Address: vip4, Interfaces: []string{"eth0"}}, Announcement{Address: vip4.Next(), Interfaces: []string{"eth0"}, Standby: true})
		p := w.port("eth0", IPv4)
		third := netip.MustParseAddr("192.0.2.3")
		p.ask(arpRequest(clientMAC, client4, vip4))
		w.after(time.Second)
		p.ask(arpRequest(otherMAC, third, vip4))
		p.ask(arpRequest(otherMAC, netip.IPv4Unspecified(), vip4)) // a probe is nobody's question
		if got := p.ask(arpRequest(clientMAC, client4, vip4.Next())); len(got) > 0 {
			t.Error("who stands by has answered")
		}
		expect := func(what string, got []Asker, want ...netip.Addr) {
			t.Helper()
			if len(got) != len(want) {
				t.Errorf("%s: got %v, expected %v", what, got, want)
				return
			}
			for i := range got {
				if got[i].Address != want[i] {
					t.Errorf("%s: got %v, expected %v", what, got, want)
				}
			}
		}
		expect("the address answered", w.Askers("eth0", vip4), third, client4)
		expect("the address stood by for", w.Askers("eth0", vip4.Next()), client4)
		expect("anybody", w.Hosts("eth0", IPv4, 1), client4)
		w.after(askerMemory)
		expect("a while later", w.Askers("eth0", vip4))
	})
}

func TestAskersAreBounded(t *testing.T) {
	k := newAskers()
	now := time.Now()
	old := scattered(IPv4, k.limit+1000)
	for i, a := range old {
		for j := range 10 {
			k.note(now.Add(time.Duration(i)*time.Millisecond), a, old[j], clientMAC)
		}
	}
	if len(k.by) > k.limit {
		t.Errorf("%d addresses are remembered", len(k.by))
	}
	if got := k.of(now.Add(time.Minute), old[len(old)-1]); len(got) != askersEach {
		t.Errorf("of the last one there are %v", got)
	}
}

func TestNothingIsHeldBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{HoldAfterGap: true})
		time.Sleep(time.Minute)
		if !a.Turning(time.Second) || a.Held() {
			t.Error("the time before Run is taken for a gap")
		}
	})
}
