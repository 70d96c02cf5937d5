package layer2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The wire tests need root and CLARION_LAB=1. The test process then runs itself
// again in a network namespace of its own, which is the node; clients are more
// namespaces, tied to the node by veth pairs:
//
//	node (this process)                 client (a namespace)
//	  Announcer                           Linux, as it is
//	  cl0 192.0.2.1/24  ═══ veth ═══  cl0 192.0.2.2/24
//	      2001:db8::1/64                  2001:db8::2/64
//
// No namespace has a name, so the kernel clears everything away with the process.

const insideEnv = "CLARION_LAYER2_INSIDE"

func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		os.Exit(child(role))
	}
	if os.Getenv("CLARION_LAB") != "1" || os.Getenv(insideEnv) != "" || os.Geteuid() != 0 || fuzzing() {
		os.Exit(m.Run())
	}
	// The child must die with this thread.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "starting the node's network namespace: %v\n", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

func fuzzing() bool {
	for _, a := range os.Args {
		if strings.HasPrefix(a, "-test.fuzz") {
			return true
		}
	}
	return false
}

// lab skips unless the test may work on this process's own network namespace.
func lab(t testing.TB) {
	t.Helper()
	if os.Getenv(insideEnv) == "" {
		t.Skip("needs root and CLARION_LAB=1: it makes network namespaces")
	}
}

// A host is a network namespace with a Linux network stack and nothing else.
type host struct {
	t  testing.TB
	ns netns.NsHandle
	*netlink.Handle
}

// node is the host in which this process and so the Announcer runs.
func node(t testing.TB) *host {
	t.Helper()
	lab(t)
	ns, err := netns.Get()
	return makeHost(t, ns, err)
}

// newHost makes a host of its own.
func newHost(t testing.TB) *host {
	t.Helper()
	lab(t)
	var ns netns.NsHandle
	err := onThread(func() error {
		var err error
		ns, err = netns.New()
		return err
	})
	return makeHost(t, ns, err)
}

func makeHost(t testing.TB, ns netns.NsHandle, err error) *host {
	t.Helper()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	handle, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(handle.Close)
	h := &host{t: t, ns: ns, Handle: handle}
	lo, err := h.LinkByName("lo")
	must(t, err)
	must(t, h.LinkSetUp(lo))
	// Link-local addresses are ready at once.
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
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

// in runs f in the host's network namespace; f must not use t.
func (h *host) in(f func() error) {
	h.t.Helper()
	must(h.t, onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		return f()
	}))
}

func (h *host) sysctl(name, value string) {
	h.t.Helper()
	h.in(func() error { return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0) })
}

// An iface is an interface of a host.
type iface struct {
	*host
	name string
}

// connect ties two hosts together by a veth pair; both ends get the name, are up
// and have the addresses 192.0.2.N/24 and 2001:db8::N/64, each with its own N. It
// waits until IPv6 is ready: until then, a kernel does not hear the answers
// to its solicitations.
func connect(t testing.TB, name string, a *host, aN int, b *host, bN int) (iface, iface) {
	t.Helper()
	ends := wire(t, name, a, b)
	for i, n := range []int{aN, bN} {
		ends[i].addr(fmt.Sprintf("192.0.2.%d/24", n))
		ends[i].addr(fmt.Sprintf("2001:db8::%x/64", n))
	}
	for _, e := range ends {
		e.linkLocal()
	}
	return ends[0], ends[1]
}

// wire ties two hosts together by a veth pair whose ends are up.
func wire(t testing.TB, name string, a, b *host) [2]iface {
	t.Helper()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name, PeerNamespace: netlink.NsFd(b.ns),
	}
	must(t, a.LinkAdd(veth))
	t.Cleanup(func() {
		if l, err := a.LinkByName(name); err == nil {
			must(t, a.LinkDel(l))
		}
	})
	ends := [2]iface{{a, name}, {b, name}}
	for _, e := range ends {
		e.up()
	}
	return ends
}

func (i iface) link() netlink.Link {
	i.t.Helper()
	l, err := i.LinkByName(i.name)
	must(i.t, err)
	return l
}

func (i iface) mac() MAC {
	i.t.Helper()
	return MAC(i.link().Attrs().HardwareAddr)
}

func (i iface) up()   { i.t.Helper(); must(i.t, i.LinkSetUp(i.link())) }
func (i iface) down() { i.t.Helper(); must(i.t, i.LinkSetDown(i.link())) }

func (i iface) setMAC(m MAC) {
	i.t.Helper()
	must(i.t, i.LinkSetHardwareAddr(i.link(), m[:]))
}

