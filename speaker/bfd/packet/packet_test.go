package packet

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// seeds are packets as they come in the life of a session.
var seeds = map[string]string{
	"a session that comes up":  "2048050300000000000000010000000a0000000f424000000000",
	"FRR, down":                "20400318a1b2c3d400000000000f4240000493e00000c350",
	"FRR, up, poll":            "20e00318a1b2c3d40102030400049be0000493e00000c350",
	"BIRD, signaled down":      "2340051800000001000000020000 2710000027100000 0000",
	"BIRD, admin down, final ": "271005180000000100000002000f42400000271000000000",
}

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func whole() Packet {
	return Packet{
		Diagnostic: NeighborSignaledSessionDown, State: Up, Poll: true, DetectMult: 3,
		MyDiscriminator: 0x01020304, YourDiscriminator: 0x05060708,
		DesiredMinTx: 50 * time.Millisecond, RequiredMinRx: 60 * time.Millisecond, RequiredMinEchoRx: 70 * time.Millisecond,
	}
}

func TestLayout(t *testing.T) {
	p := whole()
	got := Append(nil, &p, nil)
	want := bytesOf(t, "23 e0 03 18 01020304 05060708 0000c350 0000ea60 00011170")
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	back, err := Parse(got)
	if err != nil || back != p {
		t.Errorf("got %+v, %v", back, err)
	}
}

// RFC 5880 section 6.8.6, the steps that need no session.
func TestParse(t *testing.T) {
	change := func(f func(b []byte)) []byte {
		p := whole()
		b := Append(nil, &p, nil)
		f(b)
		return b
	}
	signed := func(f func(b []byte)) []byte {
		p := whole()
		p.Auth = Auth{Type: KeyedSHA1, KeyID: 1, Sequence: 9}
		b := Append(nil, &p, &Key{})
		f(b)
		return b
	}
	nothing := func([]byte) {}
	for _, row := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing at all", nil, Truncated},
		{"one byte too few", change(nothing)[:23], Truncated},
		{"version 0", change(func(b []byte) { b[0] &= 0x1f }), WrongVersion},
		{"version 2", change(func(b []byte) { b[0] = b[0]&0x1f | 2<<5 }), WrongVersion},
		{"a length below 24", change(func(b []byte) { b[3] = 23 }), WrongLength},
		{"a length below 26 with authentication", signed(func(b []byte) { b[3] = 25 }), WrongLength},
		{"a length beyond the payload", change(func(b []byte) { b[3] = 25 }), WrongLength},
		{"detect multiplier 0", change(func(b []byte) { b[2] = 0 }), ZeroDetectMult},
		{"multipoint", change(func(b []byte) { b[1] |= 1 }), MultipointSet},
		{"My Discriminator 0", change(func(b []byte) { clear(b[4:8]) }), ZeroMyDiscriminator},
		{"Up without Your Discriminator", change(func(b []byte) { clear(b[8:12]) }), ZeroYourDiscriminator},
		{"Init without Your Discriminator", change(func(b []byte) { clear(b[8:12]); b[1] = 0x80 }), ZeroYourDiscriminator},
		{"Down without Your Discriminator", change(func(b []byte) { clear(b[8:12]); b[1] = 0x40 }), nil},
		{"AdminDown without Your Discriminator", change(func(b []byte) { clear(b[8:12]); b[1] = 0 }), nil},
		{"bytes after the packet", append(change(nothing), 1, 2, 3), nil},
		{"authentication", signed(nothing), nil},
		{"a simple password", signed(func(b []byte) { b[24] = 1 }), UnknownAuthenticationWay},
		{"authentication by MD5", signed(func(b []byte) { b[24] = 2 }), UnknownAuthenticationWay},
		{"an authentication section of a wrong length", signed(func(b []byte) { b[25] = 27 }), MalformedAuthentication},
		{"an authentication section cut short", signed(func(b []byte) { b[3] = 40 }), MalformedAuthentication},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := Parse(row.b); err != row.want {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestAuthentic(t *testing.T) {
	key, other := Key{'s', 'e', 'c', 'r', 'e', 't'}, Key{'g', 'u', 'e', 's', 's'}
	p := whole()
	p.Auth = Auth{Type: MeticulousKeyedSHA1, KeyID: 7, Sequence: 0xfffffffe}
	b := Append([]byte("before"), &p, &key)[len("before"):]
	// Made with another implementation of SHA-1 (sha1sum) over the packet with the key in the digest's place.
	const digest = "28083e9e7d84c1693da9edf9977a8478a0fcea5e"
	if got := hex.EncodeToString(b[32:]); got != digest {
		t.Errorf("digest %s, want %s", got, digest)
	}
	got, err := Parse(b)
	if err != nil || got.Auth.Type != MeticulousKeyedSHA1 || got.Auth.KeyID != 7 || got.Auth.Sequence != 0xfffffffe {
		t.Fatalf("got %+v, %v", got.Auth, err)
	}
	if !Authentic(b, &key) {
		t.Error("the right key's digest is refused")
	}
	if Authentic(b, &other) {
		t.Error("a wrong key's digest is taken")
	}
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		if Authentic(changed, &key) {
			t.Errorf("a packet is taken although byte %d was changed", i)
		}
	}
	longer := append(bytes.Clone(b), 0)
	longer[3]++
	if Authentic(longer, &key) {
		t.Error("a packet is taken with something after its digest")
	}
}

func TestNamesAreTheRFCs(t *testing.T) {
	for d, want := range map[Diagnostic]string{
		ControlDetectionTimeExpired: "Control Detection Time Expired", AdministrativelyDown: "Administratively Down",
		ReverseConcatenatedPathDown: "Reverse Concatenated Path Down", 31: "reserved diagnostic",
	} {
		if d.String() != want {
			t.Errorf("%d is %q, want %q", d, d, want)
		}
	}
	if AdminDown.String()+Down.String()+Init.String()+Up.String() != "AdminDownDownInitUp" {
		t.Error("states are named wrongly")
	}
}

func TestNothingAllocates(t *testing.T) {
	p, key := whole(), Key{1}
	p.Auth.Type = KeyedSHA1
	buffer := make([]byte, 0, MaxLength)
	if n := testing.AllocsPerRun(100, func() {
		b := Append(buffer, &p, &key)
		if _, err := Parse(b); err != nil || !Authentic(b, &key) {
			t.Error(err)
		}
		if _, err := Parse(b[:20]); err == nil {
			t.Error("taken though it is cut short")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

// Whatever is taken is written again as it was read, and no input makes the
// parser panic or look beyond what it was given.
func FuzzParse(f *testing.F) {
	for _, text := range seeds {
		f.Add(bytesOf(f, text))
	}
	p := whole()
	p.Auth = Auth{Type: MeticulousKeyedSHA1, KeyID: 7, Sequence: 1}
	f.Add(Append(nil, &p, &Key{1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			if _, known := err.(Refusal); !known {
				t.Errorf("refused for a reason that is not in the list: %v", err)
			}
			return
		}
		key := Key{1, 2, 3}
		again := Append(nil, &p, &key)
		if p.Auth.Type == 0 {
			want := bytes.Clone(b[:MinLength])
			// What may follow the mandatory section is not written.
			want[3] = MinLength
			if !bytes.Equal(again, want) {
				t.Errorf("read  %x\nwrote %x", want, again)
			}
			return
		}
		if !Authentic(again, &key) {
			t.Errorf("%x is not what the key signs", again)
		}
		Authentic(b, &key)
	})
}
