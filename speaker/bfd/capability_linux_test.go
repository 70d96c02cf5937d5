package bfd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/clarion-lb/clarion/e2e/lab/router"
)

// childEnv has this binary run a session, given as JSON, in a process of its own:
// as a user with CAP_NET_RAW alone where Drop says so.
const childEnv = "CLARION_BFD_CHILD"

type task struct {
	Session Session
	Drop    bool
}

// child says "up" when the session is Up (and has its echoes, if it should), and
// what became of it when its standard input ends.
func child() int {
	if err := beChild(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func beChild() error {
	var work task
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &work); err != nil {
		return err
	}
	if work.Drop {
		if err := drop(); err != nil {
			return err
		}
	}
	e := New(Options{})
	e.Apply([]Session{work.Session})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = e.Run(ctx) }()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(10 * ms) {
		snapshot, _ := e.Snapshot()
		got, _ := snapshot.Session(work.Session.Name)
		if isUp(got) && !got.Negotiated.Polling && (work.Session.EchoInterval == 0 || got.Counters.EchoesReceived > 0) {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("not up: %+v", got)
		}
	}
	fmt.Println("up, as", os.Getuid(), cap.GetProc())
	_, _ = io.Copy(io.Discard, os.Stdin)
	snapshot, _ := e.Snapshot()
	got, _ := snapshot.Session(work.Session.Name)
	fmt.Println("failures:", got.Failures, got.LastFailure)
	return nil
}

func drop() error {
	set := cap.NewSet()
	for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
		if err := set.SetFlag(flag, true, cap.NET_RAW); err != nil {
			return err
		}
	}
	if err := cap.SetUID(65532); err != nil {
		return err
	}
	return set.SetProc()
}

// spawn starts a child, waits until it is up, and returns it with a function that
// ends it and returns its last word.
func spawn(t testing.TB, work task) (p *os.Process, up string, end func() string) {
	t.Helper()
	text, err := json.Marshal(work)
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(out)
	up, _ = lines.ReadString('\n')
	return cmd.Process, up, func() string {
		in.Close()
		last, _ := lines.ReadString('\n')
		_ = cmd.Wait()
		return last
	}
}

func TestNetRawIsAllItTakes(t *testing.T) {
	_, tor := lab(t)
	tor.Forward()
	p := pairing{name: "s", path: Path{Local: nodeV4, Peer: routerV4, Interface: "cl0"}, ours: timers(100*ms, 100*ms, 10), their: timers(100*ms, 100*ms, 10)}
	p.ours.EchoInterval = 50 * ms
	tor.StartRouter(t, router.FRR, frrConfig([]pairing{p}))
	_, up, end := spawn(t, task{p.session(), true})
	if !strings.HasPrefix(up, "up, as 65532 cap_net_raw=ep") {
		t.Error(up)
	}
	end()
}

// A process that was not let in for a while finds packets in its queue that came
// in time.
func TestLateWakeUpIsNoSilentPeer(t *testing.T) {
	t.Parallel()
	x, y := twoAddresses()
	// The child gives its peer up after 3 × 50 ms, and is given up after 5 s.
	patient := timers(50*ms, 50*ms, 100)
	e, _ := start(t, between("child", x, y, timers(50*ms, 50*ms, 3)))
	p, up, end := spawn(t, task{Session: between("parent", y, x, patient)})
	if !strings.HasPrefix(up, "up") {
		t.Fatal(up)
	}
	for range 3 {
		must(t, p.Signal(syscall.SIGSTOP))
		time.Sleep(600 * ms)
		must(t, p.Signal(syscall.SIGCONT))
		time.Sleep(100 * ms)
	}
	if last := end(); !strings.HasPrefix(last, "failures: 0") {
		t.Error(last)
	}
	s, _ := e.Snapshot()
	if s.Sessions[0].Failures > 0 {
		t.Errorf("the parent saw %+v", s.Sessions[0])
	}
}
