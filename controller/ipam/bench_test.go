package ipam

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// million is how many addresses are in use while one is assigned and released.
const million = 1_000_000

// samples is how many measurements the medians are of.
const samples = 100_000

// BenchmarkAssignRelease releases one of a million Services at random and assigns an address to another, and reports
// the medians of both and the memory of the process.
func BenchmarkAssignRelease(b *testing.B) {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(50)) // as clarion-controller runs
	}
	for _, pool := range []string{"10.0.0.0/8", "fd00::/32", "fd00::/64"} {
		b.Run(strings.ReplaceAll(pool, "/", "_"), func(b *testing.B) {
			forgetPeak()
			a := New()
			a.SetPools([]Pool{{Name: "public", Ranges: ranges(pool), AutoAssign: true}})
			families := []Family{FamilyOf(ranges(pool)[0].From())}
			request := func(i int) Request {
				return Request{
					Service:  Key{"team-" + strconv.Itoa(i%1000), "service-" + strconv.Itoa(i)},
					Families: families,
					Policy:   SingleStack,
					Ports:    []Port{{"TCP", 80}, {"TCP", 443}},
					Created:  time.Unix(int64(i), 0),
				}
			}
			names := make([]int, million)
			for i := range names {
				names[i] = i
				if d := a.Assign(request(i)); d.Outcome != Granted {
					b.Fatal(d.Message)
				}
				a.Settle(request(i).Service)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			next := million
			assign, release := make([]time.Duration, 0, samples), make([]time.Duration, 0, samples)
			for b.Loop() {
				at := rng.IntN(million)
				old, fresh := request(names[at]), request(next)
				start := time.Now()
				a.Release(old.Service)
				released := time.Now()
				d := a.Assign(fresh)
				a.Settle(fresh.Service)
				done := time.Now()
				if d.Outcome != Granted {
					b.Fatal(d.Message)
				}
				if len(assign) < samples {
					release = append(release, released.Sub(start))
					assign = append(assign, done.Sub(released))
				}
				names[at] = next
				next++
			}
			b.ReportMetric(float64(median(assign).Nanoseconds()), "ns/assign(median)")
			b.ReportMetric(float64(median(release).Nanoseconds()), "ns/release(median)")
			b.ReportMetric(rss(b), "MiB(RSS)")
			runtime.KeepAlive(a)
		})
	}
}

// BenchmarkWidths releases one of 200 Services and assigns an address to another, in IPv6 pools of very different widths,
// and reports the medians, which are to be the same.
func BenchmarkWidths(b *testing.B) {
	for _, pool := range []string{"fd00::/120", "fd00::/64", "fd00::/32"} {
		b.Run(strings.ReplaceAll(pool, "/", "_"), func(b *testing.B) {
			const held = 200
			a := New()
			a.SetPools([]Pool{{Name: "public", Ranges: ranges(pool), AutoAssign: true}})
			assign := func(i int) {
				r := Request{Service: Key{"team", "service-" + strconv.Itoa(i%(2*held))}, Families: []Family{IPv6}, Ports: []Port{{"TCP", 80}}}
				if d := a.Assign(r); d.Outcome != Granted {
					b.Fatal(d.Message)
				}
				a.Settle(r.Service)
			}
			for i := range held {
				assign(i)
			}
			took := make([]time.Duration, 0, samples)
			for i := held; b.Loop(); i++ {
				start := time.Now()
				a.Release(Key{"team", "service-" + strconv.Itoa((i-held)%(2*held))})
				assign(i)
				if len(took) < samples {
					took = append(took, time.Since(start))
				}
			}
			b.ReportMetric(float64(median(took).Nanoseconds()), "ns/pair(median)")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// forgetPeak has rss tell of what comes: what was in use before is given back.
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // proc(5): resets VmHWM
}

// rss returns the resident memory of this process at its highest.
func rss(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc to read the memory of the process from")
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			var kib float64
			if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	return 0
}
