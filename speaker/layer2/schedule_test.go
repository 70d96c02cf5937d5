package layer2

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A sending is a frame that a schedule sent.
type sending struct {
	at      time.Duration
	address netip.Addr
	form    int
}

// play asks a schedule whenever it wants to be asked until it is done.
func play(s *schedule, now time.Time) []sending {
	var sent []sending
	for {
		f, ok, wake := s.next(now)
		switch {
		case ok:
			sent = append(sent, sending{now.Sub(epoch), f.address, f.form})
		case wake.IsZero():
			return sent
		case !wake.After(now):
			panic(fmt.Sprintf("asked at %v to be asked at %v", now, wake))
		default:
			now = wake
		}
	}
}

func unpaced() *rate.Limiter { return rate.NewLimiter(rate.Inf, 0) }

func TestAnnouncingTakesSixRounds(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for _, c := range []struct {
		name  string
		forms int
		want  []sending
	}{
		{"of one form", 1, []sending{
			{0, vip6, 0}, {ms(80), vip6, 0}, {ms(180), vip6, 0}, {ms(1000), vip6, 0}, {ms(2000), vip6, 0}, {ms(4000), vip6, 0},
		}},
		{"of two forms, one right after the other", 2, []sending{
			{0, vip6, 0}, {0, vip6, 1}, {ms(80), vip6, 0}, {ms(80), vip6, 1}, {ms(180), vip6, 0}, {ms(180), vip6, 1},
			{ms(1000), vip6, 0}, {ms(1000), vip6, 1}, {ms(2000), vip6, 0}, {ms(2000), vip6, 1}, {ms(4000), vip6, 0}, {ms(4000), vip6, 1},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSchedule(c.forms, unpaced(), epoch, 0, nil)
			s.add(epoch, vip6, time.Time{})
			if got := play(s, epoch); !slices.Equal(got, c.want) {
				t.Errorf("got %v, expected %v", got, c.want)
			}
		})
	}
}

func TestScheduleStory(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	s := newSchedule(2, unpaced(), epoch, 0, nil)
	expect := func(what string, at time.Duration, want ...sending) time.Duration {
		t.Helper()
		now := epoch.Add(at)
		for _, w := range want {
			f, ok, _ := s.next(now)
			if got := (sending{at, f.address, f.form}); !ok || got != w {
				t.Fatalf("%s: got %v, %v; expected %v", what, got, ok, w)
			}
		}
		_, ok, wake := s.next(now)
		if ok {
			t.Fatalf("%s: more than expected", what)
		}
		if wake.IsZero() {
			return -1
		}
		return wake.Sub(epoch)
	}
	if wake := expect("an empty schedule sends nothing and wants nothing", 0); wake != -1 {
		t.Errorf("wants to be asked at %v", wake)
	}
	s.add(epoch, a, time.Time{})
	s.add(epoch, b, time.Time{})
	expect("each address is announced before any is announced in another form", 0,
		sending{0, a, 0}, sending{0, b, 0}, sending{0, a, 1}, sending{0, b, 1})
	s.remove(b)
	if wake := expect("an address that was removed is announced no more", 80*time.Millisecond,
		sending{80 * time.Millisecond, a, 0}, sending{80 * time.Millisecond, a, 1}); wake != 180*time.Millisecond {
		t.Errorf("wants to be asked at %v", wake)
	}
	s.remove(b) // once more does no harm
	s.add(epoch.Add(100*time.Millisecond), a, time.Time{})
	expect("an address that is added again begins anew", 100*time.Millisecond,
		sending{100 * time.Millisecond, a, 0}, sending{100 * time.Millisecond, a, 1})
	if wake := expect("nothing is sent before its time", 179*time.Millisecond); wake != 180*time.Millisecond {
		t.Errorf("wants to be asked at %v", wake)
	}
}

