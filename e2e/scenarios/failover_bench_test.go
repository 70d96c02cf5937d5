package scenarios

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
	"github.com/clarion-lb/clarion/speaker/detection"
)

// cutsVariable says how often BenchmarkFailover cuts a node, 20 by default.
const cutsVariable = "CLARION_BENCH_CUTS"

// BenchmarkFailover cuts the link of one node after the other, and tells for how
// long a LAN client that connects every 10 ms had no answer at the addresses that
// the node had owned: the first failed attempt to the last. Back ends run on a
// node that is never cut. The next cut comes when the node is back, all speakers
// agree on that, it has its share again and there are deputies.
//
// An attempt that the client was itself too late for counts as failed: what a busy
// machine does to it shows in how the gap differs from the outage, in which not one
// attempt succeeded.
func BenchmarkFailover(b *testing.B) {
	cuts := 20
	if s := os.Getenv(cutsVariable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			b.Fatalf("%s=%q: want a number of cuts", cutsVariable, s)
		}
		cuts = n
	}
	for _, nodes := range []int{2, 3, 10} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) { benchmarkFailover(b, nodes, cuts) })
	}
}

// tellAbove is the gap from which on a cut's story is told.
const tellAbove = 500 * time.Millisecond

// tellCut tells, beside the benchmark's result, what the speakers said around a cut: how late they agreed on it, who thought what of whom,
// and who took what.
func tellCut(b *testing.B, l *lab.Lab, victim string, cut time.Time) {
	type line struct {
		at   time.Duration
		text string
	}
	var story []line
	var verdicts []time.Duration
	files, err := l.LogFiles()
	if err != nil {
		b.Log(err)
	}
	for _, file := range files {
		node, isSpeaker := strings.CutSuffix(filepath.Base(file), "-clarion-speaker.log")
		if !isSpeaker {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			b.Log(err)
		}
		for one := range strings.Lines(string(text)) {
			var said struct {
				Time           time.Time
				Msg            string
				Peer, State    string
				Interface      string
				Addresses      int
				Reason, Family string
			}
			if json.Unmarshal([]byte(one), &said) != nil || said.Time.Before(cut.Add(-2*time.Second)) || said.Msg == "memberlist" {
				continue
			}
			if said.Peer == victim && said.State == detection.Dead.String() && said.Time.After(cut) {
				verdicts = append(verdicts, said.Time.Sub(cut))
			}
			story = append(story, line{said.Time.Sub(cut), fmt.Sprintf("%s: %s %s %s %s %s %d %s", node, said.Msg, said.Peer, said.State, said.Interface,
				said.Family, said.Addresses, said.Reason)})
		}
	}
	if len(verdicts) > 0 {
		fmt.Fprintf(os.Stderr, "%d speakers found %s dead, from %v to %v after the cut\n", len(verdicts), victim,
			slices.Min(verdicts).Round(time.Millisecond), slices.Max(verdicts).Round(time.Millisecond))
	} else {
		fmt.Fprintf(os.Stderr, "no speaker found %s dead\n", victim)
	}
	slices.SortStableFunc(story, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	for _, s := range story {
		fmt.Fprintf(os.Stderr, "%9.3fs  %s\n", s.at.Seconds(), s.text)
	}
}

func benchmarkFailover(b *testing.B, nodes, cuts int) {
	l := lab.Up(b, lab.Options{Nodes: nodes, Light: true})
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(stage.Run(ctx, l, func(string) {}))
	must(stage.Announce(ctx, l))
	// A node that was cut gets its share back at once, so that there is something to cut the next time.
	must(l.ApplyYAML(ctx, "{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: lan}, "+
		"spec: {ipAddressPools: [lan], failback: {policy: Immediate}}}"))
	must(stage.Serve(ctx, l, stage.Web{Name: "web", On: []string{"node1"}, NoService: true}))
	client, err := l.Clientset()
	must(err)
	for i := range 10 * nodes {
		_, err := client.CoreV1().Services("default").Create(ctx, threeHundred(i), metav1.CreateOptions{})
		must(err)
	}
	if _, err := l.Kubectl(ctx, "wait", "--for=condition=clarion.dev/Announced", "services", "--all", "--timeout=60s",
		"--field-selector=spec.type="+string(corev1.ServiceTypeLoadBalancer)); err != nil {
		b.Fatal(err)
	}
	services, err := client.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
	must(err)
	var all []netip.Addr
	for _, s := range services.Items {
		for _, i := range s.Status.LoadBalancer.Ingress {
			all = append(all, netip.MustParseAddr(i.IP))
		}
	}

	table := newTable(b, l, all)
	var gaps, outages, longests []time.Duration
	b.ResetTimer()
	for i := range cuts {
		victim := l.Nodes()[1+i%(nodes-1)]
		// Up to eight of its addresses are watched: a client that starves sees gaps that are its own.
		owned := table.ownedBy(victim, 8)
		watch := stage.StartWatch(ctx, l, owned...)
		time.Sleep(300 * time.Millisecond)
		late := watchLateness()
		cut := time.Now()
		must(victim.Cut())
		time.Sleep(time.Second)
		table.answeredByOthers(victim, owned)
		time.Sleep(500 * time.Millisecond) // what was taken must stay taken
		stalled := late()
		seen, err := watch.Stop()
		must(err)
		longest := time.Duration(0)
		for _, s := range seen {
			gaps, outages = append(gaps, s.Gap), append(outages, s.Longest)
			longest = max(longest, s.Gap)
			if s.Gap > tellAbove {
				fmt.Fprintf(os.Stderr, "cut %d, of %s: at %s %d attempts failed (%v) from %v to %v after the cut, without one that did not for %v; the client itself paused for %v\n",
					i+1, victim.Name, s.Target, s.Failures, s.Reasons, s.FirstFailure.Sub(cut).Round(time.Millisecond), s.LastFailure.Sub(cut).Round(time.Millisecond),
					s.Longest.Round(time.Millisecond), s.Pause.Round(time.Millisecond))
			}
		}
		longests = append(longests, longest)
		if longest > tellAbove {
			fmt.Fprintf(os.Stderr, "cut %d: %v; a timer of the benchmark itself was late by %v, load %s\n", i+1, longest.Round(time.Millisecond), stalled.Round(time.Millisecond), load())
			tellCut(b, l, victim.Name, cut)
		}
		must(victim.Heal())
		agreed(b, l)
		table.hasShare(victim)
	}
	b.StopTimer()
	quantileOf := func(of []time.Duration, q float64) float64 {
		slices.Sort(of)
		return float64(of[min(int(q*float64(len(of))), len(of)-1)].Milliseconds())
	}
	quantile := func(q float64) float64 { return quantileOf(gaps, q) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cuts), "cuts")
	b.ReportMetric(quantile(0), "min-ms")
	b.ReportMetric(quantile(0.5), "median-ms")
	b.ReportMetric(quantile(0.99), "p99-ms")
	b.ReportMetric(quantile(1), "max-ms")
	b.ReportMetric(quantileOf(outages, 0.5), "median-outage-ms")
	b.ReportMetric(quantileOf(outages, 0.99), "p99-outage-ms")
	// Of the addresses lost in one cut, the one that had to wait the longest.
	b.ReportMetric(quantileOf(longests, 0.5), "median-worst-ms")
	b.ReportMetric(quantileOf(longests, 0.99), "p99-worst-ms")
	b.ReportMetric(float64(over(longests, tellAbove)), "cuts-over-500ms")
	b.ReportMetric(b.Elapsed().Seconds()/float64(cuts), "s/cut")
}
