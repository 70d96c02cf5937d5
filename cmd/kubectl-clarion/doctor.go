package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/doctor"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/live"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
	"github.com/clarion-lb/clarion/speaker/inspect"
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
	for i, r := range f {
		t.Rows = append(t.Rows, []view.Cell{{Text: r.Check}, {Text: string(r.Grade), Mood: moods[r.Grade]}, {Text: r.Found}})
		if r.Do != "" && (i+1 == len(f) || f[i+1].Check != r.Check || f[i+1].Do != r.Do) { // said once of several
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
	f := doctor.Facts{Namespace: p.installedIn, Plugin: version}
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
	if len(f.Resources) > 0 {
		if f.UnknownFields, err = unknownFields(found); err != nil {
			f.Unseen = append(f.Unseen, "the schemas of Clarion's kinds can't be read: "+err.Error())
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
		f.Deployments = append([]appsv1.Deployment{}, deployments.Items...)
	}
	var daemonSets appsv1.DaemonSetList
	if saw("DaemonSets", c.List(ctx, &daemonSets)) {
		f.DaemonSets = append([]appsv1.DaemonSet{}, daemonSets.Items...)
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
	var l2 v1beta1.L2AdvertisementList
	if saw("L2Advertisements", c.List(ctx, &l2)) {
		f.L2Advertisements = append([]v1beta1.L2Advertisement{}, l2.Items...)
	}
	var bgp v1beta1.BGPAdvertisementList
	if saw("BGPAdvertisements", c.List(ctx, &bgp)) {
		f.BGPAdvertisements = append([]v1beta1.BGPAdvertisement{}, bgp.Items...)
	}
	var peers v1beta1.BGPPeerList
	if saw("BGPPeers", c.List(ctx, &peers)) {
		f.Peers = peers.Items
	}
	var profiles v1beta1.BFDProfileList
	if saw("BFDProfiles", c.List(ctx, &profiles)) {
		f.BFDProfiles = profiles.Items
	}
	var communities v1beta1.CommunityList
	if saw("Communities", c.List(ctx, &communities)) {
		f.Communities = communities.Items
	}
	var policies admissionv1.ValidatingAdmissionPolicyList
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	if saw("ValidatingAdmissionPolicies", c.List(ctx, &policies)) && saw("ValidatingAdmissionPolicyBindings", c.List(ctx, &bindings)) {
		f.MissingPolicies = missingPolicies(policies.Items, bindings.Items)
	}
	var pods corev1.PodList
	if saw("Pods in namespace "+p.installedIn, c.List(ctx, &pods, client.InNamespace(p.installedIn))) {
		f.Pods = append([]corev1.Pod{}, pods.Items...)
	}
	var events corev1.EventList
	if saw("events in namespace "+p.installedIn, c.List(ctx, &events, client.InNamespace(p.installedIn))) {
		f.Refusals = refusals(events.Items, time.Now())
	}
	var kubeadm corev1.ConfigMap
	if saw("ConfigMap kube-system/kubeadm-config", c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "kubeadm-config"}, &kubeadm)) {
		f.KubeadmNetworking = networking(kubeadm.Data["ClusterConfiguration"])
	}
	f.NoStandIn, f.IgnoreExcludeLabel = flagsOf(f.DaemonSets, p.installedIn)
	if failed == nil && f.InstalledIn != nil {
		lacking, err := p.lacking(ctx, c, f.Peers, f.BFDProfiles)
		if saw("whether Clarion has its rights (create subjectaccessreviews)", err) {
			f.Lacking = lacking
		}
		p.seeHosts(ctx, config, c, &f)
	}
	return f, failed
}

// seeHosts has the speakers tell of their hosts.
func (p *program) seeHosts(ctx context.Context, config *rest.Config, c client.Client, f *doctor.Facts) {
	speakers, err := live.Find(ctx, config, c, p.installedIn)
	if err != nil {
		return // which other checks tell
	}
	reports, failed := speakers.InspectAll(ctx)
	if len(reports) > 0 {
		f.Hosts = map[string]inspect.Host{}
	}
	for node, r := range reports {
		f.Hosts[node] = r.Host
	}
	f.HostsUnseen = failed
	for _, err := range failed {
		if len(reports) == 0 && strings.Contains(err.Error(), "forbidden") {
			f.Unseen, f.HostsUnseen = append(f.Unseen, "you may not forward ports to Pods in namespace "+p.installedIn), nil
			return
		}
	}
}

// missingPolicies are those of Clarion's that are not there.
func missingPolicies(policies []admissionv1.ValidatingAdmissionPolicy, bindings []admissionv1.ValidatingAdmissionPolicyBinding) []string {
	out := []string{}
	for _, name := range []string{"clarion-speaker-objects", "clarion-speaker-services"} {
		if !slices.ContainsFunc(policies, func(p admissionv1.ValidatingAdmissionPolicy) bool { return p.Name == name }) {
			out = append(out, "ValidatingAdmissionPolicy "+name)
		} else if !slices.ContainsFunc(bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool {
			return b.Spec.PolicyName == name && slices.Contains(b.Spec.ValidationActions, admissionv1.Deny)
		}) {
			out = append(out, "a ValidatingAdmissionPolicyBinding that has "+name+" deny")
		}
	}
	return out
}

// refusals are what the events of late say of Pods that were not made: the last one of each workload, by kind and name.
func refusals(events []corev1.Event, now time.Time) map[string]string {
	const late = 10 * time.Minute
	out, last := map[string]string{}, map[string]time.Time{}
	for _, e := range events {
		at := e.LastTimestamp.Time
		if at.IsZero() {
			at = e.EventTime.Time
		}
		of := e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name
		if e.Reason == "FailedCreate" && now.Sub(at) < late && !at.Before(last[of]) {
			out[of], last[of] = e.Message, at
		}
	}
	return out
}

// networking reads kubeadm's configuration; nil where it can't be read.
func networking(text string) map[string]string {
	var c struct {
		Networking struct {
			PodSubnet     string `json:"podSubnet"`
			ServiceSubnet string `json:"serviceSubnet"`
		} `json:"networking"`
	}
	if text == "" || yaml.Unmarshal([]byte(text), &c) != nil {
		return nil
	}
	return map[string]string{"the Pods' network (kubeadm)": c.Networking.PodSubnet, "the cluster IPs (kubeadm)": c.Networking.ServiceSubnet}
}

// flagsOf reads what matters of the speakers' command line.
func flagsOf(all []appsv1.DaemonSet, namespace string) (noStandIn, ignoreExcludeLabel bool) {
	for _, d := range all {
		if d.Namespace != namespace || d.Name != "clarion-speaker" {
			continue
		}
		for _, c := range d.Spec.Template.Spec.Containers {
			noStandIn = noStandIn || slices.Contains(c.Args, "--stand-in=false")
			ignoreExcludeLabel = ignoreExcludeLabel || slices.Contains(c.Args, "--ignore-exclude-label") || slices.Contains(c.Args, "--ignore-exclude-label=true")
		}
	}
	return noStandIn, ignoreExcludeLabel
}
