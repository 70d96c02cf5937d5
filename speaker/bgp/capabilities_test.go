package bgp_test

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/speaker/bgp"
)

// TestNoCapabilityIsNeeded has the child be somebody who may do nothing, and the session want everything that there is.
func TestNoCapabilityIsNeeded(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	n := node()
	n.Password, n.TTLSecurity = "s3cret", true
	r := s.tor.StartRouter(s, router.FRR, config(router.FRR, n))
	m, _ := managerOn(s, s.node, func() *exec.Cmd {
		return &exec.Cmd{Path: "/proc/self/exe", Args: []string{bgp.ChildName}, SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}}
	})
	p := peer()
	p.Password, p.TTLSecurity, p.Device, p.SourceInterface = "s3cret", 1, "eth0", "eth0"
	p.Routes = routes(s, to(webV4))
	m.Apply(desired(p))
	up(s, m, "tor")
	has(s, r, webV4)
	if is, _ := m.Snapshot(); !strings.Contains(status(s, is.Child.PID), "CapEff:\t0000000000000000") {
		s.Errorf("the child has capabilities: %s", status(s, is.Child.PID))
	}
}
