package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/docs"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// A story is told on one lab.
type story struct {
	*testing.T
	lab *lab.Lab
	ctx context.Context
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// chapter tells a part of the story; the parts after it are told in any case.
func (s *story) chapter(name string, tell func(*story)) {
	s.Run(name, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Minute)
		defer cancel()
		tell(&story{T: t, lab: s.lab, ctx: ctx})
	})
}

func (s *story) kubectl(args ...string) string {
	s.Helper()
	out, err := s.lab.Kubectl(s.ctx, args...)
	s.must(err)
	return out
}

func (s *story) apply(manifests string) {
	s.Helper()
	s.must(s.lab.ApplyYAML(s.ctx, manifests))
}

// eventually waits until ask has no objection.
func (s *story) eventually(within time.Duration, ask func() error) {
	s.Helper()
	deadline := time.Now().Add(within)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// condition returns "Status Reason: Message" of a Service's condition.
func (s *story) condition(service, kind string) string {
	s.Helper()
	out := s.kubectl("get", "service", service, "-o",
		fmt.Sprintf(`jsonpath={range .status.conditions[?(@.type=="clarion.dev/%s")]}{.status} {.reason}: {.message}{end}`, kind))
	return strings.TrimSpace(out)
}

// expectCondition waits for a condition that begins like that.
func (s *story) expectCondition(service, kind, prefix string) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		if got := s.condition(service, kind); !strings.HasPrefix(got, prefix) {
			return fmt.Errorf("condition %s of %s is %q, not %s", kind, service, got, prefix)
		}
		return nil
	})
	s.Logf("%s: %s", service, s.condition(service, kind))
}

// serve applies a Web, to be deleted at the end of the chapter, and returns the Service's addresses.
func (s *story) serve(w stage.Web) []netip.Addr {
	s.Helper()
	s.Cleanup(func() {
		_, err := s.lab.Kubectl(context.WithoutCancel(s.ctx), "delete", "service,deployment", w.Name, "--ignore-not-found", "--wait=false")
		if err != nil {
			s.Error(err)
		}
	})
	s.must(stage.Serve(s.ctx, s.lab, w))
	addresses, err := stage.Addresses(s.ctx, s.lab, w.Name)
	s.must(err)
	return addresses
}

// owner is the node that answers for an address as a client sees it that has just asked.
func (s *story) owner(address netip.Addr) *lab.Node {
	s.Helper()
	s.must(s.lab.Client().Forget(address))
	answer, err := s.lab.WhoAnswers(s.ctx, address)
	s.must(err)
	if answer.Node == nil {
		s.Fatalf("%s is at %s, which is no node's", address, answer.MAC)
	}
	return answer.Node
}

// reach connects to port 80 for a while and wants every attempt to succeed, after a time in which they need not.
func (s *story) reach(addresses ...netip.Addr) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		watch := stage.StartWatch(s.ctx, s.lab, addresses...)
		time.Sleep(300 * time.Millisecond)
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			if summary.Failures > 0 || summary.Attempts == 0 {
				return fmt.Errorf("%s", summary)
			}
		}
		return nil
	})
}

