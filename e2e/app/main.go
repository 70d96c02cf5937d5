// App is what runs in the lab's pods and on its clients: a web server that says who it is, and a prober that measures how
// long nobody answered.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/e2e/app/probe"
	"github.com/clarion-lb/clarion/e2e/app/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:          "app",
		Short:        "The lab's test server and prober",
		SilenceUsage: true,
	}
	root.AddCommand(serveCommand(), probeCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

func serveCommand() *cobra.Command {
	hostname, _ := os.Hostname()
	o := web.Options{
		Ready: func(addresses []net.Addr) { fmt.Fprintf(os.Stderr, "serving on %v\n", addresses) },
	}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer by HTTP which Pod on which node this is, and whom it sees",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return web.Serve(c.Context(), o) },
	}
	f := c.Flags()
	f.StringSliceVar(&o.Listen, "listen", []string{":8080"}, "addresses to serve on, of both families where none is named")
	f.StringVar(&o.Pod, "pod", or(os.Getenv("POD_NAME"), hostname), "the Pod's name; default $POD_NAME, then the host's name")
	f.StringVar(&o.Node, "node", or(os.Getenv("NODE_NAME"), hostname), "the node's name; default $NODE_NAME, then the host's name")
	f.DurationVar(&o.Drain, "drain", 0, "how long to go on serving after SIGTERM")
	return c
}

func or(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}

func probeCommand() *cobra.Command {
	var (
		o      probe.Options
		output string
	)
	c := &cobra.Command{
		Use:   "probe ADDRESS:PORT...",
		Short: "Connect every few milliseconds and tell for how long nobody answered",
		Example: `  app probe --duration 30s 192.0.2.10:80
  app probe --output attempts --duration 5s 192.0.2.10:80 '[2001:db8::10]:80'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, arg := range args {
				target, err := netip.ParseAddrPort(arg)
				if err != nil {
					return fmt.Errorf("%q is not an address and port like 192.0.2.10:80 or [2001:db8::10]:80: %w", arg, err)
				}
				o.Targets = append(o.Targets, target)
			}
			out := json.NewEncoder(c.OutOrStdout())
			switch output {
			case "text", "summary":
			case "attempts":
				o.OnAttempt = func(a probe.Attempt) { out.Encode(a) }
			default:
				return fmt.Errorf("--output is %q, but must be text, summary or attempts", output)
			}
			attempts, err := probe.Run(c.Context(), o)
			if err != nil {
				return err
			}
			for _, s := range probe.Summarize(attempts) {
				if output == "text" {
					fmt.Fprintln(c.OutOrStdout(), s)
				} else {
					out.Encode(map[string]probe.Summary{"summary": s})
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.DurationVar(&o.Interval, "interval", 10*time.Millisecond, "time between two attempts at one target")
	f.DurationVar(&o.Timeout, "timeout", 900*time.Millisecond, "time that each attempt has; the kernel sends a lost SYN again after 1s")
	f.DurationVar(&o.Duration, "duration", time.Minute, "how long to go on; 0 until interrupted")
	f.BoolVar(&o.ConnectOnly, "connect-only", false, "end an attempt when the connection stands, without an HTTP request")
	f.StringVar(&o.Path, "path", "/", "the path to ask for")
	f.StringVar(&o.NetworkNamespace, "netns", "", "path of the network namespace to probe from; default the process's own")
	f.StringVar(&output, "output", "text", "text: a line for each target; summary: the same as JSON lines; attempts: a JSON line for each attempt as it ends, then the summaries")
	return c
}
