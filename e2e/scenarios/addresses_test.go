package scenarios

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// getPort asks a port of an address from the LAN's client, and returns the test server's answer.
func (s *story) getPort(address netip.Addr, port uint16) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, stage.AttemptTimeout)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DialContext: s.lab.Client().Dial, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(address, port).String()+"/", nil)
	s.must(err)
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return string(answer), err
}

func sharedAddress(s *story) {
	key := map[string]string{"clarion.dev/allow-shared-ip": "edge"}
	address := s.serve(stage.Web{Name: "web", Replicas: 1, Annotations: key})[0]
	s.must(stage.Serve(s.ctx, s.lab, stage.Web{Name: "mail", Replicas: 1, NoService: true}))
	s.Cleanup(func() {
		if _, err := s.lab.Kubectl(context.WithoutCancel(s.ctx), "delete", "service,deployment", "mail", "--ignore-not-found", "--wait=false"); err != nil {
			s.Error(err)
		}
	})
	s.apply(strings.Replace(loadBalancer("mail", `  annotations: {clarion.dev/allow-shared-ip: edge}`), "port: 80", "port: 25", 1))
	second, err := stage.Addresses(s.ctx, s.lab, "mail")
	s.must(err)
	if second[0] != address {
		s.Fatalf("web has %s, and mail, which gives the same key, has %s", address, second[0])
	}
	s.reach(address)
	for port, pod := range map[uint16]string{80: "web-", 25: "mail-"} {
		s.eventually(20*time.Second, func() error {
			answer, err := s.getPort(address, port)
			if err == nil && !strings.Contains(answer, pod) {
				err = fmt.Errorf("port %d is answered by %s, not by a Pod %s…", port, answer, pod)
			}
			return err
		})
	}

	// The other one stays when one goes.
	s.kubectl("delete", "service", "web")
	s.eventually(20*time.Second, func() error { _, err := s.getPort(address, 25); return err })
	if got := s.kubectl("get", "service", "mail", "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}"); got != address.String() {
		s.Errorf("mail had %s and has %s", address, got)
	}
}

func changedRequest(s *story) {
	s.apply(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: spare}, spec: {addresses: [10.99.131.0/28], autoAssign: false}}`)
	defer s.kubectl("delete", "ipaddresspool", "spare", "--wait=false")
	before := s.serve(stage.Web{Name: "web", Replicas: 1})[0]
	s.reach(before)

	client, err := s.lab.Clientset()
	s.must(err)
	now, err := client.CoreV1().Services("default").Get(s.ctx, "web", metav1.GetOptions{})
	s.must(err)
	watching, err := client.CoreV1().Services("default").Watch(s.ctx, metav1.ListOptions{
		ResourceVersion: now.ResourceVersion, FieldSelector: fields.OneTermEqualSelector("metadata.name", "web").String(),
	})
	s.must(err)
	defer watching.Stop()
	s.kubectl("annotate", "service", "web", "clarion.dev/address-pool=spare")
	deadline := time.After(20 * time.Second)
	for {
		select {
		case e := <-watching.ResultChan():
			service, ok := e.Object.(*corev1.Service)
			if !ok {
				s.Fatalf("the watch ended: %v", e.Object)
			}
			ingress := service.Status.LoadBalancer.Ingress
			if len(ingress) != 1 {
				s.Fatalf("while it moves it has %d addresses", len(ingress))
			}
			if ingress[0].IP == before.String() {
				continue
			}
			if !strings.HasPrefix(ingress[0].IP, "10.99.131.") {
				s.Fatalf("it moved to %s", ingress[0].IP)
			}
		case <-deadline:
			s.Fatal("it does not move")
		}
		break
	}
	s.expectCondition("web", "AddressAssigned", "True Assigned: 10.99.131.")
	// The old one is free again.
	other := s.serve(stage.Web{Name: "other", Replicas: 1, Annotations: map[string]string{"clarion.dev/loadBalancerIPs": before.String()}})[0]
	s.reach(other)
}

func dualStackFromTwoPools(s *story) {
	s.apply(`
{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: only-four}, spec: {addresses: [10.99.132.0/28], serviceAllocation: {namespaces: [default], serviceSelectors: [{matchLabels: {pools: two}}]}}}
---
{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: only-six}, spec: {addresses: ["fd99::9:0/124"], serviceAllocation: {namespaces: [default], serviceSelectors: [{matchLabels: {pools: two}}], fallback: Denied}}}
---
{apiVersion: clarion.dev/v1beta1, kind: L2Advertisement, metadata: {name: two}, spec: {ipAddressPools: [only-four, only-six]}}
`)
	defer s.kubectl("delete", "l2advertisement", "two")
	defer s.kubectl("delete", "ipaddresspool", "only-four", "only-six", "--wait=false")
	s.must(stage.Serve(s.ctx, s.lab, stage.Web{Name: "both", Replicas: 1, NoService: true}))
	s.Cleanup(func() {
		if _, err := s.lab.Kubectl(context.WithoutCancel(s.ctx), "delete", "service,deployment", "both", "--ignore-not-found", "--wait=false"); err != nil {
			s.Error(err)
		}
	})
	s.apply(strings.Replace(loadBalancer("both", "  labels: {pools: two}"), "spec:", "spec:\n  ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv6, IPv4]", 1))
	addresses, err := stage.Addresses(s.ctx, s.lab, "both")
	s.must(err)
	if mark := s.kubectl("get", "service", "both", "-o", `jsonpath={.metadata.annotations.clarion\.dev/assigned-from-pool}`); len(addresses) != 2 ||
		mark != fmt.Sprintf("only-six=%s,only-four=%s", addresses[0], addresses[1]) {
		s.Errorf("it has %v, from %s", addresses, mark)
	}
	s.expectCondition("both", "AddressAssigned", "True Assigned")
}

// The pool lists a node's address, and the LAN's network and broadcast addresses, which only the speakers know.
func nodesAddresses(s *story) {
	node := s.lab.Nodes()[0]
	s.apply(fmt.Sprintf(`{apiVersion: clarion.dev/v1beta1, kind: IPAddressPool, metadata: {name: clumsy}, spec: {addresses: ["%s", "%s", "%s"], autoAssign: false}}`,
		node.IPv4(), lab.LANv4.Masked().Addr(), netipx.RangeOfPrefix(lab.LANv4).To()))
	defer s.kubectl("delete", "ipaddresspool", "clumsy", "--wait=false")
	s.eventually(20*time.Second, func() error {
		got := s.kubectl("get", "ipaddresspool", "clumsy", "-o", `jsonpath={.status.usage} {.status.conditions[?(@.type=="AddressesSkipped")].message}`)
		for _, want := range []string{fmt.Sprintf("%s (an address of node %s)", node.IPv4(), node.Name), "the network address of " + lab.LANv4.String(), "the broadcast address"} {
			if !strings.Contains(got, want) {
				return fmt.Errorf("the pool says %q, which does not tell %q", got, want)
			}
		}
		return nil
	})
	s.apply(loadBalancer("wants", "  annotations: {clarion.dev/address-pool: clumsy}"))
	defer s.kubectl("delete", "service", "wants")
	s.expectCondition("wants", "AddressAssigned", "False ")
}
