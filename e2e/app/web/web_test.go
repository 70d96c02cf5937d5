package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serve starts a server on loopback and returns its address, what stops it, and where its end is told.
func serve(t *testing.T, o Options) (string, context.CancelFunc, <-chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	addresses, done := make(chan []net.Addr, 1), make(chan error, 1)
	o.Ready = func(a []net.Addr) { addresses <- a }
	go func() { done <- Serve(ctx, o) }()
	select {
	case a := <-addresses:
		return a[0].String(), stop, done
	case err := <-done:
		t.Fatal(err)
	}
	return "", nil, nil
}

func TestAnswersWhoItIsAndWhomItSees(t *testing.T) {
	for name, listen := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		t.Run(name, func(t *testing.T) {
			if l, err := net.Listen("tcp", listen); err != nil {
				t.Skipf("%s is not there: %v", name, err)
			} else {
				l.Close()
			}
			address, _, _ := serve(t, Options{Listen: []string{listen}, Pod: "web-1", Node: "node2"})
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			var got Answer
			if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			want := Answer{Pod: "web-1", Node: "node2", Client: c.LocalAddr().String(), Server: address}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestHandler(t *testing.T) {
	for name, test := range map[string]struct {
		method, target, body string
		status               int
		want                 string
		took                 time.Duration
	}{
		"health":                         {"GET", "/healthz", "", 200, "ok\n", 0},
		"echo gives the body back":       {"POST", "/echo", "tell me", 200, "tell me", 0},
		"slow answers after a second":    {"GET", "/slow", "", 200, `"pod":"web-1"`, time.Second},
		"slow answers when asked to":     {"GET", "/slow?for=3s", "", 200, `"pod":"web-1"`, 3 * time.Second},
		"slow wants a duration":          {"GET", "/slow?for=3", "", 400, `for="3" must be a duration like 500ms`, 0},
		"slow wants no endless duration": {"GET", "/slow?for=9999h", "", 400, "of at most 1h", 0},
		"hold wants a positive period":   {"GET", "/hold?every=-1s", "", 400, `every="-1s" must be`, 0},
		"hold holds for a minute":        {"GET", "/hold", "", 200, `"pod":"web-1"`, time.Minute},
		"unknown path":                   {"GET", "/other", "", 404, "not found", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w := httptest.NewRecorder()
				r := httptest.NewRequestWithContext(t.Context(), test.method, test.target, strings.NewReader(test.body))
				Handler("web-1", "node2").ServeHTTP(w, r)
				if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
					t.Errorf("got %d %q, want %d and %q", w.Code, w.Body, test.status, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
			})
		})
	}
}

func TestHoldSaysALineInEachPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		Handler("web-1", "node2").ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/hold?for=950ms&every=100ms", nil))
		if got := strings.Count(w.Body.String(), "\n"); got != 10 {
			t.Errorf("%d lines, want one at the start and one in each of nine periods: %s", got, w.Body)
		}
	})
}

func TestServerGoesOnWhileDraining(t *testing.T) {
	const drain = 300 * time.Millisecond
	address, stop, done := serve(t, Options{Listen: []string{"127.0.0.1:0"}, Pod: "web-1", Node: "node2", Drain: drain})
	told := time.Now()
	stop()
	// A new connection each time: keep-alive would not show that it still accepts.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answered := 0
	for {
		response, err := client.Get("http://" + address)
		if err != nil {
			break
		}
		response.Body.Close()
		answered++
	}
	refused := time.Since(told)
	if answered == 0 || refused < drain {
		t.Errorf("%d answers, then refused after %v, want answers for %v", answered, refused, drain)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServerStopsWithOpenConnections(t *testing.T) {
	address, stop, done := serve(t, Options{Listen: []string{"127.0.0.1:0"}})
	response, err := http.Get("http://" + address + "/hold")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the held connection ended as if it were complete")
	}
}

func TestServeSaysWhichAddressIsTaken(t *testing.T) {
	address, _, _ := serve(t, Options{Listen: []string{"127.0.0.1:0"}})
	err := Serve(t.Context(), Options{Listen: []string{"127.0.0.1:0", address}})
	if err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("got error %v, want one that names %s", err, address)
	}
}
