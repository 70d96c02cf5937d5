package layer2

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// BenchmarkAnswers measures requests answered per second over a veth pair, with
// a window of requests under way, and the time to an answer, with one under way.
// The generator is a process of its own, but shares the machine's cores.
func BenchmarkAnswers(b *testing.B) {
	for _, family := range []Family{IPv4, IPv6} {
		for _, addresses := range []int{1, 1000, 10000} {
			for _, window := range []int{1, 256} {
				b.Run(fmt.Sprintf("%s/addresses=%d/window=%d", family, addresses, window), func(b *testing.B) {
					benchmarkAnswers(b, family, addresses, window)
				})
			}
		}
	}
}

func benchmarkAnswers(b *testing.B, family Family, count, window int) {
	n, c := node(b), newHost(b)
	_, theirs := connect(b, "cl0", n, 1, c, 2)
	addresses := scattered(family, count)
	a := start(b)
	a.Apply(on("cl0", addresses...))
	awaitAnswering(b, a, "cl0", addresses...)
	task := generatorTask{Interface: theirs.name, MAC: theirs.mac(), Family: family, N: b.N, Window: window}
	for i := range 1024 {
		task.Addresses = append(task.Addresses, addresses[i*7919%count])
	}

	before := cpuTime(b)
	out := c.spawn("generate", task)
	used := cpuTime(b) - before
	var r generatorResult
	must(b, json.Unmarshal(out, &r))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(r.Answered)/r.Elapsed.Seconds(), "answers/s")
	b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(r.Answered), "cpu-µs/answer")
	b.ReportMetric(float64(r.Lost), "lost")
	if window == 1 {
		b.ReportMetric(float64(r.P50)/1e3, "p50-µs")
		b.ReportMetric(float64(r.P99)/1e3, "p99-µs")
	}
}

// cpuTime is what this process has used so far.
func cpuTime(t testing.TB) time.Duration {
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStorm measures what requests for others' addresses cost the process
// that announces: nothing while the kernel's filter is exact, and the
// reading of a frame for each that falls between addresses that it can't tell apart.
func BenchmarkStorm(b *testing.B) {
	for _, own := range []int{1, 10000} {
		b.Run(fmt.Sprintf("own=%d", own), func(b *testing.B) {
			n, c := node(b), newHost(b)
			_, theirs := connect(b, "cl0", n, 1, c, 2)
			all := scattered(IPv4, own+1024)
			a := start(b)
			a.Apply(on("cl0", all[:own]...))
			awaitAnswering(b, a, "cl0", all[:own]...)
			task := generatorTask{Interface: theirs.name, MAC: theirs.mac(), Family: IPv4, Addresses: all[own:], N: b.N}
			before := cpuTime(b)
			c.spawn("generate", task)
			used := cpuTime(b) - before
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(b.N), "cpu-µs/request")
			b.ReportMetric(float64(a.Counters().Dropped[IPv4][DropNotAnnounced])/float64(b.N), "reached/request")
		})
	}
}

type generatorTask struct {
	Interface string
	MAC       MAC
	Family    Family
	Addresses []netip.Addr
	N, Window int // without a window no answers are waited for
}

type generatorResult struct {
	Answered, Lost int
	Elapsed        time.Duration
	P50, P99       time.Duration
}

// generate asks for addresses in turn, with a window of requests under way,
// and counts the answers. It uses one thread.
func generate(in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(1)
	var task generatorTask
	if err := json.NewDecoder(in).Decode(&task); err != nil {
		return err
	}
	fd, err := generatorSocket(task)
	if err != nil {
		return err
	}
	requests := make([][]byte, len(task.Addresses))
	for i, a := range task.Addresses {
		requests[i] = clientRequest(task.MAC, a)
	}

	var r generatorResult
	var latencies []time.Duration
	b := make([]byte, maxFrame)
	began := time.Now()
	for sent := 0; r.Answered+r.Lost < task.N; {
		asked := time.Now()
		for ; sent < task.N && (task.Window == 0 || sent-r.Answered-r.Lost < task.Window); sent++ {
			if _, err := unix.Write(fd, requests[sent%len(requests)]); err != nil {
				return fmt.Errorf("sending: %w", err)
			}
		}
		if task.Window == 0 {
			break
		}
		_, err := unix.Read(fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			r.Lost = sent - r.Answered
		case err != nil:
			return fmt.Errorf("receiving: %w", err)
		default:
			r.Answered++
			latencies = append(latencies, time.Since(asked))
		}
	}
	r.Elapsed = time.Since(began)
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		r.P50, r.P99 = latencies[n/2], latencies[n*99/100]
	}
	return json.NewEncoder(out).Encode(r)
}

