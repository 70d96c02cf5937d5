package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Artifacts is where the logs of labs that failed are kept, in the checkout.
const Artifacts = "_artifacts"

// KeepLogs copies the logs of every process, and of every container, to where
// they outlive the lab, with what the API server has to say. It returns that
// directory as it is called in the checkout.
func (l *Lab) KeepLogs() (string, error) {
	checkout, err := supply.Checkout()
	if err != nil {
		return "", err
	}
	to := filepath.Join(checkout, Artifacts, l.Name)
	if err := os.RemoveAll(to); err != nil {
		return "", err
	}
	if err := os.CopyFS(to, os.DirFS(l.logDir())); err != nil {
		return "", fmt.Errorf("keep logs: %w", err)
	}
	for _, n := range l.Nodes() {
		pods := n.file("var-log/pods")
		if _, err := os.Stat(pods); err != nil {
			continue
		}
		if err := os.CopyFS(filepath.Join(to, n.Name+"-pods"), os.DirFS(pods)); err != nil {
			return "", fmt.Errorf("keep logs: %w", err)
		}
	}
	l.keepObjects(filepath.Join(to, "cluster.txt"))
	return filepath.Join(Artifacts, l.Name), nil
}

// keepObjects writes what the API server has, as far as it answers.
func (l *Lab) keepObjects(file string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var text strings.Builder
	for _, args := range []string{
		"get nodes,deployments,daemonsets,pods,services,endpointslices -A -o wide",
		"get clarion -A -o yaml",
		"get events -A --sort-by=.metadata.creationTimestamp",
		"get services -A -o yaml",
	} {
		out, err := l.Kubectl(ctx, append(strings.Fields(args), "--request-timeout=3s")...)
		fmt.Fprintf(&text, "$ kubectl %s\n%s", args, out)
		if err != nil {
			fmt.Fprintln(&text, err)
		}
	}
	_ = os.WriteFile(file, []byte(text.String()), 0o644) // what is kept beside it matters more
}

// LogFiles are the logs of all processes of the lab.
func (l *Lab) LogFiles() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(l.logDir(), "*.log"))
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return files, nil
}
