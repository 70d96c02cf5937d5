package bgp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Times of the supervision.
const (
	// pingEvery is how often the child is asked whether it still does anything, and pingPatience how long
	// its answer may take: a starving machine is slow, and that is no reason to end sessions.
	pingEvery    = 5 * time.Second
	pingPatience = 30 * time.Second
	// calm is how long a child must live for its end to count as the first again.
	calm = time.Minute
)

// restartDelay is how long to wait before the child is started again that ended n times in a row.
func restartDelay(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(100*time.Millisecond<<min(n-2, 10), 10*time.Second)
}

// errIdle is how a child ends that has no peers left.
var errIdle = errors.New("there are no peers")

// Run keeps the child until ctx ends, and ends it then as a crash would: call Leave or Restart first. The
// child starts with the first peer, and ends with the last.
func (m *Manager) Run(ctx context.Context) error {
	var status Child
	inARow := 0
	for m.waitPeers(ctx, status) {
		begin := time.Now()
		exit := m.runChild(ctx, &status)
		status.PID = 0
		if ctx.Err() != nil || m.isStopped() {
			m.finish()
			break
		}
		if errors.Is(exit, errIdle) {
			inARow = 0
			m.publish(time.Now(), nil, status)
			m.log.Info("The BGP process has ended: there are no peers")
			continue
		}
		if time.Since(begin) >= calm {
			inARow = 0
		}
		inARow++
		status.LastExit, status.LastExitAt = exit.Error(), time.Now()
		m.publish(time.Now(), nil, status)
		m.log.Error("The BGP process ended; it is started again", "reason", status.LastExit, "restarts", status.Restarts+1)
		select {
		case <-ctx.Done():
			m.finish()
			return nil
		case <-time.After(restartDelay(inARow)):
		}
		status.Restarts++
	}
	m.finish()
	<-ctx.Done()
	return nil
}

// waitPeers waits until there is a peer to have a session with. It is false when there will be nothing to do.
func (m *Manager) waitPeers(ctx context.Context, status Child) bool {
	for {
		m.mu.Lock()
		peers, stop := len(m.desired) > 0, m.stop != nil
		m.mu.Unlock()
		switch {
		case stop || ctx.Err() != nil:
			return false
		case peers:
			return true
		}
		if m.hasNews() {
			m.publish(time.Now(), nil, status) // of peers that can't be
		}
		select {
		case <-ctx.Done():
		case <-m.wake:
		}
	}
}

func (m *Manager) isStopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stop != nil
}

// finish lets Leave and Restart return.
func (m *Manager) finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.ended = true
		close(m.stopped)
	}
}

// runChild starts a child, tells it everything and goes on telling it what changes, until it ends, or has nothing to
// do any more. The error says how.
func (m *Manager) runChild(ctx context.Context, status *Child) error {
	c, err := startChild(m.command())
	if err != nil {
		return err
	}
	defer c.kill()
	status.PID, status.Since = c.cmd.Process.Pid, time.Now()
	m.log.Info("The BGP process runs", "pid", status.PID)

	reports := make(chan Report)
	go c.read(reports)
	known := told{peers: map[string]Peer{}, holds: map[string]string{}}
	sessions := map[string]Session{}
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var asked uint64
	askedAt := time.Time{} // zero while no answer is awaited
	retiring := false      // it was told to end, and says so when the last connections are closed

	m.poke()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.wake:
			if retiring {
				break // whatever has changed is for the next one
			}
			o := m.order(&known)
			if !o.empty() {
				if err := c.tell(o); err != nil {
					return c.end(err)
				}
			}
			for _, name := range o.Gone {
				delete(sessions, name)
			}
			if !o.empty() || m.hasNews() {
				m.publish(time.Now(), sessions, *status)
			}
			if len(known.peers) == 0 && !known.stop {
				if err := c.tell(Order{Stop: &Stop{}}); err != nil {
					return c.end(err)
				}
				retiring, askedAt = true, time.Now()
				asked++ // which no answer has
			}
		case r, ok := <-reports:
			if !ok {
				return c.end(errors.New("it closed its end"))
			}
			if r.Stopped && retiring {
				return errIdle
			}
			if r.Stopped {
				m.publish(time.Now(), sessions, *status)
				return errors.New("stopped")
			}
			if r.Pong == asked {
				askedAt = time.Time{}
			}
			for _, s := range r.Sessions {
				if _, wanted := known.peers[s.Peer]; wanted {
					m.logChange(sessions[s.Peer], s)
					sessions[s.Peer] = s
				}
			}
			if len(r.Sessions) > 0 {
				m.publish(time.Now(), sessions, *status)
			}
		case now := <-ping.C:
			switch {
			case askedAt.IsZero():
				asked++
				askedAt = now
				if err := c.tell(Order{Ping: asked}); err != nil {
					return c.end(err)
				}
			case now.Sub(askedAt) > pingPatience:
				return c.end(fmt.Errorf("it did not answer for %s", pingPatience))
			}
		}
	}
}

