// Package layer2 makes this node answer for addresses on the links it is
// attached to: ARP for IPv4, Neighbor Discovery for IPv6.
//
// # Contract
//
// An [Announcer] is told what to announce by [Announcer.Apply], which takes the
// whole desired state and does only the difference; applying the same again
// costs nothing and sends nothing; or by [Announcer.Change], which is the same for a few
// addresses among thousands and costs little more than these do. [Announcer.Run] makes it so until its context
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
// interface's sockets listen for it, or after a claim. An address that the kernel
// refuses to listen for (its multicast group can't be joined) fails alone and is
// tried again. An interface that comes back, is replaced or changes its MAC is opened
// anew, and claims and announces anew. Nothing outlives the process: the addresses are on no
// interface, and sockets and multicast groups go with it.
//
// An announcement is of one of three kinds. Its owner answers with the interface's MAC, and
// announces. A stand-in answers with the owner's MAC, and its frames come from its own, so that clients send
// to the owner and switches keep both where they are; it announces nothing. Who stands by says nothing
// at all, but knows who asks and is in the groups, so that taking over is quick. From one to another there is no gap.
//
// # Taking an address
//
// With [Announcement.Claim] the segment is asked first whether another host has the address: by RFC 5227's probe, shortened,
// and by duplicate address detection as in RFC 4862. Nothing is answered meanwhile.
//
//	ms       0…20   …110   …200   …300            announced, IPv4
//	         probe  probe  probe  free: answered  0  80  180  1000  2000  4000
//
//	ms       0…50   …300   …550   …1000           announced, IPv6
//	         NS     NS     NS     free: answered  0  80  180  1000  2000  4000
//
// While more than a tenth of a second's pace is being claimed at once there is one probe of each, waited for as long. A round of
// announcements is, in IPv4, a gratuitous request and then a gratuitous reply; in IPv6 an
// unsolicited advertisement with Override from the link-local address to all nodes. With the first and
// the fourth round go directed refreshes, which nobody may ignore: an ordinary request from
// the address to each router of a default route, and to the hosts that asked for it lately. With the last one,
// and with each refresh (once a minute, less often with more than 300 addresses; jittered, those of a second together), goes a look: a probe that asks who else
// has the address.
//
// Announcements keep to a pace, first frames first, and of those the addresses asked for last. Of so many that
// the pace would take over two seconds for their first frames, these are sent at up to four times the pace, and the rounds
// at 80 and 180 ms are left out: ten thousand addresses are each announced within two seconds. Answers wait for
// none of that.
//
// # Conflicts
//
// Another node's MAC (see [Announcer.SetKnown]) is a matter of ownership: it blocks nothing. If it goes on answering, look after look,
// its kernel has the address: [KubeProxyAnswersARP]. A MAC that answers for two free addresses
// nearby, the canaries, is a router's with proxy ARP: named in [Segment.Proxies], otherwise ignored. Any other is a
// foreign host's ([ForeignHost]). A first claim then is withheld and tried again after 5 s, doubling up to a minute. One that
// claims an address later, or is found by a look, is defended against by one announcement in ten seconds at most
// (RFC 5227 §2.4 (c): the address has users) and told, until three looks in a row find nobody. See [ConflictMode].
// Without refreshes there are no looks but the first.
//
// # Gaps
//
// Frames that waited for over a second, by the kernel's timestamps, because this process did not run, are dropped. With
// [Options.HoldAfterGap] nothing is said after a gap until [Announcer.Awake]. Shorter pauses cost nothing.
//
// # Signs of life
//
// [Announcer.Turning] tells whether answers would be given now, for who tells others so. A [Prober] asks other
// nodes' kernels: see there. [Announcer.Hosts] are hosts that could witness whether this node is connected.
//
// # Who does what
//
//	Apply, Change                   netlink
//	     │ answers: one immutable      │ links, at every change
//	     │ table per segment           ▼
//	     ├───────────────────────► owner ──► State, Links
//	     │                           │ starts and ends, as links come and go
//	     ▼                           ▼
//	┌─ responder, one per segment: a family on an interface ──────────────┐
//	│  serve:  frame ─► question ─► table.answer ─► reply                 │
//	│            └────► remark, when another host has an address of ours  │
//	│  run:    filter, groups in step with the table; claims, conflicts   │
//	│            (contests) and announcements (schedule)                  │
//	└──────────────────────────── port: the sockets ──────────────────────┘
//
// The owner is the goroutine of Run and alone knows what runs. Each responder has
// two goroutines; serve answers and waits for nobody, run does what takes
// longer. Readers load tables that nobody ever changes. What decides is pure:
// question, answer table, frames, filter, schedule, contests and the reading of links know
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
//   - A filter in the kernel passes requests for our addresses, what others say of those that are
//     answered here, and little else, before they cost a wake-up: see requestFilter.
//   - Groups are joined by IPv6 sockets, as only that makes the kernel report
//     them to switches: see groups.
//   - Frames are read and written one by one, with recvmsg(2) and write(2), until
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
//     some 10,000 solicitations a second. It is the interface's list, whatever sockets have
//     joined: without joining, the same machine answers as many with ten thousand addresses as with one
//     (measured on a busy one: 5,600 a second joined, 28,000 not). But joining is what makes the kernel
//     report groups, and without reports a switch that snoops MLD delivers nothing; to report them
//     ourselves is a second MLD beside the kernel's, and not worth it for a rate that hardly a LAN asks at.
//   - Only Ethernet: no InfiniBand.
package layer2
