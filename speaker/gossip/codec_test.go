package gossip

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

var genLink = rapid.Custom(func(t *rapid.T) Link {
	l := Link{
		Name: rapid.StringMatching(`[a-zé][a-z0-9.@-]{0,12}`).Filter(func(s string) bool { return len(s) <= maxLinkName }).Draw(t, "name"),
		MAC:  [6]byte(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac")),
		Up:   rapid.Bool().Draw(t, "up"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "prefixes") {
		if rapid.Bool().Draw(t, "v4") {
			l.Prefixes = append(l.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "prefix"))), rapid.IntRange(0, 32).Draw(t, "bits")))
		} else {
			l.Prefixes = append(l.Prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "prefix"))), rapid.IntRange(0, 128).Draw(t, "bits")))
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "addresses") {
		l.Addresses = append(l.Addresses, netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))))
	}
	if rapid.Bool().Draw(t, "link-local") {
		l.LinkLocal = netip.MustParseAddr("fe80::1")
	}
	l.DeafIPv4, l.DeafIPv6 = rapid.Bool().Draw(t, "deaf to ARP"), rapid.Bool().Draw(t, "deaf to NDP")
	return l
})

var genState = rapid.Custom(func(t *rapid.T) state {
	s := state{
		node: rapid.StringMatching(`[a-z][a-z0-9.-]{0,30}`).Draw(t, "node"),
		life: life(rapid.Uint64Min(1).Draw(t, "life")),
		seq:  rapid.Uint64Max(maxSeq).Draw(t, "seq"),
		facts: Facts{
			Build:        rapid.StringMatching(`[ -~]{0,64}`).Draw(t, "build"),
			Serving:      rapid.Bool().Draw(t, "serving"),
			Life:         rapid.Uint64().Draw(t, "process"),
			Restarting:   rapid.Bool().Draw(t, "restarting"),
			Leaving:      rapid.Bool().Draw(t, "leaving"),
			Stale:        rapid.Bool().Draw(t, "stale"),
			ProxyFailing: rapid.Bool().Draw(t, "kube-proxy failing"),
			Routed:       rapid.Bool().Draw(t, "routed"),
			Sessions:     rapid.SliceOfN(rapid.Uint32(), 0, 5).Draw(t, "sessions"),
			Capabilities: Capabilities(rapid.Uint64().Draw(t, "capabilities")),
			Links:        rapid.SliceOfN(genLink, 0, 80).Draw(t, "links"),
		},
	}
	if rapid.Bool().Draw(t, "started") {
		s.facts.Started = time.UnixMilli(rapid.Int64().Draw(t, "milliseconds")).UTC()
	}
	return s
})

func equalStates(a, b state) bool {
	return a.node == b.node && a.life == b.life && a.seq == b.seq && a.facts.Equal(b.facts)
}

func TestStatesSurviveTheTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genState.Draw(t, "state")
		encoded := encodeState(s)
		got, err := decodeState(encoded)
		if err != nil || !equalStates(got, s) {
			t.Fatalf("got %+v, %v", got, err)
		}

		// In packets, in any order.
		b := newBook("me")
		b.joined(s.node, s.life)
		frames := packets(s, encoded)
		var came []byte
		for _, frame := range rapid.Permutation(frames).Draw(t, "order") {
			if len(frame) > packetSize-100 {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
			messages, err := decodeFrame(frame)
			if err != nil || len(messages) != 1 {
				t.Fatalf("%d messages, %v", len(messages), err)
			}
			if m := messages[0]; m.state != nil {
				came = m.state.encoded
			} else if whole, ok := b.addPart(*m.part); ok {
				came = whole
			}
		}
		if !bytes.Equal(came, encoded) {
			t.Fatalf("%d frames came as %x, not %x", len(frames), came, encoded)
		}

		// In a stream, beside another one.
		messages, err := decodeFrame(wholeFrame([][]byte{encoded, encoded}))
		if err != nil || len(messages) != 2 || !equalStates(messages[1].state.state, s) {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
	})
}

func TestMessagesSurviveTheTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{
			From:    rapid.StringMatching(`[a-z][a-z0-9.-]{0,30}`).Draw(t, "from"),
			Life:    rapid.Uint64Min(1).Draw(t, "life"),
			Kind:    Kind(rapid.Uint64().Draw(t, "kind")),
			Payload: rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "payload"),
		}
		messages, err := decodeFrame(directFrame(m))
		if err != nil || len(messages) != 1 || messages[0].direct == nil {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		if got := *messages[0].direct; got.From != m.From || got.Life != m.Life || got.Kind != m.Kind || !bytes.Equal(got.Payload, m.Payload) {
			t.Fatalf("got %+v", got)
		}
	})
}

