package supply

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Parts are what a lab is made of, as paths of this machine.
type Parts struct {
	// Kubernetes has etcd, kube-apiserver, kube-controller-manager,
	// kube-scheduler, kubelet, kube-proxy and kubectl.
	Kubernetes string
	// Containers are directories with containerd, its shim, ctr and runc.
	Containers []string
	// CNI has the network plugins.
	CNI string
	// Pause is the archive of the image [PauseImage].
	Pause string
}

// Get returns the parts, and makes first what is not in the cache yet. That
// takes minutes the first time and no time later. It calls [Check] itself.
func Get(ctx context.Context, progress Progress) (Parts, error) {
	if err := Check(); err != nil {
		return Parts{}, err
	}
	if err := installTools(ctx, progress); err != nil {
		return Parts{}, err
	}
	if err := checkNFT(); err != nil {
		return Parts{}, err
	}
	var parts Parts
	var err error
	if parts.Containers, parts.CNI, err = containers(ctx, progress); err != nil {
		return Parts{}, err
	}
	if parts.Pause, err = pause(ctx, progress); err != nil {
		return Parts{}, err
	}
	if parts.Kubernetes, err = Kubernetes(ctx, progress); err != nil {
		return Parts{}, err
	}
	return parts, nil
}

// Path is a PATH with the parts first and this machine's own after them.
func (p Parts) Path() string {
	dirs := append([]string{p.Kubernetes}, p.Containers...)
	return strings.Join(append(dirs, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"), ":")
}

// Directories are those that a host needs to see.
func (p Parts) Directories() []string {
	return append([]string{p.Kubernetes, p.CNI}, p.Containers...)
}

// Kubectl is the kubectl of the lab's version.
func (p Parts) Kubectl() string { return filepath.Join(p.Kubernetes, "kubectl") }

// Checkout is the directory of Clarion's source, in or above the working
// directory.
func Checkout() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module github.com/clarion-lb/clarion\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of Clarion, which the lab is built from", here)
		}
	}
}
