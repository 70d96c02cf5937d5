package supply

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
)

// Check tells, in one error, everything that keeps this machine from running a
// lab with containers; what [Get] can install itself is not among it.
func Check() error {
	if runtime.GOOS != "linux" {
		return errors.New("the lab needs Linux")
	}
	var problems []string
	say := func(err error) {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	if os.Geteuid() != 0 {
		// Nothing else can be judged without it.
		return errors.New("the lab makes network namespaces and control groups and must run as root")
	}
	say(checkCapabilities())
	_, err := cgroup.Detect()
	say(err)
	say(checkOverlay())
	if missing := missingPackages(); len(missing) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			say(fmt.Errorf("not installed, and there is no apt-get to install it: %s", strings.Join(missing, ", ")))
		}
	}
	if _, err := exec.LookPath("go"); err != nil {
		say(errors.New("Go is not installed"))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("this machine cannot run the lab:\n  - %s", strings.Join(problems, "\n  - "))
}

// checkCapabilities looks for the capabilities that a root in a container often
// lacks.
func checkCapabilities() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	needed := []struct {
		bit  int
		name string
	}{
		{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{unix.CAP_NET_RAW, "CAP_NET_RAW"},
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
		{unix.CAP_SETFCAP, "CAP_SETFCAP"},
	}
	_, rest, _ := strings.Cut(string(status), "\nCapEff:")
	effective, err := strconv.ParseUint(strings.TrimSpace(rest[:max(0, strings.Index(rest, "\n"))]), 16, 64)
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	var missing []string
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("root lacks %s (an unprivileged container?)", strings.Join(missing, ", "))
	}
	return nil
}

// checkOverlay mounts an overlay in a mount namespace of its own, as containerd
// does for every container.
func checkOverlay() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: this thread ends with its namespace
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("make a mount namespace: %w", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return fmt.Errorf("make mounts private: %w", err)
			}
			if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
				return fmt.Errorf("mount tmpfs: %w", err)
			}
			for _, dir := range []string{"/run/lower", "/run/upper", "/run/work", "/run/merged"} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					return err
				}
			}
			if err := unix.Mount("overlay", "/run/merged", "overlay", 0, "lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work"); err != nil {
				return fmt.Errorf("mount overlayfs, which containers need: %w", err)
			}
			return nil
		}()
	}()
	return <-result
}
