package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

// The format, on top of memberlist's user messages and of its push/pull state:
//
//	frame   = version message*
//	message = field                 what a receiver does not know, it skips by its length
//	value   = field*                (speaker/tlv; a state is one)
//
// version is a byte, numbers inside are big endian. A receiver
// takes frames of its own version and of the one before; what only adds to a version is a new
// type. Decoding survives any input, and allocates in proportion to it.

const frameVersion = 1

// Types of messages.
const (
	typeState = 1 // a whole state
	typePart  = 2 // part of a state that is too big for a packet
	typeAsk   = 3 // asks for the receiver's state; the value is the asking node
	// typeDirect is a Message: node, life and kind, and what is left is its payload.
	typeDirect = 4
)

// Fields of a state.
const (
	fieldNode = iota + 1
	fieldLife
	fieldSeq
	fieldBuild
	fieldStarted
	fieldServing
	fieldCapabilities
	fieldLink
	fieldProcess
	fieldFlags
	fieldSessions
)

// Fields of a link.
const (
	linkName = iota + 1
	linkMAC
	linkUp
	linkPrefix
	linkLinkLocal
	linkDeaf
	linkAddress
)

// Bounds on what is sent and believed.
const (
	// maxPart is how much of a state a packet carries. With everything that is put around it, a
	// packet stays under 1,232 bytes, which any path takes that IPv6 can use (RFC 8200 section 5).
	maxPart     = 1000
	maxParts    = 64
	maxState    = maxPart * maxParts
	maxNode     = 253 // RFC 1123 subdomain, as Node names are
	maxBuild    = 64
	maxLinkName = 15 // IFNAMSIZ without its NUL
	maxLinks    = 1024
	maxSessions = 1024
	maxPrefixes = 64 // and addresses
	maxSeq      = 1 << 62
)

var errVersion = errors.New("frame of a version that is not spoken here")

// message is one decoded message: one of these.
type message struct {
	state *received
	part  *part
	ask   string // the node that asks
	// direct is for the users of gossip.
	direct *Message
}

// received is a state and the bytes it came as, which are what is passed on.
type received struct {
	state
	encoded []byte
}

// part is a piece of an encoded state that did not fit into one packet.
type part struct {
	node         string
	life         life
	seq          uint64
	index, count int
	data         []byte
}

// encodeState returns the value of a state message. What nobody would take is left out: text is cut, the
// last of too many links go, and so do links with names that are no text.
func encodeState(s state) []byte {
	var b []byte
	b = tlv.Append(b, fieldNode, []byte(s.node))
	b = tlv.AppendUint64(b, fieldLife, uint64(s.life))
	b = tlv.AppendUint64(b, fieldSeq, s.seq)
	b = tlv.Append(b, fieldBuild, []byte(s.facts.Build[:min(len(s.facts.Build), maxBuild)]))
	if !s.facts.Started.IsZero() {
		b = tlv.AppendUint64(b, fieldStarted, uint64(s.facts.Started.UnixMilli()))
	}
	b = tlv.AppendFlag(b, fieldServing, s.facts.Serving)
	if s.facts.Capabilities != 0 {
		b = tlv.AppendUint64(b, fieldCapabilities, uint64(s.facts.Capabilities))
	}
	if s.facts.Life != 0 {
		b = tlv.AppendUint64(b, fieldProcess, s.facts.Life)
	}
	if f := s.facts.flags(); f != 0 {
		b = tlv.AppendUint64(b, fieldFlags, f)
	}
	if sessions := s.facts.Sessions[:min(len(s.facts.Sessions), maxSessions)]; len(sessions) > 0 {
		var numbers []byte
		for _, n := range sessions {
			numbers = binary.BigEndian.AppendUint32(numbers, n)
		}
		b = tlv.Append(b, fieldSessions, numbers)
	}
	links := 0
	for _, l := range s.facts.Links {
		if l.Name == "" || !tlv.IsText([]byte(l.Name)) {
			continue
		}
		field := tlv.Append(nil, fieldLink, encodeLink(l))
		if links == maxLinks || len(b)+len(field) > maxState {
			break
		}
		b = append(b, field...)
		links++
	}
	return b
}

