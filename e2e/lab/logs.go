package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Artifacts is where the logs of labs that failed are kept, in the checkout.
const Artifacts = "_artifacts"

// KeepLogs copies the logs of every process to where they outlive the lab, and
// returns that directory, as it is called in the checkout.
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
	return filepath.Join(Artifacts, l.Name), nil
}

// LogFiles are the logs of all processes of the lab.
func (l *Lab) LogFiles() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(l.logDir(), "*.log"))
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return files, nil
}
