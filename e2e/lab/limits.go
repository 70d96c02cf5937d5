package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// checkRoom tells what of this machine would not suffice for such a lab.
func checkRoom(o Options) error {
	if err := checkInotify(o); err != nil {
		return err
	}
	if o.Light {
		return nil
	}
	return checkBase()
}

// Programs that watch files take from what one user may have on the whole
// machine, and fail in odd ways when there is no more.
const (
	inotifyPerNode      = 8 // kubelet 6, containerd 1, kube-proxy 1
	inotifyPerLightNode = 1 // kube-proxy
	inotifyOfOthers     = 20
)

func checkInotify(o Options) error {
	content, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return err
	}
	each := inotifyPerNode
	if o.Light {
		each = inotifyPerLightNode
	}
	if room := (limit - inotifyOfOthers) / each; o.Nodes > room {
		return fmt.Errorf("%d nodes: this machine's fs.inotify.max_user_instances of %d is room for %d; raise it or take fewer", o.Nodes, limit, room)
	}
	return nil
}

// checkBase sees to it that containerd can put containers' files where labs are.
func checkBase() error {
	dir := Base()
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			break
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is on an overlay, as in a container, and containers cannot be put on top of one: set CLARION_LAB_DIR to a directory on a disk", dir)
	}
	return nil
}
