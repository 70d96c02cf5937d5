package main

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/clarion-lb/clarion/cmd/internal/flagpage"
	"github.com/clarion-lb/clarion/cmd/internal/program"
)

const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
`

// parse reads a command line and an environment as the program does.
func parse(t *testing.T, environment map[string]string, args ...string) (flags, error) {
	t.Helper()
	var f flags
	s := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.register(s)
	if err := s.Parse(args); err != nil {
		return f, err
	}
	return f, program.FromEnvironment(s, func(name string) (string, bool) {
		v, found := environment[name]
		return v, found
	})
}

func writeKubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvironmentSetsWhatFlagsDoNot(t *testing.T) {
	f, err := parse(t, map[string]string{
		"CLARION_NODE_NAME":             "from-environment",
		"CLARION_GOSSIP_PORT":           "1234",
		"CLARION_LOAD_BALANCER_CLASSES": "a/b,c/d",
		"CLARION_IGNORE_EXCLUDE_LABEL":  "true",
	}, "--node-name=from-flag")
	if err != nil {
		t.Fatal(err)
	}
	if f.nodeName != "from-flag" || f.gossipPort != 1234 || !slices.Equal(f.Classes.Classes, []string{"a/b", "c/d"}) || !f.ignoreExcludeLabel {
		t.Errorf("flags %+v", f)
	}
	if _, err := parse(t, map[string]string{"CLARION_GOSSIP_PORT": "many"}); err == nil || !strings.Contains(err.Error(), "CLARION_GOSSIP_PORT") {
		t.Errorf("error %v", err)
	}
}

func TestOptions(t *testing.T) {
	path := writeKubeconfig(t)
	t.Setenv("NODE_NAME", "from-pod")
	f, err := parse(t, nil, "--kubeconfig", path, "--gossip-bind-address=::ffff:10.0.0.1", "--mode=observe", "--metrics-auth=none")
	if err != nil {
		t.Fatal(err)
	}
	o, err := f.options(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.NodeName != "from-pod" || o.GossipAddress != netip.MustParseAddr("10.0.0.1") || !o.Observe || o.MetricsFilter != nil ||
		o.Namespace != "clarion-system" || !o.Classes.Unclassed || o.Config.Host != "https://127.0.0.1:1" {
		t.Errorf("options %+v", o)
	}
}

func TestWrongSettingsAreRefusedWithAdvice(t *testing.T) {
	path := writeKubeconfig(t)
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"mode", []string{"--mode=passive"}, `--mode is "passive": give observe or active`},
		{"metrics-auth", []string{"--metrics-auth=basic"}, "give token or none"},
		{"log level", []string{"--log-level=loud"}, "give debug, info, warn or error"},
		{"log format", []string{"--log-format=xml"}, "give json or text"},
		{"gossip address", []string{"--gossip-bind-address=here"}, "--gossip-bind-address"},
		{"gossip port", []string{"--gossip-port=0"}, "--gossip-port is 0"},
		{"on-stop", []string{"--on-stop=flee"}, "give auto, restart or leave"},
		{"kube-proxy's health", []string{"--kube-proxy-health=localhost"}, "give an IP address and a port, or 0"},
		{"heartbeats", []string{"--heartbeat-interval=1ms"}, "give 20ms to 2s"},
		{"take-over", []string{"--take-over-after=0s"}, "give a second at least"},
		{"no Service is served", []string{"--load-balancer-classes=", "--serve-unclassed-services=false"}, "no Service would be served"},
		{"kubeconfig", []string{"--kubeconfig=/nowhere"}, "no way to the API server"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, err := parse(t, nil, append([]string{"--kubeconfig", path}, row.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.options(io.Discard); err == nil || !strings.Contains(err.Error(), row.want) {
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
	flagpage.Check(t, "clarion-speaker", command().Flags())
}
