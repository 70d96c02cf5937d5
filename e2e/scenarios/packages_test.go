package scenarios

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/deploy/images"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// helmNamespace is not the manifest's: what depends on the namespace must follow it.
const helmNamespace = "network-system"

// TestPackages is what an administrator does with packages in a cluster's life: come from MetalLB, install by Helm, upgrade, uninstall, and
// install by the manifest, while one Service keeps its address through all of it.
func TestPackages(t *testing.T) {
	l := lab.Up(t, lab.Options{Nodes: 2})
	s := &story{T: t, lab: l, ctx: t.Context()}
	directory := filepath.Join(l.Dir(), "build")
	archives, err := stage.Images(s.ctx, directory, func(line string) { t.Log(line) })
	s.must(err)
	// The next build is the same programs under the next tag: what is tried is how one follows the other.
	for _, i := range images.Clarion("localhost/clarion-", "next", directory, runtime.GOARCH) {
		archive := filepath.Join(directory, filepath.Base(strings.ReplaceAll(i.Name, ":", "_"))+".tar")
		s.must(i.WriteFile(archive))
		archives = append(archives, archive)
	}
	s.must(l.LoadImage(s.ctx, archives...))
	buildHelm(s)

	buildPlugin(s)

	address, other := netip.MustParseAddr("10.99.64.7"), netip.MustParseAddr("10.99.65.9")
	var converted string
	s.chapter("as MetalLB left it: two pools, and two Services with its annotations and addresses", func(s *story) { metalLB(s, address, other) })
	s.chapter("its configuration is read, and each Service would keep its address", func(s *story) {
		converted = s.clarion("migrate", "metallb")
		if !strings.Contains(converted, "name: second") || !strings.Contains(converted, "kind: L2Advertisement") {
			s.Errorf("converted:\n%s", converted)
		}
		if out := s.clarion("migrate", "metallb", "--check"); !strings.Contains(out, "2 of 2") {
			s.Errorf("the check says %s", out)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	held := func(s *story) string {
		s.Helper()
		return s.kubectl("get", "services", "kept", "other", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status}{"\n"}{end}`)
	}
	s.chapter("installed by Helm in observe mode, Clarion writes and announces nothing", func(s *story) {
		s.kubectl("create", "namespace", helmNamespace)
		s.kubectl("label", "namespace", helmNamespace, "pod-security.kubernetes.io/enforce=privileged")
		before := held(s)
		s.helm("install", "clarion", chart(s), "--set", "mode=observe")
		s.apply(pool(converted, "second", false))
		s.rolledOut(helmNamespace)
		time.Sleep(3 * time.Second)
		if after := held(s); after != before {
			s.Errorf("Services have changed from\n%sto\n%s", before, after)
		}
		s.silent(address, other)
	})
	s.chapter("pool by pool: it takes the Services up whose pool it has, and leaves the others alone", func(s *story) {
		s.helm("upgrade", "clarion", chart(s), "--reuse-values", "--set", "mode=active")
		s.rolledOut(helmNamespace)
		s.expectCondition("kept", "Announced", "True Announced")
		s.holds(address)
		s.reach(address)
		s.expectCondition("other", "AddressAssigned", "False HeldByAnother")
		s.silent(other)
		s.apply(pool(converted, "second", true))
		s.expectCondition("other", "Announced", "True Announced")
		s.reach(other)
	})
	s.chapter("and back again: in observe mode it announces nothing, and the addresses are MetalLB's to take", func(s *story) {
		s.helm("upgrade", "clarion", chart(s), "--reuse-values", "--set", "mode=observe")
		s.rolledOut(helmNamespace)
		s.silent(address, other)
		s.holds(address)
		s.helm("upgrade", "clarion", chart(s), "--reuse-values", "--set", "mode=active")
		s.rolledOut(helmNamespace)
		s.expectCondition("kept", "Announced", "True Announced")
		s.holds(address)
		s.reach(address)
	})
	s.chapter("nothing that Helm brought is changed while Clarion runs, and what is made meanwhile is not taken for Helm's", func(s *story) {
		s.inSync(s.helm("get", "manifest", "clarion"))
		// A GitOps tool deletes what bears its application's label and is in no manifest.
		if made := s.kubectl("-n", helmNamespace, "get", "leases,speakers,events", "--selector", "app.kubernetes.io/instance", "-o", "name"); made != "" {
			s.Errorf("made while Clarion runs, with the release's label:\n%s", made)
		}
	})
	s.chapter("metrics are for those whom the API server lets read them", scrape)
	s.chapter("upgraded to the next build while a client connects: no request is lost and no address moves", func(s *story) {
		owner := s.owner(address).Name
		watch := stage.StartWatchEvery(s.ctx, l, 50*time.Millisecond, address)
		s.helm("upgrade", "clarion", chart(s), "--reuse-values", "--set", "images.tag=next")
		s.rolledOut(helmNamespace)
		seen, err := watch.Stop()
		s.must(err)
		s.Log(seen[0])
		if seen[0].Failures > 0 {
			s.Errorf("requests were lost: %s", seen[0])
		}
		if now := s.owner(address).Name; now != owner {
			s.Errorf("the address has moved from %s to %s", owner, now)
		}
		s.eventually(time.Minute, func() error { // those before may be ending still
			on := s.kubectl("-n", helmNamespace, "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}")
			if strings.Count(on, ":next") != strings.Count(on, "clarion-") {
				return fmt.Errorf("images %s", on)
			}
			return nil
		})
	})
	s.chapter("uninstalled by Helm, the address stays, the conditions say so, CRDs and pools stay", func(s *story) {
		s.helm("uninstall", "clarion", "--wait")
		s.uninstalled(address)
		for _, kinds := range []string{"clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings", "jobs,serviceaccounts,deployments,daemonsets,secrets"} {
			for left := range strings.Lines(s.kubectl("-n", helmNamespace, "get", kinds, "-o", "name")) {
				if strings.Contains(left, "clarion") {
					s.Errorf("left behind: %s", left)
				}
			}
		}
	})
	checkout, err := supply.Checkout()
	s.must(err)
	manifest := filepath.Join(checkout, "deploy", "clarion.yaml")
	s.chapter("installed by the manifest, Clarion takes the Service up where it was", func(s *story) {
		s.kubectl("apply", "--server-side", "--force-conflicts", "-f", manifest)
		s.must(stage.WaitInstalled(s.ctx, l))
		s.expectCondition("kept", "AddressAssigned", "True Assigned")
		s.expectCondition("kept", "Announced", "True Announced")
		s.holds(address)
		s.reach(address)
	})
	s.chapter("uninstalled by the manifest, the same stays", func(s *story) {
		for _, workload := range []string{"daemonset/clarion-speaker", "deployment/clarion-controller"} {
			s.kubectl("-n", stage.Namespace, "delete", workload, "--cascade=foreground", "--timeout=120s")
		}
		s.kubectl("delete", "-f", manifest, "--selector", "app.kubernetes.io/component!=crds", "--ignore-not-found", "--timeout=120s")
		s.uninstalled(address)
		if left := s.kubectl("get", "namespaces,clusterroles,validatingadmissionpolicies", "-o", "name"); strings.Contains(left, "clarion") {
			s.Errorf("left behind:\n%s", left)
		}
	})
}

// metalLB makes what there is of MetalLB in a cluster that it serves: kinds, resources, Services with addresses. Its programs are not
// there: what they do beside Clarion is written here.
func metalLB(s *story, kept, other netip.Addr) {
	for _, kind := range []string{"IPAddressPool", "L2Advertisement"} {
		plural := strings.ToLower(kind) + "s"
		s.apply(fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s.metallb.io}
spec:
  group: metallb.io
  names: {kind: %s, plural: %s}
  scope: Namespaced
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`, plural, kind, plural))
	}
	s.kubectl("wait", "--for=condition=Established", "crd/ipaddresspools.metallb.io", "crd/l2advertisements.metallb.io", "--timeout=30s")
	s.kubectl("create", "namespace", "metallb-system")
	s.eventually(30*time.Second, func() error { // the kinds are served a moment later
		return s.lab.ApplyYAML(s.ctx, `{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: lan, namespace: metallb-system}, spec: {addresses: [10.99.64.0/24]}}
---
{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: second, namespace: metallb-system}, spec: {addresses: [10.99.65.0-10.99.65.63], autoAssign: false}}
---
{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: all, namespace: metallb-system}}
`)
	})
	for name, of := range map[string]struct {
		address     netip.Addr
		annotations map[string]string
	}{
		"kept":  {kept, map[string]string{"metallb.universe.tf/address-pool": "lan"}},
		"other": {other, map[string]string{"metallb.io/loadBalancerIPs": other.String()}},
	} {
		s.must(stage.Serve(s.ctx, s.lab, stage.Web{Name: name, Annotations: of.annotations}))
		s.kubectl("patch", "service", name, "--subresource=status", "--type=merge", "-p",
			fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":%q,"ipMode":"VIP"}]}}}`, of.address))
	}
}

// pool returns the converted objects with one pool alone, or without it.
func pool(converted, name string, with bool) string {
	var out []string
	for document := range strings.SplitSeq(converted, "\n---\n") {
		if strings.Contains(document, "kind: IPAddressPool") && strings.Contains(document, "name: "+name) != with {
			continue
		}
		out = append(out, document)
	}
	return strings.Join(out, "\n---\n")
}

// silent wants nobody to answer for addresses.
func (s *story) silent(addresses ...netip.Addr) {
	s.Helper()
	for _, a := range addresses {
		s.eventually(30*time.Second, func() error {
			s.must(s.lab.Client().Forget(a))
			if answer, err := s.lab.WhoAnswers(s.ctx, a); err == nil {
				return fmt.Errorf("%s is answered with %s", a, answer.MAC)
			}
			return nil
		})
	}
}

// buildPlugin makes kubectl clarion.
func buildPlugin(s *story) {
	s.Helper()
	checkout, err := supply.Checkout()
	s.must(err)
	build := exec.CommandContext(s.ctx, "go", "build", "-o", filepath.Join(s.lab.Dir(), "kubectl-clarion"), "./cmd/kubectl-clarion")
	build.Dir = checkout
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("building kubectl-clarion: %v\n%s", err, out)
	}
}

// clarion runs kubectl clarion and returns its output.
func (s *story) clarion(args ...string) string {
	s.Helper()
	argv := append([]string{"--target", fmt.Sprint(s.lab.ControlPlane().Machine().PID), "--net", "--", filepath.Join(s.lab.Dir(), "kubectl-clarion")}, args...)
	cmd := exec.CommandContext(s.ctx, "nsenter", argv...)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+s.lab.Kubeconfig())
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		s.Fatalf("kubectl clarion %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut.String())
	}
	s.Log(errOut.String())
	return string(out)
}

