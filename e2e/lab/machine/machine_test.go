package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	if os.Args[0] == InitName {
		Main()
	}
}

// boot boots a bare machine for a test.
func boot(t *testing.T, change func(*Spec)) Machine {
	t.Helper()
	if os.Getenv("CLARION_LAB") == "" {
		t.Skip("makes namespaces, which needs root: set CLARION_LAB=1")
	}
	spec := Spec{Lab: "machine-test", Name: strings.ToLower(t.Name()), Dir: t.TempDir()}
	spec.Log = filepath.Join(spec.Dir, "machine.log")
	if change != nil {
		change(&spec)
	}
	m, err := Boot(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Kill(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// say runs a command in the machine and returns what it said.
func say(t *testing.T, m Machine, argv ...string) string {
	t.Helper()
	out, err := m.Command(t.Context(), argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

func start(t *testing.T, m Machine, p Process) {
	t.Helper()
	p.Log = filepath.Join(m.Dir, p.Name+".log")
	p.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if err := m.Start(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, m Machine, name string) Status {
	t.Helper()
	all, err := m.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no process %s among %v", name, all)
	return Status{}
}

// eventually waits for something that happens in another process.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestAMachineIsItsOwn(t *testing.T) {
	hidden := t.TempDir()
	visible := filepath.Join(hidden, "visible")
	if err := os.Mkdir(visible, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(visible, "file"), []byte("seen"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hidden, "file"), []byte("unseen"), 0o644); err != nil {
		t.Fatal(err)
	}
	panicOnOOM, err := os.ReadFile("/proc/sys/vm/panic_on_oom")
	if err != nil {
		t.Fatal(err)
	}
	m := boot(t, func(s *Spec) {
		s.Name = "own"
		s.Mounts = []Mount{
			{Type: "tmpfs", Source: "tmpfs", Target: "/run"},
			{Type: "tmpfs", Source: "tmpfs", Target: hidden},
		}
		s.Visible = []string{visible}
		s.Sysctls = map[string]string{"net/ipv4/ip_forward": "1"}
		s.Shadows = map[string]string{"vm/panic_on_oom": "2"}
	})

	if got := say(t, m, "hostname"); got != "own" {
		t.Errorf("its name is %q", got)
	}
	if got := say(t, m, "ls", "/sys/class/net"); got != "lo" {
		t.Errorf("it has the interfaces %q", got)
	}
	if got := say(t, m, "cat", "/proc/sys/net/ipv4/ip_forward"); got != "1" {
		t.Errorf("it forwards: %q", got)
	}
	if got := say(t, m, "ls", hidden); got != "visible" {
		t.Errorf("in the hidden directory it sees %q", got)
	}
	if got := say(t, m, "cat", filepath.Join(visible, "file")); got != "seen" {
		t.Errorf("in the visible directory it sees %q", got)
	}
	if got := say(t, m, "sh", "-c", "echo 1 >/proc/sys/vm/panic_on_oom; cat /proc/sys/vm/panic_on_oom"); got != "1" {
		t.Errorf("a shadowed setting reads %q after it was written", got)
	}
	if now, err := os.ReadFile("/proc/sys/vm/panic_on_oom"); err != nil || string(now) != string(panicOnOOM) {
		t.Errorf("the computer's own setting is %q, was %q", now, panicOnOOM)
	}
}

func TestAProcessIsRestarted(t *testing.T) {
	m := boot(t, nil)
	start(t, m, Process{Name: "sleeper", Args: []string{"sleep", "1000"}, Restart: true})
	first := status(t, m, "sleeper").PID
	if err := m.Signal(t.Context(), "sleeper", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second life", func() bool {
		s := status(t, m, "sleeper")
		return s.PID != 0 && s.PID != first && s.Restarts == 1
	})
	if exit := status(t, m, "sleeper").Exit; exit != "signal: killed" {
		t.Errorf("it ended by %q", exit)
	}
}

func TestAStoppedProcessStaysDownUntilItIsStarted(t *testing.T) {
	m := boot(t, nil)
	p := Process{Name: "sleeper", Args: []string{"sleep", "1000"}, Restart: true}
	start(t, m, p)
	if err := m.Start(t.Context(), p); err == nil {
		t.Error("two processes of one name")
	}
	if err := m.Signal(t.Context(), "sleeper", unix.SIGSTOP); err != nil { // a paused process can be stopped too
		t.Fatal(err)
	}
	if err := m.Stop(t.Context(), "sleeper", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if s := status(t, m, "sleeper"); s.PID != 0 || s.Exit != "signal: terminated" {
		t.Errorf("after stop: %+v", s)
	}
	start(t, m, p)
	if s := status(t, m, "sleeper"); s.PID == 0 || s.Restarts != 0 {
		t.Errorf("after start: %+v", s)
	}
}

func TestAProcessThatIgnoresSIGTERMIsKilled(t *testing.T) {
	m := boot(t, nil)
	start(t, m, Process{Name: "stubborn", Args: []string{"sh", "-c", `trap "" TERM; echo deaf; while :; do sleep 1; done`}})
	eventually(t, "its trap", func() bool {
		content, err := os.ReadFile(filepath.Join(m.Dir, "stubborn.log"))
		return err == nil && string(content) == "deaf\n"
	})
	if err := m.Stop(t.Context(), "stubborn", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if s := status(t, m, "stubborn"); s.PID != 0 || s.Exit != "signal: killed" {
		t.Errorf("%+v", s)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	m := boot(t, nil)
	start(t, m, Process{Name: "parent", Args: []string{"sh", "-c", "sleep 0.1 & exit 4"}})
	eventually(t, "the parent's end", func() bool { return status(t, m, "parent").Exit == "exit status 4" })
	eventually(t, "the orphan's burial", func() bool {
		return !strings.Contains(say(t, m, "sh", "-c", "cat /proc/[0-9]*/stat"), "(sleep)")
	})
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	m := boot(t, nil)
	err := m.Start(t.Context(), Process{Name: "ghost", Args: []string{"no-such-program"}, Env: []string{"PATH=/bin"}, Log: filepath.Join(m.Dir, "ghost.log")})
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("got %v", err)
	}
}

func TestKillEndsEverythingInTheMachine(t *testing.T) {
	m := boot(t, nil)
	start(t, m, Process{Name: "sleeper", Args: []string{"sleep", "98765"}, Restart: true})
	inside := m.Command(t.Context(), "sleep", "98765")
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	found, err := Find(m.Lab)
	if err != nil || len(found) == 0 {
		t.Fatalf("found %v, %v", found, err)
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if m.Alive() {
		t.Error("it is alive")
	}
	if err := inside.Wait(); err == nil {
		t.Error("a command in it ended well")
	}
	left, err := Find(m.Lab)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range left {
		if other.PID == m.PID {
			t.Errorf("left: %+v", other)
		}
	}
	if err := m.Kill(); err != nil {
		t.Errorf("killing it again: %v", err)
	}
}

func TestSocketsAreTheMachines(t *testing.T) {
	m := boot(t, nil)
	if out, err := m.Command(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var l net.Listener
	err := m.InNetwork(func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:7777")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := net.Dial("tcp", "127.0.0.1:7777"); err == nil {
		c.Close()
		t.Error("it is reached from outside")
	}
	c, err := m.Dial(t.Context(), "tcp", "127.0.0.1:7777")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if c, err := m.Dial(t.Context(), "tcp", "127.0.0.1:7778"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("where nobody listens: %v, %v", c, err)
	}
}

func TestADialThatNobodyAnswersEndsWithItsContextAndKeepsNoThread(t *testing.T) {
	m := boot(t, nil)
	for _, argv := range [][]string{
		{"ip", "link", "add", "nowhere", "type", "veth", "peer", "name", "nobody"},
		{"ip", "link", "set", "nobody", "up"},
		{"ip", "link", "set", "nowhere", "up", "arp", "off"},
		{"ip", "addr", "add", "192.0.2.1/24", "dev", "nowhere"},
	} {
		say(t, m, argv...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := m.Dial(ctx, "tcp", "192.0.2.2:80")
		failed <- err
	}()
	there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", m.PID))
	if err != nil {
		t.Fatal(err)
	}
	const synSent = "020200C0:0050 02" // 192.0.2.2:80 and the state, proc_net_tcp
	eventually(t, "the SYN", func() bool { return strings.Contains(say(t, m, "cat", "/proc/net/tcp"), synSent) })
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		if ns, err := os.Readlink(thread); err == nil && ns == there {
			t.Errorf("%s is in the machine", thread)
		}
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestBootTellsWhatWentWrong(t *testing.T) {
	if os.Getenv("CLARION_LAB") == "" {
		t.Skip("makes namespaces, which needs root: set CLARION_LAB=1")
	}
	dir := t.TempDir()
	_, err := Boot(t.Context(), Spec{
		Lab: "machine-test", Name: "bad", Dir: dir, Log: filepath.Join(dir, "machine.log"),
		Mounts: []Mount{{Type: "no-such-fs", Target: "/mnt"}},
	})
	if err == nil || !strings.Contains(err.Error(), "no-such-fs") {
		t.Errorf("got %v", err)
	}
	if left, err := Find("machine-test"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
