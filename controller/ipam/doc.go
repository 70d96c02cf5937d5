// Package ipam decides which Service gets which address, and why not.
//
// An Allocator is told what pools there are (SetPools), what Services hold already (Adopt) and what they ask for
// (Assign). It answers with a Decision: the addresses that the Service's status is to show, or a reason with the whole
// story of every pool that was considered. It has no client, no socket and no clock: the caller writes the decision
// down, says so (Settle), and tells when a Service is gone (Release).
//
//	            SetPools ──►┌───────────┐
//	Adopt (once, at start)─►│           │──► Decision: Grants, Reason, Message
//	              Assign ──►│ Allocator │
//	              Settle ──►│           │──► TakeWoken: who to ask again
//	             Release ──►└───────────┘──► TakeTouched, Usage: pools whose numbers changed
//
// What is asked of it, and how:
//
//   - Sharing: Request has the key, the ports, whether traffic is Local, the selector and the time of creation;
//     Pool.ShareAcross lets a key reach across namespaces.
//   - Resting: Pool.ReuseDelay. Advance tells the time before anything else is asked, and returns when to come again: one
//     timer. Resting is what the pool's status is to keep, RestoreResting takes it back after a restart. At most
//     MaxResting addresses of a pool rest.
//   - Addresses that the cluster's network needs: Node.Reserved makes them of what is known of a node, SetReserved takes
//     the whole set whenever it changed. Condition tells of each pool what is skipped and why.
//   - Swapping: Assign, write, Settle. Between the first and the last the Service holds both. Where the write fails it is
//     Assign again, with the Request as it is by then.
//   - Adopting: Adopt takes the Services' requests with what their statuses show, the older ones first, after SetPools.
//
// What it promises:
//
//   - No address is given to two Services that may not share it. An address that somebody holds, whoever assigned it, is
//     not free.
//   - A Service keeps its address until it asks for something else that it can have: no edit of a pool, no deletion
//     and no restart moves it. Who can't have what it asks for keeps what it has.
//   - Where Services that have an address together can't any more, for one of them was changed, the older one stays. The
//     other one is woken, and moves, or waits without an address.
//   - A change is two steps: Assign holds the new address beside the old one, Settle lets the old one go once the
//     status shows the new one. Between the two nobody else gets either.
//   - The answer depends on pools, Services and what they hold, not on the order of maps or the time of day. The
//     lowest free address is taken first.
//   - A Service that is refused waits for causes. When one of them changes, it is woken; one free address wakes one
//     Service, and the next when that one does not take it. Who is woken must be brought to Assign, Release or StopWaiting.
//   - What a Service was told that waits stays true: where it does not any more, the Service is woken though it can't be
//     served (retell). That there is more by now which stands in its way it is not told.
//
// How: the territory of a pool is what it lists without what it excludes, without what means something else to every
// host, and without what pools ahead of it have (pool.go). Its free space is a B-tree of spans (span.go), so that an
// assignment costs O(log n) and a /32 of IPv6 costs one span. Who holds what is a ledger of claims (ledger.go), in
// which an address may have several holders and a Service several addresses. The rules are in choose.go, their wording
// in story.go. Check (check.go) says whether all of that is consistent; tests call it after every step, beside a slow
// twin that must always say the same.
package ipam