// chart is the directory of the chart.
func chart(s *story) string {
	s.Helper()
	checkout, err := supply.Checkout()
	s.must(err)
	return filepath.Join(checkout, "deploy", "chart")
}

func helmProgram(s *story) string { return filepath.Join(s.lab.Dir(), "helm") }

// buildHelm makes Helm, which takes minutes where it was never built before.
func buildHelm(s *story) {
	s.Helper()
	checkout, err := supply.Checkout()
	s.must(err)
	build := exec.CommandContext(s.ctx, "go", "build", "-modfile=tools/helm.mod", "-o", helmProgram(s), "helm.sh/helm/v4/cmd/helm")
	build.Dir = checkout
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("building helm: %v\n%s", err, out)
	}
}

// helm runs Helm in the chapter's cluster, where the control plane is.
func (s *story) helm(args ...string) string {
	s.Helper()
	argv := append([]string{"--target", fmt.Sprint(s.lab.ControlPlane().Machine().PID), "--net", "--", helmProgram(s), "--namespace", helmNamespace}, args...)
	cmd := exec.CommandContext(s.ctx, "nsenter", argv...)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+s.lab.Kubeconfig(), "HELM_CACHE_HOME="+s.lab.Dir(), "HELM_CONFIG_HOME="+s.lab.Dir(), "HELM_DATA_HOME="+s.lab.Dir())
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		s.Fatalf("helm %s: %v\n%s%s", strings.Join(args, " "), err, out, failed.Stderr)
	}
	s.must(err)
	return string(out)
}

