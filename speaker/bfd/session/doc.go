// Package session is the state machine of one BFD session (RFC 5880 section
// 6.8), in asynchronous mode, without a socket and without a clock.
//
// # Contract
//
// Whoever owns a [Session] calls it from one goroutine, with the time as an
// argument:
//
//	Receive   for each packet, with the time at which the kernel took it in
//	Expire    after all that has come by now was received: what is overdue?
//	Transmit  until it returns nothing: what is to be sent now?
//	Wake      when to call Expire and Transmit again, if nothing comes before
//
// The order matters: a packet that waited in a socket's queue came in time, and
// only who has read the queue may say that nothing came.
//
//	                          +--+
//	                          |  | UP, ADMIN DOWN, TIMER
//	                          |  V
//	                  DOWN  +------+  INIT
//	           +------------|      |------------+
//	           |            | DOWN |            |
//	           |  +-------->|      |<--------+  |
//	           |  |         +------+         |  |
//	           |  |                          |  |
//	           |  |               ADMIN DOWN,|  |
//	           |  |ADMIN DOWN,          DOWN,|  |
//	           |  |TIMER                TIMER|  |
//	           V  |                          |  V
//	         +------+                      +------+
//	    +----|      |                      |      |----+
//	DOWN|    | INIT |--------------------->|  UP  |    |INIT, UP
//	    +--->|      | INIT, UP             |      |<---+
//	         +------+                      +------+
//
// (RFC 5880 section 6.2; the labels are what the other end says, TIMER is the
// expiry of the detection time.)
//
// Variables and constants have the RFC's names. Demand mode is not entered, but
// obeyed where the other end is in it (section 6.6). The C bit is 0: sessions
// end with the process that has them (section 4.1).
package session
