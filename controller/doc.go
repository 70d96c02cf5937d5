// Package controller gives Services of type LoadBalancer their addresses.
//
// Of all replicas one leads, by a Lease. Every replica follows the cluster through caches; the leader alone decides and
// writes. A term of leadership goes like this:
//
//	lease won ─► list Services ─► adopt what they hold ─► look at every Service ─► follow changes ─► lease lost, or stop
//	             (from the API                             ▲                          │
//	              server, not                              └── woken: what stood ─────┘
//	              the cache)                                   in the way changed
//
// Nothing is granted before everything is adopted, and what is adopted comes from a list newer than anything that a
// leader before this one can have written. A term keeps nothing for the next one: who holds what stands in the
// Services' status, and is read from there.
//
// Who owns what: the term's ledger (package ipam) and what it knows of each Service are under one lock, which is held
// for a decision and never for a request. Workers read a Service from the cache, decide under the lock, and write
// without it, each Service by one worker at a time. Pools' status, conditions of other objects, and events have a
// goroutine each, so that none of them keeps an address waiting.
//
// A Service's status is written by one patch: ingress, condition and the pool's name together, under the
// resourceVersion that was decided on, and only while our own clocks say that the lease is ours; a request that is not
// answered by then is given up, and the lease is given up after the last of them. One hole is left: a request that the
// API server has taken in may be carried out after we gave it up. It can then come after the next leader's list, and
// show an address that the next leader takes for free. The resourceVersion shuts it where the Service was written since.
package controller
