// Command lab runs a Kubernetes cluster in namespaces of this machine: see
// package lab for what is in it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	var status exitStatus
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(int(status))
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "lab: interrupted")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// command is how somebody in a checkout runs this program.
const command = "go run ./e2e/cmd/lab"

func rootCommand() *cobra.Command {
	var name string
	root := &cobra.Command{
		Use:           "lab",
		Short:         "A Kubernetes cluster in namespaces of this machine, with a LAN that can be cut",
		Example:       "  lab up\n  lab kubectl get nodes -o wide\n  lab cut node1\n  lab down\nwhere lab is `" + command + "`",
		SilenceUsage:  true,
		SilenceErrors: true,
		// --name goes before kubectl, whose own flags are not ours to parse.
		TraverseChildren: true,
	}
	root.PersistentFlags().StringVar(&name, "name", "lab", "name of the lab; labs of different names can be up at once")
	open := func() (*lab.Lab, error) { return lab.Open(name) }
	root.AddCommand(
		setupCommand(), assetsCommand(), upCommand(&name), downCommand(&name), demoCommand(&name), statusCommand(open),
		execCommand(open), kubectlCommand(open), loadCommand(open), logsCommand(open),
		faultCommand(open, "cut", "Pull the cable of a host: it loses its link", func(h *lab.Host) error { return h.Cut() }),
		faultCommand(open, "silence", "Have the switch forward nothing from or to a host, which keeps its link", func(h *lab.Host) error { return h.Silence() }),
		faultCommand(open, "heal", "Undo cut and silence", func(h *lab.Host) error { return h.Heal() }),
		faultCommand(open, "power-off", "End a host and everything on it at once", func(h *lab.Host) error { return h.PowerOff() }),
		powerOnCommand(open),
	)
	return root
}
