package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A Verdict is the answer to "may this node announce it", and why.
type Verdict struct {
	Node string
	// Reason is Eligible, or that of the first check that says no.
	Reason  Reason
	Message string
	// Interfaces to answer on, when the node is eligible.
	Interfaces []string
}

// Explain returns a verdict for every node, in order of their names, on sharers[i] having address. A node
// that could serve this sharer, but not another one that the address is announced for, has that one's
// reason. Explain says of the same arguments what Decide decides.
func (v *View) Explain(address netip.Addr, sharers []Sharer, i int) []Verdict {
	decision := v.Decide(address, sharers)
	verdicts := make([]Verdict, len(v.nodes))
	for n := range v.nodes {
		var found bool
		if verdicts[n], found = v.verdict(address, sharers, i, n, decision); !found {
			panic(fmt.Sprintf("plan: no reason why %s may not announce %s", v.nodes[n].Name, address))
		}
	}
	return verdicts
}

// ExplainNode returns what Explain says of one node, false for a node that is not known.
func (v *View) ExplainNode(address netip.Addr, sharers []Sharer, i int, node string) (_ Verdict, known bool) {
	n, known := slices.BinarySearchFunc(v.nodes, node, func(n Node, name string) int { return strings.Compare(n.Name, name) })
	if !known {
		return Verdict{}, false
	}
	return v.verdict(address, sharers, i, n, v.Decide(address, sharers))
}

// verdict finds none only where the decision is one on something else.
func (v *View) verdict(address netip.Addr, sharers []Sharer, i, node int, d Decision) (_ Verdict, found bool) {
	name := v.nodes[node].Name
	refuse := func(r Reason, message string) (Verdict, bool) {
		return Verdict{Node: name, Reason: r, Message: message}, true
	}

	if r, message := v.refuse(address, sharers[i], node); r != "" {
		return refuse(r, message)
	}
	if i := slices.IndexFunc(d.Candidates, func(c Candidate) bool { return c.Node == name }); i >= 0 {
		c, best := d.Candidates[i], d.bestRank()
		// What all candidates have is ignored, and what only worse ones have does not matter.
		if soft, worse := (c.Rank &^ best).heaviest(); worse && c.Rank > best {
			return refuse(soft.reason, soft.words+", and there are better candidates")
		}
		return Verdict{Node: name, Reason: v1beta1.ReasonEligible, Interfaces: c.Interfaces,
			Message: "the node may announce the address on " + strings.Join(c.Interfaces, ", ")}, true
	}
	for other, s := range sharers {
		if other == i || !d.Outcomes[other].Served() {
			continue
		}
		if r, _ := v.refuse(address, s, node); r != "" {
			return refuse(r, "another Service that shares the address can't be served on the node")
		}
	}
	// The node serves this one and all others that are served, and yet is none of the candidates.
	return Verdict{}, false
}

// Reason returns the reason of one node's verdict on sharers[i], "" for a node that is not known. d is what Decide returned for
// the same arguments; it may be older than the sharers are, and the reason is "" where they do not go together.
func (v *View) Reason(address netip.Addr, sharers []Sharer, i int, node string, d Decision) Reason {
	n, known := slices.BinarySearchFunc(v.nodes, node, func(n Node, name string) int { return strings.Compare(n.Name, name) })
	if !known {
		return ""
	}
	verdict, _ := v.verdict(address, sharers, i, n, d)
	return verdict.Reason
}

// bestRank is the one of the candidates that come first.
func (d Decision) bestRank() Signals {
	best := ^Signals(0)
	for _, c := range d.Candidates {
		best = min(best, c.Rank)
	}
	return best
}

// refuse returns the reason of the first check that excludes the node, in words too.
func (v *View) refuse(address netip.Addr, s Sharer, node int) (Reason, string) {
	ads := v.covering(s)
	if len(ads) == 0 {
		o := v.notCovered(address, s)
		return o.Reason, o.Message
	}
	r := refusal(v.place(address, ads), node, s, v.nodes[node].Name)
	if r == "" {
		return "", ""
	}
	return r, v.say(r, address, ads, node)
}

