package detection

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Machine is told what changed by an Input and answers with an Output.

// An Input is what a speaker has seen since the last step.
type Input struct {
	// Flags are what this speaker says of itself in its heartbeats.
	Flags Flags
	// Turning is whether the loops that answer ARP and NDP turn round. While they don't, no heartbeat is
	// sent: a speaker that can't answer must not be taken for one that does.
	Turning bool
	// Paused says that this process did not run for a while, though the clock given to Step may not show it (the
	// monotonic clock stands still while a machine is suspended).
	Paused bool
	// World is what this node knows of the others; nil when it is the same as in the last step. The machine
	// keeps it; it must not be modified.
	World *World
	// Heard are packets of detection that have come from other members, in the order they came.
	Heard []Message
	// Results are what became of the probes ordered. Every order must get one, in the order of their coming.
	Results []ProbeResult
}

// A World is what this node knows of itself and of the others.
type World struct {
	// Links are this node's own.
	Links []Link
	// Members are the nodes that have, or lately had, a speaker, this one apart. One that is no more among
	// them is forgotten, its verdict included: a speaker that was lost stays a member, with Gossip
	// false, for as long as its node should have a speaker or its addresses matter.
	Members []Member
	// Hosts are others on this node's links, routers first: they tell, when nobody else answers,
	// whether it is this node that is cut off. A host that lives on this very machine (a virtual machine on its bridge)
	// proves nothing and does not belong here.
	Hosts []Host
}

// A Member is a node that has, or lately had, a speaker.
type Member struct {
	Node string
	// Life is the one of its speaker that was heard last.
	Life uint64
	// Gossip is whether membership (memberlist's) counts it as alive.
	Gossip bool
	// Addr is where its speaker listens for gossip, by UDP and TCP.
	Addr netip.AddrPort
	// Links are what it has published. They stay while Gossip is false.
	Links []Link
}

// A Link is an interface of a node.
type Link struct {
	Name string
	// Up is true when frames can cross.
	Up bool
	// MAC is the interface's own hardware address.
	MAC MAC
	// Addresses are those of the node on this interface, each with the length of its on-link network: 192.0.2.7/24.
	// Two nodes that have an address in the same network on some link are probed for on it. A published network
	// without an address (192.0.2.0/24) does to tell that, and Member.Addr is then asked for if it is in it.
	Addresses []netip.Prefix
	// LinkLocal is its IPv6 link-local address, without a zone; invalid when there is none.
	LinkLocal netip.Addr
}

// A Host is a neighbour on one of this node's links.
type Host struct {
	Link string
	Addr netip.Addr
}

// A MAC is a hardware address; the zero value is none.
type MAC [6]byte

// String returns the usual form, aa:bb:cc:dd:ee:ff.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Flags are what a speaker says of itself in a heartbeat.
type Flags uint8

// The flags. Their values are on the wire.
const (
	// Serving is set while the speaker answers for what it owns.
	Serving Flags = 1 << iota
	// Restarting is set by a speaker that is about to stop and come back: from now on its
	// stand-ins are wanted, and nothing is to move.
	Restarting
	// Leaving is set by a speaker that hands over what it owns and goes.
	Leaving
	// Stale is set while the speaker's view of the API server may be old.
	Stale
)

// A Message is a packet of detection that another member has sent.
type Message struct {
	// From is the member that sent it and Life that speaker's, as gossip vouches for them.
	From string
	Life uint64
	// Payload is what came in one Send.
	Payload []byte
	// At is when it arrived at this node, by the kernel's or the socket's reckoning on the clock given to Step;
	// zero when that is not known.
	At time.Time
}

// A Method is a way of asking another node's kernel whether it lives.
type Method uint8

// The methods. Their values are on the wire.
const (
	// ARP asks for the node's address with sender address 0.0.0.0 (RFC 5227 section 2.1.1).
	ARP Method = iota + 1
	// NDP solicits the node's link-local address (RFC 4861 section 4.3).
	NDP
	// Echo4 and Echo6 are ICMP echo requests with a nonce.
	Echo4
	Echo6
	// TCP connects to the port of the speaker's gossip. To be refused is an answer: the kernel gave it.
	TCP
	methodEnd
)

var methodNames = [...]string{ARP: "ARP", NDP: "NDP", Echo4: "ICMP", Echo6: "ICMPv6", TCP: "TCP"}

// String returns the name of the protocol.
func (m Method) String() string {
	if m == 0 || m >= methodEnd {
		return fmt.Sprintf("method %d", uint8(m))
	}
	return methodNames[m]
}

