package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker"
)

// flags are the settings as they are given.
type flags struct {
	kubeconfig string
	namespace  string
	mode       string
	classes    []string
	unclassed  bool
	metrics    string
	auth       string
	health     string
	logLevel   string
	logFormat  string

	nodeName           string
	ignoreExcludeLabel bool
	gossipPort         uint16
	gossipAddress      string
}

func command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "clarion-speaker",
		Short: "Announce the addresses of LoadBalancer Services from this node",
		Long: `Announce the addresses of LoadBalancer Services from this node, by ARP and NDP.

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
			if err := fromEnvironment(c.Flags(), os.LookupEnv); err != nil {
				return err
			}
			o, err := f.options(c.ErrOrStderr())
			if err != nil {
				return err
			}
			return speaker.Run(c.Context(), o)
		},
	}
	f.register(c.Flags())
	return c
}

func (f *flags) register(s *pflag.FlagSet) {
	s.SortFlags = false
	s.StringVar(&f.kubeconfig, "kubeconfig", "", "Kubeconfig file to reach the API server with. Default: the Pod's service account.")
	s.StringVar(&f.namespace, "namespace", "clarion-system", "Namespace that Clarion is installed in.")
	s.StringVar(&f.nodeName, "node-name", "", "Name of the Node that this speaker runs on. Default: $NODE_NAME, else the host's name.")
	s.StringVar(&f.mode, "mode", "active", "active announces; observe looks only: it announces and writes nothing.")
	s.StringSliceVar(&f.classes, "load-balancer-classes", []string{v1beta1.DefaultLoadBalancerClass}, "Values of spec.loadBalancerClass whose Services are served.")
	s.BoolVar(&f.unclassed, "serve-unclassed-services", true, "Serve Services without a spec.loadBalancerClass.")
	s.BoolVar(&f.ignoreExcludeLabel, "ignore-exclude-label", false, "Announce also from nodes with the label "+v1beta1.LabelExcludeNode+".")
	s.Uint16Var(&f.gossipPort, "gossip-port", 7956, "TCP and UDP port that speakers talk with each other on, the same on all nodes.")
	s.StringVar(&f.gossipAddress, "gossip-bind-address", "", "Address to talk with the other speakers on. Default: the Node's InternalIP.")
	s.StringVar(&f.metrics, "metrics-bind-address", ":7957", "Address and port that serve /metrics; 0 serves none.")
	s.StringVar(&f.auth, "metrics-auth", "token", "token serves metrics by HTTPS to whom the API server allows to read them; none by HTTP to everybody.")
	s.StringVar(&f.health, "health-bind-address", "127.0.0.1:7958", "Address and port that serve /healthz and /readyz.")
	s.StringVar(&f.logLevel, "log-level", "info", "Least level that is logged: debug, info, warn or error.")
	s.StringVar(&f.logFormat, "log-format", "json", "json or text.")
}

// fromEnvironment sets the flags that were not given from CLARION_<FLAG>.
func fromEnvironment(s *pflag.FlagSet, lookup func(string) (string, bool)) (err error) {
	s.VisitAll(func(f *pflag.Flag) {
		name := "CLARION_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, found := lookup(name); found && !f.Changed && err == nil {
			if e := s.Set(f.Name, value); e != nil {
				err = fmt.Errorf("%s: %w", name, e)
			}
		}
	})
	return err
}

// options checks the settings and makes of them what a speaker runs with.
func (f *flags) options(logs io.Writer) (speaker.Options, error) {
	o := speaker.Options{
		Namespace:          f.namespace,
		NodeName:           f.nodeName,
		Classes:            v1beta1.ServiceClasses{Classes: f.classes, Unclassed: f.unclassed},
		IgnoreExcludeLabel: f.ignoreExcludeLabel,
		GossipPort:         f.gossipPort,
		MetricsAddress:     f.metrics,
		HealthAddress:      f.health,
		Version:            version,
		Registry:           metrics.Registry,
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
	var err error
	if o.Observe, err = oneOf("--mode", f.mode, "observe", "active"); err != nil {
		return o, err
	}
	if o.MetricsAuth, err = oneOf("--metrics-auth", f.auth, "token", "none"); err != nil {
		return o, err
	}
	if o.Log, err = logger(logs, f.logLevel, f.logFormat); err != nil {
		return o, err
	}
	if o.Config, err = apiServer(f.kubeconfig); err != nil {
		return o, fmt.Errorf("no way to the API server (outside a Pod give --kubeconfig): %w", err)
	}
	rest.AddUserAgent(o.Config, "clarion-speaker/"+version)
	return o, nil
}

// apiServer returns how to reach the API server.
func apiServer(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// oneOf reports whether a setting is the first of its two values.
func oneOf(flag, value, first, second string) (bool, error) {
	switch value {
	case first, second:
		return value == first, nil
	}
	return false, fmt.Errorf("%s is %q: give %s or %s", flag, value, first, second)
}

// logger makes the process's logger, which the libraries use too.
func logger(w io.Writer, level, format string) (*slog.Logger, error) {
	options := &slog.HandlerOptions{}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level is %q: give debug, info, warn or error", level)
	}
	options.Level = l
	json, err := oneOf("--log-format", format, "json", "text")
	if err != nil {
		return nil, err
	}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if json {
		h = slog.NewJSONHandler(w, options)
	}
	h = speaker.Quiet(h)
	ctrl.SetLogger(logr.FromSlogHandler(h))
	klog.SetSlogLogger(slog.New(h))
	return slog.New(h), nil
}
