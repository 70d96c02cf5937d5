package plan

import (
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// question is what the checks of a node's place are asked.
type question struct {
	view    *View
	address netip.Addr
	ads     []int // numbers of the advertisements that cover the address
	node    int

	links      []Link   // found by hasInterface: where to answer
	interfaces []string // found by isUp: those of the links that are up
}

// placeChecks are the checks that need not know the Service's endpoints, in order. Each returns the
// reason for its no, or "".
var placeChecks = []func(*question) Reason{
	selected,
	notExcluded,
	networkAvailable,
	hasSpeaker,
	hasInterface,
	isUp,
}

// check asks placeChecks of a node.
func (v *View) check(address netip.Addr, ads []int, node int) placed {
	q := &question{view: v, address: address, ads: ads, node: node}
	for _, check := range placeChecks {
		if r := check(q); r != "" {
			return placed{refusal: r}
		}
	}
	return placed{interfaces: q.interfaces}
}

func selected(q *question) Reason {
	for _, ad := range q.ads {
		if q.view.selected[ad][q.node] {
			return ""
		}
	}
	return v1beta1.ReasonNotSelected
}

func notExcluded(q *question) Reason {
	if _, excluded := q.view.nodes[q.node].Labels[v1beta1.LabelExcludeNode]; excluded && !q.view.ignore {
		return v1beta1.ReasonNodeExcluded
	}
	return ""
}

func networkAvailable(q *question) Reason {
	if q.view.nodes[q.node].NetworkUnavailable {
		return v1beta1.ReasonNodeNetworkUnavailable
	}
	return ""
}

func hasSpeaker(q *question) Reason {
	if !q.view.nodes[q.node].Speaker.Known {
		return v1beta1.ReasonNoSpeaker
	}
	return ""
}

// hasInterface finds the links to answer on. Advertisements unite: one without interfaces gives those on
// which the address is on-link, the others give those that they name.
func hasInterface(q *question) Reason {
	for _, l := range q.view.nodes[q.node].Speaker.Links {
		for _, n := range q.ads {
			ad := q.view.ads[n]
			if !q.view.selected[n][q.node] {
				continue
			}
			if ad.Interfaces == nil && l.onLink(q.address) || ad.Interfaces != nil && ad.Interfaces(l.Name) {
				q.links = append(q.links, l)
				break
			}
		}
	}
	if len(q.links) == 0 {
		return v1beta1.ReasonNoInterface
	}
	return ""
}

func isUp(q *question) Reason {
	up := false
	for _, l := range q.links {
		up = up || l.Up
		if l.Up && !l.deaf(q.address) {
			q.interfaces = append(q.interfaces, l.Name)
		}
	}
	slices.Sort(q.interfaces)
	switch {
	case !up:
		return v1beta1.ReasonLinkDown
	case len(q.interfaces) == 0:
		return v1beta1.ReasonLinkFailed
	}
	return ""
}

func (l Link) onLink(address netip.Addr) bool {
	for _, p := range l.Prefixes {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// endpointCheck is the check of what kube-proxy on the node would do with the traffic.
func endpointCheck(s Sharer, node string) Reason {
	switch {
	case s.Service.Local && s.Endpoints[node].CanServe():
		return ""
	case !s.Endpoints.anywhere():
		return v1beta1.ReasonNoEndpoint
	case s.Service.Local:
		return v1beta1.ReasonNoLocalEndpoint
	}
	return ""
}

// terminating says whether all that the node has for a Service is about to go.
func terminating(s Sharer, node string) Signals {
	if f := s.Endpoints[node]; s.Service.Local && !f.Ready && f.ServingTerminating {
		return Terminating
	}
	return 0
}

// refusal asks all checks that exclude.
func refusal(p *place, i int, s Sharer, node string) Reason {
	if r := p.nodes[i].refusal; r != "" {
		return r
	}
	return endpointCheck(s, node)
}

// order has the reasons of all checks that exclude, in the order in which they are asked: the reason of
// the node that came furthest says best what is missing.
var order = []Reason{
	v1beta1.ReasonNotSelected,
	v1beta1.ReasonNodeExcluded,
	v1beta1.ReasonNodeNetworkUnavailable,
	v1beta1.ReasonNoSpeaker,
	v1beta1.ReasonNoInterface,
	v1beta1.ReasonLinkDown,
	v1beta1.ReasonLinkFailed,
	v1beta1.ReasonNoEndpoint,
	v1beta1.ReasonNoLocalEndpoint,
}
