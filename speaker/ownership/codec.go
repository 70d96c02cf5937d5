package ownership

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

// The format, which speaker/gossip carries as it is:
//
//	message = version type field*
//	(a field is speaker/tlv's: what a receiver does not know, it skips by its length)
//
// version is a byte; type and numbers are unsigned varints. Values that are structures begin with what this
// version knows, and what follows is skipped: that is how they grow. A receiver takes messages of its own version; an
// addition is a new field or a new type, not a new version. Decoding survives any input, and allocates in proportion to it.

const formatVersion = 1

// Types of messages.
const (
	typeClaims = iota + 1
	typeDigest
	typeOffer
	typeRefusal
)

// Fields of messages. A number stands for the same in all of them.
const (
	fieldNode    = iota + 1 // text
	fieldBase               // number
	fieldTo                 // version
	fieldChange             // unit, claim
	fieldAsk                // number
	fieldReply              // number
	fieldServing            // empty
	fieldSum                // number
	fieldFull               // empty
	fieldSet                // version, node
	fieldCause              // number
	fieldUnit               // unit, term
)

// Flags of a claim.
const (
	flagProvisional = 1 << iota
	flagHeld
)

// Bounds on what is believed.
const (
	maxNode    = 253 // RFC 1123 subdomain, as Node names are
	maxZone    = 15  // IFNAMSIZ without its NUL
	maxSegment = 253
)

var (
	// ErrUnknown is returned for messages of a type that this version does not know. They are to be skipped.
	ErrUnknown = errors.New("message of an unknown type")
	errVersion = errors.New("message of a version that is not spoken here")
	errValue   = errors.New("message with an impossible value")
)

// Append appends the message's encoding to b.
func (c *Claims) Append(b []byte) []byte {
	b = append(b, formatVersion, typeClaims)
	b = tlv.Append(b, fieldNode, []byte(c.Node))
	b = tlv.AppendNumber(b, fieldBase, c.Base)
	b = tlv.Append(b, fieldTo, appendVersion(nil, c.To))
	var value []byte
	for _, ch := range c.Changes {
		value = appendUnit(value[:0], ch.Unit)
		value = binary.AppendUvarint(value, ch.Claim.Term)
		var flags byte
		if ch.Claim.Provisional {
			flags |= flagProvisional
		}
		if ch.Claim.Held {
			flags |= flagHeld
		}
		value = append(value, byte(ch.Claim.Cause), flags)
		b = tlv.Append(b, fieldChange, value)
	}
	return b
}

// Append appends the message's encoding to b.
func (d *Digest) Append(b []byte) []byte {
	b = append(b, formatVersion, typeDigest)
	b = tlv.AppendNumber(b, fieldAsk, d.Ask)
	b = tlv.AppendNumber(b, fieldReply, d.Reply)
	b = tlv.AppendFlag(b, fieldServing, d.Serving)
	b = tlv.AppendNumber(b, fieldSum, d.Sum)
	b = tlv.AppendFlag(b, fieldFull, d.Full)
	var value []byte
	for _, s := range d.Sets {
		value = appendVersion(value[:0], s.Version)
		value = append(value, s.Node...)
		b = tlv.Append(b, fieldSet, value)
	}
	return b
}

// Append appends the message's encoding to b.
func (o *Offer) Append(b []byte) []byte {
	b = append(b, formatVersion, typeOffer)
	b = tlv.AppendNumber(b, fieldCause, uint64(o.Cause))
	var value []byte
	for _, u := range o.Units {
		value = appendUnit(value[:0], u.Unit)
		value = binary.AppendUvarint(value, u.Term)
		b = tlv.Append(b, fieldUnit, value)
	}
	return b
}

// Append appends the message's encoding to b.
func (r *Refusal) Append(b []byte) []byte {
	b = append(b, formatVersion, typeRefusal)
	for _, u := range r.Units {
		b = tlv.Append(b, fieldUnit, appendUnit(nil, u))
	}
	return b
}

// Decode returns the message that b is the encoding of. It survives any input.
func Decode(b []byte) (Message, error) {
	if len(b) < 2 {
		return nil, tlv.ErrTruncated
	}
	if b[0] != formatVersion {
		return nil, errVersion
	}
	kind, b, err := tlv.CutNumber(b[1:])
	if err != nil {
		return nil, err
	}
	var m interface {
		Message
		field(kind uint64, value []byte) error
	}
	switch kind {
	case typeClaims:
		m = &Claims{}
	case typeDigest:
		m = &Digest{}
	case typeOffer:
		m = &Offer{}
	case typeRefusal:
		m = &Refusal{}
	default:
		return nil, ErrUnknown
	}
	if err := tlv.Each(b, m.field); err != nil {
		return nil, err
	}
	if c, ok := m.(*Claims); ok && (c.Node == "" || c.To.Epoch == 0 || c.To.Number == 0 || c.Base >= c.To.Number) {
		return nil, errValue
	}
	return m, nil
}

