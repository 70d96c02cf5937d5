// Package detection finds out which nodes are lost: whether a node's speaker talks, whether its kernel lives,
// and on which links it can be reached.
//
// # Contract
//
// A [Machine] is told what this node hears and what became of its probes by [Machine.Step], and says whom to write to,
// what to ask on the wire, and what has become of whom. It is pure: it opens nothing, asks nobody and reads no
// clock. Every node has one, each comes to its verdicts by itself, and nobody coordinates them. It must be stepped at WakeAt, and at once
// when something comes that may not wait ([Output.Calm]), by a goroutine that does nothing else: it holds its own lateness against itself.
//
//	     heartbeats, votes                        Output.Send
//	            │                                      ▲
//	            ▼                                      │
//	World ──► watches ──► exams ──► this node's vote ──┤
//	            ▲           │                          ▼
//	       ProbeResult   ProbeOrder      others' votes ──► Verdicts
//
// # How a node is judged
//
// Each speaker sends heartbeats to three monitors, the next ones on a ring that share a link with it; so everybody has three and is
// one of three. A heartbeat is sent only while the loops that answer ARP and NDP turn.
//
// A monitor also asks in peace, about once a second, by each method that may work: ARP or NDP for the node's address, ICMP
// echo, TCP. That shows which methods count: one that did not work lately proves nothing by its silence. When
// two heartbeats have not come, or a method that works was silent, it holds an exam: four rounds of probes by
// all methods within 75 ms, which end with the first proof of life. The speaker is asked for a heartbeat as well, and
// others on the link are asked whether they hear us: if nobody does, it is this node that is [Isolation], and it
// has nothing to say about others.
//
// What a monitor found it says to all members, as a vote on one life of one speaker: whether it talks, and which of the node's links
// live. When two accuse and more accuse than defend, or one does where only one could, it is so, at each node by
// itself. What was said in defence before the exam that led to an accusation defends nobody: who still looks says it again. If there is one accuser only, two that are not monitors look for themselves after 40 ms, then two more. One is enough of a
// node that gossip has lost as well and that nobody has defended for 1 s: others may be too starved to judge, but not to hear a sign of life.
// The accused answers its accusers with a heartbeat. A node is [Silent] when it does not talk and some link answers, [Dead] when
// it does not talk and none does. Only proof of life or a new life ends that: not that its witnesses are gone.
//
// What can't be seen on the wire, because no method ever worked, is lost when gossip's membership has
// lost it too, for 500 ms. A node that answers by ARP alone, while echo or TCP used to work, holds out for 3 s: something may
// answer in its name. A split of gossip alone leaves nodes Silent.
//
// # Waking up
//
// A timer that was late by 40 ms voids the exams that run. After 1 s without a step a machine knows nothing: what it saw is void,
// packets from before are not believed, methods must work anew before their silence counts. Verdicts stay as they were.
//
// # How fast
//
// Times after a node is cut off, with the default heartbeat of 80 ms:
//
//	step                       setting                       takes              so far
//	the last heartbeat         every 80 ms ± 4 %             -80 … 0 ms
//	suspicion                  2 × 80 + 10 ms after it       90 … 170 ms        mean 130 ms
//	exam                       4 rounds, 18 ms apart         75 ms              mean 205 ms
//	two votes                  one packet to everybody       1 ms               mean 206 ms
//	-----------------------------------------------------------------------------------------
//	silent speaker             3 × 80 + 60 ms after it       220 … 300 ms       mean 260 ms
//	a link alone, heartbeats
//	come by another            peace probe every 1 s         0.1 … 1.2 s        mean 0.4 s
//
// What is left for announcing and for the client to notice is what the promise (350 ms, at most 500) leaves.
//
// Simulated with up to 10 ms at random until any process runs, from the cut until the last node has counted two votes
// (TestHowFastALossIsAgreedOn), as median and 99th percentile: 2 nodes 210 and 253 ms, 3 nodes 213 and 256 ms, 10 nodes
// 212 and 256 ms, 50 nodes 225 and 252 ms. A speaker that crashes is silent to all after 267 and 312 ms.
//
// # How sure
//
// With a part p = 0.1 of all frames lost, each by itself, a question and its answer get through with 0.9 × 0.9, so fail with
// q = 0.19. An exam has at least 12 probes, by three methods or by fewer more often.
//
//	a monitor calls a living node dead     suspicion, p²                    1e-2
//	                                       the heartbeat during the exam, p 1e-1
//	                                       4 requests for a heartbeat, q⁴   1.3e-3
//	                                       12 probes, q¹²                   2.2e-9
//	                                       for each heartbeat               3e-15
//	                                       in 10 minutes (7,500)            2e-11, and two must agree
//	calls one link dead                    a probe in peace, q              0.19
//	                                       12 probes, q¹²                   2.2e-9
//	                                       in 10 minutes (1,400)            6e-7, and a second one examines: 1e-15
//	calls a speaker silent                 three heartbeats, p³             1e-3
//	                                       7 requests, q⁷                   9e-6
//	                                       in 10 minutes                    7e-5, and two must agree; it moves nothing
//
// What is not independent is not in this sum: a network, or a virtual machine, that stands still for 245 ms has lost its addresses.
//
// # What it costs
//
// Per node and second, for 4 nodes or 200 (TestPacketsPerSecond): 37 heartbeats sent and 37 received, 7 probes sent and 7
// answered; these are about 40 frames, as a TCP connection takes 7. No votes in peace. A node with more links has as many more
// probes. It wakes up 12 times a second, for its own heartbeats: what is routine waits for that ([Output.Calm]). A loss costs each of its two or three accusers five packets to each member within a second, and one in 10 s for
// as long as the node is missed.
// A step costs what is watched, three peers, not the number of members.
package detection
