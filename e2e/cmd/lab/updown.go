package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// say prints what happens, each line with the time since the command began.
func say(cmd *cobra.Command) supply.Progress {
	begin := time.Now()
	return func(line string) {
		fmt.Fprintf(cmd.OutOrStdout(), "%6.1fs  %s\n", time.Since(begin).Seconds(), line)
	}
}

func setupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Build and fetch everything a lab is made of, into the cache",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			progress := say(cmd)
			if _, err := supply.Get(cmd.Context(), progress); err != nil {
				return err
			}
			progress("everything is there")
			return nil
		},
	}
}

func upCommand(name *string) *cobra.Command {
	var o lab.Options
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring a lab up, and build first what the cache lacks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Name, o.Progress = *name, say(cmd)
			_, err := lab.Create(cmd.Context(), o)
			if err != nil {
				return err
			}
			usage := command
			if *name != "lab" {
				usage += " --name " + *name
			}
			fmt.Fprintf(cmd.OutOrStdout(), "\nThe lab is up. Try  %s kubectl get nodes -o wide\nTo remove it:       %s down\n", usage, usage)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Nodes, "nodes", 3, "number of nodes, at most 100")
	f.BoolVar(&o.Keep, "keep", false, "leave what there is up when the lab does not come up, to look at it")
	f.BoolVar(&o.Light, "light", false, "keep the nodes' objects without running kubelets, for scale and latency")
	f.StringVar(&o.ProxyMode, "proxy-mode", "nftables", "mode of kube-proxy: nftables, iptables, or none")
	f.BoolVar(&o.FastNodeFailure, "fast-node-failure", false, "have Kubernetes notice a dead node in about 8 seconds instead of 50")
	return cmd
}

func downCommand(name *string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take a lab down and remove every trace of it, also of one that was killed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names := []string{*name}
			if all {
				var err error
				if names, err = lab.List(); err != nil {
					return err
				}
			}
			for _, n := range names {
				if err := lab.Destroy(cmd.Context(), n); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "take down every lab of this machine")
	return cmd
}
