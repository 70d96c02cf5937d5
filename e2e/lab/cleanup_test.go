package lab

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/machine"
)

// victim is the environment variable that makes this test binary a program that
// makes the light lab of that name, and then waits to be killed.
const victim = "CLARION_LAB_TEST_VICTIM"

func TestMain(m *testing.M) {
	if name := os.Getenv(victim); name != "" {
		release, err := Guard(name)
		if err != nil {
			os.Exit(1)
		}
		if os.Getenv(victim+"_UNGUARDED") != "" {
			release()
		}
		if _, err := Create(context.Background(), Options{Name: name, Nodes: 1, Light: true}); err != nil {
			os.Exit(1)
		}
		select {}
	}
	os.Exit(m.Run())
}

func needLab(t *testing.T) {
	t.Helper()
	if os.Getenv(Enable) == "" {
		t.Skipf("makes a lab, which needs root: set %s=1", Enable)
	}
}

// startVictim starts a victim and returns when its lab is as far as until says.
func startVictim(t *testing.T, lab string, until func() bool, env ...string) *exec.Cmd {
	t.Helper()
	needLab(t)
	t.Cleanup(func() {
		if err := Destroy(context.Background(), lab); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), victim+"="+lab), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !until(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			t.Fatal("the lab does not come up")
		}
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v", err)
	}
}

// isRunning tells whether a lab has a machine of that name.
func isRunning(lab, host string) func() bool {
	return func() bool {
		found, err := machine.Find(lab)
		return err == nil && slices.ContainsFunc(found, func(m machine.Machine) bool { return m.Name == host })
	}
}

func TestALabWhoseMakerWasKilledIsRemovedByName(t *testing.T) {
	before := traceHost(t)
	for _, stage := range []struct{ name, host string }{
		{"half-made", fabricName},
		{"made", nodeName(1)},
	} {
		t.Run(stage.name, func(t *testing.T) {
			name := "killed-" + stage.name
			cmd := startVictim(t, name, isRunning(name, stage.host), victim+"_UNGUARDED=1")
			kill(t, cmd)
			if !isRunning(name, fabricName)() {
				t.Fatal("nothing was left to be removed")
			}
			namespaces := namespacesOf(t, name)
			if err := Destroy(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			noTraceOf(t, name, before)
			noProcessIn(t, namespaces)
		})
	}
}

func TestALabIsFoundByItsProcessesWhenItsFilesAreGone(t *testing.T) {
	before := traceHost(t)
	const name = "filesgone"
	cmd := startVictim(t, name, isRunning(name, nodeName(1)), victim+"_UNGUARDED=1")
	kill(t, cmd)
	// What still runs may write a file while they are removed.
	err := os.RemoveAll(labDir(name))
	for range 10 {
		if err == nil {
			break
		}
		err = os.RemoveAll(labDir(name))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := Destroy(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	noTraceOf(t, name, before)
}

func TestAGuardRemovesTheLabOfAKilledTest(t *testing.T) {
	before := traceHost(t)
	const name = "guarded"
	cmd := startVictim(t, name, isRunning(name, nodeName(1)))
	kill(t, cmd)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(labDir(name)); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the guard does not remove it")
		}
	}
	// The guard holds the name until it has done everything.
	if err := Destroy(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	noTraceOf(t, name, before)
}

func TestInterruptedCreationLeavesNothing(t *testing.T) {
	needLab(t)
	before := traceHost(t)
	const name = "interrupted"
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for !isRunning(name, nodeName(1))() && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		interrupt()
	}()
	if _, err := Create(ctx, Options{Name: name, Nodes: 2, Light: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	noTraceOf(t, name, before)
}

func TestANameIsTakenOnce(t *testing.T) {
	l := Up(t, Options{Light: true, Nodes: 1, ProxyMode: "none"})
	if _, err := Create(t.Context(), Options{Name: l.Name, Light: true}); err == nil {
		t.Fatal("a second lab of one name")
	}
	if err := l.WaitNodesReady(t.Context()); err != nil {
		t.Errorf("the refusal has harmed the first: %v", err)
	}
}

func TestDestroyingWhatIsNotThereIsFine(t *testing.T) {
	needLab(t)
	if err := Destroy(t.Context(), "never-was"); err != nil {
		t.Error(err)
	}
}
