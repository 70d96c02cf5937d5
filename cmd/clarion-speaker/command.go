package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/internal/program"
	"github.com/clarion-lb/clarion/speaker"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// flags are the settings as they are given.
type flags struct {
	program.Settings
	nodeName           string
	ignoreExcludeLabel bool
	gossipPort         uint16
	gossipAddress      string
	onStop             string
	daemonSet          string
	proxyHealth        string
	heartbeat          time.Duration
	standIn            bool
	takeOver           time.Duration
}

func command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "clarion-speaker",
		Short: "Announce the addresses of LoadBalancer Services from this node",
		Long: `Announce the addresses of LoadBalancer Services from this node, by ARP, NDP and BGP.

It usually runs as the DaemonSet that Clarion's manifest brings:

  kubectl apply -f clarion.yaml

Outside a Pod, as root or with CAP_NET_RAW:

  clarion-speaker --kubeconfig=/etc/clarion/kubeconfig --node-name=$(hostname)

Each flag can also be set by environment: --node-name by CLARION_NODE_NAME, and so on; flags win.`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := program.FromEnvironment(c.Flags(), os.LookupEnv); err != nil {
				return err
			}
			o, err := f.options(c.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := program.ServePprof(c.Context(), f.Pprof); err != nil {
				return err
			}
			o.Registry.MustRegister(program.BuildInfo("speaker", version))
			return speaker.Run(c.Context(), o)
		},
	}
	f.register(c.Flags())
	return c
}

func (f *flags) register(s *pflag.FlagSet) {
	s.SortFlags = false
	f.RegisterUsual(s, "active announces; observe looks only: it neither announces nor writes anything.")
	s.StringVar(&f.nodeName, "node-name", "", "Name of the Node that this speaker runs on. Default: $NODE_NAME, else the host's name.")
	s.BoolVar(&f.ignoreExcludeLabel, "ignore-exclude-label", false, "Announce also from nodes with the label "+v1beta1.LabelExcludeNode+".")
	s.Uint16Var(&f.gossipPort, "gossip-port", 7956, "TCP and UDP port that speakers talk with each other on, the same on all nodes.")
	s.StringVar(&f.gossipAddress, "gossip-bind-address", "", "Address to talk with the other speakers on. Default: the Node's InternalIP.")
	s.StringVar(&f.onStop, "on-stop", string(speaker.StopAuto), "What becomes of this node's addresses when the speaker is stopped: restart keeps them here, leave hands them over, auto decides by what the Node and the DaemonSet say.")
	s.StringVar(&f.daemonSet, "daemonset", "clarion-speaker", "Name of the DaemonSet that runs the speakers, asked on a stop.")
	s.StringVar(&f.proxyHealth, "kube-proxy-health", "127.0.0.1:10256", "Address and port of kube-proxy's health check on this node; 0 for none.")
	s.DurationVar(&f.heartbeat, "heartbeat-interval", detection.DefaultInterval, fmt.Sprintf("Time between two heartbeats, %s to %s: how fast a lost node is noticed goes with it.", detection.MinInterval, detection.MaxInterval))
	s.BoolVar(&f.standIn, "stand-in", true, "Answer for the addresses of nodes whose speakers are silent, with those nodes' MACs. Dynamic ARP Inspection may forbid it.")
	s.DurationVar(&f.takeOver, "take-over-after", ownership.DefaultTakeOver, "Time after which the addresses of a node whose speaker stays silent are moved.")
	f.RegisterWatching(s, ":7957", "127.0.0.1:7958")
}

// options checks the settings and makes of them what a speaker runs with.
func (f *flags) options(logs io.Writer) (speaker.Options, error) {
	o := speaker.Options{
		Namespace:          f.Namespace,
		NodeName:           f.nodeName,
		Classes:            f.Classes,
		IgnoreExcludeLabel: f.ignoreExcludeLabel,
		GossipPort:         f.gossipPort,
		MetricsAddress:     f.Metrics,
		HealthAddress:      f.Health,
		Version:            version,
		Registry:           metrics.Registry,
		Stop:               speaker.StopMode(f.onStop),
		DaemonSet:          f.daemonSet,
		ProxyHealth:        f.proxyHealth,
		HeartbeatInterval:  f.heartbeat,
		NoStandIn:          !f.standIn,
		TakeOver:           f.takeOver,
	}
	if !slices.Contains([]speaker.StopMode{speaker.StopAuto, speaker.StopRestart, speaker.StopLeave}, o.Stop) {
		return o, fmt.Errorf("--on-stop is %q: give auto, restart or leave", f.onStop)
	}
	if o.ProxyHealth == "0" {
		o.ProxyHealth = ""
	}
	if o.ProxyHealth != "" {
		if _, err := netip.ParseAddrPort(o.ProxyHealth); err != nil {
			return o, fmt.Errorf("--kube-proxy-health is %q: give an IP address and a port, or 0", f.proxyHealth)
		}
	}
	if f.heartbeat < detection.MinInterval || f.heartbeat > detection.MaxInterval {
		return o, fmt.Errorf("--heartbeat-interval is %s: give %s to %s", f.heartbeat, detection.MinInterval, detection.MaxInterval)
	}
	if f.takeOver < time.Second {
		return o, fmt.Errorf("--take-over-after is %s: give a second at least; to have no stand-ins say --stand-in=false", f.takeOver)
	}
	if err := o.Classes.Validate(); err != nil {
		return o, err
	}
	if o.NodeName == "" {
		o.NodeName = os.Getenv("NODE_NAME")
	}
	if o.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("the host's name can't be read, give --node-name: %w", err)
		}
		o.NodeName = strings.ToLower(host)
	}
	if f.gossipAddress != "" {
		a, err := netip.ParseAddr(f.gossipAddress)
		if err != nil {
			return o, fmt.Errorf("--gossip-bind-address: %w", err)
		}
		o.GossipAddress = a.Unmap()
	}
	if f.gossipPort == 0 {
		return o, fmt.Errorf("--gossip-port is 0: give the port that all speakers use")
	}
	base, err := f.Base(logs, "clarion-speaker", version)
	if err != nil {
		return o, err
	}
	o.Config, o.Log, o.MetricsFilter, o.Observe = base.Config, base.Log, base.MetricsFilter, base.Observe
	return o, nil
}
