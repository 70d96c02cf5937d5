package view

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A Cluster is what was seen of one. A nil pointer or list was not seen; Unseen says which those are, and why.
type Cluster struct {
	Controller        *appsv1.Deployment
	Lease             *coordinationv1.Lease
	DaemonSet         *appsv1.DaemonSet
	Services          []corev1.Service
	Pools             []v1beta1.IPAddressPool
	L2Advertisements  []v1beta1.L2Advertisement
	BGPAdvertisements []v1beta1.BGPAdvertisement
	Peers             []v1beta1.BGPPeer
	BFDProfiles       []v1beta1.BFDProfile
	Communities       []v1beta1.Community
	Speakers          []v1beta1.Speaker
	Unseen            []string
	// Missing are the parts of the installation that are not there: who may see them was told so.
	Missing []string
	// Classes are those of the Services that the controller serves.
	Classes v1beta1.ServiceClasses
}

// A Finding is something that needs looking at.
type Finding struct {
	Object  string `json:"object"`
	Text    string `json:"text"`
	Serious bool   `json:"serious"`
}

// A Summary is the whole system on one screen.
type Summary struct {
	Lines    []Line    `json:"lines"`
	Findings []Finding `json:"findings"`
	Unseen   []string  `json:"unseen,omitempty"`
}

// A Line says how one part is.
type Line struct {
	Part string `json:"part"`
	Text Cell   `json:"text"`
}

