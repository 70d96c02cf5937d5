package speaker

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(Quiet(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		lines := func(substring string) int { return strings.Count(out.String(), substring) }

		for i := range 500 { // 50 seconds
			log.Warn("API server away", "error", fmt.Sprint("attempt ", i))
			log.Warn(fmt.Sprintf("watch of revision %d ended", i))
			log.Warn("not eligible", "reason", []string{"NodeExcluded", "NoSpeaker"}[i%2])
			log.With("node", i).Info("told of a node")
			log.Debug("detail")
			time.Sleep(100 * time.Millisecond)
		}
		for substring, want := range map[string]int{
			"API server away": 10, "watch of revision": 10, "reason=NodeExcluded": 10, "reason=NoSpeaker": 10, "told of a node": 10, "detail": 500,
		} {
			if got := lines(substring); got != want {
				t.Errorf("%d lines with %q, want %d", got, substring, want)
			}
		}

		// Never more than ten in any minute; how many were left out is told.
		log.Info("something else")
		if lines("something else") != 1 {
			t.Error("another cause is silenced, too")
		}
		time.Sleep(15 * time.Second)
		log.Warn("API server away")
		if !strings.Contains(out.String(), "omitted=490") {
			t.Errorf("not told how many were left out:\n%s", out.String()[max(0, out.Len()-300):])
		}
		before := lines("API server away")
		for range 600 {
			log.Warn("API server away")
			time.Sleep(time.Second)
		}
		if got := lines("API server away") - before; got > 100 || got < 90 {
			t.Errorf("%d lines in ten minutes", got)
		}
	})
}

func TestQuietForgets(t *testing.T) {
	var out bytes.Buffer
	h := Quiet(slog.NewTextHandler(&out, nil))
	log := slog.New(h)
	for i := range 3 * quietCauses {
		log.Info("cause " + strings.Repeat("x", i))
	}
	if got := len(h.(quiet).causes.since); got > quietCauses {
		t.Errorf("%d causes remembered", got)
	}
	log.WithGroup("g").Info("grouped", "k", "v")
	if !strings.Contains(out.String(), "g.k=v") {
		t.Error("groups are lost")
	}
}
