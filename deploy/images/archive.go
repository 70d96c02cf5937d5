package images

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations of index.json by which importers find the image's name: containerd and podman the first, skopeo the
// second (the tag alone, as the OCI specification has it).
const (
	annotationContainerdName = "io.containerd.image.name"
	annotationRefName        = "org.opencontainers.image.ref.name"
)

// WriteFile writes the image's archive to a file, which appears whole or not at all.
func (i Image) WriteFile(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".image-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := i.Write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// Write writes the image as a tar of an OCI image layout.
func (i Image) Write(w io.Writer) error {
	if err := i.check(); err != nil {
		return err
	}
	a := archive{blobs: map[v1.Hash][]byte{}}
	platforms := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var docker []dockerManifest
	for _, architecture := range i.platforms() {
		image, err := i.platformImage(architecture)
		if err != nil {
			return fmt.Errorf("image %s for %s: %w", i.Name, architecture, err)
		}
		if err := a.addImage(image); err != nil {
			return err
		}
		if docker == nil {
			if docker, err = dockerManifests(i.Name, image); err != nil {
				return err
			}
		}
		platforms = mutate.AppendManifests(platforms, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	platforms = mutate.Annotations(platforms, i.Labels).(v1.ImageIndex)
	if err := a.addManifest(platforms); err != nil {
		return err
	}

	_, tag, _ := strings.Cut(filepath.Base(i.Name), ":")
	index, err := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: platforms,
		Descriptor: v1.Descriptor{Annotations: map[string]string{
			annotationContainerdName: i.Name,
			annotationRefName:        tag,
		}},
	}).RawManifest()
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(docker)
	if err != nil {
		return err
	}
	return a.write(w, i.created(), map[string][]byte{
		"oci-layout":    []byte(`{"imageLayoutVersion":"1.0.0"}`),
		"index.json":    index,
		"manifest.json": manifest,
	})
}

// dockerManifest is an entry of manifest.json, the format of `docker save`.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func dockerManifests(name string, image v1.Image) ([]dockerManifest, error) {
	m, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	d := dockerManifest{Config: blobPath(m.Config.Digest), RepoTags: []string{name}}
	for _, l := range m.Layers {
		d.Layers = append(d.Layers, blobPath(l.Digest))
	}
	return []dockerManifest{d}, nil
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// archive collects an image layout's blobs.
type archive struct {
	blobs map[v1.Hash][]byte
}

func (a archive) addImage(image v1.Image) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := a.addLayer(l); err != nil {
			return err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	name, err := image.ConfigName()
	if err != nil {
		return err
	}
	a.blobs[name] = config
	return a.addManifest(image)
}

func (a archive) addLayer(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	a.blobs[digest], err = io.ReadAll(r)
	return err
}

func (a archive) addManifest(m interface {
	RawManifest() ([]byte, error)
	Digest() (v1.Hash, error)
}) error {
	digest, err := m.Digest()
	if err != nil {
		return err
	}
	a.blobs[digest], err = m.RawManifest()
	return err
}

// write writes the layout: the named files first, as importers read the tar as a stream, then the blobs.
func (a archive) write(w io.Writer, modified time.Time, files map[string][]byte) error {
	t := tar.NewWriter(w)
	put := func(name string, content []byte) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: modified.Truncate(time.Second)}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(t, bytes.NewReader(content))
		return err
	}
	for hash, content := range a.blobs {
		files[blobPath(hash)] = content
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	// "blobs/…" after the files at the top.
	slices.SortFunc(names, func(x, y string) int {
		if d := strings.Count(x, "/") - strings.Count(y, "/"); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	for _, name := range names {
		if err := put(name, files[name]); err != nil {
			return err
		}
	}
	return t.Close()
}
