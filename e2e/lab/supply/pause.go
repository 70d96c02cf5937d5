package supply

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/clarion-lb/clarion/deploy/images"
)

// PauseImage is the image whose one process holds a pod's namespaces.
const PauseImage = "localhost/clarion-lab-pause:lab"

// pause builds the pause image.
func pause(ctx context.Context, progress Progress) (string, error) {
	checkout, err := Checkout()
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(filepath.Join(checkout, "e2e/lab/pause/main.go"))
	if err != nil {
		return "", err
	}
	return cached(ctx, "pause-"+shortHash(source)+".tar", progress, func(archive string) error {
		begin := time.Now()
		dir, err := os.MkdirTemp("", "clarion-pause-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "pause")
		if err := run(ctx, checkout, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./e2e/lab/pause"); err != nil {
			return err
		}
		image := images.Image{Name: PauseImage, Binaries: map[string]string{runtime.GOARCH: program}, Path: "/pause"}
		if err := image.WriteFile(archive); err != nil {
			return err
		}
		progress.printf("built the pause image (%s)", since(begin))
		return nil
	})
}
