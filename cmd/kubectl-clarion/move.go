package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

func (p *program) move() *cobra.Command {
	var release bool
	wait := 15 * time.Second
	c := &cobra.Command{
		Use:   "move ADDRESS NODE",
		Short: "Have another node answer for an address",
		Long: `Have another node answer for an address at layer 2. It writes the annotation ` + v1beta1.AnnotationAnnounceFrom + ` on the Service that has the address, for
which you need to patch that Service; it holds for all addresses that the Service has. The node that answers now hands over, without a connection attempt
lost, if the other may have the address and is no worse placed than any.

The annotation stays, and the node is preferred to its equals: lost and back, it is given the address again as failback has it. --release takes it
away; the address stays where it is.

The exit code is 1 where the address has not moved in time.`,
		Args: func(c *cobra.Command, args []string) error {
			if release {
				return cobra.ExactArgs(1)(c, args)
			}
			return cobra.ExactArgs(2)(c, args)
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) != 1 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return p.nodes(c, nil, word)
		},
		RunE: func(c *cobra.Command, args []string) error {
			address, err := netip.ParseAddr(args[0])
			if err != nil {
				return fmt.Errorf("%q is no IP address: write ADDRESS NODE", args[0])
			}
			to := ""
			if !release {
				to = args[1]
			}
			objects, err := p.objects()
			if err != nil {
				return err
			}
			holders, err := p.holdersOf(c.Context(), objects, address.Unmap())
			if err != nil {
				return err
			}
			if release {
				return p.releaseMove(c.Context(), objects, holders, address)
			}
			service := &holders[0]
			if err := announceFrom(c.Context(), objects, service, to); err != nil {
				return err
			}
			fmt.Fprintf(p.Out, "Service %s/%s asks for node %s\n", service.Namespace, service.Name, to)
			ctx, cancel := context.WithTimeout(c.Context(), wait)
			defer cancel()
			speakers, err := p.liveSpeakers(ctx, objects)
			if err != nil {
				fmt.Fprintf(p.Out, "Whether it has moved can't be seen: %s\n", p.unseenLive(err))
				return nil
			}
			return p.awaitMove(ctx, speakers, address.Unmap(), to)
		},
	}
	c.Flags().BoolVar(&release, "release", false, "Take the wish back: the address stays where it is, and no node is preferred.")
	c.Flags().DurationVar(&wait, "wait", wait, "How long to wait until it has moved.")
	return c
}

// holdersOf returns the Services that have an address, of which there are several where it is shared: those that name a node first, then
// the oldest. Who may not list all Services has those of the context's namespace looked at.
func (p *program) holdersOf(ctx context.Context, c client.Client, address netip.Addr) ([]corev1.Service, error) {
	var l corev1.ServiceList
	where := ""
	err := c.List(ctx, &l)
	if apierrors.IsForbidden(err) {
		if where, _, err = p.config.ToRawKubeConfigLoader().Namespace(); err == nil {
			err = c.List(ctx, &l, client.InNamespace(where))
		}
	}
	if err != nil {
		return nil, err
	}
	holders := slices.DeleteFunc(l.Items, func(s corev1.Service) bool {
		return !slices.ContainsFunc(s.Status.LoadBalancer.Ingress, func(in corev1.LoadBalancerIngress) bool {
			a, err := netip.ParseAddr(in.IP)
			return err == nil && a.Unmap() == address
		})
	})
	switch {
	case len(holders) == 0 && where != "":
		return nil, fmt.Errorf("no Service in namespace %s has the address %s, and you may not list those of other namespaces (another one: --namespace)", where, address)
	case len(holders) == 0:
		return nil, fmt.Errorf("no Service has the address %s", address)
	}
	slices.SortStableFunc(holders, func(a, b corev1.Service) int {
		switch named := func(s corev1.Service) bool { return s.Annotations[v1beta1.AnnotationAnnounceFrom] != "" }; {
		case named(a) != named(b) && named(a):
			return -1
		case named(a) != named(b):
			return 1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return holders, nil
}

// releaseMove takes away what the Services that have an address ask for.
func (p *program) releaseMove(ctx context.Context, c client.Client, holders []corev1.Service, address netip.Addr) error {
	asked := false
	for i := range holders {
		s := &holders[i]
		if s.Annotations[v1beta1.AnnotationAnnounceFrom] == "" {
			continue
		}
		if err := announceFrom(ctx, c, s, ""); err != nil {
			return err
		}
		asked = true
		fmt.Fprintf(p.Out, "Service %s/%s asks for no node any more; %s stays where it is\n", s.Namespace, s.Name, address)
	}
	if !asked {
		fmt.Fprintf(p.Out, "Service %s/%s asks for no node: nothing to take back\n", holders[0].Namespace, holders[0].Name)
	}
	return nil
}

// announceFrom sets the annotation, or with "" takes it away.
func announceFrom(ctx context.Context, c client.Client, s *corev1.Service, node string) error {
	var value *string
	if node != "" {
		value = &node
		var n corev1.Node
		if err := c.Get(ctx, client.ObjectKey{Name: node}, &n); client.IgnoreNotFound(err) == nil && err != nil {
			return fmt.Errorf("there is no node %s", node)
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": s.UID, "annotations": map[string]*string{v1beta1.AnnotationAnnounceFrom: value}}})
	if err != nil {
		return err
	}
	return c.Patch(ctx, s, client.RawPatch(types.MergePatchType, patch))
}

// awaitMove asks the node's speaker until the address is there.
func (p *program) awaitMove(ctx context.Context, speakers inspector, address netip.Addr, to string) error {
	by, silent := to, ""
	if !slices.Contains(speakers.Nodes(), by) {
		by, silent = speakers.Nodes()[0], fmt.Sprintf("; no speaker runs on node %s", to)
	}
	why := "it is not known who answers for it"
	for {
		r, err := speakers.Inspect(ctx, by, inspect.Question{Address: address})
		switch {
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			why = err.Error()
		case err == nil && len(r.Addresses) == 1:
			a := r.Addresses[0]
			if a.Owner == to {
				fmt.Fprintf(p.Out, "%s is answered by node %s\n", address, to)
				return nil
			}
			why = a.Ownership
			for _, n := range a.Nodes {
				if n.Node == to && n.Layer2 != v1beta1.ReasonEligible {
					why += fmt.Sprintf("; %s may not have it: %s: %s", to, n.Layer2, n.Message)
				}
			}
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(p.Out, "%s has not moved: %s%s\n", address, why, silent)
			return errUnhealthy
		case <-time.After(300 * time.Millisecond):
		}
	}
}
