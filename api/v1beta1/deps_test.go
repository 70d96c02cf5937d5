package v1beta1_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Everybody imports this package, the pure parts and other people's programs among them, so it needs
// apimachinery and netipx and nothing heavier: no client, no controller-runtime, no k8s.io/api.
func TestThePackageIsLightToImport(t *testing.T) {
	output, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(output))
	if len(packages) < 50 {
		t.Fatalf("go list says that there are only %d packages", len(packages))
	}
	for _, p := range packages {
		for _, heavy := range []string{
			"k8s.io/api/", "k8s.io/client-go", "k8s.io/apiserver", "k8s.io/apiextensions-apiserver", "k8s.io/component-base",
			"sigs.k8s.io/controller-runtime", "google.golang.org/", "github.com/prometheus/", "github.com/hashicorp/",
			"github.com/vishvananda/", "github.com/mdlayher/", "github.com/osrg/",
			"github.com/clarion-lb/clarion/controller", "github.com/clarion-lb/clarion/speaker", "github.com/clarion-lb/clarion/cmd",
		} {
			if strings.HasPrefix(p, heavy) {
				t.Errorf("api/v1beta1 reaches %s", p)
			}
		}
		if module := strings.SplitN(p, "/", 3); strings.Contains(module[0], ".") && !light[strings.Join(module[:min(2, len(module))], "/")] {
			t.Errorf("api/v1beta1 reaches %s, which neither apimachinery nor netipx needs", p)
		}
	}
}

// light are the beginnings of what apimachinery and netipx need.
var light = map[string]bool{
	"k8s.io/apimachinery": true, "k8s.io/utils": true, "k8s.io/klog": true, "k8s.io/kube-openapi": true,
	"sigs.k8s.io/json": true, "sigs.k8s.io/randfill": true, "sigs.k8s.io/structured-merge-diff": true,
	"github.com/clarion-lb": true, "github.com/go-logr": true, "github.com/fxamacker": true, "github.com/x448": true,
	"github.com/json-iterator": true, "github.com/modern-go": true,
	"go4.org/netipx": true, "golang.org/x": true, "gopkg.in/inf.v0": true, "go.yaml.in/yaml": true,
}
