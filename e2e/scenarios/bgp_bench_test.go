package scenarios

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// numberFrom is how often a benchmark does its thing, by a variable of the environment.
func numberFrom(b *testing.B, variable string, otherwise int) int {
	b.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatalf("%s=%q: want a number", variable, s)
	}
	return n
}

// BenchmarkUplinkCut cuts the link of one node after the other, and tells for how long users behind routers had no answer
// to a part of what they asked: the first failed attempt to the last. BFD is at 50 ms × 3, and each cut is seen by users of four
// routers at once, FRR and BIRD, with graceful restart and without. Back ends run on a node that is never cut. How long the routes take to
// return when the link is back is told too.
func BenchmarkUplinkCut(b *testing.B) {
	cuts := numberFrom(b, cutsVariable, 20)
	l := lab.Up(b, lab.Options{Nodes: 3, Light: true})
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	routers := []*benchRouter{
		{name: "frr-gr", kind: router.FRR, gracefulRestart: true}, {name: "frr", kind: router.FRR},
		{name: "bird-gr", kind: router.BIRD, gracefulRestart: true}, {name: "bird", kind: router.BIRD},
	}
	must(stage.Run(ctx, l, func(string) {}))
	must(startRouters(ctx, l, routers))
	address := serveByRouters(b, l, "node3")
	all := func(via []string) bool { return len(via) == 3 }
	must(awaitHops(ctx, routers, address, time.Minute, "a route by way of each node", all))
	time.Sleep(3 * time.Second) // kube-proxy on every node

	gaps, outages, returns, pauses := map[string][]time.Duration{}, map[string][]time.Duration{}, map[string][]time.Duration{}, []time.Duration{}
	took := time.Now()
	for i := range cuts {
		victim := l.Nodes()[i%2]
		watches := map[string]*stage.Watch{}
		for _, r := range routers {
			watches[r.name] = stage.StartWatchFrom(ctx, r.user, 10*time.Millisecond, netip.AddrPortFrom(address, 80))
		}
		time.Sleep(300 * time.Millisecond)
		cut := time.Now()
		must(victim.Cut())
		must(awaitHops(ctx, routers, address, 15*time.Second, "a route without "+victim.Name, func(via []string) bool {
			return !slices.Contains(via, victim.IPv4().String())
		}))
		time.Sleep(stage.AttemptTimeout / 2) // what goes wrong now is seen
		for _, r := range routers {
			seen, err := watches[r.name].Stop()
			must(err)
			s := seen[0]
			gaps[r.name], outages[r.name], pauses = append(gaps[r.name], s.Gap), append(outages[r.name], s.Longest), append(pauses, s.Pause)
			if s.Gap > 400*time.Millisecond {
				fmt.Fprintf(os.Stderr, "cut %d, of %s: behind %s %d of %d attempts failed (%v) from %v to %v after the cut; the user itself paused for %v\n", i+1, victim.Name,
					r.name, s.Failures, s.Attempts, s.Reasons, s.FirstFailure.Sub(cut).Round(time.Millisecond), s.LastFailure.Sub(cut).Round(time.Millisecond), s.Pause.Round(time.Millisecond))
			}
		}
		healed := time.Now()
		must(victim.Heal())
		for _, r := range routers {
			must(awaitHops(ctx, []*benchRouter{r}, address, time.Minute, "a route by way of each node", all))
			returns[r.name] = append(returns[r.name], time.Since(healed))
		}
		time.Sleep(300 * time.Millisecond) // BFD agrees on its timers
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cuts), "cuts")
	b.ReportMetric(time.Since(took).Seconds()/float64(cuts), "s/cut")
	b.ReportMetric(quantileIn(pauses, 1), "pause-max-ms")
	for _, r := range routers {
		b.ReportMetric(quantileIn(gaps[r.name], 0.5), r.name+"-median-ms")
		b.ReportMetric(quantileIn(gaps[r.name], 0.99), r.name+"-p99-ms")
		b.ReportMetric(quantileIn(gaps[r.name], 1), r.name+"-max-ms")
		b.ReportMetric(quantileIn(outages[r.name], 0.99), r.name+"-outage-p99-ms")
		b.ReportMetric(quantileIn(returns[r.name], 0.5), r.name+"-return-median-ms")
		b.ReportMetric(quantileIn(returns[r.name], 1), r.name+"-return-max-ms")
	}
}

// quantileIn is a quantile in milliseconds.
func quantileIn(all []time.Duration, q float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if len(all) == 0 {
		return 0
	}
	return float64(all[min(int(q*float64(len(all))), len(all)-1)].Microseconds()) / 1000
}