// say puts a refusal into words that a person can act on.
func (v *View) say(r Reason, address netip.Addr, ads []int, node int) string {
	switch r {
	case v1beta1.ReasonNotSelected:
		return "the nodeSelectors of " + v.list(ads) + " do not select the node: correct them, or label the node"
	case v1beta1.ReasonNodeExcluded:
		return "the node has the label " + v1beta1.LabelExcludeNode +
			": remove it, or let the speakers run with --ignore-exclude-label"
	case v1beta1.ReasonNodeNetworkUnavailable:
		return "the Node's condition NetworkUnavailable is True: the node's network plug-in has not set it up"
	case v1beta1.ReasonNoSpeaker:
		return "no speaker has been heard on the node: see its Pod of the DaemonSet clarion-speaker"
	case v1beta1.ReasonNoInterface:
		q := &question{view: v, address: address, ads: ads, node: node}
		if q.onlyNamed() {
			return "the node has none of the interfaces that " + v.list(ads) + " names: correct the names, or leave them out"
		}
		return fmt.Sprintf("no interface of the node is in a network that contains %s: "+
			"give it an address there, or name the interfaces to answer on in the L2Advertisement", address)
	case v1beta1.ReasonLinkDown, v1beta1.ReasonLinkFailed:
		q := &question{view: v, address: address, ads: ads, node: node}
		hasInterface(q)
		names := make([]string, len(q.links))
		for i, l := range q.links {
			names[i] = l.Name
		}
		if r == v1beta1.ReasonLinkFailed {
			return "the kernel refuses the sockets that answering on it needs: " + strings.Join(names, ", ")
		}
		return "the link is down: " + strings.Join(names, ", ")
	case v1beta1.ReasonNoEndpoint:
		return "the Service has no endpoint that is ready: see that it has a selector that matches Pods, and that these are ready"
	case v1beta1.ReasonNoLocalEndpoint:
		return "externalTrafficPolicy is Local and the node runs no endpoint that is ready: have one run there, or say Cluster"
	}
	panic(fmt.Sprintf("plan: no words for the refusal %q", r))
}

// onlyNamed reports whether all advertisements that hold for the node name the interfaces.
func (q *question) onlyNamed() bool {
	for _, ad := range q.ads {
		if q.view.selected[ad][q.node] && q.view.ads[ad].Interfaces == nil {
			return false
		}
	}
	return true
}

// list names advertisements, the first few of them.
func (v *View) list(ads []int) string {
	const most = 3
	var b strings.Builder
	b.WriteString("L2Advertisement ")
	for i, ad := range ads {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(ads)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", v.ads[ad].Name)
	}
	return b.String()
}

// notCovered is the outcome for a Service whose address no advertisement covers.
func (v *View) notCovered(address netip.Addr, s Sharer) Outcome {
	var leftOut []int
	for i, ad := range v.ads {
		if ad.Pools == nil || ad.Pools(s.Pool) {
			leftOut = append(leftOut, i)
		}
	}
	message := fmt.Sprintf("no L2Advertisement covers pool %q, which %s is from: create one, "+
		"or add the pool to the ipAddressPools of one", s.Pool, address)
	if len(leftOut) > 0 {
		message = fmt.Sprintf("the serviceSelectors of %s, which pool %q of %s is covered by, do not select the Service: correct them, or label the Service",
			v.list(leftOut), s.Pool, address)
	}
	return Outcome{Reason: v1beta1.ReasonNoAdvertisement, Message: message}
}

// notServed is the outcome for a Service that the candidates, if there are any, do not serve. It tells
// each reason once, with the words of one node that has it, and gives the reason of the node that came
// furthest.
func (v *View) notServed(address netip.Addr, p *place, s Sharer) Outcome {
	if len(v.nodes) == 0 {
		return Outcome{Reason: v1beta1.ReasonNoEligibleNode, Message: "the cluster has no nodes"}
	}
	ads := v.covering(s)
	words := map[Reason]string{}
	for i, n := range v.nodes {
		r := refusal(p, i, s, n.Name)
		if r == "" {
			return Outcome{Reason: v1beta1.ReasonNoEligibleNode, Message: fmt.Sprintf("%s is shared, and no node can serve "+
				"all Services that have it: those nodes announce it that can serve most, and this Service is not among them", address)}
		}
		if words[r] == "" {
			words[r] = v.say(r, address, ads, i)
		}
	}
	reasons := make([]Reason, 0, len(words))
	for r := range words {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b Reason) int {
		return slices.Index(order, b) - slices.Index(order, a)
	})
	said := make([]string, len(reasons))
	for i, r := range reasons {
		said[i] = fmt.Sprintf("%s (%s)", r, words[r])
	}
	return Outcome{
		Reason:  inShort(reasons[0]),
		Message: fmt.Sprintf("no node can announce %s: %s", address, strings.Join(said, "; ")),
	}
}

// inShort returns the reason of a Service for that of the nodes that came furthest.
func inShort(r Reason) Reason {
	switch r {
	case v1beta1.ReasonNoInterface, v1beta1.ReasonLinkDown, v1beta1.ReasonLinkFailed:
		return v1beta1.ReasonNoInterface
	case v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoLocalEndpoint:
		return v1beta1.ReasonNoEndpoint
	}
	return v1beta1.ReasonNoEligibleNode
}