// generatorSocket returns a blocking packet socket that receives what is sent to
// the generator's MAC.
func generatorSocket(task generatorTask) (int, error) {
	ifi, err := net.InterfaceByName(task.Interface)
	if err != nil {
		return 0, err
	}
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: maxFrame},
	})
	if err != nil {
		return 0, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, []int{IPv4: etherTypeARP, IPv6: etherTypeIPv6}[task.Family], &packet.Config{Filter: filter})
	if err != nil {
		return 0, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	if cerr := raw.Control(func(s uintptr) { fd, err = unix.Dup(int(s)) }); cerr != nil || err != nil {
		return 0, errors.Join(cerr, err)
	}
	return fd, errors.Join(
		unix.SetNonblock(fd, false),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20))
}

// BenchmarkApply measures what a change of one address among many costs the
// caller, and what applying the same again costs.
func BenchmarkApply(b *testing.B) {
	for _, count := range []int{100, 10000} {
		desired := on("eth0", scattered(IPv4, count)...)
		b.Run(fmt.Sprintf("addresses=%d/same", count), func(b *testing.B) {
			a := New(Options{})
			a.Apply(desired)
			for b.Loop() {
				a.Apply(desired)
			}
		})
		b.Run(fmt.Sprintf("addresses=%d/one-more-or-less", count), func(b *testing.B) {
			a := New(Options{})
			for i := 0; b.Loop(); i++ {
				a.Apply(desired[i%2:])
			}
		})
	}
}

// BenchmarkOneAddressMore measures what a change of one address among many costs, with all that the responder does about it but for the
// sockets.
func BenchmarkOneAddressMore(b *testing.B) {
	for _, count := range []int{100, 10000} {
		b.Run(fmt.Sprintf("addresses=%d", count), func(b *testing.B) {
			all := scattered(IPv4, count+1)
			a, last := New(Options{RefreshInterval: -1}), all[count:]
			a.Apply(on("eth0", all[:count]...))
			r := &responder{segment: segment{"eth0", IPv4}, protocol: &protocols[IPv4], link: link("eth0", 2, ourMAC).Link, answers: &a.answers,
				counters: a.counters, pace: rate.NewLimiter(rate.Inf, 1), refresh: -1, reannounce: &a.reannounce, askers: newAskers(), announcer: a, report: func() {}}
			r.network.Store(&r.link)
			r.canaries.Store(new([]netip.Addr))
			w := newWork(r, &quietPort{limit: maxSpans})
			step := func() {
				for more := true; more; more = len(w.pending) > 0 {
					if _, err := w.step(time.Now()); err != nil {
						b.Fatal(err)
					}
				}
			}
			step()
			b.ReportAllocs()
			for b.Loop() {
				a.Change(last, on("eth0", last...))
				step()
				a.Change(last, nil)
				step()
			}
		})
	}
}

// A quietPort works out its filter, and has no sockets.
type quietPort struct {
	port
	limit int
}

func (p *quietPort) Listen(asked, claimed []netip.Addr) error {
	cover(asked, p.limit)
	cover(claimed, p.limit)
	return nil
}
func (p *quietPort) Join(netip.Addr) error  { return nil }
func (p *quietPort) Leave(netip.Addr) error { return nil }
func (p *quietPort) Send([]byte) error      { return nil }
