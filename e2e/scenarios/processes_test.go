package scenarios

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// TestProcesses is ten light nodes, plain processes, and three hundred Services
// on which every one is asked.
func TestProcesses(t *testing.T) {
	l := lab.Up(t, lab.Options{Nodes: 10, Light: true})
	s := &story{T: t, lab: l, ctx: t.Context()}
	s.must(stage.Run(s.ctx, l, func(line string) { t.Log(line) }))
	s.must(stage.Announce(s.ctx, l))

	// Pods stay off node10, which will be cut: if it owns nothing, another would not do either.
	var notTen []string
	for _, n := range l.Nodes()[:9] {
		notTen = append(notTen, n.Name)
	}
	s.must(stage.Serve(s.ctx, l, stage.Web{Name: "web", Replicas: 3, On: notTen, NoService: true}))
	client, err := l.Clientset()
	s.must(err)
	const services = 300
	for i := range services {
		_, err := client.CoreV1().Services("default").Create(s.ctx, threeHundred(i), metav1.CreateOptions{})
		s.must(err)
	}
	var all []netip.Addr
	s.eventually(time.Minute, func() error {
		list, err := client.CoreV1().Services("default").List(s.ctx, metav1.ListOptions{})
		s.must(err)
		all = all[:0]
		announced := 0
		for _, svc := range list.Items {
			for _, ingress := range svc.Status.LoadBalancer.Ingress {
				all = append(all, netip.MustParseAddr(ingress.IP))
			}
			for _, c := range svc.Status.Conditions {
				if c.Type == "clarion.dev/Announced" && c.Status == metav1.ConditionTrue {
					announced++
				}
			}
		}
		if announced < services {
			return fmt.Errorf("%d of %d Services are announced, with %d addresses", announced, services, len(all))
		}
		return nil
	})
	seen := map[netip.Addr]bool{}
	for _, a := range all {
		if seen[a] {
			t.Errorf("%s was given out twice", a)
		}
		seen[a] = true
	}
	if want := services / 3 * 4; len(all) != want {
		t.Errorf("%d addresses for %d Services, of which a third are dual-stack; want %d", len(all), services, want)
	}
	s.chapter("a client reaches every address", func(s *story) { s.reachEach(all) })
	s.chapter("a node's link is cut: what it owned is answered by others", func(s *story) {
		ten := l.Node("node10")
		s.must(ten.Cut())
		time.Sleep(6 * time.Second)
		for _, a := range all {
			s.must(l.Client().Forget(a))
		}
		s.reachEach(all)
		owners := map[string]int{}
		for _, a := range all {
			owners[s.knownOwner(a)]++
		}
		s.Logf("owners without node10: %v", owners)
		if owners["node10"] > 0 {
			s.Errorf("node10, which is cut off, answers for %d addresses", owners["node10"])
		}
		s.must(ten.Heal())
	})
	s.chapter("the controller is stopped and started: nothing is written", func(s *story) {
		held := func() string {
			return s.kubectl("get", "services", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.loadBalancer.ingress[*].ip}{"\n"}{end}`)
		}
		before := held()
		s.must(l.ControlPlane().Stop(s.ctx, stage.Controller, 10*time.Second))
		s.must(stage.StartController(s.ctx, l))
		s.apply(loadBalancer("after", ""))
		begin := time.Now()
		_, err := stage.Addresses(s.ctx, l, "after")
		s.must(err)
		s.Logf("the next Service had its address %v after the controller's start", time.Since(begin).Round(time.Millisecond))
		s.kubectl("delete", "service", "after")
		if after := held(); after != before {
			s.Error("addresses have changed by a restart of the controller")
		}
	})
	s.chapter("nothing crashed", func(s *story) {
		for _, n := range l.Nodes() {
			s.neverEnded(n.Host)
		}
	})
}

func threeHundred(i int) *corev1.Service {
	single, both := corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyRequireDualStack
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%03d", i), Namespace: "default"},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Port: 80}},
		},
	}
	s.Spec.Ports[0].TargetPort.IntVal = 8080
	switch i % 3 {
	case 0:
		s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &single, []corev1.IPFamily{corev1.IPv4Protocol}
	case 1:
		s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &single, []corev1.IPFamily{corev1.IPv6Protocol}
	case 2:
		s.Spec.IPFamilyPolicy = &both
	}
	return s
}

// reachEach wants a connection to every address, each within a few tries.
func (s *story) reachEach(addresses []netip.Addr) {
	s.Helper()
	left := addresses
	s.eventually(time.Minute, func() error {
		var failed []netip.Addr
		for len(left) > 0 {
			n := min(len(left), 50)
			watch := stage.StartWatchEvery(s.ctx, s.lab, 200*time.Millisecond, left[:n]...)
			time.Sleep(400 * time.Millisecond)
			seen, err := watch.Stop()
			s.must(err)
			for _, summary := range seen {
				if summary.Attempts == summary.Failures {
					failed = append(failed, summary.Target.Addr())
				}
			}
			left = left[n:]
		}
		left = failed
		if len(failed) > 0 {
			return fmt.Errorf("%d of %d addresses were not reached, %s among them", len(failed), len(addresses), failed[0])
		}
		return nil
	})
}

// knownOwner is the node that the client's neighbour table has for an address.
func (s *story) knownOwner(a netip.Addr) string {
	s.Helper()
	answer, err := s.lab.WhoAnswers(s.ctx, a)
	s.must(err)
	if answer.Node == nil {
		s.Fatalf("%s is at %s, which is no node's", a, answer.MAC)
	}
	return answer.Node.Name
}

// neverEnded fails where one of Clarion's processes had to be started again.
func (s *story) neverEnded(h *lab.Host) {
	s.Helper()
	processes, err := h.Machine().Processes(s.ctx)
	s.must(err)
	for _, p := range processes {
		if strings.HasPrefix(p.Name, "clarion-") && p.Restarts > 0 {
			s.Errorf("%s on %s ended %d times, last with %s; its log is %s", p.Name, h.Name, p.Restarts, p.Exit, p.Log)
		}
	}
}
