package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

const (
	// addressesVariable says how many addresses BenchmarkScale has, 10,000 by default.
	addressesVariable = "CLARION_BENCH_ADDRESSES"
	// idleVariable says for how long BenchmarkScale watches nothing happen, a minute by default.
	idleVariable = "CLARION_BENCH_IDLE"
)

// BenchmarkScale has three nodes announce very many addresses, a quarter of them IPv6, and tells what the speakers need for
// it while nothing happens (of the three, the one that needs most) and what is written to the API server meanwhile, and what
// comes of it when a node is cut off: when the last of its addresses, and the last of a few that the client had just asked for,
// was announced by another node, and how many writes to the API server there were in all, for each Service that moved, and in
// the busiest second.
//
// Nodes are without kube-proxy, whose work for so many Services would hide the speakers'.
func BenchmarkScale(b *testing.B) {
	addresses := 10000
	if s := os.Getenv(addressesVariable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 100 {
			b.Fatalf("%s=%q: want a number of addresses, 100 or more", addressesVariable, s)
		}
		addresses = n
	}
	const (
		asked = 20
		after = 60 * time.Second // what is written for a loss is written by then
	)
	watched := time.Minute
	if s := os.Getenv(idleVariable); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d < time.Second {
			b.Fatalf("%s=%q: want a duration, such as 10m", idleVariable, s)
		}
		watched = d
	}
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	l := lab.Up(b, lab.Options{Nodes: 3, Light: true, ProxyMode: "none"})
	must(stage.Run(ctx, l, func(string) {}))
	must(stage.Announce(ctx, l))
	must(stage.Serve(ctx, l, stage.Web{Name: "web", On: []string{"node1"}, NoService: true}))
	client, err := l.Clientset()
	must(err)
	ear, err := listen(l)
	must(err)
	defer ear.close()

	began := time.Now()
	must(createServices(ctx, client, addresses))
	created := time.Since(began)
	must(awaitAnnounced(ctx, client, addresses))
	b.Logf("%d Services: created after %.0f s, all announced after %.0f s", addresses, created.Seconds(), time.Since(began).Seconds())

	// Events are written a few at a time, and so for a while after what they tell of.
	quiet, err := awaitNoWrites(ctx, client)
	must(err)
	b.Logf("the last write was %.0f s later", quiet.Seconds())
	was, err := speakersNeed(ctx, l)
	must(err)
	idle, err := apiWrites(ctx, client)
	must(err)
	time.Sleep(watched)
	is, err := speakersNeed(ctx, l)
	must(err)
	writes, err := apiWrites(ctx, client)
	must(err)
	idle = writes - idle
	b.Logf("%.0f writes in %v of nothing", idle, watched)
	var cpu, rss []float64
	for i := range is {
		cpu = append(cpu, 100*(is[i].cpu-was[i].cpu).Seconds()/watched.Seconds())
		rss = append(rss, is[i].rss)
	}
	b.Logf("of a core %.2f %%, RSS %.0f MiB", cpu, rss)

	victim := l.Node("node3")
	mac, err := victim.Exec(ctx, "cat", "/sys/class/net/eth0/address")
	must(err)
	mac = strings.TrimSpace(mac)
	var held []netip.Addr
	for a, at := range ear.last() {
		if at == mac && (lab.PoolV4.Contains(a) || lab.PoolV6.Contains(a)) {
			held = append(held, a)
		}
	}
	slices.SortFunc(held, netip.Addr.Compare)
	used := map[netip.Addr]bool{}
	for i := range asked {
		a := held[len(held)*i/asked]
		_, err := l.WhoAnswers(ctx, a)
		must(err)
		used[a] = true
	}
	writes, err = apiWrites(ctx, client)
	must(err)
	cut := time.Now()
	must(victim.Cut())
	var busiest float64 // of all seconds, as many writes
	wrote, at := writes, cut
	for time.Since(cut) < after {
		time.Sleep(time.Second)
		now, err := apiWrites(ctx, client)
		must(err)
		busiest = max(busiest, (now-wrote)/time.Since(at).Seconds())
		wrote, at = now, time.Now()
	}
	var all, first []time.Duration
	unheard := 0
	for _, a := range held {
		at, heard := ear.firstOfOthers(a, mac, cut)
		if !heard {
			unheard++
			continue
		}
		all = append(all, at.Sub(cut))
		if used[a] {
			first = append(first, at.Sub(cut))
		}
	}
	if unheard > 0 || len(all) == 0 {
		b.Errorf("of %d addresses of the node that was cut off, %d were announced by nobody", len(held), unheard)
		return
	}
	milliseconds := func(d []time.Duration) float64 { return float64(slices.Max(d).Milliseconds()) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(slices.Max(cpu), "cpu-%")
	b.ReportMetric(slices.Max(rss), "rss-MiB")
	b.ReportMetric(float64(len(held)), "moved")
	b.ReportMetric(milliseconds(first), "asked-ms")
	b.ReportMetric(milliseconds(all), "last-ms")
	b.ReportMetric(idle, "idle-writes")
	b.ReportMetric(wrote-writes, "writes")
	b.ReportMetric((wrote-writes)/float64(len(held)), "writes/moved")
	b.ReportMetric(busiest, "writes/s")
}

