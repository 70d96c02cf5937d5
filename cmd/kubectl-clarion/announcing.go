package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/live"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/remedy"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

// announcing is the second half of an explanation: who announces an address, and why nobody else does.
type announcing struct {
	Address string `json:"address"`
	// Owner answers at layer 2, AdvertisedBy by BGP.
	Owner        string           `json:"owner,omitempty"`
	Ownership    string           `json:"ownership,omitempty"`
	Answering    []string         `json:"answering,omitempty"`
	Wire         []string         `json:"wire,omitempty"`
	AdvertisedBy []string         `json:"advertisedBy,omitempty"`
	Nodes        []nodeAnnouncing `json:"nodes"`
}

// nodeAnnouncing is what one node does about an address, and why no more.
type nodeAnnouncing struct {
	Node string `json:"node"`
	Does string `json:"does"`
	Why  string `json:"why,omitempty"`
	// Refused is whether the node may not announce it in any way.
	Refused bool           `json:"refused"`
	Reason  v1beta1.Reason `json:"reason,omitempty"`
}

// routerSession is a session that the Service's addresses go by, or should.
type routerSession struct {
	Node       string           `json:"node"`
	Peer       string           `json:"peer"`
	Address    string           `json:"address"`
	State      v1beta1.BGPState `json:"state"`
	Since      time.Time        `json:"since"`
	RoutesSent int32            `json:"routesSent"`
	LastError  string           `json:"lastError,omitempty"`
}

// inspector asks running speakers. It is live.Speakers.
type inspector interface {
	Nodes() []string
	Inspect(ctx context.Context, node string, q inspect.Question) (inspect.Report, error)
	Simulate(ctx context.Context, by string, e inspect.Event, node string) (inspect.Simulation, error)
}

var _ inspector = (*live.Speakers)(nil)

// liveSpeakers finds the running speakers.
func (p *program) liveSpeakers(ctx context.Context, c client.Client) (inspector, error) {
	config, err := p.client()
	if err != nil {
		return nil, err
	}
	s, err := live.Find(ctx, config, c, p.installedIn)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// mostAsked is how many speakers are asked until one answers.
const mostAsked = 3

// unseenLive says why the live view could not be had, and what one would need.
func (p *program) unseenLive(err error) string {
	switch {
	case apierrors.IsForbidden(err), strings.Contains(err.Error(), "forbidden"):
		return "you may not list Pods, or not forward ports to them (create pods/portforward), in namespace " + p.installedIn
	case errors.Is(err, live.ErrNone):
		return err.Error() + " (another one: --clarion-namespace)"
	}
	return err.Error()
}

// announcedBy asks speakers about a Service's addresses: any of them, and of each address its owner, who alone knows what comes of it on
// the wire.
func announcedBy(ctx context.Context, speakers inspector, service string) ([]announcing, error) {
	var (
		first inspect.Report
		err   error
	)
	for _, node := range speakers.Nodes()[:min(mostAsked, len(speakers.Nodes()))] {
		if first, err = speakers.Inspect(ctx, node, inspect.Question{Service: service}); err == nil && len(first.WaitsFor) == 0 {
			break
		}
		if apierrors.IsForbidden(err) || errors.Is(err, inspect.ErrUnknown) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	members := map[string]inspect.Member{}
	for _, m := range first.Members {
		members[m.Node] = m
	}
	var out []announcing
	for _, a := range first.Addresses {
		ownerSays := a.Owner == first.Node
		if a.Owner != "" && a.Owner != first.Node && slices.Contains(speakers.Nodes(), a.Owner) {
			// It may have moved meanwhile, or not answer: then this is left out.
			if r, err := speakers.Inspect(ctx, a.Owner, inspect.Question{Address: a.Address}); err == nil && len(r.Addresses) == 1 {
				a.Answering, a.Wire = r.Addresses[0].Answering, r.Addresses[0].Wire
				ownerSays = r.Addresses[0].Owner == a.Owner
			}
		}
		one := announcingOf(a, members)
		if ownerSays && len(a.Answering) == 0 {
			one.silent()
		}
		out = append(out, one)
	}
	return out, nil
}

const (
	answersLayer2 = "answers at layer 2"
	ownsSilently  = "owns it, and does not answer"
)

// silent says of the owner that it does not answer, as it said itself: the address is another host's, or has only just come.
func (a *announcing) silent() {
	for i := range a.Nodes {
		if a.Nodes[i].Node == a.Owner {
			a.Nodes[i].Does = strings.Replace(a.Nodes[i].Does, answersLayer2, ownsSilently, 1)
		}
	}
}

// announcingOf puts into words what a speaker said of an address.
func announcingOf(a inspect.Address, members map[string]inspect.Member) announcing {
	out := announcing{Address: a.Address.String(), Owner: a.Owner, Ownership: a.Ownership, Answering: a.Answering, Wire: a.Wire, AdvertisedBy: a.AdvertisedBy}
	for _, n := range a.Nodes {
		one := nodeAnnouncing{Node: n.Node}
		does := []string{}
		advertises := slices.Contains(a.AdvertisedBy, n.Node)
		if n.Node == a.Owner {
			does = append(does, answersLayer2)
		}
		if advertises {
			does = append(does, "advertises by BGP")
		}
		layer2 := n.Layer2 != v1beta1.ReasonNoAdvertisement
		routed := n.BGP != "" && n.BGP != v1beta1.ReasonNoAdvertisement
		var why []string
		m := members[n.Node]
		switch {
		case n.Node == a.Owner, !layer2 && routed:
		case n.Layer2 == v1beta1.ReasonEligible && (!m.Heard || m.Verdict == "dead"):
			one.Reason = v1beta1.ReasonNoSpeaker
			why = append(why, "NoSpeaker: it might, but its speaker is not heard")
		case n.Layer2 == v1beta1.ReasonEligible:
			if i := slices.Index(a.Deputies, n.Node); i >= 0 {
				why = append(why, fmt.Sprintf("it may; takes it if the owner is lost (deputy %d)", i+1))
			} else {
				why = append(why, "it may; another has it")
			}
		default:
			one.Reason = n.Layer2
			why = append(why, string(n.Layer2)+": "+n.Message)
		}
		if routed && !advertises {
			if one.Reason == "" && !layer2 {
				one.Reason = n.BGP
			}
			why = append(why, "not by BGP: "+string(n.BGP))
		}
		one.Does, one.Why = strings.Join(does, ", "), strings.Join(why, "; ")
		if one.Does == "" {
			one.Does = "nothing"
			one.Refused = one.Reason != ""
		}
		out.Nodes = append(out.Nodes, one)
	}
	// Who does something comes first.
	slices.SortStableFunc(out.Nodes, func(a, b nodeAnnouncing) int {
		rank := func(n nodeAnnouncing) int {
			switch {
			case n.Does != "nothing":
				return 0
			case !n.Refused:
				return 1
			}
			return 2
		}
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.Node, b.Node))
	})
	return out
}

