package speaker

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestWhenItIsSaidAgain(t *testing.T) {
	words := func(s string) *metav1.Condition {
		return &metav1.Condition{Status: metav1.ConditionTrue, Reason: "Announced", Message: s}
	}
	const second = time.Second
	type step struct {
		after  time.Duration // since the first step
		uid    types.UID
		stands *metav1.Condition
		say    string
		done   bool // the herald has just ended with this very statement
		want   bool
		due    time.Duration // since the first step; 0 is never
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"once is enough, while it is on its way and when it is seen", []step{
			{0, "u", nil, "mine", false, true, 0},
			{second, "u", nil, "mine", false, false, 0},
			{2 * second, "u", words("mine"), "mine", false, false, 0},
			{time.Hour, "u", words("mine"), "mine", false, false, 0},
		}},
		{"something else is said at once", []step{
			{0, "u", nil, "mine", false, true, 0},
			{0, "u", nil, "mine now", false, true, 0},
		}},
		{"the same is said at once of another Service of the name", []step{
			{0, "u", nil, "mine", false, true, 0},
			{0, "v", nil, "mine", false, true, 0},
		}},
		{"what was written is given time to be seen", []step{
			{0, "u", nil, "mine", false, true, 0},
			{0, "u", nil, "mine", true, false, seenWithin},
			{second, "u", words("mine"), "mine", false, false, 0},
		}},
		{"what was written and never seen is said again", []step{
			{0, "u", nil, "mine", false, true, 0},
			{0, "u", words("theirs"), "mine", true, false, seenWithin},
			{seenWithin, "u", words("theirs"), "mine", false, true, 0},
		}},
		{"what another writer replaced is said again later and later", []step{
			{0, "u", nil, "mine", false, true, 0},
			{0, "u", words("mine"), "mine", false, false, 0},
			{0, "u", words("theirs"), "mine", false, false, second},
			{second, "u", words("theirs"), "mine", false, true, 0},
			{second, "u", words("mine"), "mine", false, false, 0},
			{second, "u", words("theirs"), "mine", false, false, 3 * second},
			{2 * second, "u", words("theirs"), "mine", false, false, 3 * second},
			{3 * second, "u", words("theirs"), "mine", false, true, 0},
			{3 * second, "u", words("mine"), "mine", false, false, 0},
			{3 * second, "u", words("theirs"), "mine", false, false, 7 * second},
			{time.Hour, "u", words("theirs"), "mine", false, true, 0},
			{time.Hour, "u", words("mine"), "mine", false, false, 0},
			{3 * time.Hour, "u", words("theirs"), "mine", false, false, 3*time.Hour + second},
		}},
		{"and not at all when they came to say the same", []step{
			{0, "u", nil, "mine", false, true, 0},
			{0, "u", words("mine"), "mine", false, false, 0},
			{0, "u", words("theirs"), "mine", false, false, second},
			{second / 2, "u", words("mine"), "mine", false, false, 0},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newSpeech()
			for i, s := range row.steps {
				now := start.Add(s.after)
				p.take(now)
				if s.done {
					p.finished(now, webKey, statement{uid: s.uid, say: *words(s.say)})
				}
				if got := p.utter(now, webKey, s.uid, s.stands, *words(s.say)); got != s.want {
					t.Fatalf("step %d: said %v, want %v", i, got, s.want)
				}
				var want time.Time
				if s.due != 0 {
					want = start.Add(s.due)
				}
				if got := p.waiting(); !got.Equal(want) {
					t.Fatalf("step %d: due after %v, want %v", i, got.Sub(start), s.due)
				}
			}
		})
	}
}

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// A fight with a writer that never gives in costs a few writes an hour.
func TestAFightIsSlow(t *testing.T) {
	p, said := newSpeech(), 0
	mine := metav1.Condition{Status: metav1.ConditionTrue, Reason: "Announced"}
	theirs := metav1.Condition{Status: metav1.ConditionFalse, Reason: "NoEligibleNode"}
	for now := start; now.Before(start.Add(time.Hour)); now = now.Add(100 * time.Millisecond) {
		if p.utter(now, webKey, "u", &theirs, mine) {
			said++
			p.utter(now, webKey, "u", &mine, mine)
		}
	}
	if said < 10 || said > 22 {
		t.Errorf("said %d times in an hour", said)
	}
}

func TestAVerdictThatAMissingSpeakerMayKnowBetterIsHeldBack(t *testing.T) {
	for _, row := range []struct {
		name    string
		reason  string
		owned   bool
		missing bool
		held    bool
	}{
		{"nobody is seen to own it, and one is missing", "NoEligibleNode", false, true, true},
		{"the one that has the interface may be missing", "NoInterface", false, true, true},
		{"all are heard", "NoEligibleNode", false, false, false},
		{"an address has an owner", "Announced", true, true, false},
		{"that there are no endpoints, all know", "NoEndpoint", false, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newSpeech()
			v := verdict{writer: true, owned: row.owned, settled: true, condition: metav1.Condition{Reason: row.reason}}
			for _, after := range []time.Duration{0, holdBack - 1} {
				if got := p.holds(start.Add(after), webKey, v, row.missing); got != row.held {
					t.Fatalf("after %v: held back %v", after, got)
				}
			}
			if row.held && !p.waiting().Equal(start.Add(holdBack)) {
				t.Errorf("looked at again at %v", p.waiting())
			}
			if p.holds(start.Add(holdBack), webKey, v, row.missing) {
				t.Error("held back for ever")
			}
		})
	}
}
