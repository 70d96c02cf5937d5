package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// Artifacts is where the logs of labs that failed are kept, below the working
// directory.
const Artifacts = "_artifacts"

// saveLogs copies the lab's logs to where they outlive it, and says where.
func (l *Lab) saveLogs() {
	to, err := filepath.Abs(filepath.Join(Artifacts, l.Name))
	if err == nil {
		err = os.RemoveAll(to)
	}
	if err == nil {
		err = os.CopyFS(to, os.DirFS(l.logDir()))
	}
	if err != nil {
		l.say("logs could not be kept: %v", err)
		return
	}
	l.say("the logs of every process are in %s", filepath.Join(Artifacts, l.Name))
}

// LogFiles are the logs of all processes of the lab.
func (l *Lab) LogFiles() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(l.logDir(), "*.log"))
	if err != nil {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	return files, nil
}