// goesByBGP reports whether any advertisement sends a pool's addresses of a Service to routers.
func goesByBGP(service *corev1.Service, pools []v1beta1.IPAddressPool, ads []v1beta1.BGPAdvertisement) bool {
	labels := map[string]map[string]string{}
	for _, p := range pools {
		labels[p.Name] = p.Labels
	}
	var shows []netip.Addr
	for _, in := range service.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			shows = append(shows, a)
		}
	}
	for _, a := range v1beta1.OurAddresses(service.Annotations, service.Status.Conditions, shows) {
		for _, ad := range ads {
			if s, err := ad.Spec.Selection(); err == nil && s.Pool(a.Pool, labels[a.Pool]) && s.Service(service.Labels) {
				return true
			}
		}
	}
	return false
}

// sessionsOf returns the sessions of all nodes, those that are down first.
func sessionsOf(speakers []v1beta1.Speaker) (out []routerSession) {
	for _, s := range speakers {
		if s.Status.BGP == nil {
			continue
		}
		for _, b := range s.Status.BGP.Sessions {
			out = append(out, routerSession{Node: s.Name, Peer: b.Peer, Address: b.Address, State: b.State, Since: b.Since.Time, RoutesSent: b.RoutesSent, LastError: b.LastError})
		}
	}
	slices.SortStableFunc(out, func(a, b routerSession) int {
		down := func(s routerSession) int {
			if s.State == v1beta1.BGPEstablished {
				return 1
			}
			return 0
		}
		return cmp.Or(down(a)-down(b), strings.Compare(a.Peer, b.Peer), strings.Compare(a.Node, b.Node))
	})
	return out
}

// shownNodes and shownSessions are how many of each are shown unless all are asked for.
const (
	shownNodes    = 12
	shownSessions = 12
)

