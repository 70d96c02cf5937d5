package stage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Names of Clarion's processes on the lab's hosts.
const (
	Controller = "clarion-controller"
	Speaker    = "clarion-speaker"
)

// Run installs Clarion as plain processes with kubeconfigs: the controller beside
// the control plane, a speaker on every node. They are started again when they
// end. It suits light labs, which have no containers.
func Run(ctx context.Context, l *lab.Lab, progress supply.Progress) error {
	checkout, err := supply.Checkout()
	if err != nil {
		return err
	}
	binaries := filepath.Join(l.Dir(), "bin")
	progress("building controller and speaker")
	if err := build(ctx, checkout, binaries, "./cmd/clarion-controller", "./cmd/clarion-speaker"); err != nil {
		return err
	}
	progress("applying the CRDs")
	if _, err := l.Kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(checkout, "config/crd")); err != nil {
		return err
	}
	if err := l.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+Namespace+"}}"); err != nil {
		return err
	}
	if err := StartController(ctx, l); err != nil {
		return err
	}
	for _, n := range l.Nodes() {
		if err := StartSpeaker(ctx, l, n); err != nil {
			return err
		}
	}
	return nil
}

// StartController starts the controller's process on the control plane's host.
func StartController(ctx context.Context, l *lab.Lab) error {
	return l.ControlPlane().Start(ctx, lab.Process{
		Name:    Controller,
		Args:    []string{filepath.Join(l.Dir(), "bin", Controller), "--kubeconfig", l.Kubeconfig(), "--namespace", Namespace, "--metrics-auth", "none"},
		Restart: true,
	})
}

// StartSpeaker starts the speaker's process on a node, with flags besides the usual ones.
func StartSpeaker(ctx context.Context, l *lab.Lab, n *lab.Node, flags ...string) error {
	return StartSpeakerOf(ctx, l, n, "bin", flags...)
}

// StartSpeakerOf starts another build of it, from a directory of the lab's: see [BuildRevision].
func StartSpeakerOf(ctx context.Context, l *lab.Lab, n *lab.Node, directory string, flags ...string) error {
	args := []string{filepath.Join(l.Dir(), directory, Speaker), "--kubeconfig", l.Kubeconfig(), "--namespace", Namespace, "--node-name", n.Name, "--metrics-auth", "none"}
	return n.Start(ctx, lab.Process{Name: Speaker, Args: append(args, flags...), Restart: true})
}

// BuildRevision builds the speaker of another revision of this repository into a directory of the lab's, and returns its name.
func BuildRevision(ctx context.Context, l *lab.Lab, revision string, progress supply.Progress) (directory string, err error) {
	checkout, err := supply.Checkout()
	if err != nil {
		return "", err
	}
	directory = "bin-" + revision
	source := filepath.Join(l.Dir(), "source-"+revision)
	progress("building the speaker of " + revision)
	if err := os.MkdirAll(source, 0o755); err != nil {
		return "", err
	}
	unpack := exec.CommandContext(ctx, "bash", "-c", `set -o pipefail; git -C "$1" archive "$2" | tar -x -C "$3"`, "bash", checkout, revision, source)
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack revision %s: %w\n%s", revision, err, out)
	}
	return directory, build(ctx, source, filepath.Join(l.Dir(), directory), "./cmd/clarion-speaker")
}
