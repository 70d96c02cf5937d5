package supply

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
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
		if err := writeImage(archive, PauseImage, program); err != nil {
			return fmt.Errorf("pause image: %w", err)
		}
		progress.printf("built the pause image (%s)", since(begin))
		return nil
	})
}

// writeImage writes the archive of an image that has one program and starts it.
func writeImage(archive, tag, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entrypoint := "/" + filepath.Base(program)
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := w.WriteHeader(&tar.Header{Name: entrypoint[1:], Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files.Bytes())), nil
	})
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS:           "linux",
		Architecture: runtime.GOARCH,
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: diffIDs(image)},
		Config:       v1.Config{Entrypoint: []string{entrypoint}},
	})
	if err != nil {
		return err
	}
	reference, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(archive, reference, image)
}

func diffIDs(image v1.Image) []v1.Hash {
	config, err := image.ConfigFile()
	if err != nil {
		return nil
	}
	return config.RootFS.DiffIDs
}
