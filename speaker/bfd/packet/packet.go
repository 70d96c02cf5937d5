package packet

import (
	"encoding/binary"
	"time"
)

// From RFC 5880 section 4.
const (
	version = 1
	// MinLength is that of the mandatory section.
	MinLength = 24
	// minLengthWithAuth has the type and length of an authentication section, too.
	minLengthWithAuth = 26
	// sha1Length is that of an authentication section by SHA-1 (section 4.4).
	sha1Length = 28
	// MaxLength is that of the longest packet that is understood or sent.
	MaxLength = MinLength + sha1Length
)

// State is that of a session, as told in the Sta field (RFC 5880 section 4.1).
type State uint8

// The states of RFC 5880 section 6.2.
const (
	AdminDown State = 0
	Down      State = 1
	Init      State = 2
	Up        State = 3
)

func (s State) String() string { return [...]string{"AdminDown", "Down", "Init", "Up"}[s&3] }

// Diagnostic says why a session last left Up (RFC 5880 section 4.1).
type Diagnostic uint8

// The diagnostic codes of RFC 5880 section 4.1.
const (
	NoDiagnostic Diagnostic = iota
	ControlDetectionTimeExpired
	EchoFunctionFailed
	NeighborSignaledSessionDown
	ForwardingPlaneReset
	PathDown
	ConcatenatedPathDown
	AdministrativelyDown
	ReverseConcatenatedPathDown
)

var diagnostics = [...]string{
	"No Diagnostic", "Control Detection Time Expired", "Echo Function Failed", "Neighbor Signaled Session Down",
	"Forwarding Plane Reset", "Path Down", "Concatenated Path Down", "Administratively Down",
	"Reverse Concatenated Path Down",
}

// String is the code's name in the RFC.
func (d Diagnostic) String() string {
	if int(d) < len(diagnostics) {
		return diagnostics[d]
	}
	return "reserved diagnostic"
}

// Packet is a BFD Control packet (RFC 5880 section 4.1).
type Packet struct {
	Diagnostic              Diagnostic
	State                   State
	Poll                    bool
	Final                   bool
	ControlPlaneIndependent bool
	Demand                  bool
	DetectMult              uint8
	MyDiscriminator         uint32
	YourDiscriminator       uint32
	// Intervals are in whole microseconds, up to 2³²−1 of them.
	DesiredMinTx      time.Duration
	RequiredMinRx     time.Duration
	RequiredMinEchoRx time.Duration
	// Auth is the zero Auth where the packet has no authentication section.
	Auth Auth
}

// Refusal is a reason not to take a packet, or to take no notice of it.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// The reasons for which a packet is no well-formed Control packet, in the order
// of RFC 5880 section 6.8.6.
const (
	Truncated                Refusal = "the packet is cut short"
	WrongVersion             Refusal = "the version is not 1"
	WrongLength              Refusal = "the length field does not fit the packet"
	ZeroDetectMult           Refusal = "the detect multiplier is 0"
	MultipointSet            Refusal = "the Multipoint bit is set"
	ZeroMyDiscriminator      Refusal = "My Discriminator is 0"
	ZeroYourDiscriminator    Refusal = "Your Discriminator is 0 in a state that knows it"
	MalformedAuthentication  Refusal = "the authentication section is malformed"
	UnknownAuthenticationWay Refusal = "the authentication type is not one by SHA-1"
)

const (
	flagPoll = 1 << (5 - iota)
	flagFinal
	flagControlPlaneIndependent
	flagAuthentication
	flagDemand
	flagMultipoint
)

// Parse reads a UDP payload. The packet is valid only where the error is nil,
// which else is a Refusal.
func Parse(b []byte) (Packet, error) {
	if len(b) < MinLength {
		return Packet{}, Truncated
	}
	// "If the version number is not correct (1), the packet MUST be discarded."
	if b[0]>>5 != version {
		return Packet{}, WrongVersion
	}
	// "If the Length field is less than the minimum correct value (24 if the A
	// bit is clear, or 26 if the A bit is set), the packet MUST be discarded. If
	// the Length field is greater than the payload of the encapsulating protocol,
	// the packet MUST be discarded."
	flags, length := b[1], int(b[3])
	least := MinLength
	if flags&flagAuthentication != 0 {
		least = minLengthWithAuth
	}
	if length < least || length > len(b) {
		return Packet{}, WrongLength
	}
	p := Packet{
		Diagnostic:              Diagnostic(b[0] & 0x1f),
		State:                   State(flags >> 6),
		Poll:                    flags&flagPoll != 0,
		Final:                   flags&flagFinal != 0,
		ControlPlaneIndependent: flags&flagControlPlaneIndependent != 0,
		Demand:                  flags&flagDemand != 0,
		DetectMult:              b[2],
		MyDiscriminator:         binary.BigEndian.Uint32(b[4:]),
		YourDiscriminator:       binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx:            interval(b[12:]),
		RequiredMinRx:           interval(b[16:]),
		RequiredMinEchoRx:       interval(b[20:]),
	}
	switch {
	case p.DetectMult == 0:
		return Packet{}, ZeroDetectMult
	case flags&flagMultipoint != 0:
		return Packet{}, MultipointSet
	case p.MyDiscriminator == 0:
		return Packet{}, ZeroMyDiscriminator
	// "If the Your Discriminator field is zero and the State field is not Down or
	// AdminDown, the packet MUST be discarded."
	case p.YourDiscriminator == 0 && p.State != Down && p.State != AdminDown:
		return Packet{}, ZeroYourDiscriminator
	}
	if flags&flagAuthentication != 0 {
		var err error
		if p.Auth, err = parseAuth(b[MinLength:length]); err != nil {
			return Packet{}, err
		}
	}
	return p, nil
}

// Append appends the packet to b. With an Auth, the packet is signed by the key.
func Append(b []byte, p *Packet, key *Key) []byte {
	flags := byte(p.State)<<6 | flag(p.Poll, flagPoll) | flag(p.Final, flagFinal) |
		flag(p.ControlPlaneIndependent, flagControlPlaneIndependent) | flag(p.Demand, flagDemand)
	length := MinLength
	if p.Auth.Type != 0 {
		flags |= flagAuthentication
		length = MaxLength
	}
	begin := len(b)
	b = append(b, version<<5|byte(p.Diagnostic)&0x1f, flags, p.DetectMult, byte(length))
	b = binary.BigEndian.AppendUint32(b, p.MyDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.YourDiscriminator)
	b = binary.BigEndian.AppendUint32(b, microseconds(p.DesiredMinTx))
	b = binary.BigEndian.AppendUint32(b, microseconds(p.RequiredMinRx))
	b = binary.BigEndian.AppendUint32(b, microseconds(p.RequiredMinEchoRx))
	if p.Auth.Type != 0 {
		b = appendAuth(b, begin, p.Auth, key)
	}
	return b
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func interval(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

func microseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), 1<<32-1))
}