// rolledOut waits until controller and speakers are what was applied last.
func (s *story) rolledOut(namespace string) {
	s.Helper()
	for _, workload := range []string{"deployment/clarion-controller", "daemonset/clarion-speaker"} {
		s.kubectl("-n", namespace, "rollout", "status", workload, "--timeout=240s")
	}
}

// inSync wants nothing to differ from manifests, as a GitOps tool would find it.
func (s *story) inSync(manifests string) {
	s.Helper()
	diff := s.lab.KubectlCommand(s.ctx, "-n", helmNamespace, "diff", "-f", "-")
	diff.Stdin = strings.NewReader(manifests)
	if out, err := diff.CombinedOutput(); err != nil {
		s.Errorf("kubectl diff: %v\n%s", err, out)
	}
}

// holds wants Service kept to have the address in its status, and no other.
func (s *story) holds(address netip.Addr) {
	s.Helper()
	if got := s.kubectl("get", "service", "kept", "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}"); got != address.String() {
		s.Errorf("the Service has %q, not %s", got, address)
	}
}

func (s *story) uninstalled(address netip.Addr) {
	s.Helper()
	s.expectCondition("kept", "AddressAssigned", "Unknown Uninstalled")
	s.expectCondition("kept", "Announced", "False Uninstalled")
	s.holds(address)
	if pools := s.kubectl("get", "ipaddresspools", "-o", "name"); !strings.Contains(pools, "/lan") {
		s.Errorf("pools %q", pools)
	}
}

