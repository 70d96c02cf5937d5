package gossip

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync/atomic"
)

// seals encrypt and decrypt packets as memberlist does, in version 1 of its format:
//
//	packet = 1 nonce(12) ciphertext tag(16)
//	plain  = [12 checksum(4)] type message
//
// memberlist works out anew for each packet what follows from a key, and hands what it reads from one goroutine to the
// next before it comes to its users. That is too much for heartbeats, which are most of what is sent: messages of ours
// go past it both ways, and who does not do so understands them all the same.
type seals struct{ ciphers atomic.Pointer[[]cipher.AEAD] }

// Types of memberlist's messages.
const (
	userMsg     = 8
	checkedMsg  = 12 // another message, behind its checksum
	nonceLength = 12
	tagLength   = 16
)

// set sets the keys; the first of them encrypts.
func (s *seals) set(keys []Key) error {
	var ciphers []cipher.AEAD
	for _, k := range keys {
		block, err := aes.NewCipher(k[:])
		if err != nil {
			return fmt.Errorf("making a cipher: %w", err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return fmt.Errorf("making a cipher: %w", err)
		}
		ciphers = append(ciphers, gcm)
	}
	s.ciphers.Store(&ciphers)
	return nil
}

// seal makes a packet of a message for memberlist's users.
func (s *seals) seal(message []byte) []byte {
	const head = 1 + nonceLength
	b := make([]byte, head, head+1+len(message)+tagLength)
	b[0] = encryptionVersion
	rand.Read(b[1:head]) //nolint:errcheck // never returns one
	plain := append(append(b[head:], userMsg), message...)
	return (*s.ciphers.Load())[0].Seal(b, b[1:head], plain, nil)
}

// open returns the message for memberlist's users that a well-formed packet is, if it is one.
func (s *seals) open(packet []byte) (message []byte, ok bool) {
	for _, c := range *s.ciphers.Load() {
		plain, err := c.Open(nil, packet[1:1+nonceLength], packet[1+nonceLength:], nil)
		if err != nil {
			continue
		}
		if len(plain) >= 5 && plain[0] == checkedMsg && binary.BigEndian.Uint32(plain[1:]) == crc32.ChecksumIEEE(plain[5:]) {
			plain = plain[5:]
		}
		if len(plain) == 0 || plain[0] != userMsg {
			return nil, false
		}
		return plain[1:], true
	}
	return nil, false
}
