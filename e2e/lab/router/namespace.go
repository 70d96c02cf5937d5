package router

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Namespace is a Place for tests that need no lab: a network namespace, and this process as the parent of
// everything in it.
type Namespace struct {
	// Path is a file of the network namespace, such as /proc/42/ns/net.
	Path string
	// Logs is the directory of the processes' logs.
	Logs string

	mu        sync.Mutex
	processes map[string]*process
}

type process struct {
	argv  []string
	cmd   *exec.Cmd
	ended chan struct{}
}

// Launch implements Place.
func (n *Namespace) Launch(_ context.Context, name string, argv []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.processes[name]; old != nil {
		select {
		case <-old.ended:
		default:
			return fmt.Errorf("%s runs already", name)
		}
	}
	log, err := os.OpenFile(filepath.Join(n.Logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	argv = append([]string{"nsenter", "--net=" + n.Path, "--"}, argv...)
	p := &process{argv: argv, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	if n.processes == nil {
		n.processes = map[string]*process{}
	}
	n.processes[name] = p
	return nil
}

func (n *Namespace) find(name string) (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.processes[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no process %s", name)
}

// Restart implements Place.
func (n *Namespace) Restart(ctx context.Context, name string) error {
	p, err := n.find(name)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		return fmt.Errorf("%s still runs", name)
	}
	return n.Launch(ctx, name, p.argv[3:])
}

// Signal implements Place.
func (n *Namespace) Signal(_ context.Context, name string, s unix.Signal) error {
	p, err := n.find(name)
	if err != nil {
		return err
	}
	return p.cmd.Process.Signal(s)
}

// Stop implements Place.
func (n *Namespace) Stop(_ context.Context, name string, grace time.Duration) error {
	p, err := n.find(name)
	if err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(unix.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(grace):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// Exec implements Place.
func (n *Namespace) Exec(ctx context.Context, argv ...string) (string, error) {
	argv = append([]string{"--net=" + n.Path, "--"}, argv...)
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "nsenter", argv...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s%s", strings.Join(argv[2:], " "), err, out, stderr.String())
	}
	return string(out), nil
}

// Close kills what is left.
func (n *Namespace) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.processes {
		if p.cmd.Process.Kill() == nil {
			<-p.ended
		}
	}
}
