package ownership

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/speaker/tlv"
)

// A member that has the key but talks nonsense must not bring down the others, nor confuse their books.
func FuzzHear(f *testing.F) {
	for _, m := range someMessages {
		f.Add(tlv.AppendText(nil, string(m.Append(nil))))
	}
	var all []byte
	for _, m := range append(someMessages,
		&Claims{Node: "node-0", To: Version{Epoch: 7, Life: 3, Number: 9}, Changes: []Change{{unitAt("192.0.2.1"), Claim{Term: maxTerm}}}},
		&Digest{Ask: 3, Full: true, Sets: []SetVersion{{"node-0", Version{9, 9, 9}}, {"node-1", Version{9, 9, 9}}}},
		&Offer{Cause: 200, Units: []OfferedUnit{{unitAt("192.0.2.2"), 1}, {unitAt("192.0.2.99"), 1}}},
		&Claims{Node: "node-1", Base: 1, To: Version{Epoch: 1, Life: 9, Number: 2}, Changes: []Change{{unitAt("192.0.2.3"), Claim{Term: maxTerm}}}},
		&Refusal{Units: []Unit{unitAt("192.0.2.2")}}) {
		all = tlv.AppendText(all, string(m.Append(nil)))
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		units := addresses("192.0.2.1", 4)
		p := newPeer(t, map[string][]Unit{"node-1": units[1:2], "node-2": nil}, units)
		for i := 0; len(b) > 0 && i < 100; i++ {
			n, size := binary.Uvarint(b)
			if size <= 0 {
				break
			}
			b = b[size:]
			n = min(n, uint64(len(b)))
			m, err := Decode(b[:n])
			b = b[n:]
			if err != nil {
				continue
			}
			p.now = p.now.Add(time.Duration(i) * 40 * time.Millisecond)
			for _, s := range p.step(Input{Messages: []Received{{From: []string{"node-1", "node-2", "stranger"}[i%3], Life: 9, Message: m}}}).Send {
				if _, err := Decode(s.Message.Append(nil)); err != nil {
					t.Fatalf("says %+v, which nobody takes: %v", s.Message, err)
				}
			}
		}
		out := p.step(Input{Verdicts: []Verdict{{Node: "node-1", Life: 9, State: Dead}}})
		for range 10 {
			for _, s := range out.Send {
				if _, err := Decode(s.Message.Append(nil)); err != nil {
					t.Fatalf("says %+v, which nobody takes: %v", s.Message, err)
				}
			}
			out = p.pass(300 * time.Millisecond)
		}
	})
}

func TestARefusedOfferGoesToTheNext(t *testing.T) {
	u := unitAt("192.0.2.1")
	p := newPeer(t, map[string][]Unit{"node-1": nil, "node-2": nil}, nil)
	p.step(Input{Units: map[Unit]Placement{u: {Candidates: []Candidate{{Node: "node-0"}}}}})
	p.step(Input{Units: map[Unit]Placement{u: {Candidates: []Candidate{{Node: "node-0"}, {Node: "node-1"}, {Node: "node-2"}}}}})
	offered := func(out Output) string {
		for _, s := range out.Send {
			if _, ok := s.Message.(*Offer); ok {
				return s.To[0]
			}
		}
		return ""
	}
	p.in.Leave = true
	first := offered(p.step(Input{}))
	second := offered(p.step(Input{Messages: []Received{{From: first, Life: 9, Message: &Refusal{Units: []Unit{u}}}}}))
	if first == "" || second == "" || first == second {
		t.Fatalf("offered to %q, and when that refused to %q", first, second)
	}
	out := p.step(Input{Messages: []Received{{From: second, Life: 9, Message: &Refusal{Units: []Unit{u}}}}})
	if offered(out) != "" || out.Left || p.m.Answer(u).As != Own {
		t.Errorf("when all refuse: left: %v, answers %+v", out.Left, p.m.Answer(u))
	}
	if offered(p.pass(declinedFor)) == "" {
		t.Error("nobody is asked again")
	}
}
