package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/deploy/images"
	"github.com/clarion-lb/clarion/e2e/app/web"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

const webImage = "localhost/clarion-lab-web:test"

// buildWeb builds the image of the test server.
func buildWeb(t *testing.T) string {
	t.Helper()
	checkout, err := supply.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "app")
	cmd := exec.Command("go", "build", "-o", program, "./e2e/app")
	cmd.Dir = checkout
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	archive := filepath.Join(dir, "web.tar")
	image := images.Image{Name: webImage, Binaries: map[string]string{runtime.GOARCH: program}, Path: "/app", User: images.User}
	if err := image.WriteFile(archive); err != nil {
		t.Fatal(err)
	}
	return archive
}

// webOnEachNode is one Pod on every node, and a dual-stack Service before them.
const webOnEachNode = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: web
        image: ` + webImage + `
        args: [serve]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
        resources: {limits: {memory: 64Mi}, requests: {cpu: 10m}}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`

// ask asks the test server at an address, from a host.
func ask(ctx context.Context, h *Host, address netip.AddrPort) (web.Answer, error) {
	client := http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.Dial},
	}
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+address.String()+"/", nil)
	if err != nil {
		return web.Answer{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return web.Answer{}, err
	}
	defer response.Body.Close()
	var a web.Answer
	return a, json.NewDecoder(response.Body).Decode(&a)
}

// eventually waits until is finds nothing wrong.
func eventually(t *testing.T, what string, within time.Duration, is func(context.Context) error) {
	t.Helper()
	begin := time.Now()
	if err := poll(t.Context(), within, is); err != nil {
		t.Fatalf("not within %s: %s: %v", within, what, err)
	}
	t.Logf("%s after %s", what, time.Since(begin).Round(10*time.Millisecond))
}

// reachable waits until every address answers on port 80 from the host.
func reachable(t *testing.T, h *Host, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		target := netip.AddrPortFrom(netip.MustParseAddr(a), 80)
		eventually(t, target.String()+" answers "+h.Name, 10*time.Second, func(ctx context.Context) error {
			_, err := ask(ctx, h, target)
			return err
		})
	}
}

// rolledOut waits until all Pods of web are ready.
func rolledOut(t *testing.T, l *Lab, pods int) {
	t.Helper()
	client, err := l.Clientset()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("%d Pods ready", pods), time.Minute, func(ctx context.Context) error {
		ds, err := client.AppsV1().DaemonSets("default").Get(ctx, "web", metav1.GetOptions{})
		if err == nil && int(ds.Status.NumberReady) != pods {
			err = fmt.Errorf("%d of %d Pods are ready", ds.Status.NumberReady, pods)
		}
		return err
	})
}

// patchIngress gives the Service web two addresses, which the client and the
// nodes find at a node, and returns all addresses that should answer.
func patchIngress(t *testing.T, l *Lab, at *Node) (external, cluster []string) {
	t.Helper()
	client, err := l.Clientset()
	if err != nil {
		t.Fatal(err)
	}
	service, err := client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	external = []string{PoolV4.Addr().Next().String(), PoolV6.Addr().Next().String()}
	for i, via := range []netip.Addr{at.IPv4(), at.IPv6()} {
		service.Status.LoadBalancer.Ingress = append(service.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: external[i]})
		to := netip.MustParseAddr(external[i])
		if err := l.Client().AddRoutes(Route{To: netip.PrefixFrom(to, to.BitLen()), Via: via}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.CoreV1().Services("default").UpdateStatus(t.Context(), service, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return external, service.Spec.ClusterIPs
}

func TestClusterOfRealNodes(t *testing.T) {
	archive := buildWeb(t)
	before := traceHost(t)
	l := Up(t, Options{FastNodeFailure: true})
	ctx := t.Context()
	client, err := l.Clientset()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.LoadImage(ctx, archive); err != nil {
		t.Fatal(err)
	}
	if err := l.ApplyYAML(ctx, webOnEachNode); err != nil {
		t.Fatal(err)
	}
	rolledOut(t, l, 3)
	external, cluster := patchIngress(t, l, l.Node("node2"))

	t.Run("pods answer on cluster addresses of both families", func(t *testing.T) {
		reachable(t, l.Node("node1").Host, cluster...)
	})
	t.Run("pods answer the client on external addresses of both families", func(t *testing.T) {
		reachable(t, l.Client(), external...)
	})
	t.Run("logs and exec reach the kubelets", func(t *testing.T) {
		out, err := l.Kubectl(ctx, "logs", "daemonset/web")
		if err != nil || !strings.Contains(out, "serving") {
			t.Errorf("%q, %v", out, err)
		}
		if _, err := l.Kubectl(ctx, "exec", "daemonset/web", "--", "/app", "probe", "--help"); err != nil {
			t.Error(err)
		}
	})
	t.Run("each node knows only its own containers", func(t *testing.T) {
		out, err := l.Node("node1").Exec(ctx, "ctr", "--namespace", "k8s.io", "containers", "list", "--quiet")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(strings.Fields(out)); n != 2 {
			t.Errorf("%d containers on node1, want the Pod's and its pause", n)
		}
	})

	readyIs := func(name string, want corev1.ConditionStatus) func(context.Context) error {
		return func(ctx context.Context) error {
			node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range node.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status == want {
					return nil
				}
			}
			return fmt.Errorf("Ready of %s is not %s", name, want)
		}
	}
	t.Run("a node that is cut is NotReady soon, and Ready after it was healed", func(t *testing.T) {
		n := l.Node("node3")
		if err := n.Cut(); err != nil {
			t.Fatal(err)
		}
		if link := n.Status(ctx).Link; link != "cut" {
			t.Errorf("its link is %q", link)
		}
		if carrier, err := n.Exec(ctx, "cat", "/sys/class/net/eth0/carrier"); err != nil || strings.TrimSpace(carrier) != "0" {
			t.Errorf("its carrier is %q, %v", carrier, err)
		}
		eventually(t, "NotReady", 20*time.Second, readyIs(n.Name, corev1.ConditionUnknown))
		if err := n.Heal(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Ready", 20*time.Second, readyIs(n.Name, corev1.ConditionTrue))
	})

	t.Run("a node whose power was cycled serves its pods again", func(t *testing.T) {
		n := l.Node("node1")
		if err := n.PowerOff(); err != nil {
			t.Fatal(err)
		}
		if n.Machine().Alive() || n.Status(ctx).Power != "off" {
			t.Error("it is on")
		}
		if _, err := l.Client().Dial(ctx, "tcp", netip.AddrPortFrom(n.IPv4(), 10250).String()); err == nil {
			t.Error("its kubelet answers")
		}
		if err := n.PowerOn(ctx); err != nil {
			t.Fatal(err)
		}
		if err := n.PowerOn(ctx); err == nil {
			t.Error("its power comes on twice")
		}
		if err := n.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		// Its own Pod, and not another's answer: by the Pod's address.
		eventually(t, "its Pod answers", 30*time.Second, func(ctx context.Context) error {
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web", FieldSelector: "spec.nodeName=" + n.Name})
			if err != nil || len(pods.Items) != 1 {
				return fmt.Errorf("its Pods are %v, %w", pods.Items, err)
			}
			ip, err := netip.ParseAddr(pods.Items[0].Status.PodIP)
			if err != nil {
				return err
			}
			a, err := ask(ctx, l.ControlPlane(), netip.AddrPortFrom(ip, 8080))
			if err == nil && a.Node != n.Name {
				err = fmt.Errorf("%s answers", a.Node)
			}
			return err
		})
		reachable(t, n.Host, cluster...)
	})

	t.Run("the API server comes back after it was stopped", func(t *testing.T) {
		cp := l.ControlPlane()
		if err := cp.Stop(ctx, APIServer, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Kubectl(ctx, "get", "nodes", "--request-timeout=1s"); err == nil {
			t.Error("it answers")
		}
		reachable(t, l.Client(), external...)
		if err := cp.Restart(ctx, APIServer); err != nil {
			t.Fatal(err)
		}
		if err := l.waitAPIServer(ctx); err != nil {
			t.Fatal(err)
		}
	})

	namespaces := namespacesOf(t, l.Name)
	if err := Destroy(context.Background(), l.Name); err != nil {
		t.Fatal(err)
	}
	noTraceOf(t, l.Name, before)
	noProcessIn(t, namespaces)
}

func TestTenRealNodes(t *testing.T) {
	l := Up(t, Options{Nodes: 10})
	err := l.ApplyYAML(t.Context(), `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: pause, image: "`+supply.PauseImage+`"}]
