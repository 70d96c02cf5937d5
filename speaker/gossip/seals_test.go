package gossip

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// What speakers seal, memberlist reads, and the other way round: speakers of a version that has memberlist do it are understood.
func TestSealsAreThoseOfMemberlist(t *testing.T) {
	var s, other seals
	for _, set := range []error{s.set([]Key{keyTwo, keyOne}), other.set([]Key{{3}})} {
		if set != nil {
			t.Fatal(set)
		}
	}
	checked := func(plain []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{checkedMsg}, crc32.ChecksumIEEE(plain)), plain...)
	}
	for _, row := range []struct {
		name   string
		packet []byte
		want   string
		ours   bool
	}{
		{"its own", s.seal([]byte("news")), "news", true},
		{"as memberlist seals, with any of the keys", seal(keyOne, 1, []byte("\x08news"), nil), "news", true},
		{"with a checksum", seal(keyTwo, 1, checked([]byte("\x08news")), nil), "news", true},
		{"with a wrong checksum", seal(keyTwo, 1, append([]byte{checkedMsg, 1, 2, 3, 4}, "\x08news"...), nil), "", false},
		{"an empty one", s.seal(nil), "", true},
		{"one of memberlist's own", seal(keyOne, 1, []byte{0, 1, 2}, nil), "", false},
		{"with another key", other.seal([]byte("news")), "", false},
		{"cut short", s.seal([]byte("news"))[:31], "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, ours := s.open(row.packet); ours != row.ours || string(got) != row.want {
				t.Errorf("%q, %v", got, ours)
			}
		})
	}
	if a, b := s.seal([]byte("news")), s.seal([]byte("news")); bytes.Equal(a[:1+nonceLength], b[:1+nonceLength]) {
		t.Error("two packets have one nonce")
	}
	if got := unseal(t, keyTwo, s.seal([]byte("news"))); got != "\x08news" {
		t.Errorf("%q", got)
	}
}
