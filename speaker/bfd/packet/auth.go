package packet

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// AuthType is a way to authenticate packets (RFC 5880 section 4.1).
type AuthType uint8

// The ways that are known.
const (
	KeyedSHA1           AuthType = 4
	MeticulousKeyedSHA1 AuthType = 5
)

func (t AuthType) String() string {
	switch t {
	case 0:
		return "none"
	case KeyedSHA1:
		return "Keyed SHA1"
	case MeticulousKeyedSHA1:
		return "Meticulous Keyed SHA1"
	default:
		return "unknown"
	}
}

// Auth is an authentication section by SHA-1 (RFC 5880 section 4.4).
type Auth struct {
	Type     AuthType
	KeyID    uint8
	Sequence uint32
	// Digest is of the whole packet, with the key in the digest's place. Append
	// fills it in.
	Digest [sha1.Size]byte
}

// Key is a secret that both ends have, of at most 20 bytes; shorter ones are
// filled up with zeros.
type Key [sha1.Size]byte

// Format writes no secret, whatever the verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(secret)")) }

func parseAuth(b []byte) (Auth, error) {
	// The caller has seen to type and length.
	auth := Auth{Type: AuthType(b[0])}
	if auth.Type != KeyedSHA1 && auth.Type != MeticulousKeyedSHA1 {
		return Auth{}, UnknownAuthenticationWay
	}
	if int(b[1]) != sha1Length || len(b) < sha1Length {
		return Auth{}, MalformedAuthentication
	}
	auth.KeyID = b[2]
	auth.Sequence = binary.BigEndian.Uint32(b[4:])
	copy(auth.Digest[:], b[8:])
	return auth, nil
}

func appendAuth(b []byte, begin int, auth Auth, key *Key) []byte {
	b = append(b, byte(auth.Type), sha1Length, auth.KeyID, 0)
	b = binary.BigEndian.AppendUint32(b, auth.Sequence)
	b = append(b, key[:]...)
	digest := sha1.Sum(b[begin:])
	copy(b[len(b)-sha1.Size:], digest[:])
	return b
}

// Authentic reports whether the key made the digest of a packet that Parse read
// from b and that has an Auth.
func Authentic(b []byte, key *Key) bool {
	var scratch [MaxLength]byte
	// The digest is of the packet as long as it says it is. One that is longer
	// than its authentication section was not made by this way of signing.
	if int(b[3]) != MaxLength || len(b) < MaxLength {
		return false
	}
	copy(scratch[:], b)
	copy(scratch[MaxLength-sha1.Size:], key[:])
	want := sha1.Sum(scratch[:])
	return subtle.ConstantTimeCompare(want[:], b[MaxLength-sha1.Size:MaxLength]) == 1
}
