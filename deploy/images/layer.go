package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// machines are the architectures an image can be built for: GOARCH to what stands in the binary's ELF header.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64,
	"arm64": elf.EM_AARCH64,
}

// checkStatic tells whether the binary runs in an image that holds nothing else: an ELF file for this architecture that
// asks for no dynamic loader.
func checkStatic(binary []byte, architecture string) error {
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("not a Linux program: %w", err)
	}
	if want, known := machines[architecture]; !known || f.Machine != want {
		return fmt.Errorf("built for %v, not for %s", f.Machine, architecture)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("dynamically linked, and the image holds no libraries: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// layer makes the image's one layer: the binary at path, with its file capabilities.
func (i Image) layer(binary []byte) (v1.Layer, error) {
	content, err := layerTar(i.path(), binary, i.Capabilities, i.created())
	if err != nil {
		return nil, err
	}
	if i.Compression == gzip.NoCompression {
		return static.NewLayer(content, types.OCIUncompressedLayer), nil
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(i.Compression), tarball.WithCompressedCaching)
}

func layerTar(path string, binary []byte, capabilities []Capability, modified time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     path[1:],
		Mode:     0o755,
		Size:     int64(len(binary)),
		ModTime:  modified.Truncate(time.Second),
		Format:   tar.FormatPAX,
	}
	if len(capabilities) > 0 {
		h.PAXRecords = map[string]string{xattrCapability: fileCapability(capabilities...)}
	}
	if err := w.WriteHeader(h); err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readBinary reads the binary of one architecture and refuses what could not run in the image.
func readBinary(file, architecture string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := checkStatic(b, architecture); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}
