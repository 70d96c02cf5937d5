package scenarios

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// cutsVariable says how often BenchmarkFailover cuts a node, 20 by default.
const cutsVariable = "CLARION_BENCH_CUTS"

// BenchmarkFailover cuts the link of one node after the other, and tells for how
// long a LAN client that connects every 10 ms had no answer at the addresses that
// the node had owned: the first failed attempt to the last. Back ends run on a
// node that is never cut.
func BenchmarkFailover(b *testing.B) {
	cuts := 20
	if s := os.Getenv(cutsVariable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			b.Fatalf("%s=%q: want a number of cuts", cutsVariable, s)
		}
		cuts = n
	}
	for _, nodes := range []int{3, 10} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) { benchmarkFailover(b, nodes, cuts) })
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

	var gaps []time.Duration
	b.ResetTimer()
	for i := range cuts {
		victim := l.Nodes()[1+i%(nodes-1)]
		// Up to eight of its addresses are watched: a client that starves sees gaps that are its own.
		var owned []netip.Addr
		deadline := time.Now().Add(30 * time.Second)
		for len(owned) == 0 && time.Now().Before(deadline) {
			for _, a := range all {
				if len(owned) == 8 {
					break
				}
				if answer, err := l.WhoAnswers(ctx, a); err == nil && answer.Node != nil && answer.Node.Name == victim.Name {
					owned = append(owned, a)
				}
			}
		}
		if len(owned) == 0 {
			b.Fatalf("%s owns none of %d addresses", victim.Name, len(all))
		}
		watch := stage.StartWatch(ctx, l, owned...)
		time.Sleep(500 * time.Millisecond)
		must(victim.Cut())
		time.Sleep(4 * time.Second)
		seen, err := watch.Stop()
		must(err)
		for _, s := range seen {
			gaps = append(gaps, s.Gap)
		}
		must(victim.Heal())
		time.Sleep(4 * time.Second) // it joins again and takes its share
	}
	b.StopTimer()
	slices.Sort(gaps)
	quantile := func(q float64) float64 {
		return float64(gaps[min(int(q*float64(len(gaps))), len(gaps)-1)].Milliseconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cuts), "cuts")
	b.ReportMetric(quantile(0), "min-ms")
	b.ReportMetric(quantile(0.5), "median-ms")
	b.ReportMetric(quantile(0.99), "p99-ms")
	b.ReportMetric(quantile(1), "max-ms")
}
