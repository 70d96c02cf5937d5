package layer2

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/vishvananda/netns"
)

// Some tests need a process of their own: the test binary, started again in a
// role. It reads its task from standard input and writes what came of it to
// standard output, both as JSON.

const childEnv = "CLARION_LAYER2_CHILD"

var roles = map[string]func(in io.Reader, out io.Writer) error{
	"generate": generate,
}

func child(role string) int {
	if err := roles[role](os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// spawn runs a child on the host and returns what it wrote.
func (h *host) spawn(role string, task any, prepare func(*exec.Cmd)) ([]byte, error) {
	h.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	cmd.Stderr = os.Stderr
	if prepare != nil {
		prepare(cmd)
	}
	stdin, err := cmd.StdinPipe()
	must(h.t, err)
	var out []byte
	err = onThread(func() error {
		// A child inherits the network namespace of the thread that starts it.
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		go func() {
			json.NewEncoder(stdin).Encode(task)
			stdin.Close()
		}()
		var err error
		out, err = cmd.Output()
		return err
	})
	return out, err
}