// A later version may say more: what this one does not know it skips, and keeps the rest.
func TestTheUnknownIsSkipped(t *testing.T) {
	s := state{node: "a", life: 1, seq: 2, facts: Facts{Serving: true, Links: []Link{{Name: "eth0", Up: true}}}}
	link := tlv.Append(encodeLink(s.facts.Links[0]), 99, []byte("a link's news"))
	s.facts.Links = nil
	encoded := tlv.Append(encodeState(s), fieldLink, link)
	encoded = tlv.Append(encoded, 1000, []byte("a state's news"))
	frame := tlv.Append([]byte{frameVersion}, 77, []byte("a message of the future"))
	frame = tlv.Append(frame, typeState, encoded)
	frame = tlv.Append(frame, 78, nil)

	messages, err := decodeFrame(frame)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	s.facts.Links = []Link{{Name: "eth0", Up: true}}
	if got := messages[0].state; !equalStates(got.state, s) {
		t.Errorf("got %+v", got)
	}
	// It is passed on as it came, so that those behind can read the news.
	if !bytes.Equal(messages[0].state.encoded, encoded) {
		t.Errorf("passes on %x", messages[0].state.encoded)
	}
}

func TestWhatIsRefused(t *testing.T) {
	good := encodeState(state{node: "a", life: 1})
	many := good
	for i := range maxLinks + 1 {
		many = tlv.Append(many, fieldLink, tlv.Append(nil, linkName, fmt.Append(nil, i)))
	}
	manyPrefixes := tlv.Append(nil, linkName, []byte("eth0"))
	for range maxPrefixes + 1 {
		manyPrefixes = tlv.Append(manyPrefixes, linkPrefix, []byte{10, 0, 0, 0, 8})
	}
	frame := func(messages ...byte) []byte { return append([]byte{frameVersion}, messages...) }
	stateWith := func(field uint64, value []byte) []byte {
		return tlv.Append(frame(), typeState, tlv.Append(bytes.Clone(good), field, value))
	}
	linkWith := func(field uint64, value []byte) []byte {
		return stateWith(fieldLink, tlv.Append(tlv.Append(nil, linkName, []byte("eth0")), field, value))
	}
	for _, row := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"nothing", nil, "truncated"},
		{"another version", []byte{2}, "version"},
		{"a type without a length", frame(1), "truncated"},
		{"a length without a value", frame(1, 5), "truncated"},
		{"a length beyond the end", frame(1, 5, 1, 2), "truncated"},
		{"a length beyond all bounds", frame(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), "truncated"},
		{"a varint without end", frame(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "64 bits"},
		{"a state without a node", tlv.Append(frame(), typeState, encodeState(state{life: 1})), "no node"},
		{"a state without a life", tlv.Append(frame(), typeState, encodeState(state{node: "a"})), "no life"},
		{"a sequence number that leaves no room", tlv.Append(frame(), typeState, encodeState(state{node: "a", life: 1, seq: maxSeq + 1})), "sequence"},
		{"a node's name that is too long", stateWith(fieldNode, bytes.Repeat([]byte("a"), 254)), "at most 253"},
		{"a node's name with a line feed", stateWith(fieldNode, []byte("a\nb")), "control characters"},
		{"a short number", stateWith(fieldSeq, []byte{1}), "number of 1 bytes"},
		{"too many links", tlv.Append(frame(), typeState, many), "more than 1024 links"},
		{"too much", stateWith(1000, make([]byte, maxState)), "at most 64000"},
		{"a link without a name", stateWith(fieldLink, nil), "without a name"},
		{"a long link name", stateWith(fieldLink, tlv.Append(nil, linkName, []byte("0123456789abcdef"))), "at most 15"},
		{"a short hardware address", linkWith(linkMAC, []byte{1}), "of 1 bytes"},
		{"a network without bits", linkWith(linkPrefix, nil), "truncated"},
		{"a network of no family", linkWith(linkPrefix, []byte{1, 2, 3, 8}), "none"},
		{"a network with too many bits", linkWith(linkPrefix, []byte{10, 0, 0, 0, 33}), "none"},
		{"too many networks", stateWith(fieldLink, manyPrefixes), "more than 64 networks"},
		{"an address of no family", linkWith(linkLinkLocal, []byte{1}), "address of 1 bytes"},
		{"a part without a head", tlv.Append(frame(), typePart, []byte{fieldNode, 1, 'a'}), "truncated"},
		{"a part beyond the last", tlv.Append(frame(), typePart, append([]byte{fieldNode, 1, 'a', 7: 1, 18: 0}, 3, 3)), "out of bounds"},
		{"a message without a life", tlv.Append(frame(), typeDirect, []byte{fieldNode, 1, 'a', 1, 2, 3}), "truncated"},
		{"a message of no life", tlv.Append(frame(), typeDirect, append([]byte{fieldNode, 1, 'a'}, make([]byte, 9)...)), "no life"},
		{"a message without a kind", tlv.Append(frame(), typeDirect, []byte{fieldNode, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 1}), "truncated"},
		{"a message of nobody", tlv.Append(frame(), typeDirect, []byte{fieldNode, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7}), "no node"},
		{"a link's deafness that says nothing", linkWith(linkDeaf, nil), "truncated"},
		{"a question from a name that is none", tlv.Append(frame(), typeAsk, []byte{0}), "control characters"},
	} {
		t.Run(row.name, func(t *testing.T) {
			messages, err := decodeFrame(row.frame)
			if err == nil || !strings.Contains(err.Error(), row.want) || len(messages) > 0 {
				t.Errorf("%d messages, error %v, want one with %q", len(messages), err, row.want)
			}
		})
	}
}