func TestAsShipped(t *testing.T) {
	l := lab.Up(t, lab.Options{FastNodeFailure: true})
	s := &story{T: t, lab: l, ctx: t.Context()}
	s.must(stage.Install(s.ctx, l, func(line string) { t.Log(line) }))
	s.chapter("nothing is written while no pool exists", noPoolYet)
	s.must(stage.Announce(s.ctx, l))
	s.chapter("a Service of each kind of IP families gets its addresses and a client reaches it", families)
	s.chapter("while nothing happens, nothing is logged and nothing is written", nothingHappens)
	s.chapter("the owner's link is cut: another node answers, other addresses are not touched", ownerCut)
	s.chapter("the owner's power fails and comes back", ownerPowerOff)
	s.chapter("the owner is drained and started anew while a client connects: nothing is lost, and nothing comes back with it", drainAndReboot)
	s.chapter("Local: only a node with an endpoint announces, and the client's address is preserved", localPolicy)
	s.chapter("a node with the exclusion label announces nothing", exclusionLabel)
	s.chapter("an address is announced only where an L2Advertisement covers its pool", noAdvertisement)
	s.chapter("an L2Advertisement's interfaces and nodes say where an address is answered", advertisementSelects)
	s.chapter("each impossible request is refused with its reason, and nothing else suffers", badRequests)
	s.chapter("a pool that is deleted while in use goes with its last holder", poolDeleted)
	s.chapter("an address that somebody else wrote is left alone", foreignAddress)
	s.chapter("a Service that stops being a LoadBalancer gives its address back", typeChange)
	s.chapter("two Services share an address, and a client reaches both", sharedAddress)
	s.chapter("a changed request is served in one step", changedRequest)
	s.chapter("a dual-stack Service gets its addresses from two pools", dualStackFromTwoPools)
	s.chapter("what the nodes' network needs is not given out", nodesAddresses)
	s.chapter("what is broken is explained, with what to do", whatIsBroken)
	s.chapter("a restart of the controller changes nothing", controllerRestart)
	s.chapter("a rolling update of the speakers goes by while a client connects", speakersRestart)
	s.chapter("the API server is away: traffic and failover go on", apiServerAway)
	s.chapter("every YAML block of the documentation and every sample can be applied", docsApply)
	s.chapter("every line that was logged is for a program to read", logsAreForPrograms)
	s.chapter("no container has restarted", noRestarts)
}

func noPoolYet(s *story) {
	s.apply(loadBalancer("early", ""))
	time.Sleep(time.Second)
	if got := s.kubectl("get", "service", "early", "-o", "jsonpath={.status.conditions}{.status.loadBalancer.ingress}"); got != "" {
		s.Errorf("the Service's status is %s though there is no pool", got)
	}
	s.kubectl("delete", "service", "early")
}