// logChange says when a session comes and goes, and a reason for not coming when it is new.
func (m *Manager) logChange(old, new Session) {
	switch {
	case new.State == Established && (old.State != Established || new.Ups != old.Ups):
		m.log.Info("BGP session established", "peer", new.Peer, "address", new.Remote.Addr())
	case old.State == Established && new.State != Established:
		m.log.Warn("BGP session ended", "peer", new.Peer, "reason", new.LastError, "message", new.LastMessage)
	case new.LastError != "" && new.LastError != old.LastError:
		m.log.Warn("BGP session does not come up", "peer", new.Peer, "reason", new.LastError, "message", new.LastMessage)
	}
}

// childProcess is a child and the border to it.
type childProcess struct {
	cmd    *exec.Cmd
	conn   net.Conn
	stderr *tailBuffer
	done   chan struct{} // closed when it has ended
}

func startChild(cmd *exec.Cmd) (*childProcess, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "bgp"), os.NewFile(uintptr(fds[1]), "bgp")
	defer theirs.Close()
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	c := &childProcess{cmd: cmd, conn: conn, stderr: &tailBuffer{}, done: make(chan struct{})}
	cmd.ExtraFiles = []*os.File{theirs} // ChildFD
	cmd.Stderr = c.stderr
	// A signal for the speaker's process group is for the speaker, who says how to stop.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start: %w", err)
	}
	go func() {
		_ = cmd.Wait() // ProcessState has it
		close(c.done)
	}()
	return c, nil
}

// read passes reports on until the child's end is closed.
func (c *childProcess) read(reports chan<- Report) {
	defer close(reports)
	decoder := json.NewDecoder(c.conn)
	for {
		var r Report
		if err := decoder.Decode(&r); err != nil {
			return
		}
		select {
		case reports <- r:
		case <-c.done:
			return
		}
	}
}

func (c *childProcess) tell(o Order) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(pingPatience)); err != nil {
		return err
	}
	return json.NewEncoder(c.conn).Encode(o)
}

// end makes sure that the child has ended, and says how it did.
func (c *childProcess) end(cause error) error {
	select {
	case <-c.done:
	case <-time.After(time.Second): // it may be at it
	}
	c.kill()
	how := c.cmd.ProcessState.String()
	if last := c.stderr.firstLine(); last != "" {
		return fmt.Errorf("%s: %s", how, last)
	}
	return fmt.Errorf("%s (%w)", how, cause)
}

// kill ends it as a crash does: routers see the connections close.
func (c *childProcess) kill() {
	c.conn.Close()
	_ = c.cmd.Process.Kill() // it has ended already, or ends now
	<-c.done
}

// tailBuffer keeps the beginning of what a child says at its end.
type tailBuffer struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := 4096 - b.said.Len(); room > 0 {
		b.said.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// firstLine is what a panic begins with.
func (b *tailBuffer) firstLine() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	line, _, _ := strings.Cut(strings.TrimSpace(b.said.String()), "\n")
	return line
}

var _ io.Writer = (*tailBuffer)(nil)