// Whatever is added when: no burst is beyond what the pace allows, every address
// gets all its frames in order, first frames come before all others
// that wait, and rounds are never closer together than they should be.
func TestScheduleLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		forms := rapid.IntRange(1, 2).Draw(t, "forms")
		perSecond := rapid.SampledFrom([]int{50, 500, 2000}).Draw(t, "rate")
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		count := rapid.IntRange(1, 100).Draw(t, "addresses")
		s := newSchedule(forms, rate.NewLimiter(rate.Limit(perSecond), burst), epoch, 0, nil)
		for i := range count {
			s.add(epoch, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), time.Time{})
		}

		sent := play(s, epoch)

		if want := count * forms * len(rounds); len(sent) != want {
			t.Fatalf("sent %d frames, expected %d", len(sent), want)
		}
		for i := range sent {
			if i >= burst+1 {
				least := time.Duration(float64(time.Second) / float64(perSecond))
				if gap := sent[i].at - sent[i-burst-1].at; gap < least-time.Microsecond {
					t.Fatalf("%d frames within %v", burst+1, gap)
				}
			}
			if i < count && sent[i].form != 0 {
				t.Fatalf("frame %d is a second one while there are addresses without a first", i)
			}
		}
		steps := make(map[netip.Addr][]sending)
		for _, x := range sent {
			steps[x.address] = append(steps[x.address], x)
		}
		for address, xs := range steps {
			for i, x := range xs {
				if x.form != i%forms {
					t.Fatalf("%v: frame %d has form %d", address, i, x.form)
				}
				if i > 0 && x.at-xs[i-1].at < step(i-1).delay(forms) {
					t.Fatalf("%v: frame %d came %v after the one before", address, i, x.at-xs[i-1].at)
				}
			}
		}
	})
}

