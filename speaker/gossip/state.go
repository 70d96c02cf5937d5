package gossip

import (
	"net/netip"
	"slices"
	"time"
)

// Facts are what a speaker says of itself and of the node it runs on. What it says grows with the
// node's links, never with the number of addresses.
type Facts struct {
	// Build is the speaker's version.
	Build string
	// Started is when its process started, by its own clock.
	Started time.Time
	// Serving is true once it takes what falls to it; until then nobody counts on it.
	Serving bool
	// Life tells one run of a speaker from another; it is what its messages have, and gossip sets it.
	Life uint64
	// Restarting says that the speaker is about to stop, and that another will follow at once: what is the node's
	// stays there.
	Restarting bool
	// Leaving says that the node is to be left: what it has goes to others.
	Leaving bool
	// Stale says that the speaker's view of the cluster is old: the API server is out of its reach.
	Stale bool
	// ProxyFailing says that kube-proxy on the node, which once was healthy, says that it is not.
	ProxyFailing bool
	// Routed says that the node has a BGP session that is established: routers may send it traffic.
	Routed bool
	// Sessions are those sessions, and the families that they carry, as numbers in order that only their users understand. Speakers
	// that say Routed and name none are of a version that did not tell.
	Sessions []uint32
	// Capabilities are what it can do beyond the first version of the protocol.
	Capabilities Capabilities
	// Links of the node, in order of name.
	Links []Link
}

// Capabilities are bits. None is defined so far: speakers that know some don't use them with speakers
// that don't say they have them.
type Capabilities uint64

// A Link is an interface of a node, as others need to know it.
type Link struct {
	Name string
	// MAC is the interface's own hardware address.
	MAC [6]byte
	// Up is true when frames can cross.
	Up bool
	// Prefixes are the networks that are directly attached.
	Prefixes []netip.Prefix
	// Addresses are the node's own in those networks, one or a few in each.
	Addresses []netip.Addr
	// LinkLocal is its IPv6 link-local address, without a zone; invalid when there is none.
	LinkLocal netip.Addr
	// DeafIPv4 and DeafIPv6 say that requests of a family can't be answered there, because the kernel refuses the
	// sockets.
	DeafIPv4, DeafIPv6 bool
}

// Bits of the facts' flags. What a speaker does not know it does not take over.
const (
	flagRestarting = 1 << iota
	flagLeaving
	flagStale
	flagProxyFailing
	flagRouted
)

func (f Facts) flags() (bits uint64) {
	for bit, set := range map[uint64]bool{flagRestarting: f.Restarting, flagLeaving: f.Leaving, flagStale: f.Stale, flagProxyFailing: f.ProxyFailing,
		flagRouted: f.Routed} {
		if set {
			bits |= bit
		}
	}
	return bits
}

func (f *Facts) setFlags(bits uint64) {
	f.Restarting, f.Leaving = bits&flagRestarting != 0, bits&flagLeaving != 0
	f.Stale, f.ProxyFailing, f.Routed = bits&flagStale != 0, bits&flagProxyFailing != 0, bits&flagRouted != 0
}

// Bits of a link's deafness.
const (
	deafIPv4 = 1 << iota
	deafIPv6
)

func (l Link) deaf() (bits byte) {
	if l.DeafIPv4 {
		bits |= deafIPv4
	}
	if l.DeafIPv6 {
		bits |= deafIPv6
	}
	return bits
}

func (l *Link) setDeaf(bits byte) { l.DeafIPv4, l.DeafIPv6 = bits&deafIPv4 != 0, bits&deafIPv6 != 0 }

// Equal reports whether f and g say the same.
func (f Facts) Equal(g Facts) bool {
	return f.Build == g.Build && f.Started.Equal(g.Started) && f.Serving == g.Serving &&
		f.Life == g.Life && f.flags() == g.flags() &&
		f.Capabilities == g.Capabilities && slices.Equal(f.Sessions, g.Sessions) && slices.EqualFunc(f.Links, g.Links, Link.Equal)
}

// Equal reports whether l and m say the same.
func (l Link) Equal(m Link) bool {
	return l.Name == m.Name && l.MAC == m.MAC && l.Up == m.Up && l.LinkLocal == m.LinkLocal &&
		l.deaf() == m.deaf() &&
		slices.Equal(l.Prefixes, m.Prefixes) && slices.Equal(l.Addresses, m.Addresses)
}

// A life is one session of one speaker, by a random number that is never 0. It travels in the member's metadata, so that the
// facts of a run that is over are not taken for those of the run that follows.
type life uint64

// state is Facts on their way: whose they are, and how new.
type state struct {
	node string
	life life
	// seq counts the changes within a life.
	seq   uint64
	facts Facts
}
