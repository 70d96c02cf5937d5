package images

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

func TestTheSBOMNamesEveryModuleInTheBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "build") // made of more than the standard library
	if out, err := exec.Command("go", "build", "-o", path, "./build").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := WriteSBOM(b, "clarion-speaker", "v1", binary, created); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two SBOMs of one binary differ")
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&first, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if c := bom.Metadata.Component; c.Name != "clarion-speaker" || c.Version != "v1" || len(*c.Hashes) != 1 {
		t.Errorf("it is about %+v", c)
	}
	found := map[string]bool{}
	for _, c := range *bom.Components {
		if c.Version == "" || !strings.HasPrefix(c.PackageURL, "pkg:golang/"+c.Name+"@") {
			t.Errorf("component %+v", c)
		}
		found[c.Name] = true
	}
	if !found["std"] || !found["github.com/google/go-containerregistry"] {
		t.Errorf("components %v", found)
	}
	if err := WriteSBOM(&second, "x", "v1", []byte("no program"), created); err == nil {
		t.Error("what is no Go program has an SBOM")
	}
}
