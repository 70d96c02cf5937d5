// Package program is what Clarion's programs have in common: settings from the environment, a logger that can't
// flood, and the way to the API server.
package program

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// Signalled returns a context that ends when the program is told to. A second signal ends the program at once.
func Signalled() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop)
	return ctx
}

// FromEnvironment sets the flags that were not given from CLARION_<FLAG>, but for those that are questions to the
// program: CLARION_VERSION is a name that others use too.
func FromEnvironment(s *pflag.FlagSet, lookup func(string) (string, bool)) (err error) {
	s.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Name == "version" {
			return
		}
		name := "CLARION_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, found := lookup(name); found && !f.Changed && err == nil {
			if e := s.Set(f.Name, value); e != nil {
				err = fmt.Errorf("%s: %w", name, e)
			}
		}
	})
	return err
}

// APIServer returns how to reach the API server: as the kubeconfig file says, or as the Pod that we are.
func APIServer(kubeconfig string) (c *rest.Config, err error) {
	if kubeconfig == "" {
		c, err = rest.InClusterConfig()
	} else {
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("no way to the API server (outside a Pod give --kubeconfig): %w", err)
	}
	return c, nil
}

// OneOf reports whether a setting is the first of its two values.
func OneOf(flag, value, first, second string) (bool, error) {
	switch value {
	case first, second:
		return value == first, nil
	}
	return false, fmt.Errorf("%s is %q: give %s or %s", flag, value, first, second)
}

// Logs are the settings of a logger.
type Logs struct{ Level, Format string }

// Register adds the flags that set it.
func (l *Logs) Register(s *pflag.FlagSet) {
	s.StringVar(&l.Level, "log-level", "info", "Least level that is logged: debug, info, warn or error.")
	s.StringVar(&l.Format, "log-format", "json", "json or text.")
}

// Handler makes the handler of the process's logger.
func (l *Logs) Handler(w interface{ Write([]byte) (int, error) }) (slog.Handler, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return nil, fmt.Errorf("--log-level is %q: give debug, info, warn or error", l.Level)
	}
	json, err := OneOf("--log-format", l.Format, "json", "text")
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	if json {
		return Quiet(slog.NewJSONHandler(w, options)), nil
	}
	return Quiet(slog.NewTextHandler(w, options)), nil
}

// UseForLibraries has the libraries log by a handler, which is for the whole process.
func UseForLibraries(h slog.Handler) {
	ctrllog.SetLogger(logr.FromSlogHandler(h))
	klog.SetSlogLogger(slog.New(h))
}
