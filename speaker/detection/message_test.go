package detection

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

var sampleVotes = []vote{
	{subject: "a", life: 7, seq: 3, speaking: no, heard: true, quiet: 245 * time.Millisecond, restarting: true,
		links: []linkVote{{name: "eth0", alive: no, methods: methods(0).with(ARP).with(TCP)}, {name: "", alive: yes}}},
	{subject: "b", life: 1 << 63, seq: 1 << 40, speaking: yes},
}

func TestWhatIsSentIsHeard(t *testing.T) {
	h := beat{seq: 300, flags: Serving | Stale, interval: 120 * time.Millisecond, released: true}
	p, err := decode(encodeBeat(h))
	if err != nil || *p.beat != h {
		t.Errorf("%+v, %v", p.beat, err)
	}
	if p, err := decode(encodePing()); err != nil || !p.ping {
		t.Errorf("%+v, %v", p, err)
	}
	var got []vote
	for _, b := range encodeVotes(sampleVotes) {
		p, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.votes...)
	}
	if !reflect.DeepEqual(got, sampleVotes) {
		t.Errorf("%+v", got)
	}
}

func TestManyVotesGoInPacketsThatFitAnyPath(t *testing.T) {
	var votes []vote
	for range 200 {
		votes = append(votes, vote{subject: strings.Repeat("n", 60), life: 1, links: []linkVote{{name: "eth0", alive: no}}})
	}
	packets := encodeVotes(votes)
	n := 0
	for _, b := range packets {
		p, err := decode(b)
		if len(b) > maxPayload || err != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		n += len(p.votes)
	}
	if n != len(votes) {
		t.Errorf("%d votes arrive of %d", n, len(votes))
	}
}

func TestWhatALaterVersionAddsIsSkipped(t *testing.T) {
	b := tlv.Append([]byte{packetVersion}, 99, []byte("new"))
	b = append(b, encodeBeat(beat{seq: 1, interval: DefaultInterval})[1:]...)
	v := tlv.Append(encodeVote(sampleVotes[1]), 98, []byte("newer"))
	b = tlv.Append(b, typeVote, v)
	p, err := decode(b)
	if err != nil || p.beat == nil || len(p.votes) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":             {},
		"another version":     {9, 1, 0},
		"a length too long":   {packetVersion, typeBeat, 200, 1},
		"a length that wraps": append([]byte{packetVersion, typeBeat}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"about nobody":        tlv.Append([]byte{packetVersion}, typeVote, encodeVote(vote{life: 1})),
		"control characters":  tlv.Append([]byte{packetVersion}, typeVote, encodeVote(vote{subject: "a\nb"})),
		"a name too long":     tlv.Append([]byte{packetVersion}, typeVote, encodeVote(vote{subject: strings.Repeat("x", 254)})),
		"too many links":      tlv.Append([]byte{packetVersion}, typeVote, encodeVote(vote{subject: "a", links: make([]linkVote, maxLinks+1)})),
		"too long":            slices.Concat([]byte{packetVersion}, make([]byte, maxPacket)),
	} {
		if p, err := decode(b); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// Whatever comes, a machine survives it, keeps its head, and stays small.
func FuzzHear(f *testing.F) {
	f.Add(encodeBeat(beat{seq: 1, flags: Serving, interval: DefaultInterval}))
	f.Add(encodePing())
	for _, b := range encodeVotes(sampleVotes) {
		f.Add(b)
	}
	f.Add([]byte{packetVersion, typeBeat, 2, beatInterval, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decode(b); err == nil {
			for _, again := range encodeVotes(p.votes) {
				q, err := decode(again)
				if err != nil || len(q.votes) == 0 {
					t.Fatalf("%+v does not come back: %v", p.votes, err)
				}
			}
		}
		m := New(Config{Node: "a", Life: 1})
		now := simStart
		w := &World{Members: []Member{{Node: "b", Life: 2, Gossip: true}, {Node: "c", Life: 3, Gossip: true}}}
		for range 5 {
			out := m.Step(now, Input{Turning: true, World: w, Heard: []Message{{From: "b", Life: 2, Payload: b}, {From: "stranger", Life: 2, Payload: b}}})
			if out.WakeAt.Before(now) || len(out.Send) > 10 || len(out.Probes) > 100 {
				t.Fatalf("%+v", out)
			}
			w, now = nil, now.Add(30*time.Millisecond)
		}
		for _, v := range m.Verdicts() {
			if v.State == Dead {
				t.Fatalf("one packet kills: %+v", v)
			}
		}
	})
}
