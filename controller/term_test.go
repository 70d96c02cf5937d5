package controller

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// emptyCache and emptyClient are the ways to a cluster that has nothing.
type (
	emptyCache  struct{ cache.Cache }
	emptyClient struct{ client.Client }
)

func (emptyCache) List(context.Context, client.ObjectList, ...client.ListOption) error  { return nil }
func (emptyClient) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestHowLongATermTookToBeginIsToldInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tm := termWith(&cluster{cache: emptyCache{}, client: emptyClient{}})
		var out bytes.Buffer
		tm.log = slog.New(slog.NewJSONHandler(&out, nil))
		now := noon
		tm.o.Mode, tm.o.Now = Observe, func() time.Time {
			now = now.Add(1234567891 * time.Nanosecond)
			return now
		}
		go tm.run(ctx)
		synctest.Wait()
		cancel()
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, `"leading"`) || !regexp.MustCompile(`"took":"[0-9]+\.[0-9]{1,3}s"`).MatchString(got) {
			t.Errorf("logged: %s", got)
		}
	})
}
