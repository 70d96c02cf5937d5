package machine

import (
	"github.com/clarion-lb/clarion/e2e/lab/cgroup"
)

// Spec is what a machine is made of.
type Spec struct {
	// Lab and Name are in PID 1's command line, by which [Find] finds it.
	Lab, Name string
	// Dir is a directory of the host for the control socket. The machine sees
	// it under the same path.
	Dir string
	// Log is the file of the host that PID 1 writes to.
	Log string
	// Visible are further directories of the host that the machine sees under
	// the same path, whatever is mounted above them.
	Visible []string
	// Mounts are made in this order, after /proc and /sys.
	Mounts []Mount
	// Sysctls of the machine's network, as paths below /proc/sys.
	Sysctls map[string]string
	// Shadows are files of /proc/sys that show a fixed value instead of the
	// kernel's, and swallow what is written to them: settings that belong to
	// the whole computer, which programs here believe to be theirs.
	Shadows map[string]string
	// Cgroups are the groups the machine lives in, as [cgroup.Layout.Create]
	// made them; none means that it stays in its parent's.
	Cgroups []string
	// Layout is how Cgroups are mounted inside.
	Layout cgroup.Layout
}

// Mount is one mount in a machine: a file system type of the kernel, or "bind"
// for a directory of the host. Target is made when it is absent.
type Mount struct {
	Type, Source, Target, Options string
}

// Process is a program that runs in a machine.
type Process struct {
	// Name names it in the machine, e.g. "kubelet".
	Name string
	// Args are the program, found in the PATH of Env, and its arguments.
	Args []string
	// Program is the file to execute where Args[0] is only what it is called.
	Program string `json:",omitempty"`
	// Env is its whole environment.
	Env []string
	// Log is the file of the host that its output is appended to.
	Log string
	// Restart has it started again, after a second, whenever it ends.
	Restart bool
}

// Status is how a process fares.
type Status struct {
	Name string
	// PID is its process ID inside the machine; 0 when it does not run.
	PID int
	// Restarts counts how often it was started again.
	Restarts int
	// Exit says how it last ended: "exit status 1"; empty when it never did.
	Exit string
	// Log is the file its output is in.
	Log string
}
