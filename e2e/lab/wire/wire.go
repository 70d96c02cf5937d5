// Package wire gives package tests hosts and cables that are gone with the test process, where a whole lab would
// be too much: network namespaces without names, and veth pairs between them. Main runs the tests in network, mount
// and PID namespaces of their own, so whatever a test starts ends with it.
//
//	func TestMain(m *testing.M) { os.Exit(wire.Main(m)) }
//
//	node, tor := wire.Self(t), wire.NewHost(t, "tor")
//	wire.Connect(t, wire.End{node, "eth0", addrs}, wire.End{tor, "eth0", addrs})
//	r := tor.StartRouter(t, router.FRR, config)
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/router"
	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Enable must be 1 in the environment for hosts to be made: that needs root.
const Enable = "CLARION_LAB"

const insideEnv = "CLARION_WIRE_INSIDE"

// Main runs a package's tests, with Enable in namespaces of their own.
func Main(m *testing.M) int {
	if os.Getenv(insideEnv) != "" {
		// /proc must be that of the new PID namespace.
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			fmt.Fprintln(os.Stderr, "mount /proc:", err)
			return 1
		}
		return m.Run()
	}
	if os.Getenv(Enable) != "1" || os.Geteuid() != 0 || fuzzing() {
		return m.Run()
	}
	// Inside there is no network to fetch them by.
	if _, err := supply.GetRouters(context.Background(), func(line string) { fmt.Fprintln(os.Stderr, line) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	runtime.LockOSThread() // the child must die with this thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "start the tests in namespaces of their own:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

func fuzzing() bool {
	for _, a := range os.Args {
		if strings.HasPrefix(a, "-test.fuzz") {
			return true
		}
	}
	return false
}

// Host is a network namespace with a Linux network stack.
type Host struct {
	t    testing.TB
	Name string
	ns   netns.NsHandle
	*netlink.Handle
}

// Need skips a test that can't have hosts.
func Need(t testing.TB) {
	t.Helper()
	if os.Getenv(insideEnv) == "" {
		t.Skipf("makes network namespaces: needs root and %s=1", Enable)
	}
}

// Self is the host that this process runs on.
func Self(t testing.TB) *Host {
	t.Helper()
	Need(t)
	ns, err := netns.Get()
	return newHost(t, "self", ns, err)
}

// NewHost makes a host.
func NewHost(t testing.TB, name string) *Host {
	t.Helper()
	Need(t)
	var ns netns.NsHandle
	err := onThread(func() (err error) {
		ns, err = netns.New()
		return err
	})
	return newHost(t, name, ns, err)
}

func newHost(t testing.TB, name string, ns netns.NsHandle, err error) *Host {
	t.Helper()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	handle, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(handle.Close)
	h := &Host{t: t, Name: name, ns: ns, Handle: handle}
	lo, err := h.LinkByName("lo")
	must(t, err)
	must(t, h.LinkSetUp(lo))
	h.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	h.Sysctl("net/ipv6/conf/default/accept_ra", "0")
	h.Sysctl("net/ipv4/conf/all/rp_filter", "0")
	h.Sysctl("net/ipv4/conf/default/rp_filter", "0")
	return h
}

// onThread runs f on a thread that may be anywhere afterwards, and is thrown away.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// In runs f in the host's network; f must not use t.
func (h *Host) In(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		return f()
	})
}

// Sysctl sets a setting of the host's network, as a path below /proc/sys.
func (h *Host) Sysctl(path, value string) {
	h.t.Helper()
	must(h.t, h.In(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0)
	}))
}

// Forward makes the host a router.
func (h *Host) Forward() {
	h.t.Helper()
	h.Sysctl("net/ipv4/ip_forward", "1")
	h.Sysctl("net/ipv6/conf/all/forwarding", "1")
}

// Path is a file that stands for the host's network while the test runs.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.ns)) }

// NFT gives the host packet filter rules, as nft -f reads them.
func (h *Host) NFT(rules string) {
	h.t.Helper()
	cmd := exec.Command("nsenter", "--net="+h.Path(), "--", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("nft on %s: %v: %s", h.Name, err, out)
	}
}

// Silence has the host drop all that comes in from and goes out to others, with its links up; Heal ends it.
func (h *Host) Silence() {
	h.t.Helper()
	h.NFT(`table inet silence {
		chain in { type filter hook input priority -300; iif != "lo" drop; }
		chain out { type filter hook output priority -300; oif != "lo" drop; }
	}`)
}

// Heal ends Silence.
func (h *Host) Heal() {
	h.t.Helper()
	h.NFT("delete table inet silence")
}

// End is one end of a cable.
type End struct {
	Host      *Host
	Name      string
	Addresses []netip.Prefix
}

// Connect plugs a cable in; it goes with the test.
func Connect(t testing.TB, a, b End) {
	t.Helper()
	must(t, a.Host.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: a.Name},
		PeerName:      b.Name,
		PeerNamespace: netlink.NsFd(b.Host.ns),
	}))
	t.Cleanup(func() {
		if link, err := a.Host.LinkByName(a.Name); err == nil {
			_ = a.Host.LinkDel(link) // it may have gone with the other end's host
		}
	})
	for _, e := range []End{a, b} {
		link, err := e.Host.LinkByName(e.Name)
		must(t, err)
		for _, p := range e.Addresses {
			must(t, e.Host.AddrAdd(link, &netlink.Addr{
				IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
				Flags: unix.IFA_F_NODAD,
			}))
		}
		must(t, e.Host.LinkSetUp(link))
	}
}

// StartRouter runs FRR or BIRD on the host until the test ends.
func (h *Host) StartRouter(t testing.TB, kind router.Kind, config string) *router.Router {
	t.Helper()
	dir, err := os.MkdirTemp("", "clr-") // t.TempDir is too long for a socket's path
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	place := &router.Namespace{Path: h.Path(), Logs: dir}
	t.Cleanup(func() {
		place.Close()
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, f := range logs {
				content, _ := os.ReadFile(f)
				t.Logf("%s of %s:\n%s", filepath.Base(f), h.Name, tail(string(content), 4000))
			}
		}
	})
	r, err := router.Start(t.Context(), place, router.Spec{Kind: kind, Config: config, Dir: dir})
	must(t, err)
	return r
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// Prefixes reads addresses with their prefix lengths.
func Prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
