package ownership

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

var someMessages = []Message{
	&Claims{Node: "node-1", To: Version{Epoch: 1, Life: 7, Number: 1}},
	&Claims{Node: "node-1", Base: 4, To: Version{Epoch: 3, Life: 1 << 63, Number: 5}, Changes: []Change{
		{Unit: Unit{Address: netip.MustParseAddr("192.0.2.1")}, Claim: Claim{Term: 1, Cause: CauseFirstClaim}},
		{Unit: Unit{Address: netip.MustParseAddr("fe80::1%eth0"), Segment: "rack-2", Share: 3},
			Claim: Claim{Term: 300, Cause: CauseLoss, Provisional: true, Held: true}},
		{Unit: Unit{Address: netip.MustParseAddr("2001:db8::1")}},
	}},
	&Digest{Sum: 5, Serving: true, Sets: []SetVersion{{"node-1", Version{1, 2, 3}}}},
	&Digest{Ask: 9, Reply: 8, Full: true, Sets: []SetVersion{{"node-1", Version{1, 2, 3}}, {"node-2", Version{}}}},
	&Offer{Cause: CauseLeave, Units: []OfferedUnit{{Unit{Address: netip.MustParseAddr("192.0.2.1")}, 4}}},
	&Refusal{Units: []Unit{{Address: netip.MustParseAddr("::ffff:192.0.2.1")}}},
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	for _, m := range someMessages {
		got, err := Decode(m.Append(nil))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	}
}

// Speakers of two versions talk to each other during an update: the bytes are the protocol.
func TestMessagesLookTheSameInEveryVersion(t *testing.T) {
	for i, want := range []string{
		"010101066e6f64652d31030a01000000000000000701",
		"010101066e6f64652d31020104030a03800000000000000005" +
			"040b04c000020100000001" + "0100" +
			"042210fe80000000000000000000000000000104657468" + "3006" + "7261636b2d32" + "03ac020203" +
			"04171020010db8000000000000000000000001000000000000",
	} {
		if got := hex.EncodeToString(someMessages[i].Append(nil)); got != want {
			t.Errorf("%+v is encoded as\n%s, want\n%s", someMessages[i], got, want)
		}
	}
}

func TestWhatANewerVersionAddsIsSkipped(t *testing.T) {
	for _, m := range someMessages {
		got, err := Decode(tlv.Append(m.Append(nil), 1000, []byte("new")))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v with a field more came back as %+v, %v", m, got, err)
		}
	}
	if _, err := Decode([]byte{formatVersion, 77, 1, 2}); !errors.Is(err, ErrUnknown) {
		t.Errorf("a new type: %v, want ErrUnknown", err)
	}
	longer := appendUnit(nil, Unit{Address: netip.MustParseAddr("192.0.2.1")})
	longer = append(longer, 1, byte(CauseLoss), 0, 'm', 'o', 'r', 'e')
	b := (&Claims{Node: "a", To: Version{1, 1, 1}}).Append(nil)
	if got, err := Decode(tlv.Append(b, fieldChange, longer)); err != nil || got.(*Claims).Changes[0].Claim.Term != 1 {
		t.Errorf("a longer change: %+v, %v", got, err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	claims := (&Claims{Node: "a", To: Version{1, 1, 1}}).Append(nil)
	for name, b := range map[string][]byte{
		"nothing":                 {},
		"another version":         {2, typeClaims},
		"a field without length":  {formatVersion, typeDigest, fieldAsk},
		"a field that is cut":     {formatVersion, typeDigest, fieldSet, 200, 1, 2},
		"claims of nobody":        {formatVersion, typeClaims},
		"claims without a change": (&Claims{Node: "a", Base: 5, To: Version{1, 1, 5}}).Append(nil),
		"an address of 5 bytes":   tlv.Append(claims, fieldChange, []byte{5, 1, 2, 3, 4, 5, 0, 0, 0, 1, 1, 0}),
		"a zone of IPv4":          tlv.Append(claims, fieldChange, []byte{4, 1, 2, 3, 4, 1, 'a', 0, 0, 1, 1, 0}),
		"a term beyond counting":  (&Claims{Node: "a", To: Version{1, 1, 1}, Changes: []Change{{Unit{Address: netip.MustParseAddr("192.0.2.1")}, Claim{Term: maxTerm + 1}}}}).Append(nil),
		"a set of nobody":         (&Digest{Sets: []SetVersion{{"", Version{1, 1, 1}}}}).Append(nil),
	} {
		if m, err := Decode(b); err == nil {
			t.Errorf("%s was taken for %+v", name, m)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range someMessages {
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		once := m.Append(nil)
		again, err := Decode(once)
		if err != nil || !bytes.Equal(again.Append(nil), once) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}
