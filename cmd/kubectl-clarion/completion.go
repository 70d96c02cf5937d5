package main

import (
	"context"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// nodes completes the names of nodes.
func (p *program) nodes(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.complete(c, args, func(ctx context.Context, objects client.Client) (names []string, err error) {
		var l corev1.NodeList
		err = objects.List(ctx, &l)
		for _, n := range l.Items {
			names = append(names, n.Name)
		}
		return names, err
	})
}

// services completes NAMESPACE/NAME.
func (p *program) services(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.complete(c, args, func(ctx context.Context, objects client.Client) (names []string, err error) {
		var l corev1.ServiceList
		err = objects.List(ctx, &l)
		for _, s := range l.Items {
			if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
				names = append(names, client.ObjectKeyFromObject(&s).String())
			}
		}
		return names, err
	})
}

// complete completes the only argument with names that the cluster has.
func (p *program) complete(c *cobra.Command, args []string, names func(context.Context, client.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	objects, err := p.objects()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	found, err := names(c.Context(), objects)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}
