package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MountInside mounts the control groups in a node's own mount and cgroup
// namespace, where the node's groups are the roots, and on v2 hands the
// controllers down as an init system would.
func (l Layout) MountInside() error {
	if l.Unified {
		if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
			return fmt.Errorf("mount cgroup2: %w", err)
		}
		return handOver(root)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	for _, h := range l.Hierarchies {
		name, options := h.Controllers, h.Controllers
		if named, ok := strings.CutPrefix(h.Controllers, "name="); ok {
			name, options = named, "none,"+h.Controllers
		}
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("cgroup", dir, "cgroup", 0, options); err != nil {
			return fmt.Errorf("mount cgroup %s: %w", name, err)
		}
		// Hierarchies that carry several controllers are known by each of them.
		if parts := strings.Split(name, ","); len(parts) > 1 {
			for _, c := range parts {
				if err := os.Symlink(name, filepath.Join(root, c)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// handOver moves every process of the v2 root into a group of its own, since a
// group with processes hands nothing down, and then gives all controllers to
// the root's children.
func handOver(dir string) error {
	home := filepath.Join(dir, "init")
	if err := os.Mkdir(home, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		for pid := range strings.FieldsSeq(string(procs)) {
			// A process may be gone by now; the next round tells.
			_ = write(filepath.Join(home, "cgroup.procs"), pid)
		}
		err = handDown(dir, strings.Fields(string(available)))
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
