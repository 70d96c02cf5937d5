package supply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tools are called by name by Kubernetes, containerd and the CNI plugins, and
// by the lab; the packages that have them are installed when one is missing.
var tools = []struct{ command, pkg string }{
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"ip6tables", "iptables"},
	{"nsenter", "util-linux"},
	{"mount", "mount"},
}

// runtimePackages are unpacked into the cache and not installed: an installed
// containerd would start, and might meet another one.
var runtimePackages = []string{"containerd", "runc", "containernetworking-plugins"}

// installTools installs the tools that this machine lacks.
func installTools(ctx context.Context, progress Progress) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	begin := time.Now()
	progress.printf("installing %s", strings.Join(missing, ", "))
	install := append([]string{"apt-get", "install", "--yes", "--no-install-recommends"}, missing...)
	if err := withPackageLists(ctx, func() error { return apt(ctx, "/", install...) }); err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(missing, ", "), err)
	}
	progress.printf("  installed (%s)", since(begin))
	return nil
}

func missingPackages() []string {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.command); err != nil && (len(missing) == 0 || missing[len(missing)-1] != t.pkg) {
			missing = append(missing, t.pkg)
		}
	}
	return missing
}

// containers unpacks the container runtime into the cache.
func containers(ctx context.Context, progress Progress) (dirs []string, cni string, err error) {
	release, err := codename()
	if err != nil {
		return nil, "", err
	}
	dir, err := cached(ctx, "containers-"+release, progress, func(dir string) error {
		begin := time.Now()
		progress.printf("fetching %s", strings.Join(runtimePackages, ", "))
		if err := unpack(ctx, dir); err != nil {
			return fmt.Errorf("unpack %s: %w", strings.Join(runtimePackages, ", "), err)
		}
		progress.printf("  unpacked (%s)", since(begin))
		return nil
	})
	return []string{filepath.Join(dir, "usr/bin"), filepath.Join(dir, "usr/sbin")}, filepath.Join(dir, "usr/lib/cni"), err
}

func unpack(ctx context.Context, dir string) error {
	downloads, err := os.MkdirTemp("", "clarion-packages-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(downloads)
	download := append([]string{"apt-get", "download"}, runtimePackages...)
	if err := withPackageLists(ctx, func() error { return apt(ctx, downloads, download...) }); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(downloads, "*.deb"))
	if err != nil {
		return err
	}
	for _, p := range packages {
		if err := run(ctx, "/", nil, "dpkg", "-x", p, dir); err != nil {
			return err
		}
	}
	return nil
}

// withPackageLists does something with apt, and again with fresh lists of what
// there is when it did not work with those at hand.
func withPackageLists(ctx context.Context, do func() error) error {
	first := do()
	if first == nil || ctx.Err() != nil {
		return first
	}
	if err := apt(ctx, "/", "apt-get", "update"); err != nil {
		return errors.Join(first, err)
	}
	return do()
}

// apt runs apt-get without questions; as root it reads what it downloads itself.
func apt(ctx context.Context, dir string, argv ...string) error {
	argv = append([]string{argv[0], "--quiet", "-o", "APT::Sandbox::User=root", "-o", "DPkg::Lock::Timeout=120"}, argv[1:]...)
	return run(ctx, dir, []string{"DEBIAN_FRONTEND=noninteractive"}, argv...)
}

// codename is the release of this machine's distribution, e.g. "bookworm".
func codename() (string, error) {
	content, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(content), "\n") {
		if name, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "unknown", nil
}
