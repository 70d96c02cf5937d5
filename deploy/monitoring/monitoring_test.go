package monitoring

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/controller"
	"github.com/clarion-lb/clarion/speaker"
)

var update = flag.Bool("update", false, "write docs/reference/metrics.md anew")

const page = "../../docs/reference/metrics.md"

// metric is what there is to know of one.
type metric struct {
	name, help, of string
	kind           dto.MetricType
	labels         []string
}

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// known returns all metrics that are Clarion's own, by name.
func known(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{"clarion_build_info": {
		name: "clarion_build_info", help: "Always 1; the labels say which version of which component runs.", of: "both", // see cmd/internal/program
		kind: dto.MetricType_GAUGE, labels: []string{"component", "goversion", "version"},
	}}
	for of, collectors := range map[string][]prometheus.Collector{
		"controller": controller.Metrics(),
		"speaker":    speaker.Metrics(),
	} {
		for _, c := range collectors {
			descriptions := make(chan *prometheus.Desc, 100)
			c.Describe(descriptions)
			close(descriptions)
			for d := range descriptions {
				parts := descForm.FindStringSubmatch(d.String())
				if parts == nil {
					t.Fatalf("%s can't be read", d)
				}
				m := metric{name: parts[1], help: parts[2], of: of, kind: dto.MetricType_GAUGE}
				if strings.HasSuffix(m.name, "_total") {
					m.kind = dto.MetricType_COUNTER
				}
				switch c.(type) {
				case prometheus.Histogram, *prometheus.HistogramVec:
					m.kind = dto.MetricType_HISTOGRAM
				}
				for _, label := range strings.Split(parts[3], ",") {
					if name, _, found := strings.Cut(label, "="); found {
						m.labels = append(m.labels, name)
					}
				}
				for _, label := range strings.Split(parts[4], ",") {
					if label != "" {
						m.labels = append(m.labels, label)
					}
				}
				if _, twice := all[m.name]; twice {
					t.Errorf("%s is there twice", m.name)
				}
				all[m.name] = m
			}
		}
	}
	return all
}

func TestMetricsKeepPrometheusConventions(t *testing.T) {
	var families []*dto.MetricFamily
	for _, m := range known(t) {
		if !strings.HasPrefix(m.name, "clarion_") || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: %q: the name begins with clarion_, the help is a sentence", m.name, m.help)
		}
		one := &dto.Metric{}
		for _, label := range m.labels {
			value := "x"
			one.Label = append(one.Label, &dto.LabelPair{Name: &label, Value: &value})
		}
		number, count := 1., uint64(1)
		switch m.kind {
		case dto.MetricType_COUNTER:
			one.Counter = &dto.Counter{Value: &number}
		case dto.MetricType_HISTOGRAM:
			one.Histogram = &dto.Histogram{SampleCount: &count, SampleSum: &number}
		default:
			one.Gauge = &dto.Gauge{Value: &number}
		}
		families = append(families, &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind, Metric: []*dto.Metric{one}})
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// rules is the part of a rule file that is read here.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func alerts(t *testing.T) []rule {
	t.Helper()
	content, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file rules
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// expressions returns all PromQL of the dashboard and of the rules, by where it stands.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range alerts(t) {
		all["alert "+r.Alert] = r.Expr
	}
	content, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Annotations struct {
			List []struct{ Name, Expr string }
		}
		Panels []struct {
			Title, Type, Description string
			Targets                  []struct{ Expr string }
			GridPos                  struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	taken := map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %q says nothing, or not what it is", p.Title)
		}
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s %d", p.Title, i)] = target.Expr
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, found := taken[[2]int{x, y}]; found || x >= 24 {
					t.Fatalf("panels %q and %q lie upon each other, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, a := range dashboard.Annotations.List {
		all["annotation "+a.Name] = a.Expr
	}
	if len(all) < 50 {
		t.Fatalf("%d expressions: are the files read rightly?", len(all))
	}
	return all
}

var (
	selectorForm = regexp.MustCompile(`\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?`)
	matcherForm  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"`)
	groupForm    = regexp.MustCompile(`\b(?:by|on|ignoring|without)\s*\(([^)]*)\)`)
)

// targetLabels are those that Prometheus or the rules themselves give.
var targetLabels = []string{"instance", "le", "alertname", "alertstate", "severity"}

