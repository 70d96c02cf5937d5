package inspect

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/fstest"
)

type source struct{ asked int }

func (s *source) Inspect(context.Context, Question) (Report, error) { s.asked++; return Report{}, nil }
func (s *source) Simulate(context.Context, Event, string) (Simulation, error) {
	s.asked++
	return Simulation{}, nil
}

func TestOnlyTheNodeItselfIsAnswered(t *testing.T) {
	s := &source{}
	h := Handler(s)
	for from, want := range map[string]int{
		"127.0.0.1:999": http.StatusOK, "[::1]:999": http.StatusOK, "[::ffff:127.0.0.1]:999": http.StatusOK,
		"192.0.2.1:999": http.StatusForbidden, "[fe80::1%eth0]:999": http.StatusForbidden, "": http.StatusForbidden,
	} {
		r := httptest.NewRequest(http.MethodGet, "/inspect", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %q: %d", from, w.Code)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/simulate?drain=a", nil)
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed || s.asked != 3 {
		t.Errorf("a POST: %d; %d answers", w.Code, s.asked)
	}
}

func TestTheHostIsReadAsTheKernelTakesIt(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text + "\n")} }
	proc := fstest.MapFS{
		"sys/net/core/optmem_max":                file("20480"),
		"sys/net/ipv4/conf/all/arp_ignore":       file("0"),
		"sys/net/ipv4/conf/eth0.7/arp_ignore":    file("2"),
		"sys/net/ipv4/conf/all/rp_filter":        file("2"),
		"sys/net/ipv4/conf/eth0.7/rp_filter":     file("1"),
		"sys/net/ipv4/conf/eth0.7/proxy_arp":     file("1"),
		"sys/net/ipv6/conf/eth0.7/proxy_ndp":     file("1"),
		"sys/net/ipv4/conf/kube-ipvs0/rp_filter": file("0"),
		"net/route": file("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n" +
			"eth1\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\neth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"),
	}
	h := ReadHost(proc, []Link{{Name: "eth0.7", Up: true}})
	if l := h.Links[0]; l.ARPIgnore != 2 || l.RPFilter != 2 || !l.ProxyARP || !l.ProxyNDP || !l.Up {
		t.Errorf("%+v", l)
	}
	if h.OptmemMax != 20480 || !h.IPVS || !slices.Equal(h.DefaultVia, []string{"eth1"}) {
		t.Errorf("%+v", h)
	}
	if h := ReadHost(fstest.MapFS{}, nil); h.OptmemMax != 0 || h.IPVS || h.DefaultVia != nil {
		t.Errorf("of nothing: %+v", h)
	}
}
