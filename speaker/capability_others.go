//go:build !linux

package speaker

import (
	"fmt"
	"runtime"
)

func raiseNetRaw() error { return fmt.Errorf("announcing is not implemented on %s", runtime.GOOS) }
