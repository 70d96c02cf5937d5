package layer2

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Some tests need a process of their own: the test binary, started again in a
// role. It reads its task from standard input and writes what came of it to
// standard output, both as JSON.

const childEnv = "CLARION_LAYER2_CHILD"

var roles = map[string]func(in io.Reader, out io.Writer) error{
	"generate": generate,
	"announce": announce,
	"listen":   listen,
	"hold":     hold,
}

func child(role string) int {
	if err := roles[role](os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// spawn runs a child on the host with a task and returns what it wrote.
func (h *host) spawn(role string, task any) []byte {
	h.t.Helper()
	input, err := json.Marshal(task)
	must(h.t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	var out []byte
	// A child inherits the network namespace of the thread that starts it.
	h.in(func() error {
		out, err = cmd.Output()
		return err
	})
	return out
}

type announceTask struct {
	Interface    string
	Addresses    []netip.Addr
	Capabilities []cap.Value
}

type announceResult struct {
	UID        int
	Answering  bool
	Gratuitous map[Family]uint64
	Error      string
}

// announce announces as another user and with no more than the given
// capabilities, until all addresses are answered or there is no use in going on.
func announce(in io.Reader, out io.Writer) error {
	var task announceTask
	if err := json.NewDecoder(in).Decode(&task); err != nil {
		return err
	}
	if err := cap.SetUID(65532); err != nil {
		return fmt.Errorf("changing user: %w", err)
	}
	set := cap.NewSet()
	for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
		if err := set.SetFlag(flag, true, task.Capabilities...); err != nil {
			return err
		}
	}
	if err := set.SetProc(); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}

	a := New(Options{})
	a.Apply(on(task.Interface, task.Addresses...))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answering := make(chan bool, 1)
	go func() {
		defer cancel()
		for {
			state, changed := a.State()
			if !slices.ContainsFunc(task.Addresses, func(x netip.Addr) bool { return state.Answering(x) == nil }) {
				answering <- true
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				answering <- false
				return
			}
		}
	}()
	result := announceResult{UID: os.Getuid()}
	if err := a.Run(ctx); err != nil {
		result.Error = err.Error()
		cancel()
	}
	result.Answering = <-answering
	result.Gratuitous = a.Counters().Gratuitous
	return json.NewEncoder(out).Encode(result)
}

func TestCapabilities(t *testing.T) {
	n, c := node(t), newHost(t)
	connect(t, "cl0", n, 1, c, 2)
	task := announceTask{Interface: "cl0", Addresses: append(scattered(IPv6, 600), bothFamilies...)}
	t.Run("NET_RAW is enough, as any user", func(t *testing.T) {
		task := task
		task.Capabilities = []cap.Value{cap.NET_RAW}
		var r announceResult
		must(t, json.Unmarshal(n.spawn("announce", task), &r))
		if r.UID != 65532 || !r.Answering || r.Error != "" || r.Gratuitous[IPv4] == 0 || r.Gratuitous[IPv6] == 0 {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("without it Run ends and says what is missing", func(t *testing.T) {
		var r announceResult
		must(t, json.Unmarshal(n.spawn("announce", task), &r))
		if r.Answering || !strings.Contains(r.Error, "needs CAP_NET_RAW") {
			t.Errorf("got %+v", r)
		}
	})
}

// listen listens for TCP connections until it is killed, and accepts none.
func listen(_ io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := out.Write([]byte("!")); err != nil {
		return err
	}
	select {}
}
