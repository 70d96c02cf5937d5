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

	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
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
	go func() { ended <- serveHealth(ctx, address, ready, http.NotFoundHandler()) }()
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
	if err := serveHealth(t.Context(), "nowhere:99999", ready, http.NotFoundHandler()); err == nil {
		t.Error("listens nowhere")
	}
}

// silent are parts that have nothing to count.
var silent = sources{
	layer2:     func() layer2.Counters { return layer2.Counters{} },
	state:      func() layer2.State { return layer2.State{} },
	gossip:     func() gossip.Counters { return gossip.Counters{Refused: 2} },
	suspicions: func() uint64 { return 1 },
}

func TestEachComingAndGoingOfASessionIsCounted(t *testing.T) {
	m := newMeters(prometheus.NewRegistry(), silent)
	before := toldSession{}
	for _, row := range []struct {
		story              string
		state              bgp.State
		ups                int
		established, ended float64
	}{
		{"it is not there yet", bgp.Connect, 0, 0, 0},
		{"it comes up", bgp.Established, 1, 1, 0},
		{"it stays", bgp.Established, 1, 1, 0},
		{"it goes down and comes up while nobody looks", bgp.Established, 2, 2, 1},
		{"it goes down", bgp.Active, 2, 2, 2},
		{"it comes up and goes down while nobody looks", bgp.Active, 3, 3, 3},
		{"the process that it lives in is started again", bgp.Established, 1, 4, 3},
	} {
		s := bgp.Session{Peer: "tor", State: row.state, Ups: row.ups, LastError: "HoldTimerExpired"}
		now := toldSession{s.State == bgp.Established, s.LastError, s.Ups}
		m.session(before, now, s)
		before = now
		up, down := testutil.ToFloat64(m.established.WithLabelValues("tor")), testutil.ToFloat64(m.ended.WithLabelValues("tor", "HoldTimerExpired"))
		if up != row.established || down != row.ended {
			t.Errorf("%s: %v established and %v ended, want %v and %v", row.story, up, down, row.established, row.ended)
		}
	}
	if m.sessionGone("tor"); testutil.CollectAndCount(m.established)+testutil.CollectAndCount(m.ended) != 0 {
		t.Error("a peer that is gone is still counted")
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	from := silent
	from.layer2 = func() layer2.Counters {
		return layer2.Counters{
			Answered: map[layer2.Family]uint64{layer2.IPv4: 7},
			Dropped:  map[layer2.Family]map[layer2.DropReason]uint64{layer2.IPv6: {"some": 3}},
		}
	}
	from.state = func() layer2.State {
		return layer2.State{Segments: []layer2.Segment{{Conflicts: []layer2.Conflict{{Kind: layer2.ForeignHost}, {Kind: layer2.ForeignHost}}}}}
	}
	m := newMeters(r, from)
	m.owned.Set(5)
	now := time.Unix(1_000_000, 0)
	dead := detection.Verdict{State: detection.Dead, Quiet: 200 * time.Millisecond, Since: now.Add(-20 * time.Millisecond)}
	m.moved(ownership.Move{From: "b", To: "a", Cause: ownership.CauseLoss}, "a", dead, now)
	m.moved(ownership.Move{From: "a", To: "b", Cause: ownership.CauseFailback}, "a", detection.Verdict{}, now)
	m.moved(ownership.Move{From: "b", To: "a", Cause: 200}, "a", detection.Verdict{}, now)
	m.moved(ownership.Move{From: "b", To: "c", Cause: ownership.CauseLoss}, "a", dead, now)
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
# HELP clarion_speaker_layer2_conflicts Addresses of this node that somebody else answers for, too.
# TYPE clarion_speaker_layer2_conflicts gauge
clarion_speaker_layer2_conflicts{kind="ForeignHost"} 2
clarion_speaker_layer2_conflicts{kind="KubeProxyAnswersARP"} 0
# HELP clarion_speaker_layer2_unowned_seconds Time from a lost node's last heartbeat to this node's answering for an address of its.
# TYPE clarion_speaker_layer2_unowned_seconds histogram
clarion_speaker_layer2_unowned_seconds_bucket{le="0.1"} 0
clarion_speaker_layer2_unowned_seconds_bucket{le="0.2"} 0
clarion_speaker_layer2_unowned_seconds_bucket{le="0.3"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="0.4"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="0.5"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="0.75"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="1"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="1.5"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="2"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="3"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="5"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="10"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="30"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="60"} 1
clarion_speaker_layer2_unowned_seconds_bucket{le="+Inf"} 1
clarion_speaker_layer2_unowned_seconds_sum 0.22
clarion_speaker_layer2_unowned_seconds_count 1
`), "clarion_speaker_layer2_addresses", "clarion_speaker_layer2_answers_total", "clarion_speaker_layer2_drops_total", "clarion_speaker_layer2_conflicts",
		"clarion_speaker_layer2_unowned_seconds"); err != nil {
		t.Error(err)
	}
	for labels, want := range map[[2]string]float64{{taken, "OwnerLost"}: 1, {givenUp, "Failback"}: 1, {taken, "Unknown"}: 1, {givenUp, "OwnerLost"}: 0} {
		if got := testutil.ToFloat64(m.moves.WithLabelValues(labels[0], labels[1])); got != want {
			t.Errorf("moves %v: %v, want %v", labels, got, want)
		}
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
