package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
	"github.com/clarion-lb/clarion/e2e/lab/machine"
	"github.com/clarion-lb/clarion/e2e/lab/pki"
)

// Names of a node's processes.
const (
	Containerd = "containerd"
	Kubelet    = "kubelet"
	KubeProxy  = "kube-proxy"
)

// Node is a host that is a node of the cluster.
type Node struct {
	*Host
}

// addNode adds the i-th node and starts what belongs on it.
func (l *Lab) addNode(ctx context.Context, certificates *pki.Authority, i int) error {
	if l.Options.Light {
		return l.addLightNode(ctx, i)
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	n := l.Node(nodeName(i))
	_, err = l.AddHost(ctx, HostSpec{
		Name:       n.Name,
		Interfaces: []Interface{{Segment: lanName, Addresses: lanAddresses(nodePlace(i))}},
		Routes:     append(podRoutes(l.Options.Nodes, i), defaultRoutes()...),
		Forward:    true,
		Machine: machine.Spec{
			// The usual directories of kubelet and containerd are the node's own,
			// so that no path needs to be told and no two nodes meet.
			Mounts: []machine.Mount{
				{Type: "bind", Source: n.file("var-lib"), Target: "/var/lib"},
				{Type: "bind", Source: n.file("var-log"), Target: "/var/log"},
			},
			// The kubelet insists on these, which are the whole computer's.
			Shadows: map[string]string{
				"vm/overcommit_memory":      "1",
				"vm/panic_on_oom":           "0",
				"kernel/panic":              "10",
				"kernel/panic_on_oops":      "1",
				"kernel/keys/root_maxkeys":  "1000000",
				"kernel/keys/root_maxbytes": "25000000",
			},
			Layout: layout,
		},
	})
	if err != nil {
		return err
	}
	if err := n.configure(certificates, i); err != nil {
		return err
	}
	return n.start(ctx)
}

// start starts a node's programs and returns when they run, which is before the
// node is ready.
func (n *Node) start(ctx context.Context) error {
	if n.lab.Options.Light {
		return n.startLight(ctx)
	}
	if err := n.launch(ctx, Process{Name: Containerd, Restart: true, Args: []string{"containerd", "--config", n.file("containerd.toml")}}); err != nil {
		return err
	}
	if err := n.waitContainerd(ctx); err != nil {
		return err
	}
	if err := n.importImages(ctx); err != nil {
		return err
	}
	err := n.launch(ctx, Process{Name: Kubelet, Restart: true, Args: []string{
		"kubelet",
		"--config", n.file("kubelet.yaml"),
		"--kubeconfig", n.lab.kubeconfig(n.Name),
		"--hostname-override", n.Name,
		"--node-ip", n.IPv4().String() + "," + n.IPv6().String(),
		"--v", "2",
	}})
	if err != nil {
		return err
	}
	return n.startProxy(ctx)
}

func (n *Node) startProxy(ctx context.Context) error {
	if n.lab.Options.ProxyMode == proxyNone {
		return nil
	}
	return n.launch(ctx, Process{Name: KubeProxy, Restart: true, Args: []string{"kube-proxy", "--config", n.file("kube-proxy.yaml")}})
}

// waitContainerd returns when containerd takes connections.
func (n *Node) waitContainerd(ctx context.Context) error {
	socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", n.Machine().PID)
	err := poll(ctx, nodePatience, func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("containerd on %s does not answer: %w; see %s", n.Name, err, filepath.Base(n.LogFile(Containerd)))
	}
	return nil
}

// agent is the process that reports the node to the API server.
func (n *Node) agent() string {
	if n.lab.Options.Light {
		return LightKubelet
	}
	return Kubelet
}

// booted is when the node's power came on last.
func (n *Node) booted() time.Time {
	info, err := os.Stat(n.file("pid"))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
