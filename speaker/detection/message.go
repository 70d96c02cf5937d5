package detection

import (
	"errors"
	"fmt"
	"time"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

// The format of a packet:
//
//	packet  = version message*
//	message = field                 what a receiver does not know, it skips by its length
//	value   = field*                (speaker/tlv)
//
// version is a byte, numbers are unsigned varints. A receiver takes packets of
// its own version and of the one before; what only adds to a version is a new type. Who a packet
// is from, and which life of it, gossip says.

const packetVersion = 1

// Types of messages.
const (
	typeBeat = 1
	typePing = 2 // asks for a heartbeat at once; empty
	typeVote = 3
)

// Fields of a heartbeat.
const (
	beatSeq      = 1
	beatFlags    = 2
	beatInterval = 3 // milliseconds
	beatReleased = 4
)

// Fields of a vote.
const (
	voteSubject    = 1
	voteLife       = 2
	voteSeq        = 3
	voteSpeaking   = 4
	voteQuiet      = 5 // milliseconds
	voteRestarting = 6
	_              = 7 // taken: earlier speakers say by it whether another one answers for what it owns
	voteLink       = 8
	voteHeard      = 9
)

// Fields of a link in a vote.
const (
	linkName    = 1
	linkState   = 2
	linkMethods = 3
)

// Bounds on what is sent and believed.
const (
	// maxPacket is what a receiver takes, maxPayload what a sender fills: with all that gossip puts around it, a
	// packet stays under 1,232 bytes, which any path takes that IPv6 can use (RFC 8200 section 5).
	maxPacket  = 4096
	maxPayload = 1000
	maxName    = 253 // RFC 1123 subdomain, as Node names are
	maxIfname  = 15  // IFNAMSIZ without its NUL
	maxLinks   = 32
)

var errVersion = errors.New("packet of a version that is not spoken here")

// A beat is a heartbeat.
type beat struct {
	seq      uint64
	flags    Flags
	interval time.Duration
	// released tells a monitor that it is none any more.
	released bool
}

// A packet is a decoded payload.
type packet struct {
	beat  *beat
	ping  bool
	votes []vote
}

func encodeBeat(h beat) []byte {
	v := tlv.AppendNumber(nil, beatSeq, h.seq)
	v = tlv.AppendNumber(v, beatFlags, uint64(h.flags))
	v = tlv.AppendNumber(v, beatInterval, uint64(h.interval.Milliseconds()))
	v = tlv.AppendFlag(v, beatReleased, h.released)
	return tlv.Append([]byte{packetVersion}, typeBeat, v)
}

func encodePing() []byte { return tlv.Append([]byte{packetVersion}, typePing, nil) }

// Routine reports whether a payload is a heartbeat and nothing else, of a speaker that goes on sending them, and
// returns the flags in it: one that says what the one before has said.
func Routine(payload []byte) (Flags, bool) {
	p, err := decode(payload)
	if err != nil || p.beat == nil || p.beat.released || p.ping || len(p.votes) > 0 {
		return 0, false
	}
	return p.beat.flags, true
}

// encodeVotes returns packets that together carry the votes, each of a size that any path takes.
func encodeVotes(votes []vote) [][]byte {
	var packets [][]byte
	var b []byte
	for _, v := range votes {
		encoded := tlv.Append(nil, typeVote, encodeVote(v))
		if len(b) > 0 && len(b)+len(encoded) > maxPayload {
			packets, b = append(packets, b), nil
		}
		if b == nil {
			b = []byte{packetVersion}
		}
		b = append(b, encoded...)
	}
	if b != nil {
		packets = append(packets, b)
	}
	return packets
}

func encodeVote(v vote) []byte {
	b := tlv.Append(nil, voteSubject, []byte(v.subject))
	b = tlv.AppendNumber(b, voteLife, v.life)
	b = tlv.AppendNumber(b, voteSeq, v.seq)
	if v.speaking != unknown {
		b = tlv.AppendNumber(b, voteSpeaking, uint64(v.speaking))
	}
	b = tlv.AppendNumber(b, voteQuiet, uint64(v.quiet.Milliseconds()))
	b = tlv.AppendFlag(b, voteHeard, v.heard)
	b = tlv.AppendFlag(b, voteRestarting, v.restarting)
	for _, l := range v.links {
		f := tlv.Append(nil, linkName, []byte(l.name))
		f = tlv.AppendNumber(f, linkState, uint64(l.alive))
		f = tlv.AppendNumber(f, linkMethods, uint64(l.methods))
		b = tlv.Append(b, voteLink, f)
	}
	return b
}

// decode reads a payload. It survives any input and allocates in proportion to it.
func decode(b []byte) (packet, error) {
	var p packet
	switch {
	case len(b) == 0:
		return p, tlv.ErrTruncated
	case len(b) > maxPacket:
		return p, fmt.Errorf("%d bytes, at most %d are taken", len(b), maxPacket)
	case b[0] != packetVersion:
		return p, errVersion
	}
	err := tlv.Each(b[1:], func(typ uint64, value []byte) error {
		switch typ {
		case typeBeat:
			h, err := decodeBeat(value)
			if err != nil {
				return fmt.Errorf("heartbeat: %w", err)
			}
			p.beat = &h
		case typePing:
			p.ping = true
		case typeVote:
			v, err := decodeVote(value)
			if err != nil {
				return fmt.Errorf("vote: %w", err)
			}
			p.votes = append(p.votes, v)
		}
		return nil
	})
	if err != nil {
		return packet{}, err
	}
	return p, nil
}

func decodeBeat(b []byte) (beat, error) {
	h := beat{interval: DefaultInterval}
	err := tlv.Each(b, func(typ uint64, value []byte) (err error) {
		var n uint64
		switch typ {
		case beatSeq:
			h.seq, err = tlv.Number(value)
		case beatFlags:
			n, err = tlv.Number(value)
			h.flags = Flags(n)
		case beatInterval:
			n, err = tlv.Number(value)
			h.interval = clampInterval(milliseconds(n))
		case beatReleased:
			h.released = true
		}
		return err
	})
	return h, err
}

func decodeVote(b []byte) (vote, error) {
	var v vote
	err := tlv.Each(b, func(typ uint64, value []byte) (err error) {
		var n uint64
		switch typ {
		case voteSubject:
			v.subject, err = tlv.Text(value, maxName)
		case voteLife:
			v.life, err = tlv.Number(value)
		case voteSeq:
			v.seq, err = tlv.Number(value)
		case voteSpeaking:
			n, err = tlv.Number(value)
			v.speaking = decodeTernary(n)
		case voteQuiet:
			n, err = tlv.Number(value)
			v.quiet = milliseconds(n)
		case voteHeard:
			v.heard = true
		case voteRestarting:
			v.restarting = true
		case voteLink:
			if len(v.links) == maxLinks {
				return fmt.Errorf("more than %d links", maxLinks)
			}
			var l linkVote
			l, err = decodeLinkVote(value)
			v.links = append(v.links, l)
		}
		return err
	})
	if err == nil && v.subject == "" {
		err = errors.New("about nobody")
	}
	return v, err
}

func decodeLinkVote(b []byte) (linkVote, error) {
	var l linkVote
	err := tlv.Each(b, func(typ uint64, value []byte) (err error) {
		var n uint64
		switch typ {
		case linkName:
			l.name, err = tlv.Text(value, maxIfname)
		case linkState:
			n, err = tlv.Number(value)
			l.alive = decodeTernary(n)
		case linkMethods:
			n, err = tlv.Number(value)
			l.methods = methods(n) & allMethods
		}
		return err
	})
	return l, err
}

// decodeTernary takes a value that a later version may have added for unknown.
func decodeTernary(n uint64) ternary {
	if n > uint64(no) {
		return unknown
	}
	return ternary(n)
}

func milliseconds(n uint64) time.Duration {
	return time.Duration(min(n, uint64(24*time.Hour/time.Millisecond))) * time.Millisecond
}
