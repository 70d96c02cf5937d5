package controller

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func TestWhatServicesAreToldIsCounted(t *testing.T) {
	count := func() uint64 {
		var m dto.Metric
		if err := assigning.(prometheus.Metric).Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetHistogram().GetSampleCount()
	}
	exhausted := refusals.WithLabelValues(string(clarion.ReasonPoolExhausted))
	before, refused := count(), testutil.ToFloat64(exhausted)
	now := time.Unix(1_000_000, 0)
	countOutcome(note{kind: corev1.EventTypeNormal, reason: clarion.ReasonAssigned}, now.Add(-time.Second), now)
	countOutcome(note{kind: corev1.EventTypeNormal, reason: clarion.ReasonAssigned}, time.Time{}, now)
	countOutcome(note{kind: corev1.EventTypeNormal, reason: clarion.ReasonReleased}, now, now)
	countOutcome(note{kind: corev1.EventTypeWarning, reason: clarion.ReasonPoolExhausted}, now, now)
	if got := count() - before; got != 1 {
		t.Errorf("%d assignments were timed, want 1", got)
	}
	if got := testutil.ToFloat64(exhausted) - refused; got != 1 {
		t.Errorf("%v refusals, want 1", got)
	}
}
