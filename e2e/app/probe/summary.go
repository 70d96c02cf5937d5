package probe

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Failure says how an attempt failed.
type Failure string

const (
	None          Failure = ""
	ConnectLate   Failure = "connect timeout"    // no SYN-ACK in time
	Refused       Failure = "connection refused" // a RST instead of a SYN-ACK
	Unreachable   Failure = "unreachable"        // no route, or no neighbour answered
	Reset         Failure = "connection reset"   // a RST after the connection stood
	AnswerLate    Failure = "answer timeout"     // connected, and nothing came in time
	AnswerInvalid Failure = "invalid answer"     // not what the test server says
	Other         Failure = "other"              // see Attempt.Error
)

// Attempt is one connection to one target.
type Attempt struct {
	Target netip.AddrPort `json:"target"`
	Local  netip.AddrPort `json:"local"` // where it came from
	Start  time.Time      `json:"start"` // when its SYN left
	// Connected and Took are the time until the connection stood and until all was over.
	Connected time.Duration `json:"connected_ns"`
	Took      time.Duration `json:"took_ns"`
	// Retransmits is how often the SYN was sent again.
	Retransmits int     `json:"retransmits,omitempty"`
	Pod         string  `json:"pod,omitempty"`
	Node        string  `json:"node,omitempty"`
	Failure     Failure `json:"failure,omitempty"`
	Error       string  `json:"error,omitempty"`
}

// Summary is what the attempts at one target amount to.
type Summary struct {
	Target   netip.AddrPort `json:"target"`
	Attempts int            `json:"attempts"`
	Failures int            `json:"failures"`
	// Reasons counts the failures by their kind.
	Reasons map[Failure]int `json:"reasons,omitempty"`
	// Gap goes from the first failed attempt to the last one. A single failed attempt makes a gap of 0.
	Gap time.Duration `json:"gap_ns"`
	// Longest is the longest gap in which no attempt succeeded.
	Longest      time.Duration `json:"longest_ns"`
	FirstFailure time.Time     `json:"first_failure,omitzero"`
	LastFailure  time.Time     `json:"last_failure,omitzero"`
	// FirstFailures are the first attempts that failed, at most maxFirstFailures, for somebody who wants to know why.
	FirstFailures []Attempt `json:"first_failures,omitempty"`
	// Retransmitted counts the attempts whose SYN was sent more than once.
	Retransmitted int `json:"retransmitted"`
	// Median, P99 and Slowest are of the time that successful attempts took to connect.
	Median  time.Duration `json:"median_ns"`
	P99     time.Duration `json:"p99_ns"`
	Slowest time.Duration `json:"slowest_ns"`
	// Pause is the longest time between two attempts: if it is much more than the interval, the prober was starved
	// and shorter gaps than that may have gone unseen.
	Pause time.Duration `json:"pause_ns"`
	// Answers are who answered, in the order in which they were first heard.
	Answers []Answers `json:"answers,omitempty"`
}

// maxFirstFailures bounds Summary.FirstFailures.
const maxFirstFailures = 5