// loadBalancer is a Service in namespace default with nothing behind it; extra goes below metadata, indented by two.
func loadBalancer(name, extra string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata:
  name: %s
  namespace: default
%s
spec:
  type: LoadBalancer
  selector: {app: %s}
  ports: [{port: 80, targetPort: 8080}]
`, name, extra, name)
}

func families(s *story) {
	for _, w := range []stage.Web{
		{Name: "v4", Families: []string{"IPv4"}},
		{Name: "v6", Families: []string{"IPv6"}},
		{Name: "dual", FamilyPolicy: "RequireDualStack", Families: []string{"IPv6", "IPv4"}},
	} {
		addresses := s.serve(w)
		want := len(w.Families)
		if len(addresses) != want || addresses[0].Is6() != (w.Families[0] == "IPv6") {
			s.Fatalf("%s has %v for families %v", w.Name, addresses, w.Families)
		}
		s.expectCondition(w.Name, "AddressAssigned", "True Assigned")
		s.kubectl("wait", "--for=condition=clarion.dev/Announced", "service/"+w.Name, "--timeout=20s")
		s.reach(addresses...)
		for _, a := range addresses {
			s.Logf("%s: %s is answered by %s", w.Name, a, s.owner(a).Name)
		}
	}
}

// spread makes Services until their addresses have at least two owners, so that one can be lost and another not.
func (s *story) spread() map[string][]netip.Addr {
	s.Helper()
	byOwner := map[string][]netip.Addr{}
	for i := range 6 {
		w := stage.Web{Name: fmt.Sprintf("web%d", i), Replicas: 1, FamilyPolicy: "RequireDualStack"}
		for _, a := range s.serve(w) {
			s.reach(a)
			o := s.owner(a).Name
			byOwner[o] = append(byOwner[o], a)
		}
		if len(byOwner) > 1 && i >= 2 {
			return byOwner
		}
	}
	s.Fatalf("all addresses have one owner: %v", byOwner)
	return nil
}

// evacuate moves all Pods of the chapter's Services off a node.
func (s *story) evacuate(node string) {
	s.Helper()
	s.must(stage.Evacuate(s.ctx, s.lab, node, 1, strings.Fields(s.kubectl("get", "deployments", "-o", "jsonpath={.items[*].metadata.name}"))...))
}

func ownerCut(s *story) {
	byOwner := s.spread()
	var lost string
	for o := range byOwner {
		if lost == "" || len(byOwner[o]) > len(byOwner[lost]) {
			lost = o
		}
	}
	s.evacuate(lost)
	var all []netip.Addr
	for _, addresses := range byOwner {
		all = append(all, addresses...)
	}
	s.reach(all...)
	watch := stage.StartWatch(s.ctx, s.lab, all...)
	time.Sleep(500 * time.Millisecond)
	node := s.lab.Node(lost)
	s.must(node.Cut())
	defer func() { s.must(node.WaitReady(s.ctx)) }()
	defer func() { s.must(node.Heal()) }()
	time.Sleep(10 * time.Second)
	seen, err := watch.Stop()
	s.must(err)
	for _, summary := range seen {
		a := summary.Target.Addr()
		wasLost := false
		for _, l := range byOwner[lost] {
			wasLost = wasLost || l == a
		}
		s.Logf("lost=%v %s", wasLost, summary)
		switch {
		case wasLost && summary.Gap > 6*time.Second:
			s.Errorf("%s was not answered for %v after %s was cut", a, summary.Gap, lost)
		case !wasLost && summary.Failures > 0:
			s.Errorf("%s was not on %s and yet was not answered: %s", a, lost, summary)
		}
	}
	for _, a := range byOwner[lost] {
		if now := s.owner(a).Name; now == lost {
			s.Errorf("%s answers for %s though it is cut off", now, a)
		}
	}
}

func ownerPowerOff(s *story) {
	address := s.serve(stage.Web{Name: "web"})[0]
	s.reach(address)
	node := s.owner(address)
	s.evacuate(node.Name)
	s.reach(address)
	watch := stage.StartWatch(s.ctx, s.lab, address)
	time.Sleep(500 * time.Millisecond)
	s.must(node.PowerOff())
	time.Sleep(8 * time.Second)
	seen, err := watch.Stop()
	s.must(err)
	s.Log(seen[0])
	if seen[0].Gap > 6*time.Second {
		s.Errorf("%s was not answered for %v after the power of %s failed", address, seen[0].Gap, node.Name)
	}
	s.must(node.PowerOn(s.ctx))
	s.must(node.WaitReady(s.ctx))
	s.must(stage.WaitInstalled(s.ctx, s.lab))
	s.reach(address)
}

func localPolicy(s *story) {
	address := s.serve(stage.Web{Name: "web", Replicas: 1, TrafficPolicy: "Local"})[0]
	s.reach(address)
	on := s.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}")
	if got := s.owner(address).Name; got != on {
		s.Errorf("%s answers for %s, whose only endpoint is on %s", got, address, on)
	}
	saw, err := stage.Get(s.ctx, s.lab, address)
	s.must(err)
	if client := s.lab.Client().IPv4().String(); !strings.Contains(saw, client) {
		s.Errorf("the Pod did not see the client's address %s: %s", client, saw)
	}
	s.kubectl("scale", "deployment", "web", "--replicas=0")
	s.expectCondition("web", "Announced", "False NoEndpoint")
	s.kubectl("scale", "deployment", "web", "--replicas=1")
	s.expectCondition("web", "Announced", "True Announced")
	s.reach(address)
}

func exclusionLabel(s *story) {
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	address := s.serve(stage.Web{Name: "web"})[0]
	s.reach(address)
	before := s.owner(address)
	s.kubectl("label", "node", before.Name, label+"=")
	defer s.kubectl("label", "node", before.Name, label+"-")
	s.eventually(10*time.Second, func() error {
		if now := s.owner(address).Name; now == before.Name {
			return fmt.Errorf("%s, which is excluded, answers for %s", now, address)
		}
		return nil
	})
	s.reach(address)
}

func noAdvertisement(s *story) {
	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: quiet}, spec: {addresses: [10.99.130.0/28], autoAssign: false}}`)
	defer s.kubectl("delete", "ipaddresspool", "quiet", "--wait=false")
	address := s.serve(stage.Web{Name: "web", Annotations: map[string]string{"clarion.dev/address-pool": "quiet"}})[0]
	s.expectCondition("web", "AddressAssigned", "True Assigned")
	s.expectCondition("web", "Announced", "False NoAdvertisement")
	s.must(s.lab.Client().Forget(address))
	if answer, err := s.lab.WhoAnswers(s.ctx, address); err == nil {
		s.Errorf("%s is answered with %s though nothing advertises it", address, answer.MAC)
	}
}