func (c *Claims) field(kind uint64, b []byte) (err error) {
	switch kind {
	case fieldNode:
		c.Node, err = text(b, maxNode)
	case fieldBase:
		c.Base, _, err = tlv.CutNumber(b)
	case fieldTo:
		c.To, _, err = version(b)
	case fieldChange:
		var ch Change
		if ch.Unit, b, err = decodeUnit(b); err != nil {
			return err
		}
		if ch.Claim.Term, b, err = tlv.CutNumber(b); err != nil {
			return err
		}
		if len(b) < 2 {
			return tlv.ErrTruncated
		}
		if ch.Claim.Term > maxTerm {
			return errValue
		}
		if ch.Claim.Term > 0 {
			ch.Claim.Cause = Cause(b[0])
			ch.Claim.Provisional = b[1]&flagProvisional != 0
			ch.Claim.Held = b[1]&flagHeld != 0
		}
		c.Changes = append(c.Changes, ch)
	}
	return err
}

func (d *Digest) field(kind uint64, b []byte) (err error) {
	switch kind {
	case fieldAsk:
		d.Ask, _, err = tlv.CutNumber(b)
	case fieldReply:
		d.Reply, _, err = tlv.CutNumber(b)
	case fieldServing:
		d.Serving = true
	case fieldSum:
		d.Sum, _, err = tlv.CutNumber(b)
	case fieldFull:
		d.Full = true
	case fieldSet:
		var s SetVersion
		if s.Version, b, err = version(b); err != nil {
			return err
		}
		if s.Node, err = text(b, maxNode); err != nil {
			return err
		}
		d.Sets = append(d.Sets, s)
	}
	return err
}

func (o *Offer) field(kind uint64, b []byte) (err error) {
	switch kind {
	case fieldCause:
		var n uint64
		n, _, err = tlv.CutNumber(b)
		if n > 255 {
			return errValue
		}
		o.Cause = Cause(n)
	case fieldUnit:
		var u OfferedUnit
		if u.Unit, b, err = decodeUnit(b); err != nil {
			return err
		}
		if u.Term, _, err = tlv.CutNumber(b); err != nil {
			return err
		}
		o.Units = append(o.Units, u)
	}
	return err
}

func (r *Refusal) field(kind uint64, b []byte) error {
	if kind != fieldUnit {
		return nil
	}
	u, _, err := decodeUnit(b)
	r.Units = append(r.Units, u)
	return err
}

// maxTerm leaves room to count on. Terms go up by one with a move; whoever says more than this talks nonsense.
const maxTerm = 1 << 56

func appendVersion(b []byte, v Version) []byte {
	b = binary.AppendUvarint(b, v.Epoch)
	b = binary.BigEndian.AppendUint64(b, v.Life)
	return binary.AppendUvarint(b, v.Number)
}

func appendUnit(b []byte, u Unit) []byte {
	address := u.Address.AsSlice()
	b = append(b, byte(len(address)))
	b = append(b, address...)
	b = tlv.AppendText(b, u.Address.Zone())
	b = tlv.AppendText(b, string(u.Segment))
	return append(b, u.Share)
}

func version(b []byte) (v Version, rest []byte, err error) {
	if v.Epoch, b, err = tlv.CutNumber(b); err != nil {
		return Version{}, nil, err
	}
	if v.Life, b, err = tlv.CutUint64(b); err != nil {
		return Version{}, nil, err
	}
	if v.Number, b, err = tlv.CutNumber(b); err != nil {
		return Version{}, nil, err
	}
	if v.Epoch > maxTerm || v.Number > maxTerm {
		return Version{}, nil, errValue
	}
	return v, b, nil
}

// text reads a value that is a text which is neither empty nor too long.
func text(b []byte, longest int) (string, error) {
	if len(b) == 0 {
		return "", errValue
	}
	return tlv.Text(b, longest)
}

func decodeUnit(b []byte) (Unit, []byte, error) {
	if len(b) == 0 {
		return Unit{}, nil, tlv.ErrTruncated
	}
	size := int(b[0])
	if size != 4 && size != 16 {
		return Unit{}, nil, errValue
	}
	if len(b) < 1+size {
		return Unit{}, nil, tlv.ErrTruncated
	}
	address, _ := netip.AddrFromSlice(b[1 : 1+size])
	zone, b, err := tlv.CutText(b[1+size:], maxZone)
	if err != nil {
		return Unit{}, nil, err
	}
	if zone != "" && size == 4 {
		return Unit{}, nil, errValue
	}
	segment, b, err := tlv.CutText(b, maxSegment)
	if err != nil {
		return Unit{}, nil, err
	}
	if len(b) == 0 {
		return Unit{}, nil, tlv.ErrTruncated
	}
	return Unit{Address: address.WithZone(zone), Segment: Segment(segment), Share: b[0]}, b[1:], nil
}
