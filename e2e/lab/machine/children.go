package machine

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// restartPause is how long a process that ended stays down before it is
// started again.
const restartPause = time.Second

// children are the processes of a machine, seen from its PID 1, which must
// also reap what others leave behind.
type children struct {
	mu    sync.Mutex
	named map[string]*child
	byPID map[int]*child
}

// child is one named process in all its lives. Its fields belong to children.mu.
type child struct {
	process Process
	pid     int
	started int
	exit    string
	wanted  bool          // Restart applies
	ended   chan struct{} // closed at the end of the present life
}

func newChildren() *children {
	c := &children{named: map[string]*child{}, byPID: map[int]*child{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	go func() {
		for range signals {
			c.reap()
		}
	}()
	return c
}

// start starts a process under a name that no running process has.
func (c *children) start(p Process) (Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.named[p.Name]; old != nil && (old.pid != 0 || old.wanted) {
		return Status{}, fmt.Errorf("%s runs already", p.Name)
	}
	ch := &child{process: p, wanted: p.Restart}
	if err := c.launchLocked(ch); err != nil {
		return Status{}, err
	}
	c.named[p.Name] = ch
	return ch.statusLocked(), nil
}

// restart starts a process that ended, as start did.
func (c *children) restart(name string) error {
	c.mu.Lock()
	ch := c.named[name]
	c.mu.Unlock()
	if ch == nil {
		return fmt.Errorf("no process %s", name)
	}
	_, err := c.start(ch.process)
	return err
}

// launchLocked begins a life of ch. The lock keeps reap from meeting a PID
// before it is known here.
func (c *children) launchLocked(ch *child) error {
	p := ch.process
	path := p.Program
	if path == "" {
		var err error
		if path, err = lookPath(p.Args[0], p.Env); err != nil {
			return err
		}
	}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer in.Close()
	running, err := os.StartProcess(path, p.Args, &os.ProcAttr{
		Dir:   "/",
		Env:   p.Env,
		Files: []*os.File{in, out, out},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	ch.pid = running.Pid
	ch.started++
	ch.ended = make(chan struct{})
	c.byPID[ch.pid] = ch
	return running.Release() // reap waits for it, not os.Process
}

// reap collects every process that ended, ours or an orphan.
func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		ch := c.byPID[pid]
		if ch == nil {
			continue
		}
		delete(c.byPID, pid)
		ch.pid = 0
		ch.exit = describe(status)
		close(ch.ended)
		log.Printf("%s ended: %s", ch.process.Name, ch.exit)
		if ch.wanted {
			time.AfterFunc(restartPause, func() { c.relaunch(ch) })
		}
	}
}

func (c *children) relaunch(ch *child) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ch.wanted || ch.pid != 0 {
		return
	}
	if err := c.launchLocked(ch); err != nil {
		ch.exit = err.Error()
		log.Print(err)
		time.AfterFunc(restartPause, func() { c.relaunch(ch) })
	}
}

// stop ends a process and keeps it down: SIGTERM, and SIGKILL after the grace.
func (c *children) stop(name string, grace time.Duration) error {
	c.mu.Lock()
	ch := c.named[name]
	if ch == nil {
		c.mu.Unlock()
		return fmt.Errorf("no process %s", name)
	}
	ch.wanted = false
	pid, ended := ch.pid, ch.ended
	if pid != 0 {
		_ = unix.Kill(pid, unix.SIGTERM)
		_ = unix.Kill(pid, unix.SIGCONT) // a paused process hears nothing else
	}
	c.mu.Unlock()
	if pid == 0 {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-time.After(grace):
	}
	if err := c.signal(name, unix.SIGKILL); err != nil {
		return err
	}
	<-ended
	return nil
}

// signal sends a signal to a process that runs.
func (c *children) signal(name string, s unix.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.named[name]
	if ch == nil {
		return fmt.Errorf("no process %s", name)
	}
	if ch.pid == 0 {
		return nil // it ended by itself
	}
	return unix.Kill(ch.pid, s)
}

func (c *children) list() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Status, 0, len(c.named))
	for _, ch := range c.named {
		all = append(all, ch.statusLocked())
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (ch *child) statusLocked() Status {
	return Status{Name: ch.process.Name, PID: ch.pid, Restarts: ch.started - 1, Exit: ch.exit, Log: ch.process.Log}
}

func describe(s unix.WaitStatus) string {
	if s.Signaled() {
		return "signal: " + s.Signal().String()
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}

// lookPath finds a program in the PATH that its environment has.
func lookPath(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, kv := range env {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			if found, err := exec.LookPath(dir + "/" + program); err == nil {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", program, exec.ErrNotFound)
}
