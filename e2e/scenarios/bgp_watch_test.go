package scenarios

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/clarion-lb/clarion/e2e/app/probe"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// A bgpWatch is the user who opens connections to an address all the time, and to the Pods behind it by the same way but
// without Clarion's part in it, as a control.
type bgpWatch struct {
	s      *bgpStory
	target netip.AddrPort
	*stage.Watch
	routes map[*lab.Host]int // how much the routers had told of their kernels' routes
}

// watch begins when all of them have been answered.
func (s *bgpStory) watch(address netip.Addr) *bgpWatch {
	s.Helper()
	w := &bgpWatch{s: s, target: netip.AddrPortFrom(address, 80)}
	targets := append([]netip.AddrPort{w.target}, s.controls...)
	w.routes = map[*lab.Host]int{}
	for _, host := range []*lab.Host{s.frrHost, s.birdHost} {
		w.routes[host] = len(s.routeMonitored(host))
	}
	w.Watch = stage.StartWatchFrom(s.ctx, s.user, 10*time.Millisecond, targets...)
	time.Sleep(300 * time.Millisecond)
	return w
}

// stop ends the watch, and returns what it saw of the address, and what nothing but Clarion explains of its failures.
func (w *bgpWatch) stop() (probe.Summary, []probe.Attempt) {
	w.s.Helper()
	attempts, err := w.Attempts()
	w.s.must(err)
	summaries := probe.Summarize(attempts)
	unexplained := probe.Unexplained(attempts, w.target, stage.AttemptTimeout)
	if slices.ContainsFunc(summaries, func(s probe.Summary) bool { return s.Failures > 0 }) {
		for _, one := range summaries {
			w.s.Log(one)
		}
		w.s.Logf("meanwhile the router's kernel:\n%s", w.routeChanges(w.s.frrHost))
	}
	return summaries[slices.IndexFunc(summaries, func(s probe.Summary) bool { return s.Target == w.target })], unexplained
}

// nothingLost ends a watch that no connection may have failed in.
func (w *bgpWatch) nothingLost() {
	w.s.Helper()
	seen, unexplained := w.stop()
	changes := w.changedAt()
	rehashed := len(unexplained)
	unexplained = slices.DeleteFunc(unexplained, func(a probe.Attempt) bool { return isRehashed(a, changes) })
	if rehashed -= len(unexplained); rehashed > 0 {
		w.s.Logf("%d of %d connections were open when the router turned to other nodes", rehashed, seen.Attempts)
	}
	if len(unexplained) > 0 {
		w.s.Errorf("%d of %d connections failed, %d of them while the control went well", seen.Failures, seen.Attempts, len(unexplained))
	}
	if seen.Attempts <= seen.Failures {
		w.s.Errorf("%d of %d connections failed", seen.Failures, seen.Attempts)
	}
}

// reachPods has the router know the way to the Pods behind the Service, which are the controls of a watch.
func (s *bgpStory) reachPods() {
	s.Helper()
	for line := range strings.Lines(s.kubectl("get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.status.podIP} {.status.hostIP}{"\n"}{end}`)) {
		ip, host, _ := strings.Cut(strings.TrimSpace(line), " ")
		pod, node := netip.MustParseAddr(ip), netip.MustParseAddr(host)
		s.must(s.frrHost.AddRoutes(lab.Route{To: netip.PrefixFrom(pod, pod.BitLen()), Via: node}))
		s.controls = append(s.controls, netip.AddrPortFrom(pod, 8080))
	}
}

// routeMonitor is the process that notes what becomes of the routes in the router's kernel.
const routeMonitor = "routes"

func (s *bgpStory) routeMonitored(router *lab.Host) string {
	s.Helper()
	content, err := os.ReadFile(router.LogFile(routeMonitor))
	s.must(err)
	return string(content)
}

// routeChanges are what it has noted since the watch began.
func (w *bgpWatch) routeChanges(router *lab.Host) string {
	w.s.Helper()
	return w.s.routeMonitored(router)[w.routes[router]:]
}

// changedAt is when the route to the watched address changed in the kernel of the router that leads there.
func (w *bgpWatch) changedAt() (all []time.Time) {
	w.s.Helper()
	for line := range strings.Lines(w.routeChanges(w.s.frrHost)) {
		stamp, rest, found := strings.Cut(strings.TrimPrefix(line, "["), "] ")
		if found && strings.Contains(rest, w.target.Addr().String()) {
			at, err := time.ParseInLocation("2006-01-02T15:04:05.999999", stamp, time.Local)
			w.s.must(err)
			all = append(all, at)
		}
	}
	return all
}

// isRehashed reports whether a connection was reset that was open when the route changed: its packets before went to one node
// and those after, by the router's hash, to another, which knows nothing of it. No speaker can help that.
func isRehashed(a probe.Attempt, changes []time.Time) bool {
	const lag = 5 * time.Millisecond // of what notes the changes
	return a.Failure == probe.Reset && slices.ContainsFunc(changes, func(at time.Time) bool {
		return at.After(a.Start.Add(-lag)) && at.Before(a.Start.Add(a.Took+lag))
	})
}

// routesKept fails where a router has not kept the routes all the time.
func (w *bgpWatch) routesKept() {
	w.s.Helper()
	for _, router := range []*lab.Host{w.s.frrHost, w.s.birdHost} {
		if changes := w.routeChanges(router); strings.Contains(changes, w.target.Addr().String()) {
			w.s.Errorf("%s has not kept the routes:\n%s", router.Name, changes)
		}
	}
}
