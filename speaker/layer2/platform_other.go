//go:build !linux

package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"
)

func watchLinks(context.Context, chan<- []observed) error {
	return fmt.Errorf("%w: %s", errUnsupported, runtime.GOOS)
}

func openPort(Link, Family) (port, error) {
	return nil, fmt.Errorf("%w: %s", errUnsupported, runtime.GOOS)
}

func openProbePort(Method, Link, Family) (probePort, error) {
	return nil, fmt.Errorf("%w: %s", errUnsupported, runtime.GOOS)
}

func connectPort(Link, netip.AddrPort) (attempt, error) {
	return nil, fmt.Errorf("%w: %s", errUnsupported, runtime.GOOS)
}

// Neighbors returns nobody: the kernel's table is not read here.
func Neighbors(Link, Family, int) []Asker { return nil }

func sinceBoot() time.Duration { return 0 }
