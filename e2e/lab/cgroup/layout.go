package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// root is where Linux distributions mount control groups.
const root = "/sys/fs/cgroup"

// wanted are the controllers a kubelet cannot do without.
var wanted = []string{"cpu", "cpuset", "memory", "pids"}

// Layout is how this machine's kernel arranges control groups.
type Layout struct {
	// Unified is true where every controller is on the one v2 hierarchy.
	Unified bool
	// Hierarchies are the v1 hierarchies, or the single v2 one.
	Hierarchies []Hierarchy
}

// Hierarchy is one tree of control groups.
type Hierarchy struct {
	// Controllers as mount(8) takes them: "cpu", "cpu,cpuacct" or
	// "name=systemd"; empty for v2.
	Controllers string
	// Mountpoint is where the tree is mounted.
	Mountpoint string
	// Own is the directory of the calling process's group.
	Own string
}

// Detect reads the layout of this machine as the calling process sees it.
func Detect() (Layout, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return Layout{}, fmt.Errorf("look at %s: %w", root, err)
	}
	groups, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return Layout{}, err
	}
	defer groups.Close()
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, err
	}
	defer mounts.Close()

	layout, err := parse(groups, mounts, fs.Type == unix.CGROUP2_SUPER_MAGIC)
	if err != nil {
		return Layout{}, err
	}
	return layout, layout.check()
}

// check says which controllers a kubelet would miss.
func (l Layout) check() error {
	have := map[string]bool{}
	if l.Unified {
		content, err := os.ReadFile(filepath.Join(l.Hierarchies[0].Mountpoint, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, c := range strings.Fields(string(content)) {
			have[c] = true
		}
	}
	for _, h := range l.Hierarchies {
		for c := range strings.SplitSeq(h.Controllers, ",") {
			have[c] = true
		}
	}
	var missing []string
	for _, c := range wanted {
		if !have[c] {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("control groups: no controller %s below %s", strings.Join(missing, ", "), root)
	}
	return nil
}

// parse joins /proc/self/cgroup (which group in which hierarchy) with
// /proc/self/mountinfo (where each hierarchy is mounted).
func parse(groups, mountinfo io.Reader, unified bool) (Layout, error) {
	mounts, err := parseMounts(mountinfo)
	if err != nil {
		return Layout{}, err
	}
	layout := Layout{Unified: unified}
	lines := bufio.NewScanner(groups)
	for lines.Scan() {
		// hierarchy-ID:controller-list:cgroup-path, cgroups(7)
		id, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok || (id == "0") != unified {
			continue
		}
		for _, m := range mounts {
			if !m.carries(controllers) {
				continue
			}
			layout.Hierarchies = append(layout.Hierarchies, Hierarchy{
				Controllers: controllers,
				Mountpoint:  m.point,
				Own:         filepath.Join(m.point, strings.TrimPrefix(path, strings.TrimSuffix(m.root, "/"))),
			})
			break
		}
	}
	if err := lines.Err(); err != nil {
		return Layout{}, err
	}
	if len(layout.Hierarchies) == 0 {
		return Layout{}, fmt.Errorf("control groups: none mounted below %s", root)
	}
	return layout, nil
}

type mount struct {
	root, point, fstype string
	options             map[string]bool
}

// carries tells whether this mount shows the hierarchy with these controllers.
func (m mount) carries(controllers string) bool {
	if controllers == "" {
		return m.fstype == "cgroup2"
	}
	if m.fstype != "cgroup" {
		return false
	}
	for c := range strings.SplitSeq(controllers, ",") {
		if !m.options[c] {
			return false
		}
	}
	return true
}

// parseMounts reads the control group mounts out of proc_pid_mountinfo(5).
func parseMounts(r io.Reader) ([]mount, error) {
	var mounts []mount
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		if !ok {
			continue
		}
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 || !strings.HasPrefix(right[0], "cgroup") {
			continue
		}
		m := mount{root: left[3], point: left[4], fstype: right[0], options: map[string]bool{}}
		for o := range strings.SplitSeq(right[2], ",") {
			m.options[o] = true
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err()
}
