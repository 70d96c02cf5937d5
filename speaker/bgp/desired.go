package bgp

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Desired is everything BGP should be on this node.
type Desired struct {
	// RouterID is the BGP identifier toward peers that name none; see [RouterID] for a stable one.
	RouterID netip.Addr
	// Peers by unique Name. Two may have the same address with different ports.
	Peers []Peer
	// Impossible are peers, none of them among Peers, that there can be no session with as things are. The Snapshot tells of them.
	Impossible []Impossible
}

// Impossible is a peer that there can be no session with, and why.
type Impossible struct {
	Peer    string
	Reason  Reason
	Message string
}

// Family is an address family whose unicast routes a session carries.
type Family uint8

// Families of routes.
const (
	IPv4 Family = 1 + iota
	IPv6
)

func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "unknown family"
}

// FamilyOf is the family of an address or prefix.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// DynamicASN says which ASNs a router may show where its ASN is not named.
type DynamicASN uint8

// Values of DynamicASN.
const (
	// NamedASN takes the ASN that is named.
	NamedASN DynamicASN = iota
	// InternalASN takes our own alone.
	InternalASN
	// ExternalASN takes any but our own.
	ExternalASN
)

// Secret is a password: it never shows in logs.
type Secret string

// String hides it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[hidden]"
}

// GoString hides it.
func (s Secret) GoString() string { return s.String() }

// LogValue hides it.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Peer is one session to have, and the routes in it.
type Peer struct {
	Name string

	// Address of the router; invalid where Interface finds it. A zone belongs to a link-local one.
	Address netip.Addr
	// Interface makes the session unnumbered: with the router on that link, by link-local addresses.
	Interface string
	// Port of the router; 0 means 179.
	Port uint16

	// ASN is ours as the router sees it: the localASN where there is one, else myASN. The AS path of
	// eBGP routes consists of it alone, repeated by Route.Prepend.
	ASN uint32
	// PeerASN is the router's; 0 where DynamicASN says which ones will do.
	PeerASN    uint32
	DynamicASN DynamicASN

	// RouterID is our BGP identifier toward this peer; invalid means Desired's.
	RouterID netip.Addr
	// SourceAddress is where connections start from; invalid lets the kernel choose.
	SourceAddress netip.Addr
	// SourceInterface has connections start from an address of that interface.
	SourceInterface string
	// Device that the connection is bound to: a VRF's, or any interface.
	Device string

	// Password of TCP-MD5 (RFC 2385).
	Password Secret
	// Multihop allows an eBGP router that is not on a link of this node.
	Multihop bool
	// TTLSecurity is how many hops away the router may be (RFC 5082); 0 is off.
	TTLSecurity int

	// HoldTime to propose; 0 means [DefaultHoldTime], negative none at all.
	HoldTime time.Duration
	// KeepaliveTime is how often to send; 0 means a third of the hold time, which it is at most.
	KeepaliveTime time.Duration
	// ConnectTime is the time between attempts; 0 means [DefaultConnectTime].
	ConnectTime time.Duration

	// GracefulRestart asks the router to keep routes while we restart (RFC 4724), for RestartTime;
	// 0 means [DefaultRestartTime].
	GracefulRestart bool
	RestartTime     time.Duration
	// Linger is how long routes stay on Leave, marked GRACEFUL_SHUTDOWN.
	Linger time.Duration

	// Families of routes; none means that of Address, or both for an unnumbered session.
	Families []Family

	// Routes to advertise. Peers that get the same ones best share one pointer. Nil is none.
	Routes *Routes `json:"-"`
}

// Defaults of times that are left at 0.
const (
	DefaultHoldTime    = 90 * time.Second
	DefaultConnectTime = 5 * time.Second
	DefaultRestartTime = 120 * time.Second
)

// MaxLinger is the longest linger: a speaker that leaves has 45 seconds for everything.
const MaxLinger = 40 * time.Second

// Port of BGP.
const Port = 179

// Internal tells whether a router of that ASN is an iBGP peer.
func (p *Peer) Internal(asn uint32) bool { return asn == p.ASN }

// Carries are the families whose routes the session carries.
func (p *Peer) Carries() []Family {
	switch {
	case len(p.Families) > 0:
		return slices.Compact(slices.Sorted(slices.Values(p.Families)))
	case p.Interface != "":
		return []Family{IPv4, IPv6}
	default:
		return []Family{FamilyOf(p.Address)}
	}
}

// withDefaults fills in what is left at 0.
func (p Peer) withDefaults(routerID netip.Addr) Peer {
	p.Address = p.Address.Unmap()
	p.SourceAddress = p.SourceAddress.Unmap()
	if p.Port == 0 {
		p.Port = Port
	}
	if !p.RouterID.IsValid() {
		p.RouterID = routerID
	}
	if p.HoldTime == 0 {
		p.HoldTime = DefaultHoldTime
		if p.KeepaliveTime > 0 {
			p.HoldTime = max(3*p.KeepaliveTime, 3*time.Second)
		}
	}
	p.HoldTime = max(p.HoldTime, 0)
	if p.KeepaliveTime <= 0 || p.KeepaliveTime > p.HoldTime {
		p.KeepaliveTime = p.HoldTime / 3
	}
	if p.ConnectTime <= 0 {
		p.ConnectTime = DefaultConnectTime
	}
	if p.RestartTime <= 0 {
		p.RestartTime = DefaultRestartTime
	}
	p.Linger = min(max(p.Linger, 0), MaxLinger)
	p.Families = p.Carries()
	return p
}
