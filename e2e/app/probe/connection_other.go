//go:build !linux

package probe

import (
	"errors"
	"net/netip"
	"runtime"
	"time"

	"github.com/clarion-lb/clarion/e2e/app/web"
)

var errNotImplemented = errors.New("probing is not implemented on " + runtime.GOOS)

type connection struct{}

func connect(netip.AddrPort) (*connection, error) { return nil, errNotImplemented }
func (*connection) wait(time.Time) error          { return errNotImplemented }
func (*connection) local() netip.AddrPort         { return netip.AddrPort{} }
func (*connection) retransmits() int              { return 0 }
func (*connection) ask(netip.AddrPort, string) (web.Answer, error) {
	return web.Answer{}, errNotImplemented
}
func (*connection) close()                           {}
func inNetworkNamespace(path string, f func()) error { return errNotImplemented }
