package lab

import (
	"context"
	"os"
	"path/filepath"

	"github.com/clarion-lb/clarion/e2e/lab/router"
)

// onHost lets a router run on a host of the lab.
type onHost struct{ *Host }

// Launch implements router.Place.
func (p onHost) Launch(ctx context.Context, name string, argv []string) error {
	return p.Start(ctx, Process{Name: name, Args: argv})
}

// StartRouter starts FRR or BIRD on the host, which should have been made with
// Forward. It ends with the host, or by its Stop.
func (h *Host) StartRouter(ctx context.Context, spec router.Spec) (*router.Router, error) {
	if spec.Dir == "" {
		spec.Dir = filepath.Join(h.dir(), "r")
		if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
			return nil, err
		}
	}
	return router.Start(ctx, onHost{h}, spec)
}