// scrape reads a speaker's metrics as Prometheus does, from the LAN.
func scrape(s *story) {
	s.apply(`apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-reads-metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: clarion-metrics-reader}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: default}]
`)
	read := func(token string) string {
		s.Helper()
		ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
		defer cancel()
		// The certificate is made at each start: it encrypts, and proves nothing.
		client := http.Client{Transport: &http.Transport{DialContext: s.lab.Client().Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s:7957/metrics", s.lab.Nodes()[0].IPv4()), nil)
		s.must(err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		out, err := io.ReadAll(response.Body)
		if err != nil {
			return err.Error()
		}
		return response.Status + "\n" + string(out)
	}
	expect := func(what, token, want string) {
		s.Helper()
		s.eventually(30*time.Second, func() error {
			if got := read(token); !strings.Contains(got, want) {
				return fmt.Errorf("%s: no %q in %.300s", what, want, got)
			}
			return nil
		})
	}
	allowed := strings.TrimSpace(s.kubectl("create", "token", "prometheus"))
	expect("without a token", "", "401 ")
	expect("by a token that may not", strings.TrimSpace(s.kubectl("create", "token", "default")), "403 ")
	expect("by a token that may", allowed, "clarion_speaker_members 2")
	s.must(s.lab.ControlPlane().Cut())
	defer func() {
		s.must(s.lab.ControlPlane().Heal())
		s.must(s.lab.WaitNodesReady(s.ctx))
	}()
	expect("while the API server is away", allowed, "clarion_speaker_members 2")
}
