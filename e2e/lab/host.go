package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/machine"
)

// HostSpec is what a host of the lab is made of. It is kept on disk, so that a
// host can be powered on again by another process.
type HostSpec struct {
	Name string
	// Interfaces are eth0, eth1, …
	Interfaces []Interface
	Routes     []Route
	// Forward makes it a router, in both families.
	Forward bool
	// Processes begin when its power comes on, in this order.
	Processes []Process
	// Machine is filled in by the lab, except for Mounts, Shadows and Visible.
	Machine machine.Spec
}

// Interface is a cable from a host to a segment.
type Interface struct {
	Segment   string
	Addresses []netip.Prefix
	// MAC is the hardware address; made from the first IPv4 address when empty.
	MAC string
}

// Route leads to a prefix by way of a neighbour.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Host is a machine on the lab's network.
type Host struct {
	lab *Lab
	// Name is also its host name.
	Name string
}

// AddHost makes a host and powers it on. Its name must be new in the lab and at
// most nine characters long.
func (l *Lab) AddHost(ctx context.Context, spec HostSpec) (*Host, error) {
	if !validName.MatchString(spec.Name) || len(spec.Name) > 9 {
		return nil, fmt.Errorf("host name %q: want a letter, then at most 8 letters, digits and dashes, all small", spec.Name)
	}
	h := &Host{lab: l, Name: spec.Name}
	if err := os.Mkdir(h.dir(), 0o755); err != nil {
		return nil, fmt.Errorf("add host: %w", err)
	}
	for i := range spec.Interfaces {
		iface := &spec.Interfaces[i]
		if iface.MAC == "" {
			mac, err := defaultMAC(iface.Addresses)
			if err != nil {
				return nil, fmt.Errorf("host %s: eth%d: %w", spec.Name, i, err)
			}
			iface.MAC = mac.String()
		}
	}
	spec.Machine.Lab, spec.Machine.Name = l.Name, spec.Name
	spec.Machine.Dir, spec.Machine.Log = h.dir(), h.LogFile("machine")
	spec.Machine.Visible = append(spec.Machine.Visible, append(l.Parts.Directories(), l.Dir())...)
	spec.Machine.Mounts = append([]machine.Mount{{Type: "tmpfs", Source: "tmpfs", Target: "/run", Options: "mode=755"}}, spec.Machine.Mounts...)
	spec.Machine.Sysctls = spec.sysctls()
	if err := writeJSON(h.file("host.json"), spec); err != nil {
		return nil, err
	}
	if err := h.boot(ctx); err != nil {
		return nil, err
	}
	return h, h.startAll(ctx)
}

func defaultMAC(addresses []netip.Prefix) (net.HardwareAddr, error) {
	for _, a := range addresses {
		if a.Addr().Is4() {
			return hardwareAddr(a.Addr()), nil
		}
	}
	return nil, errors.New("an interface without an IPv4 address needs a MAC")
}

// sysctls of the host's own network.
func (s HostSpec) sysctls() map[string]string {
	settings := map[string]string{
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/default/rp_filter": "0",
		// Hosts have fixed addresses and use them at once.
		"net/ipv6/conf/default/accept_dad": "0",
		"net/ipv6/conf/default/accept_ra":  "0",
	}
	if s.Forward {
		settings["net/ipv4/ip_forward"] = "1"
		settings["net/ipv6/conf/all/forwarding"] = "1"
	}
	return settings
}

// boot starts the host's machine and plugs it in.
func (h *Host) boot(ctx context.Context) error {
	spec, err := h.spec()
	if err != nil {
		return err
	}
	if len(spec.Machine.Layout.Hierarchies) > 0 {
		if spec.Machine.Cgroups, err = spec.Machine.Layout.Create(cgroupPrefix(h.lab.Name) + h.Name); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	m, err := machine.Boot(ctx, spec.Machine)
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.file("pid"), []byte(strconv.Itoa(m.PID)), 0o644); err != nil {
		return err
	}
	for i, iface := range spec.Interfaces {
		if err := h.plug(i, iface); err != nil {
			return fmt.Errorf("host %s: eth%d: %w", h.Name, i, err)
		}
	}
	if err := h.addRoutes(spec.Routes); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return h.waitLinks(ctx)
}

