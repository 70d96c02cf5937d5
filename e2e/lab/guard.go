package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A guard is a process that waits for the end of a pipe whose other end is held
// by the process that it watches.
const guardName = "clarion-lab-guard"

// released is what a guard reads when there is nothing to guard any more.
const released = "released"

// guardPatience is how long a guard tries.
const guardPatience = time.Minute

// Guard has the lab of that name taken down when this process ends without
// having released it: killed, crashed, timed out. It may be called before the
// lab is made; [Up] does.
func Guard(name string) (release func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{guardName, name},
		Env:         os.Environ(),
		Dir:         "/",
		Stdin:       read,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, fmt.Errorf("start guard of lab %s: %w", name, err)
	}
	return func() {
		_, _ = io.WriteString(write, released) // a guard that died guards nothing
		write.Close()
		_ = cmd.Wait()
	}, nil
}

func guardMain() {
	word, _ := io.ReadAll(os.Stdin)
	if string(word) == released {
		os.Exit(0)
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	if err := Destroy(ctx, os.Args[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
		os.Exit(1)
	}
	os.Exit(0)
}
