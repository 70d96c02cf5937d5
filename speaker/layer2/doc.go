// Package layer2 makes this node answer for addresses on the links it is
// attached to: ARP for IPv4, Neighbor Discovery for IPv6.
//
// # Contract
//
// An [Announcer] is told what to announce by [Announcer.Apply], which takes the
// whole desired state and does only the difference; applying the same again
// costs nothing and sends nothing. [Announcer.Run] makes it so until its context
// ends. Everything else is for looking: [Announcer.Links] is what this node is
// attached to, [Announcer.State] is what came of each announcement, and
// [Announcer.Counters] is what crossed the wire.
//
// Which node answers for which address is decided elsewhere. Here an address is
// answered on exactly the interfaces that its [Announcement] names, and nowhere
// else; an announcement without interfaces is answered nowhere. What to answer
// is part of the announcement, too: the interface's own MAC or, where this
// node stands in for another one, that node's.
//
// Withdrawing is immediate: when Apply returns, requests for a withdrawn
// address are no longer answered (an answer that was already on its way to the
// socket may still leave). Taking an address follows at once, as soon as its
// interface's sockets listen for it, and is told to the neighbours by gratuitous
// frames. They are sent again by [Announcer.Reannounce] and, spread evenly, once a
// minute: frames get lost, switches forget ports, and who heard another node
// announce an address by mistake must not stay with it. An address that the kernel
// refuses to listen for (its multicast group can't be joined) fails alone and is
// tried again. An interface that comes back, is replaced or changes its MAC is opened
// anew and announces anew. Nothing outlives the process: the addresses are on no
// interface, and sockets and multicast groups go with it.
//
// # Who does what
//
//	   Apply                        netlink
//	     │ answers: one immutable      │ links, at every change
//	     │ table per segment           ▼
//	     ├───────────────────────► owner ──► State, Links
//	     │                           │ starts and ends, as links come and go
//	     ▼                           ▼
//	┌─ responder, one per segment: a family on an interface ──────────────┐
//	│  serve:  frame ─► question ─► table.answer ─► reply                 │
//	│  run:    filter, groups in step with the table; gratuitous frames   │
//	└──────────────────────────── port: the sockets ──────────────────────┘
//
// The owner is the goroutine of Run and alone knows what runs. Each responder has
// two goroutines; serve answers and waits for nobody, run does what takes
// longer. Readers load tables that nobody ever changes. What decides is pure:
// question, answer table, frames, filter, schedule and the reading of links know
// neither sockets nor the clock. Sockets are behind the interface port.
//
// # Sockets
//
// Each responder has one packet socket (AF_PACKET), bound to its interface.
// CAP_NET_RAW is all it takes.
//
//   - For IPv6 a raw ICMPv6 socket would not do. Linux confirms what it knows by a
//     solicitation to the address itself, and as the address is on no interface of
//     this node, no raw socket gets to see it: tried, and neither does one with
//     forwarding switched on. The packet socket sees it.
//   - A filter in the kernel passes requests for our addresses, and little else,
//     before they cost a wake-up: see requestFilter.
//   - Groups are joined by IPv6 sockets, as only that makes the kernel report
//     them to switches: see groups.
//   - Frames are read and written one by one, with read(2) and write(2), until
//     there are none. Reading many at once was left out: of the 5 µs that
//     an answer takes, most is the way out through the interface.
//
// What is received is taken apart here, byte by byte, because every field is
// suspect and every refusal has a reason of its own; what is sent is built by
// mdlayher/arp and mdlayher/ndp, and fuzz tests hold our reading against theirs.
//
// # Limits
//
//   - Networks are known by the addresses of an interface. One that is attached
//     by a route alone (DHCPv6 gives hosts single addresses) does not show in
//     [Link.Prefixes]; announcements that name the interface work all the same.
//   - The kernel goes through all groups that are joined on an interface for each
//     multicast frame that arrives there. Up to a thousand IPv6 addresses on one
//     interface that does not matter; with ten thousand a node answers
//     some 10,000 solicitations a second.
//   - Only Ethernet: no InfiniBand.
package layer2
