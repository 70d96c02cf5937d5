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

	"github.com/clarion-lb/clarion/cmd/internal/program"
	"github.com/clarion-lb/clarion/controller"
)

// flags are the settings as they are given.
type flags struct {
	program.Settings
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
			if err := program.ServePprof(c.Context(), f.Pprof); err != nil {
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
	f.RegisterUsual(s, "active assigns; observe looks only: it reports what it would write, and writes nothing.")
	s.BoolVar(&f.leaderElect, "leader-elect", true, "Write only while holding the Lease, so that several replicas can run.")
	s.StringVar(&f.identity, "identity", "", "Name of this process in the Lease. Default: the host's name and a random part.")
	s.DurationVar(&f.leaseDuration, "lease-duration", controller.DefaultLeaseDuration, "How long after the last renewal another replica may take the Lease.")
	s.DurationVar(&f.renewDeadline, "lease-renew-deadline", controller.DefaultRenewDeadline, "How long the leader tries to renew the Lease before it steps down. Less than the duration.")
	s.DurationVar(&f.retryPeriod, "lease-retry-period", controller.DefaultRetryPeriod, "Pause between tries to get or to renew the Lease.")
	s.IntVar(&f.workers, "workers", controller.DefaultWorkers, "How many Services are written at the same time.")
	f.RegisterWatching(s, ":7966", ":7967")
}

// options checks the settings and makes of them what a controller runs with.
func (f *flags) options(logs io.Writer) (controller.Options, error) {
	if f.workers < 1 {
		return controller.Options{}, fmt.Errorf("--workers is %d: give 1 or more", f.workers)
	}
	base, err := f.Base(logs, "clarion-controller", version)
	if err != nil {
		return controller.Options{}, err
	}
	o := controller.Options{
		Config:             base.Config,
		Namespace:          f.Namespace,
		Mode:               controller.Active,
		Classes:            f.Classes,
		LeaderElect:        f.leaderElect,
		Identity:           f.identity,
		LeaseDuration:      f.leaseDuration,
		RenewDeadline:      f.renewDeadline,
		RetryPeriod:        f.retryPeriod,
		Workers:            f.workers,
		MetricsBindAddress: f.Metrics,
		MetricsFilter:      base.MetricsFilter,
		HealthBindAddress:  f.Health,
		Log:                base.Log,
		// Who runs outside a Pod runs its speakers so, too, for all that is known.
		SpeakerPods: f.Kubeconfig == "",
	}
	if base.Observe {
		o.Mode = controller.Observe
	}
	return o, o.Validate()
}

// sparing has the garbage collector trade a little time for memory, unless somebody has said otherwise: what the
// controller keeps is small, what it throws away while Services come by the thousand is not.
func sparing() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
