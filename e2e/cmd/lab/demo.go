package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/e2e/demo"
	"github.com/clarion-lb/clarion/e2e/lab"
)

func demoCommand(name *string) *cobra.Command {
	o := demo.Options{LabCommand: command}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show Clarion's main job: an address, a request, a dead node, and traffic that goes on",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Name, o.Out = *name, cmd.OutOrStdout()
			if !cmd.Flags().Changed("keep") {
				o.Keep = os.Getenv("KEEP") != "" && os.Getenv("KEEP") != "0"
			}
			if names, err := lab.List(); err == nil {
				for _, n := range names {
					if n == o.Name {
						return errors.New("lab " + n + " is up already, perhaps kept from an earlier demo: take it down by `" + o.LabCommand + " --name " + n + " down`")
					}
				}
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Nodes, "nodes", 3, "how many nodes the cluster has")
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "leave the lab up at the end (also by KEEP=1 in the environment)")
	return cmd
}
