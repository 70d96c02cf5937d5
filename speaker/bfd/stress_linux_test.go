package bfd

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/wire"
	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

// busy has a process that computes on every core until the test ends.
func busy(t testing.TB) {
	t.Helper()
	for range runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
}

// A busy node is not a dead router. CLARION_BFD_STRESS=30m makes it longer. No session can live where the machine lets nobody in
// for long, as one that runs other tests besides may do: threads that do nothing but sleep and wake, one on each core, tell. A
// failure that came while one of them was kept waiting is the machine's, and told; any other is ours.
func TestBusyCoresAreNoFailure(t *testing.T) {
	wire.Need(t)
	span, timers := 5*time.Second, timers(50*ms, 50*ms, 3)
	if text := os.Getenv("CLARION_BFD_STRESS"); text != "" {
		var err error
		span, err = time.ParseDuration(text)
		must(t, err)
	}
	var ours, theirs []Session
	for i := range 8 {
		x, y := twoAddresses()
		ours = append(ours, between(fmt.Sprint("to ", i), x, y, timers))
		theirs = append(theirs, between(fmt.Sprint("from ", i), y, x, timers))
	}
	a, _ := start(t, ours...)
	b, _ := start(t, theirs...)
	for i := range ours {
		await(t, a, ours[i].Name, "it to come up", isUp)
		await(t, b, theirs[i].Name, "it to come up", isUp)
	}
	busy(t)
	failures := make(chan []failed, 2)
	for _, e := range []*Engine{a, b} {
		go func() { failures <- failuresOf(e, span) }()
	}
	stalls := stallsOf(t, span)
	t.Logf("of threads that only sleep, one on each core, %d were let in %v late or later, one of them %v", len(stalls), stalled, worst(stalls))
	excused := 0
	for _, f := range slices.Concat(<-failures, <-failures) {
		if slices.ContainsFunc(stalls, f.within) {
			excused++
			continue
		}
		t.Errorf("%s failed, and no core stood still: %s", f.session, f.why)
	}
	if excused > 0 {
		t.Logf("the machine stood still for %d failures", excused)
	}
}

// stalled is how late a thread must be let in for its core to have stood still: a session of 50 ms × 3 fails where it is not let
// in for twice that.
const stalled = 50 * ms

// A stall is a time in which a core let nobody in.
type stall struct{ from, until time.Time }

func worst(stalls []stall) (worst time.Duration) {
	for _, s := range stalls {
		worst = max(worst, s.until.Sub(s.from))
	}
	return worst.Round(ms)
}

// stallsOf watches all cores for a while.
func stallsOf(t testing.TB, span time.Duration) (all []stall) {
	t.Helper()
	found := make(chan []stall)
	for core := range runtime.NumCPU() {
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread stays on its core, and ends with the goroutine
			var one unix.CPUSet
			one.Set(core)
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				t.Errorf("core %d: %v", core, err)
			}
			var mine []stall
			nap := unix.NsecToTimespec(int64(5 * ms))
			for end := time.Now().Add(span); time.Now().Before(end); {
				due := time.Now().Add(5 * ms)
				_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &nap, nil)
				if now := time.Now(); now.Sub(due) >= stalled {
					mine = append(mine, stall{due, now})
				}
			}
			found <- mine
		}()
	}
	for range runtime.NumCPU() {
		all = append(all, <-found...)
	}
	return all
}

// A failed is a session that failed, and when.
type failed struct {
	session, why string
	at           time.Time
}

// within reports whether a core stood still while the session heard nothing.
func (f failed) within(s stall) bool {
	return s.from.Before(f.at) && f.at.Add(-200*ms).Before(s.until)
}

// failuresOf notes an engine's sessions that fail in a while.
func failuresOf(e *Engine, span time.Duration) (all []failed) {
	before := map[string]uint64{}
	for end := time.After(span); ; {
		snapshot, changed := e.Snapshot()
		for _, s := range snapshot.Sessions {
			if s.Failures > before[s.Name] {
				at := time.Now()
				if !isUp(s) && s.Since.Before(at) {
					at = s.Since
				}
				all = append(all, failed{s.Name, s.LastFailure, at})
			}
			before[s.Name] = s.Failures
		}
		select {
		case <-changed:
		case <-end:
			return all
		}
	}
}