func TestDashboardAndRulesNameWhatThereIs(t *testing.T) {
	metrics := known(t)
	used := map[string]bool{}
	for where, expr := range expressions(t) {
		var labels []string
		for _, found := range selectorForm.FindAllStringSubmatch(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, `""`), -1) {
			name := found[1]
			if !strings.HasPrefix(name, "clarion_") {
				continue
			}
			m, there := metrics[name]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if of, found := metrics[strings.TrimSuffix(name, suffix)]; !there && found && of.kind == dto.MetricType_HISTOGRAM {
					m, there = of, true
				}
			}
			if !there {
				t.Errorf("%s: there is no %s", where, name)
				continue
			}
			used[m.name] = true
			labels = append(labels, m.labels...)
			for _, matcher := range matcherForm.FindAllStringSubmatch(found[2], -1) {
				if !slices.Contains(m.labels, matcher[1]) && !slices.Contains(targetLabels, matcher[1]) {
					t.Errorf("%s: %s has no label %s", where, name, matcher[1])
				}
			}
		}
		for _, group := range groupForm.FindAllStringSubmatch(expr, -1) {
			for _, label := range strings.Split(group[1], ",") {
				if label = strings.TrimSpace(label); label != "" && !slices.Contains(labels, label) && !slices.Contains(targetLabels, label) {
					t.Errorf("%s: nothing there has the label %s", where, label)
				}
			}
		}
	}
	// What nobody looks at need not be counted. These are for the curious.
	seldom := []string{"clarion_controller_decisions_total", "clarion_controller_events_dropped_total", "clarion_bgp_session_state", "clarion_bgp_session_established_total",
		"clarion_bgp_updates_sent", "clarion_bgp_failed_attempts", "clarion_bfd_session_state"}
	for name := range metrics {
		if used[name] == slices.Contains(seldom, name) {
			t.Errorf("%s: on the dashboard or in a rule %v, said to be for the curious %v", name, used[name], !used[name])
		}
	}
}

func TestEachAlertSaysWhatToDoAndIsTested(t *testing.T) {
	tests, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range alerts(t) {
		if seen[r.Alert] {
			t.Errorf("%s is there twice", r.Alert)
		}
		seen[r.Alert] = true
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		for _, a := range []string{"summary", "description", "action"} {
			if !strings.HasSuffix(r.Annotations[a], ".") {
				t.Errorf("%s: %s %q is no sentence", r.Alert, a, r.Annotations[a])
			}
		}
		if !regexp.MustCompile(`alertname="?:? ?"?` + r.Alert + `\b`).Match(tests) {
			t.Errorf("%s: no test has it fire", r.Alert)
		}
	}
}

func TestRulesFireOnWhatTheyShould(t *testing.T) {
	promtool := filepath.Join(t.TempDir(), "promtool")
	// Without the clients of all clouds, which promtool would have to find targets by.
	build := exec.Command("go", "build", "-modfile=../../tools/promtool.mod", "-tags=remove_all_sd", "-o", promtool, "github.com/prometheus/prometheus/cmd/promtool")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building promtool: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			var failed *exec.ExitError
			if !errors.As(err, &failed) {
				t.Fatal(err)
			}
			t.Errorf("promtool %s:\n%s", strings.Join(args, " "), out)
		}
	}
}

// reference is the page on metrics and alerts.
func reference(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Metrics and alerts

Written by ` + "`go test ./deploy/monitoring -update`" + ` from the programs and from deploy/monitoring/rules.yaml; a test keeps it in step.

## Where they are

| | Address | |
| --- | --- | --- |
| controller | ` + "`:7966/metrics`" + ` of its Pod | ` + "`--metrics-bind-address`" + ` |
| speaker | ` + "`:7957/metrics`" + ` of the node | ` + "`--metrics-bind-address`" + ` |

By default they are served by HTTPS, with a certificate made at each start, to whom the API server allows to get ` + "`/metrics`" + `: bind the ClusterRole
` + "`clarion-metrics-reader`" + ` to the ServiceAccount of your Prometheus. Whom the API server has allowed is asked about again after a minute, and let in for a day while
the API server is away. ` + "`--metrics-auth=none`" + ` serves them by HTTP to everybody. The chart makes ServiceMonitors with ` + "`metrics.serviceMonitors.enabled`" + `, the
alerts below with ` + "`metrics.prometheusRules.enabled`" + `, and a ConfigMap with the Grafana dashboard, which Grafana's sidecar finds, with
` + "`metrics.dashboard.enabled`" + `. Without the Prometheus operator take deploy/monitoring/rules.yaml and dashboard.json as they are.

    TOKEN=$(kubectl -n monitoring create token prometheus)
    curl -k -H "Authorization: Bearer $TOKEN" https://NODE:7957/metrics

Besides those below there are the usual ones of Go programs (` + "`go_*`, `process_*`" + `) and of Kubernetes' client (` + "`rest_client_*`, `workqueue_*`" + `).

`)
	metrics := known(t)
	for _, of := range []struct{ name, title string }{{"controller", "Of the controller"}, {"speaker", "Of the speakers"}, {"both", "Of both"}} {
		fmt.Fprintf(&b, "## %s\n\n| Metric | Type | Labels | |\n| --- | --- | --- | --- |\n", of.title)
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			if m := metrics[name]; m.of == of.name {
				labels := strings.Join(m.labels, "`, `")
				if labels != "" {
					labels = "`" + labels + "`"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, strings.ToLower(m.kind.String()), labels, m.help)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("Values of `reason` are those of [conditions and reasons](conditions.md), and of [BGP's reasons](bgp-reasons.md) for sessions.\n\n## Alerts\n\n| Alert | Severity | Means | What to do |\n| --- | --- | --- | --- |\n")
	for _, r := range alerts(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Alert, r.Labels["severity"], r.Annotations["description"], r.Annotations["action"])
	}
	return b.String()
}

func TestThePageTellsOfEveryMetricAndAlert(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not in step: go test ./deploy/monitoring -update", page)
	}
}
