package supply

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is the directory that everything is kept in.
func Cache() (string, error) {
	if dir := os.Getenv("CLARION_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for a cache: %w; set CLARION_CACHE", err)
	}
	return filepath.Join(dir, "clarion"), nil
}

// cached returns the path of the entry of that name, which make fills when it
// is not there. It is made elsewhere and moved, so it is never seen half done.
func cached(ctx context.Context, name string, progress Progress, make func(path string) error) (string, error) {
	dir, err := Cache()
	if err != nil {
		return "", err
	}
	entry := filepath.Join(dir, name)
	if exists(entry) {
		return entry, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"), func() {
		progress.printf("waiting for another process that is filling the cache")
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(entry) {
		return entry, nil
	}
	if err := removeUnfinished(dir); err != nil {
		return "", err
	}
	workshop, err := os.MkdirTemp(dir, unfinished)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(workshop)
	made := filepath.Join(workshop, name)
	if err := make(made); err != nil {
		return "", err
	}
	return entry, os.Rename(made, entry)
}

// unfinished begins the names of directories in which entries are made. Each
// has its own: children of a process that was killed may still be at work.
const unfinished = "unfinished-"

// removeUnfinished removes what killed processes left; whoever holds the lock
// has none of his own yet.
func removeUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	if err != nil {
		return err
	}
	for _, d := range left {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	return nil
}

// shortHash tells contents apart in the names of entries.
func shortHash(content []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(content))[:12]
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lock takes the lock that this file is, after calling busy once when somebody
// else holds it. The kernel releases it with the process, however that ends.
func lock(ctx context.Context, path string, busy func()) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			busy()
			told = true
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
