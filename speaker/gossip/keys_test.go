package gossip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	keyA = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" // 32 zero bytes
	keyB = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

func TestParseKeys(t *testing.T) {
	for _, row := range []struct {
		name, in string
		want     []Key
		err      string
	}{
		{"nothing", "", nil, ""},
		{"one", keyB, []Key{{1}}, ""},
		{"the first is the primary", keyB + "\n" + keyA + "\n", []Key{{1}, {}}, ""},
		{"blanks, blank lines and doubles do no harm", "\r\n  " + keyB + " \n\n" + keyB, []Key{{1}}, ""},
		{"no base64", keyA + "\nsecret!", nil, "line 2 of the gossip keys: expected base64 of 32 bytes"},
		{"too short", "c2VjcmV0", nil, "line 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseKeys([]byte(row.in))
			if !slices.Equal(got, row.want) || (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Errorf("got %d keys, %v", len(got), err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "c2Vj")) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	k := Key([]byte("0123456789abcdef0123456789abcdef"))
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, []Key{k}); strings.Contains(got, "0123") || strings.Contains(got, "48") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

func TestKeychain(t *testing.T) {
	a, b, c := Key{1}, Key{2}, Key{3}
	name := func(keys []Key) string {
		var s string
		for _, k := range keys {
			s += string('a' + rune(k[0]) - 1)
		}
		return s
	}
	type step struct {
		at     time.Duration
		wanted []Key
		want   string        // the primary first
		wake   time.Duration // 0 is none
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"the keys there at start are used at once", []step{
			{0, []Key{a, b}, "ab", 0},
		}},
		{"a key added behind is understood", []step{
			{0, []Key{a}, "a", 0},
			{time.Second, []Key{a, b}, "ab", 0},
		}},
		{"a new primary is understood first, used later", []step{
			{0, []Key{a}, "a", 0},
			{time.Second, []Key{b, a}, "ab", time.Second + keySpread},
			{time.Second + keySpread, []Key{b, a}, "ba", 0},
		}},
		{"one that was understood for long is used at once", []step{
			{0, []Key{a, b}, "ab", 0},
			{time.Hour, []Key{b, a}, "ba", 0},
		}},
		{"a key replaced by another lingers", []step{
			{0, []Key{a}, "a", 0},
			{time.Second, []Key{b}, "ab", time.Second + keySpread},
			{time.Second + keySpread, []Key{b}, "ba", time.Second + keyLinger},
			{time.Second + keyLinger, []Key{b}, "b", 0},
		}},
		{"one that comes back while it lingers stays", []step{
			{0, []Key{a, b}, "ab", 0},
			{time.Second, []Key{a}, "ab", time.Second + keyLinger},
			{time.Minute, []Key{a, b}, "ab", 0},
			{time.Hour, []Key{a, b}, "ab", 0},
		}},
		{"replaced twice in a hurry", []step{
			{0, []Key{a}, "a", 0},
			{time.Second, []Key{b}, "ab", time.Second + keySpread},
			{2 * time.Second, []Key{c}, "acb", 2*time.Second + keySpread},
			{2*time.Second + keySpread, []Key{c}, "cab", time.Second + keyLinger},
			{time.Second + keyLinger, []Key{c}, "cb", 2*time.Second + keyLinger},
			{2*time.Second + keyLinger, []Key{c}, "c", 0},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var chain keychain
			start := time.Unix(1_700_000_000, 0)
			for _, s := range row.steps {
				got, wake := chain.step(start.Add(s.at), s.wanted)
				if name(got) != s.want {
					t.Errorf("after %v: %s, want %s", s.at, name(got), s.want)
				}
				if wake.IsZero() != (s.wake == 0) || s.wake != 0 && !wake.Equal(start.Add(s.wake)) {
					t.Errorf("after %v: wakes after %v, want %v", s.at, wake.Sub(start), s.wake)
				}
			}
		})
	}
}

func TestSetKeys(t *testing.T) {
	raw := func(names string) (keys [][]byte) {
		for _, n := range names {
			k := Key{byte(n)}
			keys = append(keys, k[:])
		}
		return keys
	}
	for _, row := range []struct{ from, to string }{
		{"a", "a"}, {"a", "ab"}, {"ab", "ba"}, {"ab", "b"}, {"abcde", "ace"}, {"abc", "d"}, {"abcde", "eb"},
	} {
		t.Run(row.from+" to "+row.to, func(t *testing.T) {
			ring, err := memberlist.NewKeyring(raw(row.from), raw(row.from)[0])
			if err != nil {
				t.Fatal(err)
			}
			inHand := ring.GetKeys()
			before := slices.Clone(inHand)
			if err := setKeys(ring, raw(row.to)); err != nil {
				t.Fatal(err)
			}
			got := ring.GetKeys()
			if string(got[0]) != string(raw(row.to)[0]) || len(got) != len(row.to) {
				t.Errorf("%d keys, the primary is %q", len(got), got[0][:1])
			}
			for _, k := range raw(row.to) {
				if !containsKey(got, k) {
					t.Errorf("%q is not there", k[:1])
				}
			}
			for i := range before {
				if &before[i][0] != &inHand[i][0] {
					t.Error("a reader saw the ring change under its hands")
				}
			}
		})
	}
}