// rowsOf are the rows about announcing.
func (e explanation) rowsOf(s view.Style, now time.Time) (rows [][]view.Cell) {
	row := func(name string, mood view.Mood, text string) {
		rows = append(rows, []view.Cell{{Text: name}, {Text: text, Mood: mood}})
	}
	for _, a := range e.Announcing {
		text, mood := a.Ownership, view.Plain
		if a.Owner == "" && len(a.AdvertisedBy) > 0 {
			text = "advertised by BGP from " + strings.Join(a.AdvertisedBy, ", ")
		} else if len(a.AdvertisedBy) > 0 {
			text += "; advertised by BGP from " + strings.Join(a.AdvertisedBy, ", ")
		}
		if len(a.Answering) > 0 {
			text += "; answered on " + strings.Join(a.Answering, ", ")
		}
		if a.Owner == "" && len(a.AdvertisedBy) == 0 {
			mood = view.Bad
		}
		row(a.Address, mood, text)
		for _, w := range a.Wire {
			row("", view.Bad, w)
		}
		for i, n := range a.Nodes {
			if i == shownNodes && !s.Wide {
				row("", view.Plain, fmt.Sprintf("and %d more nodes (-o wide)", len(a.Nodes)-i))
				break
			}
			mood := view.Plain
			switch {
			case n.Does != "nothing":
				mood = view.Good
			case n.Refused:
				mood = view.Doubtful
			}
			text := n.Does
			if n.Why != "" && n.Does == "nothing" {
				text = n.Why
			} else if n.Why != "" {
				text += "; " + n.Why
			}
			row("  "+n.Node, mood, text)
		}
	}
	for i, r := range e.Routers {
		if i == shownSessions && !s.Wide {
			row("", view.Plain, fmt.Sprintf("and %d more sessions (kubectl clarion peers)", len(e.Routers)-i))
			break
		}
		mood, text := view.Good, fmt.Sprintf("%s for %s, %d routes sent", r.State, view.Ago(now, r.Since), r.RoutesSent)
		if r.State != v1beta1.BGPEstablished {
			mood, text = view.Bad, fmt.Sprintf("%s for %s: %s", r.State, view.Ago(now, r.Since), r.LastError)
			if reason, _, _ := strings.Cut(r.LastError, ":"); remedy.Of(reason) != "" {
				text += " → " + remedy.Of(reason)
			}
		} else if view.GoesOnWithout(r.LastError) {
			reason, _, _ := strings.Cut(r.LastError, ":")
			mood, text = view.Doubtful, text+"; "+r.LastError+" → "+remedy.Of(reason)
		}
		row(fmt.Sprintf("  %s ↔ %s", r.Node, r.Peer), mood, text)
	}
	return rows
}

// furthest finds the first reason among those that a condition's message has, each with its words in parentheses: that of the nodes that
// came furthest, which lack the least, however many other nodes lack more.
var furthest = regexp.MustCompile(`: ([A-Z][A-Za-z]+) \(`)

// nextOf says what to do about a Service that is not announced, from the reasons of the nodes.
func (e explanation) nextOf() string {
	if e.Announced == nil {
		return "No speaker has said anything of it: see kubectl clarion speakers, and kubectl clarion doctor."
	}
	switch v1beta1.Reason(e.Announced.Reason) {
	case v1beta1.ReasonNoEligibleNode, v1beta1.ReasonNoSession, v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoInterface:
		// They sum up what holds of the nodes, which says more.
	default:
		return doAbout(e.Announced.Reason)
	}
	noSession := e.Announced.Reason == string(v1beta1.ReasonNoSession)
	for _, r := range e.Routers {
		if reason, _, _ := strings.Cut(r.LastError, ":"); noSession && r.State != v1beta1.BGPEstablished && remedy.Of(reason) != "" {
			return remedy.Of(reason) + " (" + r.Peer + ": " + r.LastError + ")"
		}
	}
	if first := furthest.FindStringSubmatch(e.Announced.Message); first != nil && remedy.Of(first[1]) != "" {
		return remedy.Of(first[1])
	}
	count := map[v1beta1.Reason]int{}
	var most v1beta1.Reason
	for _, a := range e.Announcing {
		for _, n := range a.Nodes {
			if n.Refused {
				if count[n.Reason]++; most == "" || count[n.Reason] > count[most] {
					most = n.Reason
				}
			}
		}
	}
	if do := remedy.Of(string(most)); do != "" {
		return do
	}
	return doAbout(e.Announced.Reason)
}

// doAbout is what to do about a reason.
func doAbout(reason string) string {
	if do := remedy.Of(reason); do != "" {
		return do
	}
	return "See the reason " + reason + " in docs/reference/conditions.md."
}