`)
	if err != nil {
		t.Fatal(err)
	}
	rolledOut(t, l, 10)
}

func TestClusterOfLightNodes(t *testing.T) {
	l := Up(t, Options{Light: true, Nodes: 4, FastNodeFailure: true})
	other := Up(t, Options{Light: true, Nodes: 1})
	ctx := t.Context()
	client, err := l.Clientset()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ApplyYAML(ctx, webOnEachNode); err != nil {
		t.Fatal(err)
	}
	rolledOut(t, l, 4)
	external, cluster := patchIngress(t, l, l.Node("node2"))

	t.Run("pods answer on all addresses of both families", func(t *testing.T) {
		reachable(t, l.Node("node1").Host, cluster...)
		reachable(t, l.Client(), external...)
	})
	t.Run("the server says which pod it is and whom it sees", func(t *testing.T) {
		a, err := ask(ctx, l.Client(), netip.AddrPortFrom(netip.MustParseAddr(external[0]), 80))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(a.Pod, "web-") || !strings.HasPrefix(a.Node, "node") || a.Client == "" {
			t.Errorf("%+v", a)
		}
	})
	t.Run("a pod that is not ready gets no requests", func(t *testing.T) {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web", FieldSelector: "spec.nodeName=node4"})
		if err != nil || len(pods.Items) != 1 {
			t.Fatal(pods, err)
		}
		pod := pods.Items[0].Name
		if _, err := l.Kubectl(ctx, "annotate", "pod", pod, "lab.clarion.dev/ready=false"); err != nil {
			t.Fatal(err)
		}
		rolledOut(t, l, 3)
		if _, err := l.Kubectl(ctx, "annotate", "pod", pod, "lab.clarion.dev/ready-"); err != nil {
			t.Fatal(err)
		}
		rolledOut(t, l, 4)
	})
	t.Run("a pod that is deleted is replaced", func(t *testing.T) {
		if _, err := l.Kubectl(ctx, "delete", "pod", "-l", "app=web"); err != nil {
			t.Fatal(err)
		}
		rolledOut(t, l, 4)
		reachable(t, l.Client(), external...)
	})
	t.Run("a node that is cut, or whose kubelet is dead, is NotReady", func(t *testing.T) {
		if err := l.Node("node3").Cut(); err != nil {
			t.Fatal(err)
		}
		if err := l.Node("node4").Stop(ctx, LightKubelet, time.Second); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"node3", "node4"} {
			eventually(t, name+" is NotReady", 20*time.Second, func(ctx context.Context) error {
				node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
				if err == nil && notReady(node, time.Time{}) == nil {
					err = errors.New("it is Ready")
				}
				return err
			})
		}
		if err := l.Node("node3").Heal(); err != nil {
			t.Fatal(err)
		}
		if err := l.Node("node4").Restart(ctx, LightKubelet); err != nil {
			t.Fatal(err)
		}
		if err := l.WaitNodesReady(ctx); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a node whose power was cycled serves its pods again", func(t *testing.T) {
		n := l.Node("node1")
		if err := n.PowerOff(); err != nil {
			t.Fatal(err)
		}
		if err := n.PowerOn(ctx); err != nil {
			t.Fatal(err)
		}
		if err := n.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		rolledOut(t, l, 4)
		reachable(t, n.Host, cluster...)
	})
	t.Run("the control plane comes back with what it knew, and nobody misses it meanwhile", func(t *testing.T) {
		cp := l.ControlPlane()
		if err := cp.PowerOff(); err != nil {
			t.Fatal(err)
		}
		reachable(t, l.Client(), external...)
		if err := cp.PowerOn(ctx); err != nil {
			t.Fatal(err)
		}
		if err := l.waitAPIServer(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Kubectl(ctx, "rollout", "restart", "daemonset/web"); err != nil {
			t.Fatal(err)
		}
		// The controllers may have met an API server that was not ready for them.
		if _, err := l.Kubectl(ctx, "rollout", "status", "daemonset/web", "--timeout=60s"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a process can be a service account, on a node", func(t *testing.T) {
		file, err := l.ServiceAccountKubeconfig(ctx, "default", "default", l.Node("node2"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := l.Kubectl(ctx, "--kubeconfig", file, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.extra.authentication\\.kubernetes\\.io/node-name}")
		if want := `system:serviceaccount:default:default ["node2"]`; err != nil || out != want {
			t.Errorf("it is %s, %v; want %s", out, err, want)
		}
	})
	t.Run("another lab knows nothing of it", func(t *testing.T) {
		out, err := other.Kubectl(ctx, "get", "pods", "-A", "-o", "name")
		if err != nil || out != "" {
			t.Errorf("%q, %v", out, err)
		}
	})
}
