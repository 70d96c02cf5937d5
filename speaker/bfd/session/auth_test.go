package session

import (
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
)

func authenticated(way packet.AuthType) Parameters {
	params := usual
	params.Auth = Auth{Type: way, Keys: [MaxKeys]Key{
		{ID: 1, Used: true, Secret: packet.Key{'n', 'e', 'w'}},
		{ID: 9, Used: true, Secret: packet.Key{'o', 'l', 'd'}},
	}}
	return params
}

// signed receives a packet that is signed.
func signed(s *Session, after time.Duration, way packet.AuthType, id uint8, secret string, sequence uint32, change ...func(*packet.Packet)) error {
	var key packet.Key
	copy(key[:], secret)
	p := heard(packet.Down, change...)
	p.Auth = packet.Auth{Type: way, KeyID: id, Sequence: sequence}
	b := packet.Append(nil, p, &key)
	read, err := packet.Parse(b)
	if err != nil {
		return err
	}
	return s.Receive(at(after), b, &read)
}

func TestAuthentication(t *testing.T) {
	const keyed, meticulous = packet.KeyedSHA1, packet.MeticulousKeyedSHA1
	plain := func(s *Session) error { return s.Receive(at(0), nil, heard(packet.Down)) }

	t.Run("6.8.6 the A bit must be set where authentication is in use, and there alone", func(t *testing.T) {
		if err := plain(New(authenticated(keyed), ours, 1)); err != MissingAuth {
			t.Error(err)
		}
		if err := signed(New(usual, ours, 1), 0, keyed, 1, "new", 5); err != UnexpectedAuth {
			t.Error(err)
		}
	})
	for _, row := range []struct {
		name     string
		way      packet.AuthType
		id       uint8
		secret   string
		sequence uint32
		want     error
	}{
		{"6.7.4 another type", meticulous, 1, "new", 101, WrongAuthenticationType},
		{"6.7.4 a key ID that is not ours", keyed, 2, "new", 101, UnknownKeyID},
		{"6.7.4 a wrong key", keyed, 1, "old", 101, WrongDigest},
		{"6.7.4 the same number again", keyed, 1, "new", 100, nil},
		{"6.7.4 the next number", keyed, 1, "new", 101, nil},
		{"6.7.4 the last number in range", keyed, 1, "new", 109, nil},
		{"6.7.4 a number too far ahead", keyed, 1, "new", 110, WrongSequence},
		{"6.7.4 an old number", keyed, 1, "new", 99, WrongSequence},
		{"the second key, while keys are changed", keyed, 9, "old", 101, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := New(authenticated(keyed), ours, 1)
			if err := signed(s, 0, keyed, 1, "new", 100); err != nil {
				t.Fatal(err)
			}
			if err := signed(s, 0, row.way, row.id, row.secret, row.sequence); err != row.want {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
	t.Run("6.7.4 meticulous: the same number again is a replay", func(t *testing.T) {
		s := New(authenticated(meticulous), ours, 1)
		if err := signed(s, 0, meticulous, 1, "new", 100); err != nil {
			t.Fatal(err)
		}
		if err := signed(s, 0, meticulous, 1, "new", 100); err != WrongSequence {
			t.Error(err)
		}
	})
	t.Run("6.7.4 numbers go round", func(t *testing.T) {
		s := New(authenticated(meticulous), ours, 1)
		for _, n := range []uint32{0xfffffffe, 0xffffffff, 0, 1} {
			if err := signed(s, 0, meticulous, 1, "new", n); err != nil {
				t.Errorf("%d: %v", n, err)
			}
		}
	})
	t.Run("a forged packet does not set the number", func(t *testing.T) {
		s := New(authenticated(keyed), ours, 1)
		if err := signed(s, 0, keyed, 1, "guess", 4000); err != WrongDigest {
			t.Error(err)
		}
		if err := signed(s, 0, keyed, 1, "new", 100); err != nil {
			t.Error(err)
		}
	})
	t.Run("6.8.1 the number is forgotten after twice the detection time, when the other end may begin anew", func(t *testing.T) {
		s := New(authenticated(keyed), ours, 1)
		_ = signed(s, 0, keyed, 1, "new", 100)
		detection := s.DetectionTime()
		s.Expire(at(detection))
		s.Expire(at(2*detection - 1))
		if err := signed(s, 2*detection-1, keyed, 1, "new", 5); err != WrongSequence {
			t.Errorf("too early: %v", err)
		}
		s.Expire(at(2 * detection))
		if err := signed(s, 2*detection, keyed, 1, "new", 5); err != nil {
			t.Error(err)
		}
	})
	t.Run("6.7.4 each packet of ours is signed by the first key, with a number of its own", func(t *testing.T) {
		s := in(t, packet.Down, authenticated(meticulous))
		var last uint32
		for i := range 5 {
			b := s.Transmit(at(time.Duration(i+1)*time.Second), nil)
			p, err := packet.Parse(b)
			if err != nil || p.Auth.Type != meticulous || p.Auth.KeyID != 1 || !packet.Authentic(b, &packet.Key{'n', 'e', 'w'}) {
				t.Fatalf("%+v, %v", p, err)
			}
			if i > 0 && p.Auth.Sequence != last+1 {
				t.Errorf("number %d after %d", p.Auth.Sequence, last)
			}
			last = p.Auth.Sequence
		}
	})
	t.Run("keys change without a gap: the session stays Up", func(t *testing.T) {
		s := New(authenticated(keyed), ours, 1)
		_ = signed(s, 0, keyed, 9, "old", 1)
		_ = signed(s, 0, keyed, 9, "old", 2, func(p *packet.Packet) { p.State = packet.Up })
		params := authenticated(keyed)
		params.Auth.Keys[1] = Key{}
		s.SetParameters(params)
		if err := signed(s, 1, keyed, 9, "old", 3); err != UnknownKeyID {
			t.Error(err)
		}
		if err := signed(s, 1, keyed, 1, "new", 3, func(p *packet.Packet) { p.State = packet.Up }); err != nil || s.State() != packet.Up {
			t.Errorf("%v in %v", err, s.State())
		}
	})
}
