package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/doctor"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

func (p *program) doctor() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find what keeps Clarion from working, before it is installed and after",
		Long: `Find what keeps Clarion from working, before it is installed and after: what was found, and what to do about it.

The exit code is 1 where something fails. What you may not read is told as not looked at.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			worst := doctor.OK
			err := p.show(c.Context(), o, func(ctx context.Context) (printer, any, error) {
				facts, err := p.facts(ctx)
				if err != nil {
					return nil, nil, err
				}
				results := doctor.Examine(facts)
				worst = doctor.Worst(results)
				return findings(results), results, nil
			})
			if err == nil && worst == doctor.Failure {
				return errUnhealthy
			}
			return err
		},
	}
	o.flags(c)
	return c
}

// findings prints results of checks.
type findings []doctor.Result

func (f findings) Print(w io.Writer, s view.Style) error {
	moods := map[doctor.Grade]view.Mood{doctor.OK: view.Good, doctor.Warning: view.Doubtful, doctor.Failure: view.Bad}
	t := view.Table{Columns: []view.Column{{Name: "CHECK"}, {Name: ""}, {Name: "FOUND"}}}
	for _, r := range f {
		t.Rows = append(t.Rows, []view.Cell{{Text: r.Check}, {Text: string(r.Grade), Mood: moods[r.Grade]}, {Text: r.Found}})
		if r.Do != "" {
			t.Rows = append(t.Rows, []view.Cell{{}, {}, {Text: "  → " + r.Do}})
		}
	}
	return t.Print(w, s)
}

// facts reads what doctor looks at, as far as the caller may.
func (p *program) facts(ctx context.Context) (doctor.Facts, error) {
	config, err := p.client()
	if err != nil {
		return doctor.Facts{}, err
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return doctor.Facts{}, err
	}
	f := doctor.Facts{Namespace: p.installedIn}
	if f.Server, err = found.ServerVersion(); err != nil {
		return f, fmt.Errorf("reach the API server: %w", err)
	}
	resources, err := found.ServerResourcesForGroupVersion(v1beta1.GroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		f.Resources = []string{}
	case err != nil:
		return f, err
	default:
		f.Resources = []string{}
		for _, r := range resources.APIResources {
			if !strings.Contains(r.Name, "/") {
				f.Resources = append(f.Resources, r.Name)
			}
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return f, err
	}
	var failed error
	saw := func(what string, err error) bool {
		switch {
		case err == nil:
			return true
		case apierrors.IsForbidden(err):
			f.Unseen = append(f.Unseen, "you may not read "+what)
		case apierrors.IsNotFound(err) || meta.IsNoMatchError(err): // which is what the checks are about
		default:
			failed = fmt.Errorf("read %s: %w", what, err)
		}
		return false
	}
	var nodes corev1.NodeList
	if saw("nodes", c.List(ctx, &nodes)) {
		f.Nodes = nodes.Items
	}
	var services corev1.ServiceList
	if saw("Services", c.List(ctx, &services)) {
		f.Services = services.Items
	}
	var pools v1beta1.IPAddressPoolList
	if saw("IPAddressPools", c.List(ctx, &pools)) {
		f.Pools = pools.Items
	}
	var speakers v1beta1.SpeakerList
	if saw("Speakers", c.List(ctx, &speakers)) {
		f.Speakers = speakers.Items
	}
	var deployments appsv1.DeploymentList
	if saw("Deployments", c.List(ctx, &deployments)) {
		f.Deployments = deployments.Items
	}
	var daemonSets appsv1.DaemonSetList
	if saw("DaemonSets", c.List(ctx, &daemonSets)) {
		f.DaemonSets = daemonSets.Items
	}
	var cidrs networkingv1.ServiceCIDRList
	if saw("ServiceCIDRs", c.List(ctx, &cidrs)) { // from Kubernetes 1.33
		f.ServiceCIDRs = cidrs.Items
	}
	var namespace corev1.Namespace
	if saw("namespace "+p.installedIn, c.Get(ctx, client.ObjectKey{Name: p.installedIn}, &namespace)) {
		f.InstalledIn = &namespace
	}
	var proxy corev1.ConfigMap
	if saw("ConfigMap kube-system/kube-proxy", c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "kube-proxy"}, &proxy)) {
		f.KubeProxy = &proxy
	}
	var gossip corev1.Secret
	if saw("Secret "+p.installedIn+"/"+gossipSecret, c.Get(ctx, client.ObjectKey{Namespace: p.installedIn, Name: gossipSecret}, &gossip)) {
		f.Gossip = &gossip
	}
	return f, failed
}