func TestRepeating(t *testing.T) {
	at := func(ms ...int) []time.Duration {
		var all []time.Duration
		for _, n := range ms {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	for _, c := range []struct {
		name    string
		add     bool
		repeats []time.Duration
		want    []time.Duration // of rounds
	}{
		{"what was announced long ago takes one round", false, at(0), at(0)},
		{"before the first round it is that one", true, at(0), at(0, 80, 180, 1000, 2000, 4000)},
		{"between rounds it is one more, and the others keep their distance", true, at(500), at(0, 80, 180, 500, 1320, 2320, 4320)},
		{"before the last round it is one more", true, at(3000), at(0, 80, 180, 1000, 2000, 3000, 5000)},
		{"after the last round it is one more", true, at(9000), at(0, 80, 180, 1000, 2000, 4000, 9000)},
		{"twice at once is once", false, at(0, 0), at(0)},
		{"twice apart is twice", false, at(0, 100), at(0, 100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSchedule(2, unpaced(), epoch, 0, nil)
			if c.add {
				s.add(epoch, vip4, time.Time{})
			}
			var got []time.Duration
			repeats := c.repeats
			for now := epoch; ; {
				for len(repeats) > 0 && !epoch.Add(repeats[0]).After(now) {
					s.repeat(now, vip4)
					repeats = repeats[1:]
				}
				f, ok, wake := s.next(now)
				switch {
				case ok && f.form == 0:
					got = append(got, now.Sub(epoch))
				case ok:
				case len(repeats) > 0 && (wake.IsZero() || epoch.Add(repeats[0]).Before(wake)):
					now = epoch.Add(repeats[0])
				case wake.IsZero():
					if !slices.Equal(got, c.want) {
						t.Errorf("rounds at %v, expected %v", got, c.want)
					}
					return
				default:
					now = wake
				}
			}
		})
	}
}

// The more addresses there are, the less often each is refreshed.
func TestVeryManyAddressesAreRefreshedLessOften(t *testing.T) {
	const count = 2000 // at 10 a second, in 200 s
	s := newSchedule(1, rate.NewLimiter(DefaultGratuitousRate, DefaultGratuitousRate/burstsPerSecond), epoch, time.Minute, rand.New(rand.NewPCG(1, 2)).Float64)
	for _, a := range scattered(IPv4, count) {
		s.add(epoch, a, time.Time{})
	}
	frames := 0
	const from, until = 5 * time.Minute, 15 * time.Minute
	for now := epoch; now.Before(epoch.Add(until)); {
		_, ok, wake := s.next(now)
		if !ok {
			now = wake
			continue
		}
		if now.Sub(epoch) >= from {
			frames++
		}
	}
	if perSecond := float64(frames) / (until - from).Seconds(); perSecond < refreshesPerSecond*0.9 || perSecond > refreshesPerSecond*1.1 {
		t.Errorf("%.1f refreshes a second", perSecond)
	}
}

// However addresses came to be announced together, refreshes are spread and each address has its own within the interval, give or
// take a quarter; there are a few occasions in a second, however many addresses there are.
func TestRefreshesAreSpread(t *testing.T) {
	const (
		count    = 60 * refreshesPerSecond
		interval = time.Minute
		began    = 10 * time.Second // all rounds are over
	)
	for _, c := range []struct {
		name   string
		repeat bool
	}{{"after being taken", false}, {"after being announced again", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSchedule(1, rate.NewLimiter(DefaultGratuitousRate, DefaultGratuitousRate/burstsPerSecond), epoch, interval, rand.New(rand.NewPCG(1, 2)).Float64)
			for _, a := range scattered(IPv4, count) {
				s.add(epoch, a, time.Time{})
			}
			var (
				perSecond = make(map[int]int)
				occasions = make(map[time.Time]bool)
				last      = make(map[netip.Addr]time.Time)
				refreshes = make(map[netip.Addr]int)
				again     = epoch.Add(began - time.Second)
			)
			for now := epoch; now.Before(epoch.Add(began + 20*interval)); {
				if c.repeat && !now.Before(again) {
					for _, a := range scattered(IPv4, count) {
						s.repeat(now, a)
					}
					c.repeat = false
				}
				f, ok, wake := s.next(now)
				a := f.address
				if !ok {
					now = wake
					continue
				}
				if now.Sub(epoch) < began {
					continue
				}
				perSecond[int(now.Sub(epoch)/time.Second)]++
				occasions[now] = true
				if refreshes[a]++; refreshes[a] > 1 {
					if gap := now.Sub(last[a]); gap < interval*3/4 || gap > interval*5/4+time.Second {
						t.Fatalf("%v was refreshed after %v", a, gap)
					}
				}
				last[a] = now
			}
			if most := int(20 * interval / refreshesTogether); len(occasions) > most {
				t.Errorf("%d occasions in 20 intervals, want %d at most", len(occasions), most)
			}
			for second, n := range perSecond {
				if n > 4*count/60 {
					t.Errorf("%d frames in second %d, expected about %d", n, second, count/60)
				}
			}
			for _, a := range scattered(IPv4, count) {
				if n := refreshes[a]; n < 17 || n > 25 {
					t.Errorf("%v was refreshed %d times in 20 intervals", a, n)
				}
			}
		})
	}
}

// Very many addresses at once: each is announced once within two seconds, those that were asked for lately
// at the very first, and all that comes later keeps to the pace.
func TestAFloodIsAnnouncedInTime(t *testing.T) {
	for _, count := range []int{100, 3000, 10000} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			s := newSchedule(2, rate.NewLimiter(DefaultGratuitousRate, DefaultGratuitousRate/burstsPerSecond), epoch, 0, nil)
			all := scattered(IPv4, count)
			asked := make(map[netip.Addr]bool)
			for i, a := range all {
				var when time.Time
				if i%50 == 49 {
					when, asked[a] = epoch.Add(-time.Minute), true
				}
				s.add(epoch, a, when)
			}
			sent := play(s, epoch)
			for i, x := range sent[:count] {
				if x.form != 0 || asked[x.address] != (i < len(asked)) {
					t.Fatalf("frame %d is %+v", i, x)
				}
			}
			if first := sent[count-1].at; first > firstWithin+100*time.Millisecond {
				t.Errorf("it took %v until each was announced once", first)
			}
			rest := sent[count:]
			took := rest[len(rest)-1].at - rest[0].at
			if perSecond := float64(len(rest)) / took.Seconds(); count > 100 && perSecond > DefaultGratuitousRate*1.02 {
				t.Errorf("then %d frames took %v, which is %.0f/s", len(rest), took, perSecond)
			}
			rounds := make(map[netip.Addr]int)
			for _, x := range sent {
				rounds[x.address] += 1 - x.form
			}
			for a, n := range rounds {
				if n < 4 {
					t.Fatalf("%v was announced %d times", a, n)
				}
			}
		})
	}
}
