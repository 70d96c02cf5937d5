package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Machine is a running machine, or one that ran.
type Machine struct {
	Lab, Name string
	// Dir is the directory of its Spec.
	Dir string
	// PID is its PID 1, seen from the host.
	PID int
}

// Boot starts a machine and returns when it is ready for orders.
func Boot(ctx context.Context, spec Spec) (Machine, error) {
	m := Machine{Lab: spec.Lab, Name: spec.Name, Dir: spec.Dir}
	fail := func(err error) (Machine, error) { return m, fmt.Errorf("boot %s: %w", spec.Name, err) }

	output, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return fail(err)
	}
	defer output.Close()
	input, err := specFile(spec)
	if err != nil {
		return fail(err)
	}
	defer input.Close()
	ready, readyWriter, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer ready.Close()

	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{InitName, spec.Lab, spec.Name},
		Env:        []string{"PATH=" + os.Getenv("PATH"), "HOME=/"},
		Dir:        "/",
		Stdout:     output,
		Stderr:     output,
		ExtraFiles: []*os.File{input, readyWriter}, // specFD, readyFD
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		},
	}
	if len(spec.Cgroups) > 0 {
		cmd.Args = append(cmd.Args, enterCgroups)
	}
	err = cmd.Start()
	readyWriter.Close()
	if err != nil {
		return fail(err)
	}
	m.PID = cmd.Process.Pid
	go cmd.Wait() // we may live longer than the machine: leave no zombie

	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	said, err := io.ReadAll(ready)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if word := strings.TrimSpace(string(said)); err == nil && word != "ready" {
		if word == "" {
			word = "it died; see " + filepath.Base(spec.Log)
		}
		err = errors.New(word)
	}
	if err != nil {
		return fail(errors.Join(err, m.Kill()))
	}
	return m, nil
}

// specFile gives the spec as a file that can be read twice.
func specFile(spec Spec) (*os.File, error) {
	content, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("spec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "spec")
	if _, err := io.Copy(file, bytes.NewReader(content)); err != nil {
		file.Close()
		return nil, err
	}
	_, err = file.Seek(0, io.SeekStart)
	return file, err
}

// Alive tells whether the machine runs. A PID that meanwhile belongs to another
// process does not count.
func (m Machine) Alive() bool {
	args := cmdline(m.PID)
	return len(args) >= 3 && args[0] == InitName && args[1] == m.Lab && args[2] == m.Name
}

// Kill ends the machine at once, and everything that runs in it, and returns
// when all of it is gone. A machine that does not run is fine.
func (m Machine) Kill() error {
	if !m.Alive() {
		return nil
	}
	pidfd, err := unix.PidfdOpen(m.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("kill %s: %w", m.Name, err)
	}
	defer unix.Close(pidfd)
	if !m.Alive() { // the descriptor may be another's, who came in between
		return nil
	}
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %s: %w", m.Name, err)
	}
	// The kernel lets PID 1 end only after every other process of the
	// namespace has, and then the descriptor becomes readable.
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Find returns the machines of a lab that run, also those of which nothing else
// is known any more.
func Find(lab string) ([]Machine, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Machine
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if args := cmdline(pid); len(args) >= 3 && args[0] == InitName && args[1] == lab {
			found = append(found, Machine{Lab: lab, Name: args[2], PID: pid})
		}
	}
	return found, nil
}

// cmdline is the command line of a process; none for one that is gone or is a
// zombie.
func cmdline(pid int) []string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(content) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(content), "\x00"), "\x00")
}
