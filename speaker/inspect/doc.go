// Package inspect is what a speaker shows of itself on its loopback port: whom it hears, what its host is like, and for an
// address who answers for it and why each other node does not. What changes with every owner and every heartbeat is
// in no object of the API server; it is here, for those who ask.
//
// [Handler] serves it, read-only and as JSON, to requests that come from the node itself. kubectl clarion comes there
// by port-forward, and so who may forward ports to the speakers' Pods decides who may see it. The types are shared by both
// and only ever grow: a plugin must understand a speaker of another version.
//
//	GET /inspect                      the speaker and its host
//	GET /inspect?service=NS/NAME      the same, and the addresses of a Service
//	GET /inspect?address=ADDRESS      the same, and that address
//	GET /simulate?drain=NODE          who would take what if the node were drained
//	GET /simulate?loss=NODE           and if it were lost
package inspect
