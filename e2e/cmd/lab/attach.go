package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// exitStatus is how a command that ran in our place ended. It has said why.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// run runs a command in our place: it has our terminal, and what is typed there
// to interrupt reaches it directly, so that it may end as it likes.
func run(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = nil
	cmd.Cancel = func() error { return nil }
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitStatus(max(exit.ExitCode(), 1)) // -1: by a signal
	}
	return err
}
