package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
	"github.com/clarion-lb/clarion/e2e/lab/machine"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Destroy takes a lab down and removes every trace of it: processes, namespaces,
// control groups, files. It needs nothing but the name, so it also removes what
// a killed lab left. It waits while another process makes or removes that lab.
// A lab that is not there is fine.
func Destroy(ctx context.Context, name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("lab name %q is none", name)
	}
	if err := supply.CheckRoot(); err != nil {
		return err
	}
	unlock, err := lockName(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	return destroy(name)
}

func destroy(name string) error {
	// Machines first: with their last process go their mounts and networks.
	running, err := machine.Find(name)
	if err != nil {
		return fmt.Errorf("look for machines of lab %s: %w", name, err)
	}
	var g errgroup.Group
	for _, m := range running {
		g.Go(m.Kill)
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("take lab %s down: %w", name, err)
	}
	errs := []error{removeCgroups(name), os.RemoveAll(labDir(name))}
	// The base is shared: it goes with the last lab.
	if err := os.Remove(Base()); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take lab %s down: %w", name, err)
	}
	return nil
}

// cgroupPrefix begins the name of every control group of a lab.
func cgroupPrefix(lab string) string { return "clarion-lab." + lab + "." }

func removeCgroups(lab string) error {
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range layout.Find(cgroupPrefix(lab)) {
		errs = append(errs, cgroup.Remove(dir))
	}
	return errors.Join(errs...)
}

// lockName keeps other processes from making or removing the lab of that name.
// The lock is an abstract socket: it leaves no file, and the kernel releases it
// with the process.
func lockName(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l, err := net.Listen("unix", "@clarion-lab/"+filepath.Base(name))
		if err == nil {
			return func() { l.Close() }, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("lock lab %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lab %s is being made or removed by another process: %w", name, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
