package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/moby/term"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1beta1.AddToScheme(s))
	return s
}()

// errUnhealthy makes the exit code tell what the table says.
var errUnhealthy = errors.New("something needs looking at")

// output is how a view is printed.
type output struct {
	format string
	watch  bool
}

func (o *output) flags(c *cobra.Command) {
	c.Flags().StringVarP(&o.format, "output", "o", "", "wide, json or yaml.")
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "Print again whenever it has changed.")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"wide", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// A printer is a table or a summary.
type printer interface {
	Print(io.Writer, view.Style) error
}

// show looks and prints, again and again if it is to be watched. look returns what to print for people, and for programs.
func (p *program) show(ctx context.Context, o output, look func(context.Context) (printer, any, error)) error {
	const pause = time.Second
	style := view.Style{Wide: o.format == "wide", Color: isTerminal(p.Out)}
	for last := ""; ; {
		table, objects, err := look(ctx)
		if err != nil {
			return err
		}
		var b strings.Builder
		switch o.format {
		case "", "wide":
			err = table.Print(&b, style)
		case "json", "yaml":
			var content []byte
			if content, err = yaml.Marshal(objects); err == nil && o.format == "json" {
				content, err = yaml.YAMLToJSON(content)
				content = append(content, '\n')
			}
			b.Write(content)
		default:
			return fmt.Errorf("--output=%s: write wide, json or yaml", o.format)
		}
		if err != nil {
			return err
		}
		if text := b.String(); text != last {
			if last != "" {
				fmt.Fprintln(p.Out)
			}
			if _, err := io.WriteString(p.Out, text); err != nil {
				return err
			}
			last = text
		}
		if !o.watch {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func isTerminal(w io.Writer) bool {
	_, is := term.GetFdInfo(w)
	return is
}

// objects reads objects of any kind that Clarion has to do with.
func (p *program) objects() (client.Client, error) {
	config, err := p.client()
	if err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// viewOf makes a command that shows a table of objects.
func (p *program) viewOf(use, short, long string, look func(context.Context, client.Client) (printer, any, error)) *cobra.Command {
	var o output
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		objects, err := p.objects()
		if err != nil {
			return err
		}
		return p.show(c.Context(), o, func(ctx context.Context) (printer, any, error) { return look(ctx, objects) })
	}}
	o.flags(c)
	return c
}

func (p *program) pools() *cobra.Command {
	return p.viewOf("pools", "Show how full each pool is", "Show how full each pool is. An address that rests (reuseDelay) counts as taken.",
		func(ctx context.Context, c client.Client) (printer, any, error) {
			var l v1beta1.IPAddressPoolList
			err := c.List(ctx, &l)
			return view.Pools(l.Items), l.Items, err
		})
}

func (p *program) speakers() *cobra.Command {
	return p.viewOf("speakers", "Show what the speaker of each node does", "Show what the speaker of each node does: how many addresses it answers for, how many other speakers it hears, its BGP sessions.",
		func(ctx context.Context, c client.Client) (printer, any, error) {
			var l v1beta1.SpeakerList
			err := c.List(ctx, &l)
			return view.Speakers(time.Now(), l.Items), l.Items, err
		})
}

func (p *program) peers() *cobra.Command {
	return p.viewOf("peers", "Show each node's BGP session with each router", "Show each node's BGP session with each router: its state, since when, and why it is not up.",
		func(ctx context.Context, c client.Client) (printer, any, error) {
			var peers v1beta1.BGPPeerList
			var speakers v1beta1.SpeakerList
			err := errors.Join(c.List(ctx, &peers), c.List(ctx, &speakers))
			return view.Peers(time.Now(), peers.Items, speakers.Items), peers.Items, err
		})
}

func (p *program) status() *cobra.Command {
	healthy := true
	c := p.viewOf("status", "Show the whole system on one screen",
		"Show the whole system on one screen, and what needs looking at. The exit code is 1 where something serious does.",
		func(ctx context.Context, c client.Client) (printer, any, error) {
			cluster, err := p.look(ctx, c)
			if err != nil {
				return nil, nil, err
			}
			s := view.Summarize(time.Now(), cluster)
			healthy = s.Healthy()
			return s, s, nil
		})
	show := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := show(c, args); err != nil {
			return err
		}
		if !healthy {
			return errUnhealthy
		}
		return nil
	}
	return c
}

// look reads all that a summary is made of, as far as the caller may.
func (p *program) look(ctx context.Context, c client.Client) (view.Cluster, error) {
	var (
		cluster view.Cluster
		failed  error
		unknown []string
	)
	see := func(what string, err error) bool {
		switch {
		case err == nil:
			return true
		case apierrors.IsForbidden(err):
			cluster.Unseen = append(cluster.Unseen, what+": you may not read them")
		case meta.IsNoMatchError(err):
			unknown = append(unknown, what)
		case apierrors.IsNotFound(err):
			cluster.Unseen = append(cluster.Unseen, what+": there is none in namespace "+p.installedIn+" (see --clarion-namespace)")
		case failed == nil: // the first says what the others would
			failed = fmt.Errorf("read %s: %w", what, err)
		}
		return false
	}
	key := client.ObjectKey{Namespace: p.installedIn, Name: "clarion-controller"}
	var deployment appsv1.Deployment
	noDeployment := c.Get(ctx, key, &deployment)
	cluster.Classes = classesOf(&deployment)
	if noDeployment == nil {
		cluster.Controller = &deployment
	}
	var lease coordinationv1.Lease
	noLease := c.Get(ctx, key, &lease)
	if noLease == nil {
		cluster.Lease = &lease
	}
	// A controller that runs outside of a Pod has a Lease and no Deployment, one that never led a Deployment and no Lease.
	if apierrors.IsNotFound(noDeployment) && apierrors.IsNotFound(noLease) {
		cluster.Missing = append(cluster.Missing, "there is no controller in namespace "+p.installedIn+": install Clarion, or name its namespace with --clarion-namespace")
	} else {
		see("the controller's Deployment", noDeployment)
		see("the controller's Lease", noLease)
	}
	key.Name = "clarion-speaker"
	var daemonSet appsv1.DaemonSet
	noDaemonSet := c.Get(ctx, key, &daemonSet)
	if noDaemonSet == nil {
		cluster.DaemonSet = &daemonSet
	}
	var services corev1.ServiceList
	if see("Services", c.List(ctx, &services)) {
		cluster.Services = services.Items
	}
	var pools v1beta1.IPAddressPoolList
	if see("IPAddressPools", c.List(ctx, &pools)) {
		cluster.Pools = append([]v1beta1.IPAddressPool{}, pools.Items...)
	}
	var l2 v1beta1.L2AdvertisementList
	if see("L2Advertisements", c.List(ctx, &l2)) {
		cluster.L2Advertisements = append([]v1beta1.L2Advertisement{}, l2.Items...)
	}
	var bgp v1beta1.BGPAdvertisementList
	if see("BGPAdvertisements", c.List(ctx, &bgp)) {
		cluster.BGPAdvertisements = bgp.Items
	}
	var peers v1beta1.BGPPeerList
	if see("BGPPeers", c.List(ctx, &peers)) {
		cluster.Peers = peers.Items
	}
	var profiles v1beta1.BFDProfileList
	if see("BFDProfiles", c.List(ctx, &profiles)) {
		cluster.BFDProfiles = profiles.Items
	}
	var communities v1beta1.CommunityList
	if see("Communities", c.List(ctx, &communities)) {
		cluster.Communities = communities.Items
	}
	var speakers v1beta1.SpeakerList
	if see("Speakers", c.List(ctx, &speakers)) {
		cluster.Speakers = speakers.Items
	}
	if len(unknown) > 0 {
		cluster.Missing = append(cluster.Missing, "the API server does not know "+strings.Join(unknown, ", ")+": apply Clarion's CRDs, which are in its manifest and chart")
	}
	// Speakers that run outside of Pods have no DaemonSet.
	switch alive := slices.ContainsFunc(cluster.Speakers, func(s v1beta1.Speaker) bool {
		return meta.IsStatusConditionTrue(s.Status.Conditions, string(v1beta1.ConditionReady))
	}); {
	case !apierrors.IsNotFound(noDaemonSet):
		see("the speakers' DaemonSet", noDaemonSet)
	case !alive || apierrors.IsNotFound(noLease):
		cluster.Missing = append(cluster.Missing, "there is no DaemonSet clarion-speaker in namespace "+p.installedIn+": nothing is announced")
	}
	return cluster, failed
}