func encodeLink(l Link) []byte {
	b := tlv.Append(nil, linkName, []byte(l.Name[:min(len(l.Name), maxLinkName)]))
	if l.MAC != [6]byte{} {
		b = tlv.Append(b, linkMAC, l.MAC[:])
	}
	b = tlv.AppendFlag(b, linkUp, l.Up)
	for _, p := range l.Prefixes[:min(len(l.Prefixes), maxPrefixes)] {
		if p.IsValid() {
			b = tlv.Append(b, linkPrefix, append(p.Addr().AsSlice(), byte(p.Bits())))
		}
	}
	if l.LinkLocal.IsValid() {
		b = tlv.Append(b, linkLinkLocal, l.LinkLocal.AsSlice())
	}
	if f := l.deaf(); f != 0 {
		b = tlv.Append(b, linkDeaf, []byte{f})
	}
	for _, a := range l.Addresses[:min(len(l.Addresses), maxPrefixes)] {
		if a.IsValid() {
			b = tlv.Append(b, linkAddress, a.AsSlice())
		}
	}
	return b
}

// packets returns frames that each fit into a packet and together carry an encoded state.
func packets(s state, encoded []byte) [][]byte {
	if len(encoded) <= maxPart {
		return [][]byte{tlv.Append([]byte{frameVersion}, typeState, encoded)}
	}
	var frames [][]byte
	chunks := slices.Collect(slices.Chunk(encoded, maxPart))
	for i, chunk := range chunks {
		head := tlv.Append(nil, fieldNode, []byte(s.node))
		head = binary.BigEndian.AppendUint64(head, uint64(s.life))
		head = binary.BigEndian.AppendUint64(head, s.seq)
		head = append(head, byte(i), byte(len(chunks)))
		frames = append(frames, tlv.Append([]byte{frameVersion}, typePart, append(head, chunk...)))
	}
	return frames
}

// wholeFrame returns one frame with all the encoded states, for a stream.
func wholeFrame(encoded [][]byte) []byte {
	b := []byte{frameVersion}
	for _, e := range encoded {
		b = tlv.Append(b, typeState, e)
	}
	return b
}

func askFrame(node string) []byte {
	return tlv.Append([]byte{frameVersion}, typeAsk, []byte(node))
}

// decodeFrame returns the messages in a frame that are known here. Those before a fault are returned with it.
func decodeFrame(b []byte) ([]message, error) {
	if len(b) == 0 {
		return nil, tlv.ErrTruncated
	}
	if b[0] != frameVersion {
		return nil, errVersion
	}
	var messages []message
	err := tlv.Each(b[1:], func(typ uint64, value []byte) error {
		switch typ {
		case typeState:
			s, err := decodeState(value)
			if err != nil {
				return fmt.Errorf("state: %w", err)
			}
			messages = append(messages, message{state: &received{s, slices.Clone(value)}})
		case typePart:
			p, err := decodePart(value)
			if err != nil {
				return fmt.Errorf("part of a state: %w", err)
			}
			messages = append(messages, message{part: &p})
		case typeAsk:
			node, err := tlv.Text(value, maxNode)
			if err != nil {
				return fmt.Errorf("question: %w", err)
			}
			messages = append(messages, message{ask: node})
		case typeDirect:
			m, err := decodeDirect(value)
			if err != nil {
				return fmt.Errorf("message: %w", err)
			}
			messages = append(messages, message{direct: &m})
		}
		return nil
	})
	return messages, err
}

func decodeState(b []byte) (state, error) {
	var s state
	if len(b) > maxState {
		return s, fmt.Errorf("%d bytes, at most %d are taken", len(b), maxState)
	}
	err := tlv.Each(b, func(typ uint64, value []byte) (err error) {
		var n uint64
		switch typ {
		case fieldNode:
			s.node, err = tlv.Text(value, maxNode)
		case fieldLife:
			n, err = tlv.Uint64(value)
			s.life = life(n)
		case fieldSeq:
			s.seq, err = tlv.Uint64(value)
		case fieldBuild:
			s.facts.Build, err = tlv.Text(value, maxBuild)
		case fieldStarted:
			n, err = tlv.Uint64(value)
			s.facts.Started = time.UnixMilli(int64(n)).UTC()
		case fieldServing:
			s.facts.Serving = true
		case fieldCapabilities:
			n, err = tlv.Uint64(value)
			s.facts.Capabilities = Capabilities(n)
		case fieldLink:
			var l Link
			if len(s.facts.Links) == maxLinks {
				return fmt.Errorf("more than %d links", maxLinks)
			}
			l, err = decodeLink(value)
			s.facts.Links = append(s.facts.Links, l)
		case fieldProcess:
			s.facts.Life, err = tlv.Uint64(value)
		case fieldFlags:
			n, err = tlv.Uint64(value)
			s.facts.setFlags(n)
		case fieldSessions:
			if len(value)%4 != 0 || len(value) > 4*maxSessions {
				return fmt.Errorf("sessions in %d bytes", len(value))
			}
			s.facts.Sessions = nil
			for ; len(value) > 0; value = value[4:] {
				s.facts.Sessions = append(s.facts.Sessions, binary.BigEndian.Uint32(value))
			}
		}
		return err
	})
	if err != nil {
		return state{}, err
	}
	if s.node == "" || s.life == 0 || s.seq > maxSeq {
		return state{}, errors.New("no node, no life, or a sequence number out of bounds")
	}
	return s, nil
}

