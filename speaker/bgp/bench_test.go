package bgp_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/lab/wire"
	"github.com/clarion-lb/clarion/speaker/bgp"
)

func needBench(b *testing.B) {
	if os.Getenv("CLARION_BENCH") == "" {
		b.Skip("takes most of a minute: needs CLARION_BENCH=1")
	}
}

// status is what the kernel says of a process.
func status(t testing.TB, pid int) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// rss is a process's memory in MB.
func rss(t testing.TB, pid int) float64 {
	t.Helper()
	for line := range strings.Lines(status(t, pid)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			kB, _ := strconv.ParseFloat(fields[1], 64)
			return kB / 1000
		}
	}
	return 0
}

// cpu is what a process has computed so far.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// many are routes to that many addresses, from the i-th on.
func many(t testing.TB, i, n int) *bgp.Routes {
	all := make([]bgp.Route, n)
	for j := range all {
		k := i + j
		all[j] = bgp.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(k >> 16), byte(k >> 8), byte(k)}), 32), Communities: []uint32{65001<<16 | 1}}
	}
	return routes(t, all...)
}

// BenchmarkConvergence has four FRRs learn 10,000 routes each, at once.
func BenchmarkConvergence(b *testing.B) {
	needBench(b)
	const peers, prefixes = 4, 10000
	node := wire.NewHost(b, "node")
	var tors []*router.Router
	var all []bgp.Peer
	for i := range peers {
		tor := wire.NewHost(b, fmt.Sprintf("tor%d", i))
		net := fmt.Sprintf("192.0.%d.", 10+i)
		wire.Connect(b, wire.End{Host: node, Name: fmt.Sprintf("eth%d", i), Addresses: wire.Prefixes(net + "1/24")},
			wire.End{Host: tor, Name: "eth0", Addresses: wire.Prefixes(net + "2/24")})
		tors = append(tors, tor.StartRouter(b, router.FRR, config(router.FRR, neighbor{Address: net + "1", ASN: 65000, RemoteASN: 65001, V4: true, Hold: 90, RouterID: net + "2"})))
		p := peer()
		p.Name, p.Address, p.HoldTime = fmt.Sprintf("tor%d", i), netip.MustParseAddr(net+"2"), 90*time.Second
		all = append(all, p)
	}
	m, _ := managerOn(b, node, nil)
	m.Apply(desired(all...))
	for _, p := range all {
		up(b, m, p.Name)
	}
	is, _ := m.Snapshot()
	pid, idle := is.Child.PID, rss(b, is.Child.PID)
	var told, learned, busy time.Duration
	for i := range b.N {
		set := many(b, 0, prefixes)
		for j := range all {
			all[j].Routes = set
		}
		before, begin := cpu(b, pid), time.Now()
		m.Apply(desired(all...))
		for _, p := range all {
			await(b, m, p.Name, "told everything", func(s bgp.Session) bool { return s.RoutesSent == prefixes })
		}
		told += time.Since(begin)
		for _, r := range tors {
			eventually(b, "the router has all routes", func() bool {
				var summary struct {
					Peers map[string]struct{ PfxRcd int }
				}
				if err := r.ShowJSON(b.Context(), "show bgp ipv4 unicast summary json", &summary); err != nil {
					b.Fatal(err)
				}
				for _, p := range summary.Peers {
					return p.PfxRcd == prefixes
				}
				return false
			})
		}
		learned += time.Since(begin)
		busy += cpu(b, pid) - before
		if i < b.N-1 {
			for j := range all {
				all[j].Routes = nil
			}
			m.Apply(desired(all...))
			for _, p := range all {
				await(b, m, p.Name, "without routes", func(s bgp.Session) bool { return s.RoutesSent == 0 })
			}
		}
	}
	n := float64(b.N)
	b.ReportMetric(told.Seconds()*1000/n, "ms/told")
	b.ReportMetric(learned.Seconds()*1000/n, "ms/learned")
	b.ReportMetric(busy.Seconds()*1000/n, "child-cpu-ms")
	b.ReportMetric(idle, "child-MB-idle")
	b.ReportMetric(rss(b, pid), "child-MB")
	before := cpu(b, pid)
	time.Sleep(5 * time.Second)
	b.ReportMetric(float64((cpu(b, pid)-before).Milliseconds())/5, "child-idle-cpu-ms/s")
}

// BenchmarkOneRoute takes the time from Apply to the route in the kernel of a router that runs FRR, with 10,000 others there.
func BenchmarkOneRoute(b *testing.B) {
	needBench(b)
	host, tor := wire.NewHost(b, "node"), wire.NewHost(b, "tor")
	wire.Connect(b, wire.End{Host: host, Name: "eth0", Addresses: wire.Prefixes("192.0.2.1/24")}, wire.End{Host: tor, Name: "eth0", Addresses: wire.Prefixes("192.0.2.2/24")})
	n := node()
	n.Hold = 90
	tor.StartRouter(b, router.FRR, config(router.FRR, n))
	m, _ := managerOn(b, host, nil)
	p := peer()
	p.HoldTime = 90 * time.Second
	p.Routes = many(b, 0, 10000)
	m.Apply(desired(p))
	await(b, m, "tor", "told everything", func(s bgp.Session) bool { return s.RoutesSent == 10000 })
	time.Sleep(5 * time.Second) // zebra installs the others
	updates, done := make(chan netlink.RouteUpdate, 1000), make(chan struct{})
	defer close(done)
	must(b, tor.In(func() error { return netlink.RouteSubscribe(updates, done) }))
	var times, sent []time.Duration
	for i := range b.N {
		all := many(b, 0, 10000).All()
		one := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)
		set := routes(b, append(append([]bgp.Route(nil), all...), to(one))...)
		p.Routes = set
		d := desired(p)
		begin := time.Now()
		m.Apply(d)
		for there := false; !there; {
			u, ok := <-updates
			if !ok {
				b.Fatal("the kernel tells no more of routes")
			}
			there = u.Type == unix.RTM_NEWROUTE && u.Dst != nil && u.Dst.String() == one.String()
		}
		times = append(times, time.Since(begin))
		is, _ := m.Snapshot()
		s, _ := is.Session("tor")
		sent = append(sent, s.LastUpdate.Sub(begin))
		p.Routes = many(b, 0, 10000)
		m.Apply(desired(p))
		await(b, m, "tor", "without it", func(s bgp.Session) bool { return s.RoutesSent == 10000 })
	}
	b.ReportMetric(quantile(sent, 0.5).Seconds()*1000, "ms/sent-p50")
	b.ReportMetric(quantile(sent, 0.99).Seconds()*1000, "ms/sent-p99")
	b.ReportMetric(quantile(times, 0.5).Seconds()*1000, "ms/p50")
	b.ReportMetric(quantile(times, 0.99).Seconds()*1000, "ms/p99")
}

func quantile(all []time.Duration, q float64) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
