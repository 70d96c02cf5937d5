package images

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image says what is in an image. Its zero values are the quick ones: plain layers, no labels, the year 1970.
type Image struct {
	// Name is what the image is called after it was imported, registry part and tag included, as Kubernetes wants
	// it: localhost/clarion-speaker:v1.2.3.
	Name string
	// Binaries are the static binaries by architecture, as GOARCH calls it: {"amd64": "bin/linux_amd64/clarion-speaker"}.
	Binaries map[string]string
	// Path is where the binary stands in the image; / and the name's last part without the tag when empty.
	Path string
	// Args follow the binary in the entrypoint.
	Args []string
	// User is the numeric uid or uid:gid to run as; empty is root. There is no /etc/passwd to look a name up in.
	User string
	// Capabilities go into the binary's permitted set (cap_…+p).
	Capabilities []Capability
	// Labels are the config's labels and the manifests' annotations, such as org.opencontainers.image.version.
	Labels map[string]string
	// Created is the time of the image and of everything in it. Taken from the commit, it makes builds reproducible.
	Created time.Time
	// Compression is the layers' gzip level; 0 leaves them plain, which is quickest to build and to import.
	Compression int
}

func (i Image) path() string {
	if i.Path != "" {
		return path.Clean("/" + i.Path)
	}
	base := path.Base(i.Name)
	name, _, _ := strings.Cut(base, ":")
	return "/" + name
}

// created is the image's time; the zero time is the epoch, as tar and most tools cannot tell an earlier one.
func (i Image) created() time.Time {
	if i.Created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return i.Created.UTC()
}

// check refuses what an importer or the kubelet would refuse later and further away.
func (i Image) check() error {
	repository, tag, tagged := strings.Cut(path.Base(i.Name), ":")
	switch {
	case !strings.Contains(i.Name, "/") || repository == "":
		return fmt.Errorf("image name %q has no registry part: write localhost/%s", i.Name, i.Name)
	case !tagged || tag == "":
		return fmt.Errorf("image name %q has no tag: write %s:TAG", i.Name, i.Name)
	case len(i.Binaries) == 0:
		return fmt.Errorf("image %s has no binary", i.Name)
	}
	return nil
}

// platforms are the architectures' names in order; the first is the one that old Docker engines see.
func (i Image) platforms() []string { return slices.Sorted(maps.Keys(i.Binaries)) }

// platformImage builds the image of one architecture.
func (i Image) platformImage(architecture string) (v1.Image, error) {
	binary, err := readBinary(i.Binaries[architecture], architecture)
	if err != nil {
		return nil, err
	}
	layer, err := i.layer(binary)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{CreatedBy: "COPY " + i.path(), Created: v1.Time{Time: i.created()}},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", architecture
	config.Created = v1.Time{Time: i.created()}
	config.Config = v1.Config{
		Entrypoint: append([]string{i.path()}, i.Args...),
		User:       i.User,
		WorkingDir: "/",
		Labels:     i.Labels,
	}
	image, err = mutate.ConfigFile(image, config)
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, i.Labels).(v1.Image), nil
}
