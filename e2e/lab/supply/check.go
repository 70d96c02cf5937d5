package supply

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
)

// Check tells, in one error, everything that keeps this machine from running a
// lab with containers; what [Get] can install itself is not among it.
func Check() error {
	if runtime.GOOS != "linux" {
		return errors.New("the lab needs Linux")
	}
	var problems []string
	say := func(err error) {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	if err := CheckRoot(); err != nil {
		return err // nothing else can be judged without it
	}
	say(checkCapabilities())
	_, err := cgroup.Detect()
	say(err)
	say(checkOverlay())
	if missing := missingPackages(); len(missing) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			say(fmt.Errorf("not installed, and there is no apt-get to install it: %s", strings.Join(missing, ", ")))
		}
	}
	if _, err := exec.LookPath("go"); err != nil {
		say(errors.New("there is no go command, which everything here is built with"))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("this machine cannot run the lab:\n  - %s", strings.Join(problems, "\n  - "))
}

// CheckRoot tells whether this process may do what labs are made by.
func CheckRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("labs are made of network namespaces and control groups: this must run as root")
	}
	return nil
}

// checkCapabilities looks for the capabilities that a root in a container often
// lacks.
func checkCapabilities() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	needed := []struct {
		bit  int
		name string
	}{
		{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{unix.CAP_NET_RAW, "CAP_NET_RAW"},
		{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE"},
		{unix.CAP_SETFCAP, "CAP_SETFCAP"},
	}
	_, rest, _ := strings.Cut(string(status), "\nCapEff:")
	effective, err := strconv.ParseUint(strings.TrimSpace(rest[:max(0, strings.Index(rest, "\n"))]), 16, 64)
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	var missing []string
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("root lacks %s (an unprivileged container?)", strings.Join(missing, ", "))
	}
	return nil
}

// checkOverlay mounts an overlay in a mount namespace of its own, as containerd
// does for every container.
func checkOverlay() error {
	cmd := exec.Command("sh", "-ec", `
		mount -t tmpfs tmpfs /run
		cd /run
		mkdir lower upper work merged
		mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("no overlayfs, which containers need: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// oldestNFT is the first nft that kube-proxy's nftables mode can use.
var oldestNFT = [3]int{1, 0, 1}

var nftVersion = regexp.MustCompile(`v(\d+)\.(\d+)\.(\d+)`)

// checkNFT looks at the nft that is installed by now.
func checkNFT() error {
	out, err := exec.Command("nft", "--version").Output()
	if err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	if !newEnough(string(out)) {
		return fmt.Errorf("nft is too old for kube-proxy, which wants %d.%d.%d: %s", oldestNFT[0], oldestNFT[1], oldestNFT[2], strings.TrimSpace(string(out)))
	}
	return nil
}

// newEnough judges what nft says of itself: "nftables v1.0.6 (Lester Gooch #5)".
func newEnough(version string) bool {
	match := nftVersion.FindStringSubmatch(version)
	if match == nil {
		return false
	}
	var v [3]int
	for i := range v {
		v[i], _ = strconv.Atoi(match[i+1])
	}
	return slices.Compare(v[:], oldestNFT[:]) >= 0
}
