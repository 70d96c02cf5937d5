package program

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"
)

func TestTenLinesAMinuteOfEachCause(t *testing.T) {
	var out bytes.Buffer
	h := Quiet(slog.NewTextHandler(&out, nil))
	start := time.Unix(1_000_000, 0)
	say := func(at time.Duration, level slog.Level, message string) {
		if err := h.Handle(context.Background(), slog.NewRecord(start.Add(at), level, message, 0)); err != nil {
			t.Fatal(err)
		}
	}
	lines := func() int { n := strings.Count(out.String(), "\n"); out.Reset(); return n }

	for i := range 50 {
		say(time.Duration(i)*time.Second, slog.LevelInfo, "the cable is cut")
	}
	if n := lines(); n != 10 {
		t.Errorf("%d lines of one cause in a minute", n)
	}
	say(51*time.Second, slog.LevelInfo, "something else")
	say(51*time.Second, slog.LevelError, "the cable is cut")
	if n := lines(); n != 2 {
		t.Errorf("%d lines of two other causes", n)
	}
	say(60*time.Second, slog.LevelInfo, "the cable is cut")
	if got := out.String(); !strings.Contains(got, "suppressed=40") {
		t.Errorf("the next minute begins with %q", got)
	}
	out.Reset()

	h = h.WithAttrs([]slog.Attr{slog.String("part", "x")}).WithGroup("g")
	for range 50 {
		say(61*time.Second, slog.LevelInfo, "the cable is cut")
	}
	if n := lines(); n != 9 {
		t.Errorf("%d more lines by a logger made from the first", n)
	}
	for i := range 3 * quietCauses {
		say(62*time.Second, slog.LevelInfo, fmt.Sprint("cause ", i))
	}
	if n := lines(); n != 3*quietCauses {
		t.Errorf("%d lines of %d causes", n, 3*quietCauses)
	}
}

func TestTheEnvironmentSetsWhatFlagsDoNot(t *testing.T) {
	var name, other string
	s := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.StringVar(&name, "node-name", "", "")
	s.StringVar(&other, "other", "default", "")
	if err := s.Parse([]string{"--node-name=flag"}); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"CLARION_NODE_NAME": "environment", "CLARION_OTHER": "environment"}
	lookup := func(k string) (string, bool) { v, ok := environment[k]; return v, ok }
	if err := FromEnvironment(s, lookup); err != nil || name != "flag" || other != "environment" {
		t.Errorf("%q, %q, %v", name, other, err)
	}

	var version bool
	s.BoolVar(&version, "version", false, "")
	s.BoolP("help", "h", false, "")
	environment["CLARION_VERSION"], environment["CLARION_HELP"] = "v1.2.3", "me"
	if err := FromEnvironment(s, lookup); err != nil || version || s.Changed("version") || s.Changed("help") {
		t.Errorf("what asks the program something is set by the environment: %v", err)
	}

	var port int
	s.IntVar(&port, "port", 0, "")
	environment["CLARION_PORT"] = "many"
	if err := FromEnvironment(s, lookup); err == nil || !strings.Contains(err.Error(), "CLARION_PORT") {
		t.Errorf("a wrong value: %v", err)
	}
}

func TestWrongLogSettingsAreRefusedWithAdvice(t *testing.T) {
	for _, l := range []Logs{{"loud", "json"}, {"info", "xml"}} {
		if _, err := l.Handler(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "give") {
			t.Errorf("%+v: %v", l, err)
		}
	}
	var out bytes.Buffer
	h, err := (&Logs{"warn", "text"}).Handler(&out)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(h)
	log.Info("not this")
	log.Warn("this")
	if got := out.String(); !strings.Contains(got, "msg=this") || strings.Contains(got, "not this") {
		t.Errorf("%q", got)
	}
}

func TestTheVersionIsAMetric(t *testing.T) {
	want := fmt.Sprintf(`# HELP clarion_build_info Always 1; the labels say which version of which component runs.
# TYPE clarion_build_info gauge
clarion_build_info{component="speaker",goversion=%q,version="v1"} 1
`, runtime.Version())
	if err := testutil.CollectAndCompare(BuildInfo("speaker", "v1"), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