// Answers are the successful attempts that one Pod served.
type Answers struct {
	Pod   string    `json:"pod"`
	Node  string    `json:"node"`
	Count int       `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// Summarize judges the attempts of each target, given in any order. Targets come in the order of their addresses.
func Summarize(attempts []Attempt) []Summary {
	byTarget := map[netip.AddrPort][]Attempt{}
	for _, a := range attempts {
		byTarget[a.Target] = append(byTarget[a.Target], a)
	}
	var summaries []Summary
	for target, attempts := range byTarget {
		slices.SortStableFunc(attempts, func(x, y Attempt) int { return x.Start.Compare(y.Start) })
		s := summarize(attempts)
		s.Target = target
		summaries = append(summaries, s)
	}
	slices.SortFunc(summaries, func(x, y Summary) int { return x.Target.Compare(y.Target) })
	return summaries
}

// summarize judges attempts at one target in the order of their start.
func summarize(attempts []Attempt) Summary {
	s := Summary{Attempts: len(attempts)}
	var connected []time.Duration
	var run time.Time // start of the unbroken run of failures that is under way
	served := map[Answers]int{}
	for i, a := range attempts {
		if i > 0 {
			s.Pause = max(s.Pause, a.Start.Sub(attempts[i-1].Start))
		}
		if a.Retransmits > 0 {
			s.Retransmitted++
		}
		if a.Failure != None {
			if s.Failures == 0 {
				s.FirstFailure = a.Start
				s.Reasons = map[Failure]int{}
			}
			s.Failures++
			s.Reasons[a.Failure]++
			s.LastFailure = a.Start
			if len(s.FirstFailures) < maxFirstFailures {
				s.FirstFailures = append(s.FirstFailures, a)
			}
			if run.IsZero() {
				run = a.Start
			}
			s.Longest = max(s.Longest, a.Start.Sub(run))
			continue
		}
		run = time.Time{}
		connected = append(connected, a.Connected)
		if a.Pod == "" && a.Node == "" {
			continue
		}
		who := Answers{Pod: a.Pod, Node: a.Node}
		at, known := served[who]
		if !known {
			at = len(s.Answers)
			served[who] = at
			who.First = a.Start
			s.Answers = append(s.Answers, who)
		}
		s.Answers[at].Count++
		s.Answers[at].Last = a.Start
	}
	if s.Failures > 0 {
		s.Gap = s.LastFailure.Sub(s.FirstFailure)
	}
	if len(connected) > 0 {
		slices.Sort(connected)
		s.Median, s.P99, s.Slowest = quantile(connected, 0.5), quantile(connected, 0.99), connected[len(connected)-1]
	}
	return s
}

// Unexplained returns the failed attempts at a target that nothing but the target explains. The others in attempts are
// controls: what they suffered at the same time, lateness that is more than half the timeout included, the machine or the
// network did to all. Only what came too late is explained by that: a refusal or a reset never is.
func Unexplained(attempts []Attempt, target netip.AddrPort, timeout time.Duration) []Attempt {
	var suffered, left []Attempt
	for _, a := range attempts {
		if a.Target != target && (a.Failure != None || a.Took > timeout/2) {
			suffered = append(suffered, a)
		}
	}
	for _, a := range attempts {
		if a.Target != target || a.Failure == None {
			continue
		}
		late := a.Failure == ConnectLate || a.Failure == AnswerLate
		if !late || !slices.ContainsFunc(suffered, func(c Attempt) bool {
			return c.Start.Before(a.Start.Add(a.Took)) && a.Start.Before(c.Start.Add(c.Took))
		}) {
			left = append(left, a)
		}
	}
	return left
}

// quantile takes the nearest rank of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// String says it in one line, with what matters first.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: %d of %d attempts failed", s.Target, s.Failures, s.Attempts)
	if s.Failures > 0 {
		fmt.Fprintf(&b, " (%s), gap %v, longest %v", reasons(s.Reasons), round(s.Gap), round(s.Longest))
	}
	if s.Attempts > s.Failures {
		fmt.Fprintf(&b, ", connected in %v median, %v p99, %v at most", round(s.Median), round(s.P99), round(s.Slowest))
	}
	if s.Retransmitted > 0 {
		fmt.Fprintf(&b, ", %d with a SYN sent again", s.Retransmitted)
	}
	for i, a := range s.Answers {
		separator := "; answered by "
		if i > 0 {
			separator = ", "
		}
		fmt.Fprintf(&b, "%s%s on %s (%d)", separator, a.Pod, a.Node, a.Count)
	}
	for i, a := range s.FirstFailures {
		separator := "; failed: "
		if i > 0 {
			separator = ", "
		}
		fmt.Fprintf(&b, "%s%s", separator, a.failure())
	}
	return b.String()
}

// failure says when and from which port an attempt was made, how it failed and after how long.
func (a Attempt) failure() string {
	text := fmt.Sprintf("%s at %s", a.Failure, a.Start.UTC().Format("15:04:05.000"))
	if a.Local.IsValid() {
		text += fmt.Sprintf(" from port %d", a.Local.Port())
	}
	text += fmt.Sprintf(" after %v", round(a.Took))
	if a.Retransmits > 0 {
		text += fmt.Sprintf(", sent %d times", 1+a.Retransmits)
	}
	if a.Error != "" {
		text += " (" + a.Error + ")"
	}
	return text
}

func reasons(counts map[Failure]int) string {
	var parts []string
	for reason, n := range counts {
		parts = append(parts, fmt.Sprintf("%s %d", reason, n))
	}
	slices.SortFunc(parts, cmp.Compare)
	return strings.Join(parts, ", ")
}

// round keeps what can be meant: a tenth of a millisecond.
func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
