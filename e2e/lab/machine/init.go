package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
)

// InitName is what PID 1 of a machine is called (its argv[0]).
const InitName = "clarion-lab-machine"

// Descriptors that Boot hands to PID 1, beside standard input and output.
const (
	specFD  = 3 // reads the Spec as JSON
	readyFD = 4 // takes "ready", or what went wrong
)

// enterCgroups is the last argument of PID 1 in its first life, see [Main].
const enterCgroups = "enter-cgroups"

// Main is PID 1 of a machine. It does not return.
//
// A cgroup namespace takes its root from the group that its creator is in, and
// only the calling thread enters it. Hence two lives: the first joins the
// groups, enters the namespace and executes itself; the second is the machine.
func Main() {
	in, ready := os.NewFile(specFD, "spec"), os.NewFile(readyFD, "ready")
	err := func() error {
		var spec Spec
		if err := json.NewDecoder(in).Decode(&spec); err != nil {
			return fmt.Errorf("read what to be: %w", err)
		}
		if os.Args[len(os.Args)-1] == enterCgroups {
			return secondLife(spec, in)
		}
		return serve(spec, ready)
	}()
	fmt.Fprintln(ready, err)
	log.Print(err)
	os.Exit(1)
}

// secondLife puts the process into its control groups and begins again there.
// It returns only when that fails.
func secondLife(spec Spec, in *os.File) error {
	runtime.LockOSThread()
	if err := cgroup.Join(spec.Cgroups); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("enter a cgroup namespace: %w", err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args[:len(os.Args)-1], os.Environ())
}

// serve sets the machine up, says so, and obeys orders until it is killed.
func serve(spec Spec, ready *os.File) error {
	unix.CloseOnExec(specFD)
	unix.CloseOnExec(readyFD)
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := mountAll(spec); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Sysctls)) {
		if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(spec.Sysctls[key]), 0); err != nil {
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	children := newChildren()
	listener, err := listenControl(spec.Dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(ready, "ready")
	ready.Close()
	return serveControl(listener, children)
}

// mountAll makes the mount namespace private and then everything in it.
func mountAll(spec Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// Some mounts will hide what others need: hold on to it first.
	visible := append([]string{spec.Dir}, spec.Visible...)
	sources := held{}
	for _, m := range spec.Mounts {
		if m.Type != bind {
			continue
		}
		if err := os.MkdirAll(m.Source, 0o755); err != nil {
			return err
		}
		if err := sources.add(m.Source); err != nil {
			return err
		}
	}
	dirs := held{}
	for _, dir := range visible {
		if err := dirs.add(dir); err != nil {
			return err
		}
	}

	kernel := []Mount{{Type: "proc", Source: "proc", Target: "/proc"}, {Type: "sysfs", Source: "sysfs", Target: "/sys"}}
	for _, m := range append(kernel, spec.Mounts...) {
		if fd, ok := sources[m.Source]; ok && m.Type == bind {
			m.Source = fdPath(fd)
		}
		if err := m.make(); err != nil {
			return err
		}
	}
	if len(spec.Cgroups) > 0 {
		if err := spec.Layout.MountInside(); err != nil {
			return err
		}
	}
	if err := dirs.restore(); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Shadows)) {
		if err := shadow(key, spec.Shadows[key]); err != nil {
			return err
		}
	}
	// Volumes that containers mount with propagation need it to be shared.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

// bind is the Type of a Mount that shows a directory of the host.
const bind = "bind"

func (m Mount) make() error {
	if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return err
	}
	fstype, flags := m.Type, uintptr(0)
	if m.Type == bind {
		fstype, flags = "", unix.MS_BIND|unix.MS_REC
	}
	if err := unix.Mount(m.Source, m.Target, fstype, flags, m.Options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.Type, m.Target, err)
	}
	return nil
}

// shadow puts a file of our own over one of /proc/sys.
func shadow(key, value string) error {
	target := filepath.Join("/proc/sys", key)
	if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	file := filepath.Join("/run/sysctl", strings.ReplaceAll(key, "/", "."))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("shadow %s: %w", key, err)
	}
	return nil
}

// held are directories kept open while something is mounted above them.
type held map[string]int

func (h held) add(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep %s at hand: %w", dir, err)
	}
	h[dir] = fd
	return nil
}

// restore mounts the directories that are hidden now where they were before.
func (h held) restore() error {
	for _, dir := range slices.Sorted(maps.Keys(h)) {
		var before, now unix.Stat_t
		if err := unix.Fstat(h[dir], &before); err != nil {
			return err
		}
		if unix.Stat(dir, &now) == nil && now.Dev == before.Dev && now.Ino == before.Ino {
			continue
		}
		if err := (Mount{Type: bind, Source: fdPath(h[dir]), Target: dir}).make(); err != nil {
			return err
		}
	}
	return nil
}

// fdPath is a name for what the descriptor refers to, hidden or not.
func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