// createServices makes Services with one address each.
func createServices(ctx context.Context, client kubernetes.Interface, count int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64) // on a machine that is busy it is waiting that takes the time
	for i := range count {
		group.Go(func() error {
			s := threeHundred(0)
			s.Name, s.Spec.AllocateLoadBalancerNodePorts = fmt.Sprintf("s%05d", i), new(bool)
			if i%4 == 3 {
				s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
			}
			_, err := client.CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}

// awaitAnnounced waits until that many Services are announced.
func awaitAnnounced(ctx context.Context, client kubernetes.Interface, count int) error {
	const patience = 10 * time.Minute
	announced := 0
	for began := time.Now(); time.Since(began) < patience; time.Sleep(5 * time.Second) {
		list, err := client.CoreV1().Services("default").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String()})
		if err != nil {
			return err
		}
		announced = 0
		for _, s := range list.Items {
			if meta.IsStatusConditionTrue(s.Status.Conditions, string(v1beta1.ConditionAnnounced)) {
				announced++
			}
		}
		if announced == count {
			return nil
		}
	}
	return fmt.Errorf("after %v, %d of %d Services are announced", patience, announced, count)
}

// awaitNoWrites waits until nothing has been written for a while, and returns when the last write was.
func awaitNoWrites(ctx context.Context, client kubernetes.Interface) (time.Duration, error) {
	const while, patience = 15 * time.Second, 15 * time.Minute
	began := time.Now()
	last, count := began, -1.0
	for time.Since(last) < while {
		if time.Since(began) > patience {
			return 0, fmt.Errorf("something is still being written after %v", patience)
		}
		now, err := apiWrites(ctx, client)
		if err != nil {
			return 0, err
		}
		if now != count {
			last, count = time.Now(), now
		}
		time.Sleep(time.Second)
	}
	return last.Sub(began), nil
}

// need is what a process has used so far, and holds now.
type need struct {
	cpu time.Duration
	rss float64 // MiB
}

// speakersNeed returns what the nodes' speakers need, in the order of the nodes.
func speakersNeed(ctx context.Context, l *lab.Lab) (all []need, err error) {
	for _, n := range l.Nodes() {
		processes, err := n.Machine().Processes(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range processes {
			if p.Name != stage.Speaker {
				continue
			}
			text, err := n.Exec(ctx, "cat", fmt.Sprintf("/proc/%d/stat", p.PID))
			if err != nil {
				return nil, err
			}
			_, text, _ = strings.Cut(text, ") ")
			f := strings.Fields(text) // from the third field on, the state: proc_pid_stat(5)
			user, err1 := strconv.Atoi(f[11])
			system, err2 := strconv.Atoi(f[12])
			pages, err3 := strconv.Atoi(f[21])
			if err := errors.Join(err1, err2, err3); err != nil {
				return nil, err
			}
			const tick = time.Second / 100
			all = append(all, need{time.Duration(user+system) * tick, float64(pages*os.Getpagesize()) / (1 << 20)})
		}
	}
	return all, nil
}

// apiWrites returns how often the API server was asked to change what Clarion changes, Clarion's own resources, Services and events.
func apiWrites(ctx context.Context, client kubernetes.Interface) (count float64, err error) {
	text, err := client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "apiserver_request_total{") || strings.Contains(line, `verb="GET"`) ||
			strings.Contains(line, `verb="LIST"`) || strings.Contains(line, `verb="WATCH"`) {
			continue
		}
		ours := strings.Contains(line, `group="`+v1beta1.GroupVersion.Group+`"`)
		for _, resource := range []string{"services", "events"} {
			ours = ours || strings.Contains(line, `resource="`+resource+`"`)
		}
		if ours {
			f := strings.Fields(line)
			n, err := strconv.ParseFloat(f[len(f)-1], 64)
			if err != nil {
				return 0, err
			}
			count += n
		}
	}
	return count, nil
}
