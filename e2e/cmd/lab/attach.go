package main

import (
	"os"
	"os/exec"
)

// run runs a command in our place: it has our terminal, and what is typed there
// to interrupt reaches it directly, so that it may end as it likes.
func run(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = nil
	cmd.Cancel = func() error { return nil }
	return cmd.Run()
}