// nonce reports whether an answer proves that this very question was heard, by an end of it that thinks.
func (m Method) nonce() bool { return m == Echo4 || m == Echo6 || m == TCP }

// A ProbeOrder is one question to be put on the wire, once and at once.
type ProbeOrder struct {
	// ID is what the result refers to.
	ID uint64
	// Peer is the node asked; empty for a Host.
	Peer   string
	Method Method
	// Interface is where the question leaves. It is empty for a peer that is behind a router: then the routing
	// table decides.
	Interface string
	Target    netip.Addr
	// Port is TCP's.
	Port uint16
	// Expect is the MAC that an answer by ARP or NDP should carry, zero for any. It may serve as the frame's destination.
	// Answers with another MAC do not end the wait for one that has it.
	Expect MAC
	// Deadline is when to report that there was no answer.
	Deadline time.Time
}

// A ProbeResult is what became of a ProbeOrder.
type ProbeResult struct {
	ID      uint64
	Outcome Outcome
	// Sent is when the question left this node.
	Sent time.Time
	// RTT is the time from Sent to the answer.
	RTT time.Duration
	// MAC is the hardware address that an answer by ARP or NDP names.
	MAC MAC
}

// An Outcome is how a probe ended.
type Outcome uint8

// The outcomes.
const (
	// Unanswered: the question was sent, answers were waited for until the deadline, and none was fit. That the kernel
	// calls a host unreachable is this too.
	Unanswered Outcome = iota
	// Answered, by whoever MAC says.
	Answered
	// NotSent: for want of an interface, a buffer, a permission, or time until the deadline. It says nothing of the peer.
	NotSent
)

// An Output is what a step came to.
type Output struct {
	// Send are packets for other members, by unreliable unicast, to go out at once.
	Send []Send
	// Probes are to be sent at once.
	Probes []ProbeOrder
	// Verdicts are those that changed, in order of their nodes.
	Verdicts []Verdict
	// Suspected is of how many members somebody has begun to say that they are not heard.
	Suspected int
	// Isolated are this node's own links on which nobody at all answers it, in order. It is the whole list, each time.
	Isolated []Isolation
	// Calm is true when all that is watched is well: what is [Routine], and answers to probes, may then wait for the next
	// step. In a quiet cluster they are nearly all that comes.
	Calm bool
	// WakeAt is when to step again although nothing came.
	WakeAt time.Time
}

// A Send is a packet for some members.
type Send struct {
	To      []string
	Payload []byte
}

// A Verdict is what the living members agree on about a node.
type Verdict struct {
	Node string
	// Life is the speaker's that the verdict is about; a later one is Alive until something else is known.
	Life  uint64
	State State
	// Since is when this node came to State.
	Since time.Time
	// Quiet is for how long, then, nothing had been heard of the speaker, by those who watch it; zero where none of them says.
	Quiet time.Duration
	// DeadLinks are the links, by the names that Node gave them, on which it does not answer although it
	// did, in order. When State is Dead they are all that the verdict's witnesses can see, and the others are gone too.
	DeadLinks []string
	// Restarting says that the speaker is silent after it has said that it restarts.
	Restarting bool
	// Witnesses says in words who saw what.
	Witnesses string
}

// same reports whether v and o say the same of a node, words apart.
func (v Verdict) same(o Verdict) bool {
	return v.Life == o.Life && v.State == o.State && v.Restarting == o.Restarting &&
		slices.Equal(v.DeadLinks, o.DeadLinks)
}

// DeadOn reports whether nothing can reach the node on one of its links.
func (v Verdict) DeadOn(link string) bool {
	return v.State == Dead || slices.Contains(v.DeadLinks, link)
}

// A State is what is known of a node.
//
//	              heartbeats stop, the wire answers
//	         ┌──────────────────────────────────────► Silent
//	Alive ───┤                                        │    ▲
//	  ▲      │   heartbeats stop, the wire is silent  ▼    │ the wire answers
//	  │      └──────────────────────────────────────► Dead
//	  │                                                 │
//	  └────────────── heartbeats, or a new life ◄───────┘ (from Silent too)
type State uint8

// The states, from best to worst.
const (
	// Alive: its speaker is heard.
	Alive State = iota
	// Silent: its speaker is not heard, but its kernel answers.
	Silent
	// Dead: nothing answers.
	Dead
)

// String returns the state's name.
func (s State) String() string { return [...]string{"Alive", "Silent", "Dead"}[s] }

// An Isolation is a link of this node's own on which nobody answers. Its votes on others are void there, and verdicts
// that hang on them stay as they were: whom it can't see it does not judge.
type Isolation struct {
	Link   string
	Since  time.Time
	Reason string
}

// list joins words: "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}
