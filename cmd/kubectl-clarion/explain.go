package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
	"github.com/clarion-lb/clarion/controller"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// classes are the settings of the controller that decide whom it serves.
type classes struct {
	names     []string
	unclassed bool
}

const (
	flagClasses   = "load-balancer-classes"
	flagUnclassed = "serve-unclassed-services"
)

func (c *classes) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&c.names, flagClasses, []string{v1beta1.DefaultLoadBalancerClass}, "As the controller has it, which is read from its Deployment unless this is given.")
	cmd.Flags().BoolVar(&c.unclassed, flagUnclassed, true, "As the controller has it, which is read from its Deployment unless this is given.")
}

// asInstalled takes what was not said from the controller's Deployment, as far as the caller may read it.
func (c *classes) asInstalled(ctx context.Context, objects client.Client, namespace string, said *pflag.FlagSet) {
	var d appsv1.Deployment
	if objects.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "clarion-controller"}, &d) != nil {
		return
	}
	theirs := classesOf(&d)
	if !said.Changed(flagClasses) {
		c.names = theirs.Classes
	}
	if !said.Changed(flagUnclassed) {
		c.unclassed = theirs.Unclassed
	}
}

// classesOf reads from the controller's command line whom it serves.
func classesOf(d *appsv1.Deployment) v1beta1.ServiceClasses {
	var c classes
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.StringSliceVar(&c.names, flagClasses, []string{v1beta1.DefaultLoadBalancerClass}, "")
	flags.BoolVar(&c.unclassed, flagUnclassed, true, "")
	for _, container := range d.Spec.Template.Spec.Containers {
		_ = flags.Parse(container.Args) // what can't be read the controller itself complains of
	}
	return c.served()
}

func (c *classes) served() v1beta1.ServiceClasses {
	return v1beta1.ServiceClasses{Classes: c.names, Unclassed: c.unclassed}
}

func (p *program) explain() *cobra.Command {
	c := &cobra.Command{Use: "explain", Short: "Say why something is as it is", Args: cobra.NoArgs}
	c.AddCommand(p.explainService())
	return c
}