// addr is the host's first address of the family.
func (h *Host) addr(v6 bool) netip.Addr {
	spec, err := h.spec()
	if err != nil {
		return netip.Addr{}
	}
	for _, iface := range spec.Interfaces {
		for _, a := range iface.Addresses {
			if a.Addr().Is6() == v6 {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// IPv4 is the host's first IPv4 address.
func (h *Host) IPv4() netip.Addr { return h.addr(false) }

// IPv6 is the host's first IPv6 address.
func (h *Host) IPv6() netip.Addr { return h.addr(true) }

// Exec runs a command on the host and returns what it said. A failed command's
// error has what it said to standard error.
func (h *Host) Exec(ctx context.Context, argv ...string) (string, error) {
	return output(h.Command(ctx, argv...))
}

// Command prepares a command on the host for somebody who wants its
// descriptors.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := h.Machine().Command(ctx, argv...)
	cmd.Env = h.lab.env()
	return cmd
}

// Process is a program to run on a host.
type Process struct {
	// Name is its name on the host and in the name of its log.
	Name string
	// Args are the program and its arguments.
	Args []string
	// Program is the file to execute where Args[0] is only what it is called.
	Program string
	// Env is added to the usual environment, as "KEY=value".
	Env []string
	// Restart has it started again whenever it ends, and when the host's power
	// comes on again.
	Restart bool
}

// Start starts a process on the host, whose output goes to a log of the lab.
// It ends with the host, or by Stop.
func (h *Host) Start(ctx context.Context, p Process) error {
	if err := h.launch(ctx, p); err != nil || !p.Restart {
		return err
	}
	return h.change(func(spec *HostSpec) {
		spec.Processes = slices.DeleteFunc(spec.Processes, func(old Process) bool { return old.Name == p.Name })
		spec.Processes = append(spec.Processes, p)
	})
}

// startAll starts what begins with the host.
func (h *Host) startAll(ctx context.Context) error {
	spec, err := h.spec()
	if err != nil {
		return err
	}
	for _, p := range spec.Processes {
		if err := h.launch(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// launch starts a process now and for once.
func (h *Host) launch(ctx context.Context, p Process) error {
	return h.Machine().Start(ctx, machine.Process{
		Name:    p.Name,
		Args:    p.Args,
		Program: p.Program,
		Env:     append(h.lab.env(), p.Env...),
		Log:     h.LogFile(p.Name),
		Restart: p.Restart,
	})
}

// LogFile is where the output of a process of that name goes.
func (h *Host) LogFile(process string) string {
	return filepath.Join(h.lab.logDir(), h.Name+"-"+process+".log")
}

// Restart starts a process that was stopped, as it was first started.
func (h *Host) Restart(ctx context.Context, process string) error {
	return h.Machine().Restart(ctx, process)
}

// Signal sends a signal to a process: SIGKILL for a crash, SIGSTOP and SIGCONT
// for starvation.
func (h *Host) Signal(ctx context.Context, process string, s unix.Signal) error {
	return h.Machine().Signal(ctx, process, s)
}

// Stop ends a process and keeps it down: SIGTERM, and SIGKILL after the grace.
func (h *Host) Stop(ctx context.Context, process string, grace time.Duration) error {
	return h.Machine().Stop(ctx, process, grace)
}

// Dial connects from the host. The address must be numeric.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.Machine().Dial(ctx, network, address)
}

// Machine is what the host runs on. It is looked up anew each time, since
// another process may have cycled the power.
func (h *Host) Machine() machine.Machine {
	m := machine.Machine{Lab: h.lab.Name, Name: h.Name, Dir: h.dir()}
	if content, err := os.ReadFile(h.file("pid")); err == nil {
		m.PID, _ = strconv.Atoi(strings.TrimSpace(string(content)))
	}
	return m
}

func (h *Host) spec() (HostSpec, error) {
	var spec HostSpec
	return spec, readJSON(h.file("host.json"), &spec)
}

// change changes what the host is made of from its next life on.
func (h *Host) change(f func(*HostSpec)) error {
	spec, err := h.spec()
	if err != nil {
		return err
	}
	f(&spec)
	return writeJSON(h.file("host.json"), spec)
}

func (h *Host) dir() string { return filepath.Join(h.lab.hostsDir(), h.Name) }

func (h *Host) file(name string) string { return filepath.Join(h.dir(), name) }

func writeJSON(file string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o600)
}

func readJSON(file string, v any) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, v); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}
