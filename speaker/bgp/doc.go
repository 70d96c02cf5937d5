// Package bgp keeps a node's BGP sessions with its routers, and the routes in them.
//
// Say what should be with [Manager.Apply]; read what is with [Manager.Snapshot]. A change costs no more
// than it must: a route that is added is one UPDATE, a peer that is added touches no other, an equal
// Desired does nothing at all. Routes are only sent: what routers send is not looked at.
//
//	            speaker                                child process
//	Apply ──► Manager ─── what differs, plain values ──► sessions ──► TCP ──► routers
//	Snapshot ◄─────────── how each session fares ◄──────
//	               one socket pair, one owner each side
//
// The sessions live in a child process (package child), the same program started again, so that nothing
// a router sends can take layer 2 down: the Manager starts it again and tells it everything anew. It is there while
// there are peers. Without its parent it ends at once and leaves routers to graceful restart where they have it.
//
// This package is light: the BGP codec is linked through package child alone.
package bgp
