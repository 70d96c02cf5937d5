package images

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// TestTwoBuildsOfACommitAreTheSameImages builds as users do, in two checkouts at different places, one after the other: what the
// compiler or the archive noted of place or time would show.
func TestTwoBuildsOfACommitAreTheSameImages(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("images are built by make, which is not installed")
	}
	var builds []map[string]string
	for _, place := range []string{"here", "somewhere/else"} {
		checkout := filepath.Join(t.TempDir(), place)
		copyCheckout(t, "../..", checkout)
		c := exec.Command("make", "-C", checkout, "images", "ARCHITECTURES="+runtime.GOARCH, "REVISION=v1.2.3", "SOURCE_DATE_EPOCH=1780000000")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("make images: %v\n%s", err, out)
		}
		builds = append(builds, sums(t, filepath.Join(checkout, "bin", "images")))
	}
	if want := 4; len(builds[0]) != want { // two images, and what is in them
		t.Errorf("make images writes %v, want %d files", slices.Sorted(maps.Keys(builds[0])), want)
	}
	if !maps.Equal(builds[0], builds[1]) {
		t.Errorf("built twice, the files differ:\n%v\n%v", builds[0], builds[1])
	}
}

// copyCheckout copies what a clone has, apart from its history.
func copyCheckout(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case name == ".git", name == "bin", name == "_artifacts":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil // .git is a file in a worktree
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sums returns the digest of each file in a directory by its name.
func sums(t *testing.T, directory string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(directory, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(content))
	}
	return all
}
