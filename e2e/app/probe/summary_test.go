package probe

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	t0     = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	target = netip.MustParseAddrPort("192.0.2.10:80")
)

// attempts draws a run in letters, one attempt every 10 ms: a and b are answers of two Pods, . is a connection without
// an answer to it, x is a timeout, r a refusal, _ no attempt at all, and an upper-case letter had its SYN sent again.
func attempts(drawing string) []Attempt {
	var all []Attempt
	for i, c := range drawing {
		a := Attempt{Target: target, Start: t0.Add(time.Duration(i) * 10 * time.Millisecond), Connected: time.Millisecond}
		if c >= 'A' && c <= 'Z' {
			a.Retransmits = 1
			c += 'a' - 'A'
		}
		switch c {
		case 'a':
			a.Pod, a.Node = "web-a", "node1"
		case 'b':
			a.Pod, a.Node = "web-b", "node2"
		case '.':
		case 'x':
			a.Connected, a.Failure = 0, ConnectLate
		case 'r':
			a.Connected, a.Failure = 0, Refused
		case '_':
			continue
		default:
			panic("no such attempt: " + string(c))
		}
		all = append(all, a)
	}
	return all
}

func TestSummary(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, test := range map[string]struct {
		drawing                 string
		failures, retransmitted int
		gap, longest, pause     time.Duration
		reasons, answers        string
	}{
		"nothing failed":                              {"aaaaa", 0, 0, 0, 0, ms(10), "", "web-a 5"},
		"a gap goes from first to last failure":       {"aaxxxxbb", 4, 0, ms(30), ms(30), ms(10), "connect timeout 4", "web-a 2, web-b 2"},
		"one lost attempt is a gap of nothing":        {"aaxaa", 1, 0, 0, 0, ms(10), "connect timeout 1", "web-a 4"},
		"an answer within the gap does not end it":    {"axxxaxxa", 5, 0, ms(50), ms(20), ms(10), "connect timeout 5", "web-a 3"},
		"the longest run may be the last":             {"axaxxxx", 5, 0, ms(50), ms(30), ms(10), "connect timeout 5", "web-a 2"},
		"failures at either end count":                {"xxaxx", 4, 0, ms(40), ms(10), ms(10), "connect timeout 4", "web-a 1"},
		"nobody ever answered":                        {"xxxx", 4, 0, ms(30), ms(30), ms(10), "connect timeout 4", ""},
		"kinds of failure are told apart":             {"axrra", 3, 0, ms(20), ms(20), ms(10), "connect timeout 1, connection refused 2", "web-a 2"},
		"a late SYN is no failure, but is told":       {"aAAa", 0, 2, 0, 0, ms(10), "", "web-a 4"},
		"a lost SYN that was sent again counts twice": {"aXa", 1, 1, 0, 0, ms(10), "connect timeout 1", "web-a 2"},
		"a starved prober shows":                      {"aa____aa", 0, 0, 0, 0, ms(50), "", "web-a 4"},
		"connections alone name nobody":               {"....", 0, 0, 0, 0, ms(10), "", ""},
		"answers come in the order of their first":    {"babba", 0, 0, 0, 0, ms(10), "", "web-b 3, web-a 2"},
	} {
		t.Run(name, func(t *testing.T) {
			all := attempts(test.drawing)
			s := Summarize(all)[0]
			if s.Attempts != len(all) || s.Failures != test.failures || s.Retransmitted != test.retransmitted {
				t.Errorf("%d attempts, %d failures, %d sent again; want %d, %d, %d",
					s.Attempts, s.Failures, s.Retransmitted, len(all), test.failures, test.retransmitted)
			}
			if s.Gap != test.gap || s.Longest != test.longest || s.Pause != test.pause {
				t.Errorf("gap %v, longest %v, pause %v; want %v, %v, %v", s.Gap, s.Longest, s.Pause, test.gap, test.longest, test.pause)
			}
			if got := reasons(s.Reasons); got != test.reasons {
				t.Errorf("reasons %q, want %q", got, test.reasons)
			}
			var served []string
			for _, a := range s.Answers {
				served = append(served, a.Pod+" "+string(rune('0'+a.Count)))
			}
			if got := strings.Join(served, ", "); got != test.answers {
				t.Errorf("answers %q, want %q", got, test.answers)
			}

			rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			if got := Summarize(all)[0]; !reflect.DeepEqual(got, s) {
				t.Errorf("the same attempts in another order give %+v, want %+v", got, s)
			}
		})
	}
}

