package bfd

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
	"github.com/clarion-lb/clarion/speaker/bfd/session"
)

// What sessions are made of, under one roof for those who configure them.
type (
	State      = packet.State
	Diagnostic = packet.Diagnostic
	Auth       = session.Auth
	Key        = session.Key
)

// The states of a session (RFC 5880 section 6.2).
const (
	AdminDown = packet.AdminDown
	Down      = packet.Down
	Init      = packet.Init
	Up        = packet.Up
)

// The ways to authenticate packets (RFC 5880 section 6.7.4).
const (
	KeyedSHA1           = packet.KeyedSHA1
	MeticulousKeyedSHA1 = packet.MeticulousKeyedSHA1
)

// UDP ports (RFC 5881 section 4, RFC 5883 section 5).
const (
	controlPort  = 3784
	echoPort     = 3785
	multihopPort = 4784
)

// Session is a session that is wanted.
type Session struct {
	// Name is whatever the caller calls it by, and unique.
	Name string
	Path Path
	Profile
}

// Path is where a session runs. There can be only one session between two
// systems on a path (RFC 5881 section 3), so sessions that name the same one are
// one session, with the profile of the first by name.
type Path struct {
	// Local is the address that packets come from; where it is not valid, the one
	// that the node's routes choose.
	Local netip.Addr
	// Peer is the other end's address. A link-local one needs an interface, and
	// has no zone.
	Peer netip.Addr
	// Interface binds the session to an interface, or to a VRF's; may be empty.
	Interface string
	// Multihop is a session of RFC 5883, else of RFC 5881.
	Multihop bool
}

func (p Path) port() int {
	if p.Multihop {
		return multihopPort
	}
	return controlPort
}

// Profile is how a session is run.
type Profile struct {
	// TransmitInterval is the shortest one between our packets that we would like
	// (DesiredMinTxInterval), ReceiveInterval the shortest one between the peer's
	// that we can take (RequiredMinRxInterval). From 1 ms to 10 min.
	TransmitInterval time.Duration
	ReceiveInterval  time.Duration
	// DetectMultiplier is how many of our packets in a row may be missing; at
	// least 1.
	DetectMultiplier uint8
	// Passive waits for the peer's first packet.
	Passive bool
	// MinimumTTL is the lowest TTL of a multihop session's packets; 0 means 254.
	// Those of others must have 255.
	MinimumTTL uint8
	// EchoInterval is that of echo packets; 0 is for none. Sessions over IPv6 or several hops send none in any case.
	EchoInterval time.Duration
	// Held keeps the session from coming up, for 15 s at most from when the peer is heard. One that is Up stays so.
	Held bool
	// Auth is the zero value where packets are not authenticated.
	Auth Auth
}

const (
	shortestInterval = time.Millisecond
	longestInterval  = 10 * time.Minute
	defaultMinTTL    = 254
)

// Validate says why there can be no such session.
func (s Session) Validate() error {
	path, local := s.Path, s.Path.Local
	for _, i := range []struct {
		name  string
		value time.Duration
	}{{"transmit", s.TransmitInterval}, {"receive", s.ReceiveInterval}, {"echo", cmp.Or(s.EchoInterval, time.Second)}} {
		if i.value < shortestInterval || i.value > longestInterval {
			return fmt.Errorf("the %s interval is %v: it must be from %v to %v", i.name, i.value, shortestInterval, longestInterval)
		}
	}
	switch {
	case !path.Peer.IsValid() || path.Peer.IsUnspecified() || path.Peer.IsMulticast():
		return fmt.Errorf("no session can be had with the address %q", path.Peer)
	case path.Peer.Zone() != "" || local.Zone() != "":
		return fmt.Errorf("the address %s has a zone: name the interface", path.Peer)
	case path.Peer.Is4In6() || local.Is4In6():
		return fmt.Errorf("the address %s is an IPv4 address in IPv6's form", path.Peer)
	case path.Peer.Is6() && path.Peer.IsLinkLocalUnicast() && path.Interface == "":
		return fmt.Errorf("the link-local address %s says nothing without its interface", path.Peer)
	case local.IsValid() && local.Is4() != path.Peer.Is4():
		return fmt.Errorf("%s and %s are not of one family", local, path.Peer)
	case s.DetectMultiplier == 0:
		return fmt.Errorf("the detect multiplier is 0")
	case s.Auth.Type != 0 && s.Auth.Type != KeyedSHA1 && s.Auth.Type != MeticulousKeyedSHA1:
		return fmt.Errorf("authentication type %d is not one by SHA-1", s.Auth.Type)
	case s.Auth.Type != 0 && !s.Auth.Keys[0].Used:
		return fmt.Errorf("authentication needs a key")
	}
	return nil
}

// Status is what became of a session.
type Status struct {
	Name string
	// Path has the local address that was chosen, where the session wants none.
	Path  Path
	State State
	Since time.Time
	// Failed says that the session was Up, and that the path is to be taken for
	// dead since. It is not set by AdminDown of either end (RFC 5882 section 3.2),
	// nor before the session was Up for the first time.
	Failed bool
	// Failures is how often that happened; who looks now and then sees by it what
	// came and went between.
	Failures uint64
	// LastFailure is the Reason of the last one, kept when the session is Up again.
	LastFailure string
	// Reason says in a sentence why the session is not Up; empty where it is.
	Reason string
	// Negotiated is what both ends agreed on and know of each other.
	Negotiated session.Status
	Counters   Counters
}

// Counters count packets of a session.
type Counters struct {
	Sent, Received uint64
	// Refused were received and not taken, SendErrors could not be sent.
	Refused, SendErrors uint64
	// EchoesSent and EchoesReceived count our own echo packets.
	EchoesSent, EchoesReceived uint64
	// Flood is how often reading was put off because too many came at once.
	Flood uint64
}

// Snapshot is what became of all sessions, by name.
type Snapshot struct {
	Sessions []Status
}

// Session returns the status of a session.
func (s Snapshot) Session(name string) (Status, bool) {
	for _, status := range s.Sessions {
		if status.Name == name {
			return status, true
		}
	}
	return Status{}, false
}

// NewKey makes a key of a secret of 1 to 20 bytes.
func NewKey(id uint8, secret []byte) (Key, error) {
	k := Key{ID: id, Used: true}
	if len(secret) == 0 || len(secret) > len(k.Secret) {
		return Key{}, fmt.Errorf("a BFD key has 1 to %d bytes, and this one %d", len(k.Secret), len(secret))
	}
	copy(k.Secret[:], secret)
	return k, nil
}
