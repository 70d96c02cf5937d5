package stage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/clarion-lb/clarion/deploy/images"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Namespace is where deploy/clarion.yaml puts everything that has one.
const Namespace = "clarion-system"

// WebImage is the test server's image.
const WebImage = "localhost/clarion-lab-app:lab"

// manifest is what users apply, in the checkout.
const manifest = "deploy/clarion.yaml"

// Install puts Clarion into the lab as its users do: the images loaded, the
// single-file manifest applied. It returns when all its Pods are ready. The
// test server's image is loaded too.
func Install(ctx context.Context, l *lab.Lab, progress supply.Progress) error {
	archives, err := Images(ctx, filepath.Join(l.Dir(), "build"), progress)
	if err != nil {
		return err
	}
	progress("loading the images on every node")
	if err := l.LoadImage(ctx, archives...); err != nil {
		return err
	}
	checkout, err := supply.Checkout()
	if err != nil {
		return err
	}
	progress("kubectl apply -f " + manifest)
	if err := l.Apply(ctx, filepath.Join(checkout, manifest)); err != nil {
		return err
	}
	return WaitInstalled(ctx, l)
}

// WaitInstalled returns when controller and speakers are rolled out.
func WaitInstalled(ctx context.Context, l *lab.Lab) error {
	for _, workload := range []string{"deployment/clarion-controller", "daemonset/clarion-speaker"} {
		if _, err := l.Kubectl(ctx, "-n", Namespace, "rollout", "status", workload, "--timeout=120s"); err != nil {
			pods, _ := l.Kubectl(ctx, "-n", Namespace, "get", "pods", "-o", "wide")
			return fmt.Errorf("%s is not ready: %w\n%s", workload, err, pods)
		}
	}
	return nil
}

var imageLine = regexp.MustCompile(`(?m)^\s*(?:- )?image: "?([^\s"]+)"?\s*$`)

// Images builds this checkout's programs and packs them into archives in a
// directory: the product's images, under the names that deploy/clarion.yaml asks
// for, and the test server's.
func Images(ctx context.Context, directory string, progress supply.Progress) ([]string, error) {
	checkout, err := supply.Checkout()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(checkout, manifest))
	if err != nil {
		return nil, fmt.Errorf("read the manifest (make manifests writes it): %w", err)
	}
	binaries := filepath.Join(directory, "linux_"+runtime.GOARCH)
	var all []images.Image
	for _, match := range imageLine.FindAllSubmatch(text, -1) {
		name := string(match[1])
		program, colon := strings.LastIndex(name, "clarion-")+len("clarion-"), strings.LastIndex(name, ":")
		if colon < program {
			continue // not one of ours, or without a tag
		}
		for _, i := range images.Clarion(name[:program], name[colon+1:], directory, runtime.GOARCH) {
			if i.Name == name {
				all = append(all, i)
			}
		}
	}
	if len(all) != 2 {
		return nil, fmt.Errorf("%s names %d of Clarion's images, not controller and speaker", manifest, len(all))
	}
	programs := []string{"./cmd/clarion-controller", "./cmd/clarion-speaker", "./e2e/app"}
	progress("building " + strings.Join(programs, ", "))
	if err := build(ctx, checkout, binaries, programs...); err != nil {
		return nil, err
	}
	all = append(all, images.Image{
		Name:     WebImage,
		Binaries: map[string]string{runtime.GOARCH: filepath.Join(binaries, "app")},
		Path:     "/app",
		User:     images.User,
	})
	var archives []string
	for _, i := range all {
		archive := filepath.Join(directory, filepath.Base(strings.ReplaceAll(i.Name, ":", "_"))+".tar")
		i.Compression = 1 // the quickest to build and import: plain layers are too much to copy
		if err := i.WriteFile(archive); err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// build compiles static programs of the checkout into a directory.
func build(ctx context.Context, checkout, directory string, programs ...string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	argv := append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", directory + "/"}, programs...)
	cmd := exec.CommandContext(ctx, "go", argv...)
	cmd.Dir = checkout
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(programs, ", "), err, out)
	}
	return nil
}