func advertisementSelects(s *story) {
	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: narrow}, spec: {addresses: [10.99.131.0/28, 198.51.100.0/28], autoAssign: false}}`)
	defer s.kubectl("delete", "ipaddresspool", "narrow", "--wait=false")
	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: narrow}, spec: {ipAddressPools: [narrow],
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node2}}]}}`)
	defer s.kubectl("delete", "l2advertisement", "narrow")
	near := s.serve(stage.Web{Name: "near", Annotations: map[string]string{"clarion.dev/loadBalancerIPs": "10.99.131.1"}})[0]
	s.reach(near)
	if got := s.owner(near).Name; got != "node2" {
		s.Errorf("%s answers for %s, which only node2 may", got, near)
	}
	s.serve(stage.Web{Name: "far", Annotations: map[string]string{"clarion.dev/loadBalancerIPs": "198.51.100.1"}})
	s.expectCondition("far", "Announced", "False NoInterface")
	s.kubectl("patch", "l2advertisement", "narrow", "--type=merge", "-p", `{"spec":{"interfaces":["eth*"]}}`)
	s.expectCondition("far", "Announced", "True Announced")
	_, err := s.lab.Client().Exec(s.ctx, "ip", "route", "replace", "198.51.100.0/28", "dev", "eth0")
	s.must(err)
	s.reach(netip.MustParseAddr("198.51.100.1"))
}

func badRequests(s *story) {
	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: tiny}, spec: {addresses: [10.99.132.1], autoAssign: false}}
