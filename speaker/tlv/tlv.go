// Package tlv writes and reads the fields that speakers' messages are made of.
//
//	field = type length value
//
// Types and lengths are unsigned varints (those of encoding/binary). A reader skips types that it does not know by their length,
// which is how messages grow without a new version. Reading survives any input and allocates nothing but the texts it returns;
// values share memory with what they were read from.
package tlv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTruncated is returned for input that ends in the middle of something.
var ErrTruncated = errors.New("truncated")

// Append appends a field.
func Append(b []byte, typ uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, typ)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// AppendNumber appends a field whose value is a varint. 0 is left out: it is what a reader takes a field that is not there for.
func AppendNumber(b []byte, typ, n uint64) []byte {
	if n == 0 {
		return b
	}
	var value [binary.MaxVarintLen64]byte
	return Append(b, typ, binary.AppendUvarint(value[:0], n))
}

// AppendUint64 appends a field whose value is eight bytes, big endian.
func AppendUint64(b []byte, typ, n uint64) []byte {
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], n)
	return Append(b, typ, value[:])
}

// AppendFlag appends an empty field if set.
func AppendFlag(b []byte, typ uint64, set bool) []byte {
	if !set {
		return b
	}
	return Append(b, typ, nil)
}

// AppendText appends a text and its length before it, inside a value.
func AppendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Each calls do for each field in b, and ends with the first error.
func Each(b []byte, do func(typ uint64, value []byte) error) error {
	for len(b) > 0 {
		typ, value, rest, err := Cut(b)
		if err != nil {
			return err
		}
		if err := do(typ, value); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// Cut returns the field at the beginning of b, and what follows it.
func Cut(b []byte) (typ uint64, value, rest []byte, err error) {
	if typ, b, err = CutNumber(b); err != nil {
		return 0, nil, nil, err
	}
	value, rest, err = cutCounted(b)
	return typ, value, rest, err
}

// CutNumber returns the varint at the beginning of b, and what follows it.
func CutNumber(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	switch {
	case size == 0:
		return 0, nil, ErrTruncated
	case size < 0:
		return 0, nil, errors.New("a number of more than 64 bits")
	}
	return n, b[size:], nil
}

// CutUint64 returns the eight bytes at the beginning of b, and what follows them.
func CutUint64(b []byte) (n uint64, rest []byte, err error) {
	if len(b) < 8 {
		return 0, nil, ErrTruncated
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

// CutText returns the text at the beginning of b that AppendText wrote, of at most longest bytes, and what follows it.
func CutText(b []byte, longest int) (s string, rest []byte, err error) {
	value, rest, err := cutCounted(b)
	if err != nil {
		return "", nil, err
	}
	s, err = Text(value, longest)
	return s, rest, err
}

func cutCounted(b []byte) (value, rest []byte, err error) {
	length, b, err := CutNumber(b)
	if err != nil {
		return nil, nil, err
	}
	if length > uint64(len(b)) {
		return nil, nil, ErrTruncated
	}
	return b[:length:length], b[length:], nil
}

// Number reads a value that is a varint and nothing else.
func Number(value []byte) (uint64, error) {
	n, rest, err := CutNumber(value)
	if err == nil && len(rest) > 0 {
		err = errors.New("a number with something after it")
	}
	return n, err
}

// Uint64 reads a value of eight bytes, big endian.
func Uint64(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("number of %d bytes", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// Text reads a value that is a text of at most longest bytes, without control characters.
func Text(value []byte, longest int) (string, error) {
	if len(value) > longest {
		return "", fmt.Errorf("text of %d bytes, at most %d are taken", len(value), longest)
	}
	if !IsText(value) {
		return "", errors.New("text with control characters")
	}
	return string(value), nil
}

// IsText reports whether b has no control characters.
func IsText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}