// What a node can't say in a way that others take, it does not say.
func TestWhatOthersWouldRefuseIsNotSent(t *testing.T) {
	s := state{node: "a", life: 1, facts: Facts{Build: strings.Repeat("v", 100)}}
	s.facts.Links = append(s.facts.Links, Link{Name: "bad\x01name"}, Link{}, Link{Name: "ok", Prefixes: make([]netip.Prefix, 3)})
	for i := range 2 * maxLinks {
		s.facts.Links = append(s.facts.Links, Link{Name: fmt.Sprint("eth", i), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}})
	}
	encoded := encodeState(s)
	got, err := decodeState(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if len(encoded) > maxState || len(got.facts.Links) != maxLinks || got.facts.Build != strings.Repeat("v", maxBuild) ||
		!got.facts.Links[0].Equal(Link{Name: "ok"}) || len(packets(s, encoded)) > maxParts {
		t.Errorf("%d bytes, %d links, first %+v", len(encoded), len(got.facts.Links), got.facts.Links[0])
	}
}

func FuzzDecodeFrame(f *testing.F) {
	s := state{node: "node-a", life: 7, seq: 3, facts: Facts{Build: "v1", Started: time.Unix(1, 0), Serving: true, Capabilities: 1,
		Links: []Link{{Name: "eth0", MAC: [6]byte{2, 1, 2, 3, 4, 5}, Up: true, LinkLocal: netip.MustParseAddr("fe80::1"),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}}}}}
	encoded := encodeState(s)
	f.Add(wholeFrame([][]byte{encoded, encoded}))
	f.Add(packets(s, encoded)[0])
	f.Add(packets(s, append(encoded, make([]byte, 2000)...))[1])
	f.Add(askFrame("node-b"))
	f.Add(directFrame(Message{From: "node-b", Life: 9, Kind: 2, Payload: []byte("payload")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		messages, _ := decodeFrame(b)
		book := newBook("me")
		for _, m := range messages {
			switch {
			case m.direct != nil:
				again, err := decodeFrame(directFrame(*m.direct))
				if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0].direct, m.direct) {
					t.Errorf("%+v comes back as %+v, %v", m.direct, again, err)
				}
			case m.part != nil:
				book.joined(m.part.node, m.part.life)
				book.addPart(*m.part)
			case m.state != nil:
				book.joined(m.state.node, m.state.life)
				book.add(m.state.state, m.state.encoded)
				// What was understood can be said again in our own words, and means the same.
				again, err := decodeState(encodeState(m.state.state))
				if err != nil || !equalStates(again, m.state.state) {
					t.Errorf("%+v comes back as %+v, %v", m.state.state, again, err)
				}
				if !reflect.DeepEqual(again.facts.Links, m.state.facts.Links) {
					t.Errorf("links %+v come back as %+v", m.state.facts.Links, again.facts.Links)
				}
			}
		}
	})
}
