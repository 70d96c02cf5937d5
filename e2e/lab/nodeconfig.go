package lab

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/e2e/lab/pki"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// object is a piece of configuration as its documentation has it.
type object = map[string]any

// configure writes the configuration of a node's programs.
func (n *Node) configure(a *pki.Authority, i int) error {
	if err := os.WriteFile(n.file("containerd.toml"), []byte(n.containerdConfig()), 0o644); err != nil {
		return err
	}
	if err := os.Mkdir(n.file("cni"), 0o755); err != nil {
		return err
	}
	if err := writeJSON(n.file("cni/10-lab.conflist"), cniConfig(i)); err != nil {
		return err
	}
	if err := writeYAML(n.file("kubelet.yaml"), n.kubeletConfig(a)); err != nil {
		return err
	}
	return n.configureProxy()
}

func (n *Node) configureProxy() error {
	return writeYAML(n.file("kube-proxy.yaml"), n.proxyConfig())
}

// containerdConfig is of version 2, which containerd 1.6 wants and 2.x takes.
func (n *Node) containerdConfig() string {
	runc := "runc" // found in PATH
	return fmt.Sprintf(`version = 2

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt" # it would make /opt/containerd on the host

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true       # profiles belong to the whole computer
  restrict_oom_score_adj = true # without CAP_SYS_RESOURCE runc cannot lower it

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = %q

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, supply.PauseImage, runc, n.lab.Parts.CNI, n.file("cni"))
}

// cniConfig connects each pod with a cable of its own; routes to the pods of
// other nodes are static.
func cniConfig(i int) object {
	var ranges [][]object
	for _, pods := range podPrefixes(i) {
		ranges = append(ranges, []object{{"subnet": pods.String()}})
	}
	return object{
		"cniVersion": "1.0.0",
		"name":       "lab",
		"plugins": []object{
			{
				"type":   "ptp",
				"ipMasq": false,
				"ipam": object{
					"type":   "host-local",
					"ranges": ranges,
					"routes": []object{{"dst": "0.0.0.0/0"}, {"dst": "::/0"}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}
}

func (n *Node) kubeletConfig(a *pki.Authority) object {
	config := object{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
		"cgroupDriver":             "cgroupfs",
		"failCgroupV1":             false,
		// Tolerates settings that the kernel refuses in a namespace.
		"featureGates":      object{"KubeletInUserNamespace": true},
		"address":           n.IPv4().String(),
		"tlsCertFile":       a.Cert(n.Name + "-serving"),
		"tlsPrivateKeyFile": a.Key(n.Name + "-serving"),
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true},
			"x509":      object{"clientCAFile": a.CA()},
		},
		"authorization": object{"mode": "Webhook"},
		"resolvConf":    "",
		"clusterDNS":    []string{ServicesV4.Addr().Next().String()}, // there is none; without an address each pod warns
		"failSwapOn":    false,
		// The disk and the memory are not the node's, and images cannot be
		// pulled again.
		"evictionHard": object{
			"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
		},
		"imageGCHighThresholdPercent": 100,
		"volumePluginDir":             "/var/lib/kubelet/volumeplugins",
		// Deploying is what tests wait for.
		"registryPullQPS": 0,
	}
	if n.lab.Options.FastNodeFailure {
		config["nodeStatusUpdateFrequency"] = fastStatusEvery.String()
		config["nodeLeaseDurationSeconds"] = fastLeaseSeconds
	}
	return config
}

func (n *Node) proxyConfig() object {
	return object{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"mode":               n.lab.Options.ProxyMode,
		"bindAddress":        n.IPv4().String(),
		"healthzBindAddress": "0.0.0.0:10256",
		"metricsBindAddress": "127.0.0.1:10249",
		"clientConnection":   object{"kubeconfig": n.lab.kubeconfig(KubeProxy)},
		"hostnameOverride":   n.Name,
		"clusterCIDR":        PodsV4.String() + "," + PodsV6.String(),
		"detectLocalMode":    "ClusterCIDR",
		// Its conntrack settings are the whole computer's: keep off.
		"conntrack": object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}

func writeYAML(file string, v any) error {
	content, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}
