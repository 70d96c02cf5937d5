// Package detection finds out which nodes are lost: whether a node's speaker talks, whether its kernel lives,
// and on which links it can be reached.
//
// # Contract
//
// A [Machine] is told what this node hears and what became of its probes by [Machine.Step], and says whom to write to,
// what to ask on the wire, and what has become of whom. It is pure: it opens nothing, asks nobody and reads no
// clock. Every node has one, each comes to its verdicts by itself, and nobody coordinates them.
package detection
