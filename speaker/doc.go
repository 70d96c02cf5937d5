// Package speaker is one node's speaker: it works out which addresses this node announces, and makes it so.
//
// # How it hangs together
//
//	informers ──► feed ─────┐
//	(Services, slices,      │      ┌─ plan ─┐
//	 Nodes, …)              ▼      ▼        ▼
//	layer2.Links ────────► loop: decider ─ ownership
//	gossip.Snapshot ──────►  │
//	                         ├──► layer2.Apply     what this node answers for
//	                         ├──► gossip.Apply     what it says of itself, and who the others should be
//	                         ├──► herald           the condition Announced on Services
//	                         ├──► portrait         this node's Speaker object
//	                         └──► crier, meters, readiness
//
// [Run] starts the parts and stops them in order. One goroutine, the loop, takes in what is seen, decides and
// hands on what follows; it never waits for the API server. Those who write to it (herald, portrait, crier)
// have queues and limits of their own, and try again. While the API server is away everything goes on with
// what was last known.
//
// What Kubernetes' objects mean is worked out in convert.go, one function for each kind; from there on there are only
// plain values. What follows from them is worked out by the decider, which is pure: it joins speaker/plan and
// speaker/ownership and decides only what has changed.
//
// # Who speaks of a Service
//
// All speakers come to the same decisions, and one of them says so on the Service: the owner of its first
// address that has one; where nobody owns any, the one who would own the first address if all might.
//
// # Stopping
//
// Every stop is a leave: the others are told, and the speaker goes on answering for the moment that they need
// to take over. Then it falls silent.
package speaker
