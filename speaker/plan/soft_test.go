package plan

import (
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestHoldDown(t *testing.T) {
	begin := time.Unix(1_000_000_000, 0)
	type step struct {
		at     time.Duration
		seen   Signals
		counts Signals
		wake   time.Duration // 0 for none
	}
	const s = time.Second
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"what is seen first counts at once", []step{{0, NotReady, NotReady, 0}}},
		{"a node is not Ready for a while before it counts", []step{{0, 0, 0, 0}, {s, NotReady, 0, 11 * s}, {5 * s, NotReady, 0, 11 * s}, {11 * s, NotReady, NotReady, 0}}},
		{"a short time does not count", []step{{0, 0, 0, 0}, {s, NotReady, 0, 11 * s}, {5 * s, 0, 0, 0}, {6 * s, NotReady, 0, 16 * s}, {16 * s, NotReady, NotReady, 0}}},
		{"nor does it cease to count at once", []step{{0, NotReady, NotReady, 0}, {s, 0, NotReady, 31 * s}, {31 * s, 0, 0, 0}}},
		{"nor because of a short time without", []step{{0, NotReady, NotReady, 0}, {s, 0, NotReady, 31 * s}, {30 * s, NotReady, NotReady, 0}, {31 * s, 0, NotReady, 61 * s}}},
		{"what an operator asks for counts at once, both ways", []step{{0, 0, 0, 0}, {s, Draining, Draining, 0}, {2 * s, 0, 0, 0}}},
		{"signals are held apart", []step{{0, 0, 0, 0}, {s, Cordoned | NotReady, 0, 2 * s}, {2 * s, Cordoned | NotReady, Cordoned, 11 * s}, {11 * s, Cordoned | NotReady, Cordoned | NotReady, 0}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var h HoldDown
			for _, step := range row.steps {
				counts, wake := h.See(begin.Add(step.at), "a", step.seen)
				var want time.Time
				if step.wake > 0 {
					want = begin.Add(step.wake)
				}
				if counts != step.counts || !wake.Equal(want) {
					t.Errorf("at %s counts %07b until %s, want %07b until %s", step.at, counts, wake.Sub(begin), step.counts, step.wake)
				}
			}
			h.Keep(func(node string) bool { return node != "a" })
			if counts, _ := h.See(begin.Add(time.Hour), "a", Cordoned); counts != Cordoned {
				t.Errorf("a node that was forgotten is still remembered: %07b", counts)
			}
		})
	}
}

func TestEverySignalHasAReasonAndWords(t *testing.T) {
	for bit := ViewStale; bit != 0; bit <<= 1 {
		if bit.Reason() == "" || InWords(bit.Reason()) == "" {
			t.Errorf("%07b has no reason, or no words", bit)
		}
	}
	for i, soft := range softSignals[1:] {
		if soft.bit >= softSignals[i].bit {
			t.Errorf("%s is not lighter than %s", soft.reason, softSignals[i].reason)
		}
	}
	if Signals(0).Reason() != "" || InWords(v1beta1.ReasonEligible) != "" {
		t.Error("no signals, and words for them")
	}
}