---
{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: reversed}, spec: {addresses: [10.99.132.9-10.99.132.2], autoAssign: false}}
---
{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: tiny}, spec: {ipAddressPools: [tiny]}}`)
	defer s.kubectl("delete", "ipaddresspool", "tiny", "reversed", "--wait=false")
	defer s.kubectl("delete", "l2advertisement", "tiny")
	good := s.serve(stage.Web{Name: "good", Annotations: map[string]string{"clarion.dev/address-pool": "tiny"}})[0]
	for _, refused := range []struct{ name, annotations, families, want string }{
		{"outside", `{clarion.dev/loadBalancerIPs: 203.0.113.7}`, "", "False AddressNotInPool"},
		{"in-use", `{clarion.dev/loadBalancerIPs: 10.99.132.1}`, "", "False AddressInUse"},
		{"wrong-family", `{clarion.dev/loadBalancerIPs: "fd99::a:1"}`, "", "False FamilyMismatch"},
		{"no-such-pool", `{clarion.dev/address-pool: nowhere}`, "", "False PoolNotFound"},
		{"full-pool", `{clarion.dev/address-pool: tiny}`, "", "False PoolExhausted"},
		{"bad-pool", `{clarion.dev/address-pool: reversed}`, "", "False PoolNotReady"},
		{"garbage", `{clarion.dev/loadBalancerIPs: "10.99.132.one"}`, "", "False InvalidRequest"},
		{"contradiction", `{clarion.dev/loadBalancerIPs: 10.99.64.9, metallb.io/loadBalancerIPs: 10.99.64.8}`, "", "False ConflictingRequests"},
	} {
		s.apply(loadBalancer(refused.name, "  annotations: "+refused.annotations))
		defer s.kubectl("delete", "service", refused.name)
		s.expectCondition(refused.name, "AddressAssigned", refused.want)
		if got := s.kubectl("get", "service", refused.name, "-o", "jsonpath={.status.loadBalancer.ingress}"); got != "" {
			s.Errorf("%s has %s all the same", refused.name, got)
		}
	}
	s.reach(good)
	// What stood in the way goes: the one that waits is served.
	s.kubectl("delete", "service", "good")
	s.eventually(10*time.Second, func() error {
		holders := s.kubectl("get", "services", "in-use", "full-pool", "-o", "jsonpath={.items[*].status.loadBalancer.ingress[*].ip}")
		if holders != "10.99.132.1" {
			return fmt.Errorf("addresses of those that waited for 10.99.132.1: %q", holders)
		}
		return nil
	})
}

func poolDeleted(s *story) {
	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: leaving}, spec: {addresses: [10.99.133.0/28], autoAssign: false}}
---
{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: leaving}, spec: {ipAddressPools: [leaving]}}`)
	defer s.kubectl("delete", "l2advertisement", "leaving")
	address := s.serve(stage.Web{Name: "web", Annotations: map[string]string{"clarion.dev/address-pool": "leaving"}})[0]
	s.reach(address)
	s.kubectl("delete", "ipaddresspool", "leaving", "--wait=false")
	time.Sleep(time.Second)
	s.reach(address)
	s.apply(loadBalancer("late", `  annotations: {clarion.dev/address-pool: leaving}`))
	s.expectCondition("late", "AddressAssigned", "False PoolDeleting")
	s.kubectl("delete", "service", "late")
	s.kubectl("delete", "service", "web")
	s.kubectl("wait", "--for=delete", "ipaddresspool/leaving", "--timeout=20s")
}

