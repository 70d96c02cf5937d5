package controller

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// What the cluster's own network needs is never given to a Service: the addresses of Nodes, which the Nodes' status
// has, and what their speakers tell of the networks that the Nodes are on. A Node whose speaker has told nothing yet
// keeps its own addresses only.

// networkPause is how long after a look at Nodes and Speakers the next one may follow: they change often, and what
// matters of them seldom.
const networkPause = time.Second

// networkChanged has Nodes and Speakers read again.
func (t *term) networkChanged() {
	select {
	case t.networkSet <- struct{}{}:
	default:
	}
}

// followNetwork reads Nodes and Speakers whenever one of them changed.
func (t *term) followNetwork(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.networkSet:
		}
		if err := t.readNetwork(ctx); err != nil && ctx.Err() == nil {
			t.log.Error("can't read Nodes and Speakers", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(networkPause):
		}
	}
}

// readNetwork has the ledger know what the cluster's network needs for itself.
func (t *term) readNetwork(ctx context.Context) error {
	var nodes corev1.NodeList
	if err := t.cache.List(ctx, &nodes); err != nil {
		return fmt.Errorf("listing Nodes: %w", err)
	}
	var speakers clarion.SpeakerList
	if err := t.cache.List(ctx, &speakers); err != nil {
		return fmt.Errorf("listing Speakers: %w", err)
	}
	var all []ipam.Reserved
	for _, n := range networkOf(nodes.Items, speakers.Items) {
		all = append(all, n.Reserved()...)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ledger.SetReserved(all)
	t.wakeLocked()
	return nil
}

// networkOf brings together what is known of each Node. The networks of Pods are not among those that Nodes are on,
// though a bridge on the Node has an address of them: to everybody else they are behind the Node.
func networkOf(nodes []corev1.Node, speakers []clarion.Speaker) (out []ipam.Node) {
	at := map[string]int{}
	var pods []netip.Prefix
	for _, n := range nodes {
		known := ipam.Node{Name: n.Name}
		for _, a := range n.Status.Addresses {
			if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
				continue
			}
			if addr, err := netip.ParseAddr(a.Address); err == nil {
				known.Addresses = append(known.Addresses, addr)
			}
		}
		for _, cidr := range n.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(cidr); err == nil {
				pods = append(pods, p)
			}
		}
		at[n.Name] = len(out)
		out = append(out, known)
	}
	for _, s := range speakers {
		i, ok := at[s.Name]
		if !ok || s.Status.Network == nil {
			continue // a Speaker goes with its Node
		}
		for _, cidr := range s.Status.Network.OnLink {
			p, err := netip.ParsePrefix(cidr)
			if err == nil && !slices.ContainsFunc(pods, p.Overlaps) {
				out[i].OnLink = append(out[i].OnLink, p)
			}
		}
		for _, gateway := range s.Status.Network.Gateways {
			if addr, err := netip.ParseAddr(gateway); err == nil {
				out[i].Gateways = append(out[i].Gateways, addr)
			}
		}
	}
	return out
}

// networkAlike reports whether two versions of a Node or a Speaker, as the cache has them, tell the same of the network.
func networkAlike(before, after any) bool {
	switch b := before.(type) {
	case *corev1.Node:
		a, ok := after.(*corev1.Node)
		return ok && slices.Equal(b.Status.Addresses, a.Status.Addresses) && slices.Equal(b.Spec.PodCIDRs, a.Spec.PodCIDRs)
	case *clarion.Speaker:
		a, ok := after.(*clarion.Speaker)
		if !ok || (b.Status.Network == nil) != (a.Status.Network == nil) {
			return false
		}
		return b.Status.Network == nil || slices.Equal(b.Status.Network.OnLink, a.Status.Network.OnLink) &&
			slices.Equal(b.Status.Network.Gateways, a.Status.Network.Gateways)
	}
	return false
}

// trimNode and trimSpeaker leave in the cache what tells of the network, of who lives, and what selectors select by.

func trimNode(in any) (any, error) {
	n, ok := in.(*corev1.Node)
	if !ok {
		return in, nil
	}
	out := &corev1.Node{ObjectMeta: trimMeta(n.ObjectMeta)}
	out.Labels = n.Labels
	out.Spec.PodCIDRs = n.Spec.PodCIDRs
	out.Status.Addresses = n.Status.Addresses
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.Status.Conditions = append(out.Status.Conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	return out, nil
}

func trimSpeaker(in any) (any, error) {
	s, ok := in.(*clarion.Speaker)
	if !ok {
		return in, nil
	}
	out := &clarion.Speaker{ObjectMeta: trimMeta(s.ObjectMeta)}
	out.Status.Network, out.Status.BGP = s.Status.Network, s.Status.BGP
	out.Status.Membership, out.Status.Conditions = s.Status.Membership, s.Status.Conditions
	return out, nil
}
