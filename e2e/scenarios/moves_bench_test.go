package scenarios

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/app/probe"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// movesVariable says how often BenchmarkPlannedMoves moves an address, and how often BenchmarkStandIn stops a speaker.
const movesVariable = "CLARION_BENCH_MOVES"

func movesWanted(b *testing.B, usual int) int {
	s := os.Getenv(movesVariable)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q: want a number of moves", movesVariable, s)
	}
	return n
}

// smallLAN is three light nodes, a back end on the first, and a Service of both families.
func smallLAN(b *testing.B) (l *lab.Lab, addresses []netip.Addr) {
	b.Helper()
	l = lab.Up(b, lab.Options{Nodes: 3, Light: true})
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(stage.Run(ctx, l, func(string) {}))
	must(stage.Announce(ctx, l))
	must(stage.Serve(ctx, l, stage.Web{Name: "web", On: []string{"node1"}, FamilyPolicy: "RequireDualStack"}))
	addresses, err := stage.Addresses(ctx, l, "web")
	must(err)
	if _, err := l.Kubectl(ctx, "wait", "--for=condition=clarion.dev/Announced", "service/web", "--timeout=60s"); err != nil {
		b.Fatal(err)
	}
	// An address is announced as soon as it is assigned; kube-proxy may need a second more.
	for _, a := range addresses {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if _, err := stage.Get(ctx, l, a); err == nil {
				break
			} else if time.Now().After(deadline) {
				b.Fatalf("nobody serves %v: %v", a, err)
			}
		}
	}
	return l, addresses
}

// soleOwner waits until one node alone answers for an address, other than the one named, and returns its name.
func soleOwner(b *testing.B, l *lab.Lab, a netip.Addr, but string) string {
	b.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		answers, err := l.AskLAN(b.Context(), a, 40*time.Millisecond)
		if err == nil && len(answers) == 1 && answers[0].Node != nil && answers[0].Node.Name != but {
			return answers[0].Node.Name
		}
	}
	b.Fatalf("%s is not answered by another than %q", a, but)
	return ""
}

// BenchmarkPlannedMoves labels the owner of an address to be drained, again and again, while a client opens a thousand connections a second,
// in each family. Every SYN is to be answered when it is first sent. Connections that are open at the flip are bound to the node before by its
// connection tracking, and counted apart: there can be as many as are open at a moment, and two.
func BenchmarkPlannedMoves(b *testing.B) {
	moves := movesWanted(b, 100)
	const rate = 1000
	for i, family := range []string{"IPv4", "IPv6"} {
		b.Run(family, func(b *testing.B) {
			l, addresses := smallLAN(b)
			ctx := b.Context()
			client, err := l.Clientset()
			if err != nil {
				b.Fatal(err)
			}
			address := addresses[i]
			label := func(node, value string) {
				b.Helper()
				patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, v1beta1.LabelDrain, value)
				if _, err := client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			soleOwner(b, l, address, "")
			attempts, failed, unanswered, challenged, worst, beyond := 0, 0, 0, 0, 0, 0
			reasons := map[probe.Failure]int{}
			var open []float64
			var watched time.Duration
			b.ResetTimer()
			for range moves {
				owner := soleOwner(b, l, address, "")
				began := time.Now()
				watch := stage.StartWatchEvery(ctx, l, time.Second/rate, address)
				time.Sleep(200 * time.Millisecond)
				label(owner, `""`)
				soleOwner(b, l, address, owner)
				time.Sleep(200 * time.Millisecond)
				watched += time.Since(began)
				all, err := watch.Attempts()
				if err != nil {
					b.Fatal(err)
				}
				label(owner, "null")
				var lives time.Duration
				lost, good := 0, 0
				for _, a := range all {
					attempts++
					switch {
					case a.Retransmits > 0 && (a.Failure == probe.None || a.Failure == probe.ConnectLate):
						// A SYN that nobody answers is sent again after a second, when the attempt is long over. This one was answered
						// by what a server remembers of a connection with the same ports, as there is among so many, through the same
						// node: an acknowledgement that fits no more, which the kernel resets, to send the SYN anew some 10 ms later.
						challenged++
						continue
					case a.Failure == probe.ConnectLate || a.Failure == probe.Unreachable:
						unanswered++
						reasons[a.Failure]++
						continue
					case a.Failure != probe.None:
						lost++
						reasons[a.Failure]++
						continue
					}
					good++
					lives += a.Took
				}
				bound := 2.0
				if good > 0 {
					bound += rate * (lives / time.Duration(good)).Seconds()
				}
				open = append(open, bound)
				failed, worst = failed+lost, max(worst, lost)
				if float64(lost) > bound {
					beyond++
				}
			}
			b.StopTimer()
			slices.Sort(open)
			b.Logf("of %d connections %d ended with the flip, and %d SYNs were not answered: %v; the bound of a move is %.1f in the median; %d SYNs met what was left of a connection with the same ports",
				attempts, failed, unanswered, reasons, open[len(open)/2], challenged)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(moves), "moves")
			b.ReportMetric(float64(attempts), "connections")
			b.ReportMetric(float64(unanswered), "SYNs-unanswered")
			b.ReportMetric(float64(failed), "lost-open")
			b.ReportMetric(float64(worst), "max-lost-open/move")
			b.ReportMetric(float64(beyond), "moves-over-bound")
			b.ReportMetric(float64(attempts)/watched.Seconds(), "connections/s")
		})
	}
}

// BenchmarkStandIn stops the speaker of an address' owner, again and again, and tells for how long nobody answered who asks for it, until a
// deputy did in its name; nothing moves.
func BenchmarkStandIn(b *testing.B) {
	stops := movesWanted(b, 20)
	const (
		every    = 20 * time.Millisecond
		stopped  = 2 * time.Second
		together = time.Second
	)
	for i, family := range []string{"IPv4", "IPv6"} {
		b.Run(family, func(b *testing.B) {
			l, addresses := smallLAN(b)
			ctx := b.Context()
			address := addresses[i]
			agreed(b, l)
			time.Sleep(together)
			name := soleOwner(b, l, address, "")
			owner := l.Node(name)
			var silent []float64
			b.ResetTimer()
			for range stops {
				if err := owner.Signal(ctx, stage.Speaker, unix.SIGSTOP); err != nil {
					b.Fatal(err)
				}
				stop := time.Now()
				last, longest := stop, time.Duration(0)
				for time.Since(stop) < stopped {
					asked := time.Now()
					answers, err := l.AskLAN(ctx, address, every)
					if err != nil || len(answers) == 0 {
						continue
					}
					if answers[0].Node == nil || answers[0].Node.Name != name {
						b.Fatalf("%s was answered as %v's, which is %s's", address, answers, name)
					}
					longest, last = max(longest, asked.Sub(last)), asked
				}
				longest = max(longest, time.Since(last))
				silent = append(silent, float64(longest.Milliseconds()))
				if err := owner.Signal(ctx, stage.Speaker, unix.SIGCONT); err != nil {
					b.Fatal(err)
				}
				agreed(b, l)
				time.Sleep(together)
				if now := soleOwner(b, l, address, ""); now != name {
					b.Fatalf("%s has moved from %s to %s", address, name, now)
				}
			}
			b.StopTimer()
			slices.Sort(silent)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(stops), "stops")
			b.ReportMetric(silent[0], "min-ms")
			b.ReportMetric(silent[len(silent)/2], "median-ms")
			b.ReportMetric(silent[min(len(silent)*99/100, len(silent)-1)], "p99-ms")
			b.ReportMetric(silent[len(silent)-1], "max-ms")
		})
	}
}