func foreignAddress(s *story) {
	s.apply(loadBalancer("theirs", "") + "  loadBalancerClass: example.com/other\n")
	defer s.kubectl("delete", "service", "theirs", "ours")
	s.kubectl("patch", "service", "theirs", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.80"}]}}}`)
	s.kubectl("scale", "-n", stage.Namespace, "deployment/clarion-controller", "--replicas=0")
	s.kubectl("wait", "-n", stage.Namespace, "--for=delete", "pod", "-l", "app.kubernetes.io/component=controller", "--timeout=60s")
	s.apply(loadBalancer("ours", ""))
	s.kubectl("patch", "service", "ours", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.81"}]}}}`)
	s.kubectl("scale", "-n", stage.Namespace, "deployment/clarion-controller", "--replicas=2")
	s.must(stage.WaitInstalled(s.ctx, s.lab))
	s.expectCondition("ours", "AddressAssigned", "False HeldByAnother")
	for name, want := range map[string]string{"theirs": "203.0.113.80", "ours": "203.0.113.81"} {
		if got := s.kubectl("get", "service", name, "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}"); got != want {
			s.Errorf("%s has %q, not %s as somebody else wrote", name, got, want)
		}
	}
	if got := s.condition("theirs", "AddressAssigned"); got != "" {
		s.Errorf("a Service of another class has our condition: %s", got)
	}
}

func typeChange(s *story) {
	address := s.serve(stage.Web{Name: "web"})[0]
	s.reach(address)
	s.kubectl("patch", "service", "web", "--type=merge", "-p", `{"spec":{"type":"ClusterIP"}}`)
	s.eventually(10*time.Second, func() error {
		if got := s.kubectl("get", "service", "web", "-o", "jsonpath={.status}"); strings.Contains(got, address.String()) || strings.Contains(got, "clarion.dev") {
			return fmt.Errorf("a ClusterIP Service has status %s", got)
		}
		return nil
	})
	s.must(s.lab.Client().Forget(address))
	s.eventually(10*time.Second, func() error {
		if answer, err := s.lab.WhoAnswers(s.ctx, address); err == nil {
			s.must(s.lab.Client().Forget(address))
			return fmt.Errorf("%s is still answered with %s", address, answer.MAC)
		}
		return nil
	})
}

func controllerRestart(s *story) {
	for i := range 3 {
		s.serve(stage.Web{Name: fmt.Sprintf("web%d", i), Replicas: 1, FamilyPolicy: "RequireDualStack"})
	}
	held := func() string {
		return s.kubectl("get", "services", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.loadBalancer.ingress[*].ip} {.metadata.resourceVersion}{"\n"}{end}`)
	}
	s.eventually(20*time.Second, func() error {
		first := held()
		time.Sleep(time.Second)
		if second := held(); first != second {
			return fmt.Errorf("Services are still being written:\n%s\n%s", first, second)
		}
		return nil
	})
	before := held()
	s.kubectl("-n", stage.Namespace, "rollout", "restart", "deployment/clarion-controller")
	s.must(stage.WaitInstalled(s.ctx, s.lab))
	s.serve(stage.Web{Name: "after"}) // so a leader is there and has adopted
	s.kubectl("delete", "service,deployment", "after")
	after := held()
	if before != after {
		s.Errorf("a restart of the controller wrote to Services:\n%s\nbecame\n%s", before, after)
	}
}

func apiServerAway(s *story) {
	address := s.serve(stage.Web{Name: "web"})[0]
	s.reach(address)
	node := s.owner(address)
	s.evacuate(node.Name)
	s.reach(address)
	watch := stage.StartWatch(s.ctx, s.lab, address)
	// The control plane goes on by itself, and takes all nodes for dead.
	s.must(s.lab.ControlPlane().Cut())
	time.Sleep(10 * time.Second)
	s.must(node.Cut())
	time.Sleep(20 * time.Second)
	s.must(node.Heal())
	time.Sleep(30 * time.Second)
	seen, err := watch.Stop()
	s.must(err)
	s.Log(seen[0])
	if seen[0].Longest > 6*time.Second {
		s.Errorf("without the API server %s was not answered for %v", address, seen[0].Longest)
	}
	s.must(s.lab.ControlPlane().Heal())
	s.must(s.lab.WaitNodesReady(s.ctx))
	if got := s.serve(stage.Web{Name: "next"}); len(got) != 1 {
		s.Errorf("after the API server's return a new Service has %v", got)
	}
	if got, err := stage.Addresses(s.ctx, s.lab, "web"); err != nil || got[0] != address {
		s.Errorf("web had %s and has %v, %v", address, got, err)
	}
}

func docsApply(s *story) {
	checkout, err := supply.Checkout()
	s.must(err)
	s.kubectl("apply", "--dry-run=server", "--validate=strict", "-k", filepath.Join(checkout, "config/samples"))
	pages, err := docs.Pages(checkout)
	s.must(err)
	applied := 0
	for _, page := range pages {
		for _, b := range page.YAML() {
			applied++
			cmd := s.lab.KubectlCommand(s.ctx, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
			cmd.Stdin = strings.NewReader(b.Text)
			if out, err := cmd.CombinedOutput(); err != nil {
				s.Errorf("%s: %v: %s", b.Where, err, out)
			}
		}
	}
	if applied == 0 {
		s.Error("the documentation has no YAML blocks")
	}
}

func noRestarts(s *story) {
	// The Pods of the node whose power failed have restarted with it.
	out := s.kubectl("-n", stage.Namespace, "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.reason}{"\n"}{end}`)
	s.Log(out)
	for line := range strings.Lines(out) {
		if strings.Contains(line, "Error") || strings.Contains(line, "OOMKilled") {
			s.Errorf("a container failed: %s", line)
		}
	}
}
