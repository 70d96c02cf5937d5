package lab

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Enable is the environment variable that must be set for tests to make labs:
// they need root, and minutes the first time.
const Enable = "CLARION_LAB"

var labsOfThisTest atomic.Int32

// Up makes a lab for a test, and takes it down when the test ends, however that
// is. Without [Enable] in the environment the test is skipped. When the test
// fails, the logs of every process are kept and their place is told.
func Up(t testing.TB, o Options) *Lab {
	t.Helper()
	if os.Getenv(Enable) == "" {
		t.Skipf("makes a lab, which needs root: set %s=1", Enable)
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("test-%d-%d", os.Getpid(), labsOfThisTest.Add(1))
	}
	if o.Progress == nil {
		o.Progress = func(line string) { t.Log(line) }
	}
	release := func() {}
	if !o.Keep {
		var err error
		if release, err = Guard(o.Name); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Create(t.Context(), o)
	if err != nil {
		release()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer release()
		if _, err := os.Stat(l.Dir()); err == nil && t.Failed() {
			if kept, err := l.KeepLogs(); err != nil {
				t.Log(err)
			} else {
				t.Logf("the logs of every process are in %s", kept)
			}
		}
		if o.Keep {
			t.Logf("lab %s is left up", l.Name)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := Destroy(ctx, l.Name); err != nil {
			t.Error(err)
		}
	})
	return l
}
