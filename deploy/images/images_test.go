package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestFileCapability(t *testing.T) {
	for name, test := range map[string]struct {
		permitted []Capability
		want      string // as `getfattr -e hex -n security.capability` prints it after `setcap CAP+p`
	}{
		"cap_net_raw+p":                     {[]Capability{NetRaw}, "0000000200200000000000000000000000000000"},
		"cap_net_admin,cap_net_raw+p":       {[]Capability{12, NetRaw}, "0000000200300000000000000000000000000000"},
		"cap_bpf+p is in the upper word":    {[]Capability{39}, "0000000200000000000000008000000000000000"},
		"cap_chown+p is the very first bit": {[]Capability{0}, "0000000201000000000000000000000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hex.EncodeToString([]byte(fileCapability(test.permitted...))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// programs holds a static program that says hello, by architecture.
var programs = map[string]string{}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clarion-images")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		for _, architecture := range []string{"amd64", "arm64"} {
			if programs[architecture], err = compile(dir, architecture); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

func compile(dir, architecture string) (string, error) {
	source := filepath.Join(dir, "hello.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { print(\"hello\") }\n"), 0o644); err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "hello-"+architecture)
	c := exec.Command("go", "build", "-o", binary, source)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture)
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

func hello() Image {
	return Image{
		Name:         "localhost/hello:v1",
		Binaries:     programs,
		Args:         []string{"serve"},
		User:         User,
		Capabilities: []Capability{NetRaw},
		Labels:       map[string]string{"org.opencontainers.image.version": "v1"},
		Created:      time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		Compression:  gzip.BestSpeed,
	}
}

// unpack writes the image's archive and unpacks it, as an importer does.
func unpack(t *testing.T, image Image) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := image.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xf", file).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return dir
}

// platformsOf reads the one index that an unpacked archive holds.
func platformsOf(t *testing.T, dir string) (v1.Descriptor, v1.ImageIndex, v1.IndexManifest) {
	t.Helper()
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 {
		t.Fatalf("index.json names %d images, want 1: importers would not know which", len(m.Manifests))
	}
	index, err := top.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	platforms, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return m.Manifests[0], index, *platforms
}

// checkBlobs compares every blob's name with its content.
func checkBlobs(t *testing.T, dir string) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range blobs {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != filepath.Base(file) {
			t.Errorf("blob %s holds %s", filepath.Base(file), got)
		}
	}
	if want := 2*3 + 1; len(blobs) != want {
		t.Errorf("%d blobs, want %d: layer, config and manifest of two platforms, and their index", len(blobs), want)
	}
}

func TestArchiveIsAValidLayoutWithBothPlatforms(t *testing.T) {
	for name, test := range map[string]struct {
		compression int
		validate    []validate.Option
	}{
		"gzip layers": {compression: gzip.BestSpeed},
		// The full validation takes every layer for a compressed one.
		"plain layers": {compression: gzip.NoCompression, validate: []validate.Option{validate.Fast}},
	} {
		t.Run(name, func(t *testing.T) {
			image := hello()
			image.Compression = test.compression
			dir := unpack(t, image)
			checkBlobs(t, dir)
			descriptor, index, platforms := platformsOf(t, dir)
			if err := validate.Index(index, test.validate...); err != nil {
				t.Errorf("digests, sizes or media types do not fit: %v", err)
			}
			if got := descriptor.Annotations["io.containerd.image.name"]; got != "localhost/hello:v1" {
				t.Errorf("containerd would call the image %q", got)
			}
			if got := descriptor.Annotations["org.opencontainers.image.ref.name"]; got != "v1" {
				t.Errorf("the reference's name is %q, want the tag", got)
			}
			var got []string
			for _, m := range platforms.Manifests {
				got = append(got, m.Platform.String())
				image, err := index.Image(m.Digest)
				if err != nil {
					t.Fatal(err)
				}
				config, err := image.ConfigFile()
				if err != nil {
					t.Fatal(err)
				}
				if config.Architecture != m.Platform.Architecture || config.OS != "linux" {
					t.Errorf("config says %s/%s, index %s", config.OS, config.Architecture, m.Platform)
				}
				if got := strings.Join(config.Config.Entrypoint, " "); got != "/hello serve" {
					t.Errorf("entrypoint %q", got)
				}
				if config.Config.User != "65532:65532" {
					t.Errorf("user %q is not numeric, so runAsNonRoot could not be verified", config.Config.User)
				}
				if config.Config.Labels["org.opencontainers.image.version"] != "v1" {
					t.Errorf("labels %v", config.Config.Labels)
				}
			}
			if got := strings.Join(got, " "); got != "linux/amd64 linux/arm64" {
				t.Errorf("platforms %s", got)
			}
		})
	}
}

func TestArchiveLoadsIntoDockerEnginesThatKnowNoLayouts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := hello().WriteFile(file); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(unpack(t, hello()), "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifests []dockerManifest
	if err := json.Unmarshal(b, &manifests); err != nil {
		t.Fatal(err)
	}
	if len(manifests) != 1 || len(manifests[0].RepoTags) != 1 || manifests[0].RepoTags[0] != "localhost/hello:v1" {
		t.Errorf("manifest.json: %s", b)
	}
}

