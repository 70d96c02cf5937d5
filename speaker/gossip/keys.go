package gossip

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Key encrypts gossip. It has no text form that tells it.
type Key [32]byte

// String keeps keys out of logs.
func (Key) String() string { return "(secret)" }

// GoString keeps keys out of logs.
func (Key) GoString() string { return "(secret)" }

// ParseKeys reads keys as they stand in the Secret: one to a line, base64 of 32 bytes, the primary first. Empty lines
// are skipped. Errors do not tell what stood there.
func ParseKeys(b []byte) ([]Key, error) {
	var keys []Key
	for i, line := range bytes.Split(b, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		raw := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
		n, err := base64.StdEncoding.Decode(raw, line)
		if err != nil || n != len(Key{}) {
			return nil, fmt.Errorf("line %d of the gossip keys: expected base64 of %d bytes (openssl rand -base64 32)", i+1, len(Key{}))
		}
		if key := Key(raw[:n]); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

const (
	// keySpread is how long a new key is only understood before it is used: the time in which all
	// speakers must have seen the Secret.
	keySpread = 10 * time.Second
	// keyLinger is how long a key is still understood after it was taken out of the Secret.
	keyLinger = time.Minute
)

// A keychain turns the keys that the Secret has into those in use, so that members that see the
// Secret change at different moments understand each other all along:
//
//	time ──►   Secret changes        + keySpread                      + keyLinger
//	new key    understood            used to encrypt
//	old key    used to encrypt       understood                       dropped
//
// So a key may simply be replaced by another one.
type keychain struct {
	primary Key
	since   map[Key]time.Time // when each key in use came
	gone    map[Key]time.Time // when keys in use were taken out of the Secret
}

// step returns the keys to use, the primary first, and when to step again (zero: no need). wanted has
// at least one key.
func (c *keychain) step(now time.Time, wanted []Key) (keys []Key, wake time.Time) {
	first := c.since == nil
	if first {
		c.since, c.gone, c.primary = map[Key]time.Time{}, map[Key]time.Time{}, wanted[0]
	}
	for _, k := range wanted {
		if _, known := c.since[k]; !known {
			c.since[k] = now
		}
		delete(c.gone, k)
	}
	sooner := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}

	if wanted[0] != c.primary {
		if due := c.since[wanted[0]].Add(keySpread); now.Before(due) {
			sooner(due)
		} else {
			c.primary = wanted[0]
		}
	}
	for k := range c.since {
		if slices.Contains(wanted, k) {
			continue
		}
		if _, noted := c.gone[k]; !noted {
			c.gone[k] = now
		}
		if due := c.gone[k].Add(keyLinger); now.Before(due) {
			sooner(due)
		} else if k != c.primary {
			delete(c.since, k)
			delete(c.gone, k)
		}
	}

	keys = []Key{c.primary}
	for _, k := range wanted {
		if k != c.primary {
			keys = append(keys, k)
		}
	}
	var lingering []Key
	for k := range c.gone {
		if k != c.primary {
			lingering = append(lingering, k)
		}
	}
	slices.SortFunc(lingering, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	return append(keys, lingering...), wake
}

func rawKeys(keys []Key) [][]byte {
	raw := make([][]byte, len(keys))
	for i := range keys {
		raw[i] = keys[i][:]
	}
	return raw
}

// setKeys makes the ring hold keys, the first of them as the primary.
func setKeys(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return fmt.Errorf("adding a key: %w", err)
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("using a key: %w", err)
	}
	// RemoveKey closes the gap in the very array that readers have in hand, which they must not see: a
	// key is removed only from the end, and those behind it are put back.
	for {
		have := ring.GetKeys()
		gone := slices.IndexFunc(have, func(h []byte) bool { return !containsKey(keys, h) })
		if gone < 0 {
			return nil
		}
		for i := len(have) - 1; i >= gone; i-- {
			if err := ring.RemoveKey(have[i]); err != nil {
				return fmt.Errorf("removing a key: %w", err)
			}
		}
		for _, k := range have[gone+1:] {
			if containsKey(keys, k) {
				if err := ring.AddKey(k); err != nil {
					return fmt.Errorf("adding a key: %w", err)
				}
			}
		}
	}
}

func containsKey(keys [][]byte, k []byte) bool {
	return slices.ContainsFunc(keys, func(have []byte) bool { return bytes.Equal(have, k) })
}
