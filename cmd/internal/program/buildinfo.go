package program

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// BuildInfo is the metric that says which version of a component runs.
func BuildInfo(component, version string) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "clarion_build_info",
		Help:        "Always 1; the labels say which version of which component runs.",
		ConstLabels: prometheus.Labels{"component": component, "version": version, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
