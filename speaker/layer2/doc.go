// Package layer2 makes this node answer for addresses on the links it is
// attached to: ARP for IPv4, Neighbor Discovery for IPv6.
//
// # Contract
//
// An [Announcer] is told what to announce by [Announcer.Apply], which takes the
// whole desired state and does only the difference; what is the same again
// costs nothing and sends nothing. [Announcer.Run] makes it so until its context
// ends. Everything else is for looking: [Announcer.Links] is what this node is
// attached to, [Announcer.State] is what came of each announcement, and
// [Announcer.Counters] is what crossed the wire.
//
// Which node answers for which address is decided elsewhere. Here an address is
// answered on exactly the interfaces that its [Announcement] names, and nowhere
// else; an announcement without interfaces is answered nowhere.
//
// Withdrawing is immediate: when Apply returns, requests for a withdrawn
// address are no longer answered (an answer that was already on its way to the
// socket may still leave). Taking an address follows at once, as soon as its
// interface's sockets listen for it, and is told to the neighbours by gratuitous
// frames.
package layer2
