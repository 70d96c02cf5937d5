package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Mode says whether the controller acts.
type Mode string

const (
	// Active decides and writes.
	Active Mode = "active"
	// Observe decides and reports what it would write, and writes nothing, not even the Lease.
	Observe Mode = "observe"
)

// Options are what Run needs to know.
type Options struct {
	Config    *rest.Config
	Namespace string // of the Lease and of the Secret with the gossip keys
	Mode      Mode
	Classes   clarion.ServiceClasses

	LeaderElect   bool
	Identity      string // in the Lease; the host's name and a random part when empty
	LeaseDuration time.Duration
	RenewDeadline time.Duration
	RetryPeriod   time.Duration

	Workers int // Services written at the same time

	// SpeakerPods is whether the speakers run as Pods in Namespace: then one without a Pod that is ready is no speaker that lives.
	SpeakerPods bool

	MetricsBindAddress string // "" or "0" is not at all
	// MetricsFilter lets through who may read the metrics, which are served by HTTPS then; nil is HTTP for everybody.
	MetricsFilter     func(*rest.Config, *http.Client) (metricsserver.Filter, error)
	HealthBindAddress string // "" or "0" is not at all

	Log *slog.Logger

	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// Defaults of what is left empty.
const (
	DefaultNamespace     = "clarion-system"
	DefaultLeaseDuration = 8 * time.Second
	DefaultRenewDeadline = 6 * time.Second
	DefaultRetryPeriod   = time.Second
	DefaultWorkers       = 16
)

// LeaseName is the name of the Lease that the leader holds.
const LeaseName = "clarion-controller"

// Validate checks what can be checked without the API server.
func (o Options) Validate() error {
	_, err := o.withDefaults()
	return err
}

func (o Options) withDefaults() (Options, error) {
	if o.Config == nil {
		return o, errors.New("no configuration of the API server")
	}
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	switch o.Mode {
	case "":
		o.Mode = Active
	case Active, Observe:
	default:
		return o, fmt.Errorf("mode %q: write %s or %s", o.Mode, Active, Observe)
	}
	if err := o.Classes.Validate(); err != nil {
		return o, err
	}
	if o.LeaseDuration == 0 {
		o.LeaseDuration = DefaultLeaseDuration
	}
	if o.RenewDeadline == 0 {
		o.RenewDeadline = DefaultRenewDeadline
	}
	if o.RetryPeriod == 0 {
		o.RetryPeriod = DefaultRetryPeriod
	}
	if o.LeaseDuration < time.Second || o.LeaseDuration%time.Second != 0 {
		return o, fmt.Errorf("lease of %v: give whole seconds, at least 1s, for a Lease counts in seconds", o.LeaseDuration)
	}
	if o.LeaseDuration <= o.RenewDeadline || o.RenewDeadline <= o.RetryPeriod*6/5 {
		return o, fmt.Errorf("lease of %v, to be renewed within %v by tries every %v: each must be longer than the next, by a fifth at least",
			o.LeaseDuration, o.RenewDeadline, o.RetryPeriod)
	}
	if o.Workers == 0 {
		o.Workers = DefaultWorkers
	}
	if o.Workers < 0 {
		return o, fmt.Errorf("%d workers: write at least 1", o.Workers)
	}
	if o.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("naming this process in the Lease: %w", err)
		}
		o.Identity = host + "_" + randomSuffix()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}
