package main

import (
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/e2e/lab"
)

type opener func() (*lab.Lab, error)

func statusCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the lab's hosts, their addresses and what runs on them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			hosts, err := l.Hosts()
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			defer table.Flush()
			fmt.Fprintln(table, "HOST\tPOWER\tLINK\tIPV4\tIPV6\tMAC\tPROCESSES")
			for _, h := range hosts {
				s := h.Status(cmd.Context())
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Power, s.Link, s.IPv4, s.IPv6, s.MAC, s.Processes)
			}
			return nil
		},
	}
}

func execCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use:     "exec HOST -- COMMAND…",
		Short:   "Run a command on a host: a node, client, cp, or fabric, where the switches are",
		Example: "  lab exec client -- curl -s http://10.99.64.0/\n  lab exec node1 -- tcpdump -ni eth0 arp\n  lab exec node2 -- ctr -n k8s.io containers list",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			h, err := l.FindHost(args[0])
			if err != nil {
				return err
			}
			return run(h.Command(cmd.Context(), args[1:]...))
		},
	}
}

func kubectlCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl ARGUMENTS…",
		Short:              "Run kubectl as the cluster's administrator",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			return run(l.KubectlCommand(cmd.Context(), args...))
		},
	}
}

func loadCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use:     "load ARCHIVE…",
		Aliases: []string{"images"},
		Short:   "Put the images of archives on every node",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			return l.LoadImage(cmd.Context(), args...)
		},
	}
}

func logsCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use:   "logs",
		Short: "Name the log file of every process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			files, err := l.LogFiles()
			if err != nil {
				return err
			}
			for _, f := range files {
				fmt.Fprintln(cmd.OutOrStdout(), filepath.Clean(f))
			}
			return nil
		},
	}
}

func faultCommand(open opener, use, short string, do func(*lab.Host) error) *cobra.Command {
	return &cobra.Command{
		Use:   use + " HOST",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			h, err := l.FindHost(args[0])
			if err != nil {
				return err
			}
			return do(h)
		},
	}
}

func powerOnCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use:   "power-on HOST",
		Short: "Boot a host again, with its files as they were; a node is waited for until it is ready",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := open()
			if err != nil {
				return err
			}
			h, err := l.FindHost(args[0])
			if err != nil {
				return err
			}
			if err := h.PowerOn(cmd.Context()); err != nil {
				return err
			}
			if n, err := l.FindNode(h.Name); err == nil {
				return n.WaitReady(cmd.Context())
			}
			return nil
		},
	}
}
