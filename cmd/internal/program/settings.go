package program

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/internal/reviews"
)

// Settings are those that all of Clarion's programs have, as they are given.
type Settings struct {
	Kubeconfig, Namespace, Mode         string
	Classes                             v1beta1.ServiceClasses
	Metrics, MetricsAuth, Health, Pprof string
	Logs                                Logs
}

// RegisterUsual adds the flags that lead the help; mode is what the two modes mean.
func (s *Settings) RegisterUsual(f *pflag.FlagSet, mode string) {
	f.StringVar(&s.Kubeconfig, "kubeconfig", "", "Kubeconfig file to reach the API server with. Default: the Pod's service account.")
	f.StringVar(&s.Namespace, "namespace", "clarion-system", "Namespace that Clarion is installed in.")
	f.StringVar(&s.Mode, "mode", "active", mode)
	f.StringSliceVar(&s.Classes.Classes, "load-balancer-classes", []string{v1beta1.DefaultLoadBalancerClass}, "Values of spec.loadBalancerClass whose Services are served.")
	f.BoolVar(&s.Classes.Unclassed, "serve-unclassed-services", true, "Serve Services without a spec.loadBalancerClass.")
}

// RegisterWatching adds the flags on how a program is watched, with the addresses that it serves metrics and health at by default.
func (s *Settings) RegisterWatching(f *pflag.FlagSet, metrics, health string) {
	f.StringVar(&s.Metrics, "metrics-bind-address", metrics, "Address and port that serve /metrics; 0 serves none.")
	f.StringVar(&s.MetricsAuth, "metrics-auth", "token", "token serves metrics by HTTPS to whom the API server allows to read them; none by HTTP to everybody.")
	f.StringVar(&s.Health, "health-bind-address", health, "Address and port that serve /healthz and /readyz.")
	f.StringVar(&s.Pprof, "pprof-bind-address", "0", "Loopback address and port that serve /debug/pprof, such as 127.0.0.1:6060; 0 serves none.")
	s.Logs.Register(f)
}

// A MetricsFilter lets through who may read the metrics; nil is everybody.
type MetricsFilter = func(*rest.Config, *http.Client) (metricsserver.Filter, error)

// A Base is what a program runs with, by its settings.
type Base struct {
	Observe       bool
	MetricsFilter MetricsFilter
	Log           *slog.Logger
	// Config is how the API server is reached.
	Config *rest.Config
}

// Base checks the settings, has everything log to w, and returns what follows. The API server is told the program's name and version.
func (s *Settings) Base(w io.Writer, name, version string) (b Base, err error) {
	if b.Observe, err = OneOf("--mode", s.Mode, "observe", "active"); err != nil {
		return b, err
	}
	token, err := OneOf("--metrics-auth", s.MetricsAuth, "token", "none")
	if err != nil {
		return b, err
	}
	if token {
		b.MetricsFilter = reviews.Filter
	}
	h, err := s.Logs.Handler(w)
	if err != nil {
		return b, err
	}
	UseForLibraries(h)
	b.Log = slog.New(h)
	if b.Config, err = APIServer(s.Kubeconfig); err != nil {
		return b, err
	}
	rest.AddUserAgent(b.Config, name+"/"+version)
	return b, nil
}
