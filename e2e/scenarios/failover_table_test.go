package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

// patience is how long a benchmark waits for what must come.
const patience = 30 * time.Second

// A table finds out who has which address by the neighbour table of the LAN's client, which is quick, and is right but for a moment.
type table struct {
	b     *testing.B
	l     *lab.Lab
	all   []netip.Addr
	nodes map[string]string // by MAC
}

func newTable(b *testing.B, l *lab.Lab, all []netip.Addr) *table {
	t := &table{b: b, l: l, all: all, nodes: map[string]string{}}
	for _, n := range l.Nodes() {
		mac, err := n.Exec(b.Context(), "cat", "/sys/class/net/eth0/address")
		if err != nil {
			b.Fatal(err)
		}
		t.nodes[strings.TrimSpace(mac)] = n.Name
	}
	return t
}

// ownedBy returns some addresses that a node answers for; it waits until there are any.
func (t *table) ownedBy(n *lab.Node, limit int) []netip.Addr {
	t.b.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		known := t.read()
		var its []netip.Addr
		for _, a := range t.all {
			if _, listed := known[a]; !listed {
				t.l.WhoAnswers(t.b.Context(), a) //nolint:errcheck // it is listed by the next time, or not
			}
			if known[a] == n.Name && len(its) < 2*limit {
				its = append(its, a)
			}
		}
		owned := t.answered(its, func(by string) bool { return by == n.Name })
		if len(owned) > 0 {
			return owned[:min(len(owned), limit)]
		}
	}
	t.b.Fatalf("%s owns none of %d addresses", n.Name, len(t.all))
	return nil
}

// answeredByOthers waits until each of some addresses has been answered by one node other than n.
func (t *table) answeredByOthers(n *lab.Node, all []netip.Addr) {
	t.b.Helper()
	left := slices.Clone(all)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		others := t.answered(left, func(by string) bool { return by != "" && by != n.Name })
		left = slices.DeleteFunc(left, func(a netip.Addr) bool { return slices.Contains(others, a) })
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			answers, err := t.l.AskLAN(t.b.Context(), left[0], time.Second)
			t.b.Fatalf("%d of %d addresses of %s are not answered by others, among them %s: %v, %v", len(left), len(all), n.Name, left[0], answers, err)
		}
	}
}

// answered returns those addresses that one node alone answers for, and the right one.
func (t *table) answered(all []netip.Addr, right func(by string) bool) []netip.Addr {
	var mu sync.Mutex
	var found []netip.Addr
	var wait sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, a := range all {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// On a busy machine the lab is late in finding out whose the MAC is, which is no matter.
			answers, err := t.l.AskLAN(t.b.Context(), a, 100*time.Millisecond)
			if (err == nil || errors.Is(err, context.DeadlineExceeded)) && len(answers) == 1 && right(t.nodes[answers[0].MAC.String()]) {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, a)
			}
		})
	}
	wait.Wait()
	slices.SortFunc(found, netip.Addr.Compare)
	return found
}

// read returns what the client's table says: "" for an address that it lists as nobody's.
func (t *table) read() map[netip.Addr]string {
	t.b.Helper()
	out, err := t.l.Client().Exec(t.b.Context(), "ip", "neighbour")
	if err != nil {
		t.b.Fatal(err)
	}
	known := map[netip.Addr]string{}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		a, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		if i := slices.Index(words, "lladdr"); i >= 0 && i+1 < len(words) {
			known[a] = t.nodes[words[i+1]]
		}
	}
	return known
}

// agreed waits until each speaker hears each other one, serving, and holds nothing against it.
func agreed(b *testing.B, l *lab.Lab) {
	b.Helper()
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		last = nil
		for _, n := range l.Nodes() {
			if last = hearsAll(b.Context(), n, len(l.Nodes())); last != nil {
				break
			}
		}
		if last == nil {
			return
		}
	}
	b.Fatalf("the speakers do not agree: %v", last)
}

func hearsAll(ctx context.Context, n *lab.Node, nodes int) error {
	text, err := get(ctx, n, "http://127.0.0.1:7958/inspect")
	if err != nil {
		return err
	}
	var report inspect.Report
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	if len(report.Members) != nodes {
		return fmt.Errorf("%s knows %d nodes of %d", n.Name, len(report.Members), nodes)
	}
	for _, m := range report.Members {
		if !m.Heard || !m.Serving || m.Node != n.Name && m.Verdict != detection.Alive.String() {
			return fmt.Errorf("to %s, %s is: %+v", n.Name, m.Node, m)
		}
	}
	return nil
}

// hasShare waits until a node that has come back has as many addresses as any, and deputies have been worked out since.
func (t *table) hasShare(n *lab.Node) {
	t.b.Helper()
	share, last := len(t.all)/len(t.nodes), ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		text, err := get(t.b.Context(), n, "http://127.0.0.1:7957/metrics")
		if err != nil {
			last = err.Error()
			continue
		}
		_, after, _ := strings.Cut(string(text), "\nclarion_speaker_layer2_addresses ")
		last, _, _ = strings.Cut(after, "\n")
		if owned, err := strconv.ParseFloat(last, 64); err == nil && int(owned) >= share {
			time.Sleep(500 * time.Millisecond) // groups are calm after 300 ms
			return
		}
	}
	t.b.Fatalf("%s has %s addresses, its share is %d", n.Name, last, share)
}

// get asks one of the speaker's ports on a node, from the node itself.
func get(ctx context.Context, n *lab.Node, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.Dial}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// watchLateness measures by how much timers are late while it runs: how long this machine lets nobody run.
func watchLateness() (stop func() time.Duration) {
	const every = 5 * time.Millisecond
	end, result := make(chan struct{}), make(chan time.Duration)
	go func() {
		worst, last := time.Duration(0), time.Now()
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now := time.Now()
				worst, last = max(worst, now.Sub(last)-every), now
			case <-end:
				result <- worst
				return
			}
		}
	}()
	return func() time.Duration { close(end); return <-result }
}

// load is the machine's load average of the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// over counts those that are longer than a limit.
func over(all []time.Duration, limit time.Duration) (n int) {
	for _, d := range all {
		if d > limit {
			n++
		}
	}
	return n
}
