package bgp

import (
	"net/netip"
	"time"
)

// Snapshot is what BGP is on this node. It is immutable.
type Snapshot struct {
	// Sessions in the order of the peers' names.
	Sessions []Session
	// Child is the process that the sessions live in.
	Child Child
}

// Session returns the session with a peer.
func (s *Snapshot) Session(peer string) (Session, bool) {
	for _, one := range s.Sessions {
		if one.Peer == peer {
			return one, true
		}
	}
	return Session{}, false
}

// Child is how the process fares that the sessions live in.
type Child struct {
	// PID is 0 while there is none.
	PID   int
	Since time.Time
	// Restarts counts how often it was started again.
	Restarts int
	// LastExit says how it last ended; empty where it never did.
	LastExit   string
	LastExitAt time.Time
}

// State of a session (RFC 4271 section 8.2.2).
type State uint8

// States of a session.
const (
	// Idle: none is made; the reason says why.
	Idle State = iota
	// Connect: a TCP connection is being made.
	Connect
	// Active: waiting for the next attempt.
	Active
	// OpenSent: connected, the router's OPEN is waited for.
	OpenSent
	// OpenConfirm: the router's first KEEPALIVE is waited for.
	OpenConfirm
	// Established: routes are exchanged.
	Established
)

func (s State) String() string {
	return [...]string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"}[min(s, Established)]
}

// Session is how one session fares.
type Session struct {
	Peer  string
	State State
	// Since is when it came to this state; waiting and trying in turns counts as one.
	Since time.Time

	// LastError is why the session last went down or did not come up: a reason of the vocabulary, and a
	// sentence for people.
	LastError   Reason
	LastMessage string
	LastErrorAt time.Time
	// Failures are the attempts in a row that failed; NextAttempt is when the next one begins.
	Failures    int
	NextAttempt time.Time
	// Ups is how often the session was established since the child began.
	Ups int

	// Local and Remote are the ends of the connection.
	Local, Remote netip.AddrPort
	// RouterID and ASN are the router's, from its OPEN.
	RouterID netip.Addr
	ASN      uint32
	// Negotiated is what both sides can do; zero unless established.
	Negotiated Negotiated

	// RoutesWanted is how many routes the peer should have, RoutesSent how many it was sent.
	RoutesWanted, RoutesSent int
	// Unsendable says why some wanted routes are not sent.
	Unsendable string
	// UpdatesSent and UpdatesReceived count UPDATE messages of this session. Received ones are ignored.
	UpdatesSent, UpdatesReceived uint64
	// LastUpdate is when the last UPDATE was sent.
	LastUpdate time.Time

	// Pending names settings that come into force with the next session only.
	Pending []string
}

// Negotiated is what came of both OPENs.
type Negotiated struct {
	Families []Family
	// NoNextHop are those among Families whose routes can't be sent: this node has no address there that could be next hop.
	NoNextHop []Family
	// HoldTime and KeepaliveTime in force; 0 means that neither is kept.
	HoldTime, KeepaliveTime time.Duration
	// FourOctetASN (RFC 6793), RouteRefresh (RFC 2918).
	FourOctetASN, RouteRefresh bool
	// ExtendedNextHop: IPv4 routes may have IPv6 next hops (RFC 8950).
	ExtendedNextHop bool
	// GracefulRestart are the families whose routes the router keeps while we restart (RFC 4724).
	GracefulRestart []Family
	// RouterRestartTime is how long the router says its own restarts take.
	RouterRestartTime time.Duration
}
