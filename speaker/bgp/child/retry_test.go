package child

import (
	"testing"
	"time"
)

func TestRetryDelay(t *testing.T) {
	const second = time.Second
	for _, row := range []struct {
		name    string
		failure failure
		n       int
		connect time.Duration
		want    time.Duration // where chance shortens nothing
	}{
		{"nobody answered: connectTime", unanswered, 0, 5 * second, 5 * second},
		{"nobody answered for long: still connectTime", unanswered, 9, 5 * second, 5 * second},
		{"the first refusal: the router may be just starting", refused, 1, 5 * second, second},
		{"a short connectTime is never lengthened by that", refused, 1, second / 2, second / 2},
		{"the second: connectTime", refused, 2, 5 * second, 5 * second},
		{"the third: twice that", refused, 3, 5 * second, 10 * second},
		{"a router that refuses for ever is asked every half minute", refused, 1000, 5 * second, 30 * second},
		{"a longer connectTime is the most there is", refused, 1000, 120 * second, 120 * second},
		{"a session that was fine: at once, nearly", lost, 0, 5 * second, second / 5},
		{"ended by the router's operator: connectTime", dismissed, 0, 5 * second, 5 * second},
		{"ended by us, to make it again: at once", renewed, 0, 5 * second, 0},
	} {
		if got := retryDelay(row.failure, row.n, row.connect, 0); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		if got := retryDelay(row.failure, row.n, row.connect, 1); got != row.want*3/4 {
			t.Errorf("%s: %s at the least, want %s", row.name, got, row.want*3/4)
		}
	}
}