func (p *program) explainService() *cobra.Command {
	var (
		o      output
		served classes
		noLive bool
	)
	c := &cobra.Command{
		Use:     "service NAMESPACE/NAME",
		Aliases: []string{"svc"},
		Short:   "Say why a Service has its addresses, or has none, and whether they are announced",
		Long: `Say why a Service has its addresses, or has none, and whether they are announced: which pools were considered and why each was used or not, which
node announces each address and since when, why each other node does not, the sessions with routers, what happened lately, and what to do next.

It runs the controller's own decision on what you may read, and asks the speakers by port-forward; what you may not read or reach it says. The exit code
is 1 where the Service lacks an address or is not announced, or where another host answers for its address, too.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: p.services,
		RunE: func(c *cobra.Command, args []string) error {
			namespace, name, err := p.service(args[0])
			if err != nil {
				return err
			}
			objects, err := p.objects()
			if err != nil {
				return err
			}
			well := true
			served.asInstalled(c.Context(), objects, p.installedIn, c.Flags())
			err = p.show(c.Context(), o, func(ctx context.Context) (printer, any, error) {
				e, err := explanationOf(ctx, objects, client.ObjectKey{Namespace: namespace, Name: name}, served.served())
				if err == nil && e.Served && len(e.Addresses) > 0 && !noLive {
					e.askLive(ctx, p, func() (inspector, error) { return p.liveSpeakers(ctx, objects) })
				}
				e.conclude()
				well = e.Well
				return e, e, err
			})
			if err == nil && !well {
				return errUnhealthy
			}
			return err
		},
	}
	o.flags(c)
	served.flags(c)
	c.Flags().BoolVar(&noLive, "no-live", false, "Do not ask the speakers, and go by objects alone.")
	return c
}

// explanation is what there is to say of a Service.
type explanation struct {
	Service string `json:"service"`
	Served  bool   `json:"served"`
	Asks    string `json:"asks,omitempty"`
	// Ignored are annotations that look like ours and mean nothing.
	Ignored   []string          `json:"ignored,omitempty"`
	Addresses []string          `json:"addresses"`
	Assigned  *metav1.Condition `json:"assigned,omitempty"`
	Announced *metav1.Condition `json:"announced,omitempty"`
	// Decision is what the controller's own rules say now.
	Decision string         `json:"decision"`
	Pools    []ipam.Verdict `json:"pools,omitempty"`
	// Announcing is who announces each address, as the speakers see it now, and Routers the sessions that addresses go by.
	Announcing []announcing    `json:"announcing,omitempty"`
	Routers    []routerSession `json:"routers,omitempty"`
	Events     []string        `json:"events,omitempty"`
	Unseen     []string        `json:"unseen,omitempty"`
	Next       string          `json:"next,omitempty"`
	Well       bool            `json:"well"`
	// noPool is whether there is none in the cluster, so that the controller leaves all Services to others; else thereAre those.
	noPool   bool
	thereAre []string
}

func explanationOf(ctx context.Context, c client.Client, key client.ObjectKey, served v1beta1.ServiceClasses) (explanation, error) {
	e := explanation{Service: key.String()}
	var service corev1.Service
	if err := c.Get(ctx, key, &service); err != nil {
		return e, noService(key, err)
	}
	seen := controller.Seen{Classes: served, Now: time.Now()}
	var failed error
	saw := func(what string, err error) bool {
		switch {
		case err == nil:
			return true
		case apierrors.IsForbidden(err):
			e.Unseen = append(e.Unseen, what+": you may not list them")
		case meta.IsNoMatchError(err):
			e.Unseen = append(e.Unseen, what+": the API server does not know the kind; apply Clarion's CRDs, which are in its manifest and chart")
		default:
			failed = fmt.Errorf("read %s: %w", what, err)
		}
		return false
	}
	var (
		services   corev1.ServiceList
		pools      v1beta1.IPAddressPoolList
		namespaces corev1.NamespaceList
		nodes      corev1.NodeList
		speakers   v1beta1.SpeakerList
		routes     v1beta1.BGPAdvertisementList
		events     eventsv1.EventList
	)
	if saw("other namespaces' Services", c.List(ctx, &services)) {
		seen.Services = append([]corev1.Service{}, services.Items...)
	}
	if saw("IPAddressPools", c.List(ctx, &pools)) {
		seen.Pools = append([]v1beta1.IPAddressPool{}, pools.Items...)
	}
	if saw("namespaces", c.List(ctx, &namespaces)) {
		seen.Namespaces = namespaces.Items
	}
	if saw("nodes", c.List(ctx, &nodes)) {
		seen.Nodes = nodes.Items
	}
	if saw("Speakers", c.List(ctx, &speakers)) {
		seen.Speakers = speakers.Items
	}
	if saw("BGPAdvertisements", c.List(ctx, &routes)) && goesByBGP(&service, pools.Items, routes.Items) {
		e.Routers = sessionsOf(speakers.Items)
	}
	if saw("events", c.List(ctx, &events, client.InNamespace(key.Namespace))) {
		e.Events = lately(time.Now(), ofService(events.Items, &service))
	}
	if failed != nil {
		return e, failed
	}
	e.fill(&service, seen)
	return e, nil
}

// noService says in which namespace a Service was looked for.
func noService(key client.ObjectKey, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no Service %s in namespace %s", key.Name, key.Namespace)
	}
	return err
}

// fill says of a Service what follows from what is seen.
func (e *explanation) fill(service *corev1.Service, seen controller.Seen) {
	for _, in := range service.Status.LoadBalancer.Ingress {
		e.Addresses = append(e.Addresses, in.IP+in.Hostname)
	}
	e.Assigned = meta.FindStatusCondition(service.Status.Conditions, string(v1beta1.ConditionAddressAssigned))
	e.Announced = meta.FindStatusCondition(service.Status.Conditions, string(v1beta1.ConditionAnnounced))
	e.Served = seen.Served(service)
	if !e.Served {
		switch {
		case service.Spec.Type != corev1.ServiceTypeLoadBalancer:
			e.Decision = fmt.Sprintf("not a LoadBalancer: its type is %s", service.Spec.Type)
			e.Next = "If it is to have an address: spec.type: LoadBalancer."
		case service.Spec.LoadBalancerClass != nil:
			e.Decision = fmt.Sprintf("another provider's: its loadBalancerClass is %s, and Clarion serves %s", *service.Spec.LoadBalancerClass, strings.Join(seen.Classes.Classes, ", "))
			e.Next = "If Clarion is to serve it: make it anew with another spec.loadBalancerClass, which can't be changed, or add this one to the controller's and the speakers' --load-balancer-classes."
		default:
			e.Decision = "another provider's: Clarion serves no Services without a loadBalancerClass here"
			e.Next = "If Clarion is to serve it: make it anew with spec.loadBalancerClass: " + strings.Join(seen.Classes.Classes, " or ") + "."
		}
		return
	}
	for name := range service.Annotations {
		if meant := v1beta1.Misspelt(name); meant != "" {
			e.Ignored = append(e.Ignored, "the annotation "+name+" means nothing: write "+meant)
		}
	}
	slices.Sort(e.Ignored)
	if asked, err := v1beta1.ParseRequest(service.Annotations, service.Spec.LoadBalancerIP); err == nil {
		e.Asks = asks(asked)
	}
	if seen.Pools == nil || seen.Services == nil {
		e.Decision = "not worked out here, as you may not read all that it depends on; the controller's own words follow"
	} else {
		e.noPool = len(seen.Pools) == 0
		for _, p := range seen.Pools {
			e.thereAre = append(e.thereAre, p.Name)
		}
		d := seen.Explain(service)
		e.Decision = d.Told()
		if d.Reason != "" {
			e.Decision = string(d.Reason) + ": " + e.Decision
		}
		e.Pools = d.Story
	}
}

// askLive adds what the speakers say.
func (e *explanation) askLive(ctx context.Context, p *program, find func() (inspector, error)) {
	speakers, err := find()
	if err == nil {
		e.Announcing, err = announcedBy(ctx, speakers, e.Service)
	}
	if err != nil {
		e.Unseen = append(e.Unseen, "who announces it, node by node: "+p.unseenLive(err))
	}
}

// conclude says whether all is well, and what to do next.
func (e *explanation) conclude() {
	if !e.Served {
		return
	}
	is := func(c *metav1.Condition) bool { return c != nil && c.Status == metav1.ConditionTrue }
	// True, and yet traffic goes astray: another host or kernel answers, too.
	astray := is(e.Announced) && view.Astray(e.Announced.Reason)
	e.Well = is(e.Assigned) && is(e.Announced) && !astray
	switch {
	case e.Assigned == nil && e.noPool:
		e.Next = "Create an IPAddressPool: while there is none, Clarion leaves all Services to others (docs/how-to/manage-pools.md)."
	case e.Assigned == nil:
		e.Next = "The controller has not looked at it, or can't write to it: see kubectl clarion doctor, and the log of the controller that leads."
	case e.Assigned.Status == metav1.ConditionFalse:
		e.Next = doAbout(e.Assigned.Reason)
		if e.Assigned.Reason == string(v1beta1.ReasonPoolNotFound) && len(e.thereAre) > 0 {
			e.Next += " There are: " + view.FirstFew(e.thereAre) + "."
		}
		e.Next += " The Service is tried again by itself as soon as that has changed."
	case !is(e.Assigned):
		e.Next = doAbout(e.Assigned.Reason)
	case !is(e.Announced):
		e.Next = e.nextOf()
	case astray:
		e.Next = doAbout(e.Announced.Reason)
	}
}

func asks(r v1beta1.Request) string {
	var out []string
	if len(r.Addresses) > 0 {
		var list []string
		for _, a := range r.Addresses {
			list = append(list, netip.Addr.String(a))
		}
		out = append(out, "the address "+strings.Join(list, ", "))
	}
	if r.Pool != "" {
		out = append(out, "the pool "+r.Pool)
	}
	if r.SharingKey != "" {
		out = append(out, "to share under the key "+r.SharingKey)
	}
	return strings.Join(out, ", ")
}

// ofService picks out what Clarion told of a Service; of one that is gone, and so has no UID, by its name.
func ofService(events []eventsv1.Event, service *corev1.Service) []eventsv1.Event {
	return slices.DeleteFunc(events, func(e eventsv1.Event) bool {
		its := e.Regarding.UID == service.UID
		if service.UID == "" {
			its = e.Regarding.Kind == "Service" && e.Regarding.Name == service.Name
		}
		return !its || !strings.HasPrefix(e.ReportingController, v1beta1.AnnotationPrefix)
	})
}

// lastEvents is how many events an explanation has.
const lastEvents = 5

func lately(now time.Time, events []eventsv1.Event) []string {
	byTime(events)
	var out []string
	for _, e := range events[max(0, len(events)-lastEvents):] {
		out = append(out, fmt.Sprintf("%s ago %s: %s", view.Ago(now, lastOf(e)), e.Reason, e.Note))
	}
	return out
}

// Print prints the explanation.
func (e explanation) Print(w io.Writer, s view.Style) error {
	t := view.Table{Columns: []view.Column{{Name: "SERVICE"}, {Name: e.Service}}}
	row := func(name string, mood view.Mood, text string) {
		if text != "" {
			t.Rows = append(t.Rows, []view.Cell{{Text: name}, {Text: text, Mood: mood}})
		}
	}
	condition := func(name string, c *metav1.Condition) {
		if c == nil {
			row(name, view.Doubtful, "nothing said")
			return
		}
		mood := view.Bad
		if c.Status == metav1.ConditionTrue {
			mood = view.Good
		}
		row(name, mood, fmt.Sprintf("%s, %s: %s", c.Status, c.Reason, c.Message))
	}
	row("Asks for", view.Plain, e.Asks)
	for _, text := range e.Ignored {
		row("Not understood", view.Doubtful, text)
	}
	addresses := strings.Join(e.Addresses, ", ")
	if addresses == "" {
		addresses = "none"
	}
	row("Addresses", view.Plain, addresses)
	row("Decision", view.Plain, e.Decision)
	for _, v := range e.Pools {
		row("  "+v.Pool, view.Plain, v.Text)
	}
	if e.Served {
		condition("Assigned", e.Assigned)
		condition("Announced", e.Announced)
	}
	t.Rows = append(t.Rows, e.rowsOf(s, time.Now())...)
	for i, event := range e.Events {
		name := ""
		if i == 0 {
			name = "Lately"
		}
		row(name, view.Plain, event)
	}
	for i, u := range e.Unseen {
		name := "Not seen"
		if i > 0 {
			name = ""
		}
		row(name, view.Doubtful, u)
	}
	row("Next", view.Plain, e.Next)
	return t.Print(w, s)
}
