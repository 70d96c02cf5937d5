// Package gossip keeps the speakers of a cluster in touch: who is alive, and what each says of its node.
//
// # Contract
//
// A [Gossip] is told what to do by [Gossip.Apply] (where to listen, the keys, where the others should be,
// what to say of this node) and does it while [Gossip.Run] runs. What it sees is [Gossip.Snapshot], with
// a channel that is closed when that has changed. [Gossip.Leave] announces a planned stop. The other speakers
// are found by the addresses of the Nodes: there are no seeds.
//
// One goroutine, Run's, owns everything; memberlist's callbacks leave what they bring in queues and never wait.
// Only plain values cross the package's border, no type of memberlist does.
//
//	packets, streams                      Apply
//	      │                                 │
//	    guard      drops what memberlist    ▼
//	      │        would not survive      session ──► Snapshot, changed
//	      ▼                               ▲     │
//	  memberlist ──► events, states ──────┘     │
//	      │ ▲                                   │
//	      │ ├──── state, questions, calls ◄─────┘
//	      │ └──── post ◄──────────────────────────── Send
//	      └──────── messages ──────────────────────► Receive
//
// Packets with messages of ours pass by memberlist: the guard opens and seals them itself (seals.go).
//
// Speakers also write to each other ([Gossip.Send], [Message]): heartbeats, votes, who owns what. Gossip carries these and does
// not read them. They pass by the goroutine that owns the rest, both ways, because some of them count milliseconds: what
// is sent is on the wire when Send returns, and what came is handed to Options.Receive from where it was read. Those that
// are marked reliable, or are too big for a packet, go by a stream.
//
// # What is gossiped
//
// Each speaker says some facts of itself and its node ([Facts]): a few hundred bytes, whose size goes with
// the node's links and not with addresses. They travel directly to every member when they change, by gossip
// and by push/pull in case that was lost, and who lacks them asks. What a lost speaker said last is remembered, and told to those
// that come, for as long as its node should have one. Facts hold for one life of a speaker; the
// life is in memberlist's metadata, so a restarted speaker is not taken for the one before.
// Messages are type-length-value with a version (codec.go); what a speaker does not know it skips and passes on. No packet
// is longer than 1,232 bytes.
//
// A peer that is missing and yet heard has keys that this speaker lacks: the Secret has changed while it was away. The Snapshot
// says so (Unintelligible), for such a peer is there and must not be taken for lost; at most ten seconds later the others
// use the new key.
//
// # How fast, and how sure
//
// memberlist probes one random member per interval, directly, then through three others and by TCP. Who did
// not answer until the interval is over is suspected; who is suspected and does not protest is declared dead, sooner
// if a second member suspects it too. The settings (tuning.go), and what they come to with N nodes, where
// s = max(1, log10 N):
//
//	step                        setting                       takes
//	somebody probes it          probe interval 300 ms         0 … 300 ms for most; mean 300 ms for large N
//	the probe fails             probe interval                300 ms
//	suspicion, confirmed        3 × s × 300 ms                900 ms × s
//	suspicion, not confirmed    2 × 3 × s × 300 ms            1.8 s × s
//	everybody knows             gossip interval 100 ms        100 ms × rounds, about log4 N
//	-------------------------------------------------------------------------------------------
//	typical, 3 to 10 nodes                                    1.2 … 2.1 s
//
// Measured on a network in memory (TestHowFastADeadNodeIsNoticed), from the cut until all know, as
// min/median/max: 2 nodes 1.2/1.5/1.8 s, 3 nodes 1.2/1.4/2.1 s, 10 nodes 1.4/1.6/2.1 s,
// 50 nodes 2.2/3.0/3.0 s. A planned stop is known after 100 to 400 ms.
//
// Against death by mistake: a probe counts as failed only after a direct packet, three detours and TCP have all
// failed; to be declared dead a member must have missed, for 900 ms and more, every chance to protest, of which
// there is one in each gossip round; and a second member must have come to the same suspicion, or 1.8 s must pass. A
// speaker that is itself late (it finds that its own probes fail) slows down its probing up to
// eightfold (Lifeguard), so that one starved node does not bury the others. With 10 % of packets lost, nobody was taken
// for dead in ten minutes (TestLossIsNotDeath). A speaker that does not run for longer than about 1.3 s is
// taken for dead, and comes back when it runs again.
//
// It costs each node about 7 packets a second, whatever the number of nodes; what speakers write to each other comes on top. Whether
// a node is lost is not decided by this membership but by speaker/detection, faster and with the wire as a witness; so its
// intervals are long enough to cost little.
//
// # Who is trusted
//
// Everything is encrypted and authenticated with a key that all speakers have, AES-256-GCM, and what is not is
// dropped. A key may be replaced at any time: a new one is understood before it is used, and an old one
// understood for a minute after (keys.go). Members with the key are trusted in what they say, but not to
// say it well: no packet and no stream of theirs may crash another speaker.
package gossip
