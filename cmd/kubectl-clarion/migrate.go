package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/metallb"
	"github.com/clarion-lb/clarion/controller"
)

func (p *program) migrate() *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Say in Clarion's words how another load balancer is configured",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(p.migrateMetalLB())
	return c
}

func (p *program) migrateMetalLB() *cobra.Command {
	var (
		files []string
		check bool
	)
	c := &cobra.Command{
		Use:   "metallb",
		Short: "Print MetalLB's configuration as Clarion's",
		Long: `Print MetalLB's configuration as Clarion's: its resources in every version, the ConfigMap of 0.12 and before, and the flags of its programs.
Objects go to standard output; what there is to say of them, to standard error. Nothing is written to the cluster.

As it runs in the cluster:

  kubectl clarion migrate metallb > clarion.yaml

As it stands in files:

  kubectl clarion migrate metallb --from-file metallb.yaml

Would each Service of the cluster keep its addresses:

  kubectl clarion migrate metallb --check

Then look at the result with Clarion in observe mode before it serves anything.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var objects []unstructured.Unstructured
			var unseen []string
			var err error
			if len(files) > 0 {
				objects, err = p.readFiles(files)
			} else {
				objects, unseen, err = p.readCluster(c.Context())
			}
			if err != nil {
				return err
			}
			result := metallb.Convert(objects, metallb.Options{Namespace: p.installedIn})
			if len(result.Objects) == 0 && len(result.Notes) == 0 {
				return errors.New("there is nothing of MetalLB's: neither objects of metallb.io nor a ConfigMap with address-pools")
			}
			if check {
				return p.checkMigration(c.Context(), result)
			}
			return errors.Join(p.printObjects(result), p.report(result, unseen))
		},
	}
	c.Flags().BoolVar(&check, "check", false, "Print no objects, but whether each Service of the cluster would keep its addresses with them; the exit code tells.")
	c.Flags().StringArrayVarP(&files, "from-file", "f", nil, "File with MetalLB's objects, instead of the cluster's; - for standard input. May be repeated.")
	return c
}

// readCluster reads all that is MetalLB's, and says what could not be seen.
func (p *program) readCluster(ctx context.Context) (objects []unstructured.Unstructured, unseen []string, err error) {
	config, err := p.client()
	if err != nil {
		return nil, nil, err
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	list := func(resource schema.GroupVersionResource, namespace string) error {
		l, err := client.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		switch {
		case err == nil:
			objects = append(objects, l.Items...)
		case apierrors.IsForbidden(err):
			unseen = append(unseen, resource.Resource)
		default:
			return fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		return nil
	}
	groups, err := found.ServerGroups()
	if err != nil {
		return nil, nil, err
	}
	for _, group := range groups.Groups {
		if group.Name != "metallb.io" && group.Name != "frrk8s.metallb.io" {
			continue
		}
		seen := map[string]bool{}
		for _, version := range append([]metav1.GroupVersionForDiscovery{group.PreferredVersion}, group.Versions...) {
			resources, err := found.ServerResourcesForGroupVersion(version.GroupVersion)
			if err != nil {
				return nil, nil, err
			}
			gv, _ := schema.ParseGroupVersion(version.GroupVersion)
			for _, r := range resources.APIResources {
				// Status objects say what is, not what is wanted.
				if seen[r.Name] || strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || strings.HasSuffix(r.Kind, "Status") || strings.HasSuffix(r.Kind, "State") {
					continue
				}
				seen[r.Name] = true
				if err := list(gv.WithResource(r.Name), ""); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	for _, resource := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "daemonsets"}, {Version: "v1", Resource: "services"},
	} {
		if err := list(resource, ""); err != nil {
			return nil, nil, err
		}
	}
	for _, namespace := range metallb.Namespaces(objects) {
		if err := list(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, namespace); err != nil {
			return nil, nil, err
		}
	}
	return objects, unseen, nil
}

func (p *program) printObjects(result metallb.Result) error {
	for i, object := range result.Objects {
		content, err := yaml.Marshal(object.Object)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(p.Out, "---")
		}
		if _, err := p.Out.Write(content); err != nil {
			return err
		}
	}
	return nil
}

// checkMigration runs the controller's own decisions on the cluster's Services, as if it began with the pools that were converted.
func (p *program) checkMigration(ctx context.Context, result metallb.Result) error {
	objects, err := p.objects()
	if err != nil {
		return err
	}
	seen := controller.Seen{Classes: v1beta1.ServiceClasses{Classes: []string{v1beta1.DefaultLoadBalancerClass}, Unclassed: true}, Now: time.Now()}
	if class, found, _ := unstructured.NestedStringSlice(result.Values, "loadBalancerClasses"); found {
		seen.Classes = v1beta1.ServiceClasses{Classes: class}
	}
	for _, o := range result.Objects {
		if o.GetKind() != "IPAddressPool" {
			continue
		}
		var pool v1beta1.IPAddressPool
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pool); err != nil {
			return err
		}
		seen.Pools = append(seen.Pools, pool)
	}
	var services corev1.ServiceList
	var namespaces corev1.NamespaceList
	var nodes corev1.NodeList
	if err := errors.Join(objects.List(ctx, &services), objects.List(ctx, &namespaces), objects.List(ctx, &nodes)); err != nil {
		return err
	}
	seen.Services, seen.Namespaces, seen.Nodes = services.Items, namespaces.Items, nodes.Items
	kept := 0
	for i := range seen.Services {
		if s := &seen.Services[i]; seen.Served(s) && len(s.Status.LoadBalancer.Ingress) > 0 {
			kept++
		}
	}
	changes := seen.Changes()
	for _, c := range changes {
		fmt.Fprintf(p.Out, "Service %s/%s would not keep %v: %s: %s\n", c.Service.Namespace, c.Service.Name, c.Has, c.Decision.Reason, c.Decision.Told())
	}
	fmt.Fprintf(p.Out, "%d of %d Services with addresses keep them\n", kept-len(changes), kept)
	if len(changes) > 0 {
		return errUnhealthy
	}
	return nil
}

var headings = map[metallb.Verdict]string{
	metallb.Unsupported: "Has no counterpart",
	metallb.Todo:        "To be done by hand",
	metallb.Differs:     "Differs",
	metallb.Ineffective: "Had no effect in MetalLB",
	metallb.Better:      "Gets better",
}

// report prints what there is to say of the objects.
func (p *program) report(result metallb.Result, unseen []string) error {
	var b strings.Builder
	if len(unseen) > 0 {
		fmt.Fprintf(&b, "You may not list, and so were not looked at: %s.\n", strings.Join(unseen, ", "))
	}
	var last metallb.Verdict
	for _, n := range result.Notes {
		if n.Verdict != last {
			fmt.Fprintf(&b, "\n%s:\n", headings[n.Verdict])
			last = n.Verdict
		}
		fmt.Fprintf(&b, "  %s\n", n)
	}
	if len(result.Values) > 0 {
		values, err := yaml.Marshal(result.Values)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nValues to install Clarion's chart with:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(string(values)), "\n", "\n  "))
	}
	if len(result.Flags) > 0 {
		fmt.Fprintf(&b, "\nFlags of its programs, without the chart: %s\n", strings.Join(result.Flags, " "))
	}
	_, err := io.WriteString(p.ErrOut, strings.TrimPrefix(b.String(), "\n"))
	return err
}
