package stage

import (
	"context"
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

// StartSpeaker starts the speaker's process on a node.
func StartSpeaker(ctx context.Context, l *lab.Lab, n *lab.Node) error {
	return n.Start(ctx, lab.Process{
		Name:    Speaker,
		Args:    []string{filepath.Join(l.Dir(), "bin", Speaker), "--kubeconfig", l.Kubeconfig(), "--namespace", Namespace, "--node-name", n.Name, "--metrics-auth", "none"},
		Restart: true,
	})
}