// BenchmarkUplinkRoute gives one Service after the other an address, and tells how long it takes from when its status is seen to have
// it to when FRR has heard of the route, from the first node and from the last of three, and to when FRR's kernel has it. FRR itself
// gathers what it hears for 50 ms before it looks at it.
func BenchmarkUplinkRoute(b *testing.B) {
	times := min(numberFrom(b, "CLARION_BENCH_TIMES", 100), 250) // each gets an address of its own
	l := lab.Up(b, lab.Options{Nodes: 3, Light: true})
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	routers := []*benchRouter{{name: "frr", kind: router.FRR, gracefulRestart: true}}
	must(stage.Run(ctx, l, func(string) {}))
	must(startRouters(ctx, l, routers))
	first := serveByRouters(b, l, "node3")
	must(awaitHops(ctx, routers, first, time.Minute, "a route by way of each node", func(via []string) bool { return len(via) == 3 }))
	client, err := l.Clientset()
	must(err)
	services, err := client.CoreV1().Services("default").Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.type", "LoadBalancer").String()})
	must(err)
	defer services.Stop()
	updates, done := make(chan netlink.RouteUpdate, 1000), make(chan struct{})
	defer close(done)
	must(inNetwork(routers[0].host, func() error { return netlink.RouteSubscribe(updates, done) }))
	type noted struct {
		address netip.Addr
		at      time.Time
	}
	given, installed := make(chan noted, 1000), make(chan noted, 1000)
	go noteAddresses(services, func(a netip.Addr) { given <- noted{a, time.Now()} })
	go func() {
		for u := range updates {
			if a, ok := hostRoute(u); ok {
				installed <- noted{a, time.Now()}
			}
		}
	}()
	await := func(from chan noted, a netip.Addr) noted {
		b.Helper()
		timeout := time.After(20 * time.Second)
		for {
			select {
			case n := <-from:
				if !a.IsValid() || n.address == a {
					return n
				}
			case <-timeout:
				b.Fatalf("nothing is heard of %v", a)
			}
		}
	}
	var created, kernel, firstHeard, lastHeard []time.Duration
	for i := range times {
		s := backendsOf("web", fmt.Sprintf("one-%03d", i))
		begin := time.Now()
		_, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
		must(err)
		var has noted
		for has = await(given, netip.Addr{}); has.address == first; has = await(given, netip.Addr{}) {
		}
		there := await(installed, has.address)
		created, kernel = append(created, there.at.Sub(begin)), append(kernel, there.at.Sub(has.at))
		time.Sleep(200 * time.Millisecond) // the last node's is in the log
		heard, err := heardOf(routers[0].host, has.address)
		must(err)
		if len(heard) < 3 {
			b.Fatalf("FRR has heard of %v %d times", has.address, len(heard))
		}
		firstHeard, lastHeard = append(firstHeard, heard[0].Sub(has.at)), append(lastHeard, heard[2].Sub(has.at))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(times), "routes")
	for _, m := range []struct {
		name string
		of   []time.Duration
	}{{"heard-first", firstHeard}, {"heard-last", lastHeard}, {"kernel", kernel}, {"created-to-kernel", created}} {
		b.ReportMetric(quantileIn(m.of, 0.5), m.name+"-p50-ms")
		b.ReportMetric(quantileIn(m.of, 0.99), m.name+"-p99-ms")
	}
}

// backendsOf is a Service of its own for back ends that there are.
func backendsOf(app, name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer,
		Selector: map[string]string{"app": app}, AllocateLoadBalancerNodePorts: new(bool), Ports: []corev1.ServicePort{{Port: 80}}}}
}

// noteAddresses tells of each address that a Service is seen to have.
func noteAddresses(services watch.Interface, tell func(netip.Addr)) {
	known := map[string]bool{}
	for event := range services.ResultChan() {
		s, ok := event.Object.(*corev1.Service)
		if !ok || known[s.Name] || len(s.Status.LoadBalancer.Ingress) == 0 {
			continue
		}
		if a, err := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP); err == nil {
			known[s.Name] = true
			tell(a)
		}
	}
}

// hostRoute is the address that a route leads to which is new in a kernel.
func hostRoute(u netlink.RouteUpdate) (netip.Addr, bool) {
	if u.Type != unix.RTM_NEWROUTE || u.Dst == nil {
		return netip.Addr{}, false
	}
	ones, bits := u.Dst.Mask.Size()
	a, ok := netip.AddrFromSlice(u.Dst.IP)
	return a.Unmap(), ok && ones == bits
}

// heardOf is when FRR heard of a route, by its log.
func heardOf(host *lab.Host, a netip.Addr) (all []time.Time, err error) {
	text, err := os.ReadFile(host.LogFile("frr-" + router.BGPd))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		const layout = "2006/01/02 15:04:05.999999"
		if !strings.Contains(line, "rcvd "+a.String()+"/32") || len(line) < len(layout) {
			continue
		}
		at, err := time.ParseInLocation(layout, strings.TrimSpace(line[:len(layout)]), time.Local)
		if err != nil {
			return nil, fmt.Errorf("FRR's log: %w", err)
		}
		all = append(all, at)
	}
	slices.SortFunc(all, time.Time.Compare)
	return all, nil
}

