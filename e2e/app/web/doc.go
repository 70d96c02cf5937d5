// Package web is the lab's test server: it answers who it is and whom it sees, so that a client behind a load balancer
// can tell which Pod on which node took its connection, and whether its own address got there unchanged.
//
//	GET  /         at once: {"pod":"web-7d4b","node":"node2","client":"10.99.0.100:43210","server":"10.98.2.3:8080"}
//	POST /echo     the request's body
//	GET  /slow     the same as /, after ?for=1s
//	GET  /hold     the same as / on a line of its own, again every ?every=1s for ?for=1m: a connection that stays open
//	GET  /healthz  200, for probes
//
// It listens on IPv4 and IPv6 alike.
package web
