// Package child is the process that BGP sessions live in: it carries out what the Manager of package bgp
// orders, and reports how each session fares.
//
//	Orders ──► Run ──► session ──► TCP ──► router        one goroutine each, and one that reads
//	Reports ◄────────────┘
//
// Messages are gobgp's to encode and to decode. The sessions are ours (docs/adr/0007): all they do is to tell
// routes, so an UPDATE that comes in is counted and dropped unread, and what else a router can send is an OPEN, a
// NOTIFICATION, a ROUTE-REFRESH and a KEEPALIVE. A panic in a session ends that session alone.
//
// What is decided is in pure functions: judge (is this OPEN acceptable), pack (routes into UPDATEs), received
// (what a NOTIFICATION means), retryDelay (when to try again).
package child