func TestSameInputGivesTheSameBytes(t *testing.T) {
	var first, second bytes.Buffer
	if err := hello().Write(&first); err != nil {
		t.Fatal(err)
	}
	if err := hello().Write(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of the same image differ")
	}
}

func TestFilesCarryTheGivenTime(t *testing.T) {
	for name, test := range map[string]struct{ created, want time.Time }{
		"a commit's":      {time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)},
		"none: year 1970": {time.Time{}, time.Unix(0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			image := hello()
			image.Created = test.created
			var b bytes.Buffer
			if err := image.Write(&b); err != nil {
				t.Fatal(err)
			}
			for r := tar.NewReader(&b); ; {
				h, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if !h.ModTime.Equal(test.want) {
					t.Errorf("%s is of %v, want %v", h.Name, h.ModTime, test.want)
				}
			}
		})
	}
}

// TestUnpackedBinaryHasTheCapability unpacks the layer as a container runtime would and asks the kernel and libcap
// what they make of the file.
func TestUnpackedBinaryHasTheCapability(t *testing.T) {
	_, index, platforms := platformsOf(t, unpack(t, hello()))
	image, err := index.Image(platforms.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	dir := t.TempDir()
	c := exec.Command("tar", "--xattrs", "--xattrs-include=*", "-C", dir, "-xf", "-")
	c.Stdin = r
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	got, err := readFileCapability(filepath.Join(dir, "hello"))
	if err != nil {
		t.Skipf("file capabilities cannot be set here (needs root and a file system with extended attributes): %v", err)
	}
	if want := fileCapability(NetRaw); got != want {
		t.Errorf("the kernel has %x, want %x", got, want)
	}
	getcap, err := exec.LookPath("getcap")
	if err != nil {
		t.Log("getcap is not installed, so libcap's reading was not checked")
		return
	}
	out, err := exec.Command(getcap, filepath.Join(dir, "hello")).CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "cap_net_raw=p") {
		t.Errorf("getcap: %v %s, want cap_net_raw=p", err, out)
	}
}

func TestImageThatCouldNotRunIsRefused(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Image)
		want   string
	}{
		"a name without registry part would be looked up at a public one": {
			func(i *Image) { i.Name = "hello:v1" }, `no registry part: write localhost/hello:v1`},
		"a name without tag would be pulled as latest": {
			func(i *Image) { i.Name = "localhost/hello" }, "no tag: write localhost/hello:TAG"},
		"a registry's port is no tag": {
			func(i *Image) { i.Name = "registry:5000/hello" }, "no tag"},
		"no binary": {
			func(i *Image) { i.Binaries = nil }, "no binary"},
		"a binary of another architecture": {
			func(i *Image) { i.Binaries = map[string]string{"arm64": programs["amd64"]} }, "built for EM_X86_64, not for arm64"},
		"an architecture that was never heard of": {
			func(i *Image) { i.Binaries = map[string]string{"z80": programs["amd64"]} }, "not for z80"},
		"a script": {
			func(i *Image) { i.Binaries = map[string]string{"amd64": script} }, "not a Linux program"},
		"a binary that is not there": {
			func(i *Image) { i.Binaries = map[string]string{"amd64": script + "x"} }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			image := hello()
			test.change(&image)
			err := image.Write(io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestDynamicallyLinkedBinaryIsRefused(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("no /bin/sh to take for a dynamically linked program")
	}
	b, err := os.ReadFile(shell)
	if err != nil {
		t.Fatal(err)
	}
	for architecture := range machines {
		err = checkStatic(b, architecture)
		if err != nil && strings.Contains(err.Error(), "CGO_ENABLED=0") {
			return
		}
	}
	t.Errorf("%s was taken for static: %v", shell, err)
}

func TestClarionNamesItsImages(t *testing.T) {
	for name, test := range map[string]struct {
		repository string
		want       []string
	}{
		"default":                 {"localhost/clarion-", []string{"localhost/clarion-controller:v1", "localhost/clarion-speaker:v1"}},
		"a registry of one's own": {"registry.example:5000/lb/", []string{"registry.example:5000/lb/controller:v1", "registry.example:5000/lb/speaker:v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			images := Clarion(test.repository, "v1", "bin", "amd64")
			for i, image := range images {
				if image.Name != test.want[i] {
					t.Errorf("got %s, want %s", image.Name, test.want[i])
				}
				if err := image.check(); err != nil {
					t.Error(err)
				}
			}
			if got := images[1].Binaries["amd64"]; got != "bin/linux_amd64/clarion-speaker" {
				t.Errorf("speaker's binary is looked for at %s", got)
			}
			if len(images[0].Capabilities) != 0 || len(images[1].Capabilities) != 1 {
				t.Error("the speaker alone carries a capability")
			}
		})
	}
}
