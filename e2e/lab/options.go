package lab

import (
	"fmt"
	"regexp"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Options say what a lab is like. The zero value is three real nodes.
type Options struct {
	// Name tells labs of one machine apart. Default "lab"; in [Up] the name of
	// the test process.
	Name string
	// Nodes is the number of nodes, 3 by default.
	Nodes int
	// Light has the nodes' objects kept by the lab instead of kubelets.
	Light bool
	// ProxyMode is kube-proxy's: "nftables" (default), "iptables", or "none"
	// for nodes without kube-proxy.
	ProxyMode string
	// FastNodeFailure has Kubernetes notice a dead node in about 8 seconds
	// instead of about 50.
	FastNodeFailure bool
	// Keep leaves what there is of the lab when it does not come up, and the lab
	// of a test when the test ends.
	Keep bool
	// Progress is told what happens, where somebody watches.
	Progress supply.Progress `json:"-"`
}

// With Options.FastNodeFailure a node shows signs of life more often, and the
// controller waits for them less long.
const (
	fastLeaseSeconds  = 4
	fastStatusEvery   = 2 * time.Second
	fastGrace         = 8 * time.Second
	fastMonitorPeriod = time.Second
)

const (
	proxyNFTables = "nftables"
	proxyIPTables = "iptables"
	proxyNone     = "none"
)

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,23}$`)

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "lab"
	}
	if !validName.MatchString(o.Name) {
		return o, fmt.Errorf("lab name %q: want a letter, then at most 23 letters, digits and dashes, all small", o.Name)
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return o, fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, MaxNodes)
	}
	switch o.ProxyMode {
	case "":
		o.ProxyMode = proxyNFTables
	case proxyNFTables, proxyIPTables, proxyNone:
	default:
		return o, fmt.Errorf("proxy mode %q: want %s, %s or %s", o.ProxyMode, proxyNFTables, proxyIPTables, proxyNone)
	}
	return o, nil
}
