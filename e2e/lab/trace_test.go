package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
	"github.com/clarion-lb/clarion/e2e/lab/machine"
)

// traces are what labs might change on the host. Other labs may come and go
// meanwhile.
type traces struct {
	mounts, links, files []string
	sysctls              map[string]string
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
	for _, dir := range watched {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if file := filepath.Join(dir, e.Name()); file != Base() {
				tr.files = append(tr.files, file)
			}
		}
	}
	for _, s := range settings {
		if value, err := os.ReadFile(filepath.Join("/proc/sys", s)); err == nil {
			tr.sysctls[s] = string(value)
		}
	}
	return tr
}

// namespacesOf are the network namespaces of a lab that runs.
func namespacesOf(t *testing.T, lab string) []string {
	t.Helper()
	running, err := machine.Find(lab)
	if err != nil {
		t.Fatal(err)
	}
	var namespaces []string
	for _, m := range running {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", m.PID))
		if err != nil {
			t.Fatal(err)
		}
		namespaces = append(namespaces, ns)
	}
	return namespaces
}

// noProcessIn says which processes are still in one of these namespaces.
func noProcessIn(t *testing.T, namespaces []string) {
	t.Helper()
	if len(namespaces) == 0 {
		t.Error("the lab had no namespaces to begin with")
	}
	processes, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if ns, err := os.Readlink(p); err == nil && slices.Contains(namespaces, ns) {
			content, _ := os.ReadFile(strings.TrimSuffix(p, "ns/net") + "comm")
			t.Errorf("left: %s (%s) is in a network of the lab", strings.TrimSuffix(p, "/ns/net"), strings.TrimSpace(string(content)))
		}
	}
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
