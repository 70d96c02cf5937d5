// Package machine makes computers out of namespaces.
//
// A machine is a process, started by [Boot], that is PID 1 of its own network,
// mount, pid, uts and ipc namespaces (and a cgroup namespace where it needs
// one). It mounts what its [Spec] says, then waits for orders on a socket:
// start this program, restart it when it ends, stop it, signal it.
//
//	the lab's process                     the machine
//	─────────────────                     ───────────────────────────────
//	Boot(spec) ─────────────────────────► PID 1 "clarion-lab-machine"
//	                                        mounts, then "ready"
//	Machine.Start(process) ──control.sock──►  ├─ containerd   (kept alive)
//	Machine.Exec(argv)     ──nsenter──────►   ├─ argv
//	Machine.Dial           ──setns────────►   │   (a socket in its network)
//	Machine.Kill()         ──SIGKILL──────►   ╳   everything in it dies
//
// Nothing else refers to the machine's namespaces: no /run/netns entry and no
// mount on the host. Killing PID 1 is therefore both a power cut and a complete
// clean-up, and the kernel does it whatever became of the lab's own process.
//
// Boot re-executes the calling program under the name [InitName]. A program
// that uses this package must call [Main] early when it finds itself called so;
// package lab does it in its init function, so that test binaries can too.
package machine