// Summarize looks at everything.
func Summarize(now time.Time, c Cluster) Summary {
	s := Summary{Unseen: c.Unseen}
	for _, what := range c.Missing {
		s.find(true, "Clarion", "%s", what)
	}
	s.controller(now, c)
	s.speakers(c)
	s.pools(c)
	s.services(now, c)
	s.sessions(c)
	s.objects(c)
	slices.SortStableFunc(s.Findings, func(a, b Finding) int {
		if a.Serious != b.Serious {
			if a.Serious {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Object, b.Object)
	})
	return s
}

// Healthy is whether nothing serious was found.
func (s Summary) Healthy() bool {
	return !slices.ContainsFunc(s.Findings, func(f Finding) bool { return f.Serious })
}

func (s *Summary) line(part string, text Cell) { s.Lines = append(s.Lines, Line{part, text}) }

func (s *Summary) find(serious bool, object, format string, args ...any) {
	s.Findings = append(s.Findings, Finding{Object: object, Text: fmt.Sprintf(format, args...), Serious: serious})
}

func (s *Summary) controller(now time.Time, c Cluster) {
	text := Cell{Text: "not seen"}
	if d := c.Controller; d != nil {
		wanted := int32(1)
		if d.Spec.Replicas != nil {
			wanted = *d.Spec.Replicas
		}
		text = Good.cell(fmt.Sprintf("%d/%d replicas ready", d.Status.ReadyReplicas, wanted))
		if d.Status.ReadyReplicas < wanted {
			text.Mood = Doubtful
		}
		switch {
		case wanted == 0:
			text.Mood = Bad
			s.find(true, "Deployment/"+d.Namespace+"/"+d.Name, "it is scaled to none: Services get no addresses; kubectl -n %s scale deployment %s --replicas=2", d.Namespace, d.Name)
		case d.Status.ReadyReplicas == 0:
			text.Mood = Bad
			s.find(true, "Deployment/"+d.Namespace+"/"+d.Name, "no replica is ready: Services get no addresses; see kubectl -n %s describe deployment,pod", d.Namespace)
		}
	}
	if l := c.Lease; l != nil {
		switch {
		case l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "":
			text.Text += ", none leads"
		case l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil ||
			now.Sub(l.Spec.RenewTime.Time) > time.Duration(*l.Spec.LeaseDurationSeconds)*time.Second:
			text.Text += ", the leader has not been heard of in time"
			text.Mood = Bad
			since := ""
			if l.Spec.RenewTime != nil {
				since = " for " + Ago(now, l.Spec.RenewTime.Time)
			}
			s.find(true, "Lease/"+l.Namespace+"/"+l.Name, "%s has not renewed it%s: the controller does not run or can't reach the API server, or its clock is not that of this computer",
				*l.Spec.HolderIdentity, since)
		default:
			text.Text += ", " + *l.Spec.HolderIdentity + " leads"
			if l.Spec.AcquireTime != nil {
				text.Text += " for " + Ago(now, l.Spec.AcquireTime.Time)
			}
		}
	}
	s.line("Controller", text)
}

func (s *Summary) speakers(c Cluster) {
	good := 0
	for _, o := range c.Speakers {
		if meta.IsStatusConditionTrue(o.Status.Conditions, conditionReady) {
			good++
		}
	}
	mood := Good
	if good < len(c.Speakers) || good == 0 {
		mood = Bad
	}
	text := fmt.Sprintf("%d of %d ready", good, len(c.Speakers))
	if d := c.DaemonSet; d != nil {
		// A node whose speaker never ran has no Speaker.
		name, wanted, ready := "DaemonSet/"+d.Namespace+"/"+d.Name, d.Status.DesiredNumberScheduled, d.Status.NumberReady
		switch {
		case wanted == 0 && d.Generation == d.Status.ObservedGeneration:
			mood = Bad
			s.find(true, name, "it selects no node: nothing is announced; see its nodeSelector")
		case ready < wanted:
			mood = Bad
			text += fmt.Sprintf(", Pods of %d of %d nodes", ready, wanted)
			s.find(true, name, "%d of %d Pods are ready; why, tells: kubectl clarion doctor", ready, wanted)
		}
	}
	s.line("Speakers", mood.cell(text))
}

func (s *Summary) pools(c Cluster) {
	var usages []string
	for _, p := range c.Pools {
		if p.Status.Usage != "" {
			usages = append(usages, p.Name+" "+p.Status.Usage)
		}
	}
	slices.Sort(usages)
	text, mood := "none: no Service gets an address before there is one", Bad
	if n := len(c.Pools); n > 0 {
		text, mood = fmt.Sprintf("%d", n), Good
		if len(usages) > 0 {
			text += ": " + strings.Join(usages, ", ")
		}
	}
	s.line("Pools", mood.cell(text))
	if len(c.Pools) > 0 && len(c.L2Advertisements)+len(c.BGPAdvertisements) == 0 && c.L2Advertisements != nil {
		s.find(true, "IPAddressPool", "no advertisement covers any pool: addresses are assigned and not announced; create an L2Advertisement or BGPAdvertisement")
	}
}

// Astray reports whether a reason of a Service that is announced says that somebody else answers for it, too.
func Astray(reason string) bool {
	return reason == string(v1beta1.ReasonAddressConflict) || reason == string(v1beta1.ReasonKubeProxyAnswersARP)
}

// unseenFor is how old a Service must be to be missed by the controller.
const unseenFor = 10 * time.Second

func (s *Summary) services(now time.Time, c Cluster) {
	var total, assigned, announced, waiting int
	for _, svc := range c.Services {
		if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		name := "Service/" + svc.Namespace + "/" + svc.Name
		has := meta.FindStatusCondition(svc.Status.Conditions, string(v1beta1.ConditionAddressAssigned))
		said := meta.FindStatusCondition(svc.Status.Conditions, string(v1beta1.ConditionAnnounced))
		if has == nil && said == nil {
			if c.Classes.Serves(svc.Spec.LoadBalancerClass) && len(svc.Status.LoadBalancer.Ingress) == 0 && now.Sub(svc.CreationTimestamp.Time) > unseenFor {
				if waiting++; len(c.Pools) > 0 {
					s.find(true, name, "the controller has not looked at it, or can't write to it: see kubectl clarion doctor, and the log of the controller that leads")
				}
			}
			continue // nobody's, or another provider's
		}
		total++
		if has != nil && has.Status == metav1.ConditionTrue {
			assigned++
		} else if has != nil {
			s.find(has.Status == metav1.ConditionFalse && len(svc.Status.LoadBalancer.Ingress) == 0, name, "%s: %s", has.Reason, has.Message)
		}
		if said != nil && said.Status == metav1.ConditionTrue {
			if announced++; Astray(said.Reason) {
				s.find(true, name, "%s: %s", said.Reason, said.Message)
			}
		} else if said != nil && len(svc.Status.LoadBalancer.Ingress) > 0 {
			s.find(true, name, "%s: %s", said.Reason, said.Message)
		}
	}
	mood := Good
	if assigned < total || announced < assigned || waiting > 0 {
		mood = Doubtful
	}
	text := fmt.Sprintf("%d served, %d with their addresses, %d announced", total, assigned, announced)
	if waiting > 0 {
		text += fmt.Sprintf(", %d not looked at", waiting)
	}
	s.line("Services", mood.cell(text))
	if waiting > 0 && c.Pools != nil && len(c.Pools) == 0 {
		s.find(true, "IPAddressPool", "there is none, and %d Services wait for one: create it (docs/how-to/manage-pools.md)", waiting)
	}
}

func (s *Summary) sessions(c Cluster) {
	var up, wanted int32
	for _, sp := range c.Speakers {
		if b := sp.Status.BGP; b != nil {
			up, wanted = up+b.SessionsUp, wanted+b.SessionsWanted
		}
	}
	for _, t := range SessionTroubles(c.Speakers) {
		s.find(!t.Up, "BGPPeer/"+t.Peer, "%s → %s", t, t.Do())
	}
	if wanted == 0 && len(c.Peers) == 0 {
		return
	}
	mood := Good
	if up < wanted {
		mood = Bad
	}
	s.line("BGP sessions", mood.cell(fmt.Sprintf("%d of %d up", up, wanted)))
}

// objects finds what conditions say of Clarion's own objects.
func (s *Summary) objects(c Cluster) {
	for _, t := range Troubles(c) {
		s.find(t.Serious, t.Kind+"/"+t.Name, "%s: %s", t.Condition.Reason, t.Condition.Message)
	}
	running := map[string]bool{}
	for _, o := range c.Speakers {
		running[o.Name] = meta.IsStatusConditionTrue(o.Status.Conditions, conditionReady)
	}
	for _, o := range c.Speakers {
		for _, condition := range o.Status.Conditions {
			if amiss, serious := isAmiss(condition); amiss {
				s.find(serious, "Speaker/"+o.Name, "%s: %s", condition.Reason, condition.Message)
			}
		}
		if m := o.Status.Membership; m != nil && running[o.Name] {
			// Who is lost is not heard: that is as it should be.
			if missing := slices.DeleteFunc(slices.Clone(m.Missing), func(name string) bool { return !running[name] }); len(missing) > 0 {
				s.find(true, "Speaker/"+o.Name, "has not heard for long those of %s, which run: TCP and UDP 7956 must pass between the nodes; see kubectl clarion doctor",
					FirstFew(missing))
			}
		}
	}
}

// findings is how many are printed unless all are asked for.
const findings = 20

// Print prints the summary.
func (s Summary) Print(w io.Writer, style Style) error {
	t := Table{Columns: []Column{{Name: "CLARION"}, {Name: ""}}}
	for _, l := range s.Lines {
		t.Rows = append(t.Rows, []Cell{{Text: l.Part}, l.Text})
	}
	if err := t.Print(w, style); err != nil {
		return err
	}
	if len(s.Findings) > 0 {
		found := Table{Columns: []Column{{Name: "TO LOOK AT"}, {Name: ""}}}
		for i, f := range s.Findings {
			if i == findings && !style.Wide {
				found.Rows = append(found.Rows, []Cell{cell("and %d more (-o wide)", len(s.Findings)-i), {}})
				break
			}
			mood := Doubtful
			if f.Serious {
				mood = Bad
			}
			found.Rows = append(found.Rows, []Cell{mood.cell(f.Object), {Text: f.Text}})
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := found.Print(w, style); err != nil {
			return err
		}
	}
	for _, u := range s.Unseen {
		if _, err := fmt.Fprintf(w, "\nNot seen: %s", u); err != nil {
			return err
		}
	}
	if len(s.Unseen) > 0 {
		_, err := fmt.Fprintln(w)
		return err
	}
	return nil
}
