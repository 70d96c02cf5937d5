package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/clarion-lb/clarion/cmd/internal/flagpage"
	"github.com/clarion-lb/clarion/controller"
)

const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
`

// options reads a command line as the program does.
func options(t *testing.T, args ...string) (controller.Options, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	var f flags
	s := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.register(s)
	if err := s.Parse(append([]string{"--kubeconfig", path}, args...)); err != nil {
		t.Fatal(err)
	}
	return f.options(io.Discard)
}

func TestOptions(t *testing.T) {
	o, err := options(t, "--mode=observe", "--metrics-auth=none", "--lease-duration=20s", "--load-balancer-classes=a/b,c/d")
	if err != nil {
		t.Fatal(err)
	}
	if o.Mode != controller.Observe || o.MetricsFilter != nil || o.LeaseDuration != 20*time.Second || len(o.Classes.Classes) != 2 ||
		!o.Classes.Unclassed || !o.LeaderElect || o.Namespace != "clarion-system" || o.Config.Host != "https://127.0.0.1:1" {
		t.Errorf("options %+v", o)
	}
}

func TestWrongSettingsAreRefusedWithAdvice(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"mode", []string{"--mode=passive"}, `--mode is "passive": give observe or active`},
		{"metrics-auth", []string{"--metrics-auth=basic"}, "give token or none"},
		{"log level", []string{"--log-level=loud"}, "give debug, info, warn or error"},
		{"workers", []string{"--workers=0"}, "--workers is 0: give 1 or more"},
		{"no Service is served", []string{"--load-balancer-classes=", "--serve-unclassed-services=false"}, "no Service would be served"},
		{"lease", []string{"--lease-renew-deadline=1h"}, "each must be longer than the next"},
		{"kubeconfig", []string{"--kubeconfig=/nowhere"}, "no way to the API server"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := options(t, row.args...); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
		})
	}
}

// Every flag's help is a sentence, and the first thing told is the usual command.
func TestHelp(t *testing.T) {
	var f flags
	s := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.register(s)
	s.VisitAll(func(f *pflag.Flag) {
		if f.Usage == "" || !strings.HasSuffix(f.Usage, ".") {
			t.Errorf("--%s: help %q is not a sentence", f.Name, f.Usage)
		}
	})
	var out bytes.Buffer
	c := command()
	c.SetOut(&out)
	c.SetArgs([]string{"--help"})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	help := out.String()
	if usual, usage := strings.Index(help, "kubectl apply"), strings.Index(help, "Usage:"); usual < 0 || usual > usage {
		t.Errorf("the usual command is not first:\n%s", help)
	}
}

func TestThePageOnFlagsIsInStep(t *testing.T) {
	flagpage.Check(t, "clarion-controller", command().Flags())
}
