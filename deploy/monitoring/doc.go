// Package monitoring holds what Clarion is watched with: a Grafana dashboard and Prometheus alerting rules. Its tests hold both, and
// the page docs/reference/metrics.md, to the metrics that the programs have.
//
//	dashboard.json    for a person on call: is it healthy, what changed, where
//	rules.yaml        the alerts; each says what it means and what to do
//	rules_test.yaml   what they fire on, and what they do not fire on, by promtool
//
// The chart brings both (metrics.dashboard.enabled, metrics.prometheusRules.enabled).
package monitoring
