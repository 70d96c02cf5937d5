package supply

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestCacheEntriesAreWholeAndMadeOnce(t *testing.T) {
	t.Setenv("CLARION_CACHE", t.TempDir())
	var made atomic.Int32
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			entry, err := cached(t.Context(), "thing", nil, func(path string) error {
				made.Add(1)
				if err := os.Mkdir(path, 0o755); err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(path, "file"), []byte("whole"), 0o644)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if content, err := os.ReadFile(filepath.Join(entry, "file")); string(content) != "whole" {
				t.Errorf("%q, %v", content, err)
			}
		})
	}
	g.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestCacheKeepsNothingHalfMade(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CLARION_CACHE", dir)
	broken := errors.New("broken")
	_, err := cached(t.Context(), "thing", nil, func(path string) error {
		if err := os.WriteFile(path, []byte("ha"), 0o644); err != nil {
			t.Fatal(err)
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			t.Errorf("left: %s", e.Name())
		}
	}
}

func TestCacheForgetsWhatAKilledProcessLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CLARION_CACHE", dir)
	if err := os.MkdirAll(filepath.Join(dir, unfinished+"1234", "old"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := cached(t.Context(), "thing", nil, func(path string) error { return os.Mkdir(path, 0o755) }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "lock" && e.Name() != "thing" {
			t.Errorf("left: %s", e.Name())
		}
	}
}

func TestWaitingForTheCacheEndsWithTheContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), file, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var told atomic.Int32
	_, err = lock(ctx, file, func() { told.Add(1); cancel() })
	if !errors.Is(err, context.Canceled) || told.Load() != 1 {
		t.Errorf("got %v, told %d times", err, told.Load())
	}
}

func TestKubernetesVersionIsTheModules(t *testing.T) {
	checkout, err := Checkout()
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{"kubernetes": "v1.3", "kubernetes/oldest": "v1.31."} {
		version, err := kubernetesVersion(filepath.Join(checkout, "e2e", filepath.FromSlash(module)))
		if err != nil || !strings.HasPrefix(version, want) {
			t.Errorf("%s: got %s, want %s…: %v", module, version, want, err)
		}
	}
}

func TestVersionFlags(t *testing.T) {
	got := versionFlags("v1.36.3")
	for _, want := range []string{"version.gitVersion=v1.36.3", "version.gitMajor=1 ", "version.gitMinor=36"} {
		if !strings.Contains(got+" ", want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func TestFailuresShowTheEndOfWhatWasSaid(t *testing.T) {
	err := run(t.Context(), "/", nil, "sh", "-c", "seq 30; echo it is the disk >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "it is the disk") || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "\n5\n") {
		t.Errorf("everything is told: %v", err)
	}
}

func TestNFTMustBeNewEnough(t *testing.T) {
	for version, want := range map[string]bool{
		"nftables v1.0.6 (Lester Gooch #5)":  true,
		"nftables v1.0.1 (Fearless Fosdick)": true,
		"nftables v1.1.0":                    true,
		"nftables v1.0.0":                    false,
		"nftables v0.9.8 (E.D.S.)":           false,
		"command not understood":             false,
	} {
		if got := newEnough(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}
