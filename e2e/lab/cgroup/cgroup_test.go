package cgroup

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestLayout(t *testing.T) {
	for _, test := range []struct {
		name           string
		groups, mounts string
		unified        bool
		want           []Hierarchy
	}{
		{
			name:   "v1, each controller mounted by itself, the caller somewhere below",
			groups: "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu:/\n0::/\n",
			mounts: `32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`,
			want: []Hierarchy{
				{"name=systemd", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/systemd"},
				{"memory", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/jobs/7"},
				{"cpu", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu"},
			},
		},
		{
			name:   "systemd's hybrid, two controllers on one hierarchy",
			groups: "5:cpu,cpuacct:/user.slice\n0::/user.slice\n",
			mounts: "33 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n",
			want:   []Hierarchy{{"cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/user.slice"}},
		},
		{
			name:   "a container that sees the host's paths but only its own part of the tree",
			groups: "4:memory:/docker/abc/job\n",
			mounts: "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n",
			want:   []Hierarchy{{"memory", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/job"}},
		},
		{
			name:    "v2 alone",
			groups:  "0::/user.slice/session-1.scope\n",
			mounts:  "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			unified: true,
			want:    []Hierarchy{{"", "/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/session-1.scope"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse(strings.NewReader(test.groups), strings.NewReader(test.mounts), test.unified)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Hierarchies, test.want) {
				t.Errorf("got  %+v\nwant %+v", got.Hierarchies, test.want)
			}
		})
	}
}

func TestNoControlGroupsIsAnError(t *testing.T) {
	if _, err := parse(strings.NewReader(""), strings.NewReader(""), false); err == nil {
		t.Error("accepted")
	}
}

// tree makes directories that look like v2 control groups: path to what
// cgroup.subtree_control has.
func tree(t *testing.T, groups map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for path, given := range groups {
		dir := filepath.Join(top, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, subtreeControl), []byte(given+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestDelegable(t *testing.T) {
	const all = "cpuset cpu io memory pids"
	for _, test := range []struct {
		name   string
		groups map[string]string
		own    string
		want   string
	}{
		{
			name:   "the nearest that hands everything down already, so that nothing of the host changes",
			groups: map[string]string{"": all, "system.slice": all, "system.slice/job.service": ""},
			own:    "system.slice/job.service",
			want:   "system.slice",
		},
		{
			name:   "not one on the way that lacks a controller",
			groups: map[string]string{"": all, "user.slice": "cpu memory pids", "user.slice/session": ""},
			own:    "user.slice/session",
			want:   "",
		},
		{
			name:   "where none does, the nearest that lets itself be told",
			groups: map[string]string{"": "", "job": ""},
			own:    "job",
			want:   "job",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := tree(t, test.groups)
			got, err := delegable(Hierarchy{Mountpoint: top, Own: filepath.Join(top, test.own)})
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(top, test.want); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestFindStopsAtWhatItFinds(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"a/lab.x.node1/kubepods", "lab.x.node2", "lab.y.node1", "other"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layout := Layout{Hierarchies: []Hierarchy{{Mountpoint: top}}}
	got := layout.Find("lab.x.")
	want := []string{filepath.Join(top, "a/lab.x.node1"), filepath.Join(top, "lab.x.node2")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, dir := range got {
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	}
	if left := layout.Find("lab.x."); left != nil {
		t.Errorf("left: %v", left)
	}
	if err := Remove(filepath.Join(top, "never-was")); err != nil {
		t.Errorf("removing a group that is not there: %v", err)
	}
}
