package main

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
)

// program is what all subcommands share.
type program struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
	// installedIn is Clarion's own namespace.
	installedIn string
}

func command(streams genericiooptions.IOStreams) *cobra.Command {
	p := &program{IOStreams: streams, config: genericclioptions.NewConfigFlags(true)}
	c := &cobra.Command{
		Use:   "kubectl-clarion",
		Short: "See and run Clarion, the LoadBalancer for clusters that have no cloud",
		Long: `See and run Clarion, the LoadBalancer for clusters that have no cloud.

Is it well, and if not, what is wrong:

  kubectl clarion status

Why has this Service no address, or why is it not announced:

  kubectl clarion explain service NAMESPACE/NAME

Who would take the addresses of a node:

  kubectl clarion simulate drain NODE

What MetalLB's configuration is in Clarion's words:

  kubectl clarion migrate metallb`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl clarion"},
	}
	c.SetIn(streams.In)
	c.SetOut(streams.Out)
	c.SetErr(streams.ErrOut)
	p.config.AddFlags(c.PersistentFlags())
	c.PersistentFlags().StringVar(&p.installedIn, "clarion-namespace", "clarion-system", "Namespace that Clarion is installed in.")
	c.AddCommand(p.status(), p.explain(), p.history(), p.pools(), p.speakers(), p.peers(), p.simulate(), p.move(), p.doctor(), p.keys(), p.migrate(), p.version())
	return c
}

// client returns how to reach the cluster, fast enough for a person.
func (p *program) client() (*rest.Config, error) {
	config, err := p.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 50, 100
	return config, nil
}
