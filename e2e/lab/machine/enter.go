package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command prepares a command that runs in the machine, in all its namespaces.
// Cancelling ctx kills it.
func (m Machine) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(m.PID), "--all", "--"}, argv...)...)
	// nsenter forks to enter the pid namespace: the group reaches its child too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd
}

// Network opens the machine's network namespace. The namespace lives as long as
// the descriptor, even when the machine is gone: close it soon.
func (m Machine) Network() (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/%d/ns/net", m.PID))
}

// InNetwork calls f on a thread that is in the machine's network: sockets that
// f opens, and /proc/sys/net as f sees it, are the machine's.
func (m Machine) InNetwork(f func() error) error {
	there, err := m.Network()
	if err != nil {
		return fmt.Errorf("enter network of %s: %w", m.Name, err)
	}
	defer there.Close()
	result := make(chan error)
	go func() {
		// If the way back should fail the thread stays locked: it ends with this
		// goroutine, and nobody else finds himself in the wrong network.
		runtime.LockOSThread()
		result <- func() error {
			here, err := os.Open("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			defer here.Close()
			if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter network of %s: %w", m.Name, err)
			}
			err = f()
			if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			return err
		}()
	}()
	return <-result
}
