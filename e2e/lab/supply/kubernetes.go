package supply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

type program struct{ name, pkg string }

var (
	// programs in the order that builds them fastest: the kubelet shares most
	// with the others and pays for it.
	programs = []program{
		{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
		{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"},
		apiServer,
		{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
		{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
		{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
		{"etcd", "go.etcd.io/etcd/server/v3"},
	}
	apiServer = program{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"}
)

// Kubernetes returns the directory with Kubernetes' and etcd's programs, and
// builds them when the cache lacks this version. It needs Go and nothing else.
func Kubernetes(ctx context.Context, progress Progress) (string, error) {
	return build(ctx, progress, "e2e/kubernetes", programs)
}

// OldestAPIServer returns a directory with the kube-apiserver of the oldest
// Kubernetes that Clarion runs on, and the etcd and kubectl of the other one.
func OldestAPIServer(ctx context.Context, progress Progress) (string, error) {
	others, err := Kubernetes(ctx, progress)
	if err != nil {
		return "", err
	}
	bin, err := build(ctx, progress, "e2e/kubernetes/oldest", []program{apiServer})
	if err != nil {
		return "", err
	}
	for _, name := range []string{"etcd", "kubectl"} {
		link := filepath.Join(bin, name)
		if at, _ := os.Readlink(link); at == filepath.Join(others, name) {
			continue
		}
		// The other one may have been built anew since.
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if err := os.Symlink(filepath.Join(others, name), link); err != nil {
			return "", err
		}
	}
	return bin, nil
}

// build returns the directory with programs of a module in the checkout.
func build(ctx context.Context, progress Progress, module string, programs []program) (string, error) {
	checkout, err := Checkout()
	if err != nil {
		return "", err
	}
	module = filepath.Join(checkout, filepath.FromSlash(module))
	version, err := kubernetesVersion(module)
	if err != nil {
		return "", err
	}
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", err
	}
	name := "kubernetes-" + version + "-" + shortHash(sum)
	dir, err := cached(ctx, name, progress, func(dir string) error {
		return buildKubernetes(ctx, progress, module, version, filepath.Join(dir, "bin"), programs)
	})
	return filepath.Join(dir, "bin"), err
}

func buildKubernetes(ctx context.Context, progress Progress, module, version, bin string, programs []program) error {
	begin := time.Now()
	progress.printf("building Kubernetes %s from source, once: about %d minutes on 2 cores", version, 2+len(programs)/2)
	progress.printf("  0/%d fetching modules", len(programs))
	done := progress.meanwhile("      still fetching modules")
	err := run(ctx, module, nil, "go", "mod", "download")
	done()
	if err != nil {
		return err
	}
	for i, p := range programs {
		progress.printf("  %d/%d %s", i+1, len(programs), p.name)
		done := progress.meanwhile("      still building " + p.name)
		flags := "-s -w"
		if strings.HasPrefix(p.pkg, "k8s.io/") {
			flags += " " + versionFlags(version)
		}
		err := run(ctx, module, []string{"CGO_ENABLED=0", "GOWORK=off"},
			"go", "build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o", filepath.Join(bin, p.name), p.pkg)
		done()
		if err != nil {
			return fmt.Errorf("build %s: %w", p.name, err)
		}
	}
	progress.printf("Kubernetes %s built in %s", version, since(begin))
	return nil
}

// versionFlags tell the programs what they are; they would say v0.0.0 otherwise.
func versionFlags(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	const pkg = "k8s.io/component-base/version"
	return fmt.Sprintf("-X %s.gitVersion=%s -X %s.gitMajor=%s -X %s.gitMinor=%s", pkg, version, pkg, parts[0], pkg, parts[1])
}

var requirement = regexp.MustCompile(`(?m)^\s*(?:require )?k8s\.io/kubernetes (v[0-9]+\.[0-9]+\.[0-9]+\S*)`)

func kubernetesVersion(module string) (string, error) {
	content, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	match := requirement.FindSubmatch(content)
	if match == nil {
		return "", fmt.Errorf("%s requires no k8s.io/kubernetes", filepath.Join(module, "go.mod"))
	}
	return string(match[1]), nil
}

func since(begin time.Time) time.Duration {
	return time.Since(begin).Round(100 * time.Millisecond)
}
