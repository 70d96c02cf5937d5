// Package ownership decides which node answers for which address.
//
// # Contract
//
// A [Machine] is told what this node sees (who may answer for each [Unit], which speakers gossip hears, what detection says of
// nodes, what the wire showed, what other machines say) by [Machine.Step], and says what follows: how to answer
// for each unit, what to announce again, what to look for on the wire, what to tell the others. It is pure: it opens nothing,
// asks nobody and reads no clock; time and input are arguments, and the same steps give the same answers.
//
// The others' machines are of the same kind, and what they say to each other ([Message]) may be lost, late, doubled
// and out of order. No server is asked, no leader is chosen. Who feeds a machine keeps to this:
//
//   - Answers are in force before what the same step sends is sent.
//   - Candidates are by what the API server and the nodes say, and do not depend on whether a speaker is heard just now: a node
//     whose speaker restarts stays a candidate. Taking it from the list is telling its owner to hand over.
//   - Who suspects itself is told so ([Input.Isolated]) no later than that all the others are dead.
//   - A step follows at the latest at [Output.WakeAt].
//
// # Claims
//
// Each node has a set of claims, which it alone changes, and remembers everybody else's. A [Claim] on a unit has a
// term, one higher than that of the claim before it. Where several nodes that live claim the same unit, the best claim is the owner's:
// the solid one before the provisional, then the later term, then the rendezvous hash of unit and node. Who has a worse one falls silent in
// the step in which it hears of the better, and says so; hearing this, the owner announces once more. So the loser is
// silent first and the winner is heard last.
//
// An owner stays owner. What a set lost when its node died is only replaced by better claims; what a silent node claims is still
// its own.
//
//	             claim: nobody has it and it falls to this node,
//	             or its owner is dead and this is the first deputy,
//	             or its owner offers it
//	       ┌───────────────────────────────────────────┐
//	       │                                           ▼
//	  not this node's ◄───────────────────────── this node's ──► offered
//	       │     ▲      hears a better claim         │   ▲          │  hears the successor's
//	       │     │      (its own, if it was offered) │   │          │  claim: as to the left
//	 first │     │                                   │   └──────────┘
//	deputy │     │ owner is heard         held: a    ▼     refused, or no claim in 600 ms:
//	       ▼     │ serving                foreign   silent, looks again     offered to another
//	    stands in for an owner            host has  after 5 s … 5 min
//	    whose speaker is silent           it
//
// # Messages
//
//	message    says                                              sent
//	Claims     changes of a set from one version to the next,    to all, in the step of the change; whole sets to those
//	           or a whole set                                    that ask, by whom they ask
//	Digest     how new the sets are that the sender knows;       short: to all 50, 150, 400 and 1000 ms after a change, and
//	           a question if it has a number                     to 3 others about every second; full: as question and reply
//	Offer      take these units of mine                          to the successor, again after 150 ms
//	Refusal    I can't                                           to who offered
//
// A version is (epoch, life, number). number counts changes; who finds one missing asks, and gets the changes it lacks or
// the whole set. A speaker that starts asks for everything, finds what its node claimed before, and goes on in the next epoch: sets of former
// lives never come after it. A Digest bears a sum over all versions, so two nodes that lack nothing of each other's still find
// that one of them lacks something of a third's. What a Claims carries goes with what changed, what a Digest
// carries with nodes.
//
// # Who takes what nobody has
//
// The best placed of those that serve (by rank, then weight), among them who has fewest units of the same segment and candidates (a
// group), then fewest units at all, then the hash. Everybody works that out alike from the same claims and reckons with the result, and
// the one it falls to claims the unit; who has not done so after 300 ms is passed over. After a cold start speakers settle one
// after the other and find the first ones' claims made: because units are given out in order, in rounds in which the hash
// decides who is next, taking out all units of one node leaves the others' shares as they were.
//
// # Deputies
//
// Each unit has two. Nobody names them: they follow from the claims, which all know, by the same rule as above, as if the owner's units were
// given out one by one; so the message that tells them has no size at all. They are worked out when a group has been
// calm for 300 ms, among those that have been back for 2 s if there are any, because who has only just come back hesitates (see below);
// and kept: when nodes are lost one upon the other, all act on what all thought while it was calm. The first one
// listens for the unit beforehand ([Machine.Standby]), so that it knows who asks. Units of silent owners are decided anew when
// their deputies are. A dead node's units
// are claimed by their first living deputies in the step in which these hear the verdict, without a look at the wire.
// While a speaker is silent, the first deputy answers with the owner's MAC. Where nodes may not agree on who that is, because something else had changed right
// before or somebody has only just come back, the second one does so too, and whoever finds that another should goes on for 3 s: two who say the same are no harm,
// none is. After 30 s the first deputy looks on the wire whether the
// owner's speaker is only cut off from the gossip, and if nobody answers, takes over.
//
// # Giving away
//
// The owner offers, the successor claims and announces, the owner hears the claim and falls silent, the successor announces once more.
// At every moment one of them answers. It is done for all units at once when the node leaves or may no longer answer for them, or
// when its own rank has got worse than others'; 8 at a time, and only when nothing has changed for 100 ms, when others have become better
// placed (failback): by rank or weight, or because the load of the best placed differs by more than one. Who has just come back is given
// nothing in this way for 2 s, whatever the policy.
// A node that may not answer any longer and finds nobody to take over goes on for 2 s.
//
// # Starting, pausing, suspecting
//
//	starting ──► serving: answers for what the others remember to be its own, when one that has served for a while has answered
//	    │           │
//	    │           ▼
//	    └──────► settled: takes what falls to it, when the members have been the same for 1 s and all that should exist were
//	                      heard or tried in vain, after 3 s in any case
//
// In a cold start, in which nobody has served for 3 s yet, nobody serves before it is settled, and what falls to speakers that do not serve is
// left for them until one's own 3 s are over: where there are thousands of units, some have their view seconds later than others. Such a
// one claims what was left for it when it knows what the others know, and does not wait for another second.
//
// A machine that was not stepped for over a second was paused with its node: its time stands still meanwhile, it is mute
// ([Output.Mute]) and takes nothing until a member has answered with what is new, or for 1 s nobody has. A clock that jumps is the
// same. A node that suspects itself keeps what it has; whom gossip has not heard for 1 s then is lost to it, whatever
// detection said last, and what others had it claims after 1 s more, provisionally. Such a claim
// becomes solid 2 s after the suspicion has ended and others are heard, or 5 s if nobody is, if nobody had a better one until then. In the
// first second after a suspicion has ended, or since others are heard, it claims what others had in the same way, and so it does while gossip hears
// nobody, or while no other speaker is heard though the kernel of one seems to answer: who was cut off wins nothing by coming back. A node that has not seen the API server for long
// ranks behind all others and gives way. In a split of the segment each side has an owner for everything; when it heals, sets are
// exchanged as soon as the members hear each other, and worse claims are given up.
//
// # Proof
//
// world_test.go is a cluster with a wire, in which everything takes its time and packets are lost, doubled and late. TestSimulation
// runs thousands of seeded schedules of all that can happen, all at once: in the end there is one owner on which all
// agree, and nothing moves any more. The scenarios hold single promises to numbers:
//
//	even after a cold start              TestAfterAColdStartOwnershipIsEven…
//	a loss moves what was lost, evenly   TestALossMovesOnlyTheLostNodesUnits, TestTwoNodesLostAtOnce
//	in the step of the verdict           TestADeadNodesUnitsAreClaimedInTheStepOfTheVerdict, TestStandInBegins…
//	a silent speaker moves nothing       TestAPauseOfFiveSecondsMovesNothing, TestACrashedSpeakerThatComesBackMovesNothing
//	and is stood in for, however new     TestWhoeverHasOnlyJustBegunIsStoodInFor
//	also while another one is silent     TestWhoeverFallsSilentWhileAnotherIsSilentIsStoodInFor
//	nor do restarts of all               TestARollingRestartOfAllMovesNothing
//	until it has been silent for 30 s    TestASpeakerSilentForLongLosesItsUnits
//	splits heal within a second          TestAfterASplitHealsThereIsOneOwnerWithinASecond
//	who was cut off wins nothing by that TestWhoWasCutOffWinsNothingByComingBack
//	and of the gossip alone do no harm   TestASplitOfTheGossipAloneMakesNoSecondOwner
//	nor does that delay a take-over      TestWhoHasJustComeBackDelaysNoTakeover
//	hand-overs always have an answerer   TestALeaveAlwaysHasAnAnswerer, TestALeaveWhoseSuccessorDiesIsPlannedAnew
//	failback when its time has come      TestFailbackComesAfterItsTimeAndMakesEven
//	two claims, one exchange             TestTwoClaimsAreResolvedInOneExchange
//
// In hall_test.go verdicts are not made up: detection's machines come to them by probes and heartbeats, and a client asks for the addresses.
//
// # Limits
//
// If all speakers restart at once nobody remembers anything, and units are given out anew. Bounds on loads hold within a group;
// units of different candidates are only balanced where it costs no move.
package ownership