// worstStall is how late a thread was let in at worst that sleeps and wakes for
// a while.
func worstStall(span time.Duration) (worst time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	nap := unix.NsecToTimespec(int64(5 * ms))
	for end := time.Now().Add(span); time.Now().Before(end); {
		began := time.Now()
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &nap, nil)
		worst = max(worst, time.Since(began)-5*ms)
	}
	return worst
}

// What 64 sessions at 10 ms × 3 cost, and how evenly they send. The intervals
// should be from 7.5 to 10 ms; what is above is lateness.
func BenchmarkSessions(b *testing.B) {
	wire.Need(b)
	if os.Getenv("CLARION_BENCH") == "" {
		b.Skip("takes seconds: needs CLARION_BENCH=1")
	}
	for _, stressed := range []bool{false, true} {
		b.Run(map[bool]string{false: "calm", true: "busy cores"}[stressed], func(b *testing.B) {
			var ours, theirs []Session
			for i := range 64 {
				x, y := twoAddresses()
				ours = append(ours, between(fmt.Sprint("to ", i), x, y, timers(10*ms, 10*ms, 3)))
				theirs = append(theirs, between(fmt.Sprint("from ", i), y, x, timers(10*ms, 10*ms, 3)))
			}
			a, _ := start(b, ours...)
			peer, _ := start(b, theirs...)
			for i := range ours {
				await(b, a, ours[i].Name, "it to come up", isUp)
				await(b, peer, theirs[i].Name, "it to come up", isUp)
			}
			if stressed {
				busy(b)
			}
			lo, err := newTap(1, "lo", nil)
			must(b, err)
			defer unix.Close(lo.fd)
			// Everything that has a Control packet in it.
			must(b, unix.SetsockoptInt(lo.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
			must(b, unix.SetsockoptInt(lo.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
			_ = unix.SetsockoptInt(lo.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<22)

			for b.Loop() {
				began, cpu := time.Now(), processor()
				stall := make(chan time.Duration, 1)
				go func() { stall <- worstStall(5 * time.Second) }()
				intervals := tapIntervals(lo.fd, 5*time.Second)
				b.ReportMetric(float64(<-stall)/float64(ms), "ms-stall-of-a-sleeper")
				used := (processor() - cpu).Seconds() / time.Since(began).Seconds()
				slices.Sort(intervals)
				at := func(q float64) float64 {
					return float64(intervals[int(q*float64(len(intervals)-1))]) / float64(ms)
				}
				late, _ := slices.BinarySearch(intervals, 10*ms+ms/10)
				// Two engines of the same size share this process.
				b.ReportMetric(used/2*100, "%core/engine")
				b.ReportMetric(float64(len(intervals))/5/2, "packets/s/engine")
				for _, q := range []float64{0.5, 0.99, 0.999, 1} {
					b.ReportMetric(at(q), fmt.Sprintf("ms-p%v", q*100))
				}
				b.ReportMetric(100*float64(len(intervals)-late)/float64(len(intervals)), "%late")
			}
			snapshot, _ := a.Snapshot()
			failures := 0.0
			for _, s := range snapshot.Sessions {
				failures += float64(s.Failures)
			}
			b.ReportMetric(failures, "failures")
		})
	}
}

func processor() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// tapIntervals returns the times between a sender's packets, of all senders.
func tapIntervals(fd int, span time.Duration) []time.Duration {
	var all []time.Duration
	last, room := map[uint32]time.Time{}, newBatch()
	for end := time.Now().Add(span); time.Now().Before(end); {
		n := room.receive(fd)
		for i := range n {
			d := room.datagram(i)
			if len(d.payload) < echoHeaders || d.seconds == 0 {
				continue
			}
			p, err := packet.Parse(d.payload[echoHeaders:])
			if err != nil || p.State != Up {
				continue
			}
			now := time.Unix(d.seconds, d.nanoseconds)
			if before, ok := last[p.MyDiscriminator]; ok {
				all = append(all, now.Sub(before))
			}
			last[p.MyDiscriminator] = now
		}
		if n == 0 {
			time.Sleep(ms)
		}
	}
	return all
}