// BenchmarkUplinkMany has four FRRs learn very many addresses from one node at once, when the advertisement is made, and tells when
// all of them had all, what the speaker and its BGP process computed for it, what they need while nothing happens, and how long one
// more address takes then.
func BenchmarkUplinkMany(b *testing.B) {
	addresses := numberFrom(b, addressesVariable, 10000)
	l := lab.Up(b, lab.Options{Nodes: 1, Light: true, ProxyMode: "none"})
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	routers := []*benchRouter{{name: "frr1", kind: router.FRR}, {name: "frr2", kind: router.FRR}, {name: "frr3", kind: router.FRR}, {name: "frr4", kind: router.FRR}}
	must(stage.Run(ctx, l, func(string) {}))
	must(startRouters(ctx, l, routers))
	for _, r := range routers {
		_, err := r.router.Show(ctx, "configure terminal", "no debug bgp updates in") // it would be most of what FRR does
		must(err)
	}
	must(l.ApplyYAML(ctx, `
apiVersion: clarion.dev/v1beta1
kind: IPAddressPool
metadata: {name: many}
spec: {addresses: [10.128.0.0/16]}
`))
	must(stage.Serve(ctx, l, stage.Web{Name: "web", On: []string{"node1"}, NoService: true}))
	client, err := l.Clientset()
	must(err)
	must(createMany(ctx, client, addresses))
	must(awaitAssigned(ctx, client, addresses))
	time.Sleep(5 * time.Second)

	before, err := processesNeed(ctx, l)
	must(err)
	begin := time.Now()
	must(l.ApplyYAML(ctx, "{apiVersion: clarion.dev/v1beta1, kind: BGPAdvertisement, metadata: {name: many}, spec: {ipAddressPools: [many]}}"))
	applied := time.Since(begin)
	learned := make([]time.Duration, len(routers))
	group, at := errgroup.WithContext(ctx)
	for i, r := range routers {
		group.Go(func() error {
			for time.Since(begin) < 2*time.Minute {
				var summary struct {
					Peers map[string]struct{ PfxRcd int }
				}
				if err := r.router.ShowJSON(at, "show bgp ipv4 unicast summary json", &summary); err != nil {
					return err
				}
				for _, p := range summary.Peers {
					if p.PfxRcd == addresses {
						learned[i] = time.Since(begin)
						return nil
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
			return fmt.Errorf("%s has not learned all routes", r.name)
		})
	}
	must(group.Wait())
	after, err := processesNeed(ctx, l)
	must(err)
	time.Sleep(30 * time.Second) // Services are told that they are announced
	was, err := processesNeed(ctx, l)
	must(err)
	const watched = 20 * time.Second
	time.Sleep(watched)
	is, err := processesNeed(ctx, l)
	must(err)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(addresses), "routes")
	b.ReportMetric(applied.Seconds()*1000, "apply-ms")
	b.ReportMetric(slices.Max(learned).Seconds()*1000, "learned-ms")
	for _, name := range []string{stage.Speaker, "clarion-bgp"} {
		b.ReportMetric(float64((after[name].cpu - before[name].cpu).Milliseconds()), name+"-cpu-ms")
		b.ReportMetric(100*(is[name].cpu-was[name].cpu).Seconds()/watched.Seconds(), name+"-idle-cpu-%")
		b.ReportMetric(is[name].rss, name+"-rss-MiB")
	}
}

// createMany makes Services with one IPv4 address each.
func createMany(ctx context.Context, client kubernetes.Interface, count int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for i := range count {
		group.Go(func() error {
			_, err := client.CoreV1().Services("default").Create(ctx, backendsOf("web", fmt.Sprintf("s%05d", i)), metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

// awaitAssigned waits until that many Services have addresses.
func awaitAssigned(ctx context.Context, client kubernetes.Interface, count int) error {
	for began := time.Now(); time.Since(began) < 10*time.Minute; time.Sleep(3 * time.Second) {
		list, err := client.CoreV1().Services("default").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String()})
		if err != nil {
			return err
		}
		have := 0
		for _, s := range list.Items {
			have += min(len(s.Status.LoadBalancer.Ingress), 1)
		}
		if have == count {
			return nil
		}
	}
	return fmt.Errorf("not all of %d Services have addresses", count)
}

// processesNeed returns what the first node's processes need, by their names.
func processesNeed(ctx context.Context, l *lab.Lab) (map[string]need, error) {
	out, err := l.Nodes()[0].Exec(ctx, "sh", "-c", `for p in /proc/[0-9]*; do echo "$(tr '\0' ' ' < $p/cmdline | cut -d' ' -f1) $(cut -d')' -f2- $p/stat)"; done 2>/dev/null`)
	if err != nil {
		return nil, err
	}
	all := map[string]need{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line) // the name, and from the third field of proc_pid_stat(5) on
		if len(f) < 23 {
			continue
		}
		name := f[0][strings.LastIndexByte(f[0], '/')+1:]
		user, err1 := strconv.Atoi(f[12])
		system, err2 := strconv.Atoi(f[13])
		pages, err3 := strconv.Atoi(f[22])
		if err := cmp.Or(err1, err2, err3); err != nil {
			return nil, err
		}
		all[name] = need{time.Duration(user+system) * (time.Second / 100), float64(pages*os.Getpagesize()) / (1 << 20)}
	}
	return all, nil
}
