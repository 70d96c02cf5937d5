package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Create makes a group of this name in every hierarchy, empty even where an
// earlier node left something behind: the kubelet's cadvisor spends seconds on
// each stale group it finds. It returns the directories to [Join].
func (l Layout) Create(name string) ([]string, error) {
	var dirs []string
	for _, h := range l.Hierarchies {
		parent := h.Own
		if l.Unified {
			var err error
			if parent, err = delegable(h); err != nil {
				return dirs, err
			}
		}
		dir := filepath.Join(parent, name)
		if err := Remove(dir); err != nil {
			return dirs, err
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return dirs, fmt.Errorf("make control group: %w", err)
		}
		dirs = append(dirs, dir)
		if slices.Contains(strings.Split(h.Controllers, ","), "cpuset") {
			if err := inheritCPUs(parent, dir); err != nil {
				return dirs, err
			}
		}
	}
	return dirs, nil
}

// inheritCPUs fills a new v1 cpuset, which starts empty and would accept no
// process.
func inheritCPUs(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, file), string(value)); err != nil {
			return err
		}
	}
	return write(filepath.Join(dir, "cgroup.clone_children"), "1")
}

// delegable finds the nearest group, from the caller's own upwards, that hands
// every wanted controller down to its children; where none does, the nearest
// that can be told to. A v2 group that holds processes cannot (cgroups(7), "no
// internal processes"), so it is an ancestor of the caller's own.
func delegable(h Hierarchy) (string, error) {
	var lineage []string
	for dir := h.Own; strings.HasPrefix(dir, h.Mountpoint); dir = filepath.Dir(dir) {
		lineage = append(lineage, dir)
	}
	for _, dir := range lineage {
		if lacks, err := notHandedDown(dir, wanted); err == nil && len(lacks) == 0 {
			return dir, nil
		}
	}
	refusal := fmt.Errorf("%s is outside %s", h.Own, h.Mountpoint)
	for _, dir := range lineage {
		if refusal = handDown(dir, wanted); refusal == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("control groups: no group may hand %s down: %w", strings.Join(wanted, ", "), refusal)
}

// handDown gives the children of a v2 group these controllers.
func handDown(dir string, controllers []string) error {
	lacks, err := notHandedDown(dir, controllers)
	if err != nil {
		return err
	}
	for _, c := range lacks {
		if err := write(filepath.Join(dir, subtreeControl), "+"+c); err != nil {
			return err
		}
	}
	return nil
}

const subtreeControl = "cgroup.subtree_control"

// notHandedDown tells which of these controllers a v2 group keeps from its
// children.
func notHandedDown(dir string, controllers []string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(dir, subtreeControl))
	if err != nil {
		return nil, err
	}
	given := strings.Fields(string(content))
	var lacks []string
	for _, c := range controllers {
		if !slices.Contains(given, c) {
			lacks = append(lacks, c)
		}
	}
	return lacks, nil
}

// Join moves the calling process into these groups.
func Join(dirs []string) error {
	for _, dir := range dirs {
		if err := write(filepath.Join(dir, "cgroup.procs"), "0"); err != nil {
			return fmt.Errorf("join control group: %w", err)
		}
	}
	return nil
}

// Remove removes the group and all below it; a group that is not there is fine.
// It is patient for a moment: the last processes may just be leaving.
func Remove(dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := removeTree(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove control group %s: %w", dir, err)
	}
	return nil
}

// Find returns every group, in any hierarchy, whose name begins with prefix.
// It does not look below the groups it finds.
func (l Layout) Find(prefix string) []string {
	var found []string
	for _, h := range l.Hierarchies {
		// Groups come and go while we walk; one that vanished is not one of ours.
		_ = filepath.WalkDir(h.Mountpoint, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			if strings.HasPrefix(e.Name(), prefix) {
				found = append(found, path)
				return fs.SkipDir
			}
			return nil
		})
	}
	return found
}

func write(file, value string) error {
	return os.WriteFile(file, []byte(strings.TrimSpace(value)), 0)
}
