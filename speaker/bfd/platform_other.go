//go:build !linux

package bfd

import (
	"context"
	"fmt"
	"runtime"
)

func (e *Engine) run(context.Context) error {
	return fmt.Errorf("BFD is not implemented on %s", runtime.GOOS)
}
