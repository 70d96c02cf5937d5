package speaker

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(url string) string {
	response, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body)))
}

func TestHealth(t *testing.T) {
	address, ready := freeAddress(t), &readiness{waits: []string{"the API server", "gossip"}}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serveHealth(ctx, address, ready) }()
	for deadline := time.Now().Add(5 * time.Second); get("http://"+address+"/healthz") != "200 ok"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not healthy")
		}
	}
	if got := get("http://" + address + "/readyz"); got != "503 waiting for the API server, gossip" {
		t.Errorf("readyz says %q", got)
	}
	ready.set(nil)
	if got := get("http://" + address + "/readyz"); got != "200 ok" {
		t.Errorf("readyz says %q", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := serveHealth(t.Context(), "nowhere:99999", ready); err == nil {
		t.Error("listens nowhere")
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	m := newMeters(r, func() layer2.Counters {
		return layer2.Counters{
			Answered: map[layer2.Family]uint64{layer2.IPv4: 7},
			Dropped:  map[layer2.Family]map[layer2.DropReason]uint64{layer2.IPv6: {"some": 3}},
		}
	}, func() gossip.Counters { return gossip.Counters{Refused: 2} })
	m.owned.Set(5)
	m.moves.WithLabelValues(taken).Add(5)
	if err := testutil.GatherAndCompare(r, strings.NewReader(`
# HELP clarion_speaker_layer2_addresses Addresses that this node answers for by ARP or NDP.
# TYPE clarion_speaker_layer2_addresses gauge
clarion_speaker_layer2_addresses 5
# HELP clarion_speaker_layer2_answers_total ARP and NDP requests answered.
# TYPE clarion_speaker_layer2_answers_total counter
clarion_speaker_layer2_answers_total{family="IPv4"} 7
# HELP clarion_speaker_layer2_drops_total ARP and NDP frames that reached the speaker and were not answered.
# TYPE clarion_speaker_layer2_drops_total counter
clarion_speaker_layer2_drops_total{family="IPv6",reason="some"} 3
# HELP clarion_speaker_layer2_moves_total Addresses that this node has taken or given up.
# TYPE clarion_speaker_layer2_moves_total counter
clarion_speaker_layer2_moves_total{direction="given_up"} 0
clarion_speaker_layer2_moves_total{direction="taken"} 5
`), "clarion_speaker_layer2_addresses", "clarion_speaker_layer2_answers_total", "clarion_speaker_layer2_drops_total", "clarion_speaker_layer2_moves_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
