// Package controller gives Services of type LoadBalancer their addresses.
//
// Of all replicas one leads, by a Lease. Every replica follows the cluster through caches; the leader alone decides and
// writes. A term of leadership goes like this:
//
//	lease won ─► list Services ─► adopt what ─► bar late writes ─► look at every ─► follow changes ─► lease lost,
//	             (from the API    they hold     of a leader that   Service          │                 or stop
//	              server, not                   vanished           ▲                │
//	              the cache)                                       └── woken: what ─┘
//	                                                                   stood in the way changed
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
// A Service's status is written by one patch: ingress, condition and our mark together, under the resourceVersion that
// was decided on, and only while our own clocks say that the lease is ours; a request that is not answered by then is
// given up. A leader that ends gives the lease up when all its writes have been answered. Where one vanished instead, a
// write of its may still come: it may have been stopped between a look at its clocks and the write, or the API server
// may have taken the request in. So an address is written only to a Service that says by its condition that one may be
// about to come, which one that is served is told first; and the next leader, before it grants anything, writes to every
// Service that says so that it is about to decide (Unknown, Pending). What comes after that meets a conflict
// (predecessor.go). While no pool exists that waits, too, for the first pool.
package controller
