package scenarios

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// plugin builds kubectl-clarion and returns what runs it, with what it prints and whether it says that all is well.
func (s *story) plugin() func(args ...string) (out string, well bool) {
	s.Helper()
	checkout, err := supply.Checkout()
	s.must(err)
	binary := filepath.Join(s.TempDir(), "kubectl-clarion")
	build := exec.CommandContext(s.Context(), "go", "build", "-o", binary, "./cmd/kubectl-clarion")
	build.Dir = checkout
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	return func(args ...string) (string, bool) {
		s.Helper()
		cmd := s.lab.KubectlCommand(s.ctx, append([]string{"clarion"}, args...)...)
		cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
			s.Fatal(err)
		}
		return string(out), err == nil
	}
}

// whatIsBroken breaks things as people do, and wants explain to name the cause and the remedy.
func whatIsBroken(s *story) {
	run := s.plugin()
	address := s.serve(stage.Web{Name: "web"})[0]
	s.reach(address)
	s.kubectl("wait", "--for=condition=clarion.dev/Announced", "service/web", "--timeout=20s")
	owner := s.owner(address).Name
	tells := func(service string, well bool, want ...string) {
		s.Helper()
		s.eventually(90*time.Second, func() error {
			out, is := run("explain", "service", "default/"+service)
			for _, text := range want {
				if !strings.Contains(out, text) {
					return fmt.Errorf("%s: no %q in\n%s", service, text, out)
				}
			}
			if is != well {
				return fmt.Errorf("%s: well is %v:\n%s", service, is, out)
			}
			return nil
		})
	}
	tells("web", true, "owned by "+owner, "answered on eth0", "deputy 1")

	s.Log("a simulated loss names the heir, and what the node has")
	out, well := run("simulate", "loss", owner)
	if !strings.Contains(out, address.String()) || !strings.Contains(out, "If node "+owner+" were lost") || !well && !strings.Contains(out, "nowhere") {
		s.Errorf("simulate loss: %s", out)
	}
	s.Log("an address is moved, and told to be where it is")
	other := "node1"
	if owner == other {
		other = "node2"
	}
	if out, well := run("move", address.String(), other, "--wait=60s"); !well || !strings.Contains(out, "is answered by node "+other) {
		s.Errorf("move: %s", out)
	}
	s.reach(address)
	if now := s.owner(address).Name; now != other {
		s.Errorf("%s answers after a move to %s", now, other)
	}
	if out, _ := run("version"); !strings.Contains(out, "clarion-controller") {
		s.Errorf("version: %s", out)
	}
	if out, _ := run("doctor"); !strings.Contains(out, "nodes' kernels") || strings.Contains(out, "could not be looked at") {
		s.Errorf("doctor: %s", out)
	}

	s.apply(loadBalancer("lonely", ""))
	defer s.kubectl("delete", "service", "lonely", "typo", "nopool", "elsewhere", "--ignore-not-found")
	tells("lonely", false, "NoEndpoint", "Make the Service's selector match Pods that are ready")

	s.apply(loadBalancer("typo", "  annotations: {clarion.dev/adress-pool: lan}"))
	tells("typo", false, "clarion.dev/adress-pool means nothing: write clarion.dev/address-pool")
	s.eventually(20*time.Second, func() error { // also to whoever has no plugin
		if got := s.condition("typo", "AddressAssigned"); !strings.HasSuffix(got, "the annotation clarion.dev/adress-pool means nothing: write clarion.dev/address-pool") {
			return fmt.Errorf("the condition is %q", got)
		}
		return nil
	})

	s.apply(loadBalancer("nopool", "  annotations: {clarion.dev/address-pool: lann}"))
	s.expectCondition("nopool", "AddressAssigned", "False PoolNotFound: pool lann is asked for, but there is no such IPAddressPool. Correct the name")
	tells("nopool", false, "Create the IPAddressPool, or correct the name")

	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: far}, spec: {addresses: [203.0.113.0/28], autoAssign: false}}`)
	defer s.kubectl("delete", "ipaddresspool", "far", "--wait=false")
	s.apply(loadBalancer("elsewhere", "  annotations: {clarion.dev/address-pool: far}"))
	tells("elsewhere", false, "NoAdvertisement", "Create an L2Advertisement or a BGPAdvertisement that covers the pool")

	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: nowhere}, spec: {ipAddressPools: [far], interfaces: [eth7], nodeSelectors: [{matchLabels: {rack: none}}]}}`)
	defer s.kubectl("delete", "l2advertisement", "nowhere")
	tells("elsewhere", false, "NotSelected", "Correct the nodeSelectors of the advertisement, or label the node")
	s.eventually(20*time.Second, func() error {
		for command, want := range map[string]string{"status": "L2Advertisement/nowhere", "doctor": "names interfaces that no node has: eth7"} {
			if out, well := run(command); well || !strings.Contains(out, want) || !strings.Contains(out, "of 3 Nodes nodeSelectors select none") {
				return fmt.Errorf("%s: %s", command, out)
			}
		}
		return nil
	})
}
