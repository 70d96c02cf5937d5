// Package speaker is one node's speaker: it works out which addresses this node announces, and makes it so.
//
// # How it hangs together
//
//	informers ──► feed ──────┐
//	(Services, slices,       │      ┌─ plan ─┐
//	 Nodes, …)               ▼      ▼        ▼
//	layer2.Links, State ──► loop: decider ─ ownership
//	gossip.Snapshot ──────►  ▲ │                ▲ claims, offers, digests: gossip.Send, Receive
//	           verdicts ─────┘ │
//	                           ├──► layer2.Change    what this node answers for, and with whose MAC
//	                           ├──► gossip.Apply     what it says of itself, and who the others should be
//	bgp, bfd: Snapshot ────►   ├──► uplink           BGP sessions, the routes in them, and BFD
//	                           ├──► herald           the condition Announced on Services
//	                           ├──► portrait         this node's Speaker object
//	                           └──► crier, meters, readiness
//
//	gossip.Receive ── heartbeats, votes ──► detector ──► verdicts, for the loop
//	layer2.Prober  ◄── probes, results ───►    │
//	gossip.Send    ◄── heartbeats, votes ──────┘
//
// [Run] starts the parts and stops them in order. One goroutine, the loop, takes in what is seen, decides and
// hands on what follows; it never waits for the API server, nor for another host. Those who write to the API server
// (herald, portrait, crier) have queues and limits of their own, and try again. While it is away everything goes on
// with what was last known. Another goroutine, the detector, runs speaker/detection, so that a loop that is busy
// delays no heartbeat and no verdict.
//
// What Kubernetes' objects mean is worked out in convert.go, one function for each kind; from there on there are only
// plain values. What follows from them is worked out by the decider, which is pure: it joins speaker/plan and
// speaker/ownership and decides only what has changed. A verdict comes before everything else that has: from the moment when
// a node is known to be lost to the first frame that tells the LAN where its addresses are now, nothing is planned anew.
//
// Both machines live by a clock that goes on while the machine sleeps (clock.go).
//
// # What is answered, and what is told
//
// What ownership decides is put into force first and told to the others then: who hears that this node has taken an
// address falls silent. Whether a foreign host holds an address is layer2's to find out; conflicts.go brings it to ownership as
// evidence, and looker.go what the wire says of an owner that gossip does not hear.
//
// # Toward routers
//
// What the node is to routers is worked out by routing (routing*.go), which is pure like the decider: speaker/routes says
// which routes go where, routing adds what takes time: routes that others are to take over fade, and what is gained under
// externalTrafficPolicy Local waits for kube-proxy. The uplink has bgp and bfd make it so. That BFD ends a BGP session
// takes no decision, and so goes by no loop (guard). Layer 2 does without all of it: its objects are followed by a cache of
// their own, and its sessions live in a process of their own.
//
// # Who speaks of a Service
//
// All speakers come to the same decisions, and one of them says so on the Service: the owner of its first
// address that has one; else, of the nodes that advertise its first address that is, one; where there is neither, the one
// who would own the first address if all might.
//
// # Stopping
//
// A stop is a restart unless something says that the node is to be left ([plan.HowToStop]). A speaker that restarts says so, and
// stops as soon as deputies answer in its name, with its node's MAC: nothing moves. One that leaves hands over
// what it has, address by address, and goes on answering for each until another does; its routes linger, marked
// GRACEFUL_SHUTDOWN, before they go.
package speaker
