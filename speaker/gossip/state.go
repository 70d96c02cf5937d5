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
	// LinkLocal is its IPv6 link-local address, without a zone; invalid when there is none.
	LinkLocal netip.Addr
}

// Equal reports whether f and g say the same.
func (f Facts) Equal(g Facts) bool {
	return f.Build == g.Build && f.Started.Equal(g.Started) && f.Serving == g.Serving &&
		f.Capabilities == g.Capabilities && slices.EqualFunc(f.Links, g.Links, Link.Equal)
}

// Equal reports whether l and m say the same.
func (l Link) Equal(m Link) bool {
	return l.Name == m.Name && l.MAC == m.MAC && l.Up == m.Up && l.LinkLocal == m.LinkLocal &&
		slices.Equal(l.Prefixes, m.Prefixes)
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
