// Package ownership decides which node answers for which address.
//
// # Contract
//
// A [Machine] is told what this node sees (who may answer for each [Unit], which speakers are heard,
// whether the view is whole) by [Machine.Step], and says who owns what. It is pure: it opens nothing,
// asks nobody and reads no clock; time and input are arguments, and the same steps give the same
// answers. The speaker feeds it and does what it says.
//
// # The rule
//
// All speakers see the same objects and hear the same gossip, so each of them computes the
// candidates of a unit alike, and the owner is the candidate with the highest rendezvous hash (ties
// go to the name that sorts first). No message names an owner, no server is asked. When a node goes,
// only what it owned moves, and what it owned spreads over all that are left; when one comes, it takes
// its share from all the others and nothing moves between those.
//
// # Starting
//
// A speaker that has just started must not act on half a view: it would claim everything, because it
// sees nobody else. So it claims nothing until it has settled:
//
//	              Whole                    heard the same speakers for Stable,
//	waiting ───────────────────► settling ────────────────────────────────────► serving
//	   every expected speaker       │       every expected one accounted for
//	   may still be unknown         │                                              ▲
//	                                └──────────────────────────────────────────────┘
//	                                           Limit has passed all the same
//
// Serving is told to the others by gossip, and none of them counts a speaker as a candidate before
// it has said so: until then they go on answering, so that nothing falls silent in between. A
// machine that serves does so until its gossip ends or is opened again (the node's address has
// changed, say): then it has heard nobody yet, gives up what it owns and settles anew.
//
// Where all start together nobody serves yet, and nobody answers. Then each leaves to the others what will be
// theirs in a moment ([Machine.Courtesy]), so that not everybody claims everything first.
//
// # In a split
//
// Two halves of a cluster that do not hear each other each compute an owner, so an address may be
// answered twice for as long as the split lasts. When they hear each other again, both compute the same
// owner and the other falls silent.
package ownership
