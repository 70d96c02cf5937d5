package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/internal/program"
	"github.com/clarion-lb/clarion/cmd/internal/reviews"
	"github.com/clarion-lb/clarion/controller"
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
	pprof      string
	logs       program.Logs

	leaderElect   bool
	identity      string
	leaseDuration time.Duration
	renewDeadline time.Duration
	retryPeriod   time.Duration
	workers       int
}

func command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "clarion-controller",
		Short: "Give Services of type LoadBalancer addresses from pools",
		Long: `Give Services of type LoadBalancer addresses from pools.

It usually runs as the Deployment that Clarion's manifest brings:

  kubectl apply -f clarion.yaml

Outside a Pod:

  clarion-controller --kubeconfig=/etc/clarion/kubeconfig

To see what it would do, and have it write nothing:

  clarion-controller --kubeconfig=$HOME/.kube/config --mode=observe --log-format=text

Each flag can also be set by environment: --namespace by CLARION_NAMESPACE, and so on; flags win.`,
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
			sparing()
			if err := program.ServePprof(c.Context(), f.pprof); err != nil {
				return err
			}
			metrics.Registry.MustRegister(program.BuildInfo("controller", version))
			return controller.Run(c.Context(), o)
		},
	}
	f.register(c.Flags())
	c.CompletionOptions.DisableDefaultCmd = true
	c.AddCommand(uninstalled())
	return c
}

// uninstalled is what the chart's hook runs when everything else is gone.
func uninstalled() *cobra.Command {
	var kubeconfig string
	var logs program.Logs
	c := &cobra.Command{
		Use:   "uninstalled",
		Short: "Say on every Service of Clarion's that it has been uninstalled, and leave the addresses",
		Long: `Say in the conditions of every Service that Clarion serves that it has been uninstalled. The addresses stay.

The Helm chart runs it after everything else was deleted. While a controller or a speaker runs, it says otherwise again.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := logs.Handler(c.ErrOrStderr())
			if err != nil {
				return err
			}
			program.UseForLibraries(h)
			config, err := program.APIServer(kubeconfig)
			if err != nil {
				return err
			}
			rest.AddUserAgent(config, "clarion-controller/"+version)
			return controller.MarkUninstalled(c.Context(), config, slog.New(h))
		},
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "Kubeconfig file to reach the API server with. Default: the Pod's service account.")
	logs.Register(c.Flags())
	return c
}

func (f *flags) register(s *pflag.FlagSet) {
	s.SortFlags = false
	s.StringVar(&f.kubeconfig, "kubeconfig", "", "Kubeconfig file to reach the API server with. Default: the Pod's service account.")
	s.StringVar(&f.namespace, "namespace", controller.DefaultNamespace, "Namespace that Clarion is installed in, of the Lease and the gossip keys.")
	s.StringVar(&f.mode, "mode", "active", "active assigns; observe looks only: it reports what it would write, and writes nothing.")
	s.StringSliceVar(&f.classes, "load-balancer-classes", []string{clarion.DefaultLoadBalancerClass}, "Values of spec.loadBalancerClass whose Services are served.")
	s.BoolVar(&f.unclassed, "serve-unclassed-services", true, "Serve Services without a spec.loadBalancerClass.")
	s.BoolVar(&f.leaderElect, "leader-elect", true, "Write only while holding the Lease, so that several replicas can run.")
	s.StringVar(&f.identity, "identity", "", "Name of this process in the Lease. Default: the host's name and a random part.")
	s.DurationVar(&f.leaseDuration, "lease-duration", controller.DefaultLeaseDuration, "How long after the last renewal another replica may take the Lease.")
	s.DurationVar(&f.renewDeadline, "lease-renew-deadline", controller.DefaultRenewDeadline, "How long the leader tries to renew the Lease before it steps down. Less than the duration.")
	s.DurationVar(&f.retryPeriod, "lease-retry-period", controller.DefaultRetryPeriod, "Pause between tries to get or to renew the Lease.")
	s.IntVar(&f.workers, "workers", controller.DefaultWorkers, "How many Services are written at the same time.")
	s.StringVar(&f.metrics, "metrics-bind-address", ":7966", "Address and port that serve /metrics; 0 serves none.")
	s.StringVar(&f.auth, "metrics-auth", "token", "token serves metrics by HTTPS to whom the API server allows to read them; none by HTTP to everybody.")
	s.StringVar(&f.health, "health-bind-address", ":7967", "Address and port that serve /healthz and /readyz; 0 serves none.")
	s.StringVar(&f.pprof, "pprof-bind-address", "0", "Loopback address and port that serve /debug/pprof, such as 127.0.0.1:6060; 0 serves none.")
	f.logs.Register(s)
}

// options checks the settings and makes of them what a controller runs with.
func (f *flags) options(logs io.Writer) (controller.Options, error) {
	o := controller.Options{
		Namespace:          f.namespace,
		Classes:            clarion.ServiceClasses{Classes: f.classes, Unclassed: f.unclassed},
		LeaderElect:        f.leaderElect,
		Identity:           f.identity,
		LeaseDuration:      f.leaseDuration,
		RenewDeadline:      f.renewDeadline,
		RetryPeriod:        f.retryPeriod,
		Workers:            f.workers,
		MetricsBindAddress: f.metrics,
		HealthBindAddress:  f.health,
		// Who runs outside a Pod runs its speakers so, too, for all that is known.
		SpeakerPods: f.kubeconfig == "",
	}
	observe, err := program.OneOf("--mode", f.mode, string(controller.Observe), string(controller.Active))
	if err != nil {
		return o, err
	}
	if o.Mode = controller.Active; observe {
		o.Mode = controller.Observe
	}
	token, err := program.OneOf("--metrics-auth", f.auth, "token", "none")
	if err != nil {
		return o, err
	}
	if token {
		o.MetricsFilter = reviews.Filter
	}
	if f.workers < 1 {
		return o, fmt.Errorf("--workers is %d: give 1 or more", f.workers)
	}
	h, err := f.logs.Handler(logs)
	if err != nil {
		return o, err
	}
	program.UseForLibraries(h)
	o.Log = slog.New(h)
	if o.Config, err = program.APIServer(f.kubeconfig); err != nil {
		return o, err
	}
	rest.AddUserAgent(o.Config, "clarion-controller/"+version)
	return o, o.Validate()
}

// sparing has the garbage collector trade a little time for memory, unless somebody has said otherwise: what the
// controller keeps is small, what it throws away while Services come by the thousand is not.
func sparing() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
