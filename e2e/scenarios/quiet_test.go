package scenarios

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/clarion-lb/clarion/e2e/stage"
)

// logged returns what all of Clarion's containers have logged, "10s" for the last ten seconds, or all of it for "0".
func (s *story) logged(since string) string {
	s.Helper()
	return s.kubectl("-n", stage.Namespace, "logs", "--selector", "app.kubernetes.io/name=clarion", "--since="+since, "--tail=-1", "--max-log-requests=20")
}

// nothingHappens wants a while without a line in any log and without a write to the API server. Machines that are busy with other
// things make for a line now and then, but what is said again and again is in every such while.
func nothingHappens(s *story) {
	s.reach(s.serve(stage.Web{Name: "web"})...)
	client, err := s.lab.Clientset()
	s.must(err)
	const while = 15 * time.Second
	s.eventually(2*time.Minute, func() error {
		before, err := apiWrites(s.ctx, client)
		s.must(err)
		time.Sleep(while)
		after, err := apiWrites(s.ctx, client)
		s.must(err)
		if lines := s.logged(while.String()); lines != "" || after != before {
			return fmt.Errorf("in %v there were %.0f writes, and was logged:\n%s", while, after-before, lines)
		}
		return nil
	})
}

// logsAreForPrograms wants every line that was ever logged to be one for a program to read.
func logsAreForPrograms(s *story) {
	type cause struct{ level, message string }
	lines := map[cause]int{}
	for text := range strings.Lines(s.logged("0")) {
		var line struct {
			Time       time.Time `json:"time"`
			Level      string    `json:"level"`
			Message    string    `json:"msg"`
			Suppressed int       `json:"suppressed"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Time.IsZero() || line.Level == "" || line.Message == "" {
			s.Errorf("a line that is no JSON object with time, level and msg: %s", text)
		}
		if line.Suppressed > 0 {
			s.Logf("%d more lines were held back: %s", line.Suppressed, text)
		}
		lines[cause{line.Level, line.Message}]++
	}
	if len(lines) == 0 {
		s.Error("nothing was logged")
	}
	for c, n := range lines {
		s.Logf("%4d %s %s", n, c.level, c.message)
	}
}
