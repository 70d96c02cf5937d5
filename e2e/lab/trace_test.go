package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
	"github.com/clarion-lb/clarion/e2e/lab/machine"
)

// traces are what labs might change on the host.
type traces struct {
	mounts, links, namespaces, files []string
	sysctls                          map[string]string
}

// directories that programs of the lab would write to if they were not kept
// from it.
var watched = []string{
	"/opt", "/run", "/run/netns", "/var/lib", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log",
	"/etc/cni", "/etc/kubernetes", "/usr/libexec",
}

// settings that kubelet, kube-proxy and containerd like to change.
var settings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes", "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/route_localnet",
	"net/netfilter/nf_conntrack_max", "fs/inotify/max_user_instances",
}

func traceHost(t *testing.T) traces {
	t.Helper()
	tr := traces{sysctls: map[string]string{}}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		tr.mounts = append(tr.mounts, strings.Fields(line)[4])
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		tr.links = append(tr.links, l.Attrs().Name)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if ns, err := os.Readlink(p); err == nil && !slices.Contains(tr.namespaces, ns) {
			tr.namespaces = append(tr.namespaces, ns)
		}
	}
	for _, dir := range watched {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			tr.files = append(tr.files, filepath.Join(dir, e.Name()))
		}
	}
	for _, s := range settings {
		if value, err := os.ReadFile(filepath.Join("/proc/sys", s)); err == nil {
			tr.sysctls[s] = string(value)
		}
	}
	return tr
}

// noTraceOf says what is left of a lab, and what else it changed.
func noTraceOf(t *testing.T, lab string, before traces) {
	t.Helper()
	after := traceHost(t)
	for _, c := range []struct {
		what          string
		before, after []string
	}{
		{"mount", before.mounts, after.mounts},
		{"interface", before.links, after.links},
		{"network namespace", before.namespaces, after.namespaces},
		{"file", before.files, after.files},
	} {
		for _, x := range c.after {
			if !slices.Contains(c.before, x) {
				t.Errorf("left on the host: %s %s", c.what, x)
			}
		}
	}
	for s, value := range before.sysctls {
		if now := after.sysctls[s]; now != value {
			t.Errorf("changed on the host: %s was %q, is %q", s, value, now)
		}
	}
	noMachinesOf(t, lab)
	if _, err := os.Stat(labDir(lab)); !os.IsNotExist(err) {
		t.Errorf("left: %s (%v)", labDir(lab), err)
	}
	layout, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if left := layout.Find(cgroupPrefix(lab)); len(left) > 0 {
		t.Errorf("left: control groups %v", left)
	}
}

func noMachinesOf(t *testing.T, lab string) {
	t.Helper()
	left, err := machine.Find(lab)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range left {
		t.Errorf("left: machine %s, process %d", m.Name, m.PID)
	}
}
