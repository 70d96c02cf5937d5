// Package bfd tells within milliseconds that a router, or the path to it, is
// gone: Bidirectional Forwarding Detection in asynchronous mode (RFC 5880), over
// one hop (RFC 5881) or several (RFC 5883), IPv4 and IPv6.
//
// # Contract
//
// [Engine.Apply] says which sessions are wanted, [Engine.Run] runs them until its
// context ends, and [Engine.Snapshot] tells what became of them, with a channel
// that is closed at the next change. Applying the same again does nothing; other
// timers are negotiated by a poll sequence while the session stays Up. A session
// that is no longer wanted, and each one when Run ends, says AdminDown first: the
// peer knows then that the path is as good as it was.
//
// What BGP makes of it is BGP's affair (RFC 5882), and told by two values:
// [Status].Failed is set from when a session that was Up failed until it is Up
// again, and never by AdminDown of either end; [Status].Failures counts, for
// whoever looks too late to see it. Who is to wait for BFD before there is BGP
// (strict mode) looks at [Status].State. [Status].Reason says for people why a
// session is not Up.
//
// # Who does what
//
//	Apply ──► bell ─┐         ┌───────────── loop, one goroutine ──────────────────┐
//	                ▼         │ epoll: packets, the earliest timer, the bell      │
//	             ┌──────┐     │   line ── session.Session   (speaker/bfd/session) │
//	Snapshot ◄── │Engine│ ◄───│     │       packet.Parse    (speaker/bfd/packet)  │
//	             └──────┘     │     └──── sockets: rx :3784, tx :49152 and up     │
//	                          └────────────────────────────────────────────────────┘
//
// The loop owns everything and waits for nobody. What decides is pure: the
// packets in package packet, the state machine in package session. Once a session
// is up, a packet costs no allocation.
//
// # Sockets
//
// A session has a socket that receives at the well-known port and one that sends
// from a port of its own; both are connected to the peer, so that the kernel
// tells sessions apart before they cost a wake-up: a flood fills the queue of the
// peer that it comes from, or seems to come from, and nobody else's. From that
// queue no more than some thousand packets a second are read. What comes from
// anybody else finds no socket. That is stricter than RFC 5880 section 6.3, by
// which a packet with the right discriminator may come from any address: there a
// guess of 32 bits would be enough to take a session down.
//
// CAP_NET_RAW is all it takes, and without echo and interfaces not even that.
//
// # Late is not dead
//
// The kernel notes when a packet came. Before a session is given up its queue is
// read to the end, and what waited there counts as having come when it came. So a
// process that was not let in by a busy core takes nobody for silent. It must
// still send in time: a node whose kernel lets nobody in for longer than the
// peer's detection time is dead to the peer.
//
// # Echo
//
// Echo packets go from our address to our address by way of the router, whose
// forwarding returns them (IPv4, one hop). Nothing here need forward for that.
// Those of the router are returned by this node's kernel, if it forwards on that
// interface; only then, and with echo wanted, is it told that they are: nothing in
// this process could stand in for that. Packet filters of the node may still drop
// them. A kernel with net.ipv4.conf.*.log_martians logs each echo that returns.
// After echoes stayed away a session is held Down for 5 s, and longer if none
// comes at all, for control packets alone would bring it Up again at once.
//
// # Limits
//
//   - Demand mode is not entered, only obeyed. The C bit is 0: sessions end with
//     the process.
//   - BIRD sends packets of multihop sessions with TTL 64, which needs a minimum
//     TTL to match.
//   - Of two sessions on one path with different profiles, one holds.
package bfd
