package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

func assetsCommand() *cobra.Command {
	var oldest bool
	cmd := &cobra.Command{
		Use:     "assets",
		Short:   "Print the directory of Kubernetes' programs, and build them first where the cache lacks them",
		Long:    "Print the directory of Kubernetes' programs, and build them first where the cache lacks them.\nTests that need nothing but an API server take it from the environment.",
		Example: "  KUBEBUILDER_ASSETS=$(lab assets) go test ./controller/...",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			get := supply.Kubernetes
			if oldest {
				get = supply.OldestAPIServer
			}
			directory, err := get(cmd.Context(), func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) })
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), directory)
			return nil
		},
	}
	cmd.Flags().BoolVar(&oldest, "oldest", false, "the API server of the oldest Kubernetes that Clarion runs on, with etcd and kubectl")
	return cmd
}
