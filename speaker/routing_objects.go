package speaker

import (
	"fmt"
	"net/netip"
	"time"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/plan"
	"github.com/clarion-lb/clarion/speaker/routes"
)

// What the objects about BGP mean, one function for each kind, as in convert.go.

// router is what matters of a BGPPeer.
type router struct {
	// peer lacks what it is of this node: password, routes and router ID.
	peer   bgp.Peer
	nodes  plan.Selector
	secret string // name of the Secret with the password, "" for none
	bfd    string // name of the BFDProfile, "" for none
	strict bool   // no session without BFD

	created time.Time
}

// defaultLinger is how long routes stay that others are to take over.
const defaultLinger = 2 * time.Second

// routerOf fails on what the API server could not see, or on what passed an older schema.
func routerOf(o *v1beta1.BGPPeer) (*router, error) {
	nodes, err := o.Spec.Selection()
	if err != nil {
		return nil, err
	}
	s := &o.Spec
	p := bgp.Peer{
		Name: o.Name, Interface: string(s.Interface), Port: uint16(s.PeerPort), ASN: uint32(s.MyASN), Device: string(s.VRF),
		SourceInterface: string(s.SourceInterface),
		Multihop:        s.EBGPMultiHop, GracefulRestart: s.EnableGracefulRestart, Linger: defaultLinger,
	}
	for _, a := range []struct {
		text string
		to   *netip.Addr
	}{{s.PeerAddress, &p.Address}, {s.SourceAddress, &p.SourceAddress}, {s.RouterID, &p.RouterID}} {
		if a.text == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.text); err != nil {
			return nil, err
		}
		*a.to = a.to.Unmap()
	}
	if s.LocalASN != nil {
		p.ASN = uint32(*s.LocalASN)
	}
	switch {
	case s.PeerASN != nil:
		p.PeerASN = uint32(*s.PeerASN)
	case s.DynamicASN == v1beta1.DynamicASNInternal:
		p.DynamicASN = bgp.InternalASN
	case s.DynamicASN == v1beta1.DynamicASNExternal:
		p.DynamicASN = bgp.ExternalASN
	}
	if h := s.HoldTime; h != nil {
		p.HoldTime = h.Duration
		if h.Duration == 0 {
			p.HoldTime = -1 // none at all
		}
	}
	for _, d := range []struct {
		from bool
		to   *time.Duration
		is   func() time.Duration
	}{
		{s.KeepaliveTime != nil, &p.KeepaliveTime, func() time.Duration { return s.KeepaliveTime.Duration }},
		{s.ConnectTime != nil, &p.ConnectTime, func() time.Duration { return s.ConnectTime.Duration }},
		{s.RestartTime != nil, &p.RestartTime, func() time.Duration { return s.RestartTime.Duration }},
		{s.GracefulShutdown != nil && s.GracefulShutdown.Linger != nil, &p.Linger, func() time.Duration { return s.GracefulShutdown.Linger.Duration }},
	} {
		if d.from {
			*d.to = d.is()
		}
	}
	if t := s.TTLSecurity; t != nil {
		p.TTLSecurity = int(max(t.MaxHops, 1))
	}
	for _, f := range s.Families {
		switch f {
		case v1beta1.IPv4:
			p.Families = append(p.Families, bgp.IPv4)
		case v1beta1.IPv6:
			p.Families = append(p.Families, bgp.IPv6)
		}
	}
	out := &router{peer: p, nodes: nodes.Node, bfd: string(s.BFDProfile), strict: s.BFDMode == v1beta1.BFDStrict, created: o.CreationTimestamp.Time}
	if s.PasswordSecret != nil {
		out.secret = string(s.PasswordSecret.Name)
	}
	return out, nil
}

// internal reports whether it is an iBGP peer.
func (r *router) internal() bool {
	return r.peer.DynamicASN == bgp.InternalASN || r.peer.DynamicASN == bgp.NamedASN && r.peer.PeerASN == r.peer.ASN
}

// routePeer is a router as the decision about routes needs it.
func (r *router) routePeer() routes.Peer {
	return routes.Peer{Name: r.peer.Name, Nodes: r.nodes, Internal: r.internal(), Families: r.peer.Carries()}
}