func decodeLink(b []byte) (Link, error) {
	var l Link
	err := tlv.Each(b, func(typ uint64, value []byte) (err error) {
		switch typ {
		case linkName:
			l.Name, err = tlv.Text(value, maxLinkName)
		case linkMAC:
			if len(value) != len(l.MAC) {
				return fmt.Errorf("hardware address of %d bytes", len(value))
			}
			l.MAC = [6]byte(value)
		case linkUp:
			l.Up = true
		case linkPrefix:
			if len(value) == 0 {
				return tlv.ErrTruncated
			}
			if len(l.Prefixes) == maxPrefixes {
				return fmt.Errorf("more than %d networks on a link", maxPrefixes)
			}
			a, ok := netip.AddrFromSlice(value[:len(value)-1])
			p := netip.PrefixFrom(a, int(value[len(value)-1]))
			if !ok || !p.IsValid() {
				return errors.New("a network that is none")
			}
			l.Prefixes = append(l.Prefixes, p)
		case linkLinkLocal:
			a, ok := netip.AddrFromSlice(value)
			if !ok {
				return fmt.Errorf("address of %d bytes", len(value))
			}
			l.LinkLocal = a
		case linkDeaf:
			if len(value) == 0 {
				return tlv.ErrTruncated
			}
			l.setDeaf(value[0])
		case linkAddress:
			if len(l.Addresses) == maxPrefixes {
				return fmt.Errorf("more than %d addresses on a link", maxPrefixes)
			}
			a, ok := netip.AddrFromSlice(value)
			if !ok {
				return fmt.Errorf("address of %d bytes", len(value))
			}
			l.Addresses = append(l.Addresses, a)
		}
		return err
	})
	if err == nil && l.Name == "" {
		err = errors.New("link without a name")
	}
	return l, err
}

func decodePart(b []byte) (part, error) {
	var p part
	typ, node, rest, err := tlv.Cut(b)
	if err != nil || typ != fieldNode || len(rest) < 18 {
		return p, tlv.ErrTruncated
	}
	if p.node, err = tlv.Text(node, maxNode); err != nil {
		return p, err
	}
	p.life, p.seq = life(binary.BigEndian.Uint64(rest)), binary.BigEndian.Uint64(rest[8:])
	p.index, p.count, p.data = int(rest[16]), int(rest[17]), slices.Clone(rest[18:])
	if p.node == "" || p.life == 0 || p.seq > maxSeq || p.index >= p.count || p.count > maxParts || len(p.data) > maxPart {
		return part{}, errors.New("out of bounds")
	}
	return p, nil
}

func directFrame(m Message) []byte {
	head := tlv.Append(nil, fieldNode, []byte(m.From))
	head = binary.BigEndian.AppendUint64(head, m.Life)
	head = binary.AppendUvarint(head, uint64(m.Kind))
	b := make([]byte, 0, len(head)+len(m.Payload)+16)
	b = append(b, frameVersion)
	b = binary.AppendUvarint(b, typeDirect)
	b = binary.AppendUvarint(b, uint64(len(head)+len(m.Payload)))
	return append(append(b, head...), m.Payload...)
}

func decodeDirect(b []byte) (Message, error) {
	typ, node, rest, err := tlv.Cut(b)
	if err != nil || typ != fieldNode || len(rest) < 8 {
		return Message{}, tlv.ErrTruncated
	}
	m := Message{Life: binary.BigEndian.Uint64(rest)}
	kind, n := binary.Uvarint(rest[8:])
	if n <= 0 {
		return Message{}, tlv.ErrTruncated
	}
	if m.From, err = tlv.Text(node, maxNode); err != nil {
		return Message{}, err
	}
	if m.From == "" || m.Life == 0 {
		return Message{}, errors.New("no node, or no life")
	}
	m.Kind, m.Payload = Kind(kind), slices.Clone(rest[8+n:])
	return m, nil
}
