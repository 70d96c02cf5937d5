package program

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestProfilesAreServedOnLoopbackAlone(t *testing.T) {
	for _, address := range []string{":6060", "0.0.0.0:6060", "192.0.2.1:6060", "127.0.0.1", "localhost:6060", "[::]:6060"} {
		if err := ServePprof(t.Context(), address); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, none := range []string{"", "0"} {
		if err := ServePprof(t.Context(), none); err != nil {
			t.Error(err)
		}
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := ServePprof(t.Context(), address); err == nil {
		t.Error("a port that is taken is no error")
	}
	l.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := ServePprof(ctx, address); err != nil {
		t.Fatal(err)
	}
	r, err := http.Get("http://" + address + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Errorf("status %s", r.Status)
	}
}