// routeAdvertisementOf compiles a BGPAdvertisement. The labels of pools are asked for when they are needed.
func routeAdvertisementOf(o *v1beta1.BGPAdvertisement, poolLabels func(pool string) map[string]string) (*routes.Advertisement, error) {
	selection, err := o.Spec.Selection()
	if err != nil {
		return nil, err
	}
	s := &o.Spec
	out := &routes.Advertisement{
		Name:      o.Name,
		Created:   o.CreationTimestamp.Time,
		Pools:     func(pool string) bool { return selection.Pool(pool, poolLabels(pool)) },
		Services:  selection.Service,
		Nodes:     selection.Node,
		LocalPref: s.LocalPref,
		MED:       s.MED,
		Prepend:   int(s.ASPathPrepend),
	}
	if s.AggregationLength != nil {
		out.AggregationLength = int(*s.AggregationLength)
	}
	if s.AggregationLengthV6 != nil {
		out.AggregationLengthV6 = int(*s.AggregationLengthV6)
	}
	for _, p := range s.Peers {
		out.Peers = append(out.Peers, string(p))
	}
	for _, c := range s.Communities {
		out.Communities = append(out.Communities, string(c))
	}
	return out, nil
}

func communityOf(o *v1beta1.Community) *routes.Community {
	out := &routes.Community{Name: o.Name, Created: o.CreationTimestamp.Time}
	for _, a := range o.Spec.Communities {
		out.Aliases = append(out.Aliases, routes.Alias{Name: a.Name, Value: a.Value})
	}
	return out
}

// Defaults of a BFDProfile, for objects that an older schema let through without them.
const (
	defaultInterval     = 300 // ms
	defaultEchoInterval = 50
	defaultMultiplier   = 3
)

// profile is what matters of a BFDProfile.
type profile struct {
	bfd.Profile // without the keys
	keys        []profileKey
}

type profileKey struct {
	id     uint8
	secret string // name of the Secret
}

func profileOf(o *v1beta1.BFDProfile) *profile {
	s := &o.Spec
	number := func(p *int32, otherwise int32) int32 {
		if p == nil {
			return otherwise
		}
		return *p
	}
	out := &profile{Profile: bfd.Profile{
		ReceiveInterval:  time.Duration(number(s.ReceiveInterval, defaultInterval)) * time.Millisecond,
		TransmitInterval: time.Duration(number(s.TransmitInterval, defaultInterval)) * time.Millisecond,
		DetectMultiplier: uint8(number(s.DetectMultiplier, defaultMultiplier)),
		MinimumTTL:       uint8(number(s.MinimumTTL, 0)),
		Passive:          s.PassiveMode,
	}}
	if s.EchoMode {
		out.EchoInterval = time.Duration(number(s.EchoInterval, defaultEchoInterval)) * time.Millisecond
	}
	if a := s.Authentication; a != nil {
		switch a.Type {
		case v1beta1.BFDKeyedSHA1:
			out.Auth.Type = bfd.KeyedSHA1
		case v1beta1.BFDMeticulousKeyedSHA1:
			out.Auth.Type = bfd.MeticulousKeyedSHA1
		}
		for _, k := range a.Keys[:min(len(a.Keys), len(out.Auth.Keys))] {
			out.keys = append(out.keys, profileKey{uint8(k.ID), string(k.PasswordSecret.Name)})
		}
	}
	return out
}

// password is what a Secret has for a peer.
type password struct {
	secret bgp.Secret
	// problem says why there is none.
	problem string
}

func passwordOf(s *corev1.Secret) password {
	value := string(s.Data[corev1.BasicAuthPasswordKey])
	switch {
	case s.Type != corev1.SecretTypeBasicAuth:
		return password{problem: fmt.Sprintf("the Secret %s is not of type %s, which can't be changed: delete it and create it anew with --type=%[2]s",
			s.Name, corev1.SecretTypeBasicAuth)}
	case value == "":
		return password{problem: "the Secret " + s.Name + " has nothing under the key " + corev1.BasicAuthPasswordKey + ": write the password there"}
	case len(value) > bgp.MaxPassword:
		return password{problem: fmt.Sprintf("the password in Secret %s is longer than %d bytes, which TCP-MD5 does not allow", s.Name, bgp.MaxPassword)}
	}
	return password{secret: bgp.Secret(value)}
}

// poolSetOf returns the addresses of a pool; nil if they can't be read.
func poolSetOf(o *v1beta1.IPAddressPool) *netipx.IPSet {
	ranges, err := v1beta1.ParsePool(&o.Spec)
	if err != nil {
		return nil
	}
	var b netipx.IPSetBuilder
	for _, r := range ranges.Addresses {
		b.AddRange(r)
	}
	set, err := b.IPSet()
	if err != nil {
		return nil
	}
	return set
}
