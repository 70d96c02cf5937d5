package supply

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// routerPackages are unpacked into the cache with whatever libraries this
// machine lacks, and not installed: an installed router would start and touch
// the machine's own routes.
var routerPackages = []string{"frr", "bird2"}

// Routers are FRR and BIRD as paths of this machine.
type Routers struct {
	// Dir has the packages' files, as if it were the root directory.
	Dir string
}

// GetRouters returns FRR and BIRD, and fetches them first when the cache lacks
// them. It needs none of what [Get] needs.
func GetRouters(ctx context.Context, progress Progress) (Routers, error) {
	if err := CheckRoot(); err != nil {
		return Routers{}, err
	}
	release, err := codename()
	if err != nil {
		return Routers{}, err
	}
	dir, err := cached(ctx, "routers-"+release, progress, func(dir string) error {
		begin := time.Now()
		progress.printf("fetching %s", strings.Join(routerPackages, ", "))
		if err := unpackWithLibraries(ctx, dir); err != nil {
			return fmt.Errorf("unpack %s: %w", strings.Join(routerPackages, ", "), err)
		}
		progress.printf("  unpacked (%s)", since(begin))
		return nil
	})
	return Routers{Dir: dir}, err
}

// unpackWithLibraries unpacks the packages and those that they need and this
// machine does not have.
func unpackWithLibraries(ctx context.Context, dir string) error {
	downloads, err := os.MkdirTemp("", "clarion-packages-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(downloads)
	if err := os.Mkdir(filepath.Join(downloads, "partial"), 0o755); err != nil {
		return err
	}
	download := append([]string{"apt-get", "install", "--yes", "--no-install-recommends", "--reinstall", "--download-only",
		"-o", "Dir::Cache::archives=" + downloads}, routerPackages...)
	if err := withPackageLists(ctx, func() error { return apt(ctx, "/", download...) }); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(downloads, "*.deb"))
	if err != nil {
		return err
	}
	if len(packages) < len(routerPackages) {
		return fmt.Errorf("apt-get fetched %d packages only", len(packages))
	}
	for _, p := range packages {
		if err := run(ctx, "/", nil, "dpkg", "-x", p, dir); err != nil {
			return err
		}
	}
	return nil
}

// Libraries is an LD_LIBRARY_PATH for the routers' programs.
func (r Routers) Libraries() string {
	dirs, _ := filepath.Glob(filepath.Join(r.Dir, "usr/lib/*-linux-gnu*"))
	more, _ := filepath.Glob(filepath.Join(r.Dir, "usr/lib/*-linux-gnu*/frr"))
	lib, _ := filepath.Glob(filepath.Join(r.Dir, "lib/*-linux-gnu*"))
	return strings.Join(append(append(dirs, more...), lib...), ":")
}