func TestSummaryOfNothingIsNothing(t *testing.T) {
	if got := Summarize(nil); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestTargetsAreJudgedApart(t *testing.T) {
	other := netip.MustParseAddrPort("[2001:db8::10]:80")
	all := attempts("aaaa")
	for _, a := range attempts("xxxx") {
		a.Target = other
		all = append(all, a)
	}
	got := Summarize(all)
	if len(got) != 2 || got[0].Target != target || got[0].Failures != 0 || got[1].Target != other || got[1].Failures != 4 {
		t.Errorf("got %v", got)
	}
}

func TestUnexplained(t *testing.T) {
	ms := time.Millisecond
	control := netip.MustParseAddrPort("192.0.2.20:80")
	at := func(to netip.AddrPort, start, took time.Duration, f Failure) Attempt {
		return Attempt{Target: to, Start: t0.Add(start), Took: took, Failure: f}
	}
	for name, test := range map[string]struct {
		attempts []Attempt
		want     int
	}{
		"nothing failed": {[]Attempt{at(target, 0, ms, None), at(control, 0, ms, None)}, 0},
		"a failure while the control goes well is the target's":         {[]Attempt{at(target, 0, 500*ms, ConnectLate), at(control, 10*ms, ms, None)}, 1},
		"without a control it is the target's":                          {[]Attempt{at(target, 0, 500*ms, ConnectLate)}, 1},
		"one at the same time as the control's is not":                  {[]Attempt{at(target, 0, 500*ms, ConnectLate), at(control, 10*ms, 500*ms, ConnectLate)}, 0},
		"nor while an answer at the control is almost too late":         {[]Attempt{at(target, 0, 500*ms, AnswerLate), at(control, 400*ms, 260*ms, None)}, 0},
		"a control that failed before or after explains nothing":        {[]Attempt{at(control, 0, 500*ms, ConnectLate), at(target, time.Second, 500*ms, ConnectLate), at(control, 2*time.Second, 500*ms, ConnectLate)}, 1},
		"a reset is the target's, whatever happens to the control":      {[]Attempt{at(target, 0, 500*ms, Reset), at(control, 0, 500*ms, Reset)}, 1},
		"a failed attempt at the target is no control for the next one": {[]Attempt{at(target, 0, 500*ms, ConnectLate), at(target, 10*ms, 500*ms, ConnectLate)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Unexplained(test.attempts, target, 500*ms); len(got) != test.want {
				t.Errorf("got %v, want %d", got, test.want)
			}
		})
	}
}

func TestQuantiles(t *testing.T) {
	var all []Attempt
	for i := range 100 {
		all = append(all, Attempt{Target: target, Start: t0.Add(time.Duration(i)), Connected: time.Duration(100-i) * time.Millisecond})
	}
	s := Summarize(all)[0]
	if s.Median != 51*time.Millisecond || s.P99 != 100*time.Millisecond || s.Slowest != 100*time.Millisecond {
		t.Errorf("median %v, p99 %v, slowest %v", s.Median, s.P99, s.Slowest)
	}
}

func TestSummaryReadsAsALine(t *testing.T) {
	want := "192.0.2.10:80: 4 of 8 attempts failed (connect timeout 4), gap 30ms, longest 30ms, " +
		"connected in 1ms median, 1ms p99, 1ms at most; answered by web-a on node1 (2), web-b on node2 (2); " +
		"failed: connect timeout at 12:00:00.020 after 0s, connect timeout at 12:00:00.030 after 0s, " +
		"connect timeout at 12:00:00.040 after 0s, connection reset at 12:00:00.050 from port 4242 after 2ms, sent 2 times (read: broken)"
	all := attempts("aaxxxxbb")
	last := &all[5]
	last.Failure, last.Error, last.Took, last.Retransmits = Reset, "read: broken", 2*time.Millisecond, 1
	last.Local = netip.MustParseAddrPort("192.0.2.9:4242")
	want = strings.Replace(want, "(connect timeout 4)", "(connect timeout 3, connection reset 1)", 1)
	want = strings.Replace(want, "; answered", ", 1 with a SYN sent again; answered", 1)
	if got := Summarize(all)[0].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSummaryAsJSONSurvivesTheTrip(t *testing.T) {
	want := Summarize(attempts("aaXxxxbb"))[0]
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Summary
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