func (i iface) addr(prefix string) {
	i.t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(i.t, err)
	a.Flags = unix.IFA_F_NODAD
	must(i.t, i.AddrAdd(i.link(), a))
}

// linkLocal returns the link-local address, waiting until all IPv6 addresses are
// ready for use.
func (i iface) linkLocal() netip.Addr {
	i.t.Helper()
	var found netip.Addr
	eventually(i.t, "the IPv6 addresses of "+i.name, func() bool {
		addrs, err := i.AddrList(i.link(), netlink.FAMILY_V6)
		must(i.t, err)
		for _, a := range addrs {
			if ip, _ := netip.AddrFromSlice(a.IP); ip.IsLinkLocalUnicast() {
				found = ip
			}
		}
		return found.IsValid() && !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 })
	})
	return found
}

// neighbor returns the kernel's entry for an address: its MAC and state, or
// zero if there is none.
func (i iface) neighbor(address netip.Addr) (MAC, int) {
	i.t.Helper()
	family := netlink.FAMILY_V4
	if address.Is6() {
		family = netlink.FAMILY_V6
	}
	entries, err := i.NeighList(i.link().Attrs().Index, family)
	must(i.t, err)
	for _, e := range entries {
		if ip, _ := netip.AddrFromSlice(e.IP); ip.Unmap() == address {
			mac, _ := macFromSlice(e.HardwareAddr)
			return mac, e.State
		}
	}
	return MAC{}, 0
}

// setNeighbor writes an entry into the kernel's cache, as if just learnt.
func (i iface) setNeighbor(address netip.Addr, mac MAC, state int) {
	i.t.Helper()
	must(i.t, i.NeighSet(&netlink.Neigh{
		LinkIndex: i.link().Attrs().Index, IP: address.AsSlice(), HardwareAddr: mac[:], State: state,
	}))
}

// talk makes the host's kernel send a datagram to address, and so look it up.
func (h *host) talk(address netip.Addr) {
	h.t.Helper()
	h.in(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 9)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("?"))
		return err
	})
}

// A tap sends frames on an interface and sees all that cross it.
type tap struct {
	t    testing.TB
	conn *packet.Conn
}

func (i iface) tap() *tap {
	i.t.Helper()
	index := i.link().Attrs().Index
	var conn *packet.Conn
	i.in(func() error {
		var err error
		conn, err = packet.Listen(&net.Interface{Index: index}, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	i.t.Cleanup(func() { conn.Close() })
	return &tap{i.t, conn}
}

func (p *tap) send(frame []byte) {
	p.t.Helper()
	_, err := p.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
	must(p.t, err)
}

// until returns the frames that cross until one satisfies want, the last one
// being that. It fails the test if none does within 5 s.
func (p *tap) until(what string, want func(frame []byte) bool) [][]byte {
	p.t.Helper()
	frames, err := p.within(5*time.Second, want)
	if err != nil {
		p.t.Fatalf("waiting for %s: %v after %d frames", what, err, len(frames))
	}
	return frames
}

// within reads frames until one is wanted, and returns all it has read.
func (p *tap) within(patience time.Duration, want func(frame []byte) bool) ([][]byte, error) {
	p.t.Helper()
	must(p.t, p.conn.SetReadDeadline(time.Now().Add(patience)))
	var frames [][]byte
	b := make([]byte, maxFrame)
	for {
		n, _, err := p.conn.ReadFrom(b)
		if err != nil {
			return frames, err
		}
		frame := append([]byte(nil), b[:n]...)
		frames = append(frames, frame)
		if want(frame) {
			return frames, nil
		}
	}
}

// start runs an Announcer until the test ends.
func start(t testing.TB) *Announcer {
	t.Helper()
	a := New(Options{Logger: slog.New(slog.NewTextHandler(logWriter{t}, nil))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	return a
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Logf("log: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// awaitState waits for a state that satisfies want.
func awaitState(t testing.TB, a *Announcer, what string, want func(State) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s, changed := a.State()
		if want(s) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waiting for %s: state is %+v", what, s)
		}
	}
}

// awaitAnswering waits until all the addresses are answered on the interface.
func awaitAnswering(t testing.TB, a *Announcer, name string, addresses ...netip.Addr) {
	t.Helper()
	awaitState(t, a, fmt.Sprintf("%v to be answered on %s", addresses, name), func(s State) bool {
		for _, address := range addresses {
			if !slices.Contains(s.Answering(address), name) {
				return false
			}
		}
		return true
	})
}

// eventually waits for a condition that the kernel does not announce.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 5 s for %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
