package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Kubeconfig is the administrator's, for programs on the lab's hosts.
func (l *Lab) Kubeconfig() string { return l.kubeconfig("admin") }

func (l *Lab) kubeconfig(user string) string {
	return filepath.Join(l.pkiDir(), user+".kubeconfig")
}

// Config is the administrator's way to the API server from this process, which
// is not on the lab's network: connections begin on the control plane's host.
// It has no rate limit.
func (l *Lab) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.Dial = l.ControlPlane().Dial
	config.QPS = -1
	return config, nil
}

// Clientset is a client of the Kubernetes API on [Lab.Config].
func (l *Lab) Clientset() (kubernetes.Interface, error) {
	config, err := l.Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Kubectl runs kubectl as the administrator and returns what it said. Files
// and the working directory are this process's.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	return output(l.KubectlCommand(ctx, args...))
}

// KubectlCommand prepares a kubectl for somebody who wants its descriptors.
func (l *Lab) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	// The host's network and this process's file system.
	argv := append([]string{"--target", strconv.Itoa(l.ControlPlane().Machine().PID), "--net", "--", l.Parts.Kubectl()}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", argv...)
	cmd.Env = append(cmd.Environ(), "KUBECONFIG="+l.Kubeconfig())
	return cmd
}

// Apply applies manifests, files or directories of them, as a user would.
func (l *Lab) Apply(ctx context.Context, files ...string) error {
	for _, f := range files {
		if _, err := l.Kubectl(ctx, "apply", "-f", f); err != nil {
			return err
		}
	}
	return nil
}

// ApplyYAML applies manifests given as text.
func (l *Lab) ApplyYAML(ctx context.Context, manifests string) error {
	cmd := l.KubectlCommand(ctx, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifests)
	_, err := output(cmd)
	return err
}

// waitAPIServer returns when the API server says that it is ready.
func (l *Lab) waitAPIServer(ctx context.Context) error {
	client, err := l.Clientset()
	if err != nil {
		return err
	}
	err = poll(ctx, apiServerPatience, func(ctx context.Context) error {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("kube-apiserver is not ready: %w; see %s", err, filepath.Base(l.ControlPlane().LogFile(APIServer)))
	}
	return nil
}

// WaitNodesReady returns when every node that is on is Ready.
func (l *Lab) WaitNodesReady(ctx context.Context) error {
	for _, n := range l.Nodes() {
		if !n.Machine().Alive() {
			continue
		}
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// nodePatience is how long a node may take to get ready on a busy machine.
const nodePatience = 2 * time.Minute

// WaitReady returns when the API server has the node as Ready by a report of
// its present life.
func (n *Node) WaitReady(ctx context.Context) error {
	client, err := n.lab.Clientset()
	if err != nil {
		return err
	}
	err = poll(ctx, nodePatience, func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return notReady(node, n.booted())
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w; see %s", n.Name, err, filepath.Base(n.LogFile(n.agent())))
	}
	return nil
}

// notReady says why a node is not Ready; a report from before since is old.
func notReady(node *corev1.Node, since time.Time) error {
	for _, c := range node.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if c.Status != corev1.ConditionTrue {
			return errors.New(c.Message)
		}
		if c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second)) {
			return errors.New("it has not reported since its power came on")
		}
		return nil
	}
	return errors.New("it has not reported yet")
}

// poll asks until the answer is no error. When patience ends it returns the
// last error; when ctx ends, that.
func poll(ctx context.Context, patience time.Duration, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		err := ask(limited)
		if err == nil {
			return nil
		}
		if limited.Err() == nil || last == nil {
			last = err // and not that the last question was cut short
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), last)
		case <-limited.Done():
			return last
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// output runs a command and returns what it said.
func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
